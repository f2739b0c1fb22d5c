# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The worker's loop: records out of its rings, into the rows of the snapshot, exactly once through any crash.

Each record is applied in six steps, and a SIGKILL may fall between any two stores:

1. before-images of what the record will touch go to the worker's undo area,
2. the undo word names the record (ring and position),
3. the row's version becomes odd,
4. the columns are stored,
5. the version becomes even,
6. ``applied`` of the ring passes the record.

A restarted worker that finds the undo word naming the next record of that ring puts the images back under an odd
version and applies the record again; otherwise the record was done, or not begun. docs/memory-model.md, "undo".
"""

from libc.math cimport isnan
from libc.stdint cimport int64_t, uint8_t, uint64_t

from openbell.core.atomics cimport (
    bits_of,
    cpu_pause,
    cpu_yield,
    crash_point,
    fence_release,
    load_acquire,
    load_relaxed,
    monotonic_ns,
    store_relaxed,
    store_release,
    undo_disabled,
)
from openbell.core.buffers cimport Borrowed, borrow_writable
from openbell.core.doorbell cimport Bell, announce_wait, cancel_wait, ring_bell, sleep_on, wake_anyway
from openbell.core.histogram cimport Histogram, observe
from openbell.core.layout cimport (
    HAS_A,
    HAS_B,
    HAS_C,
    HAS_D,
    KIND_GAP,
    KIND_QUOTE,
    KIND_TRADE,
    Record,
)
from openbell.core.ring cimport RING_HEADER, RingWords, ring_words
from openbell.core.snapshot cimport (
    SNAPSHOT_HEADER,
    ASK,
    ASK_SIZE,
    BID,
    BID_SIZE,
    COLUMN_COUNT,
    GAPS,
    HIGH,
    LAST,
    LOW,
    OPEN,
    QUOTE_EXCHANGE_NS,
    QUOTE_SEQUENCE,
    RECEIVE_NS,
    SIZE,
    TRADE_EXCHANGE_NS,
    TRADE_SEQUENCE,
    TRADES,
    TURNOVER,
    UPDATED,
    VERSION,
    VOLUME,
    SnapshotWords,
    Undo,
    column,
    snapshot_words,
    undo_area,
)

cdef enum:
    # Records between two looks at the clock: each one's latency is taken after its batch, so never too small.
    BATCH = 64
    RINGS_MAX = 16
    POSITION_BITS = 56
    # Counter block of a worker, as words.
    C_BATCHES = 0
    C_PARKS = 1
    C_RECOVERED = 2
    C_MAX_BATCH = 3
    SPIN_NS = 20_000
    PARK_NS = 100_000_000

cdef enum Wait:
    WAIT_SPIN = 0
    WAIT_YIELD = 1
    WAIT_PARK = 2
    WAIT_ADAPTIVE = 3

WAITS = ("spin", "yield", "park", "adaptive")

cdef int[11] TRADE_COLUMNS
TRADE_COLUMNS[:] = [LAST, SIZE, OPEN, HIGH, LOW, VOLUME, TURNOVER, TRADES, TRADE_EXCHANGE_NS, TRADE_SEQUENCE, RECEIVE_NS]
cdef int[7] QUOTE_COLUMNS
QUOTE_COLUMNS[:] = [BID, BID_SIZE, ASK, ASK_SIZE, QUOTE_EXCHANGE_NS, QUOTE_SEQUENCE, RECEIVE_NS]
cdef int[3] FEED_COLUMNS
FEED_COLUMNS[:] = [TRADES, GAPS, RECEIVE_NS]


cdef class Applier:
    """One worker's engine.

    Parameters
    ----------
    snapshot : writable buffer
        Body of the snapshot segment.
    worker : int
        Index of the worker: names its undo area and its feed row.
    rings : list of writable buffer
        Bodies of the rings that this worker consumes, one a receiver.
    worker_bell : writable buffer
        The worker's own doorbell.
    producer_bells : list of writable buffer
        The doorbells of the rings' producers, in the order of `rings`.
    counters, histogram, clock_offset : writable buffer
        The worker's counter block, its latency histogram, and the feed's clock offset word.
    wait : {"spin", "yield", "park", "adaptive"}
        What to do when there is nothing to do.

    Notes
    -----
    All buffers are borrowed for the life of the applier.
    """

    cdef list _lent
    cdef SnapshotWords *words
    cdef uint64_t *columns[COLUMN_COUNT]
    cdef Undo *undo
    cdef int worker
    cdef int ring_count
    cdef RingWords *rings[RINGS_MAX]
    cdef Record *records[RINGS_MAX]
    cdef Bell *producers[RINGS_MAX]
    cdef Bell *bell
    cdef uint64_t *counters
    cdef Histogram *histogram
    cdef uint64_t *clock_offset
    cdef uint64_t last_offset
    cdef int64_t timed_from
    cdef uint64_t feed_row
    cdef int wait

    def __init__(self, snapshot, int worker, list rings, worker_bell, list producer_bells, counters, histogram,
                 clock_offset, wait="adaptive"):
        cdef Borrowed lent
        cdef int i
        if wait not in WAITS:
            raise ValueError(f"wait must be one of {', '.join(WAITS)}, not {wait!r}")
        if not 1 <= len(rings) <= RINGS_MAX or len(rings) != len(producer_bells):
            raise ValueError(f"a worker takes 1 to {RINGS_MAX} rings, each with its producer's bell")
        self.wait = WAITS.index(wait)
        lent = borrow_writable(snapshot, SNAPSHOT_HEADER)
        self.words = snapshot_words(lent)
        self._lent = [lent]
        if not 0 <= worker < <int>self.words.workers:
            raise ValueError(f"worker {worker} of {self.words.workers}")
        self.worker = worker
        self.feed_row = self.words.data_rows + worker * 64
        self.undo = undo_area(self.words, worker)
        for i in range(<int>COLUMN_COUNT):
            self.columns[i] = column(self.words, i)
        self.ring_count = len(rings)
        for i in range(self.ring_count):
            lent = borrow_writable(rings[i], RING_HEADER)
            self._lent.append(lent)
            self.rings[i] = ring_words(lent)
            self.records[i] = <Record *>(<uint8_t *>self.rings[i] + RING_HEADER)
            self.producers[i] = <Bell *>self._hold(producer_bells[i], sizeof(Bell))
        self.bell = <Bell *>self._hold(worker_bell, sizeof(Bell))
        self.counters = <uint64_t *>self._hold(counters, 8 * (C_MAX_BATCH + 1))
        self.histogram = <Histogram *>self._hold(histogram, sizeof(Histogram))
        self.clock_offset = <uint64_t *>self._hold(clock_offset, 8)
        self.last_offset = load_relaxed(self.clock_offset)

    cdef unsigned char *_hold(self, buffer, size_t need) except NULL:
        cdef Borrowed lent = borrow_writable(buffer, need)
        self._lent.append(lent)
        return lent.data

    def recover(self) -> int:
        """Undo the record that a dead predecessor was in the middle of, if there is one.

        Returns
        -------
        int
            1 if a row was put back, else 0. The record is applied again by `run`.
        """
        cdef int i
        # The dead one may have freed space, or taken a producer's flag, and not come to waking it.
        for i in range(self.ring_count):
            wake_anyway(self.producers[i])
        return self._restore()

    cdef int _restore(self) except -1:
        cdef uint64_t word = load_acquire(&self.undo.word)
        cdef uint64_t row = self.undo.row
        cdef uint64_t version
        cdef int i, c
        if word == <uint64_t>-1:
            return 0
        for i in range(self.ring_count):
            if word == self._word(i, load_acquire(&self.rings[i].applied)):
                break
        else:
            return 0
        if undo_disabled():
            # A build for tests only: leave the row as the crash left it, to show that the undo is needed.
            version = self.columns[VERSION][row]
            store_release(&self.columns[VERSION][row], version + (version & 1))
            return 0
        version = self.columns[VERSION][row]
        if version & 1 == 0:
            version += 1
            store_relaxed(&self.columns[VERSION][row], version)
        crash_point(10)
        fence_release()  # SYNC POINT: row-odd
        for c in range(<int>COLUMN_COUNT):
            if self.undo.mask >> c & 1:
                store_relaxed(&self.columns[c][row], self.undo.image[c])
                crash_point(11)
        store_release(&self.columns[VERSION][row], version + 1)  # SYNC POINT: row-even
        crash_point(12)
        self.counters[C_RECOVERED] += 1
        return 1

    cdef inline uint64_t _word(self, int ring, uint64_t position) noexcept nogil:
        return (<uint64_t>ring << POSITION_BITS) | (position & ((1ULL << POSITION_BITS) - 1))

    def backlog(self) -> int:
        """Return how many records are published and not yet applied, over all rings."""
        cdef uint64_t n = 0
        cdef int i
        for i in range(self.ring_count):
            n += load_acquire(&self.rings[i].head) - load_relaxed(&self.rings[i].applied)
        return n

    def run(self, int64_t budget_ns) -> int:
        """Apply what comes for `budget_ns`, waiting by the strategy in force. The GIL is released.

        Returns
        -------
        int
            Records applied.
        """
        cdef uint64_t applied = 0
        with nogil:
            applied = self._run(budget_ns)
        return applied

    cdef uint64_t _run(self, int64_t budget_ns) noexcept nogil:
        cdef int64_t now = monotonic_ns()
        cdef int64_t deadline = now + budget_ns
        cdef int64_t idle_since = now
        cdef uint64_t total = 0
        cdef uint64_t n
        cdef int i
        while now < deadline:
            n = 0
            for i in range(self.ring_count):
                n += self._drain(i)
            now = monotonic_ns()
            if n:
                total += n
                idle_since = now
            elif self.wait == WAIT_SPIN or (self.wait == WAIT_ADAPTIVE and now - idle_since < SPIN_NS):
                cpu_pause()
            elif self.wait == WAIT_YIELD:
                cpu_yield()
            else:
                self._park(min(deadline - now, <int64_t>PARK_NS))
                now = monotonic_ns()
                # Spin again only after work: a quiet market must not cost a core.
        return total

    cdef void _park(self, int64_t timeout_ns) noexcept nogil:
        cdef unsigned int seen = announce_wait(self.bell)
        cdef int i
        for i in range(self.ring_count):
            if load_acquire(&self.rings[i].head) != load_relaxed(&self.rings[i].applied):
                cancel_wait(self.bell)
                return
        self.counters[C_PARKS] += 1
        if timeout_ns > 0:
            sleep_on(self.bell, seen, timeout_ns)
        else:
            cancel_wait(self.bell)

    cdef uint64_t _drain(self, int ring) noexcept nogil:
        """Apply one batch of one ring."""
        cdef RingWords *words = self.rings[ring]
        cdef Record *records = self.records[ring]
        cdef uint64_t mask = words.capacity - 1
        cdef uint64_t at = load_relaxed(&words.applied)
        cdef uint64_t n = load_acquire(&words.head) - at  # SYNC POINT: ring-head
        cdef int64_t received[BATCH]
        cdef uint64_t i
        if n == 0:
            return 0
        if n > self.counters[C_MAX_BATCH]:
            self.counters[C_MAX_BATCH] = n
        n = min(n, <uint64_t>BATCH)
        for i in range(n):
            # Taken before the record is let go: behind `applied` the producer may write over it.
            received[i] = records[(at + i) & mask].receive_ns
            self._apply(ring, &records[(at + i) & mask], at + i, &words.applied)
        ring_bell(self.producers[ring])
        self._time(received, n)
        self.counters[C_BATCHES] += 1
        return n

    cdef void _time(self, const int64_t *received, uint64_t n) noexcept nogil:
        """Count receive-to-snapshot latencies: receive times of a batch repeat, so runs are counted at once."""
        cdef uint64_t offset = load_relaxed(self.clock_offset)
        cdef int64_t now
        cdef uint64_t i = 0
        cdef uint64_t run
        now = monotonic_ns() + <int64_t>offset
        if offset != self.last_offset:
            # The wall clock was stepped, and what was stamped before cannot be compared. After a step forward such
            # stamps lie before this moment; after a step back they lie in the future, where no other stamp can.
            self.last_offset = offset
            self.timed_from = now
        while i < n:
            run = 1
            while i + run < n and received[i + run] == received[i]:
                run += 1
            if received[i] and (not self.timed_from or self.timed_from <= received[i] <= now):
                observe(self.histogram, now - received[i], run)
            i += run

    cdef void _apply(self, int ring, const Record *record, uint64_t position, uint64_t *applied) noexcept nogil:
        cdef Undo *undo = self.undo
        cdef uint64_t row = record.row
        cdef uint64_t *versions = self.columns[VERSION]
        cdef uint64_t version
        cdef uint64_t mask = 1ULL << UPDATED
        cdef const int *touched
        cdef int count, i
        if record.kind == KIND_TRADE and row < self.words.data_rows:
            touched = TRADE_COLUMNS
            count = 11
        elif record.kind == KIND_QUOTE and row < self.words.data_rows:
            touched = QUOTE_COLUMNS
            count = 7
        else:
            row = self.feed_row
            touched = FEED_COLUMNS
            count = 3
        # 1. Images. A reader may be taking the last record's images at this moment: the even version that ended its
        # window must be seen before they change, and a release store alone does not hold back what comes after it.
        fence_release()  # SYNC POINT: undo-reuse
        store_relaxed(&undo.image[UPDATED], self.columns[UPDATED][row])
        crash_point(1)
        for i in range(count):
            store_relaxed(&undo.image[touched[i]], self.columns[touched[i]][row])
            mask |= 1ULL << touched[i]
            crash_point(2)
        store_relaxed(&undo.row, row)
        crash_point(3)
        store_relaxed(&undo.mask, mask)
        crash_point(4)
        # 2. Arm. The release store keeps the images before the word.
        store_release(&undo.word, self._word(ring, position))  # SYNC POINT: undo-armed
        crash_point(5)
        # 3. Odd.
        version = versions[row] + 1
        # Released: a reader that meets the odd row must find the word and the images of this record, not the last one's.
        store_release(&versions[row], version)  # SYNC POINT: undo-armed
        crash_point(6)
        fence_release()  # SYNC POINT: row-odd
        # 4. Data.
        if record.kind == KIND_TRADE and row < self.words.data_rows:
            self._trade(record, row)
        elif record.kind == KIND_QUOTE and row < self.words.data_rows:
            self._quote(record, row)
        else:
            self._feed(record, row)
        store_relaxed(&self.columns[UPDATED][row], position + 1)
        crash_point(8)
        # 5. Even.
        store_release(&versions[row], version + 1)  # SYNC POINT: row-even
        crash_point(9)
        # 6. Done.
        store_release(applied, position + 1)  # SYNC POINT: ring-gate
        crash_point(13)

    cdef inline void _set(self, int index, uint64_t row, double value) noexcept nogil:
        store_relaxed(&self.columns[index][row], bits_of(value))
        crash_point(7)

    cdef inline void _set_int(self, int index, uint64_t row, int64_t value) noexcept nogil:
        store_relaxed(&self.columns[index][row], <uint64_t>value)
        crash_point(7)

    cdef inline double _get(self, int index, uint64_t row) noexcept nogil:
        return (<double *>self.columns[index])[row]

    cdef inline void _trade(self, const Record *record, uint64_t row) noexcept nogil:
        cdef double price = record.value[0].f
        cdef double size = record.value[1].f if record.flags & HAS_B else 0.0
        cdef double turnover = record.value[2].f if record.flags & HAS_C else price * size
        self._set(LAST, row, price)
        self._set(SIZE, row, size)
        if isnan(self._get(OPEN, row)):
            self._set(OPEN, row, price)
            self._set(HIGH, row, price)
            self._set(LOW, row, price)
        else:
            if price > self._get(HIGH, row):
                self._set(HIGH, row, price)
            if price < self._get(LOW, row):
                self._set(LOW, row, price)
        self._set(VOLUME, row, self._get(VOLUME, row) + size)
        self._set(TURNOVER, row, self._get(TURNOVER, row) + turnover)
        self._set_int(TRADES, row, (<int64_t *>self.columns[TRADES])[row] + 1)
        self._set_int(TRADE_EXCHANGE_NS, row, record.exchange_ns)
        self._set_int(TRADE_SEQUENCE, row, record.sequence)
        self._set_int(RECEIVE_NS, row, record.receive_ns)

    cdef inline void _quote(self, const Record *record, uint64_t row) noexcept nogil:
        if record.flags & HAS_A:
            self._set(BID, row, record.value[0].f)
        if record.flags & HAS_B:
            self._set(BID_SIZE, row, record.value[1].f)
        if record.flags & HAS_C:
            self._set(ASK, row, record.value[2].f)
        if record.flags & HAS_D:
            self._set(ASK_SIZE, row, record.value[3].f)
        self._set_int(QUOTE_EXCHANGE_NS, row, record.exchange_ns)
        self._set_int(QUOTE_SEQUENCE, row, record.sequence)
        self._set_int(RECEIVE_NS, row, record.receive_ns)

    cdef inline void _feed(self, const Record *record, uint64_t row) noexcept nogil:
        """What concerns no symbol is counted in the worker's feed row, under the same undo as any record."""
        self._set_int(TRADES, row, (<int64_t *>self.columns[TRADES])[row] + 1)
        if record.kind == KIND_GAP:
            self._set_int(GAPS, row, (<int64_t *>self.columns[GAPS])[row] + 1)
        if record.receive_ns:
            self._set_int(RECEIVE_NS, row, record.receive_ns)
