"""Compiled side of the matcher: normal forms, items, the join, and the tiers on blocks.

The C stands in _keys.h (forms and items), _join.h (equal keys) and _resolve.h (tiers); here is only
what Python needs to call it. Every kernel runs without the GIL. reference_keys.py is the plain twin
of the forms.
"""

import numpy as np

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from reassoc.core._columns cimport table_free, take_columns, text_ref

TRACE_BYTES_MAX = TRACE_BYTES_MAX_C
PAYER_BYTES_MAX = PAYER_BYTES_MAX_C
PARTNER_SEVERAL = PARTNER_SEVERAL_C
USABLE_TRACE = ITEM_TRACE
USABLE_PAYER = ITEM_PAYER
ROWS_MAX = 2**31 - 2
"""Rows of a side: row numbers are int32."""


cdef object check(int status):
    if status == KEYS_NO_MEMORY:
        raise MemoryError
    if status == KEYS_OUT_OF_SOURCE:
        raise ValueError("a text column refers to bytes outside of its source")
    if status == KEYS_TOO_MUCH_TEXT:
        raise OverflowError("traces that do not fit into their items may have at most 4 GiB in all")


cdef object check_rows(size_t have, size_t want):
    if have != want:
        raise ValueError(f"columns have different lengths: {have} and {want}")


cdef list_array(int32_list *values):
    """Copy a list to an array and free it."""
    out = np.empty(values.count, np.int32)
    cdef int32_t[::1] view = out
    if values.count:
        memcpy(&view[0], values.values, values.count * sizeof(int32_t))
    list_free(values)
    return out


cdef inline const uint8_t *bytes_at(const uint8_t[::1] view) noexcept nogil:
    return &view[0] if view.shape[0] else NULL


cdef inline const text_ref *refs_at(const uint32_t[:, ::1] refs) noexcept nogil:
    return <const text_ref *>&refs[0, 0] if refs.shape[0] else NULL


@cython.final
cdef class Affixes:
    """Prefixes and suffixes that N4 takes off, in numbered sets; set 0 is empty.

    sets : list of (prefixes, suffixes), each a list of bytes in N2 form, in the order in which they
        are tried; `#` stands for any digit
    """

    cdef bytes text
    cdef int32_t[:, ::1] affixes
    cdef int32_t[::1] starts
    cdef affix_sets c

    def __init__(self, sets):
        rows, starts, text = [], [0, 0], b""
        for prefixes, suffixes in sets:
            for is_suffix, patterns in enumerate((prefixes, suffixes)):
                for pattern in patterns:
                    rows.append((is_suffix, len(text), len(pattern)))
                    text += pattern
            starts.append(len(rows))
        self.text = text
        self.affixes = np.array(rows, np.int32).reshape(-1, 3)
        self.starts = np.array(starts, np.int32)
        self.c.affixes = <const affix *>&self.affixes[0, 0] if rows else NULL
        self.c.text = <const uint8_t *>PyBytes_AS_STRING(self.text)
        self.c.set_starts = &self.starts[0]


def trace_forms_of(const uint8_t[::1] raw not None, Affixes affixes=None, uint32_t affix_set=0):
    """(N1, N2, N3, N4) of one trace as bytes; all empty where it is over TRACE_BYTES_MAX."""
    cdef uint8_t space[512]
    cdef trace_forms *forms = <trace_forms *>space
    cdef trace_shape at
    cdef bytes text
    make_trace_forms(bytes_at(raw), raw.shape[0], forms)
    if affixes is not None:
        strip_affixes(forms, &affixes.c, affix_set)
    at = forms.at
    text = PyBytes_FromStringAndSize(<char *>forms.text, at.n2_at + at.n2_length)
    return (text[:at.n1_length], text[at.n2_at:], text[at.n3_at:],
            text[at.n4_at:at.n4_at + at.n4_length])


def payer_form_of(const uint8_t[::1] raw not None):
    """P1 of one identifier as bytes; empty where it names nobody (only zeros, or too long)."""
    cdef uint8_t[64] form
    cdef uint8_t bare
    cdef size_t length = payer_form(bytes_at(raw), raw.shape[0], form, &bare)
    return form[:length]


