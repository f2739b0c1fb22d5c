# cython: language_level=3
from libc.stdint cimport int64_t, uint32_t, uint64_t

from openbell.core.atomics cimport load_relaxed
from openbell.core.consumers cimport SLOTS, Tethers


cdef class Cuts:
    cdef uint64_t of[SLOTS]
    # Where each reader was cut last, and what its state has been there since, until it comes back.
    cdef uint64_t *state[SLOTS]
    cdef uint64_t left[SLOTS]
    cdef list _lent

    cdef void note(self, int slot, uint64_t *state, uint64_t left) noexcept nogil


cdef class TetherGate:
    cdef object _lent
    cdef Cuts _cuts
    cdef Tethers *words
    cdef uint64_t capacity
    cdef int64_t budget_ns
    # The least that an active reader may still be looking at, when last looked; all ones: there is no such reader.
    cdef uint64_t lowest
    cdef uint64_t seen[SLOTS]
    cdef uint64_t cursor[SLOTS]
    # For how long each reader held the producer since it last was close behind.
    cdef int64_t held[SLOTS]
    # How often the process had cut each reader, at whatever ring, when that reader was last close behind at this one.
    cdef uint64_t known_cuts[SLOTS]
    # Since when the producer is held by the readers of the mask and not charged yet; 0: it is not.
    cdef int64_t since
    cdef uint32_t holding

    cdef void _forgive(self, int slot) noexcept nogil
    cdef bint _away(self, int slot) noexcept nogil
    cdef void look(self, uint64_t position) noexcept nogil
    cdef bint cut(self, uint64_t needed) noexcept nogil

    cdef inline bint changed(self) noexcept nogil:
        """Whether a reader has joined, left or come back since the last look."""
        cdef uint64_t different = 0
        cdef int slot
        for slot in range(SLOTS):
            different |= load_relaxed(&self.words.state[slot]) ^ self.seen[slot]
        return different != 0

    cdef inline void release(self) noexcept nogil:
        """The producer is not held, or not by readers alone."""
        self.since = 0
        self.holding = 0
