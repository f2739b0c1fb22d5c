# cython: language_level=3
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t

from picows.picows cimport WSFrame, WSListener, WSTransport

from openbell.core.layout cimport Record
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
    cdef object _bad_input
    cdef bint open_symbols
    cdef Py_ssize_t max_message_bytes
    cdef int publish_every
    cdef int frames_unpublished
    cdef int frames_this_read
    cdef bint in_read
    cdef uint64_t frames_before
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
    cdef bint side_active
    cdef int64_t side_lost
    cdef int close_code
    cdef str close_reason

    cdef _unusual(self, WSTransport transport, WSFrame frame)
    cdef void _stamp(self) noexcept nogil
    cdef int _message(self, const char *data, Py_ssize_t size) except -1
    cdef PyObject *_decode(self, const CompiledRoute *route, const char *data, Py_ssize_t size) noexcept
    cdef int _event(self, const CompiledRoute *route, PyObject *event) except -2
    cdef int _block(self, const CompiledRoute *route, PyObject *events, Py_ssize_t first, Py_ssize_t n) except -2
    cdef int _keyed(self, const CompiledRoute *route, PyObject *event, const Key *key, int reason) except -2
    cdef int _refuse(self, int reason) noexcept
    cdef int _not_asked(self, const Key *key, int refused, const Slot **slot) except -2
    cdef void _count(self, int reason, uint64_t n) noexcept nogil
    cdef Record *_slot(self, int shard) except? NULL
    cdef void _commit(self, int shard) noexcept
    cdef int _other(self, const char *data, Py_ssize_t size, int why) except -1
    cdef void _publish(self) noexcept
    cdef void _end_read(self) noexcept
    cdef Record *_slot_under_pressure(self, RingWriter ring) except? NULL
    cdef bint _grow_side(self) except -1
