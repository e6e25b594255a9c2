# What _keys.pyx takes from the matcher's headers, and what other extensions take from it.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from reassoc.core._columns cimport text_ref


cdef extern from "_keys.h" nogil:
    int KEYS_OK
    int KEYS_NO_MEMORY
    int KEYS_OUT_OF_SOURCE
    int KEYS_TOO_MUCH_TEXT
    int ITEM_TRACE
    int ITEM_PAYER
    int ITEM_HELD
    size_t TRACE_BYTES_MAX_C "TRACE_BYTES_MAX"
    size_t PAYER_BYTES_MAX_C "PAYER_BYTES_MAX"
    size_t PAYER_FORM_BYTES_MAX
    size_t COMPANY_NAME_BYTES_C "COMPANY_NAME_BYTES"
    uint32_t PAYER_DATED
    ctypedef enum payer_kind:
        PAYER_ID
        PAYER_NAME
        PAYER_COMPANY
        PAYER_ACCOUNT

    ctypedef struct trace_shape:
        uint8_t n1_length, n2_at, n2_length, n3_at, n4_at, n4_length

    ctypedef struct trace_forms:
        trace_shape at
        uint8_t *text

    ctypedef struct affix:
        int32_t is_suffix, offset, length

    ctypedef struct affix_sets:
        const affix *affixes
        const uint8_t *text
        const int32_t *set_starts

    ctypedef struct payer_rule:
        uint32_t number, group, affix_set

    ctypedef struct payer_span:
        int32_t start, stop
        uint32_t group, affix_set

    ctypedef struct payer_table:
        uint32_t count
        uint8_t *lengths
        const payer_rule *rules
        uint32_t rule_count
        uint32_t affix_set
        const payer_span *spans
        const uint32_t *span_starts

    ctypedef struct match_item:
        uint32_t payer
        uint32_t payer_group
        trace_shape at
        uint8_t flags

    ctypedef struct item_set:
        match_item *items
        uint64_t *keys
        uint8_t *usable
        uint32_t *payers
        uint32_t *payer_groups
        size_t rows
        uint8_t *arena
        size_t arena_size

    ctypedef struct payer_step:
        const uint8_t *source
        size_t source_size
        const text_ref *refs
        payer_kind kind
        int listed_only

    ctypedef struct item_columns:
        const uint8_t *source
        size_t source_size
        const text_ref *traces
        const uint8_t *payer_source
        size_t payer_source_size
        const text_ref *payer_ids
        const payer_step *steps
        size_t step_count
        affix_sets affixes
        const int64_t *cents
        const int32_t *dates
        const uint64_t *digests
        const int64_t *offsets
        const int64_t *holds

    void make_trace_forms(const uint8_t *raw, size_t size, trace_forms *forms) noexcept
    void strip_affixes(trace_forms *forms, const affix_sets *sets, uint32_t which) noexcept
    size_t payer_form(const uint8_t *raw, size_t size, uint8_t *out, uint8_t *bare) noexcept
    void payers_free(payer_table *payers) noexcept
    int payers_copy(const payer_table *source, payer_table *to) noexcept
    int number_payers(payer_table *payers, const uint8_t *source, size_t source_size,
                      const text_ref *refs, size_t rows, const int32_t *dates,
                      uint32_t *numbers, uint32_t *groups) noexcept
    int payers_number(payer_table *payers, const uint8_t *name, size_t length,
                      uint32_t *number) noexcept
    const uint8_t *payer_name(const payer_table *payers, uint32_t number) noexcept
    int fill_items(item_set *items, const item_columns *columns, payer_table *payers) noexcept
    const uint8_t *item_text(const item_set *items, const match_item *item) noexcept
    void stable_keys(const item_set *items, const payer_table *payers, uint64_t *out) noexcept
    int same_n1(const item_set *a, const match_item *x, const item_set *b,
                const match_item *y) noexcept
    uint64_t hash_bytes(const uint8_t *p, size_t length, uint64_t seed) noexcept


cdef extern from "_texts.h" nogil:
    ctypedef struct numbered_values:
        const uint8_t *source
        const text_ref *refs
        int is_number
        const int64_t *const *columns
        size_t column_count

    uint64_t gathered_bytes(const text_ref *refs, size_t rows) noexcept
    int gather_text(const uint8_t *source, size_t source_size, const text_ref *refs, size_t rows,
                    uint8_t *out, text_ref *out_refs) noexcept
    int hash_texts(const uint8_t *source, size_t source_size, const text_ref *refs, size_t rows,
                   int is_number, uint64_t *out) noexcept
    int texts_equal(const uint8_t *source, size_t source_size, const text_ref *refs, size_t rows,
                    const uint8_t *wanted, size_t wanted_length, uint8_t *out) noexcept
    int texts_cut(const uint8_t *source, size_t source_size, const text_ref *ones,
                  const text_ref *others, size_t rows, int is_number, size_t bytes_min,
                  uint8_t *out) noexcept
    int number_values(const numbered_values *values, const uint64_t *hashes, size_t rows,
                      int64_t *numbers) noexcept
    void hash_rows(const numbered_values *values, size_t rows, uint64_t *hashes) noexcept


cdef extern from "_join.h" nogil:
    int PARTNER_SEVERAL_C "PARTNER_SEVERAL"

    ctypedef struct int32_list:
        int32_t *values
        size_t count

    void list_free(int32_list *values) noexcept
    int join_keys(const uint64_t *left_keys, const uint8_t *left_on, size_t left_rows,
                  const uint64_t *right_keys, const uint8_t *right_on, size_t right_rows,
                  int32_t *partner, int32_list *blocks) noexcept
    int repeated_keys(const uint64_t *keys, const uint8_t *on, size_t rows,
                      int32_list *out) noexcept


cdef object check_rows(size_t have, size_t want)
cdef list_array(int32_list *values)


cdef inline const uint8_t *bytes_at(const uint8_t[::1] view) noexcept nogil:
    return &view[0] if view.shape[0] else NULL


cdef inline const text_ref *refs_at(const uint32_t[:, ::1] refs) noexcept nogil:
    return <const text_ref *>&refs[0, 0] if refs.shape[0] else NULL


cdef class Items:
    cdef item_set c
    cdef object memory
    cdef readonly object keys, usable, payer, payer_group, payer_table
    cdef readonly object digests, offsets, holds