@cython.final
cdef class PayerTable:
    """Payers by number: equal numbers mean equal P1 forms; 0 is nobody. One table for both sides.

    rules : list of (P1 forms, affix set)    payers that are one (P2), and the affixes of theirs
    ignored : list of P1 forms               payers that are nobody
    affix_set : int                          set of the payers without a rule
    """

    cdef payer_table c
    cdef uint32_t[:, ::1] rules

    def __dealloc__(self):
        payers_free(&self.c)

    def __init__(self, rules=(), ignored=(), uint32_t affix_set=0):
        rows = [(0, 0, affix_set)]
        for forms, rule_set in rules:
            first = len(rows)
            for form in dict.fromkeys(forms):
                self._put_in(form, len(rows))
                rows.append((len(rows), first, rule_set))
        for form in dict.fromkeys(ignored):
            self._put_in(form, len(rows))
            rows.append((0, 0, affix_set))
        self.rules = np.array(rows, np.uint32)
        self.c.rules = <const payer_rule *>&self.rules[0, 0]
        self.c.rule_count = len(rows)
        self.c.affix_set = affix_set

    cdef object _put_in(self, bytes form, uint32_t expected):
        cdef uint32_t number = 0
        if payers_number(&self.c, <const uint8_t *>PyBytes_AS_STRING(form), len(form),
                         &number) != 0:
            raise MemoryError
        if number != expected:
            raise ValueError("a payer stands in two rules")

    def __len__(self):
        return max(self.c.count, 1)

    def number(self, const uint8_t[::1] source not None, const uint32_t[:, ::1] refs not None):
        """uint32[n]: the number of every value of a text column. O(bytes); releases the GIL."""
        cdef size_t rows = refs.shape[0]
        cdef int status
        numbers = np.empty(rows, np.uint32)
        cdef uint32_t[::1] numbers_view = numbers
        if rows:
            with nogil:
                status = number_payers(&self.c, bytes_at(source), source.shape[0], refs_at(refs),
                                       rows, &numbers_view[0])
            check(status)
        return numbers

    def names(self):
        """P1 forms by number, as bytes; b"" for nobody."""
        return [b""] + [payer_name(&self.c, i)[:self.c.lengths[i]] for i in range(1, len(self))]


