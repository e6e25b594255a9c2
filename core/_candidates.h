/* The tiers that lean on less than trace and payer: what they find are candidates.
 *
 * A tier's key holds the fields that must be equal; a join on its hash brings items together, and
 * every pair of a key is then compared on the values themselves. A key that stands so often that
 * its pairs would be too many is left alone and said to be too large.
 */
#ifndef REASSOC_CANDIDATES_H
#define REASSOC_CANDIDATES_H

#include "_evidence.h"
#include "_join.h"

#define EDGES_MAX 4096 /* pairs of one key that are looked at */

typedef enum {
    KEY_TRACE = 0, /* N3, payee, cents (T4) */
    KEY_FRONT = 1, /* the first CUT_BYTES_MIN of N3, payer group, cents (T6) */
    KEY_BACK = 2,  /* the last ones (T6) */
    KEY_PAYEE = 3, /* payer group, payee, cents (T7) */
    KEY_AMOUNT = 4 /* cents (T10) */
} key_kind;

enum { REASON_BLOCK_TOO_LARGE = 1 << 5 };

typedef struct {
    int32_t left, right; /* places in their block */
    int32_t weight;
} block_edge;

/* Working memory of one block at a time. */
typedef struct {
    block_edge edges[EDGES_MAX];
    uint8_t kept[EDGES_MAX];
    uint32_t best[EDGES_MAX];
    size_t count;
    uint32_t *left_degree, *right_degree, *filled; /* by place */
    size_t capacity;
} block_space;

/* One search: a key, and what must hold besides. Rows of either side take part where `on` is set.
 * `*_degree` counts the edges of each item, beyond those that are kept. */
typedef struct {
    evidence e;
    key_kind kind;
    int32_t window;     /* days for KEY_TRACE, KEY_FRONT, KEY_BACK, else banking days */
    uint32_t shown_max; /* edges of an item that are kept, best first; those of the other remain */
    const uint8_t *left_on, *right_on;
    int64_t *left_reason, *right_reason;
    uint32_t *left_degree, *right_degree;
    int32_list left, right; /* out: rows of the edges */
    block_space *space;
} edge_search;

/* ---- keys ---- */

/* The key of a row; 0 where it lacks a field. */
static inline int key_of(const match_side *side, key_kind kind, size_t i, uint64_t *key) {
    const match_item *item = &side->set->items[i];
    uint64_t scope = (uint64_t)side->tenant[i] << 8 | side->rail[i];
    uint64_t base = hash_pair(scope, (uint64_t)side->cents[i]);
    uint32_t group = side->payer_group[i], payee = side->payee[i];
    const uint8_t *text;
    size_t length;
    switch (kind) {
        case KEY_TRACE:
            if (payee == 0 || (length = n3_length(item)) == 0) return 0;
            *key = hash_pair(base, hash_bytes(n3_text(side->set, item), length, payee));
            return 1;
        case KEY_FRONT:
        case KEY_BACK:
            if (group == 0 || (length = n3_length(item)) < CUT_BYTES_MIN) return 0;
            text = n3_text(side->set, item) + (kind == KEY_BACK ? length - CUT_BYTES_MIN : 0);
            *key = hash_pair(hash_pair(base, group), load64(text));
            return 1;
        case KEY_PAYEE:
            if (group == 0 || payee == 0 || side->banking_day[i] == DATE_NONE) return 0;
            *key = hash_pair(base, (uint64_t)group << 32 | payee);
            return 1;
        default: *key = base; return side->banking_day[i] != DATE_NONE;
    }
}

static inline void make_keys(const match_side *side, key_kind kind, const uint8_t *on,
                             uint64_t *keys, uint8_t *keyed) {
    for (size_t i = 0; i < side->rows; i++) {
        keys[i] = 0;
        keyed[i] = (uint8_t)(on[i] != 0 && key_of(side, kind, i, &keys[i]));
    }
}

/* ---- pairs ---- */

static inline int too_far_apart(int32_t a, int32_t b, int32_t window) {
    int64_t days = (int64_t)a - b;
    return days > window || days < -(int64_t)window;
}

