/* Reading fixed columns: digits eight at a time, and one bit per byte of a record for what is
 * blank.
 *
 * Two versions of the record mask, SSE2 and portable, are always compiled where SSE2 is; a test
 * holds them together.
 */
#ifndef REASSOC_ACH_DIGITS_H
#define REASSOC_ACH_DIGITS_H

#include <stdint.h>
#include <string.h>
#if defined(__SSE2__) && defined(__x86_64__)
#include <emmintrin.h>
#define ACH_HAVE_SSE2 1
#else
#define ACH_HAVE_SSE2 0
#endif

#define ACH_INLINE static inline __attribute__((always_inline))
#define RECORD_BYTES 94

/* Eight bytes, the first one lowest. */
ACH_INLINE uint64_t load_8(const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

ACH_INLINE int all_digits_8(uint64_t word) {
    const uint64_t high = 0xF0F0F0F0F0F0F0F0u;
    return ((word & high) | (((word + 0x0606060606060606u) & high) >> 4)) == 0x3333333333333333u;
}

ACH_INLINE uint32_t parse_8(uint64_t word) {
    word = (word & 0x0F0F0F0F0F0F0F0Fu) * 2561 >> 8;
    word = (word & 0x00FF00FF00FF00FFu) * 6553601 >> 16;
    return (uint32_t)((word & 0x0000FFFF0000FFFFu) * 42949672960001u >> 32);
}

ACH_INLINE int is_digit(uint8_t byte) {
    return (uint8_t)(byte - '0') <= 9;
}

ACH_INLINE int is_letter(uint8_t byte) {
    return (uint8_t)((byte | 0x20) - 'a') <= 25;
}

ACH_INLINE int is_alnum(uint8_t byte) {
    return is_digit(byte) || is_letter(byte);
}

ACH_INLINE uint8_t upper(uint8_t byte) {
    return (uint8_t)(byte - 'a') <= 25 ? (uint8_t)(byte - 32) : byte;
}

/* A number of up to 18 digits, -1 where one of them is none. */
static inline int64_t number_at(const uint8_t *at, int width) {
    int64_t value = 0;
    for (int i = 0; i < width; i++) {
        if (!is_digit(at[i])) return -1;
        value = value * 10 + (at[i] - '0');
    }
    return value;
}

static inline int blank_at(const uint8_t *at, int width) {
    for (int i = 0; i < width; i++)
        if (at[i] != ' ') return 0;
    return 1;
}

/* ABA check digit: weights 3 7 1 over the 8 digits; the ninth brings the sum to a multiple of ten.
 */
ACH_INLINE int check_digit_8(uint64_t word) {
    const uint64_t ones = 0x0101010101010101u;
    uint64_t digits = word & 0x0F0F0F0F0F0F0F0Fu;
    uint64_t by_3 = (digits & 0x00FF0000FF0000FFu) * ones >> 56;
    uint64_t by_7 = (digits & 0xFF0000FF0000FF00u) * ones >> 56;
    uint64_t by_1 = (digits & 0x0000FF0000FF0000u) * ones >> 56;
    unsigned sum = (unsigned)(3 * by_3 + 7 * by_7 + by_1);
    return (int)((10 - sum % 10) % 10);
}

/* What the bytes of a record are, one bit per column, column 1 lowest. */
typedef struct {
    uint64_t text_low;  /* columns 1-64: not a blank */
    uint64_t text_high; /* columns 65-94 */
    int control;        /* some byte is below 0x20: a line break may be inside */
} record_mask;

ACH_INLINE record_mask mask_portable(const uint8_t *at) {
    record_mask mask = {0, 0, 0};
    for (int i = 0; i < 64; i++) {
        mask.text_low |= (uint64_t)(at[i] != ' ') << i;
        mask.control |= at[i] < 0x20;
    }
    for (int i = 64; i < RECORD_BYTES; i++) {
        mask.text_high |= (uint64_t)(at[i] != ' ') << (i - 64);
        mask.control |= at[i] < 0x20;
    }
    return mask;
}

#if ACH_HAVE_SSE2
ACH_INLINE uint64_t blanks_16(__m128i bytes) {
    return (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(' ')));
}

ACH_INLINE record_mask mask_sse2(const uint8_t *at) {
    __m128i a = _mm_loadu_si128((const __m128i *)(at));
    __m128i b = _mm_loadu_si128((const __m128i *)(at + 16));
    __m128i c = _mm_loadu_si128((const __m128i *)(at + 32));
    __m128i d = _mm_loadu_si128((const __m128i *)(at + 48));
    __m128i e = _mm_loadu_si128((const __m128i *)(at + 64));
    __m128i f = _mm_loadu_si128(
        (const __m128i *)(at + 78)); /* overlaps e by two: nothing past column 94 is read */
    __m128i low =
        _mm_min_epu8(_mm_min_epu8(_mm_min_epu8(a, b), _mm_min_epu8(c, d)), _mm_min_epu8(e, f));
    __m128i below = _mm_cmpeq_epi8(_mm_min_epu8(low, _mm_set1_epi8(0x1F)), low);
    record_mask mask;
    mask.control = _mm_movemask_epi8(below) != 0;
    mask.text_low = ~(blanks_16(a) | blanks_16(b) << 16 | blanks_16(c) << 32 | blanks_16(d) << 48);
    mask.text_high = ~(blanks_16(e) | blanks_16(f) << 14) & 0x3FFFFFFFu;
    return mask;
}
#endif

ACH_INLINE record_mask mask_of(const uint8_t *at, const int portable) {
#if ACH_HAVE_SSE2
    if (!portable) return mask_sse2(at);
#endif
    return mask_portable(at);
}

/* Bits of columns [first, first + width), 0-based, width < 64. */
ACH_INLINE uint64_t mask_field(const record_mask *mask, int first, int width) {
    uint64_t bits;
    if (first >= 64) bits = mask->text_high >> (first - 64);
    else if (first == 0)
        bits = mask->text_low;
    else
        bits = mask->text_low >> first | mask->text_high << (64 - first);
    return bits & (((uint64_t)1 << width) - 1);
}

#endif