@cython.final
cdef class Items:
    """One side of a matching: a 64-byte item and a key for each row (see _keys.h).

    source, refs : text column of the traces  payer_source, payer_refs : of the payers
    payers : numbers and rules of payers; new ones are added
    cents : int64[n], dates : int32[n], digests : uint64[n], offsets : int64[n]
    holds : int64[n]                         reasons that keep an item out of automatic matching

    keys : uint64[n]      hash of N4 and P2
    usable : uint8[n]     USABLE_TRACE (N3 is not empty) and USABLE_PAYER

    O(bytes of traces and payers); releases the GIL. 72 bytes a row.
    """

    cdef item_set c
    cdef object memory
    cdef readonly object keys, usable
    cdef readonly object digests, offsets, holds

    def __dealloc__(self):
        free(self.c.arena)

    def __init__(self, const uint8_t[::1] source not None, const uint32_t[:, ::1] refs not None,
                 const uint8_t[::1] payer_source not None,
                 const uint32_t[:, ::1] payer_refs not None, PayerTable payers not None,
                 Affixes affixes not None, const int64_t[::1] cents not None,
                 const int32_t[::1] dates not None, const uint64_t[::1] digests not None,
                 const int64_t[::1] offsets not None, const int64_t[::1] holds not None):
        cdef item_columns columns
        cdef size_t rows = refs.shape[0]
        cdef uintptr_t address
        cdef uint64_t[::1] keys_view
        cdef uint8_t[::1] usable_view
        cdef int status
        for length in (payer_refs.shape[0], cents.shape[0], dates.shape[0], digests.shape[0],
                       offsets.shape[0], holds.shape[0]):
            check_rows(length, rows)
        if rows > ROWS_MAX:
            raise OverflowError(f"a side has at most ROWS_MAX = {ROWS_MAX} rows")
        self.memory = np.empty(rows * sizeof(match_item) + 64, np.uint8)
        address = self.memory.ctypes.data
        self.c.items = <match_item *>((address + 63) & ~<uintptr_t>63)
        self.keys, self.usable = np.empty(rows, np.uint64), np.empty(rows, np.uint8)
        self.c.rows = rows
        self.digests, self.offsets = np.asarray(digests), np.asarray(offsets)
        self.holds = np.asarray(holds)
        if rows == 0:
            return
        keys_view, usable_view = self.keys, self.usable
        self.c.keys, self.c.usable = &keys_view[0], &usable_view[0]
        columns.source, columns.source_size = bytes_at(source), source.shape[0]
        columns.traces = refs_at(refs)
        columns.payer_source = bytes_at(payer_source)
        columns.payer_source_size = payer_source.shape[0]
        columns.payer_ids = refs_at(payer_refs)
        columns.affixes = affixes.c
        columns.cents, columns.dates = &cents[0], &dates[0]
        columns.digests, columns.offsets = &digests[0], &offsets[0]
        columns.holds = &holds[0]
        with nogil:
            status = fill_items(&self.c, &columns, &payers.c)
        check(status)

    def __len__(self):
        return self.c.rows

    def trace_hashes(self, const int32_t[::1] rows not None):
        """uint64[k]: a hash of N1 for some rows."""
        out = np.empty(rows.shape[0], np.uint64)
        cdef uint64_t[::1] out_view = out
        cdef const match_item *item
        cdef Py_ssize_t i
        for i in range(rows.shape[0]):
            item = &self.c.items[rows[i]]
            out_view[i] = hash_bytes(item_text(&self.c, item), item.at.n1_length, 0)
        return out

    def payers(self, const int32_t[::1] rows not None):
        """uint32[k]: the payer number (P1) of some rows."""
        out = np.empty(rows.shape[0], np.uint32)
        cdef uint32_t[::1] out_view = out
        cdef Py_ssize_t i
        for i in range(rows.shape[0]):
            out_view[i] = self.c.items[rows[i]].payer
        return out

    def same_trace(self, const int32_t[::1] rows not None, const int32_t[::1] others not None):
        """bool[k]: whether N1 of row and other are the same bytes."""
        out = np.empty(rows.shape[0], np.bool_)
        cdef uint8_t[::1] out_view = out.view(np.uint8)
        cdef Py_ssize_t i
        check_rows(rows.shape[0], others.shape[0])
        for i in range(rows.shape[0]):
            out_view[i] = same_n1(&self.c, &self.c.items[rows[i]], &self.c,
                                  &self.c.items[others[i]])
        return out


def join(const uint64_t[::1] left not None, const uint64_t[::1] right not None,
         const uint8_t[::1] left_on=None, const uint8_t[::1] right_on=None):
    """Find equal keys.

    left, right : uint64[n], uint64[m]
    left_on, right_on : uint8[n], uint8[m]   rows where it is 0 are left out
    -> int32[n] : the right row of a key that stands once on each side; -1 where the right side does
                  not have the key; PARTNER_SEVERAL where it stands more often
    -> int32[k] : the blocks of the latter, one after the other: count of left rows, count of right
                  rows, the left rows, the right rows

    O(n + m), 16 bytes a row; releases the GIL.
    """
    cdef int32_list blocks
    cdef size_t left_rows = left.shape[0], right_rows = right.shape[0]
    cdef const uint8_t *left_mask = NULL
    cdef const uint8_t *right_mask = NULL
    cdef const uint64_t *left_keys = &left[0] if left_rows else NULL
    cdef const uint64_t *right_keys = &right[0] if right_rows else NULL
    cdef int failed
    memset(&blocks, 0, sizeof(blocks))
    partner = np.empty(left_rows, np.int32)
    cdef int32_t[::1] partner_view = partner
    cdef int32_t *partner_at = &partner_view[0] if left_rows else NULL
    if left_on is not None:
        check_rows(left_on.shape[0], left_rows)
        left_mask = bytes_at(left_on)
    if right_on is not None:
        check_rows(right_on.shape[0], right_rows)
        right_mask = bytes_at(right_on)
    with nogil:
        failed = join_keys(left_keys, left_mask, left_rows, right_keys, right_mask, right_rows,
                           partner_at, &blocks)
    found = list_array(&blocks)
    if failed:
        raise MemoryError
    return partner, found


