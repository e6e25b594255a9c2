/* Tables whose columns lie in one block of memory, for the large ones of the ACH reader.
 *
 * A table of _columns.h has one piece of memory per column. Where columns are a few megabytes each, pieces end between
 * huge pages and are faulted in 4 KiB steps, which costs more than filling them; one aligned block is faulted 2 MiB at a
 * time (bench/test_bench_nacha.py would show the loss: half of the speed). Columns are staggered by a cache line each, so
 * that the rows written together do not fall into the same set of the cache.
 */
#ifndef REASSOC_BLOCKS_H
#define REASSOC_BLOCKS_H

#include "_columns.h"

#define CACHE_LINE_BYTES ((size_t)64)

static inline size_t block_column_bytes(const column_spec *spec, size_t capacity) {
    size_t size = (capacity * spec->item_size + CACHE_LINE_BYTES - 1) / CACHE_LINE_BYTES * CACHE_LINE_BYTES;
    return size + CACHE_LINE_BYTES;
}

/* Make room for `wanted` rows in all; the rows that are there move. Returns 0, or -1 when memory is short. */
static inline int block_reserve(void *table, void **block, const column_spec *specs, size_t spec_count, size_t wanted) {
    table_head *head = (table_head *)table;
    if (wanted <= head->capacity) return 0;
    size_t capacity = head->capacity * 2, size = 0;
    if (capacity < wanted) capacity = wanted;
    for (size_t i = 0; i < spec_count; i++) size += block_column_bytes(&specs[i], capacity);
    void *fresh = NULL;
    if (posix_memalign(&fresh, size >= HUGE_PAGE_BYTES ? HUGE_PAGE_BYTES : CACHE_LINE_BYTES, size) != 0) return -1;
    column_advise(fresh, size);
    char *place = (char *)fresh;
    for (size_t i = 0; i < spec_count; i++) {
        void **slot = column_slot(table, &specs[i]);
        if (head->rows > 0) memcpy(place, *slot, head->rows * specs[i].item_size);
        *slot = place;
        place += block_column_bytes(&specs[i], capacity);
    }
    free(*block);
    *block = fresh;
    head->capacity = capacity;
    return 0;
}

/* Empty the table. The block is the caller's: it has freed it or given it away. */
static inline void block_forget(void *table, void **block, const column_spec *specs, size_t spec_count) {
    for (size_t i = 0; i < spec_count; i++) *column_slot(table, &specs[i]) = NULL;
    *block = NULL;
    ((table_head *)table)->rows = 0;
    ((table_head *)table)->capacity = 0;
}

#endif