static inline int is_part(const uint8_t *shorter, size_t length, const uint8_t *longer,
                          size_t longer_length, int back) {
    return memcmp(shorter, longer + (back ? longer_length - length : 0), length) == 0;
}

/* Whether one trace is a proper part of the other, at its front or at its back. One that is both is
 * found at the front only. */
static inline int is_cut(const match_side *left, const match_item *r, const match_side *right,
                         const match_item *p, int back) {
    size_t a = n3_length(r), b = n3_length(p);
    if (a == b || same_n4(left->set, r, right->set, p)) return 0;
    const uint8_t *x = n3_text(left->set, r), *y = n3_text(right->set, p);
    const uint8_t *longer = a < b ? y : x, *shorter = a < b ? x : y;
    size_t most = a < b ? b : a, least = a < b ? a : b;
    if (least < CUT_BYTES_MIN || !is_part(shorter, least, longer, most, back)) return 0;
    return !back || !is_part(shorter, least, longer, most, 0);
}

static inline int traces_fit(const edge_search *s, int32_t i, int32_t j) {
    const match_side *left = s->e.left, *right = s->e.right;
    const match_item *r = &left->set->items[i], *p = &right->set->items[j];
    if (left->day[i] != DATE_NONE && right->day[j] != DATE_NONE &&
        too_far_apart(left->day[i], right->day[j], s->window))
        return 0;
    if (s->kind != KEY_TRACE) return is_cut(left, r, right, p, s->kind == KEY_BACK);
    size_t length = n3_length(r);
    return length > 0 && length == n3_length(p) &&
           memcmp(n3_text(left->set, r), n3_text(right->set, p), length) == 0;
}

/* Whether the two are an edge: everything is compared again, a key is only a hash. */
static inline int is_edge(const edge_search *s, int32_t i, int32_t j) {
    const match_side *left = s->e.left, *right = s->e.right;
    uint32_t payee = left->payee[i], other_payee = right->payee[j];
    uint32_t group = left->payer_group[i], other_group = right->payer_group[j];
    if (left->cents[i] != right->cents[j] || left->tenant[i] != right->tenant[j] ||
        left->rail[i] != right->rail[j])
        return 0;
    if (payee != 0 && other_payee != 0 && payee != other_payee) return 0;
    switch (s->kind) {
        case KEY_TRACE:
            if (payee == 0 || other_payee == 0 || (group == other_group && group != 0)) return 0;
            return traces_fit(s, i, j);
        case KEY_FRONT:
        case KEY_BACK: return group != 0 && group == other_group && traces_fit(s, i, j);
        case KEY_PAYEE:
            if (group == 0 || group != other_group || payee == 0 || other_payee == 0) return 0;
            break;
        default: break;
    }
    int32_t a = left->banking_day[i], b = right->banking_day[j];
    return a != DATE_NONE && b != DATE_NONE && !too_far_apart(a, b, s->window);
}

static inline int put_edge(edge_search *s, int32_t i, int32_t j) {
    return list_push(&s->left, i) | list_push(&s->right, j);
}

/* ---- the best of a block ---- */

static inline int edge_before(const edge_search *s, const int32_t *left, const int32_t *right,
                              const block_edge *a, const block_edge *b, int by_right) {
    if (a->weight != b->weight) return a->weight > b->weight;
    const uint64_t *left_order = s->e.left->order, *right_order = s->e.right->order;
    if (by_right) return right_order[right[a->right]] < right_order[right[b->right]];
    return left_order[left[a->left]] < left_order[left[b->left]];
}

/* Mark the best shown_max edges of each item of one side. Those of an item that has more are kept
 * sorted while they are looked for; `filled` is all 0 before. */
