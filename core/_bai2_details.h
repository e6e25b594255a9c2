/* Details of a BAI2 report in their plain form, run by run, into columns.
 *
 * Plain is: a line that begins with `16,`, a type code, an amount of digits only, a funds type that
 * nothing follows, lines that begin with `88,`, no other record behind a slash, nothing too long.
 * A run ends before the first detail that is not plain, or behind which something else stands than
 * a record: core/_bai2_reader.py reads those, and everything that is no detail. What is plain it
 * would read to the same columns without a finding; tests hold the two together.
 */
#ifndef REASSOC_BAI2_DETAILS_H
#define REASSOC_BAI2_DETAILS_H

#include <stdint.h>
#include <string.h>

#include "_ach_digits.h"
#include "_columns.h"

#define BAI2_DETAIL_COLUMNS(C)                                                                     \
    C(uint32, offset, "byte of the record")                                                        \
    C(uint32, record_number, "1-based number of the physical record in the input")                 \
    C(row, account, "row in accounts")                                                             \
    C(int16, type_code, "16: type code; -1 where it is none")                                      \
    C(cents, amount_cents, "16: amount; 0 and not valid where it is no number")                    \
    C(code2, funds_type, "16: funds type: 0, 1, 2, V, S, D, Z or blank")                           \
    C(date, value_date, "funds type V: value date")                                                \
    C(int16, value_time, "funds type V: minute of the day; -1 for none")                           \
    C(text, bank_reference, "16: bank reference number")                                           \
    C(text, customer_reference, "16: customer reference number")                                   \
    C(uint32, text_start, "first of its rows in texts")                                            \
    C(uint32, text_stop, "one after its last row in texts")                                        \
    C(flag, valid, "no finding of severity error about the detail itself")
#define BAI2_TEXT_COLUMNS(C)                                                                       \
    C(row, detail, "row in details")                                                               \
    C(text, text, "one line of its text, from the 16 or an 88")

