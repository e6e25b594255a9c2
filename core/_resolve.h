/* The tiers on blocks: what stands in one block shares trace N4 and payer P2 (by a 64-bit hash, so
 * bytes are compared).
 *
 * The tiers T1, T2, T3 and T5 ask for ever less of the same fields, so each tier's key is a part of
 * the one before:
 *
 *     T1  N1, P1, cents      T2  N4, P1, cents      T3  N4, P2, cents      T5  N4, P2
 *
 * (N2 and N3 equal make N4 equal.) One join on (N4, P2) therefore finds all of them, and a block is
 * settled by itself. So are the sums of a block (T8, T9 with a shared trace), for all its items
 * share the trace.
 *
 * What a tier decides comes out as AUTO, what it leaves to people as REVIEW candidates.
 */
#ifndef REASSOC_RESOLVE_H
#define REASSOC_RESOLVE_H

#include "_join.h"
#include "_keys.h"

#define BLOCK_EDGES_MAX                                                                            \
    4096 /* remittances times payments of a block that are looked at pair by pair */
#define BLOCK_SIDE_MAX 512     /* remittances, and payments, of such a block */
#define NOBODY BLOCK_SIDE_MAX  /* no place in a block */
#define BLOCK_CANDIDATES_MAX 8 /* candidates shown for each item of a larger block; */
#define BLOCK_SHOWN_MAX 65536  /* fewer, but never none, where that would come to more than this */

#define EDGE_COLUMNS(X)                                                                            \
    X(row, left, "row of the remittance")                                                          \
    X(row, right, "row of the payment")                                                            \
    X(uint8, status, "statuses.MatchStatus: AUTO or REVIEW")                                       \
    X(uint8, tier, "statuses.Tier")                                                                \
    X(int64, reason, "statuses.Reason flags")                                                      \
    X(uint32, rivals, "other candidates that either side had at this tier")                        \
    X(uint64, group, "shared by the rows of one sum, 0 for single pairs")
DECLARE_TABLE(edge_table, EDGE_COLUMNS)

