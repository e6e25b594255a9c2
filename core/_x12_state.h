/* State of a scan: the tables that are being filled, and where in the envelope the scan stands.
 *
 * What a window's end may have to take back is all in `scan_context` and the row counts: a
 * transaction that is cut by the end of a window is undone to its ST and read again, whole, from
 * the next window.
 */
#ifndef REASSOC_X12_STATE_H
#define REASSOC_X12_STATE_H

#include "_tables_835.h"
#include "_x12_envelope.h"
#include "_x12_values.h"

#define TABLES_835(X)                                                                              \
    X(interchanges, INTERCHANGE_COLUMNS)                                                           \
    X(groups, GROUP_COLUMNS)                                                                       \
    X(transactions, TRANSACTION_COLUMNS)                                                           \
    X(skipped, SKIPPED_COLUMNS)                                                                    \
    X(claims, CLAIM_COLUMNS)                                                                       \
    X(services, SERVICE_COLUMNS)                                                                   \
    X(adjustments, ADJUSTMENT_COLUMNS)                                                             \
    X(provider_adjustments, PROVIDER_ADJUSTMENT_COLUMNS)                                           \
    X(references, REFERENCE_COLUMNS)                                                               \
    X(dates, DATE_COLUMNS)                                                                         \
    X(amounts, AMOUNT_COLUMNS)                                                                     \
    X(quantities, QUANTITY_COLUMNS)                                                                \
    X(remarks, REMARK_COLUMNS)                                                                     \
    X(entities, ENTITY_COLUMNS)                                                                    \
    X(addresses, ADDRESS_COLUMNS)                                                                  \
    X(contacts, CONTACT_COLUMNS)                                                                   \
    X(deliveries, DELIVERY_COLUMNS)                                                                \
    X(headers, HEADER_COLUMNS)                                                                     \
    X(summaries, SUMMARY_COLUMNS)                                                                  \
    X(findings, FINDING_COLUMNS)

#define DECLARE_835(name, COLUMNS) DECLARE_TABLE(name##_table, COLUMNS)
TABLES_835(DECLARE_835)

#define TABLE_FIELD(name, COLUMNS) name##_table name;
typedef struct {
    TABLES_835(TABLE_FIELD)
} tables_835;

/* The descriptors: TABLE_TYPE cannot be set inside another macro, hence one block for each table.
 */
