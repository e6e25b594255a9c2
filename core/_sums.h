/* Which subsets of a few amounts come to a given one: counted exactly, the best few told.
 *
 * Meet in the middle: the sums of each half of the items, in ascending order, made by merging (one
 * more item: the sums so far, and the same with its amount added), then one walk up the one list
 * and down the other. A sum that cannot be completed any more is dropped as soon as that is clear,
 * which also keeps every number below 2^64. A run of equal sums is looked at once however often it
 * meets its counterpart, so that the work is bounded by the items alone: many equal amounts make
 * millions of solutions, and they cost no more than none.
 */
#ifndef REASSOC_SUMS_H
#define REASSOC_SUMS_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    SUM_ITEMS_MAX = 30,
    SUM_HALF_MAX = SUM_ITEMS_MAX / 2,
    SUMS_SHOWN = 3,
    MERGE_STEPS_MIN = 4,   /* fewer are not worth the two ends */
    SUM_DAYS_MAX = 1 << 22 /* days of all items together fit into their part of a cost */
};

/* What makes one solution better than another, so that the lower number is the better one: how many
 * items it has, banking days between its items and the single one, then ids. From the top: 6 bits
 * of size, 28 of days, and a bit for each item that is *not* in it, the item of the lowest id
 * first. All three add up over halves without carries from one into the next. */
enum { COST_DAYS_AT = SUM_ITEMS_MAX, COST_SIZE_AT = COST_DAYS_AT + 28 };
#define COST_ITEMS (((uint64_t)1 << SUM_ITEMS_MAX) - 1)

typedef struct {
    uint64_t cents; /* above 0, below the wanted sum, which is below 2^63 */
    uint64_t order; /* id; items are handed in ascending order of it */
    uint32_t days;  /* banking days from the single item, at most SUM_DAYS_MAX */
    int32_t row;
} sum_item;

/* Bit count - 1 - i stands for item i. */
typedef struct {
    uint32_t count;             /* solutions: below 2^SUM_ITEMS_MAX */
    uint32_t used;              /* items that are in any of them */
    uint32_t shown;             /* at most SUMS_SHOWN */
    uint32_t items[SUMS_SHOWN]; /* of the best ones, best first */
} sum_answer;

typedef struct {
    uint64_t sum;
    uint64_t cost;
} half_sum;

typedef struct {
    half_sum *lists[2][2]; /* of each half: the sums so far, and where the next ones go */
    half_sum *memory;
} sum_space;

/* Sums that one search among this many items forms at most. */
static inline uint64_t sums_formed(unsigned items) {
    return ((uint64_t)1 << ((items + 1) / 2)) + ((uint64_t)1 << (items / 2));
}

static inline int sum_space_make(sum_space *space) {
    size_t list = (size_t)1 << SUM_HALF_MAX;
    space->memory = malloc(4 * list * sizeof *space->memory);
    if (space->memory == NULL) return -1;
    for (size_t i = 0; i < 4; i++) space->lists[i / 2][i % 2] = space->memory + i * list;
    return 0;
}

static inline void sum_space_free(sum_space *space) {
    free(space->memory);
    space->memory = NULL;
}

/* What an item adds to a sum and to its cost. */
typedef struct {
    uint64_t cents;
    uint64_t cost;
} sum_step;

typedef struct {
    half_sum *sums;
    size_t count;
    uint64_t items; /* bits of the half's items */
} sum_half;

