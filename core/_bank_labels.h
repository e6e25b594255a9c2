/* Labels in the text of a bank report's detail, and where they stand. */
#ifndef REASSOC_BANK_LABELS_H
#define REASSOC_BANK_LABELS_H

#include <stdint.h>
#include <string.h>

#include "_ach_digits.h"

/* What the value behind a label is. DES and ID are what they are by their neighbours. */
typedef enum {
    LABEL_COMPANY_NAME,
    LABEL_ENTRY_DESCRIPTION,
    LABEL_RECEIVER_ID,
    LABEL_COMPANY_ID,
    LABEL_CHECK_NUMBER,
    LABEL_DEBTOR_ROUTING,
    LABEL_DEBTOR_ACCOUNT,
    LABEL_REFERENCE,
    LABEL_REMITTANCE,
    LABEL_TEXT_COUNT, /* those above are kept as texts */
    LABEL_SEC,
    LABEL_ACH_TRACE,
    LABEL_EFFECTIVE_DATE,
    LABEL_RETURN_CODE,
    LABEL_ORIGINAL_TRACE,
    LABEL_DES,
    LABEL_ID,
    LABEL_OTHER,
    LABEL_NONE,
} label_field;

/* Longest first: the longest that a text ends with is the label. LABEL_OTHER ends the value before
 * it. */
#define LABELS(X)                                                                                  \
    X(LABEL_ORIGINAL_TRACE, "RETURN OF CLIENT REF ID")                                             \
    X(LABEL_CHECK_NUMBER, "CHECK SERIAL NUMBER")                                                   \
    X(LABEL_ENTRY_DESCRIPTION, "ENTRY DESCRIPTION")                                                \
    X(LABEL_REMITTANCE, "REMITTANCE INFO")                                                         \
    X(LABEL_ENTRY_DESCRIPTION, "CO ENTRY DESCR")                                                   \
    X(LABEL_OTHER, "CLIENT REF ID")                                                                \
    X(LABEL_RECEIVER_ID, "INDIVIDUAL ID")                                                          \
    X(LABEL_RETURN_CODE, "RETURN REASON")                                                          \
    X(LABEL_CHECK_NUMBER, "CHECK NUMBER")                                                          \
    X(LABEL_OTHER, "CLEARING REF")                                                                 \
    X(LABEL_COMPANY_NAME, "COMPANY NAME")                                                          \
    X(LABEL_COMPANY_NAME, "ORIG CO NAME")                                                          \
    X(LABEL_OTHER, "PAYMENT INFO")                                                                 \
    X(LABEL_OTHER, "STRUCTURE ID")                                                                 \
    X(LABEL_ACH_TRACE, "TRACE NUMBER")                                                             \
    X(LABEL_OTHER, "ORG ADDRESS")                                                                  \
    X(LABEL_OTHER, "RETURN FROM")                                                                  \
    X(LABEL_OTHER, "SETTLED AMT")                                                                  \
    X(LABEL_COMPANY_ID, "COMPANY ID")                                                              \
    X(LABEL_ENTRY_DESCRIPTION, "ENTRY DESC")                                                       \
    X(LABEL_OTHER, "DESC DATE")                                                                    \
    X(LABEL_OTHER, "RETURN TO")                                                                    \
    X(LABEL_OTHER, "SENDER ID")                                                                    \
    X(LABEL_CHECK_NUMBER, "CHECK NO")                                                              \
    X(LABEL_OTHER, "IND NAME")                                                                     \
    X(LABEL_OTHER, "PMT INFO")                                                                     \
    X(LABEL_ACH_TRACE, "TRACE NO")                                                                 \
    X(LABEL_OTHER, "ADDENDA")                                                                      \
    X(LABEL_COMPANY_ID, "CMPY ID")                                                                 \
    X(LABEL_COMPANY_NAME, "CO NAME")                                                               \
    X(LABEL_OTHER, "FX RATE")                                                                      \
    X(LABEL_COMPANY_ID, "ORIG ID")                                                                 \
    X(LABEL_OTHER, "BNF ID")                                                                       \
    X(LABEL_RECEIVER_ID, "IND ID")                                                                 \
    X(LABEL_RETURN_CODE, "REASON")                                                                 \
    X(LABEL_OTHER, "REC ID")                                                                       \
    X(LABEL_ACH_TRACE, "TRACE#")                                                                   \
    X(LABEL_COMPANY_ID, "CO ID")                                                                   \
    X(LABEL_OTHER, "GS ID")                                                                        \
    X(LABEL_CHECK_NUMBER, "CHKN")                                                                  \
    X(LABEL_COMPANY_ID, "COID")                                                                    \
    X(LABEL_DEBTOR_ROUTING, "DABA")                                                                \
    X(LABEL_DEBTOR_ACCOUNT, "DACT")                                                                \
    X(LABEL_COMPANY_NAME, "DBNM")                                                                  \
    X(LABEL_REFERENCE, "EREF")                                                                     \
    X(LABEL_COMPANY_NAME, "FROM")                                                                  \
    X(LABEL_RECEIVER_ID, "IDNM")                                                                   \
    X(LABEL_OTHER, "INDN")                                                                         \
    X(LABEL_REMITTANCE, "REMI")                                                                    \
    X(LABEL_DES, "DES")                                                                            \
    X(LABEL_EFFECTIVE_DATE, "EED")                                                                 \
    X(LABEL_COMPANY_NAME, "ORG")                                                                   \
    X(LABEL_SEC, "SEC")                                                                            \
    X(LABEL_OTHER, "TRN")                                                                          \
    X(LABEL_ID, "ID")                                                                              \
    X(LABEL_OTHER, "TO")

