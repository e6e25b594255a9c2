/* Bulk payments: which remittances add up to one payment, and which payments to one remittance.
 *
 * Items are compared within blocks of equal tenant, rail, payer group and payee, and there within
 * the window. Blocks come from a join on hashes: what is really equal is told here, on the numbers.
 * Within a block items stand by day, amount and id, so that the items that could be part of a sum
 * are a run of each of a few days, found by bisection, and rows decide nothing.
 */
#ifndef REASSOC_BULK_H
#define REASSOC_BULK_H

#include "_columns.h"
#include "_join.h"
#include "_sums.h"

enum { BULK_OK = 0, BULK_NO_MEMORY = -1, BULK_BAD_ROW = -2 };
enum { SIDE_REMITTANCES = 0, SIDE_PAYMENTS = 1 };
enum { TIER_SEVERAL_REMITTANCES = 8, TIER_SEVERAL_PAYMENTS = 9 };
enum { BULK_HEAD = 4 }; /* tier, row of the single item, solutions, items of this one */

/* Sums formed in one call, at most. Where all searches together would form more, those of the most
 * items are not begun: as many of the smaller ones as fit. */
#define BULK_SUMS_MAX ((uint64_t)1 << 28)

typedef struct {
    size_t count;        /* of the rows of the pool */
    const int32_t *rows; /* that take part; blocks count in them */
    size_t row_count;
    const int64_t *cents;
    const int32_t *banking_day;
    const uint32_t *tenant, *payer_group, *payee;
    const uint8_t *rail;
    const uint64_t *order;
    /* Items whose trace and payer agree though their amounts differ: pairs of a row of this side
     * and one of the other, ascending. */
    const int32_t *tied, *tied_to;
    size_t tie_count;
    uint32_t *sums;  /* out, for each row of the pool: searches of whose sums it is a part */
    uint8_t *capped; /* out: 1 where a search that it would be a part of was not begun */
} bulk_side;

typedef struct {
    uint64_t place; /* tenant and rail */
    uint64_t trade; /* payer group and payee */
    uint64_t order;
    int64_t cents;
    int32_t day;
    int32_t row;
} bulk_item;

/* The items of one day: a run of the block, `below` of which are below the single item's amount. */
typedef struct {
    int32_t day;
    size_t start;
    size_t stop;
    size_t below;
    size_t capped; /* the longest `below` of a search that was not begun */
} bulk_day;

typedef struct {
    bulk_side *sides[2];
    int32_t window_days;
    unsigned items_max;
    int counting; /* only `searches` is told */
    uint64_t searches[SUM_ITEMS_MAX + 1];
    bulk_item *items[2];
    bulk_day *days;
    sum_space space;
    int32_list heads;   /* BULK_HEAD numbers for each solution that is shown */
    int32_list members; /* rows of their items, in the order of ids, one after the other */
} bulk_run;

static inline int compare_u64(uint64_t a, uint64_t b) {
    return (a > b) - (a < b);
}

static inline int compare_block(const bulk_item *a, const bulk_item *b) {
    int place = compare_u64(a->place, b->place);
    return place ? place : compare_u64(a->trade, b->trade);
}

static inline int compare_items(const void *left, const void *right) {
    const bulk_item *a = left, *b = right;
    int block = compare_block(a, b);
    if (block) return block;
    if (a->day != b->day) return a->day < b->day ? -1 : 1;
    if (a->cents != b->cents) return a->cents < b->cents ? -1 : 1;
    return compare_u64(a->order, b->order);
}

/* The given rows (which count in side->rows), in order. */
static inline int load_items(const bulk_side *side, const int32_t *block, size_t count,
                             bulk_item *items) {
    for (size_t i = 0; i < count; i++) {
        if (block[i] < 0 || (size_t)block[i] >= side->row_count) return BULK_BAD_ROW;
        int32_t row = side->rows[block[i]];
        if (row < 0 || (size_t)row >= side->count) return BULK_BAD_ROW;
        items[i].place = (uint64_t)side->tenant[row] << 8 | side->rail[row];
        items[i].trade = (uint64_t)side->payer_group[row] << 32 | side->payee[row];
        items[i].order = side->order[row];
        items[i].cents = side->cents[row];
        items[i].day = side->banking_day[row];
        items[i].row = row;
    }
    qsort(items, count, sizeof *items, compare_items);
    return BULK_OK;
}

/* The days of a run of items, in order. Returns how many. */
static inline size_t tell_days(const bulk_item *items, size_t count, bulk_day *days) {
    size_t day_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || items[i].day != items[i - 1].day)
            days[day_count++] = (bulk_day){.day = items[i].day, .start = i};
        days[day_count - 1].stop = i + 1;
    }
    return day_count;
}

static inline size_t items_below(const bulk_item *items, const bulk_day *day, int64_t cents) {
    size_t low = day->start, high = day->stop;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (items[middle].cents < cents) low = middle + 1;
        else
            high = middle;
    }
    return low - day->start;
}

