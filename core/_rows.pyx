"""Compiled side of packed rows: taking, packing and cutting them, and finding rows by their ids.

The C stands in _rows.h. PERF: a small step of the matcher handles few rows dozens of times; a call
here costs a microsecond or two where numpy took dozens. Where there is much to copy, a kernel runs
without the GIL; for a few rows it is kept, since whoever lets go of it waits for all others.
"""

import numpy as np

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from reassoc.core._columns cimport text_ref


cdef extern from "Python.h":
    ctypedef struct PyThreadState
    PyThreadState *PyEval_SaveThread() noexcept
    void PyEval_RestoreThread(PyThreadState *state) noexcept


cdef extern from "_rows.h" nogil:
    int ROWS_OK
    int ROWS_NO_MEMORY
    int ROWS_OUT_OF_SOURCE
    int ROWS_NO_ROW
    int ROWS_SHORT
    int ROWS_LENGTH
    int ID_BYTES_C "ID_BYTES"

    ctypedef struct row_table:
        uint8_t *fixed
        text_ref *refs
        size_t rows, width, texts

    int rows_take(const row_table *table, const int64_t *places, size_t count,
                  row_table *to) noexcept
    int rows_stops(const row_table *table, size_t source_size, int64_t *stops) noexcept
    void rows_pack(const row_table *table, const uint8_t *source, uint8_t *out) noexcept
    int rows_unpack(const uint8_t *data, size_t size, const int64_t *stops,
                    row_table *table) noexcept
    int block_stops(const int64_t *stops, size_t rows, const int64_t *places, size_t count,
                    int64_t *out) noexcept
    int block_take_c "block_take"(const uint8_t *data, size_t size, const int64_t *stops,
                                  const int64_t *places, size_t count, uint8_t *out) noexcept
    int ids_find(const uint8_t *ids, size_t rows, const uint8_t *wanted, size_t count,
                 int64_t *out) noexcept

BLOCK_BYTES_MAX = 0xFFFFFFFF
"""Bytes of a block that is cut or packed: places in it have four bytes."""
IDS_MAX = 2**31
"""Ids among which others are found."""
cdef size_t FEW_ROWS = 1000


cdef inline PyThreadState *let_go(size_t rows) noexcept:
    """Let go of the GIL where it is worth it. Nothing of Python until `take_back`."""
    return PyEval_SaveThread() if rows > FEW_ROWS else NULL


cdef inline void take_back(PyThreadState *state) noexcept:
    if state != NULL:
        PyEval_RestoreThread(state)


cdef object check(int status):
    if status == ROWS_OK:
        return
    if status == ROWS_NO_MEMORY:
        raise MemoryError
    if status == ROWS_OUT_OF_SOURCE:
        raise ValueError("a row refers to bytes outside of its source")
    if status == ROWS_NO_ROW:
        raise IndexError("a number is none of a row")
    if status == ROWS_SHORT:
        raise ValueError("a row is shorter than its schema")
    raise ValueError("a row is not as long as its schema says")


def check_size(uint64_t size):
    """Raises OverflowError above BLOCK_BYTES_MAX."""
    if size > BLOCK_BYTES_MAX:
        raise OverflowError(
            f"a block of {size} bytes is above BLOCK_BYTES_MAX ({BLOCK_BYTES_MAX}): work on "
            "fewer rows at a time"
        )


cdef row_table table_at(const uint8_t[:, ::1] fixed, const uint32_t[:, :, ::1] refs):
    cdef row_table table
    table.rows, table.width, table.texts = fixed.shape[0], fixed.shape[1], refs.shape[0]
    table.fixed = <uint8_t *>&fixed[0, 0] if table.rows and table.width else NULL
    table.refs = <text_ref *>&refs[0, 0, 0] if table.rows and table.texts else NULL
    return table


cdef object check_table(const uint8_t[:, ::1] fixed, const uint32_t[:, :, ::1] refs):
    if refs.shape[1] != fixed.shape[0] or refs.shape[2] != 2:
        raise ValueError("numbers and texts of a table have different lengths")


