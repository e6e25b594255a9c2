"""Compiled side of the matcher: normal forms, items and the join.

The C stands in _keys.h (forms and items), _join.h (equal keys) and _texts.h (equal texts); here is
only what Python needs to call it. Every kernel runs without the GIL. reference_keys.py is the plain
twin of the forms.
"""

import numpy as np

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from reassoc.core._columns cimport text_ref

TRACE_BYTES_MAX = TRACE_BYTES_MAX_C
PAYER_BYTES_MAX = PAYER_BYTES_MAX_C
COMPANY_NAME_BYTES = COMPANY_NAME_BYTES_C
BY_ID, BY_NAME, BY_COMPANY, BY_ACCOUNT = PAYER_ID, PAYER_NAME, PAYER_COMPANY, PAYER_ACCOUNT
"""What an item says of its payer; see payer_kind in _keys.h."""
PAYER_STEPS_MAX = 8
PARTNER_SEVERAL = PARTNER_SEVERAL_C
USABLE_TRACE = ITEM_TRACE
USABLE_PAYER = ITEM_PAYER
cdef uint64_t MIX_FACTOR = 0x9E3779B97F4A7C15
ROWS_MAX = 2**31 - 2
"""Rows of a side: row numbers are int32."""
NUMBERED_COLUMNS_MAX = 24
"""Columns whose rows `row_numbers` tells apart."""


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
    """Payers by number: equal numbers mean equal forms; 0 is nobody. One table for both sides.

    rules : list of (forms, affix set)    payers that are one (P2), and the affixes of theirs
    ignored : list of P1 forms            payers that are nobody
    affix_set : int                       set of the payers without a rule
    dated : list of (form, first day, last day, rule)   payers that belong to a rule on some days
        only, as places in `rules`; the days of one form do not overlap. On other days each is a
        payer by itself; where a rule has no other payers, its first gives it its number, and so
        stays one with it

    Forms are P1 of identifiers, or names and accounts with the mark of their kind as first byte.
    """

    cdef payer_table c
    cdef uint32_t[:, ::1] rules
    cdef uint32_t[::1] span_starts
    cdef object spans

    def __dealloc__(self):
        payers_free(&self.c)

    def __init__(self, rules=(), ignored=(), uint32_t affix_set=0, dated=()):
        rows = [(0, 0, affix_set)]
        groups = []
        for forms, rule_set in rules:
            first = len(rows)
            for form in dict.fromkeys(forms):
                self._put_in(form, len(rows))
                rows.append((len(rows), first, rule_set))
            groups.append(first if forms else 0)
        for form in dict.fromkeys(ignored):
            self._put_in(form, len(rows))
            rows.append((0, 0, affix_set))
        self._put_dated(rows, groups, [rule_set for _, rule_set in rules], dated)
        self.rules = np.array(rows, np.uint32)
        self.c.rules = <const payer_rule *>&self.rules[0, 0]
        self.c.rule_count = len(rows)
        self.c.affix_set = affix_set

    cdef object _put_dated(self, list rows, list groups, list sets, object dated):
        cdef uint32_t[:, ::1] spans_view
        held = {}
        for form, start, stop, rule in dated:
            held.setdefault(form, []).append((start, stop, rule))
        first = len(rows)
        for number, form in enumerate(held, first):
            self._put_in(form, number)
            rows.append((number, number, PAYER_DATED))
        numbers = {form: number for number, form in enumerate(held, first)}
        self._name_groups(rows, groups, [(numbers[form], rule) for form, _, _, rule in dated])
        starts, spans = [0] * (first + 1), []
        for each in held.values():
            spans += [(start, stop, groups[rule], sets[rule]) for start, stop, rule in each]
            starts.append(len(spans))
        starts += [len(spans)] * (len(rows) + 1 - len(starts))
        self.span_starts = np.array(starts, np.uint32)
        self.spans = np.array(spans, np.int64).reshape(-1, 4).astype(np.uint32)
        self.c.span_starts = &self.span_starts[0]
        if spans:
            spans_view = self.spans
            self.c.spans = <const payer_span *>&spans_view[0, 0]

    cdef object _name_groups(self, list rows, list groups, list members):
        """A rule whose payers are all dated has the number of its first that names no other."""
        taken = set()
        for number, rule in members:
            if not groups[rule] and number not in taken:
                groups[rule] = number
                taken.add(number)
        for _, rule in members:
            if not groups[rule]:
                groups[rule] = len(rows)
                self._put_in(b"\x04%d" % rule, len(rows))
                rows.append((0, 0, 0))

    cdef object _put_in(self, bytes form, uint32_t expected):
        cdef uint32_t number = 0
        if not 0 < len(form) <= PAYER_FORM_BYTES_MAX:
            raise ValueError("a payer without a form, or with one that is too long")
        if payers_number(&self.c, <const uint8_t *>PyBytes_AS_STRING(form), len(form),
                         &number) != 0:
            raise MemoryError
        if number != expected:
            raise ValueError("a payer stands in two rules")

    def copy(self):
        """The same payers and rules in a table that grows by itself. O(payers), without a look at
        any of them."""
        cdef PayerTable other = PayerTable.__new__(PayerTable)
        other.rules, other.span_starts, other.spans = self.rules, self.span_starts, self.spans
        if payers_copy(&self.c, &other.c) != 0:
            raise MemoryError
        return other

    def __len__(self):
        return max(self.c.count, 1)

    def number(self, const uint8_t[::1] source not None, const uint32_t[:, ::1] refs not None):
        """uint32[n]: the number of every identifier of a text column. O(bytes); releases the GIL.
        """
        return self._numbers(source, refs, None)[0]

    def groups(self, const uint8_t[::1] source not None, const uint32_t[:, ::1] refs not None,
               const int32_t[::1] dates=None):
        """uint32[n]: the group (P2) of every identifier of a text column, on the day of its row.

        dates : int32[n] or None   days since 1970-01-01, DATE_NONE for none

        O(bytes); releases the GIL.
        """
        return self._numbers(source, refs, dates)[1]

    cdef tuple _numbers(self, const uint8_t[::1] source, const uint32_t[:, ::1] refs,
                        const int32_t[::1] dates):
        cdef size_t rows = refs.shape[0]
        cdef int status
        cdef const int32_t *dates_at = NULL
        numbers, groups = np.empty(rows, np.uint32), np.empty(rows, np.uint32)
        cdef uint32_t[::1] numbers_view = numbers, groups_view = groups
        if dates is not None:
            check_rows(dates.shape[0], rows)
        if rows:
            if dates is not None:
                dates_at = &dates[0]
            with nogil:
                status = number_payers(&self.c, bytes_at(source), source.shape[0], refs_at(refs),
                                       rows, dates_at, &numbers_view[0], &groups_view[0])
            check(status)
        return numbers, groups

    def names(self):
        """Forms by number, as bytes; b"" for nobody."""
        return [b""] + [payer_name(&self.c, i)[:self.c.lengths[i]] for i in range(1, len(self))]


