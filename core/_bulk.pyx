"""Compiled side of bulk payments: exact sums within blocks.

The C stands in _sums.h (one search) and _bulk.h (blocks and windows); here is only what Python
needs to call it. The search runs without the GIL.
"""

import numpy as np

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from reassoc.core._keys cimport check_rows, int32_list, list_array


cdef extern from "_bulk.h" nogil:
    int SUM_ITEMS_MAX
    int SUM_DAYS_MAX
    int SUMS_SHOWN
    uint64_t BULK_SUMS_MAX
    int BULK_OK
    int BULK_NO_MEMORY
    int BULK_HEAD

    ctypedef struct bulk_side:
        size_t count
        const int32_t *rows
        size_t row_count
        const int64_t *cents
        const int32_t *banking_day
        const uint32_t *tenant
        const uint32_t *payer_group
        const uint32_t *payee
        const uint8_t *rail
        const uint64_t *order
        const int32_t *tied
        const int32_t *tied_to
        size_t tie_count
        uint32_t *sums
        uint8_t *capped

    ctypedef struct bulk_run:
        bulk_side *sides[2]
        int32_t window_days
        unsigned int items_max
        int32_list heads
        int32_list members

    uint64_t sums_formed(unsigned int items) noexcept
    int bulk_search(bulk_run *run, const int32_t *blocks, size_t size) noexcept


ITEMS_MAX = SUM_ITEMS_MAX
SOLUTIONS_SHOWN = SUMS_SHOWN
SUMS_MAX = BULK_SUMS_MAX


def sums_of(unsigned int items):
    """Sums that one search among this many items forms at most."""
    if items > <unsigned int>SUM_ITEMS_MAX:
        raise ValueError(f"a search has at most ITEMS_MAX = {SUM_ITEMS_MAX} items")
    return sums_formed(items)


@cython.final
cdef class BulkSide:
    """One side of a search.

    rows : int32[p]     rows that take part: cents above zero; their payer and payee are known, and
        so is their day
    cents : int64[n]    banking_day : int32[n]    tenant, payer_group, payee : uint32[n]
    rail : uint8[n]     order : uint64[n], ids
    tied, tied_to : int32[k]    rows of this side and of the other whose trace and payer agree,
        ascending (by row, then by the other's)

    sums : uint32[n]    searches of whose sums a row is a part; filled by find_sums
    capped : bool[n]    there was a search with too many items that a row would be a part of
    """

    cdef bulk_side c
    cdef object kept
    cdef readonly object sums, capped

    def __init__(self, const int32_t[::1] rows not None, const int64_t[::1] cents not None,
                 const int32_t[::1] banking_day not None, const uint32_t[::1] tenant not None,
                 const uint32_t[::1] payer_group not None, const uint32_t[::1] payee not None,
                 const uint8_t[::1] rail not None, const uint64_t[::1] order not None,
                 const int32_t[::1] tied not None, const int32_t[::1] tied_to not None):
        cdef uint32_t[::1] sums
        cdef uint8_t[::1] capped
        cdef size_t count = cents.shape[0]
        for length in (banking_day.shape[0], tenant.shape[0], payer_group.shape[0],
                       payee.shape[0], rail.shape[0], order.shape[0]):
            check_rows(length, count)
        check_rows(tied_to.shape[0], tied.shape[0])
        self.kept = (rows, cents, banking_day, tenant, payer_group, payee, rail, order, tied,
                     tied_to)
        self.sums, self.capped = np.zeros(count, np.uint32), np.zeros(count, np.bool_)
        self.c.count, self.c.row_count, self.c.tie_count = count, rows.shape[0], tied.shape[0]
        if rows.shape[0]:
            self.c.rows = &rows[0]
        if tied.shape[0]:
            self.c.tied, self.c.tied_to = &tied[0], &tied_to[0]
        if count:
            sums, capped = self.sums, self.capped.view(np.uint8)
            self.c.sums, self.c.capped = &sums[0], &capped[0]
            self.c.cents, self.c.banking_day = &cents[0], &banking_day[0]
            self.c.tenant, self.c.rail = &tenant[0], &rail[0]
            self.c.payer_group, self.c.payee = &payer_group[0], &payee[0]
            self.c.order = &order[0]


def find_sums(const int32_t[::1] blocks not None, BulkSide left not None, BulkSide right not None,
              int window_days, unsigned int items_max):
    """Sums of several items of one side that come to one item of the other.

    blocks : int32[b]    what _keys.join gave for the rows of both sides: items of equal tenant,
        rail, payer group and payee are in the same one
    left, right          remittances, payments
    window_days          banking days that an item may be from the single one
    items_max            a search among more is not begun: `capped` tells

    -> int32[s, 4] : of each solution that is shown, the tier (8: several remittances, 9: several
           payments), the row of the single item, how many solutions that has, items of this one
    -> int32[t] : rows of the items of each, one after the other, those of one in the order of ids

    Of one single item at most SOLUTIONS_SHOWN solutions are shown: of the fewest items first, then
    of the fewest banking days in all between them and the single item, then by ids. Solutions are
    counted exactly. Where all searches would form more than SUMS_MAX sums, those of the most items
    are not begun (`capped`).

    Raises ValueError for items_max over ITEMS_MAX and rows out of range. O(n log n) and
    sums_of(items) a search; releases the GIL.
    """
    cdef bulk_run run
    cdef int status
    cdef size_t size = blocks.shape[0]
    cdef const int32_t *blocks_at = &blocks[0] if size else NULL
    memset(&run, 0, sizeof(run))
    if items_max > <unsigned int>SUM_ITEMS_MAX:
        raise ValueError(f"a search has at most ITEMS_MAX = {SUM_ITEMS_MAX} items")
    if not 0 <= window_days <= SUM_DAYS_MAX:
        raise ValueError(f"a window has 0 to {SUM_DAYS_MAX} days")
    run.sides[0], run.sides[1] = &left.c, &right.c
    run.window_days, run.items_max = window_days, items_max
    with nogil:
        status = bulk_search(&run, blocks_at, size)
    heads, members = list_array(&run.heads), list_array(&run.members)
    if status == BULK_NO_MEMORY:
        raise MemoryError
    if status != BULK_OK:
        raise ValueError("blocks refer to rows that there are not")
    return heads.reshape(-1, BULK_HEAD), members
