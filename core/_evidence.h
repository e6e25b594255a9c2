/* How much speaks for a pair: weights in the manner of Fellegi and Sunter, log2(m / u) of each
 * field, added up. Hundredths of bits, whole numbers only, so that every machine gives the same.
 */
#ifndef REASSOC_EVIDENCE_H
#define REASSOC_EVIDENCE_H

#include "_keys.h"

/* One side of a matching, by columns. */
typedef struct {
    const item_set *set;
    const int64_t *cents;
    const int32_t *day, *banking_day;
    const uint32_t *payer_group, *payee, *tenant;
    const uint8_t *rail;
    const uint64_t *order;   /* ids as sortable numbers */
    const uint32_t *company; /* payer group of the company identifier; NULL for unknown */
    size_t rows;
} match_side;

/* ---- fields ----
 *
 * u of a trace is small beyond what matters, that of a payer or payee some percent and less; what
 * differs though it belongs together is a few in a hundred. */
enum {
    WEIGHT_TRACE_N1 = 2400,
    WEIGHT_TRACE_N4 = 2200,
    WEIGHT_TRACE_CUT = 1600,  /* one is a cut form of the other */
    WEIGHT_TRACE_ROOT = 1200, /* the same, by a shorter part */
    WEIGHT_TRACE_NEAR = 300,  /* one character is wrong, missing or in the wrong place */
    WEIGHT_TRACE_DIFFERS = -600,
    WEIGHT_PAYER_P1 = 600,
    WEIGHT_PAYER_P2 = 550,
    WEIGHT_PAYER_DIFFERS = -500,
    WEIGHT_COMPANY = 150, /* little beside the payer, which it mostly is */
    WEIGHT_COMPANY_DIFFERS = -100,
    WEIGHT_PAYEE = 900,
    WEIGHT_PAYEE_DIFFERS = -900,
    WEIGHT_AMOUNT_MAX = 2000,
    WEIGHT_AMOUNT_NEAR = -200, /* by at most a twentieth: a fee, an interest */
    WEIGHT_AMOUNT_DIFFERS = -700,
    WEIGHT_DAYS_MANY = -150, /* more than DAYS_SOME banking days apart */
    WEIGHT_DAYS_FAR = -300,  /* more than DAYS_MANY */
};
#define DAYS_SOME 10
#define DAYS_MANY 30

static const int32_t WEIGHT_DAYS[DAYS_SOME + 1] = {200, 150, 100, 70,  40, 20,
                                                   -50, -50, -50, -50, -50};

static inline int32_t weigh_trace(const item_set *left, const match_item *r, const item_set *right,
                                  const match_item *p) {
    size_t a = n3_length(r), b = n3_length(p), shorter = a < b ? a : b, longer = a + b - shorter;
    if (shorter == 0) return 0;
    if (same_n1(left, r, right, p)) return WEIGHT_TRACE_N1;
    if (same_n4(left, r, right, p)) return WEIGHT_TRACE_N4;
    const uint8_t *x = n3_text(left, r), *y = n3_text(right, p);
    size_t front = 0, back = 0;
    while (front < shorter && x[front] == y[front]) front++;
    while (back < shorter - front && x[a - 1 - back] == y[b - 1 - back]) back++;
    if (front == shorter && a == b) return WEIGHT_TRACE_N4;
    if (shorter < ROOT_BYTES_MIN) return WEIGHT_TRACE_DIFFERS;
    if (front == shorter || memcmp(x + a - shorter, y + b - shorter, shorter) == 0)
        return shorter >= CUT_BYTES_MIN ? WEIGHT_TRACE_CUT : WEIGHT_TRACE_ROOT;
    return front + back + 2 >= longer ? WEIGHT_TRACE_NEAR : WEIGHT_TRACE_DIFFERS;
}

static inline int32_t weigh_days(int32_t a, int32_t b) {
    if (a == DATE_NONE || b == DATE_NONE) return 0;
    int64_t days = a < b ? (int64_t)b - a : (int64_t)a - b;
    if (days <= DAYS_SOME) return WEIGHT_DAYS[days];
    return days <= DAYS_MANY ? WEIGHT_DAYS_MANY : WEIGHT_DAYS_FAR;
}