DECLARE_TABLE(bai2_detail_table, BAI2_DETAIL_COLUMNS)
DECLARE_TABLE(bai2_text_table, BAI2_TEXT_COLUMNS)
#define TABLE_TYPE bai2_detail_table
static const column_spec BAI2_DETAIL_SPECS[] = {BAI2_DETAIL_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE bai2_text_table
static const column_spec BAI2_TEXT_SPECS[] = {BAI2_TEXT_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define BAI2_DETAIL_SPEC_COUNT (sizeof BAI2_DETAIL_SPECS / sizeof BAI2_DETAIL_SPECS[0])
#define BAI2_TEXT_SPEC_COUNT (sizeof BAI2_TEXT_SPECS / sizeof BAI2_TEXT_SPECS[0])

enum { PLAIN_AMOUNT_DIGITS_MAX = 15, DETAIL_FIELDS = 5 };

typedef struct {
    bai2_detail_table details;
    bai2_text_table texts;
} bai2_rows;

/* Where a run is read, and what it gave. */
typedef struct {
    const uint8_t *data;
    size_t size;
    uint32_t line_bytes_max;
    uint32_t continuations_max;
    uint64_t records_max; /* of this run */
    int32_t account;
    uint32_t record_number; /* of the record before the run */
    size_t at;              /* one after the run: a line begins there */
    uint64_t records;
    int64_t cents;
    int failed; /* no memory */
} bai2_run;

/* Lines end at these; what is between two of them, blank or not, is a line. */
ACH_INLINE int bai2_ends_line(uint8_t byte) {
    return byte == '\n' || byte == '\r' || byte == 0 || byte == 0x1A;
}

static inline size_t bai2_line_stop(const bai2_run *run, size_t at) {
    while (at < run->size && !bai2_ends_line(run->data[at])) at++;
    return at;
}

static inline size_t bai2_next_line(const bai2_run *run, size_t at) {
    while (at < run->size && bai2_ends_line(run->data[at])) at++;
    return at;
}

/* Two digits and a comma at `at`: the number, else -1. */
ACH_INLINE int bai2_code_at(const uint8_t *data, size_t at, size_t stop) {
    if (at + 3 > stop || data[at + 2] != ',') return -1;
    return (int)number_at(data + at, 2);
}

/* A slash with blanks, two digits and a comma behind it may begin another record. */
static inline int bai2_may_hold_two(const uint8_t *data, size_t at, size_t stop) {
    while (at < stop) {
        const uint8_t *found = memchr(data + at, '/', stop - at);
        if (found == NULL) return 0;
        at = (size_t)(found - data) + 1;
        size_t next = at;
        while (next < stop && (data[next] == ' ' || data[next] == '\t')) next++;
        if (bai2_code_at(data, next, stop) >= 0) return 1;
    }
    return 0;
}

/* The fields of a plain line [at, *stop): *stop moves before the blanks at its end. */
static inline int bai2_is_plain_line(const bai2_run *run, size_t at, size_t *stop) {
    if (*stop - at > run->line_bytes_max || bai2_may_hold_two(run->data, at, *stop)) return 0;
    while (*stop > at + 3 && (run->data[*stop - 1] == ' ' || run->data[*stop - 1] == '\t'))
        (*stop)--;
    return 1;
}

static inline text_ref bai2_ref(size_t start, size_t stop) {
    text_ref ref = {(uint32_t)start, (uint32_t)(stop - start)};
    if (stop == start) ref.offset = 0;
    return ref;
}

/* The fields of a 16 into the row behind the last one; text_start is where its text begins.
 * Returns 0 where it is not plain. */
static inline int bai2_read_fields(bai2_run *run, bai2_rows *rows, size_t at, size_t stop,
                                   size_t *text_start) {
    const uint8_t *data = run->data;
    bai2_detail_table *details = &rows->details;
    size_t row = details->rows, commas[DETAIL_FIELDS], place = at + 3;
    for (int i = 0; i < DETAIL_FIELDS; i++) {
        const uint8_t *comma = memchr(data + place, ',', stop - place);
        if (comma == NULL) return 0;
        commas[i] = (size_t)(comma - data);
        place = commas[i] + 1;
    }
    size_t code = at + 3, amount = commas[0] + 1, kind = commas[1] + 1;
    size_t digits = commas[1] - amount;
    if (commas[0] - code != 3 || digits < 1 || digits > PLAIN_AMOUNT_DIGITS_MAX) return 0;
    int64_t number = number_at(data + code, 3), cents = number_at(data + amount, (int)digits);
    if (number < 0 || cents < 0 || commas[2] - kind > 1) return 0;
    uint8_t funds = commas[2] > kind ? data[kind] : 0;
    if (commas[2] > kind && funds != '0' && funds != '1' && funds != '2' && funds != 'Z') return 0;
    uint8_t funds_type[2] = {funds, 0};
    memcpy(&details->funds_type[row], funds_type, 2);
    details->offset[row] = (uint32_t)at;
    details->account[row] = run->account;
    details->type_code[row] = (int16_t)number;
    details->amount_cents[row] = cents;
    details->value_date[row] = DATE_NONE;
    details->value_time[row] = -1;
    details->bank_reference[row] = bai2_ref(commas[2] + 1, commas[3]);
    details->customer_reference[row] = bai2_ref(commas[3] + 1, commas[4]);
    details->valid[row] = 1;
    *text_start = commas[4] + 1;
    return 1;
}

/* Room for more rows, twice as much as there was. Returns 0, or -1 when memory is short. */
static inline int bai2_reserve(void *table, const column_spec *specs, size_t spec_count,
                               size_t more) {
    enum { ROWS_MIN = 256 };
    const table_head *head = table;
    size_t wanted = head->rows + more;
    if (wanted <= head->capacity) return 0;
    if (wanted < 2 * head->capacity) wanted = 2 * head->capacity;
    if (wanted < ROWS_MIN) wanted = ROWS_MIN;
    return table_reserve(table, specs, spec_count, wanted);
}

static inline int bai2_reserve_detail(bai2_rows *rows) {
    return bai2_reserve(&rows->details, BAI2_DETAIL_SPECS, BAI2_DETAIL_SPEC_COUNT, 1);
}

static inline int bai2_reserve_texts(bai2_rows *rows, size_t more) {
    return bai2_reserve(&rows->texts, BAI2_TEXT_SPECS, BAI2_TEXT_SPEC_COUNT, more);
}

ACH_INLINE void bai2_put_text(bai2_rows *rows, size_t row, size_t start, size_t stop) {
    rows->texts.detail[row] = (int32_t)rows->details.rows;
    rows->texts.text[row] = bai2_ref(start, stop);
}

/* A record begins at `at`, on a line that nothing is noted about. */
static inline int bai2_record_at(const bai2_run *run, size_t at) {
    size_t stop = bai2_line_stop(run, at);
    int code = bai2_code_at(run->data, at, stop);
    int known = code == 16 || code == 49 || (code >= 1 && code <= 3) || code == 98 || code == 99;
    return known && stop - at <= run->line_bytes_max;
}

/* One detail with its continuations. Returns where the next record begins, 0 where the detail is
 * not plain. */
static inline size_t bai2_read_detail(bai2_run *run, bai2_rows *rows) {
    size_t at = run->at, line_stop = bai2_line_stop(run, at), stop = line_stop, text = 0;
    run->failed |= bai2_reserve_detail(rows) != 0;
    run->failed |= bai2_reserve_texts(rows, (size_t)run->continuations_max + 1) != 0;
    if (run->failed) return 0;
    if (!bai2_is_plain_line(run, at, &stop)) return 0;
    if (!bai2_read_fields(run, rows, at, stop, &text)) return 0;
    size_t texts = rows->texts.rows, records = 1, next = bai2_next_line(run, line_stop);
    int first = text == stop; /* the next span would be the first one */
    /* The slash that ends a record before its text is none of it. */
    if (stop - text > 1 || (stop > text && run->data[text] != '/'))
        bai2_put_text(rows, texts++, text, stop);
    for (; next + 3 <= run->size && memcmp(run->data + next, "88,", 3) == 0; records++) {
        line_stop = stop = bai2_line_stop(run, next);
        if (records > run->continuations_max || !bai2_is_plain_line(run, next, &stop)) return 0;
        text = next + 3;
        if (stop - text > 1 || (stop > text && (run->data[text] != '/' || !first)))
            bai2_put_text(rows, texts++, text, stop);
        first = 0;
        next = bai2_next_line(run, line_stop);
    }
    if (run->records + records > run->records_max || !bai2_record_at(run, next)) return 0;
    size_t row = rows->details.rows++;
    rows->details.record_number[row] = (uint32_t)(run->record_number + run->records + 1);
    rows->details.text_start[row] = (uint32_t)rows->texts.rows;
    rows->details.text_stop[row] = (uint32_t)texts;
    rows->texts.rows = texts;
    run->records += records;
    run->cents += rows->details.amount_cents[row];
    return next;
}

/* The plain details from run->at on, where a line begins with `16,`. O(bytes taken). */
static inline void bai2_read_run(bai2_run *run, bai2_rows *rows) {
    while (bai2_code_at(run->data, run->at, run->size) == 16) {
        size_t next = bai2_read_detail(run, rows);
        if (next == 0) break;
        run->at = next;
    }
}

#endif