typedef struct {
    const char *name;
    uint8_t length;
    uint8_t last;
    uint8_t field;
} label_name;

#define LABEL_ROW(field, name) {name, sizeof(name) - 1, (uint8_t)name[sizeof(name) - 2], field},
static const label_name LABEL_NAMES[] = {LABELS(LABEL_ROW)};
enum {
    LABEL_NAME_COUNT = sizeof LABEL_NAMES / sizeof LABEL_NAMES[0],
    LABEL_BYTES_MAX = 23, /* of the longest name */
    OWN_KEY_BYTES_MIN = 2,
    OWN_KEY_BYTES_MAX = 6,
};

/* A label that stands at text[start:end], the colon with it. */
typedef struct {
    label_field field;
    uint32_t start;
    uint32_t end;
} label_place;

ACH_INLINE int label_capital(uint8_t byte) {
    return (uint8_t)(byte - 'A') <= 25;
}

static inline int label_equal(const uint8_t *text, const label_name *label) {
    for (uint32_t i = 0; i < label->length; i++)
        if (upper(text[i]) != (uint8_t)label->name[i]) return 0;
    return 1;
}

/* The label that text[:stop] ends with, as a word, in any case; its length, 0 for none. */
static inline uint32_t label_at_end(const uint8_t *text, uint32_t stop, label_field *field) {
    uint8_t last = stop > 0 ? upper(text[stop - 1]) : 0;
    for (int i = 0; i < LABEL_NAME_COUNT; i++) {
        const label_name *label = &LABEL_NAMES[i];
        if (label->last != last || label->length > stop) continue;
        uint32_t start = stop - label->length;
        if (!label_equal(text + start, label)) continue;
        if (start > 0 && is_alnum(text[start - 1])) return 0;
        *field = (label_field)label->field;
        return label->length;
    }
    return 0;
}

/* Length of a line's own key that text[:stop] ends with, known or not: two to six capitals, only
 * blanks before them; 0 for none. A line end may stand behind it. */
static inline uint32_t label_own_key(const uint8_t *text, uint32_t stop) {
    uint32_t first = stop > LABEL_BYTES_MAX + 1 ? stop - LABEL_BYTES_MAX - 1 : 0;
    if (stop > first && text[stop - 1] == '\n') stop--;
    uint32_t start = stop;
    while (start > first && label_capital(text[start - 1])) start--;
    uint32_t length = stop - start;
    if (length < OWN_KEY_BYTES_MIN || length > OWN_KEY_BYTES_MAX) return 0;
    while (start > first && (text[start - 1] == ' ' || text[start - 1] == '\t')) start--;
    return start > first && text[start - 1] == '\n' ? length : 0;
}

/* What an own key is called, exactly; LABEL_OTHER where it is not known. */
static inline label_field label_of_key(const uint8_t *text, uint32_t length) {
    for (int i = 0; i < LABEL_NAME_COUNT; i++)
        if (LABEL_NAMES[i].length == length && memcmp(LABEL_NAMES[i].name, text, length) == 0)
            return (label_field)LABEL_NAMES[i].field;
    return LABEL_OTHER;
}

/* The first label from `from` on, looked for at the colons; LABEL_NONE where there is none.
 * text[0] is a line end. */
static inline label_place label_next(const uint8_t *text, uint32_t length, uint32_t from) {
    label_place place = {LABEL_NONE, length, length};
    while (from < length) {
        const uint8_t *found = memchr(text + from, ':', length - from);
        if (found == NULL) break;
        uint32_t colon = (uint32_t)(found - text);
        uint32_t stop = text[colon - 1] == ' ' ? colon - 1 : colon;
        uint32_t end = colon + 1 < length && text[colon + 1] == '=' ? colon + 2 : colon + 1;
        label_field field = LABEL_NONE;
        uint32_t size = label_own_key(text, stop);
        /* The key ends before a line end where one stands there. */
        uint32_t key_stop = text[stop - 1] == '\n' ? stop - 1 : stop;
        if (size > 0) field = label_of_key(text + key_stop - size, size);
        else
            size = label_at_end(text, stop, &field);
        if (size > 0) {
            place.field = field;
            place.start = stop - size;
            place.end = end;
            break;
        }
        from = end;
    }
    return place;
}

#endif