/* ---- the amount, by its rarity ---- */

#define LOGS 1024
#define BLOCK_ROWS_MIN 32 /* a block of fewer says nothing of how common an amount is in it */
#define COUNT_BITS_MIN 10
#define COUNT_BITS_MAX 23

/* How often amounts stand in both pools, and among the items of one payer and payee. Counts are
 * kept by hash, without the values: where two share a place, an amount looks more common than it
 * is, and weighs less. PERF: tables with the values would take five times the memory (bench_match).
 */
typedef struct {
    uint32_t *amounts, *block_amounts, *blocks;
    uint64_t *group_names, *payee_names; /* see names_of */
    unsigned bits;
    uint64_t rows;
    int32_t logs[LOGS];
} rarity;

/* 100 * log2(n), n > 0; digit by digit, by squaring. */
static inline int32_t log2_of(uint64_t n) {
    int whole = 63 - __builtin_clzll(n);
    uint64_t x = whole > 31 ? n >> (whole - 31) : n << (31 - whole); /* 2^31 stands for 1 */
    int32_t fraction = 0;
    for (int k = 0; k < 10; k++) {
        x = (x * x) >> 31;
        fraction = fraction << 1 | (int32_t)(x >> 32);
        x >>= x >> 32;
    }
    return whole * 100 + ((fraction * 100 + 512) >> 10);
}

static inline int32_t log2_known(const rarity *r, uint64_t n) {
    return n < LOGS ? r->logs[n] : log2_of(n);
}

static inline uint32_t *count_at(const rarity *r, uint32_t *counts, uint64_t hash) {
    return &counts[(hash * 0x9e3779b97f4a7c15ULL) >> (64 - r->bits)];
}

static inline uint64_t block_key(const rarity *r, uint32_t payer_group, uint32_t payee) {
    return mix64(r->group_names[payer_group] ^ HASH_A, r->payee_names[payee] ^ HASH_B);
}

/* The lowest id among the items of each number; UINT64_MAX for those that have none. */
static inline void lowest_ids(const match_side *side, const uint32_t *numbers, uint64_t *lowest) {
    for (size_t i = 0; i < side->rows; i++)
        if (side->order[i] < lowest[numbers[i]]) lowest[numbers[i]] = side->order[i];
}

/* What stands for a number here, by number; NULL when memory is short. Payers and payees are
 * numbered in the order of rows: which counts share a place must not hang on that, so it is the
 * lowest id among the remittances of a number, else among its payments. */
static inline uint64_t *names_of(const match_side *left, const uint32_t *left_numbers,
                                 const match_side *right, const uint32_t *right_numbers) {
    size_t count = 1;
    for (size_t i = 0; i < left->rows; i++)
        if (left_numbers[i] >= count) count = (size_t)left_numbers[i] + 1;
    for (size_t i = 0; i < right->rows; i++)
        if (right_numbers[i] >= count) count = (size_t)right_numbers[i] + 1;
    uint64_t *names = malloc(count * sizeof *names), *others = malloc(count * sizeof *others);
    if (names != NULL && others != NULL) {
        memset(names, 0xff, count * sizeof *names);
        memset(others, 0xff, count * sizeof *others);
        lowest_ids(left, left_numbers, names);
        lowest_ids(right, right_numbers, others);
        for (size_t k = 0; k < count; k++)
            names[k] = names[k] != UINT64_MAX ? names[k] << 1 : others[k] << 1 | 1;
    } else {
        free(names);
        names = NULL;
    }
    free(others);
    return names;
}

static inline void rarity_free(rarity *r) {
    free(r->amounts);
    free(r->block_amounts);
    free(r->blocks);
    free(r->group_names);
    free(r->payee_names);
    memset(r, 0, sizeof *r);
}

/* PERF: a count lies anywhere, so it is fetched COUNTS_AHEAD rows before it is raised; without that
 * this takes twice as long (bench_match). */
#define COUNTS_AHEAD 16

typedef struct {
    uint32_t *amount, *block, *block_amount; /* NULL where there is none */
} row_counts;

