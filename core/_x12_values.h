/* Elements to values: amounts, quantities, dates, codes, counts, and the hash of a transaction's
 * body.
 *
 * Each function has a fast path for what files really hold (eight bytes in one word, no loop) and a
 * plain path that is right for everything. Elements come without line wraps and with VALUE_SLACK
 * readable bytes behind them.
 */
#ifndef REASSOC_X12_VALUES_H
#define REASSOC_X12_VALUES_H

#include <limits.h>

#include "_columns.h"
#include "_findings.h"
#include "_simd.h"

/* An element: where it starts and how long it is. */
typedef struct {
    const uint8_t *at;
    uint32_t length;
} element_view;

enum {
    AMOUNT_CHARACTERS_MAX = 18, /* data element 782, type R */
    MONEY_DECIMALS = 2,
    QUANTITY_DECIMALS = 4,
};

/* A hundred billion dollars, less a cent: no payment or charge is near, and sums of hundreds of
 * thousands of them stay within int64. */
static const uint64_t MONEY_CENTS_MAX = UINT64_C(9999999999999);

/* Masks of the low n bytes: a table, for lengths vary too much for a branch to be foreseen. */
static const uint64_t LOW_BYTES[9] = {0,          0xFF,         0xFFFF,         0xFFFFFF,
                                      0xFFFFFFFF, 0xFFFFFFFFFF, 0xFFFFFFFFFFFF, 0xFFFFFFFFFFFFFF,
                                      UINT64_MAX};

/* Values are loaded as whole words: this many bytes behind an element must be readable (see
 * clean_segment). */
enum { VALUE_SLACK = 8 };

/* Up to eight bytes as a little-endian word, the rest zero. Reads eight bytes whatever the length.
 */
ALWAYS_INLINE uint64_t load_up_to_8(const uint8_t *at, uint32_t length) {
    return load_word_le(at) & LOW_BYTES[length < 8 ? length : 8];
}

ALWAYS_INLINE bool word_is_digits(uint64_t word) {
    /* Every byte 0x30..0x39: the high nibble is 3 and adding 6 does not carry into it. */
    return ((word & (word + UINT64_C(0x0606060606060606))) & UINT64_C(0xF0F0F0F0F0F0F0F0)) ==
           UINT64_C(0x3030303030303030);
}

/* Eight ASCII digits, first character in the lowest byte. */
ALWAYS_INLINE uint32_t eight_digits(uint64_t word) {
    word -= UINT64_C(0x3030303030303030);
    word = word * 10 + (word >> 8);
    return (uint32_t)((((word & UINT64_C(0x000000FF000000FF)) * UINT64_C(0x000F424000000064)) +
                       (((word >> 16) & UINT64_C(0x000000FF000000FF)) *
                        UINT64_C(0x0000271000000001))) >>
                      32);
}

/* [-] digits [ . up to `decimals` digits ], at least one digit, at most 18 characters (X12 type R
 * without exponent). */
static __attribute__((noinline)) finding_code parse_decimal_plain(element_view element,
                                                                  int decimals, int64_t *value) {
    *value = 0;
    if (element.length > AMOUNT_CHARACTERS_MAX) {
        bool dotted = false;
        for (uint32_t i = 0; i < element.length; i++) {
            uint8_t byte = element.at[i];
            bool first_dot = byte == '.' && !dotted;
            if ((byte < '0' || byte > '9') && !first_dot && !(byte == '-' && i == 0))
                return X12_AMOUNT_BAD;
            dotted |= first_dot;
        }
        return X12_AMOUNT_OVERFLOW;
    }
    const uint8_t *at = element.at, *stop = element.at + element.length;
    bool negative = at < stop && *at == '-';
    if (negative) at++;
    uint64_t number = 0;
    int digits = 0, fraction = -1;
    for (; at < stop; at++) {
        if (*at == '.' && fraction < 0) {
            fraction = 0;
        } else if (*at >= '0' && *at <= '9') {
            number = number * 10 + (uint64_t)(*at - '0'); /* 18 characters fit in 64 bits */
            digits++;
            if (fraction >= 0) fraction++;
        } else {
            return X12_AMOUNT_BAD;
        }
    }
    if (digits == 0) return X12_AMOUNT_BAD;
    if (fraction > decimals) return X12_AMOUNT_DECIMALS;
    for (int i = fraction < 0 ? 0 : fraction; i < decimals; i++) {
        if (__builtin_mul_overflow(number, (uint64_t)10, &number)) return X12_AMOUNT_OVERFLOW;
    }
    if (number > (decimals == MONEY_DECIMALS ? MONEY_CENTS_MAX : (uint64_t)INT64_MAX))
        return X12_AMOUNT_OVERFLOW;
    *value = negative ? -(int64_t)number : (int64_t)number;
    return FINDING_NONE;
}

