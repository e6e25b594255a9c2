/* Growable struct-of-arrays tables, shared by the compiled scanners.
 *
 * A table is declared once, as an X-macro list of (kind, name, doc). From that list come the C
 * struct with one typed pointer per column and the descriptor that Python reads, so a column's
 * name, type and meaning stand in one place. The caller reserves rows for a whole block ahead, so
 * that writing a row needs no check.
 */
#ifndef REASSOC_COLUMNS_H
#define REASSOC_COLUMNS_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

/* Text is never copied: where it lies in the source buffer. */
typedef struct {
    uint32_t offset;
    uint32_t length;
} text_ref;

/* The same in half the room, for texts of the row's own segment: counted from the row's `offset`.
 */
typedef struct {
    uint16_t distance;
    uint16_t length;
} near_ref;

/* Column kinds. The token is what Python sees (columns.py maps it to a dtype). */
typedef int32_t kind_row;   /* row number in another table, -1 for none */
typedef int32_t kind_date;  /* days since 1970-01-01, DATE_NONE for none */
typedef int64_t kind_cents; /* money */
typedef int64_t kind_int64;
typedef int32_t kind_int32;
typedef int16_t kind_int16;
typedef uint64_t kind_uint64;
typedef uint32_t kind_uint32;
typedef uint16_t kind_uint16;
typedef uint8_t kind_uint8;
typedef uint8_t kind_flag;   /* bool */
typedef uint16_t kind_code2; /* up to 2 ASCII bytes, NUL filled */
typedef uint32_t kind_code4;
typedef uint64_t kind_code8;
typedef text_ref kind_text;
typedef near_ref kind_near; /* in a table with a column `offset` */

#define DATE_NONE INT32_MIN

typedef struct {
    const char *name;
    const char *kind;
    const char *doc;
    uint32_t field; /* offset of the column's pointer in the table struct */
    uint32_t item_size;
} column_spec;

/* Every table struct starts with this head. */
typedef struct {
    size_t rows;
    size_t capacity;
    void *slab;
} table_head;

#define COLUMN_POINTER(kind, name, doc) kind_##kind *name;
#define DECLARE_TABLE(type, COLUMNS)                                                               \
    typedef struct {                                                                               \
        size_t rows;                                                                               \
        size_t capacity;                                                                           \
        void *slab;                                                                                \
        COLUMNS(COLUMN_POINTER)                                                                    \
    } type;

/* Use inside `static const column_spec X[] = { ... }` with TABLE_TYPE defined to the struct. */
#define COLUMN_DESCRIPTION(kind, name, doc)                                                        \
    {#name, #kind, doc, offsetof(TABLE_TYPE, name), sizeof(kind_##kind)},

enum { COLUMN_ALIGNMENT = 64 };
#define HUGE_PAGE_BYTES ((size_t)2 << 20)

/* Ask for huge pages. Advice only: without it everything still works. */
static inline void column_advise(void *memory, size_t size) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    uintptr_t start = ((uintptr_t)memory + 4095) & ~(uintptr_t)4095;
    uintptr_t stop = ((uintptr_t)memory + size) & ~(uintptr_t)4095;
    if (stop > start) (void)madvise((void *)start, stop - start, MADV_HUGEPAGE);
#else
    (void)memory, (void)size;
#endif
}

/* The memory of a table is one slab that all its columns lie in. Large slabs are faulted in by huge
 * pages, and slabs that were given back are kept for the next window: fresh 4 KiB pages for two
 * hundred columns cost more than filling them (bench/test_bench_x12.py). What is kept is bounded;
 * slab_cache_clear gives it back. */
#ifndef SLAB_CACHE_BYTES_MAX
#define SLAB_CACHE_BYTES_MAX ((size_t)384 << 20)
#endif
enum { SLAB_CACHE_COUNT_MAX = 128, SLAB_CACHE_BYTES_MIN = 16 << 10 };

typedef struct {
    size_t size; /* of the whole slab, this head included */
    char fill[COLUMN_ALIGNMENT - sizeof(size_t)];
} slab_head;

static struct {
    pthread_mutex_t lock;
    slab_head *slabs[SLAB_CACHE_COUNT_MAX];
    size_t count;
    size_t bytes;
} slab_cache = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* With the lock held. The order, oldest first, stays. */
static inline slab_head *slab_cache_remove(size_t place) {
    slab_head *slab = slab_cache.slabs[place];
    slab_cache.count--;
    slab_cache.bytes -= slab->size;
    memmove(&slab_cache.slabs[place], &slab_cache.slabs[place + 1],
            (slab_cache.count - place) * sizeof(slab_head *));
    return slab;
}

