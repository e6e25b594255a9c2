/* The TRN segment out of free text: the 80 characters of an addenda, in the forms that banks really
 * deliver.
 *
 * A trace is only given where the text leaves no doubt about which characters it is: everything
 * else is TRN_UNCERTAIN, without a trace. core/reference_ach.py says the same in plain Python, form
 * by form.
 */
#ifndef REASSOC_ACH_TRN_H
#define REASSOC_ACH_TRN_H

#include "_ach_digits.h"

/* Numbers of ach.TrnForm; a test holds the two together. */
enum {
    TRN_NONE = 0,
    TRN_BACKSLASH = 1,
    TRN_TILDE = 2,
    TRN_UNTERMINATED = 3,
    TRN_EMBEDDED = 4,
    TRN_OTHER_SEPARATOR = 5,
    TRN_DOUBLED = 6,
    TRN_NAME_GLUED = 7,
    TRN_PREFIX_DAMAGED = 8,
    TRN_LABELLED = 9,
    TRN_PREFIX_MISSING = 10,
    TRN_PAYLOAD = 11,
    TRN_UNCERTAIN = 12,
};

#define TRN02_BYTES_MAX 50
#define TRN_SEARCH_BYTES_MAX 4096 /* of a payload that is no X12 */

typedef struct {
    uint32_t start;
    uint32_t stop;
} trn_span;

typedef struct {
    uint8_t form;
    trn_span trace;
    trn_span payer;
    trn_span supplement;
} trn_result;

/* What was met while the elements were read. */
typedef struct {
    uint32_t end;       /* one after the last byte that belongs to the segment */
    uint8_t terminator; /* the byte that ended it, 0 for the end of the text */
    int tail;           /* other text follows */
    int cut;            /* the segment was ended by that text, not by a byte of its own */
    int other;          /* a terminator that is neither \ nor ~ */
    int uncertain;
} trn_ending;

ACH_INLINE int trn_word_at(const uint8_t *text, uint32_t length, uint32_t at) {
    return at + 3 <= length && upper(text[at]) == 'T' && upper(text[at + 1]) == 'R' &&
           upper(text[at + 2]) == 'N';
}

ACH_INLINE int trn_separator(uint8_t byte) {
    return !is_alnum(byte) && byte != ' ' && byte != ':' && byte != '#' && byte != '=' &&
           byte != '\\' && byte != '~';
}

static inline uint32_t trn_element_end(const uint8_t *text, uint32_t length, uint32_t at,
                                       uint8_t separator) {
    while (at < length && text[at] != separator && text[at] != '\\' && text[at] != '~' &&
           text[at] >= 0x20)
        at++;
    return at;
}

static inline trn_span trn_trim(const uint8_t *text, uint32_t start, uint32_t stop) {
    while (start < stop && text[start] == ' ') start++;
    while (stop > start && text[stop - 1] == ' ') stop--;
    trn_span span = {start, stop};
    return span;
}

static inline uint32_t trn_find_blank(const uint8_t *text, uint32_t start, uint32_t stop,
                                      uint32_t width) {
    for (uint32_t at = start; at + width <= stop; at++)
        if (text[at] == ' ' && (width == 1 || text[at + 1] == ' ')) return at;
    return stop;
}

static inline int trn_all_alnum(const uint8_t *text, uint32_t start, uint32_t stop) {
    for (uint32_t at = start; at < stop; at++)
        if (!is_alnum(text[at])) return 0;
    return 1;
}

/* TRN03: ten characters; what stands after a blank is other text. */
static inline void trn_read_payer(const uint8_t *text, uint32_t length, uint32_t start,
                                  uint32_t stop, trn_span *payer, trn_ending *ending) {
    trn_span span = trn_trim(text, start, stop);
    uint32_t blank = trn_find_blank(text, span.start, span.stop, 1);
    if (blank < span.stop) {
        int whole = blank - span.start == 10 && trn_all_alnum(text, span.start, blank);
        if (whole) {
            span.stop = blank;
            ending->end = blank;
            ending->cut = 1;
        } else if (stop == length) {
            span.stop = span.start;
            ending->tail = 1;
        }
    }
    if (span.stop - span.start == 11 && !is_alnum(text[span.stop - 1])) {
        span.stop--;
        ending->other = 1;
    }
    *payer = span;
}

