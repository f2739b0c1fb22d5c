# cython: language_level=3
from libc.stdint cimport int64_t, uint64_t

from openbell.core.consumers cimport ReadersBell


cdef class Watch:
    cdef list _lent
    cdef int count
    cdef const uint64_t **words
    cdef uint64_t *seen
    cdef ReadersBell *bell
    cdef int strategy
    # Something came since it last slept unannounced: in a steady flow it does not announce itself at all.
    cdef bint fresh

    cdef bint look(self) noexcept nogil
    cdef bint ended(self) noexcept nogil
    cdef bint pause(self, int64_t until_ns) noexcept nogil
    cdef bint _sleep(self, int64_t left_ns) noexcept nogil