/* The first of ascending pairs that is not before (row, other). */
static inline size_t first_tie(const bulk_side *side, int32_t row, int32_t other) {
    size_t low = 0, high = side->tie_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (side->tied[middle] < row ||
            (side->tied[middle] == row && side->tied_to[middle] < other))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static inline int has_tie(const bulk_side *side, int32_t row) {
    size_t at = first_tie(side, row, -1);
    return at < side->tie_count && side->tied[at] == row;
}

static inline uint32_t tied_items(const bulk_side *side, int32_t row, const sum_item *items,
                                  unsigned count) {
    uint32_t mask = 0;
    for (unsigned i = 0; i < count; i++) {
        size_t at = first_tie(side, row, items[i].row);
        if (at < side->tie_count && side->tied[at] == row && side->tied_to[at] == items[i].row)
            mask |= (uint32_t)1 << (count - 1 - i);
    }
    return mask;
}

/* The items of a search, in the order of their ids. */
static inline unsigned gather_items(const bulk_item *single, const bulk_item *items,
                                    const bulk_day *days, size_t day_count, sum_item *gathered) {
    unsigned count = 0;
    for (size_t d = 0; d < day_count; d++)
        for (size_t i = days[d].start; i < days[d].start + days[d].below; i++) {
            int64_t apart = (int64_t)items[i].day - single->day;
            sum_item item = {.cents = (uint64_t)items[i].cents,
                             .order = items[i].order,
                             .days = (uint32_t)(apart < 0 ? -apart : apart),
                             .row = items[i].row};
            unsigned at = count++;
            for (; at > 0 && gathered[at - 1].order > item.order; at--)
                gathered[at] = gathered[at - 1];
            gathered[at] = item;
        }
    return count;
}

/* What a search found: the solutions to show, and which items it concerns. */
static inline int put_answer(bulk_run *run, int side, int32_t row, const sum_item *items,
                             unsigned count, const sum_answer *answer) {
    int tier = side == SIDE_PAYMENTS ? TIER_SEVERAL_REMITTANCES : TIER_SEVERAL_PAYMENTS, failed = 0;
    run->sides[side]->sums[row]++;
    for (unsigned i = 0; i < count; i++)
        run->sides[1 - side]->sums[items[i].row] += answer->used >> (count - 1 - i) & 1;
    for (unsigned k = 0; k < answer->shown; k++) {
        failed |= list_push(&run->heads, tier) | list_push(&run->heads, row) |
                  list_push(&run->heads, (int32_t)answer->count) |
                  list_push(&run->heads, __builtin_popcount(answer->items[k]));
        for (unsigned i = 0; i < count; i++)
            if (answer->items[k] >> (count - 1 - i) & 1)
                failed |= list_push(&run->members, items[i].row);
    }
    return failed ? BULK_NO_MEMORY : BULK_OK;
}

/* One single item against the days in its window. */
static inline int search_one(bulk_run *run, int side, const bulk_item *single,
                             const bulk_item *items, bulk_day *days, size_t day_count) {
    size_t count = 0;
    for (size_t d = 0; d < day_count; d++) {
        days[d].below = items_below(items, &days[d], single->cents);
        count += days[d].below;
    }
    if (count < 2) return BULK_OK;
    if (run->counting) {
        if (count <= run->items_max) run->searches[count]++;
        return BULK_OK;
    }
    if (count > run->items_max) {
        run->sides[side]->capped[single->row] = 1;
        for (size_t d = 0; d < day_count; d++)
            if (days[d].capped < days[d].below) days[d].capped = days[d].below;
        return BULK_OK;
    }
    sum_item gathered[SUM_ITEMS_MAX];
    sum_answer answer;
    uint32_t needed = 0;
    gather_items(single, items, days, day_count, gathered);
    if (has_tie(run->sides[side], single->row)) {
        needed = tied_items(run->sides[side], single->row, gathered, (unsigned)count);
        if (needed == 0) return BULK_OK;
    }
    sums_find(&run->space, gathered, (unsigned)count, (uint64_t)single->cents, needed, &answer);
    if (answer.count == 0) return BULK_OK;
    return put_answer(run, side, single->row, gathered, (unsigned)count, &answer);
}

/* Every single item of a block (those of `side`) against the block's items of the other side. */
static inline int search_block(bulk_run *run, int side, const bulk_item *singles,
                               size_t single_count, const bulk_item *items, size_t item_count) {
    if (item_count < 2) return BULK_OK;
    size_t day_count = tell_days(items, item_count, run->days), first = 0, stop = 0;
    for (size_t i = 0; i < single_count; i++) { /* days ascend, so the window only moves on */
        int64_t day = singles[i].day;
        while (first < day_count && run->days[first].day < day - run->window_days) first++;
        while (stop < day_count && run->days[stop].day <= day + run->window_days) stop++;
        int failed = search_one(run, side, &singles[i], items, run->days + first, stop - first);
        if (failed) return failed;
    }
    for (size_t d = 0; d < day_count; d++)
        for (size_t i = 0; i < run->days[d].capped; i++)
            run->sides[1 - side]->capped[items[run->days[d].start + i].row] = 1;
    return BULK_OK;
}

static inline size_t block_length(const bulk_item *items, size_t count) {
    size_t length = 1;
    while (length < count && compare_block(&items[length], &items[0]) == 0) length++;
    return length;
}

/* A block of equal hashes, which may be several of equal numbers. */
static inline int search_hashed(bulk_run *run, size_t left_count, size_t right_count) {
    const bulk_item *left = run->items[SIDE_REMITTANCES], *right = run->items[SIDE_PAYMENTS];
    const bulk_item *left_end = left + left_count, *right_end = right + right_count;
    while (left < left_end && right < right_end) {
        int order = compare_block(left, right);
        if (order < 0) {
            left++;
            continue;
        }
        if (order > 0) {
            right++;
            continue;
        }
        size_t lefts = block_length(left, (size_t)(left_end - left));
        size_t rights = block_length(right, (size_t)(right_end - right));
        int failed = search_block(run, SIDE_PAYMENTS, right, rights, left, lefts);
        if (!failed) failed = search_block(run, SIDE_REMITTANCES, left, lefts, right, rights);
        if (failed) return failed;
        left += lefts;
        right += rights;
    }
    return BULK_OK;
}

/* blocks: count of left rows, count of right rows, the left rows, the right rows; and so on. */
static inline int search_blocks(bulk_run *run, const int32_t *blocks, size_t size) {
    for (size_t at = 0; at < size;) {
        size_t lefts = (size_t)blocks[at], rights = (size_t)blocks[at + 1];
        const int32_t *rows = blocks + at + 2;
        int failed =
            load_items(run->sides[SIDE_REMITTANCES], rows, lefts, run->items[SIDE_REMITTANCES]);
        if (!failed)
            failed = load_items(run->sides[SIDE_PAYMENTS], rows + lefts, rights,
                                run->items[SIDE_PAYMENTS]);
        if (!failed) failed = search_hashed(run, lefts, rights);
        if (failed) return failed;
        at += 2 + lefts + rights;
    }
    return BULK_OK;
}

/* Checks the blocks and finds the most rows of a side in one, and the sums that all searches
 * together could form. */
static inline int measure_blocks(const bulk_run *run, const int32_t *blocks, size_t size,
                                 size_t longest[2], uint64_t *sums) {
    *sums = 0;
    for (size_t at = 0; at < size;) {
        if (size - at < 2 || blocks[at] < 0 || blocks[at + 1] < 0) return BULK_BAD_ROW;
        size_t counts[2] = {(size_t)blocks[at], (size_t)blocks[at + 1]};
        if (counts[0] + counts[1] > size - at - 2) return BULK_BAD_ROW;
        for (int side = 0; side < 2; side++) {
            size_t items = counts[1 - side] < run->items_max ? counts[1 - side] : run->items_max;
            if (items >= 2) *sums += counts[side] * sums_formed((unsigned)items);
            if (longest[side] < counts[side]) longest[side] = counts[side];
        }
        at += 2 + counts[0] + counts[1];
    }
    return BULK_OK;
}

/* Lowers items_max so far that all searches together form BULK_SUMS_MAX sums at most. */
static inline int fit_searches(bulk_run *run, const int32_t *blocks, size_t size) {
    uint64_t sums = 0;
    run->counting = 1;
    int failed = search_blocks(run, blocks, size);
    run->counting = 0;
    for (unsigned items = 2; items <= run->items_max; items++) {
        sums += run->searches[items] * sums_formed(items);
        if (sums > BULK_SUMS_MAX) run->items_max = items - 1;
    }
    return failed;
}

/* Fills run->heads and run->members, and the sides' `sums` and `capped`. run->sides, window_days
 * and items_max are given; all else starts as zeros. */
static inline int bulk_search(bulk_run *run, const int32_t *blocks, size_t size) {
    size_t longest[2] = {0, 0};
    uint64_t sums;
    int status = measure_blocks(run, blocks, size, longest, &sums);
    if (status) return status;
    size_t longer = longest[0] > longest[1] ? longest[0] : longest[1];
    for (int side = 0; side < 2; side++)
        run->items[side] = malloc((longest[side] + 1) * sizeof *run->items[side]);
    run->days = malloc((longer + 1) * sizeof *run->days);
    status = BULK_NO_MEMORY;
    if (run->items[0] != NULL && run->items[1] != NULL && run->days != NULL &&
        sum_space_make(&run->space) == 0)
        status = sums > BULK_SUMS_MAX ? fit_searches(run, blocks, size) : BULK_OK;
    if (!status) status = search_blocks(run, blocks, size);
    sum_space_free(&run->space);
    free(run->items[0]);
    free(run->items[1]);
    free(run->days);
    return status;
}

#endif