static inline row_counts counts_of(const rarity *r, const match_side *side, size_t i) {
    row_counts at = {NULL, NULL, NULL};
    uint64_t cents = (uint64_t)side->cents[i];
    if (side->cents[i] <= 0) return at;
    at.amount = count_at(r, r->amounts, cents);
    __builtin_prefetch(at.amount, 1);
    if (side->payer_group[i] == 0 || side->payee[i] == 0) return at;
    uint64_t block = block_key(r, side->payer_group[i], side->payee[i]);
    at.block = count_at(r, r->blocks, block);
    at.block_amount = count_at(r, r->block_amounts, block ^ cents);
    __builtin_prefetch(at.block, 1);
    __builtin_prefetch(at.block_amount, 1);
    return at;
}

static inline void rarity_add(rarity *r, const match_side *side) {
    row_counts ahead[COUNTS_AHEAD] = {{NULL, NULL, NULL}};
    for (size_t i = 0; i < side->rows + COUNTS_AHEAD; i++) {
        row_counts *at = &ahead[i % COUNTS_AHEAD];
        if (at->amount != NULL) {
            r->rows++;
            ++*at->amount;
        }
        if (at->block != NULL) {
            ++*at->block;
            ++*at->block_amount;
        }
        *at = i < side->rows ? counts_of(r, side, i) : (row_counts){NULL, NULL, NULL};
    }
}

/* Count both pools, whole: how common an amount is does not hang on what is matched already.
 * Returns 0, or -1 when memory is short. */
static inline int rarity_make(rarity *r, const match_side *left, const match_side *right) {
    unsigned bits = COUNT_BITS_MIN;
    while (bits < COUNT_BITS_MAX && (size_t)1 << bits < 2 * (left->rows + right->rows)) bits++;
    r->bits = bits;
    uint32_t **counts[3] = {&r->amounts, &r->block_amounts, &r->blocks};
    for (int k = 0; k < 3; k++) {
        *counts[k] = calloc((size_t)1 << bits, sizeof **counts[k]);
        if (*counts[k] == NULL) {
            rarity_free(r);
            return -1;
        }
        column_advise(*counts[k], sizeof **counts[k] << bits);
    }
    r->group_names = names_of(left, left->payer_group, right, right->payer_group);
    r->payee_names = names_of(left, left->payee, right, right->payee);
    if (r->group_names == NULL || r->payee_names == NULL) {
        rarity_free(r);
        return -1;
    }
    for (uint64_t n = 1; n < LOGS; n++) r->logs[n] = log2_of(n);
    rarity_add(r, left);
    rarity_add(r, right);
    return 0;
}

/* log2(1 / u): u is the amount's share of the items of this payer and payee, where they are the
 * same on both sides and have enough items, else its share of both pools. */
static inline int32_t weigh_rarity(const rarity *r, uint32_t payer_group, uint32_t payee,
                                   int64_t cents) {
    uint64_t all = 0, equal = 0;
    if (payer_group != 0 && payee != 0) {
        uint64_t block = block_key(r, payer_group, payee);
        all = *count_at(r, r->blocks, block);
        if (all >= BLOCK_ROWS_MIN) equal = *count_at(r, r->block_amounts, block ^ (uint64_t)cents);
    }
    if (equal == 0) {
        all = r->rows;
        equal = *count_at(r, r->amounts, (uint64_t)cents);
    }
    if (equal == 0 || equal > all) return 0;
    int32_t weight = log2_known(r, all) - log2_known(r, equal);
    return weight < WEIGHT_AMOUNT_MAX ? weight : WEIGHT_AMOUNT_MAX;
}

/* ---- a pair ---- */

typedef struct {
    const match_side *left, *right;
    rarity *rarity; /* made when first needed: amounts is NULL until then */
} evidence;

static inline int evidence_ready(const evidence *e) {
    return e->rarity->amounts != NULL ? 0 : rarity_make(e->rarity, e->left, e->right);
}

/* What the fields of a pair add to its weight, in the order in which they are shown. */
enum { PART_TRACE, PART_PAYER, PART_PAYEE, PART_AMOUNT, PART_DATE, PARTS };

