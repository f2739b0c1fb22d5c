# cython: language_level=3
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from openbell.core.layout cimport Record

cdef enum:
    # What a symbol may have waiting, each kind apart.
    BOOK
    QUOTE
    # Trades, and prices of tickers, from before the ticker that waits.
    EARLIER
    TICKER
    TRADES
    # A record that is no event, in an entry of its own.
    TOLD
    PARTS

ctypedef struct Sums:
    # The last of some trades, and what all of them come to.
    Record record
    double open
    double high
    double low
    double volume
    double turnover
    int64_t trades
    # Trades, and prices that are none.
    int64_t prices

ctypedef struct Pending:
    uint32_t row
    uint8_t has
    uint8_t levels
    Pending *next
    # When each part was last changed.
    uint64_t changed[PARTS]
    Record quote
    Record ticker
    Sums earlier
    Sums trades
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
    cdef uint64_t changes
    # Events that wait: each becomes one record or group. And records that are no events.
    cdef Py_ssize_t waiting
    cdef Py_ssize_t told

    cdef int add(self, int ring, const Record *records, int n) noexcept
    cdef int tell(self, int ring, const Record *record) except -1
    cdef Pending *_enqueued(self, int ring, uint32_t row) noexcept
    cdef void _changed(self, Pending *pending, int part) noexcept nogil
    cdef int _ticker(self, Pending *pending, const Record *record) noexcept
    cdef int size_of_next(self, int ring) noexcept nogil
    cdef void take(self, int ring, Record *out) noexcept nogil
    cdef void _release(self, int ring) noexcept nogil
    cdef void _detach(self, const Pending *pending) noexcept nogil
    cdef Py_ssize_t clear(self) noexcept