def take(const uint8_t[:, ::1] fixed not None, const uint32_t[:, :, ::1] refs not None,
         const int64_t[::1] places not None):
    """Some rows of a table: (uint8[k, w], uint32[t, k, 2]).

    fixed : uint8[n, w]    refs : uint32[t, n, 2]    places : int64[k]

    Raises IndexError for what is no row; none is counted from the end. O(k).
    """
    check_table(fixed, refs)
    cdef size_t count = places.shape[0]
    out = np.empty((count, fixed.shape[1]), np.uint8)
    out_refs = np.empty((refs.shape[0], count, 2), np.uint32)
    cdef row_table table = table_at(fixed, refs), to = table_at(out, out_refs)
    cdef int status
    cdef PyThreadState *state
    if count:
        state = let_go(count)
        status = rows_take(&table, &places[0], count, &to)
        take_back(state)
        check(status)
    return out, out_refs


def pack(const uint8_t[:, ::1] fixed not None, const uint32_t[:, :, ::1] refs not None,
         const uint8_t[::1] source not None):
    """The rows of a table one behind the other, numbers and then texts: (bytes, stops int64[n]).

    fixed : uint8[n, w]    refs : uint32[t, n, 2] in `source`

    Raises ValueError for texts outside of the source, OverflowError above BLOCK_BYTES_MAX. O(n).
    """
    check_table(fixed, refs)
    cdef row_table table = table_at(fixed, refs)
    stops = np.empty(table.rows, np.int64)
    cdef int64_t[::1] stops_view = stops
    if not table.rows:
        return b"", stops
    check(rows_stops(&table, source.shape[0], &stops_view[0]))
    check_size(stops_view[table.rows - 1])
    cdef bytes out = PyBytes_FromStringAndSize(NULL, stops_view[table.rows - 1])
    cdef uint8_t *out_at = <uint8_t *>PyBytes_AS_STRING(out)
    cdef PyThreadState *state
    cdef const uint8_t *source_at = &source[0] if source.shape[0] else NULL
    state = let_go(table.rows)
    rows_pack(&table, source_at, out_at)
    take_back(state)
    return out, stops


def unpack(const uint8_t[::1] data not None, const int64_t[::1] stops not None, size_t width,
           size_t texts):
    """The table of packed rows: (uint8[n, width], uint32[texts, n, 2] in `data`).

    Raises ValueError where a row is not as long as its numbers and lengths say, OverflowError above
    BLOCK_BYTES_MAX. O(n).
    """
    if width < 2 * texts:
        raise ValueError("the lengths of texts are part of the numbers")
    check_size(data.shape[0])
    cdef size_t rows = stops.shape[0]
    fixed = np.empty((rows, width), np.uint8)
    refs = np.empty((texts, rows, 2), np.uint32)
    cdef row_table table = table_at(fixed, refs)
    cdef const uint8_t *data_at = &data[0] if data.shape[0] else NULL
    cdef int status
    cdef PyThreadState *state
    if rows:
        state = let_go(rows)
        status = rows_unpack(data_at, data.shape[0], &stops[0], &table)
        take_back(state)
        check(status)
    return fixed, refs


def block_take(const uint8_t[::1] data not None, const int64_t[::1] stops not None,
               const int64_t[::1] places not None):
    """Some rows of a block, one behind the other: (bytes, stops int64[k]).

    Raises IndexError for what is no row, OverflowError above BLOCK_BYTES_MAX. O(bytes taken).
    """
    cdef size_t count = places.shape[0]
    out_stops = np.empty(count, np.int64)
    cdef int64_t[::1] stops_view = out_stops
    if not count:
        return b"", out_stops
    cdef const int64_t *ends = &stops[0] if stops.shape[0] else NULL
    check(block_stops(ends, stops.shape[0], &places[0], count, &stops_view[0]))
    check_size(stops_view[count - 1])
    cdef bytes out = PyBytes_FromStringAndSize(NULL, stops_view[count - 1])
    cdef uint8_t *out_at = <uint8_t *>PyBytes_AS_STRING(out)
    cdef const uint8_t *data_at = &data[0] if data.shape[0] else NULL
    cdef int status
    cdef PyThreadState *state
    state = let_go(count)
    status = block_take_c(data_at, data.shape[0], ends, &places[0], count, out_at)
    take_back(state)
    check(status)
    return out, out_stops


