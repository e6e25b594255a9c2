/* Stage 1: where the delimiters are.
 *
 * One block of input becomes two lists: `delimiters`, the position of every element separator and
 * segment terminator in order, and `ends`, for each segment terminator its index in `delimiters`.
 * From two neighbours in `ends` the segment's elements follow without looking at the bytes again.
 * Each kernel is compiled for its own instruction set by a function attribute, never by -march, and
 * is chosen at run time; all of them give the same lists.
 *
 * Nothing is read past `size`: the last, partial 64 bytes are copied into a padded buffer first.
 */
#ifndef REASSOC_SIMD_H
#define REASSOC_SIMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define REASSOC_X86 1
#include <immintrin.h>
#else
#define REASSOC_X86 0
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
#define LIKELY(condition) __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

enum { LANE_BYTES = 64 };
/* A kernel may write this many entries past what it counts: reserve them. */
enum { INDEX_SLACK = 64 };

typedef struct {
    uint32_t *delimiters; /* positions, ascending */
    size_t delimiter_count;
    uint32_t *ends; /* indexes into delimiters, ascending */
    size_t end_count;
    bool wrapped;  /* a CR or LF stood somewhere else than right behind a terminator */
    uint8_t carry; /* bit 0: the byte before was a terminator or a line end behind one */
} delimiter_index;

typedef void (*index_kernel)(const uint8_t *data, size_t start, size_t stop, uint8_t separator,
                             uint8_t terminator, delimiter_index *index);

/* Three bit masks of 64 bytes: any delimiter, terminators only, CR or LF. */
typedef struct {
    uint64_t delimiters;
    uint64_t terminators;
    uint64_t line_ends;
} lane_masks;

/* Line ends directly behind a terminator (CR, LF, CRLF) are layout; any other one wraps a segment.
 */
static inline void note_line_ends(lane_masks masks, delimiter_index *index) {
    uint64_t line_ends =
        masks.line_ends & ~masks.delimiters; /* a CR or LF may itself be the terminator */
    if (line_ends == 0) {
        index->carry = (uint8_t)(masks.terminators >> 63);
        return;
    }
    uint64_t behind = (masks.terminators << 1 | (index->carry & 1)) & line_ends;
    uint64_t second = (behind << 1) & line_ends;
    index->wrapped |= (line_ends & ~(behind | second)) != 0;
    index->carry = (uint8_t)((masks.terminators | behind | second) >> 63);
}

static inline void note_ends(lane_masks masks, delimiter_index *index) {
    uint64_t terminators = masks.terminators;
    uint32_t *ends = index->ends + index->end_count;
    while (terminators != 0) {
        uint64_t below = (terminators & -terminators) - 1;
        *ends++ = (uint32_t)(index->delimiter_count +
                             (size_t)__builtin_popcountll(masks.delimiters & below));
        terminators &= terminators - 1;
    }
    index->end_count = (size_t)(ends - index->ends);
}

static inline void note_delimiters(uint64_t mask, uint32_t base, delimiter_index *index) {
    uint32_t *out = index->delimiters + index->delimiter_count;
    index->delimiter_count += (size_t)__builtin_popcountll(mask);
    while (mask != 0) {
        /* Four at a time: a lane holds about fifteen delimiters, and a mispredicted exit costs more
         * than spare writes. */
        for (int i = 0; i < 4; i++) {
            out[i] = base + (uint32_t)__builtin_ctzll(mask | (uint64_t)1 << 63);
            mask &= mask - 1;
        }
        out += 4;
    }
}

static inline void note_lane(lane_masks masks, uint32_t base, delimiter_index *index) {
    note_ends(masks, index);
    note_delimiters(masks.delimiters, base, index);
}

/* ---- portable: eight bytes at a time in a 64-bit word ---- */

