/* Texts compared by what they say, and rows by number: which values are equal, exactly.
 *
 * What a text says are its letters and digits in upper case; where it is a number, leading zeros
 * are dropped. Hashes only find the place, the values are compared.
 */
#ifndef REASSOC_TEXTS_H
#define REASSOC_TEXTS_H

#include "_keys.h"

#define TEXT_BLOCK_BYTES 64
#define TEXTS_AHEAD 16

static inline int same_ref(text_ref a, text_ref b) {
    return a.offset == b.offset && a.length == b.length;
}

/* Bytes of the values of a column, those of equal neighbours once. */
static inline uint64_t gathered_bytes(const text_ref *refs, size_t rows) {
    uint64_t total = 0;
    for (size_t i = 0; i < rows; i++)
        if (i == 0 || !same_ref(refs[i], refs[i - 1])) total += refs[i].length;
    return total;
}

/* The values of a column one after the other, those of equal neighbours once; `out` has room for
 * gathered_bytes. */
static inline keys_status gather_text(const uint8_t *source, size_t source_size,
                                      const text_ref *refs, size_t rows, uint8_t *out,
                                      text_ref *out_refs) {
    size_t at = 0;
    for (size_t i = 0; i < rows; i++) {
        text_ref ref = refs[i];
        if (i > 0 && same_ref(ref, refs[i - 1])) {
            out_refs[i] = out_refs[i - 1];
            continue;
        }
        if (ref_outside(ref, source_size)) return KEYS_OUT_OF_SOURCE;
        if (ref.length > 0) memcpy(out + at, source + ref.offset, ref.length);
        out_refs[i].offset = (uint32_t)at;
        out_refs[i].length = ref.length;
        at += ref.length;
    }
    return KEYS_OK;
}

/* What one value says, a byte at a time. */
typedef struct {
    const uint8_t *at, *end;
    int skip_zeros; /* nothing but zeros has come yet, and they say nothing */
} text_reader;

static inline text_reader read_text(const uint8_t *source, text_ref ref, int is_number) {
    const uint8_t *at = source + ref.offset;
    return (text_reader){at, at + ref.length, is_number};
}

/* The next letter or digit in upper case, -1 at the end. */
static inline int next_char(text_reader *text) {
    while (text->at < text->end) {
        uint8_t c = *text->at++;
        if (!is_alnum(c) || (text->skip_zeros && c == '0')) continue;
        text->skip_zeros = 0;
        return upper(c);
    }
    return -1;
}

/* Hash of what a value says, never 0 but where it says nothing. */
static inline uint64_t text_hash(const uint8_t *source, text_ref ref, int is_number) {
    uint8_t block[TEXT_BLOCK_BYTES];
    uint64_t hash = 0;
    size_t size = 0;
    text_reader text = read_text(source, ref, is_number);
    for (int c = next_char(&text); c >= 0; c = next_char(&text)) {
        if (size == TEXT_BLOCK_BYTES) {
            hash = hash_bytes(block, size, hash);
            size = 0;
        }
        block[size++] = (uint8_t)c;
    }
    return size ? hash_bytes(block, size, hash) | 1 : 0;
}

static inline keys_status hash_texts(const uint8_t *source, size_t source_size,
                                     const text_ref *refs, size_t rows, int is_number,
                                     uint64_t *out) {
    for (size_t i = 0; i < rows; i++) {
        if (i + TEXTS_AHEAD < rows) __builtin_prefetch(source + refs[i + TEXTS_AHEAD].offset);
        if (ref_outside(refs[i], source_size)) return KEYS_OUT_OF_SOURCE;
        if (i > 0 && same_ref(refs[i], refs[i - 1])) out[i] = out[i - 1];
        else
            out[i] = refs[i].length ? text_hash(source, refs[i], is_number) : 0;
    }
    return KEYS_OK;
}

/* Whether the letters and digits of each value, case folded, are `wanted`. */
static inline keys_status texts_equal(const uint8_t *source, size_t source_size,
                                      const text_ref *refs, size_t rows, const uint8_t *wanted,
                                      size_t wanted_length, uint8_t *out) {
    text_ref last = {0, 0};
    for (size_t i = 0; i < rows; i++) {
        text_ref ref = refs[i];
        if (ref_outside(ref, source_size)) return KEYS_OUT_OF_SOURCE;
        if (i > 0 && ref.offset == last.offset && ref.length == last.length) {
            out[i] = out[i - 1];
            continue;
        }
        size_t matched = 0;
        int equal = 1;
        for (size_t k = 0; k < ref.length && equal; k++) {
            uint8_t c = source[ref.offset + k];
            if (!is_alnum(c)) continue;
            equal = matched < wanted_length && upper(c) == wanted[matched];
            matched++;
        }
        out[i] = (uint8_t)(equal && matched == wanted_length);
        last = ref;
    }
    return KEYS_OK;
}

