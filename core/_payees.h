/* Identifiers of payees by number: accounts, tax numbers, provider identifiers.
 *
 * Exact: a hash only finds the place, the bytes of the forms are compared.
 */
#ifndef REASSOC_PAYEES_H
#define REASSOC_PAYEES_H

#include "_columns.h"
#include "_forms.h"

#define IDENTIFIER_BYTES_MAX 64 /* nearly twice what BPR15 may have; a longer value is unknown */
#define ROUTING_DIGITS 9
#define ROUTING_NONE (-1)

typedef enum {
    PAYEES_OK = 0,
    PAYEES_NO_MEMORY = 1,
    PAYEES_OUT_OF_SOURCE = 2,
    PAYEES_TOO_MUCH_TEXT = 3
} payees_status;

#define IDENTIFIER_INLINE_BYTES 24

/* The text lies here if it is short, as it nearly always is; else in the table's. */
typedef struct {
    uint32_t at;
    uint32_t size;
    uint8_t text[IDENTIFIER_INLINE_BYTES];
} known_identifier;

/* A number, 0 for a free slot, and the upper half of its hash. */
typedef struct {
    uint32_t number;
    uint32_t tag;
} identifier_slot;

/* Identifiers by number, in order of first sight from 1 on. */
typedef struct {
    uint32_t count; /* identifiers known, the unknown one (0) included */
    uint32_t capacity;
    uint32_t slot_mask;
    identifier_slot *slots;
    known_identifier *known;
    uint8_t *text;
    size_t text_size;
    size_t text_capacity;
} identifier_table;

/* What is numbered: a text column, and for accounts the routing number of the bank of each. */
typedef struct {
    const uint8_t *source;
    size_t source_size;
    const text_ref *refs;
    const int32_t *routings; /* NULL for none; ROUTING_NONE where it is unknown */
    size_t rows;
    int is_account; /* leading zeros say nothing */
    int may_add;    /* whether new ones get a number, or are unknown */
} identifier_column;

static inline void identifiers_free(identifier_table *table) {
    free(table->slots);
    free(table->known);
    free(table->text);
    memset(table, 0, sizeof *table);
}

static inline const uint8_t *identifier_text(const identifier_table *table,
                                             const known_identifier *known) {
    return known->size <= IDENTIFIER_INLINE_BYTES ? known->text : table->text + known->at;
}

static inline int identifiers_grow(identifier_table *table) {
    uint32_t capacity = table->capacity ? table->capacity * 2 : 256;
    uint32_t mask = capacity * 2 - 1;
    void *known = realloc(table->known, capacity * sizeof *table->known);
    if (known == NULL) return -1;
    table->known = known;
    identifier_slot *slots = calloc((size_t)mask + 1, sizeof *slots);
    if (slots == NULL) return -1;
    if (table->count == 0) table->count = 1;
    for (uint32_t i = 1; i < table->count; i++) {
        const known_identifier *each = &table->known[i];
        uint64_t hash = hash_bytes(identifier_text(table, each), each->size, 0);
        uint32_t at = (uint32_t)hash & mask;
        while (slots[at].number != 0) at = (at + 1) & mask;
        slots[at] = (identifier_slot){i, (uint32_t)(hash >> 32)};
    }
    free(table->slots);
    table->slots = slots;
    table->slot_mask = mask;
    table->capacity = capacity;
    return 0;
}

/* Add an identifier that is not there. */
static inline payees_status identifier_add(identifier_table *table, const uint8_t *key, size_t size,
                                           uint64_t hash, uint32_t *number) {
    if (table->count == INT32_MAX) return PAYEES_TOO_MUCH_TEXT;
    if (table->count >= table->capacity && identifiers_grow(table) != 0) return PAYEES_NO_MEMORY;
    known_identifier *known = &table->known[table->count];
    known->size = (uint32_t)size;
    if (size <= IDENTIFIER_INLINE_BYTES) {
        memcpy(known->text, key, size);
    } else {
        if (table->text_size + size > UINT32_MAX) return PAYEES_TOO_MUCH_TEXT;
        if (table->text_size + size > table->text_capacity) {
            size_t capacity = table->text_capacity * 2 + 65536;
            void *text = realloc(table->text, capacity);
            if (text == NULL) return PAYEES_NO_MEMORY;
            table->text = text;
            table->text_capacity = capacity;
        }
        known->at = (uint32_t)table->text_size;
        memcpy(table->text + table->text_size, key, size);
        table->text_size += size;
    }
    uint32_t at = (uint32_t)hash & table->slot_mask;
    while (table->slots[at].number != 0) at = (at + 1) & table->slot_mask;
    *number = table->count++;
    table->slots[at] = (identifier_slot){*number, (uint32_t)(hash >> 32)};
    return PAYEES_OK;
}

