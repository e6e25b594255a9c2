"""Compiled side of the tiers that lean on less than trace and payer, and of the ranking.

The C stands in _candidates.h (edges, order) and _evidence.h (weights); here is only what Python
needs to call it. Kernels run without the GIL.
"""

import numpy as np

cimport cython
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from reassoc.core._keys cimport Items, check_rows, int32_list, item_set, list_array

KEY_TRACE = KEY_TRACE_C
KEY_FRONT = KEY_FRONT_C
KEY_BACK = KEY_BACK_C
KEY_PAYEE = KEY_PAYEE_C
KEY_AMOUNT = KEY_AMOUNT_C
EDGES_MAX = EDGES_MAX_C
"""Pairs of one key that are looked at; see _candidates.h."""
CUT_BYTES_MIN = CUT_BYTES_MIN_C
PARTS = PARTS_C
"""Fields that add to a weight: trace, payer, payee, amount, date."""
BLOCK_ROWS_MIN = BLOCK_ROWS_MIN_C


cdef extern from "_evidence.h" nogil:
    size_t CUT_BYTES_MIN_C "CUT_BYTES_MIN"
    int PARTS_C "PARTS"
    size_t BLOCK_ROWS_MIN_C "BLOCK_ROWS_MIN"

    ctypedef struct match_side:
        const item_set *set
        const int64_t *cents
        const int32_t *day
        const int32_t *banking_day
        const uint32_t *payer_group
        const uint32_t *payee
        const uint32_t *tenant
        const uint8_t *rail
        const uint64_t *order
        const uint32_t *company
        size_t rows

    ctypedef struct rarity:
        uint32_t *amounts

    ctypedef struct evidence:
        const match_side *left
        const match_side *right
        rarity *rarity

    int32_t log2_of(uint64_t n) noexcept
    void rarity_free(rarity *r) noexcept
    int evidence_ready(const evidence *e) noexcept
    void weigh_pairs(const evidence *e, const int32_t *left, const int32_t *right,
                     const int64_t *sums, size_t count, int32_t *weights,
                     int16_t *parts) noexcept


cdef extern from "_candidates.h" nogil:
    size_t EDGES_MAX_C "EDGES_MAX"
    int KEY_TRACE_C "KEY_TRACE"
    int KEY_FRONT_C "KEY_FRONT"
    int KEY_BACK_C "KEY_BACK"
    int KEY_PAYEE_C "KEY_PAYEE"
    int KEY_AMOUNT_C "KEY_AMOUNT"

    ctypedef int key_kind

    ctypedef struct edge_search:
        evidence e
        key_kind kind
        int32_t window
        uint32_t shown_max
        const uint8_t *left_on
        const uint8_t *right_on
        int64_t *left_reason
        int64_t *right_reason
        uint32_t *left_degree
        uint32_t *right_degree
        int32_list left
        int32_list right

    ctypedef struct ranking:
        const int32_t *items
        const int32_t *weights
        const int32_t *units
        const uint64_t *first
        const uint64_t *second
        size_t rows
        size_t item_count
        int64_t *order
        int32_t *ranks

    int search_edges(edge_search *s) noexcept
    int rank_rows(const ranking *r) noexcept


cdef object check_places(const int32_t[::1] rows, size_t count):
    cdef Py_ssize_t i
    cdef bint outside = False
    with nogil:
        for i in range(rows.shape[0]):
            outside |= rows[i] < 0 or <size_t>rows[i] >= count
    if outside:
        raise IndexError(f"a row is none of the {count} rows")