def find(const uint8_t[:, ::1] ids not None, const uint8_t[:, ::1] wanted not None):
    """int64[k]: the row of each wanted id among some, -1 for none; the last of equal ones.

    ids : uint8[n, 16]    wanted : uint8[k, 16]. O(n + k) on average, 8 to 16 bytes a row.
    """
    if ids.shape[1] != ID_BYTES_C or wanted.shape[1] != ID_BYTES_C:
        raise ValueError("an id has 16 bytes")
    if ids.shape[0] >= IDS_MAX:
        raise OverflowError(f"more than IDS_MAX ({IDS_MAX}) ids")
    cdef size_t count = wanted.shape[0]
    out = np.full(count, -1, np.int64)
    cdef int64_t[::1] out_view = out
    cdef int status
    cdef PyThreadState *state
    if count and ids.shape[0]:
        state = let_go(count + ids.shape[0])
        status = ids_find(&ids[0, 0], ids.shape[0], &wanted[0, 0], count, &out_view[0])
        take_back(state)
        check(status)
    return out


def values(const uint8_t[::1] kinds not None, const uint64_t[::1] keys not None,
           const int64_t[::1] key_stops not None, list bodies not None):
    """Records as a key-value store keeps them: kind (1 byte), number of keys (2), keys, body.

    kinds : uint8[n]    keys : uint64[k], those of row i end at key_stops[i]    bodies : n bytes
    objects

    Raises ValueError where they do not belong together. O(bytes).
    """
    cdef Py_ssize_t rows = kinds.shape[0], row
    cdef int64_t start = 0, count
    cdef bytes body, value
    cdef uint8_t *at
    cdef list found = []
    if key_stops.shape[0] != rows or len(bodies) != rows:
        raise ValueError("columns of records have different lengths")
    for row in range(rows):
        count = key_stops[row] - start
        if not 0 <= count <= 0xFFFF or key_stops[row] > keys.shape[0]:
            raise ValueError("the keys of a record are none")
        body = bodies[row]
        value = PyBytes_FromStringAndSize(NULL, 3 + 8 * count + PyBytes_GET_SIZE(body))
        at = <uint8_t *>PyBytes_AS_STRING(value)
        at[0], at[1], at[2] = kinds[row], count & 0xFF, count >> 8
        if count:
            memcpy(at + 3, &keys[start], 8 * count)
        memcpy(at + 3 + 8 * count, PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body))
        found.append(value)
        start = key_stops[row]
    return found


def split_values(list values not None):
    """What `values` put together: (kinds uint8[n], keys uint64[k], key_stops int64[n], bodies).

    Raises ValueError for what it did not make. O(bytes).
    """
    cdef Py_ssize_t rows = len(values), row, size, all_keys = 0
    cdef int64_t count
    cdef bytes value
    cdef const uint8_t *at
    cdef list bodies = []
    kinds, key_stops = np.empty(rows, np.uint8), np.empty(rows, np.int64)
    cdef uint8_t[::1] kinds_view = kinds
    cdef int64_t[::1] stops_view = key_stops
    for row in range(rows):
        value = values[row]
        size = PyBytes_GET_SIZE(value)
        at = <const uint8_t *>PyBytes_AS_STRING(value)
        if size < 3 or size < 3 + 8 * (at[1] | at[2] << 8):
            raise ValueError("a record is shorter than its keys")
        all_keys += at[1] | at[2] << 8
        kinds_view[row], stops_view[row] = at[0], all_keys
    keys = np.empty(all_keys, np.uint64)
    cdef uint64_t[::1] keys_view = keys
    all_keys = 0
    for row in range(rows):
        value = values[row]
        size = PyBytes_GET_SIZE(value)
        at = <const uint8_t *>PyBytes_AS_STRING(value)
        count = stops_view[row] - all_keys
        if count:
            memcpy(&keys_view[all_keys], at + 3, 8 * count)
        all_keys = stops_view[row]
        count = 3 + 8 * count
        bodies.append(PyBytes_FromStringAndSize(<const char *>at + count, size - count))
    return kinds, keys, key_stops, bodies