static inline size_t sums_below(const half_sum *sums, size_t count, uint64_t limit) {
    size_t low = 0;
    while (count > 0) {
        size_t half = count / 2;
        if (sums[low + half].sum < limit) {
            low += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return low;
}

/* All ones where a is below b. The empty instruction hides from the compiler that it is a truth
 * value: it would make a branch of it, which no processor foresees here. */
static inline uint64_t below_mask(uint64_t a, uint64_t b) {
    uint64_t mask = 0 - (uint64_t)(a < b);
    __asm__("" : "+r"(mask));
    return mask;
}

/* The lower of the first of both runs, with the item added to those of `b`; and the run it stood in
 * moves on. */
static inline void take_lower(half_sum *out, const half_sum **a, const half_sum **b,
                              sum_step item) {
    uint64_t with = (*b)->sum + item.cents, without = (*a)->sum;
    uint64_t takes = below_mask(with, without);
    out->sum = without ^ ((without ^ with) & takes);
    uint64_t cost = (*a)->cost;
    out->cost = cost ^ ((cost ^ ((*b)->cost + item.cost)) & takes);
    *a += 1 + (int64_t)takes;
    *b -= (int64_t)takes;
}

/* The same from the other end: the higher of the last of both runs, whose ends these are. */
static inline void take_higher(half_sum *out, const half_sum **a, const half_sum **b,
                               sum_step item) {
    uint64_t with = (*b)[-1].sum + item.cents, without = (*a)[-1].sum;
    uint64_t leaves = below_mask(with, without);
    out->sum = with ^ ((without ^ with) & leaves);
    uint64_t cost = (*b)[-1].cost + item.cost;
    out->cost = cost ^ ((cost ^ (*a)[-1].cost) & leaves);
    *a += (int64_t)leaves;
    *b -= 1 + (int64_t)leaves;
}

static inline size_t fewer(ptrdiff_t a, ptrdiff_t b) {
    return (size_t)(a < b ? a : b);
}

/* The sums without and with one more item, as far as they lie from `low` to `high`. PERF: merged
 * from both ends at once, since each step waits for the one before it; so it takes half as long as
 * with a branch on the amounts (bench_bulk). */
static inline size_t sums_with(half_sum *restrict to, const half_sum *restrict from, size_t count,
                               sum_step item, uint64_t low, uint64_t high) {
    uint64_t low_before = low > item.cents ? low - item.cents : 0;
    size_t b_stop = high < item.cents ? 0 : sums_below(from, count, high - item.cents + 1);
    const half_sum *a = from + sums_below(from, count, low),
                   *a_end = from + sums_below(from, count, high + 1),
                   *b = from + sums_below(from, b_stop, low_before), *b_end = from + b_stop;
    size_t formed = (size_t)(a_end - a) + (size_t)(b_end - b);
    half_sum *out = to, *out_end = to + formed;
    for (size_t safe; (safe = fewer(a_end - a, b_end - b) / 2) >= MERGE_STEPS_MIN;)
        for (size_t i = 0; i < safe; i++) {
            take_lower(out++, &a, &b, item);
            take_higher(--out_end, &a_end, &b_end, item);
        }
    while (a < a_end && b < b_end) take_lower(out++, &a, &b, item);
    for (; a < a_end; a++) *out++ = *a;
    for (; b < b_end; b++, out++) {
        out->sum = b->sum + item.cents;
        out->cost = b->cost + item.cost;
    }
    return formed;
}

static inline uint64_t at_most(uint64_t value, uint64_t limit) {
    return value < limit ? value : limit;
}

/* All sums of a half from which the target can still be reached: what else there is to add, beside
 * the half's own items, comes to at most `rest`, and at least to `least`. */
static inline void half_fill(sum_half *half, half_sum *lists[2], const sum_step *steps,
                             unsigned count, uint64_t target, uint64_t rest, uint64_t least) {
    uint64_t ahead[SUM_HALF_MAX + 1]; /* after each step: what can still come, up to the target */
    ahead[count] = rest;
    half->items = 0;
    for (unsigned i = count; i-- > 0;) {
        ahead[i] = at_most(ahead[i + 1] + steps[i].cents, target);
        half->items |= (0 - steps[i].cost) & COST_ITEMS;
    }
    lists[0][0].sum = 0;
    lists[0][0].cost = half->items;
    half->sums = lists[0];
    half->count = 1;
    for (unsigned i = 0; i < count && half->count > 0; i++) {
        half_sum *to = lists[(i + 1) % 2];
        half->count =
            sums_with(to, half->sums, half->count, steps[i], target - ahead[i + 1], target - least);
        half->sums = to;
    }
}

/* A run of equal sums of one half, or those of it that have (or lack) a needed item. */
typedef struct {
    uint64_t count;
    uint64_t used;
    uint64_t costs[SUMS_SHOWN]; /* the lowest, ascending; UINT64_MAX behind them */
} sum_run;

static inline void keep_lowest(uint64_t costs[SUMS_SHOWN], uint64_t cost) {
    for (int i = 0; i < SUMS_SHOWN; i++) {
        if (cost >= costs[i]) continue;
        uint64_t worse = costs[i];
        costs[i] = cost;
        cost = worse;
    }
}

static const sum_run NO_RUN = {0, 0, {UINT64_MAX, UINT64_MAX, UINT64_MAX}};

/* runs[1] has the sums with a needed item, runs[0] the others. */
static inline void run_tell(const half_sum *sums, size_t count, uint64_t half_items,
                            uint64_t needed, sum_run runs[2]) {
    runs[0] = runs[1] = NO_RUN;
    for (size_t i = 0; i < count; i++) {
        uint64_t items = half_items & ~sums[i].cost;
        sum_run *run = &runs[(items & needed) != 0];
        run->count++;
        run->used |= items;
        keep_lowest(run->costs, sums[i].cost);
    }
}

static inline void runs_meet(const sum_run *a, const sum_run *b, sum_run *found) {
    if (a->count == 0 || b->count == 0) return;
    found->count += a->count * b->count;
    found->used |= a->used | b->used;
    for (int i = 0; i < SUMS_SHOWN && a->costs[i] != UINT64_MAX; i++)
        for (int j = 0; j < SUMS_SHOWN && b->costs[j] != UINT64_MAX; j++)
            keep_lowest(found->costs, a->costs[i] + b->costs[j]);
}

/* What of both halves is still to be compared: a counterpart is in it, or there is none. */
typedef struct {
    const half_sum *up, *up_end;
    const half_sum *down, *down_end;
} sum_field;

/* The first of `up` and the last of `down` come to the target, or (`far`) the last of `up` and the
 * first of `down`: their runs of equal sums meet and leave the field. */
static inline void field_meets(sum_field *field, int far, const sum_half *left,
                               const sum_half *right, uint64_t needed, sum_run *found) {
    sum_run of_left[2], of_right[2];
    uint64_t sum = far ? field->up_end[-1].sum : field->up->sum;
    uint64_t other = far ? field->down->sum : field->down_end[-1].sum;
    const half_sum *up = field->up, *up_end = field->up_end;
    const half_sum *down = field->down, *down_end = field->down_end;
    if (far) {
        while (field->up_end > up && field->up_end[-1].sum == sum) field->up_end--;
        while (field->down < down_end && field->down->sum == other) field->down++;
        up = field->up_end;
        down_end = field->down;
    } else {
        while (field->up < up_end && field->up->sum == sum) field->up++;
        while (field->down_end > down && field->down_end[-1].sum == other) field->down_end--;
        up_end = field->up;
        down = field->down_end;
    }
    run_tell(up, (size_t)(up_end - up), left->items, needed, of_left);
    run_tell(down, (size_t)(down_end - down), right->items, needed, of_right);
    runs_meet(&of_left[1], &of_right[0], found);
    runs_meet(&of_left[0], &of_right[1], found);
    runs_meet(&of_left[1], &of_right[1], found);
    if (needed == 0) runs_meet(&of_left[0], &of_right[0], found);
}

/* Steps from two corners of the field at once, `steps` of them or until a sum is the target. PERF:
 * see sums_with. */
static inline void field_narrow(sum_field *field, size_t steps, uint64_t target) {
    sum_field at = *field;
    for (; steps > 0; steps--) {
        uint64_t near = at.up->sum + at.down_end[-1].sum, far = at.up_end[-1].sum + at.down->sum;
        if (__builtin_expect((near == target) | (far == target), 0)) break;
        int64_t near_below = (int64_t)below_mask(near, target);
        int64_t far_below = (int64_t)below_mask(far, target);
        at.up -= near_below;
        at.down_end -= 1 + near_below;
        at.down -= far_below;
        at.up_end -= 1 + far_below;
    }
    *field = at;
}

/* Every sum of the one half with its counterpart of the other. */
static inline void halves_meet(const sum_half *left, const sum_half *right, uint64_t target,
                               uint64_t needed, sum_run *found) {
    sum_field field = {left->sums, left->sums + left->count, right->sums,
                       right->sums + right->count};
    while (field.up < field.up_end && field.down < field.down_end) {
        size_t safe = fewer(field.up_end - field.up, field.down_end - field.down) / 2;
        field_narrow(&field, safe, target);
        if (field.up == field.up_end || field.down == field.down_end) return;
        uint64_t near = field.up->sum + field.down_end[-1].sum;
        if (near == target) field_meets(&field, 0, left, right, needed, found);
        else if (field.up_end[-1].sum + field.down->sum == target)
            field_meets(&field, 1, left, right, needed, found);
        else if (near < target)
            field.up++;
        else
            field.down_end--;
    }
}

/* The steps of both halves, every other item in each, from the largest amount down: large ones
 * first leave the least to merge. */
static inline void deal_out(const sum_item *items, unsigned count, sum_step steps[2][SUM_HALF_MAX],
                            unsigned counts[2]) {
    unsigned by_cents[SUM_ITEMS_MAX];
    for (unsigned i = 0; i < count; i++) {
        unsigned at = i;
        for (; at > 0 && items[by_cents[at - 1]].cents < items[i].cents; at--)
            by_cents[at] = by_cents[at - 1];
        by_cents[at] = i;
    }
    counts[0] = counts[1] = 0;
    for (unsigned i = 0; i < count; i++) {
        const sum_item *item = &items[by_cents[i]];
        sum_step *step = &steps[i % 2][counts[i % 2]++];
        step->cents = item->cents;
        step->cost = ((uint64_t)1 << COST_SIZE_AT) + ((uint64_t)item->days << COST_DAYS_AT) -
                     ((uint64_t)1 << (count - 1 - by_cents[i]));
    }
}

/* The subsets of `items` that come to `target` and have one of the `needed` items, if there are
 * any. count is from 2 to SUM_ITEMS_MAX. */
static inline void sums_find(sum_space *space, const sum_item *items, unsigned count,
                             uint64_t target, uint32_t needed, sum_answer *answer) {
    uint64_t total = 0, all = ((uint64_t)1 << count) - 1;
    memset(answer, 0, sizeof *answer);
    for (unsigned i = 0; i < count; i++) total = at_most(total + items[i].cents, target + 1);
    if (total < target) return;
    if (total == target) { /* amounts are above zero: no other subset comes to as much */
        answer->count = answer->shown = 1;
        answer->used = answer->items[0] = (uint32_t)all;
        return;
    }
    if (count == 2) return;
    sum_step steps[2][SUM_HALF_MAX];
    unsigned counts[2];
    sum_half left, right;
    sum_run found = NO_RUN;
    uint64_t right_total = 0;
    deal_out(items, count, steps, counts);
    for (unsigned i = 0; i < counts[1]; i++)
        right_total = at_most(right_total + steps[1][i].cents, target);
    half_fill(&left, space->lists[0], steps[0], counts[0], target, right_total, 0);
    if (left.count == 0) return;
    half_fill(&right, space->lists[1], steps[1], counts[1], target, left.sums[left.count - 1].sum,
              left.sums[0].sum);
    halves_meet(&left, &right, target, needed, &found);
    answer->count = (uint32_t)found.count;
    answer->used = (uint32_t)found.used;
    while (answer->shown < SUMS_SHOWN && found.costs[answer->shown] != UINT64_MAX) {
        answer->items[answer->shown] = (uint32_t)(all & ~found.costs[answer->shown]);
        answer->shown++;
    }
}

#endif