cdef object set_steps(payer_step *out, object steps, size_t rows):
    """The steps as C takes them; the caller keeps their columns alive."""
    cdef const uint8_t[::1] source
    cdef const uint32_t[:, ::1] refs
    if len(steps) > PAYER_STEPS_MAX:
        raise ValueError(f"at most PAYER_STEPS_MAX = {PAYER_STEPS_MAX} steps")
    for place, (kind, listed_only, step_source, step_refs) in enumerate(steps):
        source, refs = step_source, step_refs
        check_rows(refs.shape[0], rows)
        out[<size_t>place].source = bytes_at(source)
        out[<size_t>place].source_size = source.shape[0]
        out[<size_t>place].refs = refs_at(refs)
        out[<size_t>place].kind = kind
        out[<size_t>place].listed_only = listed_only


@cython.final
cdef class Items:
    """One side of a matching: a 64-byte item and a key for each row (see _keys.h).

    source, refs : text column of the traces  payer_source, payer_refs : of the payers
    payers : numbers and rules of payers; new ones are added
    steps : list of (kind, listed only, source, refs)   text columns that say who pays where the
        identifier names nobody, in the order in which they are tried; at most PAYER_STEPS_MAX.
        BY_ID is an identifier, with `listed only` one that a rule has; the other kinds count only
        where they are listed
    cents : int64[n], dates : int32[n], digests : uint64[n], offsets : int64[n]
    holds : int64[n]                         reasons that keep an item out of automatic matching

    keys : uint64[n]      hash of N4 and P2
    usable : uint8[n]     USABLE_TRACE (N3 is not empty) and USABLE_PAYER
    payer, payer_group : uint32[n]   P1 and P2 numbers, 0 for unknown
    payer_table : PayerTable         as given

    O(bytes of traces and payers); releases the GIL. 81 bytes a row.
    """

    def __dealloc__(self):
        free(self.c.arena)

    def __init__(self, const uint8_t[::1] source not None, const uint32_t[:, ::1] refs not None,
                 const uint8_t[::1] payer_source not None,
                 const uint32_t[:, ::1] payer_refs not None, PayerTable payers not None,
                 Affixes affixes not None, const int64_t[::1] cents not None,
                 const int32_t[::1] dates not None, const uint64_t[::1] digests not None,
                 const int64_t[::1] offsets not None, const int64_t[::1] holds not None,
                 steps=()):
        cdef item_columns columns
        cdef payer_step[8] steps_at
        cdef size_t rows = refs.shape[0]
        cdef uintptr_t address
        cdef uint64_t[::1] keys_view
        cdef uint8_t[::1] usable_view
        cdef uint32_t[::1] payer_view, group_view
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
        self.payer, self.payer_group = np.empty(rows, np.uint32), np.empty(rows, np.uint32)
        self.payer_table = payers
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
        payer_view, group_view = self.payer, self.payer_group
        self.c.payers, self.c.payer_groups = &payer_view[0], &group_view[0]
        columns.steps, columns.step_count = steps_at, len(steps)
        set_steps(steps_at, steps, rows)
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

    def stable_keys(self):
        """uint64[n]: a hash of the bytes of N4 and of the first form of the payer's group (P2):
        equal for equal ones under the same policy and directory, in every call and process; 0 where
        trace or payer is unusable, and never else. O(bytes of both); releases the GIL.
        """
        cdef PayerTable payers = self.payer_table
        cdef uint64_t[::1] out_view
        out = np.zeros(self.c.rows, np.uint64)
        if self.c.rows:
            out_view = out
            with nogil:
                stable_keys(&self.c, &payers.c, &out_view[0])
        return out

    def hold(self, const int32_t[::1] rows not None):
        """Keep some rows out of automatic matching from now on. O(k)."""
        cdef Py_ssize_t i
        for i in range(rows.shape[0]):
            if not 0 <= rows[i] < <int32_t>self.c.rows:
                raise IndexError("a row that is not there")
            self.c.items[rows[i]].flags |= <uint8_t>ITEM_HELD

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


