/* Payers by number, and the 64-byte item that the matcher works on.
 *
 * Everything here is exact: hashes only bring items together, and whoever makes a match compares
 * the bytes of the normal forms (see _resolve.h).
 */
#ifndef REASSOC_KEYS_H
#define REASSOC_KEYS_H

#include "_columns.h"
#include "_forms.h"

#define ITEM_TEXT_BYTES 24 /* traces up to this length lie in the item itself */
#define PAYER_NAME_BYTES_MAX 64
#define PAYER_FORM_BYTES_MAX 80 /* a mark, a routing number, and an account */
#define COMPANY_NAME_BYTES 16   /* all that an ACH batch has of a name */
#define ROUTING_BYTES 9
#define CUT_BYTES_MIN 8  /* letters and digits that are left of a trace that was cut */
#define ROOT_BYTES_MIN 6 /* letters and digits of a trace root, leading zeros not counted */

typedef enum {
    KEYS_OK = 0,
    KEYS_NO_MEMORY = 1,
    KEYS_OUT_OF_SOURCE = 2,
    KEYS_TOO_MUCH_TEXT = 3
} keys_status;

/* What an item can say of its payer. All but identifiers are marked by a first byte that no
 * identifier has, and count only where they are listed: a name alone makes no payer. */
typedef enum {
    PAYER_ID = 0,
    PAYER_NAME = 1,    /* in full */
    PAYER_COMPANY = 2, /* in full, or what an ACH batch has of it */
    PAYER_ACCOUNT = 3  /* routing number and account of whoever drew a check */
} payer_kind;

#define PAYER_DATED 0x80000000u /* set in affix_set: look at the spans */

/* What the matcher does with a payer. */
typedef struct {
    uint32_t
        number; /* P1: equal numbers mean equal forms; 0 is nobody, or one that is to be ignored */
    uint32_t group;     /* P2: number of the first payer of its alias group */
    uint32_t affix_set; /* 0 for none */
} payer_rule;

/* Days on which a payer belongs to a group, both included; the spans of one do not overlap. */
typedef struct {
    int32_t start, stop;
    uint32_t group, affix_set;
} payer_span;

/* Payers by number, in order of first sight from 1 on. Those with a rule of their own are put in
 * first. */
typedef struct {
    uint32_t count; /* payers known, the nobody included */
    uint32_t capacity;
    uint32_t slot_mask;
    uint32_t *slots; /* number, 0 for free */
    uint8_t (*names)[PAYER_FORM_BYTES_MAX];
    uint8_t *lengths;
    const payer_rule *rules; /* [rule_count], by number */
    uint32_t rule_count;
    uint32_t affix_set; /* of payers without a rule */
    const payer_span *spans;
    const uint32_t *span_starts; /* [rule_count + 1] */
} payer_table;

static inline void payers_free(payer_table *payers) {
    free(payers->slots);
    free(payers->names);
    free(payers->lengths);
    memset(payers, 0, sizeof *payers);
}

/* The payers of a table in another one, which must be empty, with its rules. */
static inline int payers_copy(const payer_table *from, payer_table *to) {
    *to = *from;
    if (from->capacity == 0) return 0;
    size_t slots = ((size_t)from->slot_mask + 1) * sizeof *from->slots;
    to->slots = malloc(slots);
    to->names = malloc((size_t)from->capacity * PAYER_FORM_BYTES_MAX);
    to->lengths = malloc(from->capacity);
    if (to->slots == NULL || to->names == NULL || to->lengths == NULL) {
        payers_free(to);
        return -1;
    }
    memcpy(to->slots, from->slots, slots);
    memcpy(to->names, from->names, (size_t)from->count * PAYER_FORM_BYTES_MAX);
    memcpy(to->lengths, from->lengths, from->count);
    return 0;
}

