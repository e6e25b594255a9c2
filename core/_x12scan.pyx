"""The compiled X12 scanner: bytes to the columns of `_tables_835.h`, without the GIL.

Stage 1 (`_simd.h`) finds the delimiters of a block, stage 2 (`_x12_claims.h`, `_x12_835.h`) takes
its segments. This module owns the memory and the buffers; what a file means is in the headers, what
callers see is in x12_835.py.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, getenv

from reassoc.core._columns cimport column_spec, slab_cache_clear, take_columns

from reassoc.core import errors
from reassoc.core.errors import LimitError

BUFFER_BYTES_MAX = 0xFFFFFFFF - 64
"""Offsets inside one scanned buffer are 32 bits wide; larger files are walked in windows."""


cdef extern from "_x12_window.h" nogil:
    enum:
        KERNEL_COUNT
        TABLE_COUNT
        INDEX_SLACK

    ctypedef struct delimiter_index:
        uint32_t *delimiters
        size_t delimiter_count
        uint32_t *ends
        size_t end_count
        bint wrapped
        uint8_t carry

    ctypedef void (*index_kernel)(
        const uint8_t *data, size_t start, size_t stop, uint8_t separator, uint8_t terminator,
        delimiter_index *index
    ) noexcept

    ctypedef struct kernel_choice:
        const char *name
        index_kernel index
        bint usable

    void list_kernels(kernel_choice *choices) noexcept

    ctypedef struct table_entry:
        const char *name
        const column_spec *specs
        size_t spec_count
        size_t place

    const table_entry *table_directory

    ctypedef struct tables_835:
        pass

    void *table_at(tables_835 *tables, size_t number) noexcept

    ctypedef struct scan_context:
        bint delimiters_known
        int32_t range
        uint64_t findings_left_out

    ctypedef struct x12_scan:
        const uint8_t *data
        size_t size
        const uint8_t *limit
        size_t bytes_all
        size_t bytes_before
        size_t cursor
        int64_t window_offset
        bint final
        bint out_of_memory
        size_t findings_max
        index_kernel kernel
        tables_835 tables
        scan_context now
        uint8_t *envelopes
        size_t envelope_bytes

    int fill_segment_slots() noexcept
    void scan_window(x12_scan *scan, bint discard) noexcept
    void reset_context(x12_scan *scan) noexcept
    void tell_left_out(x12_scan *scan) noexcept
    void scan_free(x12_scan *scan) noexcept
    int finding_severity(int code) noexcept


if fill_segment_slots() != 0:
    raise ImportError("two segment ids share a slot: choose another SEGMENT_HASH_MULTIPLIER")


def kernels() -> list:
    """Names of the delimiter kernels that this processor can run, fastest first."""
    cdef kernel_choice choices[KERNEL_COUNT]
    list_kernels(choices)
    return [choices[i].name.decode() for i in range(KERNEL_COUNT) if choices[i].usable]


cdef index_kernel choose_kernel(object wanted) except NULL:
    cdef kernel_choice choices[KERNEL_COUNT]
    cdef const char *forced = getenv("REASSOC_KERNEL")
    list_kernels(choices)
    if wanted is None and forced != NULL and forced[0] != 0:
        wanted = forced.decode("ascii", "replace")
    for i in range(KERNEL_COUNT):
        if choices[i].usable and (wanted is None or choices[i].name.decode() == wanted):
            return choices[i].index
    raise ValueError(
        f"no kernel {wanted!r} on this processor; "
        f"REASSOC_KERNEL may be one of {', '.join(kernels())}"
    )


def active_kernel() -> str:
    """The kernel that new scanners use: the fastest, or the one that REASSOC_KERNEL names."""
    cdef kernel_choice choices[KERNEL_COUNT]
    cdef index_kernel chosen = choose_kernel(None)
    list_kernels(choices)
    for i in range(KERNEL_COUNT):
        if choices[i].index == chosen:
            return choices[i].name.decode()
    raise AssertionError("the chosen kernel is none of the list")


def release_memory() -> int:
    """Give back the memory kept for the next window (at most 384 MiB); returns its bytes."""
    return slab_cache_clear()


def severity_of(int code) -> int:
    """Severity of a finding code as the compiled scanner knows it (errors.py is the reference)."""
    return finding_severity(code)


def delimiter_offsets(
    const uint8_t[::1] data not None, int separator, int terminator, kernel=None
) -> tuple:
    """Stage 1 alone: (delimiters, ends) as lists of positions and of indexes into them.

    data : uint8[n]            read-only, contiguous, n < BUFFER_BYTES_MAX
    separator, terminator      byte values
    kernel : str or None       one of kernels(); None takes the active one

    O(n). For tests and benches; read_835 walks the same kernel block by block.
    """
    from array import array

    cdef size_t size = data.shape[0]
    if size > BUFFER_BYTES_MAX:
        raise LimitError(f"BUFFER_BYTES_MAX: {size} bytes in one buffer")
    positions = array("I", bytes(4 * (size + INDEX_SLACK)))
    numbers = array("I", bytes(4 * (size + INDEX_SLACK)))
    cdef uint32_t[::1] position_view = positions, number_view = numbers
    cdef delimiter_index index
    cdef index_kernel chosen = choose_kernel(kernel)
    index.delimiters = &position_view[0]
    index.ends = &number_view[0]
    index.delimiter_count = index.end_count = 0
    index.wrapped = False
    index.carry = 1
    if size > 0:
        with nogil:
            chosen(&data[0], 0, size, <uint8_t>separator, <uint8_t>terminator, &index)
    return positions[:index.delimiter_count], numbers[:index.end_count]


@cython.final
cdef class X12Scanner:
    """One walk over one input: keeps the envelope between windows. For one thread at a time."""

    cdef x12_scan *state

    def __cinit__(self, *, kernel=None):
        self.state = <x12_scan *>calloc(1, sizeof(x12_scan))
        if self.state == NULL:
            raise MemoryError()
        self.state.kernel = choose_kernel(kernel)
        self.state.findings_max = errors.FINDINGS_MAX
        reset_context(self.state)

    def __dealloc__(self):
        if self.state != NULL:
            scan_free(self.state)
            free(self.state)

    @property
    def header_found(self) -> bool:
        """Whether an ISA, GS or ST has been found yet."""
        return self.state.now.delimiters_known

    def scan(
        self,
        const uint8_t[::1] data not None,
        int64_t window_offset,
        bint final,
        bint discard=False,
    ) -> tuple:
        """Walk one window: (bytes taken, {table name: columns}, envelope bytes).

        data : uint8[n]         the window; its first byte is the first one not taken before
        window_offset : int     of data[0] in the file
        final : bool            no input follows
        discard : bool          the window cannot grow: a set that does not end in it is given up

        Raises LimitError above BUFFER_BYTES_MAX, MemoryError. O(n), releases the GIL.
        """
        self.start(data, window_offset, final)
        with nogil:
            scan_window(self.state, discard)
        return self.finish()

    def scan_ranges(self, const uint8_t[::1] data not None, const int64_t[::1] starts not None,
                    const int64_t[::1] stops not None) -> tuple:
        """Walk data[starts[i]:stops[i]] for every i as an input of its own; `range` says which."""
        cdef Py_ssize_t i, count = starts.shape[0]
        if stops.shape[0] != count:
            raise ValueError(f"{count} starts and {stops.shape[0]} stops")
        for i in range(count):
            if not 0 <= starts[i] <= stops[i] <= data.shape[0]:
                raise ValueError(f"range {i} does not lie in the buffer")
        self.start(data, 0, True)
        self.state.bytes_all = 0
        for i in range(count):
            self.state.bytes_all += <size_t>(stops[i] - starts[i])
        cdef const uint8_t *base = self.state.data
        with nogil:
            for i in range(count):
                reset_context(self.state)
                self.state.now.range = <int32_t>i
                self.state.cursor = <size_t>starts[i]
                self.state.size = <size_t>stops[i]
                self.state.limit = base + stops[i]
                scan_window(self.state, False)
                self.state.bytes_before += <size_t>(stops[i] - starts[i])
        return self.finish()

    cdef int start(self, const uint8_t[::1] data, int64_t window_offset, bint final) except -1:
        if data.shape[0] > BUFFER_BYTES_MAX:
            raise LimitError(
                f"BUFFER_BYTES_MAX: {data.shape[0]} bytes in one buffer, "
                f"at most {BUFFER_BYTES_MAX}; walk the file with iter_835"
            )
        self.state.data = &data[0] if data.shape[0] > 0 else <const uint8_t *>b""
        self.state.size = data.shape[0]
        self.state.limit = self.state.data + self.state.size
        self.state.bytes_all = self.state.size
        self.state.bytes_before = 0
        self.state.cursor = 0
        self.state.window_offset = window_offset
        self.state.final = final
        self.state.out_of_memory = False
        self.state.envelope_bytes = 0
        self.state.now.findings_left_out = 0
        return 0

    cdef tuple finish(self):
        cdef size_t i
        cdef dict tables = {}
        tell_left_out(self.state)
        if self.state.out_of_memory:
            raise MemoryError("columns of the window")
        for i in range(<size_t>TABLE_COUNT):
            tables[table_directory[i].name.decode()] = take_columns(
                table_at(&self.state.tables, i),
                table_directory[i].specs,
                table_directory[i].spec_count,
            )
        envelopes = b""
        if self.state.envelope_bytes:
            envelopes = PyBytes_FromStringAndSize(
                <const char *>self.state.envelopes, self.state.envelope_bytes
            )
        self.state.data = NULL
        return self.state.cursor, tables, envelopes
