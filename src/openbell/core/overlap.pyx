# cython: language_level=3, boundscheck=False, wraparound=False
"""Two connections side by side: which events the first one has brought already.

A planned change of connections opens the new one while the old one is still there. Both then bring the same events;
what the old one published is remembered here by the vendor's own number, per symbol and kind, so that the new one
goes on exactly where the old one ended.
"""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport INT64_MIN, int64_t, uint32_t

from openbell.core.layout cimport KIND_LEVEL, KIND_QUOTE


cdef class Overlap:
    """The last sequence number of each row, those of trades and of quotes apart: vendors number them apart.

    Parameters
    ----------
    rows : int
        Rows that symbols can have.

    Raises
    ------
    ValueError
        There are no rows.
    """

    def __cinit__(self, Py_ssize_t rows):
        cdef Py_ssize_t i
        if rows < 1:
            raise ValueError(f"an overlap of {rows} rows")
        self.last = <int64_t *>PyMem_Malloc(2 * rows * sizeof(int64_t))
        if self.last is NULL:
            raise MemoryError
        self.rows = rows
        for i in range(2 * rows):
            self.last[i] = INT64_MIN

    def __dealloc__(self):
        PyMem_Free(self.last)

    cdef void note(self, int kind, uint32_t row, int64_t sequence) noexcept nogil:
        """Remember an event of `row` that was published. Without a number there is nothing to remember."""
        cdef int64_t *last
        if sequence and row < <uint32_t>self.rows:
            last = &self.last[2 * row + (kind == KIND_QUOTE or kind == KIND_LEVEL)]
            if sequence > last[0]:
                last[0] = sequence

    cdef bint has(self, int kind, uint32_t row, int64_t sequence) noexcept nogil:
        """Whether an event is one of those, or older."""
        if not sequence or row >= <uint32_t>self.rows:
            return False
        return sequence <= self.last[2 * row + (kind == KIND_QUOTE or kind == KIND_LEVEL)]