def gather(const uint8_t[::1] source not None, const uint32_t[:, ::1] refs not None):
    """The values of a text column one after the other: (bytes, uint32[n, 2]). Neighbours that refer
    to the same bytes, as entries of one batch do to its name, share them.

    O(total length); releases the GIL.
    """
    cdef size_t rows = refs.shape[0]
    cdef uint64_t total = gathered_bytes(refs_at(refs), rows)
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


def mix(*columns):
    """uint64[n]: a hash of several columns of whole numbers; equal rows have equal hashes. O(n)."""
    cdef size_t rows = len(columns[0])
    cdef size_t row
    cdef uint64_t value
    cdef const int64_t[:] column_view
    out = np.zeros(rows, np.uint64)
    cdef uint64_t[::1] mixed = out
    for column in columns:
        column_view = column.astype(np.int64, copy=False)
        check_rows(column_view.shape[0], rows)
        with nogil:
            for row in range(rows):
                value = (mixed[row] ^ <uint64_t>column_view[row]) * MIX_FACTOR
                mixed[row] = value ^ (value >> 29)
    return out


def text_hashes(const uint8_t[::1] source not None, const uint32_t[:, ::1] refs not None, *,
                bint is_number=False):
    """uint64[n]: a hash of each value's letters and digits, case folded; 0 for none. O(bytes).

    is_number : leading zeros say nothing
    """
    cdef size_t rows = refs.shape[0]
    cdef int status
    out = np.empty(rows, np.uint64)
    cdef uint64_t[::1] out_view = out
    if rows:
        with nogil:
            status = hash_texts(bytes_at(source), source.shape[0], refs_at(refs), rows, is_number,
                                &out_view[0])
        check(status)
    return out