static inline void keep_best(edge_search *s, const int32_t *left, const int32_t *right,
                             const uint32_t *degree, int of_left) {
    block_space *space = s->space;
    uint32_t max = s->shown_max, used = 0, *filled = space->filled;
    for (size_t k = 0; k < space->count; k++) {
        const block_edge *edge = &space->edges[k];
        uint32_t item = (uint32_t)(of_left ? edge->left : edge->right);
        if (degree[item] <= max) {
            space->kept[k] = 1;
            continue;
        }
        if (filled[item] == 0) {
            filled[item] = 1 + used; /* 1 + where its best begin */
            for (uint32_t place = 0; place < max; place++) space->best[used + place] = UINT32_MAX;
            used += max;
        }
        uint32_t *best = &space->best[filled[item] - 1], at = max;
        while (at > 0 && (best[at - 1] == UINT32_MAX ||
                          edge_before(s, left, right, edge, &space->edges[best[at - 1]], of_left)))
            at--;
        if (at == max) continue;
        memmove(best + at + 1, best + at, (max - 1 - at) * sizeof *best);
        best[at] = (uint32_t)k;
    }
    for (uint32_t place = 0; place < used; place++) space->kept[space->best[place]] = 1;
}

/* Put the edges of a block, no more of an item than its best; the degrees count all of them. */
static inline int put_block(edge_search *s, const int32_t *left, size_t left_count,
                            const int32_t *right, size_t right_count) {
    block_space *space = s->space;
    uint32_t most = 0;
    int16_t parts[PARTS];
    memset(space->left_degree, 0, left_count * sizeof *space->left_degree);
    memset(space->right_degree, 0, right_count * sizeof *space->right_degree);
    for (size_t k = 0; k < space->count; k++) {
        uint32_t a = ++space->left_degree[space->edges[k].left];
        uint32_t b = ++space->right_degree[space->edges[k].right];
        most = a > most ? a : most;
        most = b > most ? b : most;
        s->left_degree[left[space->edges[k].left]]++;
        s->right_degree[right[space->edges[k].right]]++;
    }
    memset(space->kept, most <= s->shown_max, space->count);
    if (most > s->shown_max) {
        if (evidence_ready(&s->e) != 0) return -1;
        for (size_t k = 0; k < space->count; k++) {
            block_edge *edge = &space->edges[k];
            edge->weight = weigh_pair(&s->e, left[edge->left], right[edge->right], 0, parts);
        }
        memset(space->filled, 0, left_count * sizeof *space->filled);
        keep_best(s, left, right, space->left_degree, 1);
        memset(space->filled, 0, right_count * sizeof *space->filled);
        keep_best(s, left, right, space->right_degree, 0);
    }
    int failed = 0;
    for (size_t k = 0; k < space->count && !failed; k++)
        if (space->kept[k])
            failed = put_edge(s, left[space->edges[k].left], right[space->edges[k].right]);
    return failed ? -1 : 0;
}

/* ---- larger blocks: their pairs by order, where there is one ---- */

typedef struct {
    const uint8_t *text; /* N3 */
    int64_t number;      /* its length; or a banking day */
    int32_t place;
    uint8_t of_right, back;
} sorted_item;

static inline int compare_days(const void *x, const void *y) {
    const sorted_item *a = x, *b = y;
    return a->number < b->number ? -1 : a->number > b->number;
}

/* Dictionary order, for cut backs read from the end: a text stands before all that it begins. */
static inline int compare_texts(const void *x, const void *y) {
    const sorted_item *a = x, *b = y;
    int64_t shorter = a->number < b->number ? a->number : b->number;
    for (int64_t k = 0; k < shorter; k++) {
        uint8_t c = a->text[a->back ? a->number - 1 - k : k];
        uint8_t d = b->text[b->back ? b->number - 1 - k : k];
        if (c != d) return c < d ? -1 : 1;
    }
    return a->number < b->number ? -1 : a->number > b->number;
}

static inline int begins(const sorted_item *a, const sorted_item *b) {
    return a->number <= b->number &&
           is_part(a->text, (size_t)a->number, b->text, (size_t)b->number, a->back);
}

