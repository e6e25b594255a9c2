# What _keys.pyx takes from the matcher's headers.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from reassoc.core._columns cimport column_spec, text_ref


cdef extern from "_keys.h" nogil:
    int KEYS_OK
    int KEYS_NO_MEMORY
    int KEYS_OUT_OF_SOURCE
    int KEYS_TOO_MUCH_TEXT
    int ITEM_TRACE
    int ITEM_PAYER
    size_t TRACE_BYTES_MAX_C "TRACE_BYTES_MAX"
    size_t PAYER_BYTES_MAX_C "PAYER_BYTES_MAX"

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

    ctypedef struct payer_table:
        uint32_t count
        uint8_t *lengths
        const payer_rule *rules
        uint32_t rule_count
        uint32_t affix_set

    ctypedef struct match_item:
        uint32_t payer
        trace_shape at
        uint8_t flags

    ctypedef struct item_set:
        match_item *items
        uint64_t *keys
        uint8_t *usable
        size_t rows
        uint8_t *arena

    ctypedef struct item_columns:
        const uint8_t *source
        size_t source_size
        const text_ref *traces
        const uint8_t *payer_source
        size_t payer_source_size
        const text_ref *payer_ids
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
    int number_payers(payer_table *payers, const uint8_t *source, size_t source_size,
                      const text_ref *refs, size_t rows, uint32_t *numbers) noexcept
    int payers_number(payer_table *payers, const uint8_t *name, size_t length,
                      uint32_t *number) noexcept
    const uint8_t *payer_name(const payer_table *payers, uint32_t number) noexcept
    int fill_items(item_set *items, const item_columns *columns, payer_table *payers) noexcept
    const uint8_t *item_text(const item_set *items, const match_item *item) noexcept
    int same_n1(const item_set *a, const match_item *x, const item_set *b,
                const match_item *y) noexcept
    uint64_t hash_bytes(const uint8_t *p, size_t length, uint64_t seed) noexcept
    int gather_text(const uint8_t *source, size_t source_size, const text_ref *refs, size_t rows,
                    uint8_t *out, text_ref *out_refs) noexcept
    int hash_texts(const uint8_t *source, size_t source_size, const text_ref *refs, size_t rows,
                   uint64_t *out) noexcept
    int texts_equal(const uint8_t *source, size_t source_size, const text_ref *refs, size_t rows,
                    const uint8_t *wanted, size_t wanted_length, uint8_t *out) noexcept


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


cdef extern from "_resolve.h" nogil:
    const column_spec *PAIR_SPECS
    size_t PAIR_SPEC_COUNT

    ctypedef struct pair_table:
        size_t rows

    ctypedef struct matching:
        const item_set *left
        const item_set *right
        const int64_t *left_hold
        const int64_t *right_hold
        const uint64_t *payee_tin
        const uint64_t *payee_entity
        const uint64_t *left_digest
        const uint64_t *right_digest
        const int64_t *left_offset
        const int64_t *right_offset
        int32_t window_days
        uint32_t auto_tiers
        int64_t *left_reason
        int64_t *right_reason
        pair_table *pairs

    ctypedef struct carried_pairs:
        const int32_t *left
        const int32_t *right
        const uint8_t *status
        const uint8_t *tier
        const int64_t *reason
        const uint32_t *rivals
        size_t count

    int put_all_carried(const matching *m, const carried_pairs *pairs) noexcept
    int settle_couples(const matching *m, const int32_t *partner) noexcept
    ctypedef struct outcome_columns:
        const uint8_t *left_valid
        const uint8_t *right_valid
        const uint8_t *settled
        const uint8_t *left_outcomes
        const uint8_t *right_outcomes
        uint8_t *left_status
        uint8_t *right_status
        uint8_t *release
        uint8_t *funded

    void put_outcomes(const matching *m, const outcome_columns *columns) noexcept
    int settle_blocks(const matching *m, const int32_t *blocks, size_t size) noexcept