static inline int16_t weigh_payer(const match_item *r, const match_item *p, uint32_t company) {
    int weight = 0;
    if (r->payer_group != 0 && p->payer_group != 0) {
        if (r->payer_group != p->payer_group) weight = WEIGHT_PAYER_DIFFERS;
        else
            weight = r->payer == p->payer ? WEIGHT_PAYER_P1 : WEIGHT_PAYER_P2;
    }
    if (r->payer_group != 0 && company != 0)
        weight += r->payer_group == company ? WEIGHT_COMPANY : WEIGHT_COMPANY_DIFFERS;
    return (int16_t)weight;
}

/* sum_cents : 0, or the amount that a sum which the pair is part of comes to, or less than 0 where
 * the sum comes to something else. */
static inline int16_t weigh_amount(const evidence *e, int32_t i, int32_t j, int64_t sum_cents) {
    const match_item *r = &e->left->set->items[i], *p = &e->right->set->items[j];
    int64_t apart = r->cents - p->cents;
    if (sum_cents < 0 || (sum_cents == 0 && apart != 0)) {
        if (apart < 0) apart = -apart;
        int near = sum_cents == 0 && apart <= r->cents / 20;
        return near ? WEIGHT_AMOUNT_NEAR : WEIGHT_AMOUNT_DIFFERS;
    }
    uint32_t payee = e->left->payee[i];
    int same_block = r->payer_group == p->payer_group && payee == e->right->payee[j];
    return (int16_t)weigh_rarity(e->rarity, same_block ? r->payer_group : 0, payee,
                                 sum_cents ? sum_cents : r->cents);
}

/* The weight of a pair; what each field adds goes to `parts`. */
static inline int32_t weigh_pair(const evidence *e, int32_t i, int32_t j, int64_t sum_cents,
                                 int16_t *parts) {
    const match_side *left = e->left, *right = e->right;
    const match_item *r = &left->set->items[i], *p = &right->set->items[j];
    uint32_t payee = left->payee[i], other_payee = right->payee[j];
    int32_t weight = 0;
    parts[PART_TRACE] = (int16_t)weigh_trace(left->set, r, right->set, p);
    parts[PART_PAYER] = weigh_payer(r, p, right->company == NULL ? 0 : right->company[j]);
    parts[PART_PAYEE] = 0;
    if (payee != 0 && other_payee != 0)
        parts[PART_PAYEE] = payee == other_payee ? WEIGHT_PAYEE : WEIGHT_PAYEE_DIFFERS;
    parts[PART_AMOUNT] = weigh_amount(e, i, j, sum_cents);
    parts[PART_DATE] = (int16_t)weigh_days(left->banking_day[i], right->banking_day[j]);
    for (int k = 0; k < PARTS; k++) weight += parts[k];
    return weight;
}

/* parts : PARTS for each pair, or NULL.
 *
 * PERF: rows lie anywhere, and so do counts; fetching the rows ahead, and then the counts that they
 * lead to, halves this loop (bench_match). */
static inline void weigh_pairs(const evidence *e, const int32_t *left, const int32_t *right,
                               const int64_t *sums, size_t count, int32_t *weights,
                               int16_t *parts) {
    enum { AHEAD = 8 };
    const rarity *rare = e->rarity;
    int16_t own[PARTS];
    for (size_t k = 0; k < count; k++) {
        if (k + 2 * AHEAD < count) {
            int32_t i = left[k + 2 * AHEAD], j = right[k + 2 * AHEAD];
            __builtin_prefetch(&e->left->set->items[i]);
            __builtin_prefetch(&e->left->payee[i]);
            __builtin_prefetch(&e->left->banking_day[i]);
            __builtin_prefetch(&e->right->set->items[j]);
            __builtin_prefetch(&e->right->banking_day[j]);
            __builtin_prefetch(&e->right->payee[j]);
        }
        if (k + AHEAD < count) {
            int32_t i = left[k + AHEAD];
            const match_item *r = &e->left->set->items[i];
            uint64_t block = block_key(rare, r->payer_group, e->left->payee[i]);
            __builtin_prefetch(count_at(rare, rare->amounts, (uint64_t)r->cents));
            __builtin_prefetch(count_at(rare, rare->blocks, block));
        }
        weights[k] = weigh_pair(e, left[k], right[k], sums == NULL ? 0 : sums[k],
                                parts == NULL ? own : parts + PARTS * k);
    }
}

#endif
