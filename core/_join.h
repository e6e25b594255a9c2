/* Equal 64-bit keys on two sides, or repeated ones on one side: a radix-partitioned hash join.
 *
 * Both sides are first scattered by the top bits of their (multiplied) key into parts small enough
 * for the second-level cache; then each part is built and probed there. PERF: one pass over the
 * whole pool without parts misses the cache on every row and is three times slower at a million
 * rows (bench_match).
 */
#ifndef REASSOC_JOIN_H
#define REASSOC_JOIN_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define JOIN_PART_ROWS 2048 /* rows of a side in a part, on average */
#define JOIN_PART_BITS_MAX 11
#define JOIN_SPREAD 0x9e3779b97f4a7c15ULL

enum { PARTNER_NONE = -1, PARTNER_SEVERAL = -2 };

typedef struct {
    uint64_t key; /* multiplied by JOIN_SPREAD, which loses nothing */
    uint32_t row;
    uint32_t link; /* 1 + index of the next of the same key in its part, 0 at the end */
} join_entry;

typedef struct {
    int32_t *values;
    size_t count;
    size_t capacity;
} int32_list;

static inline int list_push(int32_list *list, int32_t value) {
    if (list->count == list->capacity) {
        size_t capacity = list->capacity * 2 + 1024;
        void *grown = realloc(list->values, capacity * sizeof *list->values);
        if (grown == NULL) return -1;
        list->values = grown;
        list->capacity = capacity;
    }
    list->values[list->count++] = value;
    return 0;
}

static inline void list_free(int32_list *list) {
    free(list->values);
    memset(list, 0, sizeof *list);
}

/* One side, scattered: part k is entries[starts[k] .. starts[k + 1]). */
typedef struct {
    join_entry *entries;
    size_t *starts;
    size_t longest; /* rows of its longest part */
} join_side;

static inline void side_free(join_side *side) {
    free(side->entries);
    free(side->starts);
    memset(side, 0, sizeof *side);
}

static inline size_t join_part(uint64_t spread_key, unsigned bits) {
    return bits ? spread_key >> (64 - bits) : 0;
}

static inline unsigned join_bits(size_t rows) {
    unsigned bits = 0;
    while (bits < JOIN_PART_BITS_MAX && (rows >> bits) > JOIN_PART_ROWS) bits++;
    return bits;
}

/* Rows where on[i] is zero are left out; `on` may be NULL. Returns 0, or -1 when memory is short.
 */
static inline int side_scatter(join_side *side, const uint64_t *keys, const uint8_t *on,
                               size_t rows, unsigned bits) {
    size_t parts = (size_t)1 << bits;
    size_t *next = calloc(parts + 1, sizeof *next);
    side->starts = calloc(parts + 2, sizeof *side->starts);
    if (next == NULL || side->starts == NULL) goto short_of_memory;
    for (size_t i = 0; i < rows; i++)
        next[join_part(keys[i] * JOIN_SPREAD, bits)] += on == NULL || on[i] != 0;
    size_t sum = 0;
    for (size_t k = 0; k < parts; k++) {
        side->starts[k] = sum;
        if (next[k] > side->longest) side->longest = next[k];
        sum += next[k];
        next[k] = side->starts[k];
    }
    side->starts[parts] = sum;
    side->entries = malloc((sum + 1) * sizeof *side->entries);
    if (side->entries == NULL) goto short_of_memory;
    column_advise(side->entries, sum * sizeof *side->entries);
    for (size_t i = 0; i < rows; i++) {
        if (on != NULL && on[i] == 0) continue;
        uint64_t key = keys[i] * JOIN_SPREAD;
        join_entry *entry = &side->entries[next[join_part(key, bits)]++];
        entry->key = key;
        entry->row = (uint32_t)i;
        entry->link = 0;
    }
    free(next);
    return 0;
short_of_memory:
    free(next);
    side_free(side);
    return -1;
}

/* Working memory of one part: slots of left entries, and for each left entry the first right one of
 * its key. */
