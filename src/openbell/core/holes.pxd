# cython: language_level=3
from libc.stdint cimport int64_t, uint32_t, uint64_t

from openbell.core.buffers cimport Borrowed

ctypedef struct Followed:
    # The greatest number that came; 0: none did.
    int64_t last
    # Up to which interruption it is followed.
    uint32_t interruption
    uint32_t unused


cdef class Holes:
    cdef Followed *followed
    cdef readonly Py_ssize_t rows
    cdef readonly int streams
    cdef uint32_t interruption
    cdef uint64_t *counters
    cdef Borrowed _lent

    cdef int64_t missing_before(self, int stream, uint32_t row, int64_t number, bint *told) noexcept nogil
    cdef void count(self, int64_t missing, bint told) noexcept nogil