#define TABLE_TYPE edge_table
static const column_spec EDGE_SPECS[] = {EDGE_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define EDGE_SPEC_COUNT (sizeof EDGE_SPECS / sizeof EDGE_SPECS[0])

/* statuses.py has the same numbers; a test holds the two together. */
enum { STATUS_AUTO = 1, STATUS_REVIEW = 3 };
enum {
    REASON_TIE = 1u << 0,
    REASON_CONFLICT = 1u << 1,
    REASON_AMOUNT_DIFFERS = 1u << 2,
    REASON_BLOCK_TOO_LARGE = 1u << 5,
    REASON_OUT_OF_WINDOW = 1u << 6,
    REASON_SIBLING_MISSING = 1u << 29,
};
#define REASON_PAYEE_DIFFERS ((int64_t)1 << 49)
enum { FIELD_TRACE = 1, FIELD_PAYER = 2, FIELD_AMOUNT = 4, FIELD_DATE = 8, FIELD_PAYEE = 16 };
enum {
    REWRITE_N1 = 1,
    REWRITE_N2 = 2,
    REWRITE_N3 = 4,
    REWRITE_N4 = 8,
    REWRITE_N5 = 16,
    REWRITE_P1 = 32,
    REWRITE_P2 = 64
};

/* What two items of a block are to each other. A pair with contradicting payees has its tier with
 * PAYEES_DIFFER: no tier matches it by itself. */
enum {
    TIER_NONE = 0,
    TIER_1 = 1,
    TIER_2 = 2,
    TIER_3 = 3,
    TIER_5 = 5,
    TIER_8 = 8,
    TIER_9 = 9,
    TIERS = 16,
    TIER_OUT_OF_WINDOW = 15,
    PAYEES_DIFFER = 16,
};

typedef struct {
    const item_set *left, *right;               /* remittances, payments */
    const uint32_t *left_payee, *right_payee;   /* 0 for unknown */
    const uint32_t *left_scope, *right_scope;   /* items of other scopes are never compared */
    const uint64_t *payee_tin, *payee_entity;   /* hashes, filled for rows of blocks; 0: unknown */
    const uint64_t *left_digest, *right_digest; /* ids */
    const int64_t *left_offset, *right_offset;
    int32_t window_days;
    int32_t sums_only;        /* only T8 and T9: the traces are roots */
    int64_t to_review[TIERS]; /* why a tier may not match by itself, 0 where it may */
    const uint64_t *vetoed; /* pairs that no tier matches by itself: left row << 32 | right row, */
    size_t vetoed_count;    /* ascending */
    int64_t *left_reason, *right_reason; /* out: added to what stands there */
    edge_table *edges;                   /* out */
} matching;

static inline int dates_apart(int32_t a, int32_t b, int32_t window_days) {
    if (a == DATE_NONE || b == DATE_NONE) return 0;
    int64_t days = (int64_t)a - b;
    return days > window_days || days < -(int64_t)window_days;
}

static inline int payees_differ(const matching *m, int32_t left_row, int32_t right_row) {
    uint32_t a = m->left_payee[left_row], b = m->right_payee[right_row];
    return a != 0 && b != 0 && a != b;
}

/* The highest tier that these two could be matched at, by their fields alone. */
static inline int edge_tier(const matching *m, int32_t left_row, int32_t right_row) {
    const match_item *r = &m->left->items[left_row], *p = &m->right->items[right_row];
    int n1 = same_n1(m->left, r, m->right, p);
    if (r->payer_group != p->payer_group || !(n1 || same_n4(m->left, r, m->right, p)))
        return TIER_NONE;
    if (m->left_scope[left_row] != m->right_scope[right_row]) return TIER_NONE;
    int other_payee = payees_differ(m, left_row, right_row);
    if (dates_apart(r->date, p->date, m->window_days))
        return other_payee ? TIER_NONE : TIER_OUT_OF_WINDOW;
    if (r->cents != p->cents) return other_payee ? TIER_NONE : TIER_5;
    int tier = r->payer != p->payer ? TIER_3 : n1 ? TIER_1 : TIER_2;
    return other_payee ? tier | PAYEES_DIFFER : tier;
}

static inline int is_held(const matching *m, int32_t left_row, int32_t right_row) {
    return ((m->left->items[left_row].flags | m->right->items[right_row].flags) & ITEM_HELD) != 0;
}

static inline int is_vetoed(const matching *m, int32_t left_row, int32_t right_row) {
    uint64_t pair = (uint64_t)(uint32_t)left_row << 32 | (uint32_t)right_row;
    size_t low = 0, count = m->vetoed_count;
    while (count > 0) {
        size_t half = count / 2, middle = low + half;
        if (m->vetoed[middle] == pair) return 1;
        low = m->vetoed[middle] < pair ? middle + 1 : low;
        count = m->vetoed[middle] < pair ? count - half - 1 : half;
    }
    return 0;
}

/* Whether something stands against matching these two by themselves, though they fit. */
static inline int is_barred(const matching *m, int32_t left_row, int32_t right_row) {
    return is_held(m, left_row, right_row) || is_vetoed(m, left_row, right_row);
}

static inline int reserve_edges(const matching *m, size_t more) {
    return table_reserve(m->edges, EDGE_SPECS, EDGE_SPEC_COUNT, m->edges->rows + more);
}

/* Append an edge; the table has room (see reserve_edges). */
static inline void put_edge(const matching *m, int32_t left_row, int32_t right_row, int status,
                            int tier, int64_t reason, uint32_t rivals, uint64_t group) {
    edge_table *out = m->edges;
    size_t at = out->rows++;
    out->left[at] = left_row;
    out->right[at] = right_row;
    out->status[at] = (uint8_t)status;
    out->tier[at] = (uint8_t)tier;
    out->reason[at] = reason;
    out->rivals[at] = rivals;
    out->group[at] = group;
}

/* The tier of every given pair, with PAYEES_DIFFER, by the fields alone. */
static inline void tiers_of(const matching *m, const int32_t *left, const int32_t *right,
                            size_t count, uint8_t *out) {
    for (size_t i = 0; i < count; i++) out[i] = (uint8_t)edge_tier(m, left[i], right[i]);
}

/* Two items that have nobody else in their block: most of every pool. */
static inline void settle_couple(const matching *m, int32_t left_row, int32_t right_row) {
    int tier = edge_tier(m, left_row, right_row);
    if (tier == TIER_NONE) return;
    if (tier == TIER_OUT_OF_WINDOW) {
        m->left_reason[left_row] |= REASON_OUT_OF_WINDOW;
        m->right_reason[right_row] |= REASON_OUT_OF_WINDOW;
    } else if (tier & PAYEES_DIFFER) {
        put_edge(m, left_row, right_row, STATUS_REVIEW, tier & ~PAYEES_DIFFER, REASON_PAYEE_DIFFERS,
                 0, 0);
    } else if (tier == TIER_5) {
        put_edge(m, left_row, right_row, STATUS_REVIEW, TIER_5, REASON_AMOUNT_DIFFERS, 0, 0);
    } else {
        int64_t reason = m->to_review[tier];
        int status = reason || is_barred(m, left_row, right_row) ? STATUS_REVIEW : STATUS_AUTO;
        put_edge(m, left_row, right_row, status, tier, reason, 0, 0);
    }
}

/* PERF: the right items lie anywhere in 64 bytes times their number; fetching them ahead halves
 * this loop (bench_match). `more`: edges of blocks that are likely to come on top, so that the
 * table, which is large, need not grow. Returns 0, or -1 when memory is short. */
static inline int settle_couples(const matching *m, const int32_t *partner, size_t more) {
    enum { AHEAD = 12 };
    size_t rows = m->left->rows, count = 0;
    if (m->sums_only) return 0; /* a pair is no sum */
    for (size_t i = 0; i < rows; i++) count += partner[i] >= 0;
    if (reserve_edges(m, count + more) != 0) return -1;
    for (size_t i = 0; i < rows; i++) {
        if (i + AHEAD < rows && partner[i + AHEAD] >= 0) {
            __builtin_prefetch(&m->right->items[partner[i + AHEAD]]);
            __builtin_prefetch(&m->right_payee[partner[i + AHEAD]]);
            __builtin_prefetch(&m->right_scope[partner[i + AHEAD]]);
        }
        if (partner[i] >= 0) settle_couple(m, (int32_t)i, partner[i]);
    }
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
    if (m->left_payee[a] != 0 && m->left_payee[b] != 0 && m->left_payee[a] != m->left_payee[b])
        return 1;
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
            if (x->payer != y->payer || !same_n1(m->left, x, m->left, y) ||
                m->left_scope[b->left[i]] != m->left_scope[b->left[k]])
                continue;
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

/* Whether two items of a block have one trace as it is written, though amounts or payees differ. */
static inline int is_of_one_trace(block *b, size_t i, size_t j) {
    const matching *m = b->m;
    int edge = *block_edge(b, i, j);
    if (b->left_used[i] || b->right_used[j] || (edge != TIER_5 && !(edge & PAYEES_DIFFER)))
        return 0;
    return same_n1(m->left, &m->left->items[b->left[i]], m->right, &m->right->items[b->right[j]]);
}

/* Whether a trace of one of the two stands on another item as it is written: where their own traces
 * are equal only in a normal form, that one may be meant. */
static inline int is_written_elsewhere(block *b, size_t i, size_t j) {
    const matching *m = b->m;
    const match_item *r = &m->left->items[b->left[i]], *p = &m->right->items[b->right[j]];
    if (same_n1(m->left, r, m->right, p)) return 0;
    for (size_t k = 0; k < b->right_count; k++)
        if (is_of_one_trace(b, i, k)) return 1;
    for (size_t k = 0; k < b->left_count; k++)
        if (is_of_one_trace(b, k, j)) return 1;
    return 0;
}

/* What is alone with an item at this tier and may match with it by itself; NOBODY for none. */
static inline size_t lone_partner(block *b, size_t i, int tier) {
    const matching *m = b->m;
    if (b->left_used[i] || b->left_degree[i] != 1 || b->conflict[i]) return NOBODY;
    for (size_t j = 0; j < b->right_count; j++) {
        int edge = *block_edge(b, i, j);
        if (edge < TIER_1 || edge > tier || b->right_used[j]) continue;
        if (b->right_degree[j] != 1 || is_barred(m, b->left[i], b->right[j]) ||
            m->to_review[edge] || is_written_elsewhere(b, i, j))
            return NOBODY;
        return j;
    }
    return NOBODY;
}

/* One tier: every pair that has only itself at this tier. All are found before any is taken: what
 * one of them takes may be what speaks against another, and no order of the rows decides that. */
static inline void settle_tier(block *b, int tier) {
    size_t partner[BLOCK_SIDE_MAX];
    count_edges(b, tier);
    for (size_t i = 0; i < b->left_count; i++) partner[i] = lone_partner(b, i, tier);
    for (size_t i = 0; i < b->left_count; i++) {
        size_t j = partner[i];
        if (j == NOBODY) continue;
        put_edge(b->m, b->left[i], b->right[j], STATUS_AUTO, *block_edge(b, i, j), 0, 0, 0);
        b->left_used[i] = b->right_used[j] = 1;
    }
}

/* A sum that comes out: every row of it is an edge of one group. `single` stands on one side, the
 * `parts` (numbers in the block) on the other. */
static inline void put_sum(block *b, int tier, size_t single, const uint8_t *is_part,
                           size_t part_count, int held) {
    const matching *m = b->m;
    const int32_t *single_side = tier == TIER_8 ? b->right : b->left;
    const int32_t *part_side = tier == TIER_8 ? b->left : b->right;
    const item_set *singles = tier == TIER_8 ? m->right : m->left;
    const item_set *parts = tier == TIER_8 ? m->left : m->right;
    uint64_t group = singles->items[single_side[single]].id;
    int status = held || m->to_review[tier] ? STATUS_REVIEW : STATUS_AUTO;
    for (size_t i = 0; i < part_count; i++)
        if (is_part[i]) group += hash_pair(parts->items[part_side[i]].id, (uint64_t)tier);
    for (size_t i = 0; i < part_count; i++) {
        if (!is_part[i]) continue;
        int32_t left_row = tier == TIER_8 ? part_side[i] : single_side[single];
        int32_t right_row = tier == TIER_8 ? single_side[single] : part_side[i];
        put_edge(m, left_row, right_row, status, tier, m->to_review[tier], 0, group | 1);
        (tier == TIER_8 ? b->left_used : b->right_used)[i] = 1;
    }
    (tier == TIER_8 ? b->right_used : b->left_used)[single] = 1;
}

/* T8: the only open payment is the sum of all open remittances of the trace. */
static inline void settle_bulk_payment(block *b) {
    const matching *m = b->m;
    uint8_t is_part[BLOCK_SIDE_MAX];
    size_t open = 0, single = 0, parts = 0;
    int64_t sum = 0;
    int held = 0;
    for (size_t j = 0; j < b->right_count; j++) {
        size_t near = 0;
        for (size_t i = 0; i < b->left_count; i++)
            near += !b->left_used[i] && *block_edge(b, i, j) != TIER_NONE &&
                    *block_edge(b, i, j) != TIER_OUT_OF_WINDOW;
        if (b->right_used[j] || near == 0) continue;
        open++;
        single = j;
    }
    if (open != 1) return;
    for (size_t i = 0; i < b->left_count; i++) {
        int edge = b->left_used[i] ? TIER_NONE : *block_edge(b, i, single);
        is_part[i] = edge == TIER_5;
        if (edge >= TIER_1 && edge <= TIER_3) return; /* it alone is the whole amount, too */
        if (!is_part[i]) continue;
        parts++;
        held |= is_barred(m, b->left[i], b->right[single]);
        if (__builtin_add_overflow(sum, m->left->items[b->left[i]].cents, &sum)) return;
    }
    if (parts >= 2 && m->right->items[b->right[single]].cents == sum)
        put_sum(b, TIER_8, single, is_part, b->left_count, held);
}

/* T9: the only open remittance is the sum of all open payments of the trace. */
static inline void settle_split_remittance(block *b) {
    const matching *m = b->m;
    uint8_t is_part[BLOCK_SIDE_MAX];
    size_t open = 0, single = 0, parts = 0;
    int64_t sum = 0;
    int held = 0;
    for (size_t i = 0; i < b->left_count; i++) {
        if (b->left_used[i]) continue;
        open++;
        single = i;
    }
    if (open != 1) return;
    for (size_t j = 0; j < b->right_count; j++) {
        int edge = b->right_used[j] ? TIER_NONE : *block_edge(b, single, j);
        is_part[j] = edge == TIER_5;
        if (edge >= TIER_1 && edge <= TIER_3) return;
        if (!is_part[j]) continue;
        parts++;
        held |= is_barred(m, b->left[single], b->right[j]);
        if (__builtin_add_overflow(sum, m->right->items[b->right[j]].cents, &sum)) return;
    }
    if (parts >= 2 && m->left->items[b->left[single]].cents == sum)
        put_sum(b, TIER_9, single, is_part, b->right_count, held);
}

static inline void put_review(block *b, size_t i, size_t j, int edge) {
    const matching *m = b->m;
    uint32_t same = b->left_degree[i] + b->right_degree[j],
             other = b->left_loose[i] + b->right_loose[j];
    int64_t reason = b->conflict[i] ? REASON_CONFLICT : 0;
    if (edge & PAYEES_DIFFER) {
        put_edge(m, b->left[i], b->right[j], STATUS_REVIEW, edge & ~PAYEES_DIFFER,
                 reason | REASON_PAYEE_DIFFERS, same + other, 0);
        return;
    }
    uint32_t rivals = edge == TIER_5 ? same + other - 2 : same - 2;
    if (edge != TIER_5) reason |= m->to_review[edge];
    else
        reason |= REASON_AMOUNT_DIFFERS | (b->right_loose[j] > 1 ? REASON_SIBLING_MISSING : 0);
    if (rivals > 0) reason |= REASON_TIE;
    put_edge(m, b->left[i], b->right[j], STATUS_REVIEW, edge, reason, rivals, 0);
}

/* What no tier could decide is shown with its rivals. A pair of other cents is not shown where both
 * sides have one of equal cents. */
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

/* A payment with several open remittances that are not the sum of it: one may still come. Pairs of
 * equal cents are told as well, for they speak against a sum. */
static inline void settle_missing(block *b) {
    count_edges(b, TIER_3);
    for (size_t i = 0; i < b->left_count; i++)
        for (size_t j = 0; j < b->right_count; j++) {
            int edge = *block_edge(b, i, j);
            int64_t reason = REASON_AMOUNT_DIFFERS | REASON_SIBLING_MISSING;
            if (b->left_used[i] || b->right_used[j]) continue;
            if (edge == TIER_5 && b->right_loose[j] > 1)
                put_edge(b->m, b->left[i], b->right[j], STATUS_REVIEW, TIER_5, reason,
                         b->left_loose[i] + b->right_loose[j] - 2, 0);
            else if (edge >= TIER_1 && edge <= TIER_3)
                put_edge(b->m, b->left[i], b->right[j], STATUS_REVIEW, edge, 0, 0, 0);
        }
}

static inline int settle_block(block *b) {
    const matching *m = b->m;
    memset(b->left_used, 0, b->left_count);
    memset(b->right_used, 0, b->right_count);
    memset(b->conflict, 0, b->left_count);
    if (reserve_edges(m, b->left_count * b->right_count) != 0) return -1;
    for (size_t i = 0; i < b->left_count; i++)
        for (size_t j = 0; j < b->right_count; j++)
            *block_edge(b, i, j) = (uint8_t)edge_tier(m, b->left[i], b->right[j]);
    if (m->sums_only) {
        settle_bulk_payment(b);
        settle_split_remittance(b);
        settle_missing(b);
        return 0;
    }
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
    int edge = edge_tier(m, left_row, right_row);
    int64_t reason = REASON_BLOCK_TOO_LARGE | (rivals > 0 ? REASON_TIE : 0);
    if (edge < TIER_1 || edge > TIER_3) return;
    put_edge(m, left_row, right_row, STATUS_REVIEW, edge, reason,
             rivals > UINT32_MAX ? UINT32_MAX : (uint32_t)rivals, 0);
}

/* Items of equal cents, each shown with a few of the other side. */
static inline int put_large_run(const matching *m, const ranked_item *left, size_t left_count,
                                const ranked_item *right, size_t right_count, size_t shown) {
    size_t longer = left_count > right_count ? left_count : right_count;
    size_t shorter = left_count + right_count - longer;
    size_t rivals = left_count + right_count - 2;
    if (reserve_edges(m, longer * (shorter < shown ? shorter : shown)) != 0) return -1;
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

#endif