/* Without a terminator the end of TRN02 is only clear before two blanks or at the end of the text.
 */
static inline void trn_cut_open_trace(const uint8_t *text, trn_span *trace, trn_ending *ending) {
    uint32_t gap = trn_find_blank(text, trace->start, trace->stop, 2);
    if (gap < trace->stop) {
        trace->stop = gap;
        ending->tail = 1;
    }
    if (trn_find_blank(text, trace->start, trace->stop, 1) < trace->stop) ending->uncertain = 1;
    while (trace->stop > trace->start &&
           (text[trace->stop - 1] == '!' || text[trace->stop - 1] == '.' ||
            text[trace->stop - 1] == ',' || text[trace->stop - 1] == ';')) {
        trace->stop--;
        ending->other = 1;
    }
}

/* Read TRN02, TRN03 and TRN04 from `at`, where TRN02 starts. */
static inline trn_ending trn_read_elements(const uint8_t *text, uint32_t length, uint32_t at,
                                           uint8_t separator, trn_result *result) {
    trn_ending ending = {0, 0, 0, 0, 0, 0};
    trn_span none = {0, 0};
    uint32_t stop = trn_element_end(text, length, at, separator);
    result->trace = trn_trim(text, at, stop);
    result->payer = none;
    result->supplement = none;
    ending.end = stop;
    if (stop == length) trn_cut_open_trace(text, &result->trace, &ending);
    if (stop < length && text[stop] == separator) {
        uint32_t start = stop + 1;
        stop = trn_element_end(text, length, start, separator);
        ending.end = stop;
        trn_read_payer(text, length, start, stop, &result->payer, &ending);
        if (!ending.cut && stop < length && text[stop] == separator) {
            start = stop + 1;
            stop = trn_element_end(text, length, start, separator);
            ending.end = stop;
            result->supplement = trn_trim(text, start, stop);
            if (stop == length) {
                uint32_t gap =
                    trn_find_blank(text, result->supplement.start, result->supplement.stop, 2);
                if (gap < result->supplement.stop) ending.tail = 1;
                result->supplement.stop = gap;
            }
            if (stop < length && text[stop] == separator) ending.tail = 1;
        }
    }
    if (!ending.cut && ending.end < length && text[ending.end] != separator) {
        ending.terminator = text[ending.end];
        ending.end++;
        if (ending.terminator != '\\' && ending.terminator != '~') ending.other = 1;
    }
    for (uint32_t rest = ending.end; rest < length; rest++)
        if (text[rest] != ' ') ending.tail = 1;
    for (uint32_t inner = at; inner < ending.end; inner++)
        if (text[inner] == ' ' && trn_word_at(text, ending.end, inner + 1)) ending.uncertain = 1;
    return ending;
}

/* XXXX in place of digits. */
static inline int trn_masked(const uint8_t *text, trn_span span) {
    uint32_t run = 0;
    for (uint32_t at = span.start; at < span.stop; at++) {
        run = upper(text[at]) == 'X' ? run + 1 : 0;
        if (run >= 4) return 1;
    }
    return 0;
}

/* `PacificSource0012345`: a name in mixed case, or of several words, then five digits or more.
 * Moves the start of the trace to the digits. An upper-case prefix may well be part of the trace
 * and stays. */
static inline int trn_unglue(const uint8_t *text, trn_span *span) {
    uint32_t at = span->start;
    int mixed = 0;
    if (at == span->stop || !is_letter(text[at])) return 0;
    for (; at < span->stop && !is_digit(text[at]); at++) {
        uint8_t byte = text[at];
        if (!is_letter(byte) && byte != ' ' && byte != '.' && byte != ',' && byte != '&' &&
            byte != '\'' && byte != '-')
            return 0;
        if (byte == ' ' || (uint8_t)(byte - 'a') <= 25) mixed = 1;
    }
    if (!mixed || at - span->start < 4 || span->stop - at < 5) return 0;
    for (uint32_t digit = at; digit < span->stop; digit++)
        if (!is_digit(text[digit])) return 0;
    span->start = at;
    return 1;
}

/* Where the segment is damaged the trace must at least look like one. */
static inline int trn_plausible(const uint8_t *text, trn_span span) {
    uint32_t size = span.stop - span.start, digits = 0;
    if (size < 4 || size > TRN02_BYTES_MAX) return 0;
    for (uint32_t at = span.start; at < span.stop; at++) {
        if (!is_alnum(text[at]) && text[at] != '-' && text[at] != '.' && text[at] != '/') return 0;
        digits += is_digit(text[at]);
    }
    return digits >= 3;
}