static inline int payers_grow(payer_table *payers) {
    uint32_t capacity = payers->capacity ? payers->capacity * 2 : 256;
    uint32_t mask = capacity * 2 - 1;
    void *names = realloc(payers->names, (size_t)capacity * PAYER_FORM_BYTES_MAX);
    if (names != NULL) payers->names = names;
    void *lengths = realloc(payers->lengths, capacity);
    if (lengths != NULL) payers->lengths = lengths;
    uint32_t *slots = calloc((size_t)mask + 1, sizeof *slots);
    if (names == NULL || lengths == NULL || slots == NULL) {
        free(slots);
        return -1;
    }
    if (payers->count == 0) {
        payers->lengths[0] = 0;
        payers->count = 1;
    }
    for (uint32_t i = 1; i < payers->count; i++) {
        uint32_t slot = (uint32_t)hash_bytes(payers->names[i], payers->lengths[i], 0) & mask;
        while (slots[slot] != 0) slot = (slot + 1) & mask;
        slots[slot] = i;
    }
    free(payers->slots);
    payers->slots = slots;
    payers->slot_mask = mask;
    payers->capacity = capacity;
    return 0;
}

/* The slot of a form, or the free one where it would go. There is always a free one. */
static inline uint32_t payers_slot(const payer_table *payers, const uint8_t *form, size_t length) {
    uint32_t slot = (uint32_t)hash_bytes(form, length, 0) & payers->slot_mask;
    for (; payers->slots[slot] != 0; slot = (slot + 1) & payers->slot_mask) {
        uint32_t known = payers->slots[slot];
        if (payers->lengths[known] == length && memcmp(payers->names[known], form, length) == 0)
            break;
    }
    return slot;
}

static inline int payers_number(payer_table *payers, const uint8_t *form, size_t length,
                                uint32_t *number) {
    if (payers->count >= payers->capacity && payers_grow(payers) != 0) return -1;
    uint32_t slot = payers_slot(payers, form, length);
    if (payers->slots[slot] == 0) {
        payers->slots[slot] = payers->count;
        memcpy(payers->names[payers->count], form, length);
        payers->lengths[payers->count++] = (uint8_t)length;
    }
    *number = payers->slots[slot];
    return 0;
}

/* The number of a form that is listed, 0 for all others. */
static inline uint32_t payers_listed(const payer_table *payers, const uint8_t *form,
                                     size_t length) {
    if (payers->rule_count <= 1 || length == 0) return 0;
    uint32_t number = payers->slots[payers_slot(payers, form, length)];
    return number < payers->rule_count ? number : 0;
}

static inline const uint8_t *payer_name(const payer_table *payers, uint32_t number) {
    return payers->names[number];
}

static inline int ref_outside(text_ref ref, size_t source_size) {
    return (uint64_t)ref.offset + ref.length > source_size;
}

#define PAYER_CACHE_BITS 14

/* The first `length` bytes from p as a number, 0 for none; 8 bytes must be readable. */
static inline uint64_t load_part(const uint8_t *p, size_t length) {
    if (length == 0) return 0;
    return length >= 8 ? load64(p) : load64(p) & ((1ULL << (8 * length)) - 1);
}

typedef struct {
    uint64_t low, high;
    payer_rule rule;
    uint8_t bare;
    uint8_t length; /* of the raw value; 0 for a free place */
} cached_payer;

/* Raw values of up to 16 bytes that were looked up before. PERF: pools are often in no order of
 * payers, and working out the form of each value takes five times as long as finding it here
 * (bench_match). */
typedef struct {
    payer_table *payers;
    cached_payer places[1 << PAYER_CACHE_BITS];
    cached_payer other; /* the last one that had no place here */
} payer_cache;

static inline payer_rule rule_of(const payer_table *payers, uint32_t number) {
    if (number == 0) return (payer_rule){0, 0, payers->affix_set};
    if (number < payers->rule_count) return payers->rules[number];
    return (payer_rule){number, number, payers->affix_set};
}

/* The rule on a day. A payer that belongs to no group then is one by itself, a name or an account
 * nobody. Without a day every span counts, if all say the same. */
