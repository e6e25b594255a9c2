"""Compiled side of the tiers that share a trace: T1, T2, T3, T5, and sums of one trace (T8, T9).

The C stands in _resolve.h (tiers), _roots.h and _describe.h; here is only what Python needs to
call it. Kernels run without the GIL.
"""

import numpy as np

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from reassoc.core._columns cimport column_spec, table_free, take_columns, text_ref
from reassoc.core._keys cimport Items, check_rows, item_set

TIERS = TIERS_C
"""Length of `to_review`: one number for each tier."""


cdef extern from "_resolve.h" nogil:
    int TIERS_C "TIERS"
    const column_spec *EDGE_SPECS
    size_t EDGE_SPEC_COUNT

    ctypedef struct edge_table:
        size_t rows

    ctypedef struct matching:
        const item_set *left
        const item_set *right
        const uint32_t *left_payee
        const uint32_t *right_payee
        const uint32_t *left_scope
        const uint32_t *right_scope
        const uint64_t *payee_tin
        const uint64_t *payee_entity
        const uint64_t *left_digest
        const uint64_t *right_digest
        const int64_t *left_offset
        const int64_t *right_offset
        int32_t window_days
        int32_t sums_only
        int64_t to_review[16]
        const uint64_t *vetoed
        size_t vetoed_count
        int64_t *left_reason
        int64_t *right_reason
        edge_table *edges

    void tiers_of(const matching *m, const int32_t *left, const int32_t *right, size_t count,
                  uint8_t *out) noexcept
    int settle_couples(const matching *m, const int32_t *partner, size_t more) noexcept
    int settle_blocks(const matching *m, const int32_t *blocks, size_t size) noexcept


cdef extern from "_describe.h" nogil:
    ctypedef struct pair_words:
        uint16_t *agreed
        uint16_t *differed
        uint16_t *rewrites
        int32_t *days_apart
        uint64_t *match_ids

    void describe_pairs(const matching *m, const int32_t *left, const int32_t *right, size_t count,
                        const pair_words *out) noexcept


cdef extern from "_roots.h" nogil:
    size_t ITEM_TEXT_BYTES
    size_t cut_parts(const item_set *items, uint8_t *out, text_ref *refs) noexcept


def cut_traces(Items items not None):
    """Traces (N1) less their numbered parts: `12345678` for `12345678-01`.

    -> (bytes, uint32[n, 2]) a text column, and how many rows had a numbered part

    O(n + bytes); releases the GIL.
    """
    cdef size_t rows = items.c.rows, found = 0
    cdef uint32_t[:, ::1] refs_view
    refs = np.zeros((rows, 2), np.uint32)
    if rows == 0:
        return b"", refs, 0
    refs_view = refs
    # N1 lies in an item of 64 bytes or, where it is longer, in the arena.
    cdef bytearray text = bytearray(<Py_ssize_t>(rows * ITEM_TEXT_BYTES + items.c.arena_size))
    cdef uint8_t *out = <uint8_t *>PyByteArray_AS_STRING(text)
    with nogil:
        found = cut_parts(&items.c, out, <text_ref *>&refs_view[0, 0])
    return bytes(text), refs, found