static inline uint32_t identifier_find(const identifier_table *table, const uint8_t *key,
                                       size_t size, uint64_t hash) {
    uint32_t at = (uint32_t)hash & table->slot_mask;
    for (; table->slots[at].number != 0; at = (at + 1) & table->slot_mask) {
        if (table->slots[at].tag != (uint32_t)(hash >> 32)) continue;
        const known_identifier *known = &table->known[table->slots[at].number];
        if (known->size == size && memcmp(identifier_text(table, known), key, size) == 0)
            return table->slots[at].number;
    }
    return 0;
}

/* Letters and digits in upper case; 0 bytes where there are none, or more than the maximum. */
static inline size_t identifier_form(const uint8_t *raw, size_t length, int is_account,
                                     uint8_t *out) {
    size_t size = 0;
    for (size_t i = 0; i < length; i++) {
        if (!is_alnum(raw[i]) || (is_account && size == 0 && raw[i] == '0')) continue;
        if (size == IDENTIFIER_BYTES_MAX) return 0;
        out[size++] = upper(raw[i]);
    }
    return size;
}

#define PAYEES_AHEAD 16
#define PAYEES_BATCH 16

typedef struct {
    size_t size; /* 0 where a part is missing */
    uint64_t hash;
    uint8_t bytes[sizeof(int32_t) + IDENTIFIER_BYTES_MAX];
} identifier_key;

static inline payees_status make_key(const identifier_column *in, size_t i, identifier_key *key) {
    size_t head = in->routings != NULL ? sizeof(int32_t) : 0;
    text_ref ref = in->refs[i];
    key->size = 0;
    if ((uint64_t)ref.offset + ref.length > in->source_size) return PAYEES_OUT_OF_SOURCE;
    if (i + PAYEES_AHEAD < in->rows)
        __builtin_prefetch(in->source + in->refs[i + PAYEES_AHEAD].offset);
    if (ref.length == 0 || (head && in->routings[i] == ROUTING_NONE)) return PAYEES_OK;
    if (head) memcpy(key->bytes, &in->routings[i], head);
    size_t size =
        identifier_form(in->source + ref.offset, ref.length, in->is_account, key->bytes + head);
    if (size == 0) return PAYEES_OK;
    key->size = head + size;
    key->hash = hash_bytes(key->bytes, key->size, 0);
    return PAYEES_OK;
}

/* Numbers of a column's values; 0 where a part is missing.
 *
 * PERF: in batches, so that the slots of the next are on their way while the forms of the others
 * are made: a quarter of the time where the table is larger than the cache. */
static inline payees_status number_identifiers(identifier_table *table, const identifier_column *in,
                                               uint32_t *numbers) {
    identifier_key keys[PAYEES_BATCH];
    payees_status status = PAYEES_OK;
    if (table->capacity == 0 && identifiers_grow(table) != 0) return PAYEES_NO_MEMORY;
    for (size_t start = 0; start < in->rows; start += PAYEES_BATCH) {
        size_t count = in->rows - start < PAYEES_BATCH ? in->rows - start : PAYEES_BATCH;
        for (size_t k = 0; k < count; k++) {
            if ((status = make_key(in, start + k, &keys[k])) != PAYEES_OK) return status;
            if (keys[k].size)
                __builtin_prefetch(&table->slots[(uint32_t)keys[k].hash & table->slot_mask]);
        }
        for (size_t k = 0; k < count; k++)
            if (keys[k].size)
                __builtin_prefetch(
                    &table->known[table->slots[(uint32_t)keys[k].hash & table->slot_mask].number]);
        for (size_t k = 0; k < count; k++) {
            const identifier_key *key = &keys[k];
            uint32_t number =
                key->size ? identifier_find(table, key->bytes, key->size, key->hash) : 0;
            if (number == 0 && key->size && in->may_add)
                status = identifier_add(table, key->bytes, key->size, key->hash, &number);
            if (status != PAYEES_OK) return status;
            numbers[start + k] = number;
        }
    }
    return PAYEES_OK;
}

/* Routing numbers of nine digits; signs between them say nothing. ROUTING_NONE for all else. */
static inline payees_status read_routings(const uint8_t *source, size_t source_size,
                                          const text_ref *refs, size_t rows, int32_t *out) {
    for (size_t i = 0; i < rows; i++) {
        text_ref ref = refs[i];
        if ((uint64_t)ref.offset + ref.length > source_size) return PAYEES_OUT_OF_SOURCE;
        if (i + PAYEES_AHEAD < rows) __builtin_prefetch(source + refs[i + PAYEES_AHEAD].offset);
        int32_t value = 0;
        size_t digits = 0;
        for (size_t k = 0; k < ref.length && digits <= ROUTING_DIGITS; k++) {
            uint8_t c = source[ref.offset + k];
            if (!is_alnum(c)) continue;
            if (!is_digit(c) || digits == ROUTING_DIGITS) digits = ROUTING_DIGITS + 1;
            else {
                value = value * 10 + (c - '0');
                digits++;
            }
        }
        out[i] = digits == ROUTING_DIGITS && value > 0 ? value : ROUTING_NONE;
    }
    return PAYEES_OK;
}

#endif