typedef struct {
    uint32_t *slots;       /* 1 + index of the first left entry of a key, 0 for free */
    uint32_t *first_right; /* 1 + index, 0 for none; kept at the first left entry of a key */
    unsigned slot_bits;
} join_table;

static inline int table_make(join_table *table, size_t longest) {
    table->slot_bits = 4;
    while (((size_t)1 << table->slot_bits) < 2 * longest) table->slot_bits++;
    table->slots = malloc(((size_t)1 << table->slot_bits) * sizeof *table->slots);
    table->first_right = malloc((longest + 1) * sizeof *table->first_right);
    return table->slots == NULL || table->first_right == NULL ? -1 : 0;
}

static inline void table_drop(join_table *table) {
    free(table->slots);
    free(table->first_right);
}

/* The slot of a key: its own entry's, or the free one where it would go. */
static inline uint32_t *table_find(join_table *table, const join_entry *left, uint64_t key,
                                   unsigned part_bits) {
    size_t mask = ((size_t)1 << table->slot_bits) - 1;
    size_t slot = (size_t)((key << part_bits) >> (64 - table->slot_bits));
    while (table->slots[slot] != 0 && left[table->slots[slot] - 1].key != key)
        slot = (slot + 1) & mask;
    return &table->slots[slot];
}

static inline void table_build(join_table *table, join_entry *left, size_t rows,
                               unsigned part_bits) {
    memset(table->slots, 0, ((size_t)1 << table->slot_bits) * sizeof *table->slots);
    memset(table->first_right, 0, rows * sizeof *table->first_right);
    for (size_t i = 0; i < rows; i++) {
        uint32_t *slot = table_find(table, left, left[i].key, part_bits);
        if (*slot == 0) {
            *slot = (uint32_t)i + 1;
        } else {
            join_entry *first = &left[*slot - 1];
            left[i].link = first->link;
            first->link = (uint32_t)i + 1;
        }
    }
}

/* A block as rows: count of left, count of right, left rows, right rows. */
static inline int push_block(int32_list *blocks, const join_entry *left, uint32_t i,
                             const join_entry *right, uint32_t j, int32_t *partner) {
    size_t head = blocks->count;
    int failed = list_push(blocks, 0) | list_push(blocks, 0);
    for (uint32_t at = i; at != 0 && !failed; at = left[at - 1].link) {
        failed = list_push(blocks, (int32_t)left[at - 1].row);
        partner[left[at - 1].row] = PARTNER_SEVERAL;
    }
    size_t middle = blocks->count;
    for (uint32_t at = j; at != 0 && !failed; at = right[at - 1].link)
        failed = list_push(blocks, (int32_t)right[at - 1].row);
    if (failed) return -1;
    blocks->values[head] = (int32_t)(middle - head - 2);
    blocks->values[head + 1] = (int32_t)(blocks->count - middle);
    return 0;
}

static inline int join_one_part(join_table *table, join_entry *left, size_t left_rows,
                                join_entry *right, size_t right_rows, unsigned bits,
                                int32_t *partner, int32_list *blocks) {
    table_build(table, left, left_rows, bits);
    for (size_t j = 0; j < right_rows; j++) {
        uint32_t first = *table_find(table, left, right[j].key, bits);
        if (first == 0) continue;
        right[j].link = table->first_right[first - 1];
        table->first_right[first - 1] = (uint32_t)j + 1;
    }
    for (size_t i = 0; i < left_rows; i++) {
        uint32_t j = table->first_right[i];
        if (j == 0) continue;
        if (left[i].link == 0 && right[j - 1].link == 0)
            partner[left[i].row] = (int32_t)right[j - 1].row;
        else if (push_block(blocks, left, (uint32_t)i + 1, right, j, partner) != 0)
            return -1;
    }
    return 0;
}

/* partner[left row] = the right row, where its key stands once on each side; PARTNER_SEVERAL where
 * more often, and the rows then stand in `blocks`; PARTNER_NONE where the right side does not have
 * it. */
