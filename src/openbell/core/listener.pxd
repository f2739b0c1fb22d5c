# cython: language_level=3
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t

from picows.picows cimport WSFrame, WSListener, WSTransport

from openbell.core.holes cimport Holes
from openbell.core.outlet cimport Outlet
from openbell.core.overlap cimport Overlap
from openbell.core.plan cimport CompiledRoute, Plan
from openbell.core.symbols cimport Key, Slot, SymbolTable


cdef class FrameListener(WSListener):
    cdef Plan plan
    cdef SymbolTable symbols
    cdef Outlet outlet
    cdef int ring_count
    cdef int levels
    cdef uint64_t *counters
    cdef const uint64_t *clock_offset
    cdef tuple _lent
    cdef object _fallback
    cdef object _on_connected
    cdef object _on_disconnected
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
    cdef int fragments
    cdef bint skipping
    # While another connection is there for the same events: what the one before this had, and what this one has had
    # since the one after it was called; None, or both at once. `doubled`: either is there.
    cdef Overlap overlap
    cdef Overlap noted
    cdef bint doubled
    # What follows the numbers of streams that are numbered without a break; None: the vendor has none. `checks`: the
    # number of an event matters, for this or for the overlap.
    cdef Holes holes
    cdef bint checks
    cdef bint parking
    cdef list _parked
    cdef readonly Py_ssize_t parked_bytes
    cdef int close_code
    cdef str close_reason

    cdef _unusual(self, WSTransport transport, WSFrame frame)
    cdef _too_large(self, WSTransport transport)
    cdef void _stamp(self) noexcept nogil
    cdef int _message(self, const char *data, Py_ssize_t size) except -1
    cdef int _routed(self, const CompiledRoute *route, const char *data, Py_ssize_t size) except -1
    cdef int _check(self, const CompiledRoute *route, const Slot *slot, int64_t number) except -2
    cdef int _pass_over(self, const CompiledRoute *route, PyObject *event, const Key *key, int reason) except -2
    cdef int _follow(self, const CompiledRoute *route, const Slot *slot, int64_t number) except -2
    cdef bint _came_twice(self, const CompiledRoute *route, uint32_t row, int64_t sequence) noexcept nogil
    cdef PyObject *_decode(self, const CompiledRoute *route, const char *data, Py_ssize_t size) noexcept
    cdef int _event(self, const CompiledRoute *route, PyObject *event) except -2
    cdef int _block(self, const CompiledRoute *route, PyObject *events, Py_ssize_t first, Py_ssize_t n) except -2
    cdef int _keyed(self, const CompiledRoute *route, PyObject *event, const Key *key, int reason) except -2
    cdef int _book(self, const CompiledRoute *route, PyObject *event, const Key *key) except -2
    cdef int _no_room(self) noexcept
    cdef int _refuse(self, int reason) noexcept
    cdef int _not_asked(self, const Key *key, int refused, const Slot **slot) except -2
    cdef void _count(self, int reason, uint64_t n) noexcept nogil
    cdef int _other(self, const char *data, Py_ssize_t size, int why) except -1
    cdef void _publish(self) noexcept
    cdef void _end_read(self) noexcept