def repeated(const uint64_t[::1] keys not None, const uint8_t[::1] on=None):
    """int32[k]: the rows whose key stands more than once, those of one key side by side.

    O(n); releases the GIL.
    """
    cdef int32_list rows
    cdef int failed
    cdef size_t count = keys.shape[0]
    cdef const uint8_t *mask = NULL
    cdef const uint64_t *keys_at = &keys[0] if count else NULL
    memset(&rows, 0, sizeof(rows))
    if on is not None:
        check_rows(on.shape[0], count)
        mask = bytes_at(on)
    with nogil:
        failed = repeated_keys(keys_at, mask, count, &rows)
    found = list_array(&rows)
    if failed:
        raise MemoryError
    return found


@cython.final
cdef class Matching:
    """Tiers T1, T2, T3 and T5 over two sides, and the pairs found so far.

    left, right : remittances, payments
    auto_tiers : bit k set where tier k may match by itself
    left_reason, right_reason : int64[n], int64[m]   statuses.Reason of items; written into
    """

    cdef matching m
    cdef pair_table pairs
    cdef Items left, right
    cdef const int64_t[::1] left_hold, right_hold
    cdef const uint64_t[::1] left_digests, right_digests
    cdef const int64_t[::1] left_offsets, right_offsets
    cdef int64_t[::1] left_reason, right_reason

    def __dealloc__(self):
        table_free(&self.pairs)

    def __init__(self, Items left not None, Items right not None, int32_t window_days,
                 uint32_t auto_tiers, int64_t[::1] left_reason not None,
                 int64_t[::1] right_reason not None):
        check_rows(left_reason.shape[0], left.c.rows)
        check_rows(right_reason.shape[0], right.c.rows)
        self.left, self.right = left, right
        self.left_hold, self.right_hold = left.holds, right.holds
        self.left_reason, self.right_reason = left_reason, right_reason
        self.left_digests, self.right_digests = left.digests, right.digests
        self.left_offsets, self.right_offsets = left.offsets, right.offsets
        self.m.window_days, self.m.auto_tiers = window_days, auto_tiers
        self.m.left, self.m.right = &left.c, &right.c
        self.m.pairs = &self.pairs
        if left.c.rows:
            self.m.left_hold, self.m.left_reason = &self.left_hold[0], &self.left_reason[0]
            self.m.left_digest, self.m.left_offset = &self.left_digests[0], &self.left_offsets[0]
        if right.c.rows:
            self.m.right_hold, self.m.right_reason = &self.right_hold[0], &self.right_reason[0]
            self.m.right_digest = &self.right_digests[0]
            self.m.right_offset = &self.right_offsets[0]

    def put(self, const int32_t[::1] left not None, const int32_t[::1] right not None,
            const uint8_t[::1] status not None, const uint8_t[::1] tier not None,
            const int64_t[::1] reason not None, const uint32_t[::1] rivals not None):
        """Add pairs that the caller decided, one row each; what agrees is looked up. O(k)."""
        cdef carried_pairs pairs
        cdef int failed
        for length in (right.shape[0], status.shape[0], tier.shape[0], reason.shape[0],
                       rivals.shape[0]):
            check_rows(length, left.shape[0])
        if left.shape[0] == 0:
            return
        pairs.left, pairs.right = &left[0], &right[0]
        pairs.status, pairs.tier = &status[0], &tier[0]
        pairs.reason, pairs.rivals = &reason[0], &rivals[0]
        pairs.count = left.shape[0]
        with nogil:
            failed = put_all_carried(&self.m, &pairs)
        if failed:
            raise MemoryError

    def settle(self, const int32_t[::1] partner not None, const int32_t[::1] blocks not None,
               const uint64_t[::1] payee_tin not None, const uint64_t[::1] payee_entity not None):
        """Settle what `join(left.keys, right.keys)` found.

        payee_tin, payee_entity : uint64[n]   hashes, wanted for the remittances in `blocks` only;
                                              0 is unknown

        O(n + pairs); a block is looked at pair by pair up to BLOCK_EDGES_MAX. Releases the GIL.
        """
        cdef int failed
        for length in (partner.shape[0], payee_tin.shape[0], payee_entity.shape[0]):
            check_rows(length, self.left.c.rows)
        if self.left.c.rows == 0:
            return
        self.m.payee_tin, self.m.payee_entity = &payee_tin[0], &payee_entity[0]
        with nogil:
            failed = settle_couples(&self.m, &partner[0])
            if failed == 0 and blocks.shape[0]:
                failed = settle_blocks(&self.m, &blocks[0], blocks.shape[0])
        if failed:
            raise MemoryError

    def put_outcomes(self, const uint8_t[::1] left_valid not None,
                     const uint8_t[::1] right_valid not None, const uint8_t[::1] settled not None,
                     const uint8_t[::1] left_outcomes not None,
                     const uint8_t[::1] right_outcomes not None, uint8_t[::1] left_status not None,
                     uint8_t[::1] right_status not None, uint8_t[::1] release not None):
        """Say what the pairs mean for their items, before take_pairs.

        left_valid, right_valid, settled : of remittances, payments, payments
        left_outcomes, right_outcomes : uint8[4]     status of an item by MatchStatus of its pairs
        left_status, right_status, release : written into; so are the reasons of pairs and items
        -> uint8[k] : whether the payment of each pair has settled

        O(pairs); releases the GIL.
        """
        cdef outcome_columns columns
        for length in (left_valid.shape[0], left_status.shape[0], release.shape[0]):
            check_rows(length, self.left.c.rows)
        for length in (right_valid.shape[0], settled.shape[0], right_status.shape[0]):
            check_rows(length, self.right.c.rows)
        check_rows(left_outcomes.shape[0], 4)
        check_rows(right_outcomes.shape[0], 4)
        funded = np.empty(self.pairs.rows, np.uint8)
        cdef uint8_t[::1] funded_view = funded
        if self.pairs.rows:
            columns.left_valid, columns.right_valid = &left_valid[0], &right_valid[0]
            columns.settled = &settled[0]
            columns.left_outcomes, columns.right_outcomes = &left_outcomes[0], &right_outcomes[0]
            columns.left_status, columns.right_status = &left_status[0], &right_status[0]
            columns.release, columns.funded = &release[0], &funded_view[0]
            with nogil:
                put_outcomes(&self.m, &columns)
        return funded

    def take_pairs(self):
        """The pairs, as columns for build_table (PAIR_COLUMNS of _resolve.h), in any order."""
        return take_columns(&self.pairs, PAIR_SPECS, PAIR_SPEC_COUNT)