static inline payer_rule rule_on(const payer_table *payers, payer_rule rule, int32_t date) {
    if (!(rule.affix_set & PAYER_DATED)) return rule;
    payer_rule own = {rule.number, rule.number, payers->affix_set};
    if (payers->names[rule.number][0] <= PAYER_ACCOUNT) own.number = own.group = 0;
    const payer_span *span = payers->spans + payers->span_starts[rule.number];
    const payer_span *end = payers->spans + payers->span_starts[rule.number + 1];
    if (date == DATE_NONE) {
        for (const payer_span *other = span; other < end; other++)
            if (other->group != span->group) return own;
        return (payer_rule){rule.number, span->group, span->affix_set};
    }
    for (; span < end; span++)
        if (span->start <= date && date <= span->stop)
            return (payer_rule){rule.number, span->group, span->affix_set};
    return own;
}

static inline int look_up_payer(payer_table *payers, const uint8_t *raw, size_t size,
                                cached_payer *found) {
    uint8_t name[PAYER_BYTES_MAX];
    size_t length = payer_form(raw, size, name, &found->bare);
    uint32_t number = 0;
    if (length > 0 && payers_number(payers, name, length, &number) != 0) return -1;
    found->rule = rule_of(payers, number);
    return 0;
}

/* Form of a name or an account, its mark first: letters and digits in upper case, of an account
 * without the zeros behind the routing number. 0 bytes where nothing is left, or too much. */
static inline size_t marked_form(const uint8_t *raw, size_t size, payer_kind kind, uint8_t *out) {
    size_t length = 0, head = kind == PAYER_ACCOUNT ? ROUTING_BYTES : 0;
    out[0] = (uint8_t)kind;
    for (size_t i = 0; i < size; i++) {
        if (!is_alnum(raw[i]) || (head > 0 && length == head && raw[i] == '0')) continue;
        if (length == head + PAYER_NAME_BYTES_MAX) return 0;
        out[1 + length++] = upper(raw[i]);
    }
    return length > head ? 1 + length : 0;
}

/* The payer of a text that lies inside its source. NULL when memory is short. */
static inline const cached_payer *find_payer(payer_cache *cache, const uint8_t *source,
                                             size_t source_size, text_ref ref) {
    const uint8_t *raw = source + ref.offset;
    if (ref.length == 0 || ref.length > 16 || (uint64_t)ref.offset + 16 > source_size)
        return look_up_payer(cache->payers, raw, ref.length, &cache->other) == 0 ? &cache->other
                                                                                 : NULL;
    uint64_t low = load_part(raw, ref.length),
             high = load_part(raw + 8, ref.length > 8 ? ref.length - 8 : 0);
    cached_payer *place = &cache->places[hash_pair(low, high) >> (64 - PAYER_CACHE_BITS)];
    if (place->low == low && place->high == high && place->length == ref.length) return place;
    place->length = 0;
    if (look_up_payer(cache->payers, raw, ref.length, place) != 0) return NULL;
    place->low = low;
    place->high = high;
    place->length = (uint8_t)ref.length;
    return place;
}

/* P1 numbers of a text column, as the items would have them, and P2 numbers on their days. */
static inline keys_status number_payers(payer_table *payers, const uint8_t *source,
                                        size_t source_size, const text_ref *refs, size_t rows,
                                        const int32_t *dates, uint32_t *numbers, uint32_t *groups) {
    payer_cache *cache = calloc(1, sizeof *cache);
    keys_status status = cache == NULL ? KEYS_NO_MEMORY : KEYS_OK;
    if (cache != NULL) cache->payers = payers;
    for (size_t i = 0; i < rows && status == KEYS_OK; i++) {
        const cached_payer *payer = NULL;
        if (ref_outside(refs[i], source_size)) status = KEYS_OUT_OF_SOURCE;
        else if ((payer = find_payer(cache, source, source_size, refs[i])) == NULL)
            status = KEYS_NO_MEMORY;
        else {
            numbers[i] = payer->rule.number;
            groups[i] = rule_on(payers, payer->rule, dates ? dates[i] : DATE_NONE).group;
        }
    }
    free(cache);
    return status;
}

/* ---- items ---- */

