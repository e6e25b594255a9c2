"""The compiled parts of the reader of bank reports: details in their plain form, and what their
texts say. Rules: _bai2_details.h, _bank_text.h; Python API: bai2.py, bank_lines.py."""

cimport cython
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from reassoc.core._columns cimport column_spec, table_free, take_columns, text_ref


cdef extern from "_bai2_details.h" nogil:
    const column_spec BAI2_DETAIL_SPECS[]
    const column_spec BAI2_TEXT_SPECS[]
    size_t BAI2_DETAIL_SPEC_COUNT
    size_t BAI2_TEXT_SPEC_COUNT

    ctypedef struct bai2_detail_table:
        size_t rows
        uint32_t *offset
        uint32_t *record_number
        int32_t *account
        short *type_code
        int64_t *amount_cents
        unsigned short *funds_type
        int32_t *value_date
        short *value_time
        text_ref *bank_reference
        text_ref *customer_reference
        uint32_t *text_start
        uint32_t *text_stop
        uint8_t *valid

    ctypedef struct bai2_text_table:
        size_t rows
        int32_t *detail
        text_ref *text

    ctypedef struct bai2_rows:
        bai2_detail_table details
        bai2_text_table texts

    ctypedef struct bai2_run:
        const uint8_t *data
        size_t size
        uint32_t line_bytes_max
        uint32_t continuations_max
        uint64_t records_max
        int32_t account
        uint32_t record_number
        size_t at
        uint64_t records
        int64_t cents
        int failed

    void bai2_read_run(bai2_run *run, bai2_rows *rows) noexcept
    int bai2_reserve_detail(bai2_rows *rows) noexcept
    int bai2_reserve_texts(bai2_rows *rows, size_t more) noexcept


cdef extern from "_bank_text.h" nogil:
    const column_spec MEMO_SPECS[]
    const column_spec MEMO_BYTES_SPECS[]
    size_t MEMO_SPEC_COUNT
    int MEMOS_NO_MEMORY
    int MEMOS_OUT_OF_SOURCE

    ctypedef struct memo_input:
        const uint8_t *source
        size_t source_size
        const text_ref *refs
        size_t ref_count
        const uint32_t *starts
        const uint32_t *stops
        size_t details

    ctypedef struct memo_scratch:
        pass

    ctypedef struct memo_table:
        pass

    ctypedef struct memo_bytes:
        pass

    int memos_read(
        const memo_input *input, memo_scratch *scratch, memo_table *table, memo_bytes *out
    ) noexcept


cdef inline text_ref unpacked(uint64_t reference) noexcept:
    cdef text_ref ref
    ref.offset = <uint32_t>(reference >> 32)
    ref.length = <uint32_t>(reference & 0xFFFFFFFF)
    return ref


@cython.final
cdef class DetailRows:
    """The rows of details and of their texts: runs of plain details, and others one by one."""

    cdef bai2_rows rows

    def __dealloc__(self):
        table_free(&self.rows.details)
        table_free(&self.rows.texts)

    @property
    def detail_count(self):
        """Rows of details so far."""
        return self.rows.details.rows

    @property
    def text_count(self):
        """Rows of texts so far."""
        return self.rows.texts.rows

    def read_run(
        self, const uint8_t[::1] data not None, size_t at, *, size_t line_bytes_max,
        size_t continuations_max, size_t records_max, size_t account, size_t record_number,
    ):
        """Add the details in plain form from `at` on, where a line begins.

        line_bytes_max : a longer line is not plain
        continuations_max : of one detail
        records_max : physical records that the run may have
        account : row of their account
        record_number : of the record before the run
        -> (place behind the run, where a line begins; physical records; sum of the cents)

        Raises MemoryError. O(bytes taken, and one detail); releases the GIL.
        """
        cdef bai2_run run
        memset(&run, 0, sizeof(run))
        if at >= <size_t>data.shape[0]:
            return at, 0, 0
        run.data = &data[0]
        run.size = <size_t>data.shape[0]
        run.line_bytes_max = <uint32_t>line_bytes_max
        run.continuations_max = <uint32_t>continuations_max
        run.records_max = records_max
        run.account = <int32_t>account
        run.record_number = <uint32_t>record_number
        run.at = at
        with nogil:
            bai2_read_run(&run, &self.rows)
        if run.failed:
            raise MemoryError("no memory for the details of a bank report")
        return run.at, run.records, run.cents

    def add_text(self, uint64_t reference):
        """Add a line of text of the detail that is added next: offset << 32 | length."""
        cdef bai2_text_table *texts = &self.rows.texts
        if bai2_reserve_texts(&self.rows, 1) != 0:
            raise MemoryError("no memory for the texts of a bank report")
        texts.detail[texts.rows] = <int32_t>self.rows.details.rows
        texts.text[texts.rows] = unpacked(reference)
        texts.rows += 1

    def add_detail(
        self, uint32_t offset, uint32_t record_number, int32_t account, short type_code,
        int64_t amount_cents, bytes funds_type not None, int32_t value_date, short value_time,
        uint64_t bank_reference, uint64_t customer_reference, uint32_t text_start, bint valid,
    ):
        """Add a detail; its texts, from row `text_start` on, are there already. Raises
        MemoryError."""
        cdef bai2_detail_table *details = &self.rows.details
        cdef size_t row = details.rows
        cdef uint8_t kind[2]
        cdef Py_ssize_t place
        if bai2_reserve_detail(&self.rows) != 0:
            raise MemoryError("no memory for the details of a bank report")
        memset(kind, 0, 2)
        for place in range(min(2, len(funds_type))):
            kind[place] = funds_type[place]
        details.offset[row] = offset
        details.record_number[row] = record_number
        details.account[row] = account
        details.type_code[row] = type_code
        details.amount_cents[row] = amount_cents
        memcpy(&details.funds_type[row], kind, 2)
        details.value_date[row] = value_date
        details.value_time[row] = value_time
        details.bank_reference[row] = unpacked(bank_reference)
        details.customer_reference[row] = unpacked(customer_reference)
        details.text_start[row] = text_start
        details.text_stop[row] = <uint32_t>self.rows.texts.rows
        details.valid[row] = valid
        details.rows += 1

    def take(self):
        """Move the tables out, by name, as columns.build_table wants them. No copy."""
        return {
            "details": take_columns(&self.rows.details, BAI2_DETAIL_SPECS, BAI2_DETAIL_SPEC_COUNT),
            "texts": take_columns(&self.rows.texts, BAI2_TEXT_SPECS, BAI2_TEXT_SPEC_COUNT),
        }