/* Cents. An empty element is FINDING_NONE and 0: the caller knows whether it may be empty. */
ALWAYS_INLINE finding_code parse_cents(element_view element, int64_t *cents) {
    uint32_t length = element.length;
    if (length == 0) {
        *cents = 0;
        return FINDING_NONE;
    }
    if (LIKELY(length <= 8)) {
        /* Right-align, so that a dot before two decimals is always byte 5 of the word, and fill
         * with zeros. */
        uint64_t word = load_word_le(element.at) << (8 * (8 - length));
        uint64_t zeros = length == 8 ? 0 : UINT64_C(0x3030303030303030) >> (8 * length);
        if (length >= 4 && ((word >> 40) & 0xFF) == '.') {
            uint64_t closed = (word & UINT64_C(0xFFFF000000000000)) |
                              ((word & UINT64_C(0x000000FFFFFFFFFF)) << 8);
            closed |= zeros << 8 | 0x30;
            if (LIKELY(word_is_digits(closed))) {
                *cents = eight_digits(closed);
                return FINDING_NONE;
            }
        } else if (word_is_digits(word | zeros)) {
            *cents = (int64_t)eight_digits(word | zeros) * 100;
            return FINDING_NONE;
        }
    }
    return parse_decimal_plain(element, MONEY_DECIMALS, cents);
}

ALWAYS_INLINE finding_code parse_quantity_e4(element_view element, int64_t *value) {
    if (element.length == 0) {
        *value = 0;
        return FINDING_NONE;
    }
    if (LIKELY(element.length == 1 && element.at[0] >= '0' && element.at[0] <= '9')) {
        *value = (int64_t)(element.at[0] - '0') * 10000;
        return FINDING_NONE;
    }
    return parse_decimal_plain(element, QUANTITY_DECIMALS, value) == FINDING_NONE
               ? FINDING_NONE
               : X12_QUANTITY_BAD;
}

/* Days since 1970-01-01 of a proleptic Gregorian date; DATE_NONE where there is no such day. */
static inline int32_t days_from_civil(int32_t year, int32_t month, int32_t day) {
    static const uint8_t month_days[13] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (month < 1 || month > 12 || day < 1 || year < 1) return DATE_NONE;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (day > month_days[month] + (month == 2 && leap)) return DATE_NONE;
    int32_t shifted = year - (month <= 2);
    int32_t era = shifted / 400, year_of_era = shifted - era * 400;
    int32_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

/* CCYYMMDD, or YYMMDD (years 00-99 read as 2000-2099: both standards are younger than 2000 in any
 * file that moves). */
static __attribute__((noinline)) int32_t parse_date(element_view element) {
    uint64_t word = load_up_to_8(element.at, element.length);
    if (element.length == 6) word = word << 16 | UINT64_C(0x3032); /* "20" in front */
    else if (element.length != 8)
        return DATE_NONE;
    if (!word_is_digits(word)) return DATE_NONE;
    int32_t number = (int32_t)eight_digits(word);
    return days_from_civil(number / 10000, number / 100 % 100, number % 100);
}

/* A non-negative count of at most nine digits, leading zeros allowed; -1 where it is none. */
static inline int64_t parse_count(element_view element) {
    if (element.length == 0 || element.length > 10) return -1;
    int64_t count = 0;
    for (uint32_t i = 0; i < element.length; i++) {
        if (element.at[i] < '0' || element.at[i] > '9') return -1;
        count = count * 10 + (element.at[i] - '0');
    }
    return count;
}

static inline uint64_t fold_multiply(uint64_t left, uint64_t right) {
    __uint128_t product = (__uint128_t)left * right;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* 64-bit hash of a byte range, the same on every machine. It proposes that two bodies are equal; it
 * proves nothing. */
static inline uint64_t hash_bytes(const uint8_t *at, size_t length) {
    const uint64_t key_a = UINT64_C(0x9E3779B97F4A7C15), key_b = UINT64_C(0xD1B54A32D192ED03);
    uint64_t one = key_a ^ length, two = key_b, three = key_a + key_b, four = ~key_a;
    const uint8_t *stop = at + length;
    for (; at + 64 <= stop; at += 64) {
        one = fold_multiply(load_word_le(at) ^ one, load_word_le(at + 8) ^ key_a);
        two = fold_multiply(load_word_le(at + 16) ^ two, load_word_le(at + 24) ^ key_b);
        three = fold_multiply(load_word_le(at + 32) ^ three, load_word_le(at + 40) ^ key_a);
        four = fold_multiply(load_word_le(at + 48) ^ four, load_word_le(at + 56) ^ key_b);
    }
    one = fold_multiply(one ^ two, key_a) ^ fold_multiply(three ^ four, key_b);
    for (; at + 8 <= stop; at += 8) one = fold_multiply(load_word_le(at) ^ one, key_a);
    uint64_t last = 0;
    for (uint32_t i = 0; at + i < stop; i++) last |= (uint64_t)at[i] << (8 * i);
    return fold_multiply(last ^ one, key_b ^ length);
}

#endif