enum {
    ITEM_IN_ARENA = 1,   /* the forms lie in the arena, not in the item */
    ITEM_CHANGED = 2,    /* N1 is not the raw trace */
    ITEM_PAYER_BARE = 4, /* the payer's EIN came without its leading 1 */
    ITEM_TRACE = 8,      /* the trace is usable: N3 is not empty */
    ITEM_PAYER = 16,     /* the payer is usable */
    ITEM_HELD = 32,      /* there are reasons against matching it by itself */
};

/* One remittance or payment as the tiers see it: one cache line. */
typedef struct {
    int64_t cents;
    uint64_t id;          /* hash of digest and offset: only for match ids */
    int32_t date;         /* effective date, DATE_NONE for none */
    uint32_t payer;       /* P1 number */
    uint32_t payer_group; /* P2 number */
    uint32_t text_at;     /* where the forms lie in the arena */
    trace_shape at;
    uint8_t flags;
    uint8_t unused;
    uint8_t text[ITEM_TEXT_BYTES];
} match_item;

typedef struct {
    match_item *items;
    uint64_t *keys;                  /* hash of N4 and P2: equal keys make a block */
    uint8_t *usable;                 /* ITEM_TRACE and ITEM_PAYER of each row */
    uint32_t *payers, *payer_groups; /* as in the items */
    size_t rows;
    uint8_t *arena;
    size_t arena_size;
    size_t arena_capacity;
} item_set;

static inline const uint8_t *item_text(const item_set *set, const match_item *item) {
    return item->flags & ITEM_IN_ARENA ? set->arena + item->text_at : item->text;
}

static inline size_t n3_length(const match_item *item) {
    return (size_t)item->at.n2_at + item->at.n2_length - item->at.n3_at;
}

static inline const uint8_t *n3_text(const item_set *set, const match_item *item) {
    return item_text(set, item) + item->at.n3_at;
}

static inline keys_status item_store_text(item_set *set, match_item *item,
                                          const trace_forms *forms) {
    size_t size = (size_t)forms->at.n2_at + forms->at.n2_length;
    memset(item->text, 0, ITEM_TEXT_BYTES);
    if (size <= ITEM_TEXT_BYTES) {
        memcpy(item->text, forms->text, size);
        return KEYS_OK;
    }
    if (set->arena_size + size > UINT32_MAX) return KEYS_TOO_MUCH_TEXT;
    if (set->arena_size + size > set->arena_capacity) {
        size_t capacity = set->arena_capacity * 2 + 65536;
        void *grown = realloc(set->arena, capacity);
        if (grown == NULL) return KEYS_NO_MEMORY;
        set->arena = grown;
        set->arena_capacity = capacity;
    }
    memcpy(set->arena + set->arena_size, forms->text, size);
    item->text_at = (uint32_t)set->arena_size;
    item->flags |= ITEM_IN_ARENA;
    set->arena_size += size;
    return KEYS_OK;
}

/* What else says who pays, where the payer identifier does not. */
typedef struct {
    const uint8_t *source;
    size_t source_size;
    const text_ref *refs;
    payer_kind kind;
    int listed_only; /* an identifier counts only where a rule has it */
} payer_step;

/* What the columns of one side give to its items. */
typedef struct {
    const uint8_t *source; /* of the traces */
    size_t source_size;
    const text_ref *traces;
    const uint8_t *payer_source;
    size_t payer_source_size;
    const text_ref *payer_ids;
    const payer_step *steps; /* in the order in which they are tried */
    size_t step_count;
    affix_sets affixes;
    const int64_t *cents;
    const int32_t *dates;
    const uint64_t *digests;
    const int64_t *offsets;
    const int64_t *holds; /* reasons against matching it by itself */
} item_columns;

/* High bit of each byte that is a capital letter or a digit; bytes from 0x80 on may come out either
 * way. */
static inline uint64_t plain_bytes(uint64_t word) {
    const uint64_t ones = 0x0101010101010101ULL;
    uint64_t digits = (word + ones * (0x80 - '0')) & ~(word + ones * (0x7f - '9'));
    uint64_t letters = (word + ones * (0x80 - 'A')) & ~(word + ones * (0x7f - 'Z'));
    return (digits | letters) & ~word & ones * 0x80;
}