@cython.final
cdef class _Memos:
    """Owns the tables while they are filled."""

    cdef memo_table *table
    cdef memo_bytes *out
    cdef memo_scratch *scratch

    def __cinit__(self):
        self.table = <memo_table *>PyMem_RawMalloc(sizeof(memo_table))
        self.out = <memo_bytes *>PyMem_RawMalloc(sizeof(memo_bytes))
        self.scratch = <memo_scratch *>PyMem_RawMalloc(sizeof(memo_scratch))
        if self.table != NULL:
            memset(self.table, 0, sizeof(memo_table))
        if self.out != NULL:
            memset(self.out, 0, sizeof(memo_bytes))
        if self.table == NULL or self.out == NULL or self.scratch == NULL:
            raise MemoryError()

    def __dealloc__(self):
        if self.table != NULL:
            table_free(self.table)
        if self.out != NULL:
            table_free(self.out)
        PyMem_RawFree(self.table)
        PyMem_RawFree(self.out)
        PyMem_RawFree(self.scratch)


def read_memos(
    const uint8_t[::1] source not None, const uint32_t[:, ::1] refs not None,
    const uint32_t[::1] starts not None, const uint32_t[::1] stops not None,
):
    """Read what the texts of details say.

    source, refs : text column of lines
    starts, stops : uint32[n]    the rows of each detail's lines
    -> {"memos": n rows, "bytes": what their texts point into}, as columns.build_table wants them

    Raises ValueError for rows or bytes that are not there, MemoryError. O(bytes); a TRN that is
    damaged costs O(n**2) of at most 4096 bytes. Releases the GIL.
    """
    cdef _Memos memos = _Memos()
    cdef memo_input given
    cdef int status = 0
    if refs.shape[1] != 2 or starts.shape[0] != stops.shape[0]:
        raise ValueError("refs have two columns, and every start has a stop")
    memset(&given, 0, sizeof(given))
    given.source_size = <size_t>source.shape[0]
    given.ref_count = <size_t>refs.shape[0]
    given.details = <size_t>starts.shape[0]
    if given.source_size > 0:
        given.source = &source[0]
    if given.ref_count > 0:
        given.refs = <const text_ref *>&refs[0, 0]
    if given.details > 0:
        given.starts = &starts[0]
        given.stops = &stops[0]
        with nogil:
            status = memos_read(&given, memos.scratch, memos.table, memos.out)
    if status == MEMOS_NO_MEMORY:
        raise MemoryError("no memory for the columns of a bank report's texts")
    if status == MEMOS_OUT_OF_SOURCE:
        raise ValueError("a text column refers to rows or bytes outside of its source")
    return {
        "memos": take_columns(memos.table, MEMO_SPECS, MEMO_SPEC_COUNT),
        "bytes": take_columns(memos.out, MEMO_BYTES_SPECS, 1),
    }