static inline uint64_t word_equal(uint64_t word, uint64_t pattern) {
    /* 0x80 in each byte that equals the pattern's; exact in every byte, unlike the shorter borrow
     * trick. */
    uint64_t difference = word ^ pattern;
    uint64_t low7 = UINT64_C(0x7F7F7F7F7F7F7F7F);
    return ~(((difference & low7) + low7) | difference | low7);
}

static inline uint64_t word_mask(uint64_t flags) {
    /* Gather the eight 0x80 flags into eight bits. */
    return ((flags >> 7) * UINT64_C(0x0102040810204080)) >> 56;
}

static inline uint64_t load_word_le(const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

static inline lane_masks lane_portable(const uint8_t *lane, uint8_t separator, uint8_t terminator) {
    const uint64_t ones = UINT64_C(0x0101010101010101);
    lane_masks masks = {0, 0, 0};
    for (int i = 0; i < 8; i++) {
        uint64_t word = load_word_le(lane + 8 * i);
        uint64_t terms = word_mask(word_equal(word, ones * terminator));
        uint64_t seps = word_mask(word_equal(word, ones * separator));
        uint64_t line = word_mask(word_equal(word, ones * '\n') | word_equal(word, ones * '\r'));
        masks.terminators |= terms << (8 * i);
        masks.delimiters |= (seps | terms) << (8 * i);
        masks.line_ends |= line << (8 * i);
    }
    return masks;
}

/* The padded last lane: fill with a byte that is none of those looked for. */
static inline void copy_tail(uint8_t lane[LANE_BYTES], const uint8_t *data, size_t size,
                             uint8_t sep, uint8_t term) {
    uint8_t filler = 'A';
    while (filler == sep || filler == term) filler++;
    memset(lane, filler, LANE_BYTES);
    memcpy(lane, data, size);
}

#define INDEX_KERNEL(NAME, ATTRIBUTE, LANE, NOTE)                                                  \
    ATTRIBUTE static void NAME(const uint8_t *data, size_t start, size_t stop, uint8_t separator,  \
                               uint8_t terminator, delimiter_index *index) {                       \
        size_t at = start;                                                                         \
        for (; at + LANE_BYTES <= stop; at += LANE_BYTES) {                                        \
            lane_masks masks = LANE(data + at, separator, terminator);                             \
            note_line_ends(masks, index);                                                          \
            NOTE(masks, (uint32_t)at, index);                                                      \
        }                                                                                          \
        if (at < stop) {                                                                           \
            uint8_t lane[LANE_BYTES];                                                              \
            copy_tail(lane, data + at, stop - at, separator, terminator);                          \
            lane_masks masks = LANE(lane, separator, terminator);                                  \
            note_line_ends(masks, index);                                                          \
            /* The carry of a partial lane is that of its last real byte. */                       \
            uint8_t last = data[stop - 1];                                                         \
            if (last != '\n' && last != '\r') index->carry = last == terminator;                   \
            else                                                                                   \
                index->carry = 1;                                                                  \
            NOTE(masks, (uint32_t)at, index);                                                      \
        }                                                                                          \
    }

INDEX_KERNEL(index_portable, , lane_portable, note_lane)

#if REASSOC_X86
#define TARGET_AVX2 __attribute__((target("avx2,bmi,popcnt")))
#define TARGET_AVX512                                                                              \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi2,bmi,bmi2,popcnt")))

TARGET_AVX2 static inline lane_masks lane_avx2(const uint8_t *lane, uint8_t separator,
                                               uint8_t terminator) {
    const __m256i low = _mm256_loadu_si256((const __m256i *)lane);
    const __m256i high = _mm256_loadu_si256((const __m256i *)(lane + 32));
    const __m256i sep = _mm256_set1_epi8((char)separator),
                  term = _mm256_set1_epi8((char)terminator);
    const __m256i lf = _mm256_set1_epi8('\n'), cr = _mm256_set1_epi8('\r');
#define MASK_32(vector) ((uint64_t)(uint32_t)_mm256_movemask_epi8(vector))
#define MASK_64(byte)                                                                              \
    (MASK_32(_mm256_cmpeq_epi8(low, byte)) | MASK_32(_mm256_cmpeq_epi8(high, byte)) << 32)
    lane_masks masks;
    masks.terminators = MASK_64(term);
    masks.delimiters = MASK_64(sep) | masks.terminators;
    masks.line_ends =
        MASK_32(_mm256_or_si256(_mm256_cmpeq_epi8(low, lf), _mm256_cmpeq_epi8(low, cr))) |
        MASK_32(_mm256_or_si256(_mm256_cmpeq_epi8(high, lf), _mm256_cmpeq_epi8(high, cr))) << 32;
#undef MASK_64
#undef MASK_32
    return masks;
}

TARGET_AVX512 static inline lane_masks lane_avx512(const uint8_t *lane, uint8_t separator,
                                                   uint8_t terminator) {
    const __m512i bytes = _mm512_loadu_si512((const void *)lane);
    lane_masks masks;
    masks.terminators = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8((char)terminator));
    masks.delimiters =
        _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8((char)separator)) | masks.terminators;
    masks.line_ends = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('\n')) |
                      _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('\r'));
    return masks;
}

