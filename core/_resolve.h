/* The tiers on blocks: what stands in one block shares trace N4 and payer P2 (by a 64-bit hash, so
 * bytes are compared).
 *
 * The tiers T1, T2, T3 and T5 ask for ever less of the same fields, so each tier's key is a part of
 * the one before:
 *
 *     T1  N1, P1, cents      T2  N4, P1, cents      T3  N4, P2, cents      T5  N4, P2
 *
 * (N2 and N3 equal make N4 equal.) One join on (N4, P2) therefore finds all of them, and a block is
 * settled by itself.
 */
#ifndef REASSOC_RESOLVE_H
#define REASSOC_RESOLVE_H

#include "_join.h"
#include "_keys.h"

#define BLOCK_EDGES_MAX                                                                            \
    4096 /* remittances times payments of a block that are looked at pair by pair */
#define BLOCK_SIDE_MAX 512     /* remittances, and payments, of such a block */
#define BLOCK_CANDIDATES_MAX 8 /* candidates shown for each item of a larger block; */
#define BLOCK_SHOWN_MAX 65536  /* fewer, but never none, where that would come to more than this */

#define PAIR_COLUMNS(X)                                                                            \
    X(row, remittance, "row of the remittance")                                                    \
    X(row, payment, "row of the payment")                                                          \
    X(uint64, match_id, "made of both ids; pairs of one bulk match share it")                      \
    X(uint8, status, "statuses.MatchStatus")                                                       \
    X(uint8, tier, "statuses.Tier")                                                                \
    X(int64, reason, "statuses.Reason flags")                                                     \
    X(uint16, agreed, "statuses.Field flags")                                                      \
    X(uint16, differed, "statuses.Field flags")                                                    \
    X(uint16, rewrites, "statuses.Rewrite flags")                                                  \
    X(uint32, rivals, "other candidates that either side had at this tier")                        \
    X(int32, days_apart, "payment date less remittance date, DATE_NONE where one is missing")
DECLARE_TABLE(pair_table, PAIR_COLUMNS)