def text_numbers(const uint8_t[::1] source not None, const uint32_t[:, ::1] refs not None, *,
                 bint is_number=False):
    """int64[n]: equal numbers for values whose letters and digits are equal, case folded; from 1 on
    in order of first sight, 0 for none.

    is_number : leading zeros say nothing

    O(n + bytes), 32 bytes a row; releases the GIL.
    """
    cdef numbered_values values
    cdef size_t rows = refs.shape[0]
    cdef int status
    hashes = text_hashes(source, refs, is_number=is_number)
    out = np.empty(rows, np.int64)
    cdef const uint64_t[::1] hashes_view = hashes
    cdef int64_t[::1] out_view = out
    if rows > ROWS_MAX:
        raise OverflowError(f"at most ROWS_MAX = {ROWS_MAX} rows can be numbered")
    memset(&values, 0, sizeof(values))
    values.source, values.refs = bytes_at(source), refs_at(refs)
    values.is_number = is_number
    if rows:
        with nogil:
            status = number_values(&values, &hashes_view[0], rows, &out_view[0])
        check(status)
    return out


def row_numbers(columns):
    """int64[n]: equal numbers for rows whose columns are all equal, from 1 on in order of first
    sight.

    columns : list of int64[n]   at least one, at most NUMBERED_COLUMNS_MAX

    O(n), 32 bytes a row; releases the GIL.
    """
    cdef numbered_values values
    cdef const int64_t *places[24]
    cdef const int64_t[::1] view
    cdef size_t rows = len(columns[0]), place
    cdef int status
    if len(columns) > NUMBERED_COLUMNS_MAX or rows > ROWS_MAX:
        raise OverflowError(f"at most NUMBERED_COLUMNS_MAX = {NUMBERED_COLUMNS_MAX} columns of "
                            f"ROWS_MAX = {ROWS_MAX} rows can be numbered")
    memset(&values, 0, sizeof(values))
    hashes, out = np.empty(rows, np.uint64), np.empty(rows, np.int64)
    cdef uint64_t[::1] hashes_view = hashes
    cdef int64_t[::1] out_view = out
    for place, column in enumerate(columns):
        view = column
        check_rows(view.shape[0], rows)
        places[place] = &view[0] if rows else NULL
    values.columns, values.column_count = places, len(columns)
    if rows:
        with nogil:
            hash_rows(&values, rows, &hashes_view[0])
            status = number_values(&values, &hashes_view[0], rows, &out_view[0])
        check(status)
    return out


def one_is_cut(const uint8_t[::1] source not None, const uint32_t[:, ::1] ones not None,
               const uint32_t[:, ::1] others not None, size_t bytes_min, *, bint is_number=False):
    """bool[n]: whether one of two values is a proper start or end of the other, by letters and
    digits, case folded, and has bytes_min of them or more. Values with more than TRACE_BYTES_MAX
    are no cut ones.

    ones, others : references into one source
    is_number : leading zeros say nothing

    O(bytes); releases the GIL.
    """
    cdef size_t rows = ones.shape[0]
    cdef int status
    out = np.empty(rows, np.bool_)
    cdef uint8_t[::1] out_view = out.view(np.uint8)
    check_rows(others.shape[0], rows)
    if rows:
        with nogil:
            status = texts_cut(bytes_at(source), source.shape[0], refs_at(ones), refs_at(others),
                               rows, is_number, bytes_min, &out_view[0])
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