/* Positions of the mask's bits, all at once: compress the numbers 0..63 by the mask, widen, add the
 * base. */
TARGET_AVX512 static inline void write_positions_avx512(uint64_t mask, uint32_t base,
                                                        uint32_t *out) {
    static const uint8_t numbers[LANE_BYTES] __attribute__((aligned(64))) = {
        0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
        22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
        44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};
    const __m512i packed =
        _mm512_maskz_compress_epi8(mask, _mm512_load_si512((const void *)numbers));
    const __m512i start = _mm512_set1_epi32((int)base);
    const int count = __builtin_popcountll(mask);
#define WIDEN(quarter)                                                                             \
    _mm512_add_epi32(_mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(packed, quarter)), start)
    _mm512_storeu_si512((void *)out, WIDEN(0));
    if (count > 16) {
        _mm512_storeu_si512((void *)(out + 16), WIDEN(1));
        if (UNLIKELY(count > 32)) {
            _mm512_storeu_si512((void *)(out + 32), WIDEN(2));
            _mm512_storeu_si512((void *)(out + 48), WIDEN(3));
        }
    }
#undef WIDEN
}

TARGET_AVX512 static inline void note_lane_avx512(lane_masks masks, uint32_t base,
                                                  delimiter_index *index) {
    /* Among the lane's delimiters, which ones are terminators: their ranks are the entries of
     * `ends`. */
    write_positions_avx512(_pext_u64(masks.terminators, masks.delimiters),
                           (uint32_t)index->delimiter_count, index->ends + index->end_count);
    write_positions_avx512(masks.delimiters, base, index->delimiters + index->delimiter_count);
    index->end_count += (size_t)__builtin_popcountll(masks.terminators);
    index->delimiter_count += (size_t)__builtin_popcountll(masks.delimiters);
}

INDEX_KERNEL(index_avx2, TARGET_AVX2, lane_avx2, note_lane)
INDEX_KERNEL(index_avx512, TARGET_AVX512, lane_avx512, note_lane_avx512)
#endif

typedef struct {
    const char *name;
    index_kernel index;
    bool usable;
} kernel_choice;

enum { KERNEL_COUNT = 3 };

/* Fastest first; the portable one always works. */
static inline void list_kernels(kernel_choice choices[KERNEL_COUNT]) {
#if REASSOC_X86
    __builtin_cpu_init();
    choices[0] = (kernel_choice){
        "avx512", index_avx512,
        __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi2") &&
            __builtin_cpu_supports("bmi2")};
    choices[1] = (kernel_choice){"avx2", index_avx2,
                                 __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi")};
#else
    choices[0] = (kernel_choice){"avx512", index_portable, false};
    choices[1] = (kernel_choice){"avx2", index_portable, false};
#endif
    choices[2] = (kernel_choice){"portable", index_portable, true};
}

#endif