#define TABLE_TYPE pair_table
static const column_spec PAIR_SPECS[] = {PAIR_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define PAIR_SPEC_COUNT (sizeof PAIR_SPECS / sizeof PAIR_SPECS[0])

/* statuses.py has the same numbers; a test holds the two together. */
enum { STATUS_AUTO = 1, STATUS_VARIANCE = 2, STATUS_REVIEW = 3 };
enum {
    REASON_TIE = 1u << 0,
    REASON_CONFLICT = 1u << 1,
    REASON_AMOUNT_DIFFERS = 1u << 2,
    REASON_TIER_TO_REVIEW = 1u << 4,
    REASON_BLOCK_TOO_LARGE = 1u << 5,
    REASON_OUT_OF_WINDOW = 1u << 6,
    REASON_REMITTANCE_INVALID = 1u << 20,
    REASON_PAYMENT_INVALID = 1u << 21,
    REASON_NOT_SETTLED = 1u << 22,
};
enum { FIELD_TRACE = 1, FIELD_PAYER = 2, FIELD_AMOUNT = 4, FIELD_DATE = 8 };
enum {
    REWRITE_N1 = 1,
    REWRITE_N2 = 2,
    REWRITE_N3 = 4,
    REWRITE_N4 = 8,
    REWRITE_P1 = 32,
    REWRITE_P2 = 64
};
enum { TIER_NONE = 0, TIER_1 = 1, TIER_2 = 2, TIER_3 = 3, TIER_5 = 5, TIER_OUT_OF_WINDOW = 15 };

typedef struct {
    const item_set *left, *right; /* remittances, payments */
    const int64_t *left_hold; /* reasons against automatic matching, 0 for none */
    const int64_t *right_hold;
    const uint64_t
        *payee_tin; /* hashes, only filled for remittances that stand in blocks; 0 for unknown */
    const uint64_t *payee_entity;
    const uint64_t *left_digest, *right_digest;
    const int64_t *left_offset, *right_offset;
    int32_t window_days;
    uint32_t auto_tiers;                  /* bit k: tier k may match by itself */
    int64_t *left_reason, *right_reason; /* out: reasons of items are added to what stands there */
    pair_table *pairs;                    /* out */
} matching;

static inline int dates_apart(int32_t a, int32_t b, int32_t window_days) {
    if (a == DATE_NONE || b == DATE_NONE) return 0;
    int64_t days = (int64_t)a - b;
    return days > window_days || days < -(int64_t)window_days;
}

/* The highest tier that these two could be matched at, by their fields alone. */
static inline int edge_tier(const matching *m, const match_item *r, const match_item *p) {
    int n1 = same_n1(m->left, r, m->right, p);
    if (r->payer_group != p->payer_group || !(n1 || same_n4(m->left, r, m->right, p)))
        return TIER_NONE;
    if (dates_apart(r->date, p->date, m->window_days)) return TIER_OUT_OF_WINDOW;
    if (r->cents != p->cents) return TIER_5;
    if (r->payer != p->payer) return TIER_3;
    return n1 ? TIER_1 : TIER_2;
}

/* Which rewrites the pair needed: the least form in which the traces are equal, and how the payers
 * became one. */
static inline uint16_t pair_rewrites(const matching *m, const match_item *r, const match_item *p,
                                     int tier) {
    uint16_t rewrites = 0;
    if (tier == TIER_1) {
        rewrites = (r->flags | p->flags) & ITEM_CHANGED ? REWRITE_N1 : 0;
        return rewrites | ((r->flags ^ p->flags) & ITEM_PAYER_BARE ? REWRITE_P1 : 0);
    }
    const uint8_t *a = item_text(m->left, r), *b = item_text(m->right, p);
    size_t n3_a = (size_t)r->at.n2_at + r->at.n2_length - r->at.n3_at;
    size_t n3_b = (size_t)p->at.n2_at + p->at.n2_length - p->at.n3_at;
    if (same_n1(m->left, r, m->right, p))
        rewrites |= (r->flags | p->flags) & ITEM_CHANGED ? REWRITE_N1 : 0;
    else if (n3_a != n3_b || memcmp(a + r->at.n3_at, b + p->at.n3_at, n3_a) != 0)
        rewrites |= REWRITE_N4;
    else
        rewrites |= r->at.n2_length != p->at.n2_length ? REWRITE_N3 : REWRITE_N2;
    if (r->payer != p->payer) rewrites |= REWRITE_P2;
    else if ((r->flags ^ p->flags) & ITEM_PAYER_BARE)
        rewrites |= REWRITE_P1;
    return rewrites;
}

static inline int is_held(const matching *m, int32_t left_row, int32_t right_row) {
    return ((m->left->items[left_row].flags | m->right->items[right_row].flags) & ITEM_HELD) != 0;
}

static inline int64_t held_reasons(const matching *m, int32_t left_row, int32_t right_row) {
    return is_held(m, left_row, right_row) ? m->left_hold[left_row] | m->right_hold[right_row] : 0;
}

/* Append a pair; the table has room (see reserve_pairs). */
static inline void put_pair(const matching *m, int32_t left_row, int32_t right_row, int status,
                            int tier, int64_t reason, uint32_t rivals) {
    const match_item *r = &m->left->items[left_row], *p = &m->right->items[right_row];
    pair_table *out = m->pairs;
    size_t at = out->rows++;
    int dated = r->date != DATE_NONE && p->date != DATE_NONE;
    uint16_t agreed = FIELD_TRACE | FIELD_PAYER, differed = 0;
    *(r->cents == p->cents ? &agreed : &differed) |= FIELD_AMOUNT;
    if (dated) *(r->date == p->date ? &agreed : &differed) |= FIELD_DATE;
    out->remittance[at] = left_row;
    out->payment[at] = right_row;
    out->match_id[at] = hash_pair(r->id, p->id);
    out->status[at] = (uint8_t)status;
    out->tier[at] = (uint8_t)tier;
    out->reason[at] = reason | held_reasons(m, left_row, right_row);
    out->agreed[at] = agreed;
    out->differed[at] = differed;
    out->rewrites[at] = pair_rewrites(m, r, p, tier);
    out->rivals[at] = rivals;
    out->days_apart[at] = dated ? p->date - r->date : DATE_NONE;
}

/* A pair whose remittance lay in the payment: what it agrees on is looked up, not known from a key.
 */
static inline void put_carried(const matching *m, int32_t left_row, int32_t right_row, int status,
                               int tier, int64_t reason, uint32_t rivals) {
    const match_item *r = &m->left->items[left_row], *p = &m->right->items[right_row];
    size_t at = m->pairs->rows;
    put_pair(m, left_row, right_row, status, tier, reason, rivals);
    int traces = (r->flags & p->flags & ITEM_TRACE) != 0,
        payers = (r->flags & p->flags & ITEM_PAYER) != 0;
    int same_trace = traces && same_n4(m->left, r, m->right, p),
        same_payer = r->payer_group == p->payer_group;
    uint16_t unknown = (uint16_t)((traces ? 0 : FIELD_TRACE) | (payers ? 0 : FIELD_PAYER));
    uint16_t wrong = (uint16_t)((same_trace ? 0 : FIELD_TRACE) | (same_payer ? 0 : FIELD_PAYER));
    m->pairs->agreed[at] &= (uint16_t)~(unknown | wrong);
    m->pairs->differed[at] |= wrong & (uint16_t)~unknown;
    if (unknown | wrong) m->pairs->rewrites[at] = 0;
}

static inline int reserve_pairs(const matching *m, size_t more) {
    return table_reserve(m->pairs, PAIR_SPECS, PAIR_SPEC_COUNT, m->pairs->rows + more);
}

/* Two items that have nobody else in their block: most of every pool. */
static inline void settle_couple(const matching *m, int32_t left_row, int32_t right_row) {
    int tier = edge_tier(m, &m->left->items[left_row], &m->right->items[right_row]);
    int held = is_held(m, left_row, right_row);
    if (tier == TIER_NONE) return;
    if (tier == TIER_OUT_OF_WINDOW) {
        m->left_reason[left_row] |= REASON_OUT_OF_WINDOW;
        m->right_reason[right_row] |= REASON_OUT_OF_WINDOW;
    } else if (tier == TIER_5) {
        put_pair(m, left_row, right_row, held ? STATUS_REVIEW : STATUS_VARIANCE, TIER_5,
                 REASON_AMOUNT_DIFFERS, 0);
    } else {
        int64_t reason = m->auto_tiers >> tier & 1 ? 0 : REASON_TIER_TO_REVIEW;
        put_pair(m, left_row, right_row, held || reason ? STATUS_REVIEW : STATUS_AUTO, tier, reason,
                 0);
    }
}

/* PERF: the right items lie anywhere in 64 bytes times their number; fetching them ahead halves
 * this loop (bench_match). Returns 0, or -1 when memory is short. */
static inline int settle_couples(const matching *m, const int32_t *partner) {
    enum { AHEAD = 12 };
    size_t rows = m->left->rows, count = 0;
    for (size_t i = 0; i < rows; i++) count += partner[i] >= 0;
    if (reserve_pairs(m, count) != 0) return -1;
    for (size_t i = 0; i < rows; i++) {
        if (i + AHEAD < rows && partner[i + AHEAD] >= 0)
            __builtin_prefetch(&m->right->items[partner[i + AHEAD]]);
        if (partner[i] >= 0) settle_couple(m, (int32_t)i, partner[i]);
    }
    return 0;
}

/* Pairs that the caller decided: remittances inside a payment. Returns 0, or -1 when memory is
 * short. */
typedef struct {
    const int32_t *left, *right;
    const uint8_t *status, *tier;
    const int64_t *reason;
    const uint32_t *rivals;
    size_t count;
} carried_pairs;

static inline int put_all_carried(const matching *m, const carried_pairs *in) {
    if (reserve_pairs(m, in->count) != 0) return -1;
    for (size_t i = 0; i < in->count; i++)
        put_carried(m, in->left[i], in->right[i], in->status[i], in->tier[i], in->reason[i],
                    in->rivals[i]);
    return 0;
}

/* ---- blocks ---- */

typedef struct {
    const matching *m;
    const int32_t *left, *right; /* rows */
    size_t left_count, right_count;
    uint8_t tiers[BLOCK_EDGES_MAX];
    uint8_t left_used[BLOCK_SIDE_MAX], right_used[BLOCK_SIDE_MAX];
    uint8_t conflict[BLOCK_SIDE_MAX];
    uint32_t left_degree[BLOCK_SIDE_MAX], right_degree[BLOCK_SIDE_MAX]; /* edges of equal cents */
    uint32_t left_loose[BLOCK_SIDE_MAX], right_loose[BLOCK_SIDE_MAX];   /* edges of other cents */
} block;

static inline int other_payee(const matching *m, int32_t a, int32_t b) {
    if (m->payee_tin[a] != 0 && m->payee_tin[b] != 0) return m->payee_tin[a] != m->payee_tin[b];
    return m->payee_entity[a] != 0 && m->payee_entity[b] != 0 &&
           m->payee_entity[a] != m->payee_entity[b];
}

/* Same TRN02 and payer, other content, near in time and not for another payee: one of them may
 * replace the other, so neither takes money by itself, whatever its amount. */
static inline void mark_conflicts(block *b) {
    const matching *m = b->m;
    for (size_t i = 0; i < b->left_count; i++) {
        const match_item *x = &m->left->items[b->left[i]];
        for (size_t k = 0; k < i; k++) {
            const match_item *y = &m->left->items[b->left[k]];
            if (x->payer != y->payer || !same_n1(m->left, x, m->left, y)) continue;
            if (dates_apart(x->date, y->date, m->window_days) ||
                other_payee(m, b->left[i], b->left[k]))
                continue;
            b->conflict[i] = b->conflict[k] = 1;
        }
    }
}

static inline uint8_t *block_edge(block *b, size_t i, size_t j) {
    return &b->tiers[i * b->right_count + j];
}

/* Count, for items that are still free, the edges of equal cents up to `tier`, and those of other
 * cents. */
static inline void count_edges(block *b, int tier) {
    memset(b->left_degree, 0, b->left_count * sizeof b->left_degree[0]);
    memset(b->right_degree, 0, b->right_count * sizeof b->right_degree[0]);
    memset(b->left_loose, 0, b->left_count * sizeof b->left_loose[0]);
    memset(b->right_loose, 0, b->right_count * sizeof b->right_loose[0]);
    for (size_t i = 0; i < b->left_count; i++) {
        for (size_t j = 0; j < b->right_count; j++) {
            int edge = *block_edge(b, i, j);
            if (b->left_used[i] || b->right_used[j]) continue;
            if (edge >= TIER_1 && edge <= tier) {
                b->left_degree[i]++;
                b->right_degree[j]++;
            } else if (edge == TIER_5) {
                b->left_loose[i]++;
                b->right_loose[j]++;
            }
        }
    }
}

/* One tier: every pair that has only itself at this tier. Pairs found are alone, so their order
 * does not matter. */
static inline void settle_tier(block *b, int tier) {
    const matching *m = b->m;
    count_edges(b, tier);
    for (size_t i = 0; i < b->left_count; i++) {
        if (b->left_used[i] || b->left_degree[i] != 1 || b->conflict[i]) continue;
        for (size_t j = 0; j < b->right_count; j++) {
            int edge = *block_edge(b, i, j);
            if (edge < TIER_1 || edge > tier || b->right_used[j]) continue;
            if (b->right_degree[j] != 1 || is_held(m, b->left[i], b->right[j]) ||
                !(m->auto_tiers >> edge & 1))
                break;
            put_pair(m, b->left[i], b->right[j], STATUS_AUTO, edge, 0, 0);
            b->left_used[i] = b->right_used[j] = 1;
            break;
        }
    }
}

static inline void put_review(block *b, size_t i, size_t j, int edge) {
    const matching *m = b->m;
    uint32_t same = b->left_degree[i] + b->right_degree[j],
             other = b->left_loose[i] + b->right_loose[j];
    uint32_t rivals = edge == TIER_5 ? same + other - 2 : same - 2;
    int64_t reason = b->conflict[i] ? REASON_CONFLICT : 0;
    int held = reason || is_held(m, b->left[i], b->right[j]);
    int status = STATUS_REVIEW;
    if (rivals > 0) reason |= REASON_TIE;
    if (edge == TIER_5) {
        reason |= REASON_AMOUNT_DIFFERS;
        if (rivals == 0 && !held) status = STATUS_VARIANCE;
    } else if (!(m->auto_tiers >> edge & 1)) {
        reason |= REASON_TIER_TO_REVIEW;
    }
    put_pair(m, b->left[i], b->right[j], status, edge, reason, rivals);
}

/* What no tier could decide goes to review with its rivals; a lone pair of other cents is a
 * variance. A pair of other cents is not shown where both sides have one of equal cents. */
static inline void settle_rest(block *b) {
    count_edges(b, TIER_3);
    for (size_t i = 0; i < b->left_count; i++) {
        for (size_t j = 0; j < b->right_count; j++) {
            int edge = *block_edge(b, i, j);
            if (b->left_used[i] || b->right_used[j] || edge == TIER_NONE) continue;
            if (edge == TIER_OUT_OF_WINDOW) {
                b->m->left_reason[b->left[i]] |= REASON_OUT_OF_WINDOW;
                b->m->right_reason[b->right[j]] |= REASON_OUT_OF_WINDOW;
            } else if (edge != TIER_5 || b->left_degree[i] == 0 || b->right_degree[j] == 0) {
                put_review(b, i, j, edge);
            }
        }
    }
}

static inline int settle_block(block *b) {
    const matching *m = b->m;
    memset(b->left_used, 0, b->left_count);
    memset(b->right_used, 0, b->right_count);
    memset(b->conflict, 0, b->left_count);
    if (reserve_pairs(m, b->left_count * b->right_count) != 0) return -1;
    for (size_t i = 0; i < b->left_count; i++)
        for (size_t j = 0; j < b->right_count; j++)
            *block_edge(b, i, j) =
                (uint8_t)edge_tier(m, &m->left->items[b->left[i]], &m->right->items[b->right[j]]);
    mark_conflicts(b);
    settle_tier(b, TIER_1);
    settle_tier(b, TIER_2);
    settle_tier(b, TIER_3);
    settle_rest(b);
    return 0;
}

/* ---- blocks too large to look at pair by pair (a payer that gives every payment the same trace)
 * ---- */

typedef struct {
    int64_t cents;
    int64_t offset;
    uint64_t digest;
    int32_t row;
} ranked_item;

static inline int rank_items(const void *x, const void *y) {
    const ranked_item *a = x, *b = y;
    if (a->cents != b->cents) return a->cents < b->cents ? -1 : 1;
    if (a->digest != b->digest) return a->digest < b->digest ? -1 : 1;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

static inline ranked_item *rank_side(const item_set *set, const uint64_t *digests,
                                     const int64_t *offsets, const int32_t *rows, size_t count,
                                     int64_t *reasons) {
    ranked_item *ranked = malloc((count + 1) * sizeof *ranked);
    if (ranked == NULL) return NULL;
    for (size_t i = 0; i < count; i++) {
        int32_t row = rows[i];
        ranked[i] = (ranked_item){set->items[row].cents, offsets[row], digests[row], row};
        reasons[row] |= REASON_BLOCK_TOO_LARGE;
    }
    qsort(ranked, count, sizeof *ranked, rank_items);
    return ranked;
}

static inline void put_large_pair(const matching *m, int32_t left_row, int32_t right_row,
                                  size_t rivals) {
    int edge = edge_tier(m, &m->left->items[left_row], &m->right->items[right_row]);
    int64_t reason = REASON_BLOCK_TOO_LARGE | (rivals > 0 ? REASON_TIE : 0);
    if (edge < TIER_1 || edge > TIER_3) return;
    put_pair(m, left_row, right_row, STATUS_REVIEW, edge, reason,
             rivals > UINT32_MAX ? UINT32_MAX : (uint32_t)rivals);
}

/* Items of equal cents, each shown with a few of the other side. */
static inline int put_large_run(const matching *m, const ranked_item *left, size_t left_count,
                                const ranked_item *right, size_t right_count, size_t shown) {
    size_t longer = left_count > right_count ? left_count : right_count;
    size_t shorter = left_count + right_count - longer;
    size_t rivals = left_count + right_count - 2;
    if (reserve_pairs(m, longer * (shorter < shown ? shorter : shown)) != 0) return -1;
    if (shorter <= shown) {
        for (size_t i = 0; i < left_count; i++)
            for (size_t j = 0; j < right_count; j++)
                put_large_pair(m, left[i].row, right[j].row, rivals);
        return 0;
    }
    for (size_t i = 0; i < longer; i++)
        for (size_t k = 0; k < shown && i % shorter + k < shorter; k++) {
            size_t near = i % shorter + k;
            if (left_count >= right_count) put_large_pair(m, left[i].row, right[near].row, rivals);
            else
                put_large_pair(m, left[near].row, right[i].row, rivals);
        }
    return 0;
}

static inline int settle_large_block(const matching *m, const int32_t *left, size_t left_count,
                                     const int32_t *right, size_t right_count) {
    ranked_item *a =
        rank_side(m->left, m->left_digest, m->left_offset, left, left_count, m->left_reason);
    ranked_item *b =
        rank_side(m->right, m->right_digest, m->right_offset, right, right_count, m->right_reason);
    size_t shown = BLOCK_SHOWN_MAX / (left_count > right_count ? left_count : right_count);
    int failed = a == NULL || b == NULL;
    if (shown < 1) shown = 1;
    if (shown > BLOCK_CANDIDATES_MAX) shown = BLOCK_CANDIDATES_MAX;
    for (size_t i = 0, j = 0; i < left_count && j < right_count && !failed;) {
        if (a[i].cents != b[j].cents) {
            *(a[i].cents < b[j].cents ? &i : &j) += 1;
            continue;
        }
        size_t i_stop = i, j_stop = j;
        while (i_stop < left_count && a[i_stop].cents == a[i].cents) i_stop++;
        while (j_stop < right_count && b[j_stop].cents == b[j].cents) j_stop++;
        failed = put_large_run(m, a + i, i_stop - i, b + j, j_stop - j, shown) != 0;
        i = i_stop;
        j = j_stop;
    }
    free(a);
    free(b);
    return failed ? -1 : 0;
}

/* Every block of a join (see push_block for how they are written). Returns 0, or -1 when memory is
 * short. */
static inline int settle_blocks(const matching *m, const int32_t *blocks, size_t size) {
    block *b = malloc(sizeof *b);
    int failed = b == NULL;
    for (size_t at = 0; at < size && !failed;) {
        size_t left_count = (size_t)blocks[at], right_count = (size_t)blocks[at + 1];
        const int32_t *left = blocks + at + 2, *right = left + left_count;
        if (left_count > BLOCK_SIDE_MAX || right_count > BLOCK_SIDE_MAX ||
            left_count * right_count > BLOCK_EDGES_MAX) {
            failed = settle_large_block(m, left, left_count, right, right_count) != 0;
        } else {
            b->m = m;
            b->left = left;
            b->right = right;
            b->left_count = left_count;
            b->right_count = right_count;
            failed = settle_block(b) != 0;
        }
        at += 2 + left_count + right_count;
    }
    free(b);
    return failed ? -1 : 0;
}

/* ---- what the pairs mean for their items ---- */

/* Columns of items; `*_outcomes` give the status of an item by the status of its pairs. */
typedef struct {
    const uint8_t *left_valid, *right_valid, *settled;
    const uint8_t *left_outcomes, *right_outcomes;
    uint8_t *left_status, *right_status; /* out */
    uint8_t *release;                    /* out, by remittance */
    uint8_t *funded;                     /* out, by pair */
} outcome_columns;

/* An automatic pair has no other reasons than those added here, and each of them keeps it from
 * being released. */
static inline void put_outcomes(const matching *m, const outcome_columns *out) {
    pair_table *pairs = m->pairs;
    for (size_t i = 0; i < pairs->rows; i++) {
        int32_t left = pairs->remittance[i], right = pairs->payment[i];
        uint8_t status = pairs->status[i], settled = out->settled[right];
        int64_t reason = pairs->reason[i];
        if (!out->left_valid[left]) reason |= REASON_REMITTANCE_INVALID;
        if (!out->right_valid[right]) reason |= REASON_PAYMENT_INVALID;
        if (status == STATUS_AUTO && !settled) reason |= REASON_NOT_SETTLED;
        pairs->reason[i] = reason;
        out->funded[i] = settled;
        out->left_status[left] = out->left_outcomes[status];
        out->right_status[right] = out->right_outcomes[status];
        if (status == STATUS_AUTO && reason == 0) out->release[left] = 1;
        if (reason != 0) {
            m->left_reason[left] |= reason;
            m->right_reason[right] |= reason;
        }
    }
}

#endif
