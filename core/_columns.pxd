# The shared table mechanics of _columns.h, and the one way a finished table becomes Python objects.
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from libc.stdint cimport uint32_t, uintptr_t


cdef extern from "_columns.h" nogil:
    ctypedef struct text_ref:
        uint32_t offset
        uint32_t length

    ctypedef struct column_spec:
        const char *name
        const char *kind
        const char *doc
        uint32_t field
        uint32_t item_size

    ctypedef struct table_head:
        size_t rows
        size_t capacity
        void *slab

    int table_reserve(
        void *table, const column_spec *specs, size_t spec_count, size_t wanted
    ) noexcept
    void table_free(void *table) noexcept
    void slab_free(void *memory) noexcept
    size_t slab_cache_clear() noexcept
    void **column_slot(void *table, const column_spec *spec) noexcept


cdef inline void free_slab(object capsule) noexcept:
    slab_free(PyCapsule_GetPointer(capsule, NULL))


cdef inline list take_columns(void *table, const column_spec *specs, size_t spec_count):
    """Move a table's columns to Python: (name, kind, doc, address, rows, owner) of each.

    columns.build_table makes a Table of them.

    The table is left empty. One owner frees the slab that all of them lie in.
    """
    cdef list columns = []
    cdef size_t i
    cdef table_head *head = <table_head *>table
    cdef size_t rows = head.rows
    owner = None
    if rows == 0:
        slab_free(head.slab)
    else:
        owner = PyCapsule_New(head.slab, NULL, free_slab)
    for i in range(spec_count):
        columns.append((
            specs[i].name.decode(), specs[i].kind.decode(), specs[i].doc.decode(),
            <uintptr_t>column_slot(table, &specs[i])[0], rows, owner,
        ))
    head.slab = NULL
    head.rows = head.capacity = 0
    return columns
