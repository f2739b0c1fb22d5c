# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The producer's side of tethered readers: how far they let it go, how long each holds it, and the cut.

Looked at once a claim, not once a record. Nothing that stands in the consumers segment is trusted with more than the
budget: a cursor that makes no sense holds the producer for that long, and its reader is cut.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from openbell.core.atomics cimport crash_point, load_acquire, load_relaxed, monotonic_ns, store_relaxed, swap_if
from openbell.core.buffers cimport Borrowed, borrow_writable
from openbell.core.consumers cimport SLOTS, STATE_ACTIVE, STATE_CUT, STATE_MASK, Tethers

cdef enum:
    NO_CURSOR = -1


cdef class Cuts:
    """How often each reader was cut by the process that has this: one for all its rings.

    A reader that stalls does so at all rings. Without this the one thread that writes them would be held for the budget
    at one after the other.
    """

    def __cinit__(self):
        self._lent = []

    cdef void note(self, int slot, uint64_t *state, uint64_t left) noexcept nogil:
        """A reader was just cut, where `state` is its state, and `left` what it was made."""
        self.of[slot] += 1
        self.state[slot] = state
        self.left[slot] = left


cdef class TetherGate:
    """The tethers of one ring as its producer sees them.

    Parameters
    ----------
    buffer : writable buffer
        The ring's part of the consumers segment; borrowed.
    capacity : int
        Records of the ring.
    budget_ns : int
        For how long a reader may hold the producer before it is cut; not at all while it has not come back to another
        ring of the same process, where it was cut since it was close behind here.
    cuts : Cuts
        Shared by the gates of all rings that the process writes.
    """

    def __init__(self, buffer, uint64_t capacity, int64_t budget_ns, Cuts cuts not None):
        cdef Borrowed lent = borrow_writable(buffer, sizeof(Tethers))
        self._lent = lent
        self.words = <Tethers *>lent.data
        self.capacity = capacity
        self.budget_ns = budget_ns
        self._cuts = cuts
        cuts._lent.append(lent)
        self.lowest = <uint64_t>NO_CURSOR

    cdef void look(self, uint64_t position) noexcept nogil:
        """Take note of where all readers are; charge those that held the producer since it last looked."""
        cdef int64_t now = monotonic_ns() if self.since else 0
        cdef int64_t elapsed = now - self.since
        cdef uint64_t state, cursor
        cdef int slot
        self.lowest = <uint64_t>NO_CURSOR
        for slot in range(SLOTS):
            state = load_acquire(&self.words.state[slot])  # SYNC POINT: tether-join (the state before its cursor)
            if state != self.seen[slot]:
                # Somebody else, or one that has come back.
                self.seen[slot] = state
                self._forgive(slot)
                self.holding &= ~(<uint32_t>1 << slot)
            if state & STATE_MASK != STATE_ACTIVE:
                continue
            if self.holding >> slot & 1:
                self.held[slot] += elapsed
                store_relaxed(&self.words.held_ns[slot], load_relaxed(&self.words.held_ns[slot]) + <uint64_t>elapsed)
            cursor = load_acquire(&self.words.cursor[slot].at)  # SYNC POINT: tether-gate
            self.cursor[slot] = cursor
            if position - cursor <= self.capacity // 2:
                self._forgive(slot)
            if cursor < self.lowest:
                self.lowest = cursor
        if self.since:
            self.since = now

    cdef void _forgive(self, int slot) noexcept nogil:
        self.held[slot] = 0
        self.known_cuts[slot] = self._cuts.of[slot]

    cdef bint _away(self, int slot) noexcept nogil:
        """Whether a reader was cut at another ring since it was close behind here, and did not come back to that."""
        if self.known_cuts[slot] == self._cuts.of[slot]:
            return False
        return load_relaxed(self._cuts.state[slot]) == self._cuts.left[slot]

    cdef bint cut(self, uint64_t needed) noexcept nogil:
        """Readers alone keep the producer from writing up to `needed`: cut those whose budget is used up.

        Returns
        -------
        bool
            Whether one was cut, and the others were looked at again.
        """
        cdef bint any_cut = False
        cdef int slot
        if not self.since:
            self.since = monotonic_ns()
        self.holding = 0
        for slot in range(SLOTS):
            if self.seen[slot] & STATE_MASK != STATE_ACTIVE or needed - self.cursor[slot] <= self.capacity:
                continue
            if self.held[slot] < self.budget_ns and not self._away(slot):
                self.holding |= <uint32_t>1 << slot
                continue
            crash_point(40)
            # It may leave in this instant; then there is nothing to cut.
            # SYNC POINT: tether-cut (the state, then the fence of ring-claim, then the records that may be overwritten)
            if swap_if(&self.words.state[slot], self.seen[slot], self.seen[slot] | STATE_CUT):
                crash_point(41)
                store_relaxed(&self.words.cuts[slot], load_relaxed(&self.words.cuts[slot]) + 1)
                self._cuts.note(slot, &self.words.state[slot], self.seen[slot] | STATE_CUT)
            any_cut = True
        if any_cut:
            self.look(needed)
        return any_cut