static inline void trn_give_up(trn_result *result) {
    memset(result, 0, sizeof *result);
    result->form = TRN_UNCERTAIN;
}

/* `TRN` separator `1` separator ... at `start`. Returns one after the segment. */
static inline uint32_t trn_read_standard(const uint8_t *text, uint32_t length, uint32_t start,
                                         trn_result *result) {
    uint8_t separator = text[start + 3];
    uint32_t body = start + 6;
    int doubled =
        start >= 4 && trn_word_at(text, length, start - 4) && text[start - 1] == separator;
    while (body + 6 <= length && trn_word_at(text, length, body) && text[body + 3] == separator &&
           text[body + 4] == '1' && text[body + 5] == separator) {
        body += 6;
        doubled = 1;
    }
    trn_ending ending = trn_read_elements(text, length, body, separator, result);
    uint32_t size = result->trace.stop - result->trace.start;
    if (ending.uncertain || size == 0 || size > TRN02_BYTES_MAX ||
        trn_masked(text, result->trace)) {
        trn_give_up(result);
        return ending.end;
    }
    int glued = trn_unglue(text, &result->trace);
    if (doubled) result->form = TRN_DOUBLED;
    else if (glued)
        result->form = TRN_NAME_GLUED;
    else if (separator != '*' || ending.other)
        result->form = TRN_OTHER_SEPARATOR;
    else if (start > 0 || ending.tail)
        result->form = TRN_EMBEDDED;
    else if (ending.terminator == '\\')
        result->form = TRN_BACKSLASH;
    else if (ending.terminator == '~')
        result->form = TRN_TILDE;
    else
        result->form = TRN_UNTERMINATED;
    return ending.end;
}

static inline int trn_standard_at(const uint8_t *text, uint32_t length, uint32_t at) {
    return at + 6 <= length && trn_word_at(text, length, at) && trn_separator(text[at + 3]) &&
           text[at + 4] == '1' && text[at + 5] == text[at + 3];
}

static inline int trn_same(const uint8_t *text, trn_span left, trn_span right) {
    uint32_t size = left.stop - left.start;
    return size == right.stop - right.start &&
           memcmp(text + left.start, text + right.start, size) == 0;
}

/* All well-formed segments of the text; several that differ leave doubt. Returns whether there was
 * one. */
static inline int trn_find_standard(const uint8_t *text, uint32_t length, trn_result *result) {
    int found = 0;
    uint32_t at = 0;
    while (at + 6 <= length) {
        if (!trn_standard_at(text, length, at)) {
            at++;
            continue;
        }
        trn_result next;
        at = trn_read_standard(text, length, at, &next);
        if (!found) *result = next;
        else if (next.form == TRN_UNCERTAIN || !trn_same(text, result->trace, next.trace))
            trn_give_up(result);
        found = 1;
    }
    return found;
}

/* `TRN1*n`, `TRN:*1*n`, `TRN*n`: elements after a prefix that is not `TRN*1*`. Returns whether it
 * was of that kind. */
static inline int trn_find_damaged(const uint8_t *text, uint32_t length, uint32_t at,
                                   trn_result *result) {
    uint32_t next = at + 3;
    if (next + 1 < length && text[next] == '1' && trn_separator(text[next + 1])) next++;
    else
        while (next < length &&
               (text[next] == ':' || text[next] == ' ' || text[next] == '.' || text[next] == '-'))
            next++;
    if (next >= length || !trn_separator(text[next])) return 0;
    uint8_t separator = text[next++];
    if (next + 1 < length && text[next] == '1' && text[next + 1] == separator) next += 2;
    trn_ending ending = trn_read_elements(text, length, next, separator, result);
    if (ending.uncertain || !trn_plausible(text, result->trace) || trn_masked(text, result->trace))
        trn_give_up(result);
    else
        result->form = TRN_PREFIX_DAMAGED;
    return 1;
}

