# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Where a listener's records go: into the rings, or, while one is full, where they wait by the policy in force.

``block``: into the side queue, in order, while reading pauses. ``conflate``: into one entry a symbol. ``drop``: nowhere,
but for a count that is told as a gap. Records that are no events (gaps, sessions, repairs) are never dropped and
never merged.
"""

from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memmove, memset

from openbell.core.atomics cimport crash_point
from openbell.core.buffers cimport Borrowed, borrow_writable
from openbell.core.conflate cimport Conflator
from openbell.core.layout cimport (
    FIRST_OF_GROUP,
    HAS_A,
    HAS_B,
    KIND_GAP,
    KIND_REPAIR,
    KIND_STATUS,
    LAST_OF_GROUP,
    ROW_NONE,
    Record,
)
from openbell.core.reasons cimport CONFLATED, SIDE_QUEUE_FULL
from openbell.core.ring cimport RingWriter
from openbell.core.snapshot cimport LEVELS_MAX

cdef enum:
    GAP_OVERFLOW = 4

OVERFLOWS = ("block", "conflate", "drop")


cdef class Outlet:
    """The way of one listener into its receiver's rings.

    Parameters
    ----------
    rings : list of RingWriter
        One a shard, recovered.
    counters : writable buffer
        The receiver's counter block (128 words).
    on_pressure : callable
        Called when a ring is full and something begins to wait for room.
    overflow : {"block", "conflate", "drop"}
        What happens when a ring is full.
    levels : int
        Records of a group at most.
    side_queue_records : int
        Bound of the side queue.
    rows : int
        Rows that symbols can have.
    """

    def __init__(self, list rings not None, counters, on_pressure, str overflow, int levels, Py_ssize_t side_queue_records,
                 Py_ssize_t rows):
        cdef Borrowed counter_block = borrow_writable(counters, COUNTER_BYTES)
        cdef int i
        self._rings = [ring for ring in rings if isinstance(ring, RingWriter)]
        if len(self._rings) != len(rings):
            raise TypeError("rings must be RingWriters")
        if not all((<RingWriter>ring).recovered for ring in self._rings):
            raise ValueError("a ring was not taken over: call recover() of each writer first")
        self.ring_count = len(rings)
        if overflow not in OVERFLOWS:
            raise ValueError(f"overflow must be one of {', '.join(OVERFLOWS)}, not {overflow!r}")
        self.overflow = OVERFLOWS.index(overflow)
        self.levels = levels
        for i, ring in enumerate(self._rings):
            self.rings[i] = <PyObject *>ring
            if levels > <int>((<RingWriter>ring).capacity // 2):
                raise ValueError(f"a book of {levels} levels does not fit a ring of {(<RingWriter>ring).capacity}")
            # Not at the first free slot: the GAP record that ends each episode takes one, and would leave none.
            self.room_to_resume[i] = max(2, (<RingWriter>ring).capacity // 8)
        self.conflator = Conflator(rows, self.ring_count, levels) if self.overflow == CONFLATE else None
        self._held = [[] for _ in rings]
        self._lent = counter_block
        self.counters = <uint64_t *>counter_block.data
        self._on_pressure = on_pressure
        self.side_max = side_queue_records

    def __dealloc__(self):
        PyMem_Free(self.side)

    cdef void publish(self) noexcept:
        """Show the workers everything that is in the rings."""
        cdef int i
        cdef RingWriter ring
        for i in range(self.ring_count):
            ring = <RingWriter>self.rings[i]
            if ring.position != ring.published:
                ring.flush()
                self.counters[C_PUBLISHES] += 1

    cdef inline void _count(self, int reason, uint64_t n) noexcept nogil:
        self.counters[C_REASONS + reason] += n

    # ---- a full ring ----

    cdef Record *slot_under_pressure(self, int shard) except? NULL:
        """By the policy in force: a place where the record waits, or NULL if it is lost."""
        cdef RingWriter ring = <RingWriter>self.rings[shard]
        cdef bint freed
        if not self.strained:
            self.publish()
            if self.overflow == BLOCK:
                with nogil:
                    freed = ring.wait_for_space(1)
                if freed:
                    return ring.slot()
            self._strain()
        self.via = VIA_RING
        if self.overflow == BLOCK:
            self.via = VIA_SIDE
            if self.side_end == self.side_room and not self._grow_side():
                return NULL
            return &self.side[self.side_end].record
        if self._passes(shard, 1):
            return ring.at(0)
        if self.overflow == CONFLATE:
            self.via = VIA_CONFLATOR
            return &self.scratch
        return NULL

    cdef bint _passes(self, int shard, int n) noexcept:
        """Under the policies that go on reading: whether nothing waits for the ring before `n` records with room."""
        if self.overflow == CONFLATE:
            if self.conflator.first[shard] is not NULL:
                return False
        elif self.dropped[shard] or self.held[shard]:
            return False
        return (<RingWriter>self.rings[shard]).room(n)

    cdef void commit_waiting(self, int shard) noexcept:
        """As `commit`, while something waits."""
        cdef int merged
        if self.via == VIA_RING:
            (<RingWriter>self.rings[shard]).position += 1
        elif self.via == VIA_SIDE:
            self.side[self.side_end].ring = shard
            self.side_end += 1
        else:
            merged = self.conflator.add(shard, &self.scratch, 1)
            if merged < 0:
                # No memory. It was counted as published a moment ago.
                self.counters[C_RECORDS] -= 1
                self.counters[C_LOST] += 1
                self.side_lost += 1
                self._count(SIDE_QUEUE_FULL, 1)
            elif merged:
                self.counters[C_RECORDS] -= <uint64_t>merged
                self._count(CONFLATED, merged)

    cdef int put(self, int shard, const Record *records, int n) except -1:
        """Publish an event of `n` records that belong together; 0 if there is no room for it."""
        cdef RingWriter ring = <RingWriter>self.rings[shard]
        cdef bint freed
        cdef int i
        cdef int merged = 0
        if not self.strained and not ring.room(n):
            self.publish()
            freed = False
            if self.overflow == BLOCK:
                with nogil:
                    freed = ring.wait_for_space(n)
            if not freed:
                self._strain()
        if not self.strained or (self.overflow != BLOCK and self._passes(shard, n)):
            for i in range(n):
                ring.at(i)[0] = records[i]
                crash_point(21)
            ring.position += n
            crash_point(22)
        elif self.overflow == BLOCK:
            while self.side_end + n > self.side_room:
                if not self._grow_side():
                    return 0
            for i in range(n):
                self.side[self.side_end].ring = shard
                self.side[self.side_end].record = records[i]
                self.side_end += 1
        elif self.overflow == CONFLATE:
            merged = self.conflator.add(shard, records, n)
            if merged < 0:
                return 0
            self._count(CONFLATED, merged)
        else:
            return 0
        self.counters[C_RECORDS] += <uint64_t>(1 - merged)
        return 1

    cdef int _strain(self) except -1:
        self.strained = True
        self.counters[C_PRESSURE] += 1
        self._on_pressure()
        return 0

    cdef bint _grow_side(self) except -1:
        cdef Py_ssize_t room = min(self.side_max, max(4096, self.side_room * 2))
        cdef SideRecord *grown
        if room <= self.side_room:
            if not self.side_first:
                return False
            # What was drained has left room at the front.
            memmove(self.side, &self.side[self.side_first], (self.side_end - self.side_first) * sizeof(SideRecord))
            self.side_end -= self.side_first
            self.side_first = 0
            return True
        grown = <SideRecord *>PyMem_Realloc(self.side, room * sizeof(SideRecord))
        if grown is NULL:
            # No memory: the record is lost and counted, like one beyond the bound.
            return False
        self.side = grown
        self.side_room = room
        return True

    cdef Py_ssize_t drain(self) except -1:
        """Move what waits into the rings, as far as there is room; return how much still waits."""
        cdef Record record
        cdef Py_ssize_t left
        if not self.strained:
            return 0
        left = self._drain_side() if self.overflow == BLOCK else self.relieve()
        self.publish()
        if not left and self.side_lost:
            self.gap(&record, GAP_OVERFLOW, self.side_lost)
            self.side_lost = 0
            self.tell_all(&record)
            left = self.pending()
        return left

    cdef Py_ssize_t _drain_side(self) except -1:
        cdef RingWriter ring
        cdef Py_ssize_t n, i
        if <uint64_t>self.side_end > self.counters[C_SIDE_PEAK]:
            self.counters[C_SIDE_PEAK] = self.side_end
        while self.side_first < self.side_end:
            n = self._waiting_group(self.side_first)
            ring = <RingWriter>self.rings[self.side[self.side_first].ring]
            if not ring.room(n):
                return self.side_end - self.side_first
            for i in range(n):
                ring.at(i)[0] = self.side[self.side_first + i].record
                crash_point(26)
            ring.position += n
            self.side_first += n
        self.strained = False
        self.side_first = self.side_end = 0
        return 0

    cdef inline Py_ssize_t _waiting_group(self, Py_ssize_t at) noexcept nogil:
        """How many records of the side queue, from `at`, belong together."""
        cdef Py_ssize_t n = 1
        if self.side[at].record.flags & FIRST_OF_GROUP:
            while not self.side[at + n - 1].record.flags & LAST_OF_GROUP:
                n += 1
        return n

    cdef Py_ssize_t relieve(self) except -1:
        """Under the policies that go on reading: write what waits where there is room; return how much still does."""
        cdef RingWriter ring
        cdef Py_ssize_t left = 0
        cdef int shard, n
        for shard in range(self.ring_count):
            ring = <RingWriter>self.rings[shard]
            if self.overflow == CONFLATE:
                n = self.conflator.size_of_next(shard)
                while n and ring.room(n):
                    # Groups are written through a buffer: in the ring they may lie across its end.
                    self._take(shard, ring, n)
                    n = self.conflator.size_of_next(shard)
            elif self.dropped[shard] or self.held[shard]:
                self._resume(shard, ring)
        left = self.pending()
        if self.overflow == CONFLATE and <uint64_t>left > self.counters[C_SIDE_PEAK]:
            self.counters[C_SIDE_PEAK] = left
        if not left:
            self.strained = False
        return left

    cdef int _resume(self, int shard, RingWriter ring) except -1:
        """Go on with a ring whose events were dropped: tell how many, then what was to be told behind them."""
        cdef bytes record
        if self.dropped[shard]:
            if not ring.room(self.room_to_resume[shard]):
                return 0
            self.gap(ring.at(0), GAP_OVERFLOW, self.dropped[shard])
            crash_point(26)
            ring.position += 1
            self.dropped[shard] = 0
        while self.held[shard] and ring.room(1):
            record = self._held[shard].pop(0)
            memcpy(ring.at(0), <const char *>record, sizeof(Record))
            crash_point(27)
            ring.position += 1
            self.held[shard] -= 1
        return 0

    cdef void _take(self, int shard, RingWriter ring, int n) noexcept:
        cdef Record records[LEVELS_MAX]
        cdef int i
        self.conflator.take(shard, records)
        for i in range(n):
            ring.at(i)[0] = records[i]
            crash_point(26)
        ring.position += n

    cdef int64_t abandon(self) except -1:
        """Drop what waits, and count it as lost; return how many events that were."""
        cdef Py_ssize_t i = self.side_first
        cdef uint64_t lost = 0
        while i < self.side_end:
            # What is no event was never counted as published.
            lost += self.side[i].record.kind not in (KIND_GAP, KIND_STATUS, KIND_REPAIR)
            i += self._waiting_group(i)
        if self.conflator is not None:
            lost += <uint64_t>self.conflator.clear()
        self.strained = False
        self.side_first = self.side_end = 0
        for i in range(self.ring_count):
            self.dropped[i] = self.held[i] = 0
            self._held[i].clear()
        self.side_lost += lost
        self.counters[C_RECORDS] -= lost
        self.counters[C_LOST] += lost
        self._count(SIDE_QUEUE_FULL, lost)
        return lost

    cdef Py_ssize_t pending(self) noexcept:
        """What waits for room: records in the side queue, events being conflated, losses and gaps to be told."""
        cdef Py_ssize_t waiting = self.side_end - self.side_first
        cdef int shard
        if self.conflator is not None:
            waiting += self.conflator.waiting + self.conflator.told
        for shard in range(self.ring_count):
            waiting += (self.dropped[shard] != 0) + self.held[shard]
        return waiting

    # ---- what is no event ----

    cdef void gap(self, Record *record, int reason, int64_t count) noexcept:
        """Make a GAP record that concerns no symbol."""
        memset(record, 0, sizeof(Record))
        record.row = ROW_NONE
        record.kind = KIND_GAP
        record.flags = HAS_A | HAS_B
        record.receive_ns = self.receive_ns
        record.value[0].i = reason
        record.value[1].i = count

    cdef int tell_all(self, const Record *record) except -1:
        """Put a record that is no event into every ring, and show it."""
        cdef int i
        for i in range(self.ring_count):
            self.tell(i, record)
        self.publish()
        return 0

    cdef int tell(self, int shard, const Record *record) except -1:
        """Publish a record that is no event. It is never dropped and never merged: it waits behind what waits, and
        what comes later waits behind it, or is dropped."""
        cdef RingWriter ring = <RingWriter>self.rings[shard]
        cdef Record *place
        if self.overflow != BLOCK:
            if not self.strained and not ring.room(1):
                self.publish()
                self._strain()
            if self.strained and not self._passes(shard, 1):
                if self.overflow == CONFLATE:
                    return self.conflator.tell(shard, record)
                self._held[shard].append((<const char *>record)[:sizeof(Record)])
                self.held[shard] += 1
                return 0
        place = self.slot(shard)
        if place is NULL:
            # The side queue is full, but its bound is for events.
            place = self._beyond_side()
        place[0] = record[0]
        self.commit(shard)
        return 0

    cdef Record *_beyond_side(self) except NULL:
        cdef SideRecord *grown = <SideRecord *>PyMem_Realloc(self.side, (self.side_room + 1) * sizeof(SideRecord))
        if grown is NULL:
            raise MemoryError
        self.side = grown
        self.side_room += 1
        return &self.side[self.side_end].record