/* The usual trace, capitals and digits that fit into the item, is its own N1 and N2: three words
 * tell. PERF: byte by byte it takes twice as long (bench_match). Returns 0 where the trace is not
 * so, or too near the end of the source. */
static inline int plain_trace(match_item *item, const item_columns *in, text_ref ref) {
    uint64_t words[ITEM_TEXT_BYTES / 8] = {0};
    if (ref.length == 0 || ref.length > ITEM_TEXT_BYTES ||
        (uint64_t)ref.offset + ITEM_TEXT_BYTES > in->source_size)
        return 0;
    const uint8_t *raw = in->source + ref.offset;
    uint64_t plain = ~0ULL;
    for (size_t k = 0; 8 * k < ref.length; k++) {
        size_t length = ref.length - 8 * k;
        uint64_t beyond = length >= 8 ? 0 : ~0ULL << (8 * length);
        words[k] = load64(raw + 8 * k) & ~beyond;
        plain &= plain_bytes(words[k]) | beyond;
    }
    if ((plain & 0x8080808080808080ULL) != 0x8080808080808080ULL) return 0;
    memcpy(item->text, words, ITEM_TEXT_BYTES);
    uint8_t zeros = 0;
    while (zeros < ref.length && item->text[zeros] == '0') zeros++;
    uint8_t length = (uint8_t)ref.length;
    if (is_masked(item->text + zeros, (size_t)(length - zeros))) zeros = length;
    item->at = (trace_shape){length, 0, length, zeros, zeros, (uint8_t)(length - zeros)};
    return 1;
}

static inline keys_status fill_trace(item_set *set, match_item *item, const item_columns *in,
                                     text_ref ref, uint32_t affix_set) {
    trace_forms forms;
    if (affix_set == 0 && plain_trace(item, in, ref)) return KEYS_OK;
    make_trace_forms(in->source + ref.offset, ref.length, &forms);
    if (affix_set != 0) strip_affixes(&forms, &in->affixes, affix_set);
    item->at = forms.at;
    item->flags |= forms.changed ? ITEM_CHANGED : 0;
    return item_store_text(set, item, &forms);
}

#define FILL_AHEAD 16

/* Everything about one row that does not come from its payer's rule. */
static inline void fill_numbers(match_item *item, const item_columns *in, size_t i) {
    item->cents = in->cents[i];
    item->id = hash_pair(in->digests[i], (uint64_t)in->offsets[i]);
    item->date = in->dates[i];
    item->text_at = 0;
    item->flags = in->holds[i] ? ITEM_HELD : 0;
    item->unused = 0;
}

/* The payer of a row whose identifier names nobody: the first of its other texts that does. */
static inline keys_status fall_back(const item_columns *in, size_t i, payer_table *payers,
                                    cached_payer *found) {
    for (size_t k = 0; k < in->step_count && found->rule.number == 0; k++) {
        const payer_step *step = &in->steps[k];
        text_ref ref = step->refs[i];
        uint8_t form[1 + ROUTING_BYTES + PAYER_NAME_BYTES_MAX], bare = 0;
        if (ref_outside(ref, step->source_size)) return KEYS_OUT_OF_SOURCE;
        const uint8_t *raw = step->source + ref.offset;
        if (step->kind == PAYER_ID && !step->listed_only) {
            if (look_up_payer(payers, raw, ref.length, found) != 0) return KEYS_NO_MEMORY;
            found->rule = rule_on(payers, found->rule, in->dates[i]);
            continue;
        }
        size_t length = step->kind == PAYER_ID ? payer_form(raw, ref.length, form, &bare)
                                               : marked_form(raw, ref.length, step->kind, form);
        uint32_t number = payers_listed(payers, form, length);
        found->rule = rule_on(payers, rule_of(payers, number), in->dates[i]);
        found->bare = step->kind == PAYER_ID ? bare : 0;
    }
    return KEYS_OK;
}

/* PERF: payer and trace of a row are read together, and ahead, because they lie together in the
 * file and far from those of the next row; a pass for each costs a third more where the pool is
 * larger than the cache (bench_match). */
