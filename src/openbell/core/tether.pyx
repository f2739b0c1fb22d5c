# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The reader that holds a ring's producer back, for a bounded time: what it has not let go of is not overwritten.

A feed has a fixed number of slots for such readers, each with a state word and a cursor a ring. The reader joins
without the producer's help, on a ring that may stand still; the producer looks at the states of its ring each time it
claims room. A reader that holds it for longer than its budget is cut off by one compare-and-swap of its state, and finds
out when it looks at that after reading. docs/memory-model.md argues each SYNC POINT.
"""

import os

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memset

from openbell.core.atomics cimport (
    crash_point,
    fence_full,
    load_acquire,
    load_relaxed,
    store_relaxed,
    store_release,
    swap_if,
)
from openbell.core.buffers cimport Borrowed, borrow, borrow_writable
from openbell.core.consumers cimport (
    STATE_ACTIVE,
    STATE_BITS,
    STATE_CUT,
    STATE_FREE,
    STATE_MASK,
    Consumers,
    ReadersBell,
    Tethers,
    wake_readers,
)
from openbell.core.consumers cimport SLOTS as _SLOTS
from openbell.core.layout cimport FIRST_OF_GROUP, LAST_OF_GROUP, Record, of_group
from openbell.core.ring cimport RING_HEADER, copy_records, ring_words

from openbell.errors import FeedGone, FeedError, ReaderCut

SLOTS = _SLOTS
"""How many tethered readers a feed has room for."""
PUBLISHED_BELL_AT = 128
"""Where the bell is that receivers ring behind a head; workers ring the one behind it."""
APPLIED_BELL_AT = 256
BELL_BYTES = sizeof(ReadersBell)
INFO_AT = 512
INFO_BYTES = 128
TETHERS_AT = sizeof(Consumers)
"""Where the tethers of the rings begin, receiver by receiver."""
TETHERS_BYTES = sizeof(Tethers)
STATES = {STATE_FREE: "free", STATE_ACTIVE: "active", STATE_CUT: "cut"}

# How often this process came out of a fork: what it holds then is its parent's.
cdef uint64_t FORKS = 0


def _forked():
    global FORKS
    FORKS += 1


os.register_at_fork(after_in_child=_forked)


def size(rings: int) -> int:
    """Return the bytes of the consumers segment's body for a feed of `rings` rings."""
    return TETHERS_AT + rings * TETHERS_BYTES


def format(body, receivers: int, workers: int) -> None:
    """Make an empty consumers segment."""
    cdef Borrowed lent = borrow_writable(body, size(receivers * workers))
    cdef Consumers *words = <Consumers *>lent.data
    memset(words, 0, size(receivers * workers))
    words.slots = _SLOTS
    words.rings = receivers * workers
    words.receivers = receivers
    words.workers = workers


def end(body) -> None:
    """Tell all readers that the generation is over, and wake those that sleep."""
    cdef Borrowed lent = borrow_writable(body, sizeof(Consumers))
    cdef Consumers *words = <Consumers *>lent.data
    store_release(&words.published.over, 1)
    store_release(&words.applied.over, 1)
    wake_readers(&words.published)
    wake_readers(&words.applied)


cdef Tethers *_tethers(Borrowed lent, uint64_t ring) except NULL:
    cdef Consumers *words = <Consumers *>lent.data
    if words.slots != _SLOTS or lent.size < size(words.rings):
        raise ValueError("the buffer holds no consumers segment")
    if ring >= words.rings:
        raise ValueError(f"ring {ring} of {words.rings}")
    return <Tethers *>(lent.data + sizeof(Consumers)) + ring


def states(body, ring: int) -> list:
    """Return of each slot ``(state, epoch, cursor, held_ns, cuts)`` at the ring of number `ring`."""
    cdef Borrowed lent = borrow(body, sizeof(Consumers))
    cdef Tethers *words = _tethers(lent, ring)
    cdef uint64_t state
    found = []
    for slot in range(_SLOTS):
        state = load_acquire(&words.state[slot])
        found.append((
            STATES.get(state & STATE_MASK, "invalid"),
            state >> STATE_BITS,
            load_acquire(&words.cursor[slot].at),
            load_relaxed(&words.held_ns[slot]),
            load_relaxed(&words.cuts[slot]),
        ))
    return found