static inline int join_keys(const uint64_t *left_keys, const uint8_t *left_on, size_t left_rows,
                            const uint64_t *right_keys, const uint8_t *right_on, size_t right_rows,
                            int32_t *partner, int32_list *blocks) {
    join_side left = {0}, right = {0};
    join_table table = {0};
    unsigned bits = join_bits(left_rows > right_rows ? left_rows : right_rows);
    int failed = 1;
    for (size_t i = 0; i < left_rows; i++) partner[i] = PARTNER_NONE;
    if (side_scatter(&left, left_keys, left_on, left_rows, bits) != 0) goto done;
    if (side_scatter(&right, right_keys, right_on, right_rows, bits) != 0) goto done;
    if (table_make(&table, left.longest) != 0) goto done;
    failed = 0;
    for (size_t k = 0; k < ((size_t)1 << bits) && !failed; k++)
        failed = join_one_part(&table, left.entries + left.starts[k],
                               left.starts[k + 1] - left.starts[k], right.entries + right.starts[k],
                               right.starts[k + 1] - right.starts[k], bits, partner, blocks);
done:
    side_free(&left);
    side_free(&right);
    table_drop(&table);
    return failed ? -1 : 0;
}

static inline int repeated_among(const uint64_t *keys, const uint8_t *on, size_t rows,
                                 int32_list *out) {
    join_side side = {0};
    join_table table = {0};
    unsigned bits = join_bits(rows);
    int failed = 1;
    if (side_scatter(&side, keys, on, rows, bits) != 0 || table_make(&table, side.longest) != 0)
        goto done;
    failed = 0;
    for (size_t k = 0; k < ((size_t)1 << bits) && !failed; k++) {
        join_entry *part = side.entries + side.starts[k];
        size_t part_rows = side.starts[k + 1] - side.starts[k];
        table_build(&table, part, part_rows, bits);
        for (size_t slot = 0; slot < ((size_t)1 << table.slot_bits) && !failed; slot++) {
            uint32_t first = table.slots[slot];
            if (first == 0 || part[first - 1].link == 0) continue;
            for (uint32_t at = first; at != 0 && !failed; at = part[at - 1].link)
                failed = list_push(out, (int32_t)part[at - 1].row);
        }
    }
done:
    side_free(&side);
    table_drop(&table);
    return failed ? -1 : 0;
}

#define REPEATED_BITS_PER_ROW 8

/* The rows whose key stands more than once, those of one key together; `on` as in side_scatter.
 * PERF: repeats are rare, so two bit fields first leave the one row in eight that shares its bit
 * with another; without them this takes twice as long (bench_match). */
static inline int repeated_keys(const uint64_t *keys, const uint8_t *on, size_t rows,
                                int32_list *out) {
    unsigned bits = 6;
    while (bits < 40 && ((size_t)1 << bits) < REPEATED_BITS_PER_ROW * rows) bits++;
    size_t words = (size_t)1 << (bits - 6);
    uint64_t *seen = calloc(words, sizeof *seen), *again = calloc(words, sizeof *again);
    uint8_t *shared = malloc(rows + 1);
    int failed = seen == NULL || again == NULL || shared == NULL;
    for (size_t i = 0; i < rows && !failed; i++) {
        uint64_t place = (keys[i] * JOIN_SPREAD) >> (64 - bits),
                 bit = on == NULL || on[i] ? 1ULL << (place & 63) : 0;
        again[place >> 6] |= seen[place >> 6] & bit;
        seen[place >> 6] |= bit;
    }
    for (size_t i = 0; i < rows && !failed; i++) {
        uint64_t place = (keys[i] * JOIN_SPREAD) >> (64 - bits);
        shared[i] = (uint8_t)(again[place >> 6] >> (place & 63) & (on == NULL || on[i]));
    }
    failed = failed || repeated_among(keys, shared, rows, out) != 0;
    free(seen);
    free(again);
    free(shared);
    return failed ? -1 : 0;
}

#endif
