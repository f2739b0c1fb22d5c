# cython: language_level=3
from libc.stdint cimport int64_t, uint32_t


cdef class Overlap:
    cdef int64_t *last
    cdef readonly Py_ssize_t rows

    cdef void note(self, int kind, uint32_t row, int64_t sequence) noexcept nogil
    cdef bint has(self, int kind, uint32_t row, int64_t sequence) noexcept nogil