/* Add an edge where the two fit. Returns whether there was no room. */
static inline int add_edge(edge_search *s, const int32_t *left, size_t i, const int32_t *right,
                           size_t j) {
    block_space *space = s->space;
    if (!is_edge(s, left[i], right[j])) return 0;
    if (space->count == EDGES_MAX) return 1;
    space->edges[space->count++] = (block_edge){(int32_t)i, (int32_t)j, 0};
    return 0;
}

static inline void fill_sorted(const match_side *side, const int32_t *rows, size_t count,
                               key_kind kind, int of_right, sorted_item *out) {
    for (size_t i = 0; i < count; i++) {
        const match_item *item = &side->set->items[rows[i]];
        int by_day = kind == KEY_PAYEE;
        int64_t number = by_day ? side->banking_day[rows[i]] : (int64_t)n3_length(item);
        out[i] = (sorted_item){by_day ? NULL : n3_text(side->set, item), number, (int32_t)i,
                               (uint8_t)of_right, kind == KEY_BACK};
    }
    if (kind == KEY_PAYEE) qsort(out, count, sizeof *out, compare_days);
}

/* Pairs of days within the window. Returns whether there were too many. */
static inline int add_near_days(edge_search *s, const int32_t *left, size_t left_count,
                                const int32_t *right, size_t right_count, sorted_item *sorted) {
    sorted_item *other = sorted + left_count;
    fill_sorted(s->e.left, left, left_count, s->kind, 0, sorted);
    fill_sorted(s->e.right, right, right_count, s->kind, 1, other);
    size_t from = 0;
    for (size_t i = 0; i < left_count; i++) {
        while (from < right_count && other[from].number < sorted[i].number - s->window) from++;
        for (size_t j = from; j < right_count && other[j].number <= sorted[i].number + s->window;
             j++)
            if (add_edge(s, left, (size_t)sorted[i].place, right, (size_t)other[j].place)) return 1;
    }
    return 0;
}

static inline int all_as_long(const sorted_item *items, size_t count) {
    for (size_t i = 1; i < count; i++)
        if (items[i].number != items[0].number) return 0;
    return 1;
}

/* Pairs of which one begins the other: those that begin an item stand before it, and what begins
 * them before those, so two stacks hold all of them, one for each side. Equal texts are no pair.
 * Returns whether there were too many. */
static inline int add_cut_texts(edge_search *s, const int32_t *left, size_t left_count,
                                const int32_t *right, size_t right_count, sorted_item *sorted,
                                uint32_t *stacks[2]) {
    size_t count = left_count + right_count, depth[2] = {0, 0}, pairs = 0;
    fill_sorted(s->e.left, left, left_count, s->kind, 0, sorted);
    fill_sorted(s->e.right, right, right_count, s->kind, 1, sorted + left_count);
    if (all_as_long(sorted, count)) return 0;
    qsort(sorted, count, sizeof *sorted, compare_texts);
    for (size_t start = 0, stop = 0; start < count; start = stop) {
        while (stop < count && compare_texts(&sorted[start], &sorted[stop]) == 0) stop++;
        for (int side = 0; side < 2; side++)
            while (depth[side] > 0 &&
                   !begins(&sorted[stacks[side][depth[side] - 1]], &sorted[start]))
                depth[side]--;
        for (size_t k = start; k < stop; k++) {
            int other = !sorted[k].of_right;
            pairs += depth[other];
            if (pairs > EDGES_MAX) return 1;
            for (size_t at = 0; at < depth[other]; at++) {
                size_t mine = (size_t)sorted[k].place,
                       theirs = (size_t)sorted[stacks[other][at]].place;
                if (add_edge(s, left, other ? mine : theirs, right, other ? theirs : mine))
                    return 1;
            }
        }
        for (size_t k = start; k < stop; k++)
            stacks[sorted[k].of_right][depth[sorted[k].of_right]++] = (uint32_t)k;
    }
    return 0;
}

