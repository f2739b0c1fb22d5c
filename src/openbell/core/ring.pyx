# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The ring of one (receiver, worker) pair: one producer, its worker, a few tethered readers, any number of taps.

Positions count records since the ring was made and never wrap (64 bits); a slot is ``position & (capacity - 1)``.
The producer raises `claim` before it touches a slot and `head` after; the worker raises `applied` behind it, and the
producer never passes ``applied + capacity``. A tethered reader holds it back as well, for a bounded time
(`openbell.core.tether`). A tap holds nobody back: it copies, then asks `claim` what of its copy may have been
overwritten meanwhile. docs/memory-model.md argues each SYNC POINT.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset

from openbell.core.atomics cimport (
    crash_point,
    fence_acquire,
    fence_full,
    fence_release,
    load_acquire,
    monotonic_ns,
    store_relaxed,
    store_release,
    unlikely,
)
from openbell.core.buffers cimport Borrowed, borrow, borrow_writable
from openbell.core.consumers cimport ReadersBell, ring_readers, wake_readers
from openbell.core.doorbell cimport Bell, announce_wait, cancel_wait, ring_bell, sleep_on, wake_anyway
from openbell.core.gate cimport Cuts, TetherGate
from openbell.core.layout cimport (
    FIRST_OF_GROUP,
    GAP_LAP,
    HAS_A,
    HAS_B,
    HAS_C,
    HAS_D,
    KIND_GAP,
    LAST_OF_GROUP,
    RECORD_SIZE,
    ROW_NONE,
    Record,
    of_group,
)

cdef enum:
    CHUNK_MAX = 1024
    CAPACITY_MIN = 8
    # Between two looks at a reader that holds the producer: it cannot ring.
    LOOK_NS = 100_000

cdef RingWords *ring_words(Borrowed lent) except NULL:
    """Check that a buffer (of at least RING_HEADER bytes) holds a ring and return its words."""
    cdef RingWords *words = <RingWords *>lent.data
    if words.capacity < CAPACITY_MIN or words.capacity & (words.capacity - 1):
        raise ValueError("the buffer holds no ring")
    if <uint64_t>lent.size < RING_HEADER + words.capacity * RECORD_SIZE:
        raise ValueError("the buffer is shorter than the ring that its header names")
    return words


def size(capacity: int) -> int:
    """Return the bytes of a ring of `capacity` records.

    Raises
    ------
    ValueError
        `capacity` is not a power of two from 8 to 2**30.
    """
    if not CAPACITY_MIN <= capacity <= 1 << 30 or capacity & (capacity - 1):
        raise ValueError(f"ring capacity must be a power of two from {CAPACITY_MIN} to {1 << 30}, not {capacity}")
    return RING_HEADER + capacity * RECORD_SIZE


def format(buffer, capacity: int, ring_id: int, start: int = 0) -> None:
    """Make an empty ring in `buffer`, with its first position at `start` (0 but in tests)."""
    cdef Borrowed lent = borrow_writable(buffer, size(capacity))
    cdef RingWords *words = <RingWords *>lent.data
    memset(words, 0, RING_HEADER)
    words.capacity = capacity
    words.ring_id = ring_id
    words.claim = words.head = words.applied = start


def positions(buffer) -> dict:
    """Return ``{"head", "claim", "applied", "capacity", "ring_id"}`` of the ring in `buffer`, at no cost to its users."""
    cdef Borrowed lent = borrow(buffer, RING_HEADER)
    cdef RingWords *words = ring_words(lent)
    # Read in this order, applied <= head <= claim holds in what is returned.
    applied = load_acquire(&words.applied)
    head = load_acquire(&words.head)
    claim = load_acquire(&words.claim)
    return {
        "head": head,
        "claim": claim,
        "applied": applied,
        "capacity": words.capacity,
        "ring_id": words.ring_id,
    }


