/* Normal forms of traces and payers. reference_keys.py says the same in plain Python; tests hold
 * the two together. */
#ifndef REASSOC_FORMS_H
#define REASSOC_FORMS_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define TRACE_BYTES_MAX 100 /* twice what TRN02 may have; a longer value is no trace number */
#define PAYER_BYTES_MAX                                                                            \
    40 /* four times what TRN03 may have; a longer value is no payer identifier */
#define MASKED_BYTES_MIN 8    /* as many equal characters, and no others, are no trace number */
#define AFFIX_REMAINDER_MIN 4 /* a prefix or suffix is only taken off where so much is left */

/* ---- hashing (wyhash's construction: 64 x 64 -> 128 bit products) ---- */

static inline uint64_t mix64(uint64_t a, uint64_t b) {
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t load64(const uint8_t *p) {
    uint64_t value;
    memcpy(&value, p, 8);
    return value;
}

static inline uint64_t load32(const uint8_t *p) {
    uint32_t value;
    memcpy(&value, p, 4);
    return value;
}

#define HASH_A 0xa0761d6478bd642fULL
#define HASH_B 0xe7037ed1a0b428dbULL
#define HASH_C 0x8ebc6af09c88c6e3ULL

static inline uint64_t hash_bytes(const uint8_t *p, size_t length, uint64_t seed) {
    uint64_t a, b;
    size_t left = length;
    seed ^= HASH_A;
    while (left > 16) {
        seed = mix64(load64(p) ^ HASH_B, load64(p + 8) ^ seed);
        p += 16;
        left -= 16;
    }
    if (left >= 4) {
        size_t middle = (left >> 3) << 2;
        a = load32(p) << 32 | load32(p + middle);
        b = load32(p + left - 4) << 32 | load32(p + left - 4 - middle);
    } else if (left > 0) {
        a = (uint64_t)p[0] << 16 | (uint64_t)p[left >> 1] << 8 | p[left - 1];
        b = 0;
    } else {
        a = b = 0;
    }
    return mix64(HASH_B ^ length, mix64(a ^ HASH_B, b ^ seed));
}

static inline uint64_t hash_pair(uint64_t a, uint64_t b) {
    return mix64(mix64(a ^ HASH_A, HASH_B) ^ HASH_C, b ^ HASH_B);
}

/* ---- characters ---- */

static inline int is_wrap(uint8_t c) {
    return c == '\r' || c == '\n';
}
static inline int is_blank(uint8_t c) {
    return c == ' ' || c == '\t' || c == '\v' || c == '\f' || c == 0;
}
static inline int is_digit(uint8_t c) {
    return (uint8_t)(c - '0') < 10;
}
static inline uint8_t upper(uint8_t c) {
    return (uint8_t)(c - 'a') < 26 ? (uint8_t)(c - 32) : c;
}

/* Bytes from 0x80 on count as letters: which they are is unknown, and dropping them could make two
 * traces one. */
static inline int is_alnum(uint8_t c) {
    return is_digit(c) || (uint8_t)((c | 32) - 'a') < 26 || c >= 0x80;
}

/* ---- trace ---- */

/* All forms of one trace. N1 lies at text[0], N2 at text[n2_at] (the same bytes where N1 has
 * nothing to drop); N3 and N4 are parts of N2, N3 up to its end. */
typedef struct {
    uint8_t n1_length, n2_at, n2_length, n3_at, n4_at, n4_length;
} trace_shape;

typedef struct {
    trace_shape at;
    uint8_t changed;  /* N1 is not the raw value */
    uint8_t too_long; /* over TRACE_BYTES_MAX: all forms empty */
    uint8_t text[2 * TRACE_BYTES_MAX];
} trace_forms;

/* Prefixes and suffixes to take off, N2 form, '#' for any digit. Sets are ranges of `affixes`,
 * prefixes first. */
typedef struct {
    int32_t is_suffix;
    int32_t offset;
    int32_t length;
} affix;

typedef struct {
    const affix *affixes;
    const uint8_t *text;
    const int32_t *set_starts; /* [sets + 1] */
} affix_sets;

static inline int affix_fits(const uint8_t *pattern, size_t length, const uint8_t *text) {
    for (size_t i = 0; i < length; i++)
        if (pattern[i] == '#' ? !is_digit(text[i]) : pattern[i] != text[i]) return 0;
    return 1;
}

static inline void skip_zeros(const uint8_t *text, uint8_t *at, uint8_t *length) {
    while (*length > 0 && text[*at] == '0') {
        (*at)++;
        (*length)--;
    }
}

/* XXXXXXXX or 99999999 stands for a number that somebody hid or did not have. */
static inline int is_masked(const uint8_t *n3, size_t length) {
    if (length < MASKED_BYTES_MIN) return 0;
    for (size_t i = 1; i < length; i++)
        if (n3[i] != n3[0]) return 0;
    return 1;
}

/* N4: N3 less one prefix and one suffix of its payer, the first of each that fits, and the zeros
 * behind the prefix. */
static inline void strip_affixes(trace_forms *forms, const affix_sets *sets, uint32_t set) {
    int done[2] = {0, 0};
    for (int32_t i = sets->set_starts[set]; i < sets->set_starts[set + 1]; i++) {
        affix one = sets->affixes[i];
        size_t length = (size_t)one.length;
        if (done[one.is_suffix] || forms->at.n4_length < length + AFFIX_REMAINDER_MIN) continue;
        const uint8_t *start = forms->text + forms->at.n4_at;
        const uint8_t *place = one.is_suffix ? start + forms->at.n4_length - length : start;
        if (!affix_fits(sets->text + one.offset, length, place)) continue;
        done[one.is_suffix] = 1;
        uint8_t at = forms->at.n4_at, rest = (uint8_t)(forms->at.n4_length - length);
        if (!one.is_suffix) at = (uint8_t)(at + length);
        if (!one.is_suffix) skip_zeros(forms->text, &at, &rest);
        if (rest == 0) continue;
        forms->at.n4_at = at;
        forms->at.n4_length = rest;
    }
}

static inline void make_trace_forms(const uint8_t *raw, size_t size, trace_forms *forms) {
    size_t n1 = 0, dropped = 0, wraps = 0;
    int blank = 0;
    uint8_t changed = 0;
    memset(forms, 0, offsetof(trace_forms, text));
    for (size_t i = 0; i < size; i++) {
        uint8_t c = upper(raw[i]);
        if (is_wrap(c)) {
            wraps++;
            continue;
        }
        if (is_blank(c)) {
            blank = 1;
            continue;
        }
        blank &= n1 > 0;
        if (n1 + (size_t)blank + 1 > TRACE_BYTES_MAX) {
            forms->too_long = 1;
            return;
        }
        if (blank) {
            forms->text[n1++] = ' ';
            dropped++;
        }
        blank = 0;
        changed |= c != raw[i];
        dropped += !is_alnum(c);
        forms->text[n1++] = c;
    }
    forms->at.n1_length = (uint8_t)n1;
    forms->changed = changed || n1 + wraps != size;
    if (dropped == 0) {
        forms->at.n2_length = (uint8_t)n1;
    } else {
        uint8_t *n2 = forms->text + n1;
        size_t count = 0;
        for (size_t i = 0; i < n1; i++)
            if (is_alnum(forms->text[i])) n2[count++] = forms->text[i];
        forms->at.n2_at = (uint8_t)n1;
        forms->at.n2_length = (uint8_t)count;
    }
    forms->at.n4_at = forms->at.n2_at;
    forms->at.n4_length = forms->at.n2_length;
    skip_zeros(forms->text, &forms->at.n4_at, &forms->at.n4_length);
    if (is_masked(forms->text + forms->at.n4_at, forms->at.n4_length)) {
        forms->at.n4_at = (uint8_t)(forms->at.n4_at + forms->at.n4_length);
        forms->at.n4_length = 0;
    }
    forms->at.n3_at = forms->at.n4_at;
}

/* ---- payer ---- */

/* P1 of `raw` into `out` (PAYER_BYTES_MAX bytes). Returns its length, 0 where it names nobody
 * (empty, zeros, too long).
 * `*bare` is set where an EIN came without its leading 1. */
static inline size_t payer_form(const uint8_t *raw, size_t size, uint8_t *out, uint8_t *bare) {
    size_t length = 0, digits = 0, zeros = 0;
    *bare = 0;
    for (size_t i = 0; i < size; i++) {
        uint8_t c = upper(raw[i]);
        if (!is_alnum(c)) continue;
        if (length == PAYER_BYTES_MAX) return 0;
        digits += is_digit(c);
        zeros += c == '0';
        out[length++] = c;
    }
    if (length == 10 && digits == 10 && out[0] == '1') {
        memmove(out, out + 1, 9);
        length = 9;
    } else if (length == 9 && digits == 9) {
        *bare = 1;
    }
    return zeros >= length ? 0 : length;
}

#endif