/* [ #:=]* then letters, digits and hyphens; `mark` says whether one of # : = was there. */
static inline trn_span trn_label_value(const uint8_t *text, uint32_t length, uint32_t at,
                                       int *mark) {
    *mark = 0;
    while (at < length &&
           (text[at] == ' ' || text[at] == '#' || text[at] == ':' || text[at] == '=')) {
        if (text[at] != ' ') *mark = 1;
        at++;
    }
    trn_span span = {at, at};
    while (span.stop < length && (is_alnum(text[span.stop]) || text[span.stop] == '-')) span.stop++;
    return span;
}

/* `TRN# n`, `TRN02 = n`, `TRN: n`. */
static inline int trn_find_label(const uint8_t *text, uint32_t length, uint32_t at,
                                 trn_result *result) {
    uint32_t next = at + 3;
    int mark;
    if (next + 2 <= length && text[next] == '0' && text[next + 1] == '2') next += 2;
    trn_span trace = trn_label_value(text, length, next, &mark);
    if (!mark || trace.start == trace.stop) return 0;
    memset(result, 0, sizeof *result);
    result->trace = trace;
    uint8_t after = trace.stop < length ? text[trace.stop] : ' ';
    int ended = after == ' ' || after == '\\' || after == '~' || after == ',' || after == ';';
    if (!ended || !trn_plausible(text, trace) || trn_masked(text, trace)) {
        trn_give_up(result);
        return 1;
    }
    result->form = TRN_LABELLED;
    for (uint32_t other = trace.stop; other + 5 <= length; other++) {
        if (!trn_word_at(text, length, other) || text[other + 3] != '0' || text[other + 4] != '3')
            continue;
        trn_span payer = trn_label_value(text, length, other + 5, &mark);
        if (mark && payer.stop - payer.start == 10 && trn_all_alnum(text, payer.start, payer.stop))
            result->payer = payer;
        break;
    }
    return 1;
}

/* `*1*n*1nnnnnnnnn`: the prefix is gone; only the payer's ten digits after it make the number a
 * trace. */
static inline void trn_find_headless(const uint8_t *text, uint32_t length, trn_result *result) {
    uint32_t body = 0;
    if (length >= 2 && text[0] == '1' && text[1] == '*') body = 2;
    else
        for (uint32_t at = 0; at + 3 <= length && body == 0; at++)
            if (text[at] == '*' && text[at + 1] == '1' && text[at + 2] == '*') body = at + 3;
    if (body == 0) return;
    trn_ending ending = trn_read_elements(text, length, body, '*', result);
    trn_span payer = result->payer;
    int sure = !ending.uncertain && trn_plausible(text, result->trace) &&
               !trn_masked(text, result->trace) && payer.stop - payer.start == 10 &&
               number_at(text + payer.start, 10) >= 0 &&
               (text[payer.start] == '1' || text[payer.start] == '3' || text[payer.start] == '9');
    if (sure) {
        result->form = TRN_PREFIX_MISSING;
        return;
    }
    uint32_t digits = 0;
    for (uint32_t at = body; at < length; at++) digits += is_digit(text[at]);
    if (digits >= 4) trn_give_up(result);
    else
        memset(result, 0, sizeof *result);
}

/* Find the TRN in a text; spans are positions in it. */
static inline trn_result trn_find(const uint8_t *text, uint32_t length) {
    trn_result result;
    memset(&result, 0, sizeof result);
    uint32_t skip = 0;
    while (length > 0 && text[length - 1] == ' ') length--;
    while (skip < length && text[skip] == ' ') skip++;
    text += skip;
    length -= skip;
    if (!trn_find_standard(text, length, &result)) {
        int word = 0;
        for (uint32_t at = 0; at + 3 <= length && !word; at++) {
            if (!trn_word_at(text, length, at) || (at > 0 && is_alnum(text[at - 1]))) continue;
            word = trn_find_damaged(text, length, at, &result) ||
                   trn_find_label(text, length, at, &result);
            if (word) break;
            uint32_t digits = 0;
            for (uint32_t rest = at + 3; rest < length; rest++) digits += is_digit(text[rest]);
            if (digits >= 4) {
                trn_give_up(&result);
                word = 1;
            }
        }
        if (!word) trn_find_headless(text, length, &result);
    }
    trn_span *spans[3] = {&result.trace, &result.payer, &result.supplement};
    for (int i = 0; i < 3; i++) {
        spans[i]->start += skip;
        spans[i]->stop += skip;
    }
    return result;
}

#endif
