# cython: language_level=3
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t

from picows.picows cimport WSFrame, WSListener, WSTransport

from openbell.core.layout cimport Record
from openbell.core.conflate cimport Conflator
from openbell.core.overlap cimport Overlap
from openbell.core.plan cimport CompiledRoute, Plan
from openbell.core.ring cimport RingWriter
from openbell.core.symbols cimport Key, Slot, SymbolTable

cdef enum:
    RINGS_MAX = 64

ctypedef struct SideRecord:
    int ring
    Record record


cdef class FrameListener(WSListener):
    cdef Plan plan
    cdef SymbolTable symbols
    cdef list _rings
    cdef PyObject *rings[RINGS_MAX]
    cdef int ring_count
    cdef uint64_t *counters
    cdef const uint64_t *clock_offset
    cdef tuple _lent
    cdef object _fallback
    cdef object _on_connected
    cdef object _on_disconnected
    cdef object _on_pressure
    cdef object _on_pong
    cdef object _bad_input
    cdef bint open_symbols
    cdef Py_ssize_t max_message_bytes
    cdef int publish_every
    cdef int frames_unpublished
    cdef int frames_this_read
    cdef bint in_read
    cdef uint64_t frames_before
    cdef uint64_t messages_here
    cdef int64_t read_ns
    cdef uint64_t records_here
    cdef uint64_t records_at_read
    cdef int64_t receive_ns
    cdef bytearray _fragments
    cdef bint skipping
    cdef SideRecord *side
    cdef Py_ssize_t side_first
    cdef Py_ssize_t side_end
    cdef Py_ssize_t side_room
    cdef Py_ssize_t side_max
    # A ring was full and something waits for room, by the policy in force: no record may pass that by.
    cdef bint strained
    cdef int overflow
    # Where the record goes that `_slot` gave a place to.
    cdef int via
    cdef int levels
    cdef Conflator conflator
    cdef Record scratch
    cdef uint64_t dropped[RINGS_MAX]
    cdef uint64_t room_to_resume[RINGS_MAX]
    # GAP and STATUS records of each ring that wait behind what was dropped, and how many.
    cdef list _held
    cdef Py_ssize_t held[RINGS_MAX]
    cdef int64_t side_lost
    # What this connection does while another one is there for the same events: NULL, or an `Overlap`.
    cdef Overlap overlap
    cdef bint noting
    cdef bint parking
    cdef list _parked
    cdef readonly Py_ssize_t parked_bytes
    cdef int close_code
    cdef str close_reason

    cdef _unusual(self, WSTransport transport, WSFrame frame)
    cdef void _stamp(self) noexcept nogil
    cdef int _message(self, const char *data, Py_ssize_t size) except -1
    cdef int _routed(self, const CompiledRoute *route, const char *data, Py_ssize_t size) except -1
    cdef bint _came_twice(self, const CompiledRoute *route, uint32_t row, int64_t sequence) noexcept nogil
    cdef PyObject *_decode(self, const CompiledRoute *route, const char *data, Py_ssize_t size) noexcept
    cdef int _event(self, const CompiledRoute *route, PyObject *event) except -2
    cdef int _block(self, const CompiledRoute *route, PyObject *events, Py_ssize_t first, Py_ssize_t n) except -2
    cdef int _keyed(self, const CompiledRoute *route, PyObject *event, const Key *key, int reason) except -2
    cdef int _book(self, const CompiledRoute *route, PyObject *event, const Key *key) except -2
    cdef int _no_room(self) noexcept
    cdef int _refuse(self, int reason) noexcept
    cdef void _gap(self, Record *record, int reason, int64_t count) noexcept
    cdef void _take(self, int shard, RingWriter ring, int n) noexcept
    cdef Py_ssize_t _waiting_group(self, Py_ssize_t at) noexcept nogil
    cdef int _not_asked(self, const Key *key, int refused, const Slot **slot) except -2
    cdef void _count(self, int reason, uint64_t n) noexcept nogil
    cdef Record *_slot(self, int shard) except? NULL
    cdef void _commit(self, int shard) noexcept
    cdef int _other(self, const char *data, Py_ssize_t size, int why) except -1
    cdef void _publish(self) noexcept
    cdef void _end_read(self) noexcept
    cdef Record *_slot_under_pressure(self, int shard) except? NULL
    cdef bint _passes(self, int shard, int n) noexcept
    cdef void _commit_waiting(self, int shard) noexcept
    cdef int _put(self, int shard, const Record *records, int n) except -1
    cdef int _tell(self, int shard, const Record *record) except -1
    cdef int _strain(self) except -1
    cdef Py_ssize_t _relieve(self) except -1
    cdef int _resume(self, int shard, RingWriter ring) except -1
    cdef Record *_beyond_side(self) except NULL
    cdef Py_ssize_t _drain_side(self) except -1
    cdef bint _grow_side(self) except -1
