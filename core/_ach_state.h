/* What the ACH reader knows between two records, and how it says that something is wrong.
 *
 * The state is plain data without pointers into the input, so that a window can end anywhere: the
 * reader goes back to the last copy that was taken between two entries and the next window starts
 * there.
 */
#ifndef REASSOC_ACH_STATE_H
#define REASSOC_ACH_STATE_H

#include "_ach_digits.h"
#include "_tables_ach.h"

/* Numbers of errors.FindingCode; a test holds the two together. */
enum {
    ACH_JUNK = 2002,
    ACH_RECORD_SHORT = 2003,
    ACH_RECORD_LONG = 2004,
    ACH_RECORD_MISPLACED = 2005,
    ACH_UNSUPPORTED_LAYOUT = 2006,
    ACH_FILE_HEADER_FORMAT = 2007,
    ACH_FILE_HEADER_MISSING = 2010,
    ACH_FILE_CONTROL_MISSING = 2011,
    ACH_BATCH_HEADER_MISSING = 2012,
    ACH_BATCH_CONTROL_MISSING = 2013,
    ACH_FILE_BATCH_COUNT = 2020,
    ACH_FILE_BLOCK_COUNT = 2021,
    ACH_FILE_FILLER_MISSING = 2022,
    ACH_FILE_ENTRY_COUNT = 2023,
    ACH_FILE_HASH = 2024,
    ACH_FILE_DEBIT_TOTAL = 2025,
    ACH_FILE_CREDIT_TOTAL = 2026,
    ACH_BATCH_ENTRY_COUNT = 2030,
    ACH_BATCH_HASH = 2031,
    ACH_BATCH_DEBIT_TOTAL = 2032,
    ACH_BATCH_CREDIT_TOTAL = 2033,
    ACH_SERVICE_CLASS_DIFFERS = 2034,
    ACH_COMPANY_ID_DIFFERS = 2035,
    ACH_BATCH_NUMBER_DIFFERS = 2036,
    ACH_ODFI_DIFFERS = 2037,
    ACH_SERVICE_CLASS_UNKNOWN = 2038,
    ACH_SEC_UNKNOWN = 2039,
    ACH_NUMBER_BAD = 2050,
    ACH_CONTROL_NUMBER_BAD = 2051,
    ACH_AMOUNT_BAD = 2052,
    ACH_DATE_BAD = 2053,
    ACH_ROUTING_BAD = 2054,
    ACH_CHECK_DIGIT = 2055,
    ACH_TRACE_BAD = 2056,
    ACH_TRACE_ORDER = 2057,
    ACH_TRANSACTION_CODE_UNKNOWN = 2058,
    ACH_ADDENDA_INDICATOR = 2059,
    ACH_ADDENDA_TYPE_UNKNOWN = 2070,
    ACH_ADDENDA_SEQUENCE = 2071,
    ACH_ADDENDA_ENTRY_DIFFERS = 2072,
    ACH_ADDENDA_COUNT = 2073,
    ACH_ADDENDA_TOO_MANY = 2074,
    ACH_ADDENDA_ORPHAN = 2075,
    ACH_ADDENDA_LIMIT = 2076,
    ACH_RETURN_CODE_UNKNOWN = 2077,
    ACH_TRN_UNCERTAIN = 2078,
    ACH_FINDINGS_MORE = 2090,
};

/* An entry with its addenda is never cut by a window, so its size needs a limit. */
#define ENTRY_ADDENDA_MAX 9999
#define ENTRY_BYTES_MAX ((size_t)2 << 20)
#define HASH_MODULUS 10000000000u

typedef struct {
    uint64_t entry_addenda;
    uint64_t entries;
    uint64_t hash;
    uint64_t debit_cents;
    uint64_t credit_cents;
} ach_totals;

enum { FILE_NONE = 0, FILE_OPEN = 1, FILE_CONTROLLED = 2 };

typedef struct {
    int status;
    int has_header;
    int has_control;
    int valid;
    int has_adv;
    int32_t row; /* in this window's table, -1 until the window touches it */
    int32_t creation_date;
    uint32_t ordinal;
    int64_t offset;
    uint64_t batches;
    uint64_t records; /* once it has ended; until then it is counted from records_before */
    uint64_t records_before;
    ach_totals totals;
    int64_t declared[6];
    int64_t control_offset;
    uint32_t control_record;
    uint8_t header[RECORD_BYTES];
} ach_file_state;

enum { LAYOUT_ENTRY = 0, LAYOUT_COUNTED = 1 };

typedef struct {
    int open;
    int has_header;
    int has_control;
    int valid;
    int iat;
    int adv;
    int layout; /* LAYOUT_COUNTED: number of addenda at 55-58, as in CTX */
    int joined; /* CTX: the addenda are slices of one text */
    int single; /* CCD, PPD: at most one addenda */
    int cor;
    int32_t row;
    int32_t odfi;
    int32_t service_class;
    int32_t batch_number;
    uint32_t ordinal;
    uint32_t header_record;
    int64_t offset;
    int64_t trace_last;
    ach_totals totals;
    int64_t declared[4];
    uint8_t header[RECORD_BYTES];
} ach_batch_state;