static inline keys_status fill_items(item_set *set, const item_columns *in, payer_table *payers) {
    payer_cache *cache = calloc(1, sizeof *cache);
    keys_status status = cache == NULL ? KEYS_NO_MEMORY : KEYS_OK;
    if (cache != NULL) cache->payers = payers;
    for (size_t i = 0; i < set->rows && status == KEYS_OK; i++) {
        match_item *item = &set->items[i];
        if (ref_outside(in->traces[i], in->source_size) ||
            ref_outside(in->payer_ids[i], in->payer_source_size)) {
            status = KEYS_OUT_OF_SOURCE;
            break;
        }
        if (i + FILL_AHEAD < set->rows) {
            __builtin_prefetch(in->source + in->traces[i + FILL_AHEAD].offset);
            __builtin_prefetch(in->payer_source + in->payer_ids[i + FILL_AHEAD].offset);
        }
        const cached_payer *payer =
            find_payer(cache, in->payer_source, in->payer_source_size, in->payer_ids[i]);
        if (payer == NULL) {
            status = KEYS_NO_MEMORY;
            break;
        }
        fill_numbers(item, in, i);
        payer_rule rule = rule_on(payers, payer->rule, item->date);
        uint8_t bare = payer->bare;
        if (rule.number == 0 && in->step_count > 0) {
            cached_payer other = {.rule = rule};
            status = fall_back(in, i, payers, &other);
            if (status != KEYS_OK) break;
            rule = other.rule;
            bare = other.bare;
        }
        set->payers[i] = item->payer = rule.number;
        set->payer_groups[i] = item->payer_group = rule.group;
        item->flags |= (uint8_t)((bare ? ITEM_PAYER_BARE : 0) | (item->payer ? ITEM_PAYER : 0));
        status = fill_trace(set, item, in, in->traces[i], rule.affix_set);
        if (item->at.n4_length) item->flags |= ITEM_TRACE;
        set->usable[i] = item->flags & (ITEM_TRACE | ITEM_PAYER);
        set->keys[i] = hash_bytes(item_text(set, item) + item->at.n4_at, item->at.n4_length,
                                  item->payer_group);
    }
    free(cache);
    return status;
}

/* Keys that mean the same in every pool: N4 and the form of the first payer of the group (P2), by
 * their bytes; 0 where one of both is unusable, and never else. They are kept for years: what they
 * are made of must not change. */
static inline void stable_keys(const item_set *set, const payer_table *payers, uint64_t *out) {
    for (size_t i = 0; i < set->rows; i++) {
        const match_item *item = &set->items[i];
        out[i] = 0;
        if (!(item->flags & ITEM_TRACE) || !(item->flags & ITEM_PAYER)) continue;
        uint64_t payer =
            hash_bytes(payers->names[item->payer_group], payers->lengths[item->payer_group], 0);
        uint64_t key = hash_bytes(item_text(set, item) + item->at.n4_at, item->at.n4_length, payer);
        out[i] = key ? key : 1;
    }
}

static inline int same_words(const uint8_t *a, const uint8_t *b) {
    return ((load64(a) ^ load64(b)) | (load64(a + 8) ^ load64(b + 8)) |
            (load64(a + 16) ^ load64(b + 16))) == 0;
}

static inline int same_n1(const item_set *a, const match_item *x, const item_set *b,
                          const match_item *y) {
    if (x->at.n1_length != y->at.n1_length) return 0;
    if (!((x->flags | y->flags) & ITEM_IN_ARENA) && x->at.n2_at == 0 && y->at.n2_at == 0)
        return same_words(x->text, y->text);
    return memcmp(item_text(a, x), item_text(b, y), x->at.n1_length) == 0;
}

static inline int same_n4(const item_set *a, const match_item *x, const item_set *b,
                          const match_item *y) {
    return x->at.n4_length == y->at.n4_length &&
           memcmp(item_text(a, x) + x->at.n4_at, item_text(b, y) + y->at.n4_at, x->at.n4_length) ==
               0;
}

#endif