#define TABLE_TYPE interchanges_table
static const column_spec interchanges_specs[] = {INTERCHANGE_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE groups_table
static const column_spec groups_specs[] = {GROUP_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE transactions_table
static const column_spec transactions_specs[] = {TRANSACTION_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE skipped_table
static const column_spec skipped_specs[] = {SKIPPED_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE claims_table
static const column_spec claims_specs[] = {CLAIM_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE services_table
static const column_spec services_specs[] = {SERVICE_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE adjustments_table
static const column_spec adjustments_specs[] = {ADJUSTMENT_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE provider_adjustments_table
static const column_spec provider_adjustments_specs[] = {
    PROVIDER_ADJUSTMENT_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE references_table
static const column_spec references_specs[] = {REFERENCE_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE dates_table
static const column_spec dates_specs[] = {DATE_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE amounts_table
static const column_spec amounts_specs[] = {AMOUNT_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE quantities_table
static const column_spec quantities_specs[] = {QUANTITY_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE remarks_table
static const column_spec remarks_specs[] = {REMARK_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE entities_table
static const column_spec entities_specs[] = {ENTITY_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE addresses_table
static const column_spec addresses_specs[] = {ADDRESS_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE contacts_table
static const column_spec contacts_specs[] = {CONTACT_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE deliveries_table
static const column_spec deliveries_specs[] = {DELIVERY_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE headers_table
static const column_spec headers_specs[] = {HEADER_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE summaries_table
static const column_spec summaries_specs[] = {SUMMARY_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE findings_table
static const column_spec findings_specs[] = {FINDING_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE

typedef struct {
    const char *name;
    const column_spec *specs;
    size_t spec_count;
    size_t place; /* offset of the table in tables_835 */
} table_entry;

#define TABLE_ENTRY(name, COLUMNS)                                                                 \
    {#name, name##_specs, sizeof(name##_specs) / sizeof(column_spec), offsetof(tables_835, name)},
static const table_entry table_directory[] = {TABLES_835(TABLE_ENTRY)};
enum {
    TABLE_COUNT = sizeof(table_directory) / sizeof(table_entry),
    TABLE_FINDINGS = TABLE_COUNT - 1
};

static inline void *table_at(tables_835 *tables, size_t number) {
    return (char *)tables + table_directory[number].place;
}

enum { DATE_SLOT_BITS = 8 };

/* A segment: its first byte and the positions of its delimiters, the terminator last. Texts are
 * referred to where they lie in the input; values are read through `values`, the same bytes unless
 * clean_segment copied them. */
typedef struct {
    uint32_t start;             /* layout before it skipped */
    uint32_t separators;        /* number of elements behind the segment id */
    uint32_t id;                /* segment_id; SEGMENT_UNKNOWN for whatever wants a closer look */
    const uint32_t *delimiters; /* [separators] is the terminator */
    const uint8_t *values;
    const uint32_t *value_delimiters;
} segment_view;

typedef enum { SET_NONE, SET_835, SET_SKIPPED, SET_DISCARDED } set_mode;

/* Header segments are kept, without line wraps: a later window repeats their row without having
 * their bytes. */
enum { HEADER_COPY_BYTES_MAX = ISA_BYTES_MAX + 64 };
typedef struct {
    uint8_t bytes[HEADER_COPY_BYTES_MAX + VALUE_SLACK];
    uint32_t length;
    int64_t file_offset;
    uint32_t ordinal;
    bool enveloped;
    bool open;
} header_copy;

typedef struct {
    x12_delimiters delimiters;
    bool delimiters_known;
    bool component_guessed;       /* no ISA told it: the first SVC01 will */
    bool lead_known, lead_broken; /* the input starts with something else than a header; with an ISA
                                     that is none */
    uint8_t lead_separator;       /* of that ISA */
    int64_t lead_offset;          /* where in the file it stands */
    bool junk_noted;              /* one X12_JUNK for a run of junk */
    bool bare_noted;              /* one X12_NO_GS for an interchange */
    uint32_t interchange_count, group_count, transaction_count; /* file-wide, the next ordinals */
    uint32_t interchange_groups, interchange_sets, group_sets;  /* counted for IEA01 and GE01 */
    uint64_t previous_control; /* hash of ST02 of the set before, in the group; 0 for none */
    int32_t interchange_row, group_row, transaction_row, skipped_row, header_row, claim_row,
        service_row;
    set_mode mode;
    uint32_t segment_ordinal; /* in the transaction, ST is 1 */
    uint32_t claim_ordinal,
        service_ordinal;  /* of the open CLP and SVC: their balances are found at their ends */
    uint32_t set_offset;  /* byte of ST */
    uint32_t body_offset; /* byte behind ST's terminator */
    element_view control; /* ST02 */
    uint8_t level;
    int32_t owner;
    bool seen_bpr, seen_trn, seen_payer, seen_payee, tx_unreadable, tx_failed, tx_overflow;
    bool claim_unreadable, line_unreadable, line_dated, claim_has_lines, expects_trace;
    int64_t claim_paid_cents, provider_adjustment_cents;
    int64_t claim_adjustment_cents, line_charge_cents, line_adjustment_cents;
    int32_t range;
    uint64_t findings_left_out; /* behind findings_max, in this window or these ranges */
    int64_t left_out_offset;    /* of the first of them */
    int32_t left_out_range;
} scan_context;

typedef struct {
    const uint8_t *data;
    size_t size;           /* end of the input that may be read */
    const uint8_t *limit;  /* data + size */
    size_t bytes_all;      /* of the window, or of all ranges */
    size_t bytes_before;   /* of the ranges before this one */
    size_t cursor;         /* first byte not taken yet */
    int64_t window_offset; /* of data[0] in the file */
    bool final;            /* no more input follows */
    bool out_of_memory;
    size_t findings_max; /* rows of findings in one scan */
    bool unterminated; /* the segment in work ends without a terminator, where its last delimiter
                          stands */
    index_kernel kernel;
    delimiter_index index;
    size_t delimiter_capacity, end_capacity;
    tables_835 tables;
    header_copy isa, gs; /* no header changes while a set is open, so they need no taking back */
    scan_context now;
    scan_context at_set; /* as it was before the open transaction's ST */
    size_t rows_at_set[TABLE_COUNT];
    size_t rows_at_block[TABLE_COUNT]; /* when the block before was begun: what the next one will
                                          need */
    uint8_t
        *envelopes; /* side buffer of ISA and GS segments that interchange and group texts lie in */
    size_t envelope_bytes, envelope_capacity;
    uint8_t
        *clean_bytes; /* of a segment without its line wraps, or too near the end of the input */
    uint32_t *clean_delimiters;
    size_t clean_capacity, clean_delimiter_capacity;
    struct { /* dates recur: CCYYMMDD as it stands, and its day */
        uint64_t text;
        int32_t date;
    } dates_seen[1 << DATE_SLOT_BITS];
    segment_view *segments; /* of the block in work */
    size_t segment_capacity;
} x12_scan;

ALWAYS_INLINE uint32_t segment_end(const x12_scan *scan, const segment_view *segment) {
    size_t end = (size_t)segment->delimiters[segment->separators] + !scan->unterminated;
    return (uint32_t)(end < scan->size ? end : scan->size);
}

ALWAYS_INLINE element_view raw_element(const x12_scan *scan, const segment_view *segment,
                                       uint32_t number) {
    if (number > segment->separators) return (element_view){scan->data, 0};
    uint32_t start = segment->delimiters[number - 1] + 1;
    return (element_view){scan->data + start, segment->delimiters[number] - start};
}

/* An element to be read as a value: no line wraps in it, VALUE_SLACK bytes readable behind it. */
ALWAYS_INLINE element_view value_element(const segment_view *segment, uint32_t number) {
    static const uint8_t nothing[VALUE_SLACK] = {0};
    if (number > segment->separators) return (element_view){nothing, 0};
    uint32_t start = segment->value_delimiters[number - 1] + 1;
    return (element_view){segment->values + start, segment->value_delimiters[number] - start};
}

ALWAYS_INLINE text_ref text_of(const segment_view *segment, uint32_t number) {
    union {
        uint64_t word; /* so that it is stored at once */
        text_ref ref;
    } text = {.word = 0};
    if (number > segment->separators) return text.ref;
    const uint32_t start = segment->delimiters[number - 1] + 1;
    text.word = start | (uint64_t)(segment->delimiters[number] - start) << 32;
    return text.ref;
}

/* Copy a segment to where its values can be read: without CR and LF (line wraps), with slack behind
 * it. 0, or -1. */
static __attribute__((noinline, cold)) int clean_segment(x12_scan *scan, segment_view *segment) {
    const uint32_t stop = segment->delimiters[segment->separators];
    const size_t bytes = stop - segment->start + VALUE_SLACK, count = segment->separators + 1;
    if (bytes > scan->clean_capacity) {
        uint8_t *grown = realloc(scan->clean_bytes, bytes * 2);
        if (grown == NULL) return -1;
        scan->clean_bytes = grown;
        scan->clean_capacity = bytes * 2;
    }
    if (count > scan->clean_delimiter_capacity) {
        uint32_t *grown = realloc(scan->clean_delimiters, count * 2 * sizeof(uint32_t));
        if (grown == NULL) return -1;
        scan->clean_delimiters = grown;
        scan->clean_delimiter_capacity = count * 2;
    }
    uint32_t at = segment->start, length = 0;
    for (size_t i = 0; i < count; i++) {
        for (; at < segment->delimiters[i]; at++) {
            if (!is_line_end(scan->data[at])) scan->clean_bytes[length++] = scan->data[at];
        }
        scan->clean_delimiters[i] = length++; /* the delimiter itself: its place, not its byte */
        at++;
    }
    memset(scan->clean_bytes + length - 1, 0, VALUE_SLACK);
    segment->values = scan->clean_bytes;
    segment->value_delimiters = scan->clean_delimiters;
    return 0;
}

/* Of at most three characters. Every id is a literal, so this costs nothing at run time. */
ALWAYS_INLINE kind_code4 packed_id(const char *id) {
    kind_code4 packed = (uint8_t)id[0];
    if (id[0] != 0) packed |= (kind_code4)(uint8_t)id[1] << 8;
    if (id[0] != 0 && id[1] != 0) packed |= (kind_code4)(uint8_t)id[2] << 16;
    return packed;
}

static bool has_room_for_finding(x12_scan *scan) {
    findings_table *findings = &scan->tables.findings;
    if (findings->rows < findings->capacity) return true;
    const table_entry *entry = &table_directory[TABLE_FINDINGS];
    if (table_reserve(findings, entry->specs, entry->spec_count, findings->rows + 64) == 0)
        return true;
    scan->out_of_memory = true;
    return false;
}

/* `at` counts from scan->data. Cold: it reserves its own row. */
static __attribute__((noinline, cold)) void add_finding(x12_scan *scan, finding_code code,
                                                        size_t at, uint32_t length,
                                                        kind_code4 segment, uint8_t element) {
    findings_table *findings = &scan->tables.findings;
    scan_context *now = &scan->now;
    const bool inside = now->mode == SET_835;
    /* Also where its row is left out. */
    if (inside && finding_severity(code) == SEVERITY_ERROR) now->tx_failed = true;
    if (findings->rows >= scan->findings_max) {
        if (now->findings_left_out++ == 0) {
            now->left_out_offset = scan->window_offset + (int64_t)at;
            now->left_out_range = now->range;
        }
        return;
    }
    if (!has_room_for_finding(scan)) return;
    size_t row = findings->rows++;
    findings->code[row] = (uint16_t)code;
    findings->file_offset[row] = scan->window_offset + (int64_t)at;
    findings->length[row] = length;
    findings->segment_ordinal[row] = now->mode == SET_NONE ? 0 : now->segment_ordinal;
    findings->segment[row] = segment;
    findings->element[row] = element;
    findings->transaction[row] = inside ? now->transaction_row : -1;
    findings->claim[row] = inside ? now->claim_row : -1;
    findings->interchange[row] = now->interchange_row;
    findings->range[row] = now->range;
}

/* A finding about another segment of the open transaction than the one in work. */
static __attribute__((noinline, cold)) void add_finding_of(x12_scan *scan, uint32_t ordinal,
                                                           finding_code code, size_t at,
                                                           uint32_t length, kind_code4 segment) {
    const uint32_t in_work = scan->now.segment_ordinal;
    scan->now.segment_ordinal = ordinal;
    add_finding(scan, code, at, length, segment, 0);
    scan->now.segment_ordinal = in_work;
}

#endif
