/* Rows of a table as they travel and lie in stores: numbers of fixed width, then texts.
 *
 * A packed row is `width` bytes, whose last two for each text are that text's length (little
 * endian), and the texts one behind the other. A table has the widths of all rows one behind the
 * other, and for each of its texts a column of references into one source: refs[text * rows + row].
 */
#ifndef REASSOC_ROWS_H
#define REASSOC_ROWS_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "_columns.h"

#define ID_BYTES 16
#define ROWS_SPREAD_A 0x9e3779b97f4a7c15ULL
#define ROWS_SPREAD_B 0xc2b2ae3d27d4eb4fULL

typedef enum {
    ROWS_OK,
    ROWS_NO_MEMORY,
    ROWS_OUT_OF_SOURCE, /* a text or row refers to bytes outside of its source */
    ROWS_NO_ROW,        /* a number is no row */
    ROWS_SHORT,         /* a packed row is shorter than its numbers */
    ROWS_LENGTH,        /* a packed row is not as long as its lengths say */
} rows_status;

typedef struct {
    uint8_t *fixed; /* rows * width */
    text_ref *refs; /* texts * rows */
    size_t rows, width, texts;
} row_table;

static inline int outside(text_ref ref, size_t source_size) {
    return ref.offset > source_size || ref.length > source_size - ref.offset;
}

/* A table may have no numbers, and a block no bytes: then nothing is where memcpy must have
 * something.
 */
static inline void copy_bytes(uint8_t *to, const uint8_t *from, size_t count) {
    if (count > 0) memcpy(to, from, count);
}

/* Some rows of a table. `to` has room for `count` rows. */
static inline rows_status rows_take(const row_table *from, const int64_t *places, size_t count,
                                    row_table *to) {
    size_t width = from->width;
    for (size_t i = 0; i < count; i++) {
        if ((uint64_t)places[i] >= from->rows) return ROWS_NO_ROW;
        copy_bytes(to->fixed + i * width, from->fixed + (size_t)places[i] * width, width);
    }
    for (size_t t = 0; t < from->texts; t++) {
        const text_ref *column = from->refs + t * from->rows;
        text_ref *out = to->refs + t * count;
        for (size_t i = 0; i < count; i++) out[i] = column[places[i]];
    }
    return ROWS_OK;
}

/* Where each packed row of a table ends; the last of them is the size of all. */
static inline rows_status rows_stops(const row_table *table, size_t source_size, int64_t *stops) {
    for (size_t i = 0; i < table->rows; i++) stops[i] = (int64_t)table->width;
    for (size_t t = 0; t < table->texts; t++) {
        const text_ref *column = table->refs + t * table->rows;
        for (size_t i = 0; i < table->rows; i++) {
            if (outside(column[i], source_size)) return ROWS_OUT_OF_SOURCE;
            stops[i] += column[i].length;
        }
    }
    for (size_t i = 1; i < table->rows; i++) stops[i] += stops[i - 1];
    return ROWS_OK;
}

/* `out` has room for what rows_stops says. */
static inline void rows_pack(const row_table *table, const uint8_t *source, uint8_t *out) {
    for (size_t i = 0; i < table->rows; i++) {
        copy_bytes(out, table->fixed + i * table->width, table->width);
        out += table->width;
        for (size_t t = 0; t < table->texts; t++) {
            text_ref ref = table->refs[t * table->rows + i];
            copy_bytes(out, source + ref.offset, ref.length);
            out += ref.length;
        }
    }
}

/* The table of packed rows; `table` has room for as many. The texts stay where they are. */
static inline rows_status rows_unpack(const uint8_t *data, size_t size, const int64_t *stops,
                                      row_table *table) {
    size_t width = table->width, texts = table->texts;
    uint64_t start = 0;
    for (size_t i = 0; i < table->rows; i++) {
        uint64_t stop = (uint64_t)stops[i], at = start + width;
        if (stop > size || stop < start) return ROWS_OUT_OF_SOURCE;
        if (at > stop) return ROWS_SHORT;
        copy_bytes(table->fixed + i * width, data + start, width);
        const uint8_t *lengths = data + at - 2 * texts;
        for (size_t t = 0; t < texts; t++) {
            uint32_t length = lengths[2 * t] | (uint32_t)lengths[2 * t + 1] << 8;
            table->refs[t * table->rows + i] = (text_ref){(uint32_t)at, length};
            at += length;
        }
        if (at != stop) return ROWS_LENGTH;
        start = stop;
    }
    return ROWS_OK;
}

/* Where each of some packed rows ends when they lie one behind the other. */
static inline rows_status block_stops(const int64_t *stops, size_t rows, const int64_t *places,
                                      size_t count, int64_t *out) {
    int64_t end = 0;
    for (size_t i = 0; i < count; i++) {
        if ((uint64_t)places[i] >= rows) return ROWS_NO_ROW;
        int64_t length = stops[places[i]] - (places[i] ? stops[places[i] - 1] : 0);
        if (length < 0) return ROWS_OUT_OF_SOURCE;
        out[i] = end += length;
    }
    return ROWS_OK;
}

static inline rows_status block_take(const uint8_t *data, size_t size, const int64_t *stops,
                                     const int64_t *places, size_t count, uint8_t *out) {
    for (size_t i = 0; i < count; i++) {
        int64_t start = places[i] ? stops[places[i] - 1] : 0, stop = stops[places[i]];
        if (start < 0 || stop < start || (uint64_t)stop > size) return ROWS_OUT_OF_SOURCE;
        copy_bytes(out, data + start, (size_t)(stop - start));
        out += stop - start;
    }
    return ROWS_OK;
}

static inline uint64_t id_hash(const uint8_t *id) {
    uint64_t a, b;
    memcpy(&a, id, 8);
    memcpy(&b, id + 8, 8);
    a = (a ^ b * ROWS_SPREAD_B) * ROWS_SPREAD_A;
    return a ^ a >> 32;
}

/* The row of each wanted id among ids, -1 for none; of an id that stands twice the last row. */
static inline rows_status ids_find(const uint8_t *ids, size_t rows, const uint8_t *wanted,
                                   size_t count, int64_t *out) {
    size_t slots = 4;
    while (slots < 2 * rows) slots *= 2;
    uint32_t *table = calloc(slots, sizeof *table); /* 1 + row */
    if (table == NULL) return ROWS_NO_MEMORY;
    for (size_t i = 0; i < rows; i++) {
        size_t at = id_hash(ids + i * ID_BYTES) & (slots - 1);
        while (table[at] && memcmp(ids + (table[at] - 1) * ID_BYTES, ids + i * ID_BYTES, ID_BYTES))
            at = (at + 1) & (slots - 1);
        table[at] = (uint32_t)(i + 1);
    }
    for (size_t i = 0; i < count; i++) {
        size_t at = id_hash(wanted + i * ID_BYTES) & (slots - 1);
        while (table[at] &&
               memcmp(ids + (table[at] - 1) * ID_BYTES, wanted + i * ID_BYTES, ID_BYTES))
            at = (at + 1) & (slots - 1);
        out[i] = (int64_t)table[at] - 1;
    }
    free(table);
    return ROWS_OK;
}

#endif