/* Returns 1 where the block has too many pairs, -1 when memory is short, else 0. */
static inline int add_large(edge_search *s, const int32_t *left, size_t left_count,
                            const int32_t *right, size_t right_count) {
    if (s->kind == KEY_TRACE || s->kind == KEY_AMOUNT) return 1;
    size_t count = left_count + right_count;
    sorted_item *sorted = malloc(count * sizeof *sorted);
    uint32_t *stacks[2] = {malloc(count * sizeof(uint32_t)), malloc(count * sizeof(uint32_t))};
    int result = -1;
    if (sorted != NULL && stacks[0] != NULL && stacks[1] != NULL)
        result = s->kind == KEY_PAYEE
                     ? add_near_days(s, left, left_count, right, right_count, sorted)
                     : add_cut_texts(s, left, left_count, right, right_count, sorted, stacks);
    free(sorted);
    free(stacks[0]);
    free(stacks[1]);
    return result;
}

/* ---- blocks ---- */

/* Too many pairs: said of each item, and none of them counts as unique. */
static inline void leave_block(edge_search *s, const int32_t *left, size_t left_count,
                               const int32_t *right, size_t right_count) {
    for (size_t i = 0; i < left_count; i++) {
        s->left_reason[left[i]] |= REASON_BLOCK_TOO_LARGE;
        s->left_degree[left[i]] += EDGES_MAX;
    }
    for (size_t j = 0; j < right_count; j++) {
        s->right_reason[right[j]] |= REASON_BLOCK_TOO_LARGE;
        s->right_degree[right[j]] += EDGES_MAX;
    }
}

static inline int reserve_space(block_space *space, size_t places) {
    if (places <= space->capacity) return 0;
    size_t size = (places + EDGES_MAX) * sizeof(uint32_t);
    uint32_t **arrays[3] = {&space->left_degree, &space->right_degree, &space->filled};
    for (int k = 0; k < 3; k++) {
        void *grown = realloc(*arrays[k], size);
        if (grown == NULL) return -1;
        *arrays[k] = grown;
    }
    space->capacity = places + EDGES_MAX;
    return 0;
}

static inline int search_block(edge_search *s, const int32_t *left, size_t left_count,
                               const int32_t *right, size_t right_count) {
    int large = 0;
    s->space->count = 0;
    if (left_count <= EDGES_MAX && right_count <= EDGES_MAX &&
        left_count * right_count <= EDGES_MAX) {
        for (size_t i = 0; i < left_count; i++)
            for (size_t j = 0; j < right_count; j++) add_edge(s, left, i, right, j);
    } else {
        large = add_large(s, left, left_count, right, right_count);
    }
    if (large < 0) return -1;
    if (large > 0) {
        leave_block(s, left, left_count, right, right_count);
        return 0;
    }
    if (s->space->count == 0) return 0;
    if (reserve_space(s->space, left_count > right_count ? left_count : right_count) != 0)
        return -1;
    return put_block(s, left, left_count, right, right_count);
}

/* Keys that stand once on each side; rows ahead are fetched, for the right ones lie anywhere. */
static inline int search_couples(edge_search *s, const int32_t *partner) {
    enum { AHEAD = 12 };
    const match_side *right = s->e.right;
    size_t rows = s->e.left->rows;
    for (size_t i = 0; i < rows; i++) {
        int32_t next = i + AHEAD < rows ? partner[i + AHEAD] : PARTNER_NONE;
        if (next >= 0) {
            __builtin_prefetch(&right->cents[next]);
            __builtin_prefetch(&right->banking_day[next]);
            __builtin_prefetch(&right->payee[next]);
        }
        if (partner[i] < 0 || !is_edge(s, (int32_t)i, partner[i])) continue;
        s->left_degree[i]++;
        s->right_degree[partner[i]]++;
        if (put_edge(s, (int32_t)i, partner[i]) != 0) return -1;
    }
    return 0;
}

static inline int search_blocks(edge_search *s, const int32_t *blocks, size_t size) {
    s->space = calloc(1, sizeof *s->space);
    int failed = s->space == NULL;
    for (size_t at = 0; at < size && !failed;) {
        size_t left_count = (size_t)blocks[at], right_count = (size_t)blocks[at + 1];
        const int32_t *left = blocks + at + 2, *right = left + left_count;
        failed = search_block(s, left, left_count, right, right_count) != 0;
        at += 2 + left_count + right_count;
    }
    if (s->space != NULL) {
        free(s->space->left_degree);
        free(s->space->right_degree);
        free(s->space->filled);
    }
    free(s->space);
    s->space = NULL;
    return failed ? -1 : 0;
}