@cython.final
cdef class Sides:
    """Remittances and payments, by columns; and how common their amounts are, counted when it is
    first needed.

    left_items, right_items : Items
    left_columns, right_columns : tuples of (cents int64, day int32, banking_day int32,
        payer_group uint32, payee uint32, tenant uint32, rail uint8, order uint64), see state.Side
    right_company : uint32[m] or None    payer group that a payment's company identifier means

    Up to 100 MiB beside the columns.
    """

    cdef match_side left, right
    cdef rarity counts
    cdef Items left_items, right_items
    cdef list columns

    def __dealloc__(self):
        rarity_free(&self.counts)

    def __init__(self, Items left_items not None, Items right_items not None,
                 tuple left_columns not None, tuple right_columns not None,
                 const uint32_t[::1] right_company=None):
        self.columns = [right_company]
        self.left_items, self.right_items = left_items, right_items
        self._fill(&self.left, left_items, left_columns)
        self._fill(&self.right, right_items, right_columns)
        if right_company is not None and self.right.rows:
            check_rows(right_company.shape[0], self.right.rows)
            self.right.company = &right_company[0]

    cdef object _fill(self, match_side *side, Items items, tuple columns):
        cdef const int64_t[::1] cents
        cdef const int32_t[::1] day, banking_day
        cdef const uint32_t[::1] payer_group, payee, tenant
        cdef const uint8_t[::1] rail
        cdef const uint64_t[::1] order
        for column in columns:
            check_rows(len(column), items.c.rows)
        cents, day, banking_day, payer_group, payee, tenant, rail, order = columns
        self.columns.append(columns)
        side.set, side.rows = &items.c, items.c.rows
        if items.c.rows == 0:
            return
        side.cents, side.day, side.banking_day = &cents[0], &day[0], &banking_day[0]
        side.payer_group, side.payee, side.tenant = &payer_group[0], &payee[0], &tenant[0]
        side.rail, side.order = &rail[0], &order[0]

    cdef evidence _evidence(self) noexcept:
        cdef evidence e
        e.left, e.right, e.rarity = &self.left, &self.right, &self.counts
        return e

    def find(self, int kind, int32_t window, uint32_t shown_max,
             const uint8_t[::1] left_on not None, const uint8_t[::1] right_on not None,
             int64_t[::1] left_reason not None, int64_t[::1] right_reason not None,
             uint32_t[::1] left_degree not None, uint32_t[::1] right_degree not None):
        """The pairs of one key (KEY_TRACE, ...) that fit, as (int32[k], int32[k]) rows.

        window : days for KEY_TRACE, KEY_FRONT and KEY_BACK, banking days for others
        shown_max : pairs of an item that are given, the best; all where none of both has more
        left_on, right_on : uint8[n], uint8[m]          rows where it is 0 are left out
        left_reason, right_reason : int64[n], int64[m]  BLOCK_TOO_LARGE is added
        left_degree, right_degree : uint32[n], uint32[m]   pairs of each item are added, given or
            not

        A key with more than EDGES_MAX pairs gives none: BLOCK_TOO_LARGE is said of its items, and
        EDGES_MAX added to their degrees. Keys that order their items by day or by trace are looked
        through in that order first, so that only pairs that could fit count. O(n + m + pairs of
        equal keys); releases the GIL.
        """
        cdef edge_search search
        cdef int failed
        for length in (left_on.shape[0], left_reason.shape[0], left_degree.shape[0]):
            check_rows(length, self.left.rows)
        for length in (right_on.shape[0], right_reason.shape[0], right_degree.shape[0]):
            check_rows(length, self.right.rows)
        if shown_max == 0:
            raise ValueError("shown_max must be at least 1")
        if self.left.rows == 0 or self.right.rows == 0:
            return np.empty(0, np.int32), np.empty(0, np.int32)
        memset(&search, 0, sizeof(search))
        search.e = self._evidence()
        search.kind, search.window, search.shown_max = <key_kind>kind, window, shown_max
        search.left_on, search.right_on = &left_on[0], &right_on[0]
        search.left_reason, search.right_reason = &left_reason[0], &right_reason[0]
        search.left_degree, search.right_degree = &left_degree[0], &right_degree[0]
        with nogil:
            failed = search_edges(&search)
        left, right = list_array(&search.left), list_array(&search.right)
        if failed:
            raise MemoryError
        return left, right

    def weigh(self, const int32_t[::1] left not None, const int32_t[::1] right not None,
              const int64_t[::1] sums=None, int16_t[:, ::1] parts=None):
        """int32[k]: weights of pairs, in hundredths of bits.

        sums : int64[k]   where not 0: the pair is part of a sum that comes to this on both sides,
                          or less than 0: does not; its own amounts are not compared
        parts : int16[k, PARTS]   out: what trace, payer, payee, amount and date add

        O(k), and once O(n + m); releases the GIL.
        """
        cdef size_t count = left.shape[0]
        cdef evidence e = self._evidence()
        cdef const int64_t *sums_at = NULL
        cdef int16_t *parts_at = NULL
        cdef int failed
        check_rows(right.shape[0], count)
        weights = np.empty(count, np.int32)
        cdef int32_t[::1] weights_view = weights
        if count == 0:
            return weights
        check_places(left, self.left.rows)
        check_places(right, self.right.rows)
        if sums is not None:
            check_rows(sums.shape[0], count)
            sums_at = &sums[0]
        if parts is not None:
            check_rows(parts.shape[0], count)
            check_rows(parts.shape[1], PARTS_C)
            parts_at = &parts[0, 0]
        with nogil:
            failed = evidence_ready(&e)
            if failed == 0:
                weigh_pairs(&e, &left[0], &right[0], sums_at, count, &weights_view[0], parts_at)
        if failed:
            raise MemoryError
        return weights


def rank(const int32_t[::1] items not None, size_t item_count,
         const int32_t[::1] weights not None, const uint64_t[::1] first not None,
         const uint64_t[::1] second not None, const int32_t[::1] units not None):
    """Order rows by item, then by weight (highest first), then `first`, then `second`.

    items : int32[k]     from 0 to item_count - 1
    units : int32[k]     rows of one item and one unit have one rank; not negative
    -> int64[k] : the rows in this order
    -> int32[k] : the rank of each row among the units of its item, from 1 on

    O(k log(rows of an item)); releases the GIL.
    """
    cdef ranking r
    cdef int failed
    cdef size_t count = items.shape[0]
    for length in (weights.shape[0], first.shape[0], second.shape[0], units.shape[0]):
        check_rows(length, count)
    order, ranks = np.empty(count, np.int64), np.empty(count, np.int32)
    cdef int64_t[::1] order_view = order
    cdef int32_t[::1] ranks_view = ranks
    if count == 0:
        return order, ranks
    check_places(items, item_count)
    r.items, r.weights, r.units = &items[0], &weights[0], &units[0]
    r.first, r.second = &first[0], &second[0]
    r.rows, r.item_count = count, item_count
    r.order, r.ranks = &order_view[0], &ranks_view[0]
    with nogil:
        failed = rank_rows(&r)
    if failed:
        raise MemoryError
    return order, ranks


def log2_hundredths(uint64_t n):
    """100 * log2(n), rounded, for n > 0."""
    if n == 0:
        raise ValueError("0 has no logarithm")
    return log2_of(n)