def gather(const uint8_t[::1] source not None, const uint32_t[:, ::1] refs not None):
    """The values of a text column one after the other: (bytes, uint32[n, 2]).

    O(total length); releases the GIL.
    """
    cdef size_t rows = refs.shape[0]
    cdef int64_t total = int(np.sum(np.asarray(refs)[:, 1], dtype=np.int64))
    cdef int status
    if total > 0xFFFFFFFF:
        raise OverflowError("a text column holds at most 4 GiB of text")
    cdef bytes out = PyBytes_FromStringAndSize(NULL, total)
    cdef uint8_t *out_at = <uint8_t *>PyBytes_AS_STRING(out)
    out_refs = np.empty((rows, 2), np.uint32)
    cdef uint32_t[:, ::1] out_refs_view = out_refs
    if rows:
        with nogil:
            status = gather_text(bytes_at(source), source.shape[0], refs_at(refs), rows, out_at,
                                 <text_ref *>&out_refs_view[0, 0])
        check(status)
    return out, out_refs


def text_hashes(const uint8_t[::1] source not None, const uint32_t[:, ::1] refs not None):
    """uint64[n]: a hash of each value's letters and digits, case folded; 0 for none. O(bytes)."""
    cdef size_t rows = refs.shape[0]
    cdef int status
    out = np.empty(rows, np.uint64)
    cdef uint64_t[::1] out_view = out
    if rows:
        with nogil:
            status = hash_texts(bytes_at(source), source.shape[0], refs_at(refs), rows,
                                &out_view[0])
        check(status)
    return out


def text_equals(const uint8_t[::1] source not None, const uint32_t[:, ::1] refs not None,
                bytes wanted not None):
    """bool[n]: whether each value's letters and digits, case folded, are `wanted`. O(bytes)."""
    cdef size_t rows = refs.shape[0], wanted_length = len(wanted)
    cdef const uint8_t *wanted_at = <const uint8_t *>PyBytes_AS_STRING(wanted)
    cdef int status
    out = np.empty(rows, np.bool_)
    cdef uint8_t[::1] out_view = out.view(np.uint8)
    if rows:
        with nogil:
            status = texts_equal(bytes_at(source), source.shape[0], refs_at(refs), rows, wanted_at,
                                 wanted_length, &out_view[0])
        check(status)
    return out