/* Whether one of two values is a proper start or end of the other, and says bytes_min or more. */
static inline int one_is_cut(const uint8_t *source, text_ref one, text_ref other, int is_number,
                             size_t bytes_min) {
    uint8_t forms[2][TRACE_BYTES_MAX];
    size_t sizes[2] = {0, 0};
    for (int k = 0; k < 2; k++) {
        text_reader text = read_text(source, k ? other : one, is_number);
        for (int c = next_char(&text); c >= 0; c = next_char(&text)) {
            if (sizes[k] == TRACE_BYTES_MAX) return 0;
            forms[k][sizes[k]++] = (uint8_t)c;
        }
    }
    int shorter = sizes[1] < sizes[0];
    size_t size = sizes[shorter], longer = sizes[!shorter];
    if (size < bytes_min || size == longer) return 0;
    return memcmp(forms[shorter], forms[!shorter], size) == 0 ||
           memcmp(forms[shorter], forms[!shorter] + longer - size, size) == 0;
}

static inline keys_status texts_cut(const uint8_t *source, size_t source_size, const text_ref *ones,
                                    const text_ref *others, size_t rows, int is_number,
                                    size_t bytes_min, uint8_t *out) {
    for (size_t i = 0; i < rows; i++) {
        if (ref_outside(ones[i], source_size) || ref_outside(others[i], source_size))
            return KEYS_OUT_OF_SOURCE;
        out[i] = (uint8_t)one_is_cut(source, ones[i], others[i], is_number, bytes_min);
    }
    return KEYS_OK;
}

/* ---- numbers ---- */

/* What is numbered: the values of a text column, or rows of columns of numbers. */
typedef struct {
    const uint8_t *source;
    const text_ref *refs; /* NULL for rows */
    int is_number;
    const int64_t *const *columns;
    size_t column_count;
} numbered_values;

static inline int same_value(const numbered_values *values, size_t a, size_t b) {
    if (values->refs == NULL) {
        for (size_t k = 0; k < values->column_count; k++)
            if (values->columns[k][a] != values->columns[k][b]) return 0;
        return 1;
    }
    text_ref one = values->refs[a], other = values->refs[b];
    if (one.length == other.length &&
        memcmp(values->source + one.offset, values->source + other.offset, one.length) == 0)
        return 1;
    text_reader x = read_text(values->source, one, values->is_number);
    text_reader y = read_text(values->source, other, values->is_number);
    int c = next_char(&x), d = next_char(&y);
    while (c == d && c >= 0) c = next_char(&x), d = next_char(&y);
    return c == d;
}

/* A row's place plus 1, 0 for a free slot, and the upper half of its hash. */
typedef struct {
    uint32_t place;
    uint32_t tag;
} number_slot;

/* Numbers from 1 on in order of first sight, 0 where the hash is 0. */
static inline keys_status number_values(const numbered_values *values, const uint64_t *hashes,
                                        size_t rows, int64_t *numbers) {
    size_t mask = 255;
    while (mask < rows + rows / 2) mask = mask * 2 + 1;
    number_slot *slots = calloc(mask + 1, sizeof *slots);
    int64_t count = 0;
    if (slots == NULL) return KEYS_NO_MEMORY;
    for (size_t i = 0; i < rows; i++) {
        if (i + TEXTS_AHEAD < rows) __builtin_prefetch(&slots[hashes[i + TEXTS_AHEAD] >> 1 & mask]);
        numbers[i] = 0;
        if (hashes[i] == 0) continue;
        size_t at = hashes[i] >> 1 & mask; /* the lowest bit is always set */
        uint32_t tag = (uint32_t)(hashes[i] >> 32);
        for (; slots[at].place != 0; at = (at + 1) & mask)
            if (slots[at].tag == tag && same_value(values, i, slots[at].place - 1)) break;
        if (slots[at].place == 0) {
            slots[at] = (number_slot){(uint32_t)i + 1, tag};
            numbers[i] = ++count;
        } else {
            numbers[i] = numbers[slots[at].place - 1];
        }
    }
    free(slots);
    return KEYS_OK;
}

static inline void hash_rows(const numbered_values *values, size_t rows, uint64_t *hashes) {
    for (size_t i = 0; i < rows; i++) {
        uint64_t hash = 0;
        for (size_t k = 0; k < values->column_count; k++)
            hash = mix64(hash ^ HASH_A, (uint64_t)values->columns[k][i] ^ HASH_B);
        hashes[i] = hash | 1;
    }
}

#endif