typedef struct {
    int open;
    int skipped;    /* of an IAT or ADV batch: in no table */
    int disordered; /* addenda sequence is not 1, 2, 3, ... */
    int has_98;
    int has_99;
    uint32_t row;
    uint32_t record_number;
    uint32_t addenda;    /* records 7 seen */
    uint32_t texts;      /* of type 05 */
    int32_t declared;    /* CTX: number of addenda at 55-58, -1 elsewhere */
    int32_t trace_tail;  /* last 7 digits of the trace, -1 where it is no number */
    uint64_t tail_bytes; /* its last 8 columns as they stand */
    size_t offset;
} ach_entry_state;

/* Between two records; right after a whole one whose line has not ended; in bytes that are no
 * record. */
enum { BETWEEN = 0, AFTER = 1, SKIPPING = 2 };

typedef struct {
    size_t position; /* next byte of the window */
    int between;
    int long_told; /* ACH_RECORD_LONG was given for the last record */
    int failed;    /* out of memory */
    int64_t window_offset;
    uint64_t records;   /* all of the input */
    uint64_t plausible; /* of these, what can hardly be anything else than ACH */
    uint64_t entries;
    uint64_t files;
    uint64_t batches;
    uint8_t last_type;
    ach_file_state file;
    ach_batch_state batch;
    ach_entry_state entry;
    uint64_t findings_left_out; /* behind findings_max, in this window */
    int64_t left_out_offset;    /* of the first of them */
    uint32_t left_out_record;
    size_t rows[9]; /* of the tables, while the state is kept aside */
} ach_state;

typedef struct {
    ach_file_table files;
    ach_batch_table batches;
    ach_entry_table entries;
    ach_addenda_table addenda;
    ach_return_table returns;
    ach_payload_table payloads;
    ach_finding_table findings;
    ach_bytes_table payload_bytes;
    ach_bytes_table headers;
} ach_tables;

typedef struct {
    ach_state now;
    ach_state kept;
    ach_tables tables;
    size_t findings_max; /* rows of findings in one window */
    uint8_t padded[RECORD_BYTES + 2]; /* a short record, filled up with blanks */
} ach_reader;

/* One record as it lies in the window, or in `padded`. */
typedef struct {
    const uint8_t *at;
    size_t offset;
    uint32_t length;
    uint32_t number;
    record_mask mask;
} ach_record;

#define RESERVE(reader, table, SPECS, wanted)                                                      \
    do {                                                                                           \
        if (table_reserve(&(reader)->tables.table, SPECS, SPEC_COUNT(SPECS), (wanted)) != 0)       \
            (reader)->now.failed = 1;                                                              \
    } while (0)

/* Room for one more row; the check is all that the common case costs. */
#define ROOM(reader, table, SPECS, more)                                                           \
    do {                                                                                           \
        if (__builtin_expect(                                                                      \
                (reader)->tables.table.rows + (more) > (reader)->tables.table.capacity, 0))        \
            RESERVE(reader, table, SPECS, (reader)->tables.table.rows + (more));                   \
    } while (0)

static __attribute__((noinline)) void ach_find(ach_reader *reader, uint16_t code,
                                               int64_t offset_in_window, uint32_t length,
                                               uint32_t record_number, uint8_t type,
                                               uint8_t position, int32_t entry_row) {
    ach_finding_table *table = &reader->tables.findings;
    if (table->rows >= reader->findings_max) {
        if (reader->now.findings_left_out++ == 0) {
            reader->now.left_out_offset = reader->now.window_offset + offset_in_window;
            reader->now.left_out_record = record_number;
        }
        return;
    }
    ROOM(reader, findings, ACH_FINDING_SPECS, 1);
    if (reader->now.failed) return;
    size_t row = table->rows++;
    table->code[row] = code;
    table->file_offset[row] = reader->now.window_offset + offset_in_window;
    table->length[row] = length;
    table->record_number[row] = record_number;
    table->record_type[row] = type;
    table->position[row] = position;
    table->file[row] = reader->now.file.status != FILE_NONE ? reader->now.file.row : -1;
    table->batch[row] = reader->now.batch.open ? reader->now.batch.row : -1;
    table->entry[row] = entry_row;
}

/* The last finding of a window that had more than findings_max, at the place of the first that is
 * not there. */
static inline void tell_left_out(ach_reader *reader) {
    const ach_state *now = &reader->now;
    ach_finding_table *table = &reader->tables.findings;
    if (now->findings_left_out == 0) return;
    ROOM(reader, findings, ACH_FINDING_SPECS, 1);
    if (now->failed) return;
    const size_t row = table->rows++;
    table->code[row] = ACH_FINDINGS_MORE;
    table->file_offset[row] = now->left_out_offset;
    table->length[row] =
        now->findings_left_out < UINT32_MAX ? (uint32_t)now->findings_left_out : UINT32_MAX;
    table->record_number[row] = now->left_out_record;
    table->record_type[row] = table->position[row] = 0;
    table->file[row] = table->batch[row] = table->entry[row] = -1;
}

/* About one field of a record: `position` is its column, from 1. */
static __attribute__((noinline)) void ach_find_field(ach_reader *reader, uint16_t code,
                                                     const ach_record *record, uint8_t position,
                                                     uint8_t width, int32_t entry_row) {
    uint32_t first = position > 0 ? position - 1u : 0u;
    if (first > record->length) first = record->length;
    uint32_t length = width;
    if (first + length > record->length) length = record->length - first;
    ach_find(reader, code, (int64_t)record->offset + first, length, record->number, record->at[0],
             position, entry_row);
}

#endif