cdef class RingWriter:
    """The producer's side. One at a time for a ring: the receiver's lock sees to that.

    Parameters
    ----------
    buffer : writable buffer
        Body of the ring segment; borrowed for the life of the writer.
    worker_bell, own_bell : writable buffer
        Doorbells of the consumer and of this producer; borrowed.
    max_wait_ns : int
        How long a full ring holds the producer before it is told that there is no room.
    tethers : writable buffer, optional
        The ring's part of the consumers segment; borrowed. Without it only the worker holds the producer back.
    readers_bell : writable buffer, optional
        The bell that readers of the feed share; borrowed, and rung behind each head.
    max_hold_ns : int
        For how long a tethered reader may hold the producer before it is cut off.
    cuts : openbell.core.gate.Cuts, optional
        The same for all rings of a process: a reader that was cut at one of them holds it no longer at the others.
    """

    def __init__(self, buffer, worker_bell, own_bell, max_wait_ns=2_000_000, tethers=None, readers_bell=None,
                 max_hold_ns=100_000_000, cuts=None):
        cdef Borrowed lent = borrow_writable(buffer, RING_HEADER)
        cdef Borrowed worker = borrow_writable(worker_bell, sizeof(Bell))
        cdef Borrowed own = borrow_writable(own_bell, sizeof(Bell))
        cdef Borrowed readers = None if readers_bell is None else borrow_writable(readers_bell, sizeof(ReadersBell))
        self.words = ring_words(lent)
        self._lent = (lent, worker, own, readers)
        self.readers_bell = NULL if readers is None else <ReadersBell *>readers.data
        self.worker_bell = <Bell *>worker.data
        self.own_bell = <Bell *>own.data
        self.records = <Record *>(<uint8_t *>self.words + RING_HEADER)
        self.capacity = self.words.capacity
        self.mask = self.capacity - 1
        self.chunk = min(self.capacity // 4, <uint64_t>CHUNK_MAX)
        self.max_wait_ns = max_wait_ns
        self.tethers = None if tethers is None else TetherGate(tethers, self.capacity, max_hold_ns, cuts or Cuts())
        self.gate = load_acquire(&self.words.applied)
        self.position = self.published = load_acquire(&self.words.head)
        # What a dead producer claimed and did not publish is unknown: nothing may be written before `recover`.
        self.claimed = self.position

    @property
    def position_next(self) -> int:
        """Position of the next record to be written."""
        return self.position

    def recover(self) -> int:
        """Take the ring over from a producer that may have died while writing.

        Fills what it claimed and did not publish with PAD records and publishes them, so that no torn record can pass
        for a whole one. To be called once before anything is written.

        Returns
        -------
        int
            How many PAD records were needed.
        """
        cdef uint64_t head = load_acquire(&self.words.head)
        cdef uint64_t claim = load_acquire(&self.words.claim)
        cdef uint64_t at = head
        while at < claim:
            memset(&self.records[at & self.mask], 0, RECORD_SIZE)
            self.records[at & self.mask].row = ROW_NONE
            at += 1
            crash_point(30)
        self.position = claim
        self.claimed = claim
        self.published = head
        self.recovered = True
        self.flush()
        # The dead one may have claimed and not fenced.
        fence_full()
        self.fenced = True
        # It may have published, or taken the worker's or the readers' flag, and not come to waking them.
        wake_anyway(self.worker_bell)
        if self.readers_bell is not NULL:
            wake_readers(self.readers_bell)
        return claim - head

    cdef bint extend(self, uint64_t need) noexcept nogil:
        """Claim the next chunk, `need` records at least. Publishes what is written first, so that the worker never waits
        for a whole ring; all of that are whole groups, because a group is claimed before its first record is written."""
        cdef uint64_t wanted = max(self.chunk, need)
        if not self.recovered:
            # A claim may never decrease, and what the last producer claimed is not looked at yet.
            return False
        self.flush()
        if self.tethers is not None:
            if not self.fenced:
                fence_full()  # SYNC POINT: tether-join (the last claim before the look that decides this one)
                self.fenced = True
            # Before the first of them joins, this is one look at one line, which nobody writes.
            if unlikely(self.tethers.changed()):
                self.tethers.look(self.position)
        if self.position + wanted > self._limit():
            self.gate = load_acquire(&self.words.applied)  # SYNC POINT: ring-gate
            if self._held_by_readers(need):
                return False
            if self.position + need > self._limit():
                return False
        # What is claimed and not used up yet stays claimed.
        self.claimed = max(self.claimed, min(self.position + wanted, self._limit()))
        store_relaxed(&self.words.claim, self.claimed)
        self.fenced = False
        crash_point(20)
        fence_release()  # SYNC POINT: ring-claim (claim before the records that it covers)
        return True

    cdef uint64_t _limit(self) noexcept nogil:
        """Up to where may be claimed, as far as is known."""
        if self.tethers is not None and self.tethers.lowest < self.gate:
            return self.tethers.lowest + self.capacity
        return self.gate + self.capacity

    cdef bint _held_by_readers(self, uint64_t need) noexcept nogil:
        """Whether tethered readers, and they alone, leave no room for `need` records. Cuts who has used up its budget."""
        cdef uint64_t needed = self.position + need
        if self.tethers is None or self.tethers.lowest >= self.gate and not self.tethers.since:
            return False
        self.tethers.look(self.position)
        if needed <= self.gate + self.capacity:
            while needed > self._limit():
                if not self.tethers.cut(needed):
                    return True
        # There is room, or it is the worker that is waited for: none of their time.
        self.tethers.release()
        return False

    cdef bint wait_for_space(self, uint64_t need) noexcept nogil:
        """Publish, ring the worker, and wait at most `max_wait_ns` for `need` slots to be free."""
        cdef int64_t deadline = monotonic_ns() + self.max_wait_ns
        cdef int64_t left
        cdef unsigned int seen
        self.flush()
        while True:
            seen = announce_wait(self.own_bell)
            if self.extend(need):
                cancel_wait(self.own_bell)
                return True
            left = deadline - monotonic_ns()
            if left <= 0:
                cancel_wait(self.own_bell)
                return False
            if self.tethers is not None and self.tethers.since:
                left = min(left, <int64_t>LOOK_NS)
            sleep_on(self.own_bell, seen, left)

    cdef void flush(self) noexcept nogil:
        if self.position == self.published:
            return
        crash_point(23)
        store_release(&self.words.head, self.position)  # SYNC POINT: ring-head
        crash_point(24)
        self.published = self.position
        ring_bell(self.worker_bell)
        self.fenced = True
        if self.readers_bell is not NULL:
            ring_readers(self.readers_bell)
        crash_point(25)

    def append(self, record: bytes) -> bool:
        """Write one 64-byte record; False if there was no room within the wait. Visible after `publish`.

        Raises
        ------
        ValueError
            The record has not 64 bytes, or `recover` was not called.
        """
        if len(record) != RECORD_SIZE:
            raise ValueError(f"a record takes {RECORD_SIZE} bytes, not {len(record)}")
        return self.append_group(record)

    def append_group(self, records: bytes) -> bool:
        """Write records that become visible together; False, and none is written, if there was no room in time.

        Raises
        ------
        ValueError
            That is not a number of records, it is more than half a ring, or `recover` was not called.
        """
        cdef uint64_t n = len(records) // RECORD_SIZE
        cdef uint64_t i
        cdef const char *data = records
        if not self.recovered:
            raise ValueError("this writer has not taken the ring over: call recover() first")
        if not n or len(records) % RECORD_SIZE:
            raise ValueError(f"a record takes {RECORD_SIZE} bytes; {len(records)} bytes are no group of them")
        if n > self.capacity // 2:
            raise ValueError(f"a group of {n} records is too large for a ring of {self.capacity}")
        if not self.room(n):
            with nogil:
                self.wait_for_space(n)
            if not self.room(n):
                return False
        for i in range(n):
            memcpy(self.at(i), data + i * RECORD_SIZE, RECORD_SIZE)
            crash_point(21)
        self.position += n
        return True

    def publish(self) -> None:
        """Show the consumer all that was written, and wake it if it sleeps."""
        self.flush()


cdef class RingReader:
    """The gating consumer's side for tools and tests: what it has not taken, the producer cannot overwrite."""

    cdef object _buffer
    cdef RingWords *words
    cdef Record *records

    def __init__(self, buffer):
        cdef Borrowed lent = borrow_writable(buffer, RING_HEADER)
        self.words = ring_words(lent)
        self._buffer = lent
        self.records = <Record *>(<uint8_t *>self.words + RING_HEADER)

    def poll(self, max_records: int = 4096) -> bytes:
        """Take up to `max_records` records, in order, as bytes (64 each)."""
        cdef uint64_t at = self.words.applied
        cdef uint64_t n = load_acquire(&self.words.head) - at  # SYNC POINT: ring-head
        if n > <uint64_t>max_records:
            n = max_records
        taken = copy_records(self.records, at, n, self.words.capacity)
        store_release(&self.words.applied, at + n)  # SYNC POINT: ring-gate
        return taken


cdef bytes copy_records(const Record *records, uint64_t at, uint64_t n, uint64_t capacity):
    cdef bytes taken = PyBytes_FromStringAndSize(NULL, n * RECORD_SIZE)
    cdef char *target = PyBytes_AS_STRING(taken)
    cdef uint64_t first = at & (capacity - 1)
    cdef uint64_t whole = min(n, capacity - first)
    memcpy(target, &records[first], whole * RECORD_SIZE)
    memcpy(target + whole * RECORD_SIZE, records, (n - whole) * RECORD_SIZE)
    return taken


cdef uint64_t _further(const char *records, uint64_t n) noexcept nogil:
    """How many of `n` records, from the first, are the rest of a group whose beginning is not there."""
    cdef const Record *record = <const Record *>records
    cdef uint64_t i = 0
    while i < n and of_group(&record[i]) and not record[i].flags & FIRST_OF_GROUP:
        i += 1
    return i


cdef class Tap:
    """A reader that never holds the writer back, and knows exactly what it was too late for.

    It is given groups whole or not at all, wherever it starts and whatever it misses.

    Parameters
    ----------
    buffer : buffer
        Body of the ring segment (read-only is enough); borrowed for the life of the tap.
    start : {"now", "oldest"} or int
        First position to read: the next to be published, the oldest surely intact, or a position.
    """

    cdef object _buffer
    cdef RingWords *words
    cdef Record *records
    cdef uint64_t capacity
    cdef uint64_t at
    # Where it goes on may be in the middle of a group; and that is where it landed after a lap.
    cdef bint anywhere
    cdef bint landing
    cdef readonly unsigned long long skipped_total

    def __init__(self, buffer, start="now"):
        cdef Borrowed lent = borrow(buffer, RING_HEADER)
        cdef uint64_t head, claim
        self.words = ring_words(lent)
        self._buffer = lent
        self.records = <Record *>(<uint8_t *>self.words + RING_HEADER)
        self.capacity = self.words.capacity
        head = load_acquire(&self.words.head)
        claim = load_acquire(&self.words.claim)
        if start == "now":
            self.at = head
        elif start == "oldest":
            self.at = claim - self.capacity if claim > self.capacity else 0
            self.at = min(self.at, head)
            self.anywhere = True
        elif isinstance(start, int) and 0 <= start <= head:
            self.at = start
        else:
            raise ValueError(f"start must be 'now', 'oldest' or a position up to the head ({head}), not {start!r}")

    @property
    def position(self) -> int:
        """Position of the next record to be read."""
        return self.at

    def read(self, max_records: int = 4096) -> tuple:
        """Copy what was published since the last call.

        Returns
        -------
        records : bytes
            Up to `max_records` records of 64 bytes, in order, and what further ones the last group of them has. After a
            lap the first one is a GAP record that says how many were missed (reason LAP, count, first and last
            position).
        skipped : int
            How many records were overwritten before they could be read, exactly; and with them the rest of a group
            whose beginning was.
        """
        cdef uint64_t head, claim, n, first, resume, skipped, rest
        if max_records < 2:
            raise ValueError(f"max_records must be at least 2, not {max_records}")
        head = load_acquire(&self.words.head)  # SYNC POINT: ring-head
        n = min(head - self.at, <uint64_t>max_records)
        if n == 0:
            return b"", 0
        if head - self.at <= self.capacity:
            n = self._whole(n, head)
            taken = copy_records(self.records, self.at, n, self.capacity)
            fence_acquire()  # SYNC POINT: ring-claim (the copy before the claim that judges it)
            # Acquired: the head that is read next must not be older than this claim.
            claim = load_acquire(&self.words.claim)
            if claim <= self.at + self.capacity:
                first = self.at
                self.at += n
                if not self.anywhere:
                    return taken, 0
                self.anywhere = False
                rest = _further(taken, n)
                if not self.landing or not rest:
                    self.landing = False
                    return taken[rest * RECORD_SIZE:], 0
                # Of what was overwritten before: its first records were told already.
                self.landing = False
                self.skipped_total += rest
                return _gap(GAP_LAP, rest, first, first + rest - 1) + taken[rest * RECORD_SIZE:], rest
        # Lapped: the writer may have touched the copy. Drop it and land in the middle of what is intact.
        head = load_acquire(&self.words.head)
        resume = max(self.at + 1, head - self.capacity // 2)
        skipped = resume - self.at
        first = self.at
        self.at = resume
        more, further = self._after_gap(max_records - 1)
        # Lapped again while landing: hand out the gap alone, the rest comes with the next call.
        self.anywhere = self.landing = further
        rest = 0 if further else _further(more, len(more) // RECORD_SIZE)
        skipped += rest
        self.skipped_total += skipped
        return _gap(GAP_LAP, skipped, first, first + skipped - 1) + more[rest * RECORD_SIZE:], skipped

    cdef uint64_t _whole(self, uint64_t n, uint64_t head) noexcept nogil:
        """`n`, or as many more as the last group of the next `n` records has, before `head`.

        What it looks at may be overwritten meanwhile: the look at the claim that judges the copy judges this as well.
        """
        cdef const Record *record
        while 0 < n < head - self.at:
            record = &self.records[(self.at + n - 1) & (self.capacity - 1)]
            if not of_group(record) or record.flags & LAST_OF_GROUP:
                break
            n += 1
        return n

    cdef tuple _after_gap(self, uint64_t max_records):
        cdef uint64_t head = load_acquire(&self.words.head)
        cdef uint64_t n = min(head - self.at, max_records)
        if head - self.at > self.capacity:
            # Lapped since the caller looked: such a copy would also run past the end of the ring.
            return b"", 1
        n = self._whole(n, head)
        taken = copy_records(self.records, self.at, n, self.capacity)
        fence_acquire()  # SYNC POINT: ring-claim
        if load_acquire(&self.words.claim) > self.at + self.capacity:
            return b"", 1
        self.at += n
        return taken, 0


cdef bytes _gap(int reason, int64_t count, int64_t first, int64_t last):
    cdef Record record
    memset(&record, 0, sizeof(Record))
    record.row = ROW_NONE
    record.kind = KIND_GAP
    record.flags = HAS_A | HAS_B | HAS_C | HAS_D
    record.value[0].i = reason
    record.value[1].i = count
    record.value[2].i = first
    record.value[3].i = last
    return (<const char *>&record)[:sizeof(Record)]