@cython.final
cdef class Matching:
    """Two sides as the tiers see them.

    left, right : remittances, payments
    left_payee, right_payee : uint32[n], uint32[m]   number of the payee, 0 for unknown
    left_scope, right_scope : uint32[n], uint32[m]   only items of equal scope are compared
    """

    cdef matching m
    cdef edge_table edges
    cdef Items left, right
    cdef const uint32_t[::1] left_payee, right_payee, left_scope, right_scope
    cdef const uint64_t[::1] left_digests, right_digests
    cdef const int64_t[::1] left_offsets, right_offsets

    def __dealloc__(self):
        table_free(&self.edges)

    def __init__(self, Items left not None, Items right not None,
                 const uint32_t[::1] left_payee not None, const uint32_t[::1] right_payee not None,
                 const uint32_t[::1] left_scope not None, const uint32_t[::1] right_scope not None):
        for length in (left_payee.shape[0], left_scope.shape[0]):
            check_rows(length, left.c.rows)
        for length in (right_payee.shape[0], right_scope.shape[0]):
            check_rows(length, right.c.rows)
        self.left, self.right = left, right
        self.left_payee, self.right_payee = left_payee, right_payee
        self.left_scope, self.right_scope = left_scope, right_scope
        self.left_digests, self.right_digests = left.digests, right.digests
        self.left_offsets, self.right_offsets = left.offsets, right.offsets
        self.m.left, self.m.right = &left.c, &right.c
        self.m.edges = &self.edges
        if left.c.rows:
            self.m.left_payee, self.m.left_scope = &self.left_payee[0], &self.left_scope[0]
            self.m.left_digest, self.m.left_offset = &self.left_digests[0], &self.left_offsets[0]
        if right.c.rows:
            self.m.right_payee, self.m.right_scope = &self.right_payee[0], &self.right_scope[0]
            self.m.right_digest = &self.right_digests[0]
            self.m.right_offset = &self.right_offsets[0]

    def settle(self, const int32_t[::1] partner not None, const int32_t[::1] blocks not None,
               const uint64_t[::1] payee_tin not None, const uint64_t[::1] payee_entity not None,
               int32_t window_days, const int64_t[::1] to_review not None, bint sums_only,
               int64_t[::1] left_reason not None, int64_t[::1] right_reason not None,
               const uint64_t[::1] vetoed not None):
        """Settle what `join(left.keys, right.keys)` found.

        payee_tin, payee_entity : uint64[n]   hashes, wanted for the remittances in `blocks` only;
                                              0 is unknown
        window_days : days that the dates of a pair may be apart
        to_review : int64[TIERS]   why a tier may not match by itself, 0 where it may
        sums_only : look only for sums (T8, T9): the traces are roots of the items' own
        left_reason, right_reason : statuses.Reason of items; written into
        vetoed : uint64[v]   pairs that are not matched by themselves, left row << 32 | right row,
                             ascending
        -> columns for build_table (EDGE_COLUMNS of _resolve.h), in any order

        O(n + edges); a block is looked at pair by pair up to BLOCK_EDGES_MAX. Releases the GIL.
        """
        cdef int failed = 0
        for length in (partner.shape[0], payee_tin.shape[0], payee_entity.shape[0],
                       left_reason.shape[0]):
            check_rows(length, self.left.c.rows)
        check_rows(right_reason.shape[0], self.right.c.rows)
        check_rows(to_review.shape[0], TIERS_C)
        for i in range(TIERS_C):
            self.m.to_review[i] = to_review[i]
        self.m.window_days, self.m.sums_only = window_days, sums_only
        self.m.vetoed, self.m.vetoed_count = NULL, vetoed.shape[0]
        if vetoed.shape[0]:
            self.m.vetoed = &vetoed[0]
        if self.left.c.rows and self.right.c.rows:
            self.m.payee_tin, self.m.payee_entity = &payee_tin[0], &payee_entity[0]
            self.m.left_reason, self.m.right_reason = &left_reason[0], &right_reason[0]
            with nogil:
                failed = settle_couples(&self.m, &partner[0], blocks.shape[0])
                if failed == 0 and blocks.shape[0]:
                    failed = settle_blocks(&self.m, &blocks[0], blocks.shape[0])
        if failed:
            raise MemoryError
        return take_columns(&self.edges, EDGE_SPECS, EDGE_SPEC_COUNT)

    def tiers(self, const int32_t[::1] left not None, const int32_t[::1] right not None,
              int32_t window_days):
        """uint8[k]: the tier that the fields of each pair allow, among T1, T2, T3 and T5; 0 or
        another number where they are no pair, or where payees contradict.

        O(k); releases the GIL.
        """
        cdef size_t count = left.shape[0]
        cdef uint8_t[::1] out_view
        check_rows(right.shape[0], count)
        out = np.zeros(count, np.uint8)
        out_view = out
        self.m.window_days = window_days
        if count:
            with nogil:
                tiers_of(&self.m, &left[0], &right[0], count, &out_view[0])
        return out

    def describe(self, const int32_t[::1] left not None, const int32_t[::1] right not None,
                 uint64_t[::1] match_ids not None):
        """What pairs agree on: (agreed, differed, rewrites: uint16[k], days_apart: int32[k]).

        match_ids : uint64[k]   where it is 0 it is filled from the ids of both items

        O(k); releases the GIL.
        """
        cdef size_t count = left.shape[0]
        cdef pair_words words
        check_rows(right.shape[0], count)
        check_rows(match_ids.shape[0], count)
        agreed, differed, rewrites = (np.empty(count, np.uint16) for _ in range(3))
        days_apart = np.empty(count, np.int32)
        cdef uint16_t[::1] agreed_view = agreed, differed_view = differed
        cdef uint16_t[::1] rewrites_view = rewrites
        cdef int32_t[::1] days_view = days_apart
        if count:
            words.agreed, words.differed = &agreed_view[0], &differed_view[0]
            words.rewrites, words.days_apart = &rewrites_view[0], &days_view[0]
            words.match_ids = &match_ids[0]
            with nogil:
                describe_pairs(&self.m, &left[0], &right[0], count, &words)
        return agreed, differed, rewrites, days_apart
