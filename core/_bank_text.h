/* What the text of a bank report's detail says: values behind labels, and the TRN.
 *
 * core/_bank_text.py says the same in plain Python, function by function, and says why; tests hold
 * the two together.
 */
#ifndef REASSOC_BANK_TEXT_H
#define REASSOC_BANK_TEXT_H

#include <stdint.h>
#include <string.h>

#include "_ach_trn.h"
#include "_bank_labels.h"
#include "_columns.h"

#define MEMO_BYTES_MAX 4096 /* of a detail's text that are looked at */
#define PAYER_DIGITS 10
#define REFERENCE_BYTES_MAX 50

#define MEMO_COLUMNS(C)                                                                            \
    C(uint8, form, "ach.TrnForm of the TRN in the text")                                           \
    C(text, trace, "TRN02; else what a REMI line holds, where it is a reference")                  \
    C(text, payer_id, "TRN03")                                                                     \
    C(text, company_id, "the originator's identification")                                         \
    C(text, company_name, "the originator's name")                                                 \
    C(text, entry_description, "the batch's description")                                          \
    C(text, receiver_id, "the entry's identification number")                                      \
    C(code4, sec, "standard entry class; empty where it is not said")                              \
    C(int64, ach_trace, "the entry's trace number; -1 for none")                                   \
    C(date, effective_date, "effective entry date")                                                \
    C(code4, return_code, "R and two digits")                                                      \
    C(int64, original_trace, "trace number of the entry that was returned; -1 for none")           \
    C(text, check_number, "a check's serial number")                                               \
    C(text, drawer, "digits of the drawer's bank, then those of the account")                      \
    C(text, reference, "end-to-end reference (EREF)")