/* A kept slab of at least `size` bytes and at most twice that, or NULL. */
static inline slab_head *slab_cache_take(size_t size) {
    slab_head *found = NULL;
    size_t best = 0;
    pthread_mutex_lock(&slab_cache.lock);
    for (size_t i = 0; i < slab_cache.count; i++) {
        slab_head *slab = slab_cache.slabs[i];
        if (slab->size >= size && slab->size / 2 <= size &&
            (found == NULL || slab->size < found->size)) {
            found = slab;
            best = i;
        }
    }
    if (found != NULL) {
        slab_cache_remove(best);
    }
    pthread_mutex_unlock(&slab_cache.lock);
    return found;
}

static inline void *slab_allocate(size_t size) {
    slab_head *slab = NULL;
    size += sizeof(slab_head);
    if (size >= SLAB_CACHE_BYTES_MIN) slab = slab_cache_take(size);
    if (slab != NULL) return slab + 1;
    if (size >= HUGE_PAGE_BYTES / 2) {
        void *memory = NULL;
        size = (size + HUGE_PAGE_BYTES - 1) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
        if (posix_memalign(&memory, HUGE_PAGE_BYTES, size) != 0) return NULL;
        column_advise(memory, size);
        slab = memory;
    } else {
        slab = malloc(size);
        if (slab == NULL) return NULL;
    }
    slab->size = size;
    return slab + 1;
}

/* What is kept longest goes first, so that a program that turns to smaller files keeps those slabs.
 */
static inline void slab_free(void *memory) {
    if (memory == NULL) return;
    slab_head *slab = (slab_head *)memory - 1;
    slab_head *evicted[SLAB_CACHE_COUNT_MAX + 1];
    size_t evicted_count = 0;
    if (slab->size < SLAB_CACHE_BYTES_MIN || slab->size > SLAB_CACHE_BYTES_MAX) {
        free(slab);
        return;
    }
    pthread_mutex_lock(&slab_cache.lock);
    while (slab_cache.count == SLAB_CACHE_COUNT_MAX ||
           slab_cache.bytes + slab->size > SLAB_CACHE_BYTES_MAX) {
        evicted[evicted_count++] = slab_cache_remove(0);
    }
    slab_cache.bytes += slab->size;
    slab_cache.slabs[slab_cache.count++] = slab;
    pthread_mutex_unlock(&slab_cache.lock);
    while (evicted_count > 0) free(evicted[--evicted_count]);
}

static inline size_t slab_cache_clear(void) {
    pthread_mutex_lock(&slab_cache.lock);
    size_t bytes = slab_cache.bytes;
    while (slab_cache.count > 0) free(slab_cache.slabs[--slab_cache.count]);
    slab_cache.bytes = 0;
    pthread_mutex_unlock(&slab_cache.lock);
    return bytes;
}

static inline void **column_slot(void *table, const column_spec *spec) {
    return (void **)((char *)table + spec->field);
}

static inline size_t column_bytes(size_t capacity, const column_spec *spec) {
    return (capacity * spec->item_size + COLUMN_ALIGNMENT - 1) / COLUMN_ALIGNMENT *
           COLUMN_ALIGNMENT;
}

/* Make room for `wanted` rows in all. Returns 0, or -1 when memory is short (the table stays as it
 * was). */
static inline int table_reserve(void *table, const column_spec *specs, size_t spec_count,
                                size_t wanted) {
    table_head *head = (table_head *)table;
    if (wanted <= head->capacity) return 0;
    size_t capacity = head->capacity + head->capacity / 8, size = 0; /* callers estimate ahead */
    if (capacity < wanted) capacity = wanted;
    for (size_t i = 0; i < spec_count; i++) size += column_bytes(capacity, &specs[i]);
    char *slab = slab_allocate(size), *place = slab;
    if (slab == NULL) return -1;
    for (size_t i = 0; i < spec_count; i++) {
        void **slot = column_slot(table, &specs[i]);
        if (head->rows > 0) memcpy(place, *slot, head->rows * specs[i].item_size);
        *slot = place;
        place += column_bytes(capacity, &specs[i]);
    }
    slab_free(head->slab);
    head->slab = slab;
    head->capacity = capacity;
    return 0;
}

static inline void table_free(void *table) {
    table_head *head = (table_head *)table;
    slab_free(head->slab);
    head->slab = NULL;
    head->rows = head->capacity = 0;
}

#endif