/* The whole search: keys, their join, the edges. Returns 0, or -1 when memory is short. */
static inline int search_edges(edge_search *s) {
    size_t left_rows = s->e.left->rows, right_rows = s->e.right->rows;
    uint64_t *keys = malloc((left_rows + right_rows + 1) * sizeof *keys);
    uint8_t *keyed = malloc(left_rows + right_rows + 1);
    int32_t *partner = malloc((left_rows + 1) * sizeof *partner);
    int32_list blocks = {0};
    int failed = keys == NULL || keyed == NULL || partner == NULL;
    if (!failed) {
        make_keys(s->e.left, s->kind, s->left_on, keys, keyed);
        make_keys(s->e.right, s->kind, s->right_on, keys + left_rows, keyed + left_rows);
        failed = join_keys(keys, keyed, left_rows, keys + left_rows, keyed + left_rows, right_rows,
                           partner, &blocks);
    }
    free(keys);
    free(keyed);
    if (!failed)
        failed = search_couples(s, partner) | search_blocks(s, blocks.values, blocks.count);
    free(partner);
    list_free(&blocks);
    return failed ? -1 : 0;
}

/* ---- order ---- */

typedef struct {
    uint64_t first, second;
    int32_t weight, unit, row;
} ranked_row;

static inline int compare_ranked(const void *x, const void *y) {
    const ranked_row *a = x, *b = y;
    if (a->weight != b->weight) return a->weight > b->weight ? -1 : 1;
    if (a->first != b->first) return a->first < b->first ? -1 : 1;
    if (a->second != b->second) return a->second < b->second ? -1 : 1;
    return a->unit < b->unit ? -1 : a->unit > b->unit;
}

static inline void sort_ranked(ranked_row *rows, size_t count) {
    if (count > 16) {
        qsort(rows, count, sizeof *rows, compare_ranked);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        ranked_row row = rows[i];
        size_t at = i;
        for (; at > 0 && compare_ranked(&row, &rows[at - 1]) < 0; at--) rows[at] = rows[at - 1];
        rows[at] = row;
    }
}

/* Rows of one item side by side, items in their order, and each item's by weight (highest first),
 * then `first`, then `second`. `order` gets the rows so, `ranks` for each row its place among the
 * units of its item, from 1 on. Returns 0, or -1 when memory is short. */
typedef struct {
    const int32_t *items, *weights, *units;
    const uint64_t *first, *second;
    size_t rows, item_count;
    int64_t *order; /* out */
    int32_t *ranks; /* out */
} ranking;

static inline int rank_rows(const ranking *in) {
    uint32_t *starts = calloc(in->item_count + 2, sizeof *starts);
    ranked_row *sorted = malloc((in->rows + 1) * sizeof *sorted);
    if (starts == NULL || sorted == NULL) {
        free(starts);
        free(sorted);
        return -1;
    }
    for (size_t i = 0; i < in->rows; i++) starts[in->items[i] + 2]++;
    for (size_t k = 2; k < in->item_count + 2; k++) starts[k] += starts[k - 1];
    for (size_t i = 0; i < in->rows; i++)
        sorted[starts[in->items[i] + 1]++] =
            (ranked_row){in->first[i], in->second[i], in->weights[i], in->units[i], (int32_t)i};
    for (size_t k = 0; k < in->item_count; k++) {
        sort_ranked(sorted + starts[k], starts[k + 1] - starts[k]);
        int32_t rank = 0, unit = -1;
        for (size_t at = starts[k]; at < starts[k + 1]; at++) {
            rank += sorted[at].unit != unit;
            unit = sorted[at].unit;
            in->order[at] = sorted[at].row;
            in->ranks[sorted[at].row] = rank;
        }
    }
    free(starts);
    free(sorted);
    return 0;
}

#endif