DECLARE_TABLE(memo_table, MEMO_COLUMNS)
#define TABLE_TYPE memo_table
static const column_spec MEMO_SPECS[] = {MEMO_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE

#define MEMO_BYTES_COLUMNS(C) C(uint8, data, "the values, one after the other")
DECLARE_TABLE(memo_bytes, MEMO_BYTES_COLUMNS)
#define TABLE_TYPE memo_bytes
static const column_spec MEMO_BYTES_SPECS[] = {MEMO_BYTES_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define MEMO_SPEC_COUNT (sizeof MEMO_SPECS / sizeof MEMO_SPECS[0])

enum { MEMOS_OK = 0, MEMOS_NO_MEMORY = 1, MEMOS_OUT_OF_SOURCE = 2 };

/* Texts as they lie in a report: rows [starts[k], stops[k]) of refs are the lines of detail k. */
typedef struct {
    const uint8_t *source;
    size_t source_size;
    const text_ref *refs;
    size_t ref_count;
    const uint32_t *starts;
    const uint32_t *stops;
    size_t details;
} memo_input;

/* The text of one detail, a line end before each line; its lines without line ends, bank numbers
 * taken out; and the values, cleaned. Values are disjoint parts of the text, so there is room. */
typedef struct {
    uint8_t text[MEMO_BYTES_MAX + 1];
    uint8_t lines[MEMO_BYTES_MAX + 1];
    uint8_t values[MEMO_BYTES_MAX + 1];
    uint32_t line_starts[MEMO_BYTES_MAX + 2];
    uint32_t length, line_count, values_length;
} memo_scratch;

typedef struct {
    trn_span texts[LABEL_TEXT_COUNT]; /* into values */
    uint8_t sec[4];
    uint32_t sec_length;
    uint8_t return_code[4];
    int64_t ach_trace, original_trace;
    int32_t effective_date;
} memo_values;

ACH_INLINE int memo_stripped(uint8_t byte) {
    return byte == ' ' || byte == '\t' || byte == ',' || byte == ';' || byte == '"' || byte == '\'';
}

/* text[start:stop] without line ends, and without blanks and marks at its ends. */
static inline trn_span memo_clean(memo_scratch *scratch, uint32_t start, uint32_t stop) {
    trn_span span = {scratch->values_length, scratch->values_length};
    for (uint32_t at = start; at < stop; at++)
        if (scratch->text[at] != '\n') scratch->values[span.stop++] = scratch->text[at];
    scratch->values_length = span.stop;
    while (span.start < span.stop && memo_stripped(scratch->values[span.start])) span.start++;
    while (span.stop > span.start && memo_stripped(scratch->values[span.stop - 1])) span.stop--;
    return span;
}

static inline uint32_t memo_find(const uint8_t *text, trn_span span, uint8_t byte) {
    const uint8_t *found = memchr(text + span.start, byte, span.stop - span.start);
    return found == NULL ? span.stop : (uint32_t)(found - text);
}

/* bytes.strip() of Python */
ACH_INLINE int memo_space(uint8_t byte) {
    return byte == ' ' || (byte >= 0x09 && byte <= 0x0D);
}

static inline int memo_all_digits(const uint8_t *text, trn_span span) {
    for (uint32_t at = span.start; at < span.stop; at++)
        if (!is_digit(text[at])) return 0;
    return 1;
}

static inline void memo_keep_trace(const uint8_t *values, trn_span value, int64_t *trace) {
    if (value.stop - value.start == 15 && memo_all_digits(values, value) && *trace < 0)
        *trace = number_at(values + value.start, 15);
}

/* Days since 1970-01-01 of YYMMDD, from 80 on 19YY; DATE_NONE where it is none. */
static inline int32_t memo_date(const uint8_t *at) {
    static const uint8_t lengths[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    static const uint16_t before[12] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int64_t number = number_at(at, 6);
    if (number < 0) return DATE_NONE;
    int year = (int)(number / 10000), month = (int)(number / 100 % 100), day = (int)(number % 100);
    year += year >= 80 ? 1900 : 2000;
    /* 1980 to 2079: every fourth year is a leap year. */
    int leap = year % 4 == 0;
    if (month < 1 || month > 12 || day < 1) return DATE_NONE;
    if (day > lengths[month - 1] + (month == 2 && leap)) return DATE_NONE;
    int days = (year - 1970) * 365 + (year - 1969) / 4;
    return days + before[month - 1] + (month > 2 && leap) + day - 1;
}

static inline void memo_keep_return(const uint8_t *values, trn_span value, uint8_t *code) {
    for (uint32_t at = value.start; at + 3 <= value.stop; at++) {
        if (upper(values[at]) != 'R' || !is_digit(values[at + 1]) || !is_digit(values[at + 2]))
            continue;
        if (at > value.start && is_alnum(values[at - 1])) continue;
        if (at + 3 < value.stop && is_alnum(values[at + 3])) continue;
        code[0] = 'R';
        code[1] = values[at + 1];
        code[2] = values[at + 2];
        return;
    }
}

/* Digits of Latin-1: superscripts are some too. */
static inline trn_span memo_digits(uint8_t *values, trn_span value) {
    trn_span span = {value.start, value.start};
    for (uint32_t at = value.start; at < value.stop; at++) {
        uint8_t byte = values[at];
        if (is_digit(byte) || byte == 0xB2 || byte == 0xB3 || byte == 0xB9)
            values[span.stop++] = byte;
    }
    return span;
}

static inline void memo_keep_sec(const uint8_t *values, trn_span value, memo_values *memo) {
    if (memo->sec_length > 0) return;
    while (memo->sec_length < 3 && value.start < value.stop)
        memo->sec[memo->sec_length++] = upper(values[value.start++]);
}

static inline void memo_keep_text(const uint8_t *values, trn_span value, label_field field,
                                  trn_span *kept) {
    if (kept->stop > kept->start) return;
    if (field == LABEL_COMPANY_ID || field == LABEL_CHECK_NUMBER)
        value.stop = memo_find(values, value, ' ');
    if (field == LABEL_ENTRY_DESCRIPTION) {
        value.stop = memo_find(values, value, ';');
        while (value.start < value.stop && memo_space(values[value.start])) value.start++;
        while (value.stop > value.start && memo_space(values[value.stop - 1])) value.stop--;
    }
    *kept = value;
}

static inline void memo_keep(memo_scratch *scratch, memo_values *memo, label_field field,
                             uint32_t start, uint32_t stop) {
    uint8_t *values = scratch->values;
    trn_span value = memo_clean(scratch, start, stop);
    switch (field) {
        case LABEL_ACH_TRACE: memo_keep_trace(values, value, &memo->ach_trace); break;
        case LABEL_ORIGINAL_TRACE: memo_keep_trace(values, value, &memo->original_trace); break;
        case LABEL_EFFECTIVE_DATE:
            memo->effective_date =
                value.stop - value.start >= 6 ? memo_date(values + value.start) : DATE_NONE;
            break;
        case LABEL_RETURN_CODE: memo_keep_return(values, value, memo->return_code); break;
        case LABEL_SEC: memo_keep_sec(values, value, memo); break;
        case LABEL_DEBTOR_ROUTING:
        case LABEL_DEBTOR_ACCOUNT: memo->texts[field] = memo_digits(values, value); break;
        default: memo_keep_text(values, value, field, &memo->texts[field]);
    }
}

ACH_INLINE int memo_code_byte(uint8_t byte) {
    return is_digit(byte) || label_capital(byte);
}

/* A standard entry class as a word in text[start:stop]. */
static inline void memo_find_sec(const uint8_t *text, uint32_t start, uint32_t stop,
                                 memo_values *memo) {
    static const char codes[] = "CCDCTXPPDCORCIEWEBTELIAT";
    for (uint32_t at = start; at + 3 <= stop; at++) {
        if (memo_code_byte(text[at - 1]) || (at + 3 < stop && memo_code_byte(text[at + 3])))
            continue;
        for (const char *code = codes; *code != 0; code += 3) {
            if (memcmp(text + at, code, 3) != 0) continue;
            memcpy(memo->sec, code, 3);
            memo->sec_length = 3;
            return;
        }
    }
}

/* Values behind labels; the first of each counts. */
static inline void memo_read_labels(memo_scratch *scratch, memo_values *memo) {
    uint32_t length = scratch->length;
    label_place label = label_next(scratch->text, length, 0);
    label_field before = LABEL_NONE;
    for (int first = 1; label.field != LABEL_NONE; first = 0) {
        label_place next = label_next(scratch->text, length, label.end);
        label_field field = label.field;
        if (field == LABEL_DES) {
            if (first) memo->texts[LABEL_COMPANY_NAME] = memo_clean(scratch, 0, label.start);
            field = LABEL_ENTRY_DESCRIPTION;
        }
        /* ID alone says little; behind DES it is the entry's identification number. */
        if (field == LABEL_ID) field = before == LABEL_DES ? LABEL_RECEIVER_ID : LABEL_OTHER;
        if (field != LABEL_OTHER) {
            memo_keep(scratch, memo, field, label.end, next.start);
            if (field == LABEL_COMPANY_ID && memo->sec_length == 0)
                memo_find_sec(scratch->text, label.end, next.start, memo);
        }
        before = label.field;
        label = next;
    }
}

/* ---- the TRN ---- */

typedef struct {
    uint8_t form;
    trn_span trace; /* into lines */
    trn_span payer;
} memo_trn;

ACH_INLINE uint32_t span_size(trn_span span) {
    return span.stop - span.start;
}

/* The TRN in the lines [first, last), put together. */
static inline memo_trn memo_trn_of(const memo_scratch *scratch, uint32_t first, uint32_t last) {
    uint32_t start = scratch->line_starts[first], stop = scratch->line_starts[last];
    trn_result found = trn_find(scratch->lines + start, stop - start);
    memo_trn trn = {found.form,
                    {found.trace.start + start, found.trace.stop + start},
                    {found.payer.start + start, found.payer.stop + start}};
    return trn;
}

static inline memo_trn memo_uncertain(void) {
    memo_trn none = {TRN_UNCERTAIN, {0, 0}, {0, 0}};
    return none;
}

/* The TRN in lines that go on in one another: a line that holds all of it, or where it is cut by
 * the end of a line, the lines put together. */
static inline memo_trn memo_find_in_run(const memo_scratch *scratch, uint32_t first,
                                        uint32_t last) {
    memo_trn whole = memo_trn_of(scratch, first, last), single = whole;
    if (last - first == 1 || whole.form == TRN_NONE || span_size(whole.payer) == PAYER_DIGITS)
        return whole;
    uint32_t singles = 0, complete = 0;
    for (uint32_t line = first; line < last; line++) {
        memo_trn found = memo_trn_of(scratch, line, line + 1);
        if (span_size(found.trace) == 0) continue;
        if (singles++ == 0) single = found;
        complete += span_size(found.payer) >= PAYER_DIGITS;
    }
    if (complete == 1 && singles == 1) return single;
    if (span_size(whole.trace) > 0 && span_size(whole.payer) >= PAYER_DIGITS - 1) return whole;
    if (singles != 1) return singles == 0 ? whole : memo_uncertain();
    /* The line's trace may be whole, and the next line something else; or it is cut there. */
    int cut = span_size(whole.trace) > 0 && !trn_same(scratch->lines, whole.trace, single.trace);
    return cut ? memo_uncertain() : single;
}

/* The line begins with a key of its own: two to six capitals and a colon. */
static inline int memo_key_line(const memo_scratch *scratch, uint32_t line) {
    const uint8_t *at = scratch->lines + scratch->line_starts[line];
    const uint8_t *stop = scratch->lines + scratch->line_starts[line + 1];
    while (at < stop && (*at == ' ' || *at == '\t')) at++;
    const uint8_t *start = at;
    while (at < stop && label_capital(*at)) at++;
    return at < stop && *at == ':' && at - start >= OWN_KEY_BYTES_MIN &&
           at - start <= OWN_KEY_BYTES_MAX;
}

/* Same trace, and the payer of the right one is that of the left or not there. */
static inline int memo_same_trn(const uint8_t *lines, const memo_trn *left, const memo_trn *right) {
    return trn_same(lines, left->trace, right->trace) &&
           (span_size(right->payer) == 0 || trn_same(lines, left->payer, right->payer));
}

/* The one TRN in the lines; uncertain where several differ. */
static inline memo_trn memo_find_trn(const memo_scratch *scratch) {
    memo_trn best = {TRN_NONE, {0, 0}, {0, 0}};
    int found = 0, unsure = 0, differs = 0;
    uint32_t begin = 0;
    for (uint32_t end = 1; end <= scratch->line_count; end++) {
        if (end < scratch->line_count && !memo_key_line(scratch, end)) continue;
        memo_trn next = memo_find_in_run(scratch, begin, end);
        begin = end;
        unsure |= next.form == TRN_UNCERTAIN;
        if (span_size(next.trace) == 0) continue;
        if (found) {
            int longer = span_size(next.payer) > span_size(best.payer);
            /* Whatever the best turns out to be, the others have its trace and its payer or none.
             */
            differs |= longer ? !memo_same_trn(scratch->lines, &next, &best)
                              : !memo_same_trn(scratch->lines, &best, &next);
            if (longer) best = next;
        } else {
            best = next;
        }
        found = 1;
    }
    if (!found) best.form = unsure ? TRN_UNCERTAIN : TRN_NONE;
    return differs ? memo_uncertain() : best;
}

/* ---- details to rows ---- */

/* The lines of one detail, at most MEMO_BYTES_MAX of them with a line end between them. */
static inline int memo_gather(const memo_input *input, size_t detail, memo_scratch *scratch) {
    uint32_t length = 0;
    if (input->starts[detail] > input->stops[detail] || input->stops[detail] > input->ref_count)
        return MEMOS_OUT_OF_SOURCE;
    for (size_t row = input->starts[detail]; row < input->stops[detail]; row++) {
        text_ref ref = input->refs[row];
        if ((uint64_t)ref.offset + ref.length > input->source_size) return MEMOS_OUT_OF_SOURCE;
        if (length > MEMO_BYTES_MAX) continue;
        scratch->text[length++] = '\n';
        const uint8_t *from = input->source + ref.offset, *stop = from + ref.length;
        for (; from < stop && length <= MEMO_BYTES_MAX; from++)
            if (*from != '\n' && *from != '\r') scratch->text[length++] = *from;
    }
    scratch->length = length;
    scratch->values_length = 0;
    return MEMOS_OK;
}

/* Length of a number of the bank's own (`TRN: 123456789TC`) at text[at], in a line that ends at
 * `stop`; 0 where there is none. */
static inline uint32_t memo_bank_number(const uint8_t *text, uint32_t at, uint32_t stop) {
    uint32_t next = at + 4;
    if (next > stop || memcmp(text + at, "TRN:", 4) != 0 || is_letter(text[at - 1])) return 0;
    if (next < stop && text[next] == ' ') next++;
    uint32_t first = next;
    while (next < stop && is_digit(text[next])) next++;
    if (next - first < 5 || next - first > 12 || next + 2 > stop) return 0;
    if (text[next] != 'T' || text[next + 1] != 'C') return 0;
    next += 2;
    return next < stop && (is_alnum(text[next]) || text[next] == '*') ? 0 : next - at;
}

/* The text into lines, without the bank's own numbers where the text has a TRACE#. */
static inline void memo_split(memo_scratch *scratch) {
    const uint8_t *text = scratch->text;
    uint32_t length = scratch->length, written = 0;
    int numbers = memmem(text, length, "TRACE#", 6) != NULL;
    scratch->line_count = 0;
    for (uint32_t at = 0; at < length;) {
        /* text[at] is a line end, and the line is behind it. */
        const uint8_t *found = memchr(text + at + 1, '\n', length - at - 1);
        uint32_t stop = found == NULL ? length : (uint32_t)(found - text);
        scratch->line_starts[scratch->line_count++] = written;
        for (at++; at < stop;) {
            uint32_t skip = numbers && text[at] == 'T' ? memo_bank_number(text, at, stop) : 0;
            if (skip > 0) at += skip;
            else
                scratch->lines[written++] = text[at++];
        }
    }
    scratch->line_starts[scratch->line_count] = written;
}

/* Four to fifty letters, digits and . / -, three digits at least. */
static inline int memo_is_reference(const uint8_t *values, trn_span span) {
    return span_size(span) <= REFERENCE_BYTES_MAX && trn_plausible(values, span);
}

static inline text_ref memo_put(memo_bytes *out, const uint8_t *from, trn_span span) {
    text_ref ref = {(uint32_t)out->rows, span_size(span)};
    memcpy(out->data + out->rows, from + span.start, ref.length);
    out->rows += ref.length;
    return ref;
}

static inline void memo_write(memo_table *table, memo_bytes *out, const memo_scratch *scratch,
                              const memo_values *memo, const memo_trn *trn) {
    size_t row = table->rows++;
    const trn_span *texts = memo->texts;
    const uint8_t *values = scratch->values;
    trn_span remittance = texts[LABEL_REMITTANCE];
    int by_line = trn->form == TRN_NONE && memo_is_reference(values, remittance);
    table->form[row] = trn->form;
    table->trace[row] =
        by_line ? memo_put(out, values, remittance) : memo_put(out, scratch->lines, trn->trace);
    table->payer_id[row] = memo_put(out, scratch->lines, trn->payer);
    table->company_id[row] = memo_put(out, values, texts[LABEL_COMPANY_ID]);
    table->company_name[row] = memo_put(out, values, texts[LABEL_COMPANY_NAME]);
    table->entry_description[row] = memo_put(out, values, texts[LABEL_ENTRY_DESCRIPTION]);
    table->receiver_id[row] = memo_put(out, values, texts[LABEL_RECEIVER_ID]);
    table->check_number[row] = memo_put(out, values, texts[LABEL_CHECK_NUMBER]);
    table->drawer[row] = memo_put(out, values, texts[LABEL_DEBTOR_ROUTING]);
    table->drawer[row].length += memo_put(out, values, texts[LABEL_DEBTOR_ACCOUNT]).length;
    table->reference[row] = memo_put(out, values, texts[LABEL_REFERENCE]);
    memcpy(&table->sec[row], memo->sec, 4);
    memcpy(&table->return_code[row], memo->return_code, 4);
    table->ach_trace[row] = memo->ach_trace;
    table->original_trace[row] = memo->original_trace;
    table->effective_date[row] = memo->effective_date;
}

/* Bytes that one detail may add: its values are parts of its text, TRN02 and TRN03 parts of its
 * lines. */
enum { MEMO_OUT_BYTES_MAX = 2 * (MEMO_BYTES_MAX + 1) };

/* Read the texts of all details: a row of `table` for each, its texts into `out`. O(bytes). */
static inline int memos_read(const memo_input *input, memo_scratch *scratch, memo_table *table,
                             memo_bytes *out) {
    if (table_reserve(table, MEMO_SPECS, MEMO_SPEC_COUNT, input->details) != 0)
        return MEMOS_NO_MEMORY;
    for (size_t detail = 0; detail < input->details; detail++) {
        memo_values memo;
        memset(&memo, 0, sizeof memo);
        memo.ach_trace = memo.original_trace = -1;
        memo.effective_date = DATE_NONE;
        memo_trn trn = {TRN_NONE, {0, 0}, {0, 0}};
        int status = memo_gather(input, detail, scratch);
        if (status != MEMOS_OK) return status;
        size_t wanted = out->rows + MEMO_OUT_BYTES_MAX;
        if (wanted > out->capacity &&
            table_reserve(out, MEMO_BYTES_SPECS, 1, wanted + out->capacity) != 0)
            return MEMOS_NO_MEMORY;
        if (scratch->length > 0) {
            memo_read_labels(scratch, &memo);
            memo_split(scratch);
            trn = memo_find_trn(scratch);
        }
        memo_write(table, out, scratch, &memo, &trn);
    }
    return MEMOS_OK;
}

#endif