def clear(body, slot: int) -> int:
    """Take a slot out of all rings, for a reader that is dead or gone. Whoever calls holds the slot's lock.

    Returns
    -------
    int
        In how many rings it still held the producer.
    """
    cdef Borrowed lent = borrow_writable(body, sizeof(Consumers))
    cdef Consumers *words = <Consumers *>lent.data
    cdef Tethers *tethers
    cdef uint64_t state
    cdef uint64_t ring
    cdef int active = 0
    if not 0 <= slot < _SLOTS:
        raise ValueError(f"slot {slot} of {_SLOTS}")
    for ring in range(words.rings):
        tethers = _tethers(lent, ring)
        while True:
            state = load_acquire(&tethers.state[slot])
            # The producer may cut it at this moment: then the state is looked at once more.
            if swap_if(&tethers.state[slot], state, state & ~<uint64_t>STATE_MASK):
                active += (state & STATE_MASK) == STATE_ACTIVE
                break
    return active


@cython.no_gc_clear
cdef class Tether:
    """A reader's hold on one ring. Made by `openbell.memory.consumers.Consumer.tether`.

    Parameters
    ----------
    consumers : writable buffer
        Body of the consumers segment; borrowed for the life of the tether.
    slot : int
        The reader's slot; it holds the slot's lock.
    number : int
        Number of the ring in the feed: ``receiver * workers + worker``.
    ring : buffer
        Body of the ring segment (read-only is enough); borrowed.

    Attributes
    ----------
    epoch : int
        How often the slot was joined to this ring; changes with each `join`.

    Notes
    -----
    For one thread. After a fork it belongs to the parent: in the child every method raises.

    A tethered reader must come back: `join`, then read and let go, again and again. It holds the producer as soon as it
    is a whole ring behind, and for ``max_hold_ms`` at most; then it is cut, and what it reads is overwritten.
    """

    def __init__(self, consumers, int slot, number, ring):
        cdef Borrowed shared = borrow_writable(consumers, TETHERS_AT)
        cdef Borrowed lent = borrow(ring, RING_HEADER)
        if not 0 <= slot < _SLOTS:
            raise ValueError(f"slot {slot} of {_SLOTS}")
        self.ring = ring_words(lent)
        self.tethers = _tethers(shared, number)
        self._lent = (shared, lent)
        self.records = <const Record *>(<uint8_t *>self.ring + RING_HEADER)
        self.capacity = self.ring.capacity
        self.slot = slot
        self.state = &self.tethers.state[slot]
        self.cursor = &self.tethers.cursor[slot].at
        self.over = &(<Consumers *>shared.data).published.over
        self.forks = FORKS
        self.epoch = load_acquire(self.state) >> STATE_BITS

    def __dealloc__(self):
        if self.mine and self.mine_still():
            swap_if(self.state, self.mine, self.mine & ~<uint64_t>STATE_MASK)

    cdef bint mine_still(self) noexcept nogil:
        return self.forks == FORKS

    cdef int _usable(self) except -1:
        if not self.mine_still():
            raise FeedError("this tether belongs to the process that this one was forked from; attach in each process")
        if load_acquire(self.over):
            raise FeedGone("the feed was stopped or restarted; attach again")
        return 0

    @property
    def position(self) -> int:
        """Position of the next record to be read: everything before it was let go."""
        return self.at

    @property
    def gating(self) -> bool:
        """Whether it is joined and was not cut: all that was read since the join is intact."""
        return self.mine != 0 and self.active()

    @property
    def lag(self) -> int:
        """How many published records it has not let go of."""
        return self.head() - self.at if self.mine else 0

    def join(self, where="now") -> int:
        """Begin to hold the producer back. After a cut, this is how to go on.

        Parameters
        ----------
        where : {"now", "oldest"} or int
            Where to start: behind the last record that is published, at the oldest that can be had without being
            overtaken (half a ring back), or at a position, not beyond the last one.

        Returns
        -------
        int
            The first position that is kept. It is later than the one asked for where that could not be had any more, and
            where that was within a group: a group is read whole or not at all.

        Raises
        ------
        FeedError
            This process was forked from the one that made the tether.
        FeedGone
            The feed was stopped or restarted.
        ValueError
            It has joined already, or the position lies in the future.
        """
        cdef uint64_t head, claim, oldest, wanted
        self._usable()
        if self.gating:
            raise ValueError("this tether holds the ring already; leave first")
        self.mine = 0
        while True:
            head = self.head()
            claim = load_acquire(&self.ring.claim)
            oldest = min(head, claim - self.capacity // 2 if claim > self.capacity // 2 else 0)
            if where == "now":
                wanted = head
            elif where == "oldest":
                wanted = oldest
            elif isinstance(where, int) and 0 <= where <= head:
                wanted = max(<uint64_t>where, oldest)
            else:
                raise ValueError(f"where must be 'now', 'oldest' or a position up to the head ({head}), not {where!r}")
            if self._enter(wanted):
                return self.at

    cdef bint _enter(self, uint64_t wanted) noexcept nogil:
        """Join at `wanted` or, if it is too late for that, at the head; False if it was cut off meanwhile."""
        cdef uint64_t half = self.capacity // 2
        cdef uint64_t head
        self.epoch = (load_relaxed(self.state) >> STATE_BITS) + 1
        self.mine = self.epoch << STATE_BITS | STATE_ACTIVE
        self.at = wanted
        store_relaxed(self.cursor, wanted)
        crash_point(42)
        store_release(self.state, self.mine)
        crash_point(43)
        fence_full()  # SYNC POINT: tether-join (pairs with the fence between a claim and the next look at the states)
        # At most one claim, of half a ring at most, was decided without knowing of us and is not seen here.
        while load_acquire(&self.ring.claim) > self.at + half:
            self.at = self.head()
            store_release(self.cursor, self.at)
        # No head lies within a group; where we start may.
        head = self.head()
        while self.at < head and _continues(self.records + (self.at & (self.capacity - 1))):
            self.at += 1
        store_release(self.cursor, self.at)
        crash_point(44)
        return self.active()

    def leave(self) -> None:
        """Let the ring go. May be called at any time, also after a cut; `join` begins anew."""
        if self.mine and self.mine_still():
            if not swap_if(self.state, self.mine, self.mine & ~<uint64_t>STATE_MASK):
                # Cut meanwhile: from here nobody but its reader moves the state on.
                store_release(self.state, self.mine & ~<uint64_t>STATE_MASK)
        self.mine = 0

    def read(self, max_records: int = 4096) -> bytes:
        """Copy what is published and not read yet, and let it go.

        Parameters
        ----------
        max_records : int
            At most so many records, and what further ones the last group of them has.

        Returns
        -------
        bytes
            64 a record, in order, without a hole.

        Raises
        ------
        ReaderCut
            It was cut off, or has not joined. What it missed is known once it has joined again.
        FeedError, FeedGone
            As `join`.
        """
        cdef uint64_t head, n
        cdef const Record *record
        self._usable()
        head = self.head()
        n = min(head - self.at, <uint64_t>max(1, max_records))
        if not self.mine or head - self.at > self.capacity:
            raise ReaderCut(self._cut_message())
        while 0 < n < head - self.at:
            record = self.records + ((self.at + n - 1) & (self.capacity - 1))
            if not of_group(record) or record.flags & LAST_OF_GROUP:
                break
            n += 1
        taken = copy_records(self.records, self.at, n, self.capacity)
        if not self.active():
            raise ReaderCut(self._cut_message())
        self.advance(self.at + n)
        crash_point(45)
        return taken

    def advance_to(self, position: int) -> None:
        """Let everything before `position` go: for those who read the ring's memory themselves.

        Raises
        ------
        ReaderCut
            It was cut off before: what was read is not to be believed.
        FeedError, FeedGone
            As `join`.
        ValueError
            Nothing is published there yet, or it was let go before.
        """
        self._usable()
        if not self.mine or not self.active():
            raise ReaderCut(self._cut_message())
        if not self.at <= position <= self.head():
            raise ValueError(f"position {position} is not from {self.at} to {self.head()}")
        self.advance(position)

    cdef str _cut_message(self):
        if not self.mine:
            return "this tethered reader has not joined the ring: call join() first"
        return (
            f"this tethered reader was cut off from ring {self.ring.ring_id}: it held its writer for longer than "
            "max_hold_ms. What it read last is not to be believed; join() again, and do less between two reads"
        )


cdef inline bint _continues(const Record *record) noexcept nogil:
    return of_group(record) and not record.flags & FIRST_OF_GROUP
