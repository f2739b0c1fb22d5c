# cython: language_level=3
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from openbell.core.layout cimport Record

ctypedef struct Pending:
    # What one symbol has waiting, each kind apart.
    uint32_t row
    uint8_t has
    uint8_t levels
    Pending *next
    Record quote
    Record ticker
    # The last trade, and what all of them come to.
    Record trade
    double open
    double high
    double low
    double volume
    double turnover
    int64_t trades
    # As many as the feed keeps levels.
    Record book[1]


cdef class Conflator:
    cdef Pending **by_row
    cdef uint64_t rows
    cdef int levels
    cdef int rings
    cdef Pending **first
    cdef Pending **last
    cdef Pending *spare
    # Units that wait: each becomes one record or group.
    cdef Py_ssize_t waiting
    cdef Py_ssize_t *waiting_of

    cdef int add(self, int ring, const Record *records, int n) noexcept
    cdef Pending *_pending(self, int ring, uint32_t row) noexcept
    cdef int _trade(self, Pending *pending, const Record *record) noexcept
    cdef int size_of_next(self, int ring) noexcept nogil
    cdef void take(self, int ring, Record *out) noexcept nogil
    cdef Py_ssize_t clear(self) noexcept
