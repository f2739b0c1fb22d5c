# cython: language_level=3
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t

from openbell.core.atomics cimport crash_point, prefetch_write
from openbell.core.buffers cimport Borrowed
from openbell.core.conflate cimport Conflator
from openbell.core.layout cimport Record
from openbell.core.ring cimport RingWriter

cdef enum:
    RINGS_MAX = 64
    # How far ahead of the writer a ring slot is fetched for writing.
    SLOTS_AHEAD = 8
    # Counter block of a receiver, as words; reasons start at 64.
    C_FRAMES = 0
    C_BYTES = 1
    C_EVENTS = 2
    C_RECORDS = 3
    C_PUBLISHES = 4
    C_READS = 5
    C_SIDE_PEAK = 7
    C_PRESSURE = 8
    C_MAX_FRAMES = 9
    C_CONTROL = 10
    C_LOST = 11
    C_REASONS = 64
    COUNTER_BYTES = 1024

cdef enum Overflow:
    BLOCK = 0
    CONFLATE = 1
    DROP = 2

cdef enum Via:
    VIA_RING = 0
    VIA_SIDE = 1
    VIA_CONFLATOR = 2

ctypedef struct SideRecord:
    int ring
    Record record


cdef class Outlet:
    cdef list _rings
    cdef PyObject *rings[RINGS_MAX]
    cdef int ring_count
    cdef uint64_t *counters
    cdef Borrowed _lent
    cdef object _on_pressure
    # When what is published came; the listener keeps it.
    cdef int64_t receive_ns
    cdef SideRecord *side
    cdef Py_ssize_t side_first
    cdef Py_ssize_t side_end
    cdef Py_ssize_t side_room
    cdef Py_ssize_t side_max
    # A ring was full and something waits for room, by the policy in force: no record may pass that by.
    cdef bint strained
    cdef int overflow
    # Where the record goes that `slot` gave a place to.
    cdef int via
    cdef int levels
    cdef Conflator conflator
    cdef Record scratch
    cdef uint64_t dropped[RINGS_MAX]
    cdef uint64_t room_to_resume[RINGS_MAX]
    # Records that are no events, which wait behind what was dropped of each ring, and how many.
    cdef list _held
    cdef Py_ssize_t held[RINGS_MAX]
    cdef int64_t side_lost

    cdef void publish(self) noexcept
    cdef void _count(self, int reason, uint64_t n) noexcept nogil
    cdef int put(self, int shard, const Record *records, int n) except -1
    cdef int tell(self, int shard, const Record *record) except -1
    cdef int tell_all(self, const Record *record) except -1
    cdef void gap(self, Record *record, int reason, int64_t count) noexcept
    cdef Py_ssize_t drain(self) except -1
    cdef Py_ssize_t relieve(self) except -1
    cdef int64_t abandon(self) except -1
    cdef Py_ssize_t pending(self) noexcept
    cdef Record *slot_under_pressure(self, int shard) except? NULL
    cdef void commit_waiting(self, int shard) noexcept
    cdef bint _passes(self, int shard, int n) noexcept
    cdef int _strain(self) except -1
    cdef int _resume(self, int shard, RingWriter ring) except -1
    cdef void _take(self, int shard, RingWriter ring, int n) noexcept
    cdef Py_ssize_t _waiting_group(self, Py_ssize_t at) noexcept nogil
    cdef Py_ssize_t _drain_side(self) except -1
    cdef bint _grow_side(self) except -1
    cdef Record *_beyond_side(self) except NULL

    cdef inline Record *slot(self, int shard) except? NULL:
        """Where the next record of a shard goes: its ring, or where it waits while that is full. NULL: nowhere."""
        cdef Record *record
        if not self.strained:
            record = (<RingWriter>self.rings[shard]).slot()
            if record is not NULL:
                return record
        return self.slot_under_pressure(shard)

    cdef inline void commit(self, int shard) noexcept:
        """The record is written where `slot` said."""
        cdef RingWriter ring
        if not self.strained:
            ring = <RingWriter>self.rings[shard]
            crash_point(21)
            ring.position += 1
            crash_point(22)
            prefetch_write(&ring.records[(ring.position + SLOTS_AHEAD) & ring.mask])
        else:
            self.commit_waiting(shard)
