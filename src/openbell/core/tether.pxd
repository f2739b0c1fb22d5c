# cython: language_level=3
from libc.stdint cimport uint64_t

from openbell.core.atomics cimport fence_acquire, load_acquire, load_relaxed, store_release
from openbell.core.consumers cimport Tethers
from openbell.core.layout cimport Record
from openbell.core.ring cimport RingWords


cdef class Tether:
    cdef tuple _lent
    # The ring, for those who read it: `head` (acquire) says how far, `records[position & (capacity - 1)]` is a record.
    cdef RingWords *ring
    cdef const Record *records
    cdef uint64_t capacity
    cdef Tethers *tethers
    cdef int slot
    cdef uint64_t *state
    cdef uint64_t *cursor
    cdef uint64_t *over
    # The state word while this tether gates; 0 while it does not, which no active state is.
    cdef uint64_t mine
    cdef uint64_t forks
    cdef uint64_t at
    cdef readonly unsigned long long epoch

    cdef bint mine_still(self) noexcept nogil
    cdef int _usable(self) except -1
    cdef bint _enter(self, uint64_t wanted) noexcept nogil
    cdef str _cut_message(self)

    cdef inline bint active(self) noexcept nogil:
        """Whether all that was read since the join is intact. Ask after reading, before believing it or advancing."""
        fence_acquire()  # SYNC POINT: tether-cut (what was read before the state that judges it)
        return load_relaxed(self.state) == self.mine and self.mine_still()

    cdef inline void advance(self, uint64_t position) noexcept nogil:
        """Let everything before `position` go: not a word of it may be looked at any more. Positions never decrease."""
        if position > self.at and self.mine_still():
            self.at = position
            store_release(self.cursor, position)  # SYNC POINT: tether-gate (what was read before the cursor lets it go)

    cdef inline uint64_t head(self) noexcept nogil:
        """How far the ring is published."""
        return load_acquire(&self.ring.head)  # SYNC POINT: ring-head
