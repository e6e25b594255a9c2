"""Compiled side of the payees: identifiers by number. The C stands in _payees.h."""

import numpy as np

cimport cython
from libc.stdint cimport int32_t, uint8_t, uint32_t

from reassoc.core._columns cimport text_ref
from reassoc.core._keys cimport bytes_at, check_rows, refs_at


cdef extern from "_payees.h" nogil:
    int PAYEES_OK
    int PAYEES_NO_MEMORY
    int PAYEES_OUT_OF_SOURCE
    int PAYEES_TOO_MUCH_TEXT
    int ROUTING_NONE_C "ROUTING_NONE"
    size_t IDENTIFIER_BYTES_MAX_C "IDENTIFIER_BYTES_MAX"

    ctypedef struct identifier_table:
        uint32_t count

    ctypedef struct identifier_column:
        const uint8_t *source
        size_t source_size
        const text_ref *refs
        const int32_t *routings
        size_t rows
        int is_account
        int may_add

    void identifiers_free(identifier_table *table) noexcept
    int number_identifiers(identifier_table *table, const identifier_column *column,
                           uint32_t *numbers) noexcept
    int read_routings(const uint8_t *source, size_t source_size, const text_ref *refs, size_t rows,
                      int32_t *out) noexcept


ROUTING_NONE = ROUTING_NONE_C
IDENTIFIER_BYTES_MAX = IDENTIFIER_BYTES_MAX_C


cdef object check(int status):
    if status == PAYEES_NO_MEMORY:
        raise MemoryError
    if status == PAYEES_OUT_OF_SOURCE:
        raise ValueError("a text column refers to bytes outside of its source")
    if status == PAYEES_TOO_MUCH_TEXT:
        raise OverflowError("identifiers may have at most 4 GiB in all")


@cython.final
cdef class Identifiers:
    """Identifiers by number, from 1 on in order of first sight; 0 is unknown.

    Equal numbers mean equal forms: letters and digits in upper case, with `is_account` less the
    leading zeros. A value without any, or of more than IDENTIFIER_BYTES_MAX, is unknown.
    """

    cdef identifier_table c

    def __dealloc__(self):
        identifiers_free(&self.c)

    def __len__(self):
        return max(self.c.count, 1)

    def number(self, const uint8_t[::1] source not None, const uint32_t[:, ::1] refs not None,
               const int32_t[::1] routings=None, *, bint is_account=False, bint may_add=True):
        """uint32[n]: the number of every value of a text column.

        source, refs : text column
        routings : int32[n]    routing numbers that are part of the identifiers; where one is
                               ROUTING_NONE, the identifier is unknown
        may_add : new identifiers get a number; else they are unknown

        O(bytes); releases the GIL.
        """
        cdef identifier_column column
        cdef size_t rows = refs.shape[0]
        cdef int status
        numbers = np.zeros(rows, np.uint32)
        cdef uint32_t[::1] numbers_view = numbers
        if routings is not None:
            check_rows(routings.shape[0], rows)
        if rows == 0:
            return numbers
        column.source, column.source_size = bytes_at(source), source.shape[0]
        column.refs = refs_at(refs)
        column.routings = &routings[0] if routings is not None else NULL
        column.rows = rows
        column.is_account, column.may_add = is_account, may_add
        with nogil:
            status = number_identifiers(&self.c, &column, &numbers_view[0])
        check(status)
        return numbers


def routings(const uint8_t[::1] source not None, const uint32_t[:, ::1] refs not None):
    """int32[n]: routing numbers of nine digits in a text column, ROUTING_NONE for all else."""
    cdef size_t rows = refs.shape[0]
    cdef int status
    out = np.empty(rows, np.int32)
    cdef int32_t[::1] out_view = out
    if rows == 0:
        return out
    with nogil:
        status = read_routings(bytes_at(source), source.shape[0], refs_at(refs), rows, &out_view[0])
    check(status)
    return out
