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

typedef struct {
    uint64_t hash;
    uint32_t at; /* in the text */
    uint32_t size;
} known_identifier;

/* Identifiers by number, in order of first sight from 1 on. */
typedef struct {
    uint32_t count; /* identifiers known, the unknown one (0) included */
    uint32_t capacity;
    uint32_t slot_mask;
    uint32_t *slots; /* number, 0 for free */
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

static inline int identifiers_grow(identifier_table *table) {
    uint32_t capacity = table->capacity ? table->capacity * 2 : 256;
    uint32_t mask = capacity * 2 - 1;
    void *known = realloc(table->known, capacity * sizeof *table->known);
    if (known == NULL) return -1;
    table->known = known;
    uint32_t *slots = calloc((size_t)mask + 1, sizeof *slots);
    if (slots == NULL) return -1;
    if (table->count == 0) table->count = 1;
    for (uint32_t i = 1; i < table->count; i++) {
        uint32_t slot = (uint32_t)table->known[i].hash & mask;
        while (slots[slot] != 0) slot = (slot + 1) & mask;
        slots[slot] = i;
    }
    free(table->slots);
    table->slots = slots;
    table->slot_mask = mask;
    table->capacity = capacity;
    return 0;
}

/* Room for the text of one more. */
static inline payees_status identifiers_reserve(identifier_table *table, size_t size) {
    if (table->text_size + size > UINT32_MAX || table->count == INT32_MAX)
        return PAYEES_TOO_MUCH_TEXT;
    if (table->text_size + size <= table->text_capacity) return PAYEES_OK;
    size_t capacity = table->text_capacity * 2 + 65536;
    void *text = realloc(table->text, capacity);
    if (text == NULL) return PAYEES_NO_MEMORY;
    table->text = text;
    table->text_capacity = capacity;
    return PAYEES_OK;
}

static inline payees_status identifier_number(identifier_table *table, const uint8_t *key,
                                              size_t size, int may_add, uint32_t *number) {
    *number = 0;
    if (table->count >= table->capacity && identifiers_grow(table) != 0) return PAYEES_NO_MEMORY;
    uint64_t hash = hash_bytes(key, size, 0);
    uint32_t slot = (uint32_t)hash & table->slot_mask;
    for (; table->slots[slot] != 0; slot = (slot + 1) & table->slot_mask) {
        const known_identifier *known = &table->known[table->slots[slot]];
        if (known->hash == hash && known->size == size &&
            memcmp(table->text + known->at, key, size) == 0) {
            *number = table->slots[slot];
            return PAYEES_OK;
        }
    }
    if (!may_add) return PAYEES_OK;
    payees_status status = identifiers_reserve(table, size);
    if (status != PAYEES_OK) return status;
    table->slots[slot] = *number = table->count++;
    table->known[*number] = (known_identifier){hash, (uint32_t)table->text_size, (uint32_t)size};
    memcpy(table->text + table->text_size, key, size);
    table->text_size += size;
    return PAYEES_OK;
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

/* Numbers of a column's values; 0 where a part is missing. */
static inline payees_status number_identifiers(identifier_table *table, const identifier_column *in,
                                               uint32_t *numbers) {
    payees_status status = PAYEES_OK;
    for (size_t i = 0; i < in->rows && status == PAYEES_OK; i++) {
        uint8_t key[sizeof(int32_t) + IDENTIFIER_BYTES_MAX];
        size_t head = in->routings != NULL ? sizeof(int32_t) : 0;
        text_ref ref = in->refs[i];
        if ((uint64_t)ref.offset + ref.length > in->source_size) return PAYEES_OUT_OF_SOURCE;
        if (i + PAYEES_AHEAD < in->rows)
            __builtin_prefetch(in->source + in->refs[i + PAYEES_AHEAD].offset);
        numbers[i] = 0;
        if (ref.length == 0 || (head && in->routings[i] == ROUTING_NONE)) continue;
        if (head) memcpy(key, &in->routings[i], head);
        size_t size =
            identifier_form(in->source + ref.offset, ref.length, in->is_account, key + head);
        if (size > 0) status = identifier_number(table, key, head + size, in->may_add, &numbers[i]);
    }
    return status;
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
