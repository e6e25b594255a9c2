"""The compiled ACH reader: 94-byte records to columns. Rules: _nacha.h; Python API: ach.py."""

cimport cython
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from libc.stdint cimport int64_t, uint8_t, uint64_t

from reassoc.core._columns cimport column_spec, table_free, take_columns

from reassoc.core import errors


cdef extern from "_nacha.h" nogil:
    const column_spec ACH_FILE_SPECS[]
    const column_spec ACH_BATCH_SPECS[]
    const column_spec ACH_ENTRY_SPECS[]
    const column_spec ACH_ADDENDA_SPECS[]
    const column_spec ACH_RETURN_SPECS[]
    const column_spec ACH_PAYLOAD_SPECS[]
    const column_spec ACH_FINDING_SPECS[]
    const column_spec ACH_BYTES_SPECS[]
    size_t SPEC_COUNT(const column_spec *specs)
    size_t TRN_SEARCH_BYTES_MAX

    ctypedef struct ach_state:
        int failed
        uint64_t records
        uint64_t plausible

    ctypedef struct ach_tables:
        int files
        int batches
        int entries
        int addenda
        int returns
        int payloads
        int findings
        int payload_bytes
        int headers

    ctypedef struct ach_reader:
        ach_state now
        ach_tables tables
        size_t findings_max

    ctypedef struct trn_span:
        unsigned int start
        unsigned int stop

    ctypedef struct trn_result:
        uint8_t form
        trn_span trace
        trn_span payer
        trn_span supplement

    size_t ach_read(
        ach_reader *reader, const uint8_t *data, size_t size, int64_t window_offset, int final,
        int portable,
    ) noexcept
    trn_result trn_find(const uint8_t *text, unsigned int length) noexcept

# An empty buffer has no first byte to point to.
cdef uint8_t NOTHING[1]
NOTHING[0] = 0


@cython.final
cdef class AchReader:
    """Reads one input, window by window; what it knows between windows is a few hundred bytes.

    portable : bool    take the path without SIMD (tests hold the two together)
    """

    cdef ach_reader *reader
    cdef int portable

    def __cinit__(self, *, bint portable=False):
        self.reader = <ach_reader *>PyMem_RawCalloc(1, sizeof(ach_reader))
        if self.reader == NULL:
            raise MemoryError()
        self.reader.findings_max = errors.FINDINGS_MAX
        self.portable = portable

    def __dealloc__(self):
        if self.reader == NULL:
            return
        cdef ach_tables *tables = &self.reader.tables
        table_free(&tables.files)
        table_free(&tables.batches)
        table_free(&tables.entries)
        table_free(&tables.addenda)
        table_free(&tables.returns)
        table_free(&tables.payloads)
        table_free(&tables.findings)
        table_free(&tables.payload_bytes)
        table_free(&tables.headers)
        PyMem_RawFree(self.reader)

    @property
    def plausible(self):
        """Whether some record so far can hardly be anything else than ACH."""
        return self.reader.now.plausible > 0

    @property
    def record_count(self):
        """Records read so far, fillers included."""
        return self.reader.now.records

    def read(self, const uint8_t[::1] data not None, int64_t window_offset, bint final):
        """Read one window into the tables; `take` them before the next one.

        data : uint8[n]          n < 2**32, any alignment; nothing past its end is read
        window_offset : int      position of data[0] in the input
        final : bool             nothing follows this window
        -> int                   bytes that are done with: the next window starts there

        Raises MemoryError. O(n), releases the GIL.
        """
        cdef size_t size = <size_t>data.shape[0]
        cdef const uint8_t *start = NOTHING
        cdef size_t done
        if size > 0:
            start = &data[0]
        with nogil:
            done = ach_read(self.reader, start, size, window_offset, final, self.portable)
        if self.reader.now.failed:
            raise MemoryError("no memory for the columns of an ACH window")
        return done

    def take(self):
        """Move the tables out, by name, as columns.build_table wants them. No copy."""
        cdef ach_tables *tables = &self.reader.tables
        return {
            "files": take_columns(
                &tables.files, ACH_FILE_SPECS, SPEC_COUNT(ACH_FILE_SPECS)
            ),
            "batches": take_columns(
                &tables.batches, ACH_BATCH_SPECS, SPEC_COUNT(ACH_BATCH_SPECS)
            ),
            "entries": take_columns(
                &tables.entries, ACH_ENTRY_SPECS, SPEC_COUNT(ACH_ENTRY_SPECS)
            ),
            "addenda": take_columns(
                &tables.addenda, ACH_ADDENDA_SPECS, SPEC_COUNT(ACH_ADDENDA_SPECS)
            ),
            "returns": take_columns(
                &tables.returns, ACH_RETURN_SPECS, SPEC_COUNT(ACH_RETURN_SPECS)
            ),
            "payloads": take_columns(
                &tables.payloads, ACH_PAYLOAD_SPECS, SPEC_COUNT(ACH_PAYLOAD_SPECS)
            ),
            "findings": take_columns(
                &tables.findings, ACH_FINDING_SPECS, SPEC_COUNT(ACH_FINDING_SPECS)
            ),
            "payload_bytes": take_columns(
                &tables.payload_bytes, ACH_BYTES_SPECS, SPEC_COUNT(ACH_BYTES_SPECS)
            ),
            "headers": take_columns(
                &tables.headers, ACH_BYTES_SPECS, SPEC_COUNT(ACH_BYTES_SPECS)
            ),
        }


def find_trn(const uint8_t[::1] text not None):
    """Find the TRN segment in the text of an addenda.

    text : uint8[n]    n <= TRN_SEARCH_BYTES_MAX
    -> (form, trace, payer_id, supplement) : the ach.TrnForm number and three (start, stop) in text

    Raises ValueError where the text is too long. O(n) for clean forms, O(n**2) at worst.
    """
    cdef size_t size = <size_t>text.shape[0]
    cdef trn_result found
    if size > TRN_SEARCH_BYTES_MAX:
        raise ValueError(f"at most {TRN_SEARCH_BYTES_MAX} bytes are searched for a TRN, not {size}")
    cdef const uint8_t *start = NOTHING
    if size > 0:
        start = &text[0]
    with nogil:
        found = trn_find(start, <unsigned int>size)
    return (
        found.form,
        (found.trace.start, found.trace.stop),
        (found.payer.start, found.payer.stop),
        (found.supplement.start, found.supplement.stop),
    )
