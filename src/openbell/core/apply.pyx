# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The worker's loop: records out of its rings, into the rows of the snapshot, exactly once through any crash.

Each record is applied in six steps, and a SIGKILL may fall between any two stores:

1. before-images of what the record will touch go to the worker's undo area,
2. the undo word names the record (ring and position),
3. the row's version becomes odd,
4. the columns are stored,
5. the version becomes even,
6. ``applied`` of the ring passes the record.

A group of records is one such unit: its rows, undo image and window are those of a single record, and ``applied``
passes all of it at once. A STATUS record may change every row of the worker: each row is a unit of its own under the
same undo word, which is disarmed in between, and what was done already is recognised and not done twice.

A restarted worker that finds the undo word naming the next record of that ring puts the images back under an odd
version, disarms the word, and applies that record again before any other; otherwise the record was done, or not begun.
docs/memory-model.md, "undo".
"""

from libc.math cimport NAN, isnan
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t

from openbell.core.atomics cimport (
    bits_of,
    cpu_pause,
    cpu_yield,
    crash_point,
    fence_release,
    load_acquire,
    load_relaxed,
    monotonic_ns,
    prefetch_read,
    prefetch_write,
    store_relaxed,
    store_release,
    undo_disabled,
)
from openbell.core.bars cimport (
    BARS_HEADER,
    BAR_COUNTS,
    Bar,
    Bars,
    Touch,
    bar_add,
    bar_find,
    bar_is_present,
    bar_nowhere,
    bar_restore,
    bar_store,
    bars_view,
    bars_words,
    no_image,
    sums_image,
    touch_image,
)
from openbell.core.buffers cimport Borrowed, borrow_writable
from openbell.core.consumers cimport ReadersBell, ring_readers, wake_readers
from openbell.core.doorbell cimport Bell, announce_wait, cancel_wait, ring_bell, sleep_on, wake_anyway
from openbell.core.histogram cimport Histogram, observe
from openbell.core.layout cimport (
    HAS_A,
    HAS_B,
    HAS_C,
    HAS_D,
    FIRST_OF_GROUP,
    GROUP_MAX,
    KIND_GAP,
    KIND_LEVEL,
    KIND_QUOTE,
    KIND_REPAIR,
    KIND_STATUS,
    KIND_TICKER,
    KIND_TRADE,
    KIND_TRADES,
    LAST_OF_GROUP,
    Record,
)
from openbell.core.ring cimport RING_HEADER, RingWords, ring_words
from openbell.core.snapshot cimport (
    SNAPSHOT_HEADER,
    ASK,
    ASK_SIZE,
    BID,
    BID_SIZE,
    BOOK,
    COLUMNS_MAX,
    DISARMED,
    EXTRA,
    GAPS,
    HIGH,
    LAST,
    LOW,
    OPEN,
    PREV_CLOSE,
    QUOTE_EXCHANGE_NS,
    QUOTE_SEQUENCE,
    RECEIVE_NS,
    REPAIRED,
    SESSION,
    SIZE,
    STATUS,
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
    mask_bit,
    snapshot_words,
    undo_area,
)
from openbell.core.symbols cimport SymbolTable

cdef enum:
    # Records between two looks at the clock: each one's latency is taken after its batch, so never too small.
    BATCH = 64
    # So many records before its turn, a record is fetched, and then its bar.
    FAR_AHEAD = 24
    AHEAD = 8
    RINGS_MAX = 16
    POSITION_BITS = 56
    # Counter block of a worker, as words.
    C_BATCHES = 0
    C_PARKS = 1
    C_RECOVERED = 2
    C_MAX_BATCH = 3
    C_LAST_NS = 4
    C_CLOCK_OFFSET = 5
    SPIN_NS = 20_000
    PARK_NS = 100_000_000

cdef enum Wait:
    WAIT_SPIN = 0
    WAIT_YIELD = 1
    WAIT_PARK = 2
    WAIT_ADAPTIVE = 3

WAITS = ("spin", "yield", "park", "adaptive")

cdef int[11] TRADE_COLUMNS
TRADE_COLUMNS[:] = [
    LAST, SIZE, OPEN, HIGH, LOW, VOLUME, TURNOVER, TRADES, TRADE_EXCHANGE_NS, TRADE_SEQUENCE, RECEIVE_NS
]
cdef int[7] QUOTE_COLUMNS
QUOTE_COLUMNS[:] = [BID, BID_SIZE, ASK, ASK_SIZE, QUOTE_EXCHANGE_NS, QUOTE_SEQUENCE, RECEIVE_NS]
cdef int[10] TICKER_COLUMNS
TICKER_COLUMNS[:] = [
    LAST, OPEN, HIGH, LOW, PREV_CLOSE, VOLUME, TURNOVER, TRADE_EXCHANGE_NS, TRADE_SEQUENCE, RECEIVE_NS
]
cdef int[4] FEED_COLUMNS
FEED_COLUMNS[:] = [TRADES, GAPS, RECEIVE_NS, EXTRA]
cdef int[4] SESSION_COLUMNS
SESSION_COLUMNS[:] = [TRADES, RECEIVE_NS, SESSION, STATUS]
cdef int[12] MERGED_COLUMNS
MERGED_COLUMNS[:] = [
    LAST, SIZE, OPEN, HIGH, LOW, VOLUME, TURNOVER, TRADES, TRADE_EXCHANGE_NS, TRADE_SEQUENCE, RECEIVE_NS, EXTRA
]
cdef int[2] JOIN_COLUMNS
JOIN_COLUMNS[:] = [SESSION, STATUS]
cdef int[3] ROW_COLUMNS
ROW_COLUMNS[:] = [GAPS, STATUS, EXTRA]
cdef int[6] REPAIR_COLUMNS
REPAIR_COLUMNS[:] = [LAST, SIZE, TRADE_EXCHANGE_NS, TRADE_SEQUENCE, REPAIRED, EXTRA]
cdef int[10] ROLL_COLUMNS
ROLL_COLUMNS[:] = [PREV_CLOSE, SIZE, OPEN, HIGH, LOW, VOLUME, TURNOVER, TRADES, SESSION, STATUS]


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
    symbols : SymbolTable, optional
        Says which rows are this worker's: a STATUS record of the whole market changes them. Without it such a record
        changes the feed row alone.
    exchange_histogram : writable buffer, optional
        Gets the time from each record's `exchange_ns` to the snapshot, which may be negative: clocks differ.
    readers_bell : writable buffer, optional
        The bell that readers of the feed share; rung behind each batch.
    bars : writable buffer, optional
        Body of the bars segment: trades and tickers go into the one-minute bars of their rows, too.

    Notes
    -----
    All buffers are borrowed for the life of the applier.
    """

    cdef list _lent
    cdef SnapshotWords *words
    cdef uint64_t *columns[COLUMNS_MAX]
    cdef int column_count
    cdef int levels
    cdef int book_columns[COLUMNS_MAX]
    cdef int book_count
    cdef SymbolTable symbols
    cdef Bars bars
    cdef Undo *undo
    cdef int worker
    cdef int ring_count
    cdef RingWords *rings[RINGS_MAX]
    cdef Record *records[RINGS_MAX]
    cdef Bell *producers[RINGS_MAX]
    cdef Bell *bell
    cdef ReadersBell *readers_bell
    cdef uint64_t *counters
    cdef Histogram *histogram
    cdef Histogram *exchange_histogram
    cdef uint64_t *clock_offset
    cdef int64_t timed_from
    cdef uint64_t timed_after[RINGS_MAX]
    cdef uint64_t feed_row
    # The ring whose next record a predecessor was in the middle of, or -1.
    cdef int interrupted
    cdef int wait

    def __init__(self, snapshot, int worker, list rings, worker_bell, list producer_bells, counters, histogram,
                 clock_offset, wait="adaptive", SymbolTable symbols=None, exchange_histogram=None,
                 readers_bell=None, bars=None):
        cdef Borrowed lent
        cdef int i
        if wait not in WAITS:
            raise ValueError(f"wait must be one of {', '.join(WAITS)}, not {wait!r}")
        if not 1 <= len(rings) <= RINGS_MAX or len(rings) != len(producer_bells):
            raise ValueError(f"a worker takes 1 to {RINGS_MAX} rings, each with its producer's bell")
        self.wait = WAITS.index(wait)
        self.interrupted = -1
        lent = borrow_writable(snapshot, SNAPSHOT_HEADER)
        self.words = snapshot_words(lent)
        self._lent = [lent]
        if not 0 <= worker < <int>self.words.workers:
            raise ValueError(f"worker {worker} of {self.words.workers}")
        self.worker = worker
        self.feed_row = self.words.data_rows + worker * 64
        self.undo = undo_area(self.words, worker)
        self.column_count = self.words.columns
        for i in range(self.column_count):
            self.columns[i] = column(self.words, i)
        self.levels = self.words.levels
        for i in range(7):
            self.book_columns[i] = QUOTE_COLUMNS[i]
        self.book_columns[7] = EXTRA
        self.book_count = 8
        for i in range(<int>BOOK, self.column_count):
            self.book_columns[self.book_count] = i
            self.book_count += 1
        self.symbols = symbols
        self.bars.kept = 0
        if bars is not None:
            lent = borrow_writable(bars, BARS_HEADER)
            self._lent.append(lent)
            bars_view(bars_words(lent), &self.bars)
            if self.bars.words.rows != self.words.data_rows:
                raise ValueError(f"bars of {self.bars.words.rows} rows beside a snapshot of {self.words.data_rows}")
        self.ring_count = len(rings)
        for i in range(self.ring_count):
            lent = borrow_writable(rings[i], RING_HEADER)
            self._lent.append(lent)
            self.rings[i] = ring_words(lent)
            self.records[i] = <Record *>(<uint8_t *>self.rings[i] + RING_HEADER)
            self.producers[i] = <Bell *>self._hold(producer_bells[i], sizeof(Bell))
        self.bell = <Bell *>self._hold(worker_bell, sizeof(Bell))
        self.counters = <uint64_t *>self._hold(counters, 8 * (C_CLOCK_OFFSET + 1))
        self.histogram = <Histogram *>self._hold(histogram, sizeof(Histogram))
        self.exchange_histogram = NULL
        if exchange_histogram is not None:
            self.exchange_histogram = <Histogram *>self._hold(exchange_histogram, sizeof(Histogram))
        self.clock_offset = <uint64_t *>self._hold(clock_offset, 8)
        self.readers_bell = NULL
        if readers_bell is not None:
            self.readers_bell = <ReadersBell *>self._hold(readers_bell, sizeof(ReadersBell))
        if not self.counters[C_CLOCK_OFFSET]:
            # The first worker here. Another one finds what its predecessor went by: the clock may have been stepped since.
            self.counters[C_CLOCK_OFFSET] = load_relaxed(self.clock_offset)

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
        # The dead one may have freed space, or taken a producer's or the readers' flag, and not come to waking them.
        for i in range(self.ring_count):
            wake_anyway(self.producers[i])
        if self.readers_bell is not NULL:
            wake_readers(self.readers_bell)
        return self._restore()

    cdef int _restore(self) except -1:
        cdef uint64_t word = load_acquire(&self.undo.word)
        cdef uint64_t row = self.undo.row
        cdef uint64_t version
        cdef int i, c
        for i in range(self.ring_count):
            if word | DISARMED == self._word(i, load_acquire(&self.rings[i].applied)) | DISARMED:
                break
        else:
            return 0
        # Applied again before any other: what it did already to rows of their own must not meet later records first.
        self.interrupted = i
        if word & DISARMED:
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
        for c in range(1, self.column_count):
            if self.undo.mask & mask_bit(c):
                store_relaxed(&self.columns[c][row], self.undo.image[c])
                crash_point(11)
        if self.undo.bar_mask:
            bar_restore(&self.bars, row, self.undo)
        store_release(&self.columns[VERSION][row], version + 1)  # SYNC POINT: row-even
        crash_point(12)
        # The row is whole. Armed, the word would bring it these images again once they are those of another record.
        store_release(&self.undo.word, word | DISARMED)  # SYNC POINT: undo-done
        crash_point(15)
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

    def run(self, int64_t budget_ns, uint64_t limit=0) -> int:
        """Apply what comes for `budget_ns`, waiting by the strategy in force. The GIL is released.

        Parameters
        ----------
        budget_ns : int
            When to return.
        limit : int
            Return after about so many records, too; 0: as many as come.

        Returns
        -------
        int
            Records applied.
        """
        cdef uint64_t applied = 0
        with nogil:
            applied = self._run(budget_ns, limit if limit else <uint64_t>-1)
        return applied

    cdef uint64_t _run(self, int64_t budget_ns, uint64_t limit) noexcept nogil:
        cdef int64_t now = monotonic_ns()
        cdef int64_t deadline = now + budget_ns
        cdef int64_t idle_since = now
        cdef uint64_t total = 0
        cdef uint64_t n
        cdef int i
        if self.interrupted >= 0:
            total = self._drain(self.interrupted)
            self.interrupted = -1
        while now < deadline and total < limit:
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
        cdef uint64_t available = load_acquire(&words.head) - at  # SYNC POINT: ring-head
        cdef int64_t received[BATCH]
        cdef int64_t stamped[BATCH]
        cdef const Record *record
        cdef uint64_t done = 0
        cdef uint64_t units = 0
        cdef uint64_t row
        if available == 0:
            return 0
        if available > self.counters[C_MAX_BATCH]:
            self.counters[C_MAX_BATCH] = available
        while done < available and units < BATCH:
            record = &records[(at + done) & mask]
            # Taken before the record is let go: behind `applied` the producer may write over it.
            received[units] = record.receive_ns
            stamped[units] = record.exchange_ns
            # Written on another processor: the record itself is further away than anything that it will touch.
            prefetch_read(&records[(at + done + FAR_AHEAD) & mask])
            if self.bars.kept and available - done > AHEAD:
                row = records[(at + done + AHEAD) & mask].row
                prefetch_write(&self.bars.current[row])
            done += self._apply(ring, record, at + done, available - done)
            units += 1
        ring_bell(self.producers[ring])
        if self.readers_bell is not NULL:
            ring_readers(self.readers_bell)
        self._time(received, stamped, units, at >= self.timed_after[ring])
        self.counters[C_BATCHES] += 1
        return done

    cdef void _time(self, const int64_t *received, const int64_t *stamped, uint64_t n, bint timed) noexcept nogil:
        """Count receive-to-snapshot latencies: receive times of a batch repeat, so runs are counted at once."""
        cdef uint64_t offset = load_relaxed(self.clock_offset)
        cdef int64_t now = monotonic_ns() + <int64_t>offset
        cdef uint64_t i, run
        store_relaxed(&self.counters[C_LAST_NS], <uint64_t>now)
        if offset != self.counters[C_CLOCK_OFFSET]:
            self._step(offset, now)
            timed = False
        if self.exchange_histogram is not NULL:
            for i in range(n):
                if stamped[i]:
                    observe(self.exchange_histogram, now - stamped[i], 1)
        i = 0
        while timed and i < n:
            run = 1
            while i + run < n and received[i + run] == received[i]:
                run += 1
            if received[i] and (not self.timed_from or self.timed_from <= received[i] <= now):
                observe(self.histogram, now - received[i], run)
            i += run

    cdef void _step(self, uint64_t offset, int64_t now) noexcept nogil:
        """The wall clock was stepped: what was stamped before cannot be compared with what the clock says now.

        That is all that is in the rings, and what the receivers are reading at this moment: after a step forward such
        stamps lie before it, after a step back in the future, where no other stamp can.
        """
        cdef int i
        self.counters[C_CLOCK_OFFSET] = offset
        self.timed_from = now
        for i in range(self.ring_count):
            self.timed_after[i] = load_acquire(&self.rings[i].head)

    # ---- one unit: a record, or a group ----

    cdef uint64_t _apply(self, int ring, const Record *record, uint64_t position, uint64_t available) noexcept nogil:
        """Apply the record at `position`, or the group that begins there; return how many records that was."""
        cdef uint64_t row = record.row
        cdef uint64_t n = 1
        cdef uint64_t version
        # Nearly every trade is of the present minute of its row.
        if (
            record.kind == KIND_TRADE
            and row < self.words.data_rows
            and (not self.bars.kept or bar_is_present(&self.bars, row, record))
        ):
            # 1. Images. A reader may be taking the last record's images at this moment: the even version that ended its
            # window must be seen before they change, and a release store alone does not hold back what comes after it.
            fence_release()  # SYNC POINT: undo-reuse
            if self.bars.kept:
                sums_image(&self.bars, &self.bars.current[row], self.undo)
            version = self._open(ring, position, row, TRADE_COLUMNS, 11)
            self._trade(record, row)
            if self.bars.kept:
                self._trade_in_bar(record, &self.bars.current[row])
            self._close(row, version, position + 1)
        elif record.kind == KIND_QUOTE and row < self.words.data_rows:
            fence_release()  # SYNC POINT: undo-reuse
            if self.bars.kept:
                no_image(self.undo)
            version = self._open(ring, position, row, QUOTE_COLUMNS, 7)
            self._quote(record, row)
            self._close(row, version, position + 1)
        else:
            n = self._rare(ring, record, position, available)
        # 6. Done.
        store_release(&self.rings[ring].applied, position + n)  # SYNC POINT: ring-gate
        crash_point(13)
        return n

    cdef uint64_t _rare(self, int ring, const Record *record, uint64_t position, uint64_t available) noexcept nogil:
        """All but the two kinds that most records are of, out of the way of those."""
        cdef uint64_t row = record.row
        # Negative: of no symbol.
        cdef int kind = record.kind if row < self.words.data_rows else -<int>record.kind
        cdef uint64_t n = 1
        cdef uint64_t version
        cdef Touch touch
        if kind == KIND_LEVEL or kind == KIND_TRADES:
            n = self._group(ring, record, position, available)
            if kind == KIND_LEVEL and n:
                version = self._begin(ring, position, row, self.book_columns, self.book_count)
                self._book(ring, position, n, row)
            elif n == 2:
                if self.bars.kept:
                    bar_find(&self.bars, row, record, &touch)
                version = self._begin(ring, position, row, MERGED_COLUMNS, 12, &touch)
                self._trades(record, self._record(ring, position + 1), row, &touch)
            else:
                # No group: nothing of it is shown.
                n = 1
                version = self._begin(ring, position, row, ROW_COLUMNS, 3)
                self._add(EXTRA, row, 1)
        elif kind == KIND_TRADE:
            # Of another minute than the present one of its row.
            bar_find(&self.bars, row, record, &touch)
            version = self._begin(ring, position, row, TRADE_COLUMNS, 11, &touch)
            self._trade(record, row)
            self._trade_in_a_bar(record, &touch)
        elif kind == KIND_TICKER:
            if self.bars.kept:
                self._find_ticker(record, row, &touch)
            version = self._begin(ring, position, row, TICKER_COLUMNS, 10, &touch)
            self._ticker(record, row, &touch)
        elif kind == KIND_REPAIR:
            version = self._begin(ring, position, row, REPAIR_COLUMNS, 6)
            self._repair(record, row)
        elif kind == KIND_GAP or kind == KIND_STATUS:
            version = self._begin(ring, position, row, ROW_COLUMNS, 3)
            self._add(EXTRA, row, 1)
            if kind == KIND_GAP:
                if not record.side:
                    # Otherwise it is a part of an interruption that the row was told before.
                    self._add(GAPS, row, 1)
            elif record.flags & HAS_B:
                self._set_int(STATUS, row, record.value[1].i)
        elif kind == -<int>KIND_STATUS:
            self._session(ring, record, position)
            row = self.feed_row
            version = self._begin(ring, position, row, SESSION_COLUMNS, 4)
            self._feed(record, row)
            # A receiver that is behind tells a session that is over: nothing of it holds any more.
            if not record.flags & HAS_A or record.value[0].i >= (<int64_t *>self.columns[SESSION])[row]:
                if record.flags & HAS_A:
                    self._set_int(SESSION, row, record.value[0].i)
                if record.flags & HAS_B:
                    self._set_int(STATUS, row, record.value[1].i)
        else:
            row = self.feed_row
            version = self._begin(ring, position, row, FEED_COLUMNS, 4)
            self._feed(record, row)
        self._close(row, version, position + n)
        return n

    cdef uint64_t _begin(self, int ring, uint64_t position, uint64_t row, const int *touched, int count,
                         const Touch *touch=NULL) noexcept nogil:
        """Do as `_open`, behind the images of the bars that `touch` names; NULL: none."""
        fence_release()  # SYNC POINT: undo-reuse
        if self.bars.kept:
            if touch is NULL:
                no_image(self.undo)
            else:
                touch_image(&self.bars, touch, self.undo)
        return self._open(ring, position, row, touched, count)

    cdef inline const Record *_record(self, int ring, uint64_t position) noexcept nogil:
        return &self.records[ring][position & (self.rings[ring].capacity - 1)]

    cdef uint64_t _group(self, int ring, const Record *first, uint64_t position, uint64_t available) noexcept nogil:
        """How many records the group has that begins with `first`; 0: it does not begin here, or not end. A producer
        shows it whole or not at all."""
        cdef uint64_t n = 1
        cdef const Record *record = first
        if not first.flags & FIRST_OF_GROUP:
            return 0
        while not record.flags & LAST_OF_GROUP:
            if n == available or n == GROUP_MAX:
                return 0
            record = self._record(ring, position + n)
            if record.row != first.row or record.kind != first.kind or record.flags & FIRST_OF_GROUP:
                return 0
            n += 1
        return n

    cdef inline uint64_t _open(self, int ring, uint64_t position, uint64_t row, const int *touched,
                               int count) noexcept nogil:
        """Begin to change columns `touched` of `row` for the record at `position`; return the row's odd version.

        The caller has fenced (undo-reuse), and taken the images of the bars that the record will change.
        """
        cdef Undo *undo = self.undo
        cdef uint64_t version
        cdef uint64_t mask = mask_bit(UPDATED)
        cdef int i
        store_relaxed(&undo.image[UPDATED], self.columns[UPDATED][row])
        crash_point(1)
        for i in range(count):
            store_relaxed(&undo.image[touched[i]], self.columns[touched[i]][row])
            mask |= mask_bit(touched[i])
            crash_point(2)
        store_relaxed(&undo.row, row)
        crash_point(3)
        store_relaxed(&undo.mask, mask)
        crash_point(4)
        # 2. Arm. The release store keeps the images before the word.
        store_release(&undo.word, self._word(ring, position))  # SYNC POINT: undo-armed
        crash_point(5)
        # 3. Odd.
        version = self.columns[VERSION][row] + 1
        # Released: a reader that meets the odd row must find the word and the images of this record, not the last one's.
        store_release(&self.columns[VERSION][row], version)  # SYNC POINT: undo-armed
        crash_point(6)
        fence_release()  # SYNC POINT: row-odd
        # 4. Data: what the caller does now.
        return version

    cdef inline void _close(self, uint64_t row, uint64_t version, uint64_t updated) noexcept nogil:
        store_relaxed(&self.columns[UPDATED][row], updated)
        crash_point(8)
        self._even(row, version)

    cdef inline void _even(self, uint64_t row, uint64_t version) noexcept nogil:
        # 5. Even.
        store_release(&self.columns[VERSION][row], version + 1)  # SYNC POINT: row-even
        crash_point(9)

    cdef void _session(self, int ring, const Record *record, uint64_t position) noexcept nogil:
        """Take all rows of this worker to the session and the status that `record` tells.

        Assignments, and a row shows by its session and status that it has them: applied again after a crash, the
        record finds what is left to do. Every receiver tells each change, and tells it again when it starts: what the
        feed row has already changes no row, or it would lift the halts of single symbols since.

        `updated` stays: it is a position in the ring of the row's own records, which this one need not be in.
        """
        cdef int64_t *sessions = <int64_t *>self.columns[SESSION]
        cdef int64_t *statuses = <int64_t *>self.columns[STATUS]
        cdef int64_t told = sessions[self.feed_row]
        cdef int64_t session = record.value[0].i if record.flags & HAS_A else 0
        cdef int64_t status = record.value[1].i
        cdef bint has_status = record.flags & HAS_B and not 0 < session < told
        cdef bint changes = has_status and (session > told or status != statuses[self.feed_row])
        cdef bint rolls, joins, assigns
        cdef uint64_t block, row, version
        if self.symbols is None:
            return
        for block in range(self.words.data_rows // 64):
            if self.symbols.shard_of_block(block) != self.worker:
                continue
            for row in range(block * 64, block * 64 + 64):
                # Without a session: handed out since the last roll, and in the session that all others went to then.
                rolls = session > max(sessions[row], told)
                joins = not rolls and session and not sessions[row]
                assigns = has_status and statuses[row] != status and (changes or not statuses[row])
                if rolls:
                    self._disarm(ring, position)
                    version = self._begin(ring, position, row, ROLL_COLUMNS, 10)
                    self._set(PREV_CLOSE, row, self._get(LAST, row))
                    self._set(SIZE, row, 0.0)
                    self._set(OPEN, row, NAN)
                    self._set(HIGH, row, NAN)
                    self._set(LOW, row, NAN)
                    self._set(VOLUME, row, 0.0)
                    self._set(TURNOVER, row, 0.0)
                    self._set_int(TRADES, row, 0)
                elif joins or assigns:
                    self._disarm(ring, position)
                    version = self._begin(ring, position, row, JOIN_COLUMNS, 2)
                else:
                    continue
                if rolls or joins:
                    self._set_int(SESSION, row, max(session, told))
                if assigns:
                    self._set_int(STATUS, row, status)
                self._even(row, version)
        self._disarm(ring, position)

    cdef inline void _disarm(self, int ring, uint64_t position) noexcept nogil:
        """Before the images of another row under the same word: until they are whole, there is nothing to put back."""
        store_relaxed(&self.undo.word, self._word(ring, position) | DISARMED)  # SYNC POINT: undo-done
        crash_point(14)

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
        self._range(row, price, price, price)
        self._set(VOLUME, row, self._get(VOLUME, row) + size)
        self._set(TURNOVER, row, self._get(TURNOVER, row) + turnover)
        self._add(TRADES, row, 1)
        self._set_int(TRADE_EXCHANGE_NS, row, record.exchange_ns)
        self._set_int(TRADE_SEQUENCE, row, record.sequence)
        self._set_int(RECEIVE_NS, row, record.receive_ns)

    cdef inline void _trade_in_bar(self, const Record *record, Bar *bar) noexcept nogil:
        cdef double price = record.value[0].f
        cdef double size = record.value[1].f if record.flags & HAS_B else 0.0
        bar_add(bar, price, price, price, size, record.value[2].f if record.flags & HAS_C else price * size, 1)

    cdef void _trade_in_a_bar(self, const Record *record, const Touch *touch) noexcept nogil:
        cdef double price = record.value[0].f
        cdef double size = record.value[1].f if record.flags & HAS_B else 0.0
        cdef double turnover = record.value[2].f if record.flags & HAS_C else price * size
        bar_store(&self.bars, touch, price, price, price, price, size, turnover, 1)

    cdef inline void _add(self, int index, uint64_t row, int64_t n) noexcept nogil:
        self._set_int(index, row, (<int64_t *>self.columns[index])[row] + n)

    cdef inline void _range(self, uint64_t row, double first, double high, double low) noexcept nogil:
        """Take prices from `low` to `high`, the first of them `first`, into the session's open, high and low."""
        if isnan(self._get(OPEN, row)):
            self._set(OPEN, row, first)
            self._set(HIGH, row, high)
            self._set(LOW, row, low)
        else:
            if high > self._get(HIGH, row):
                self._set(HIGH, row, high)
            if low < self._get(LOW, row):
                self._set(LOW, row, low)

    cdef void _trades(self, const Record *record, const Record *more, uint64_t row, const Touch *touch) noexcept nogil:
        """Many trades merged into one group. In the bars they are all of the minute of the last one."""
        if self.bars.kept:
            bar_store(&self.bars, touch, record.value[2].f, more.value[0].f, more.value[1].f, record.value[0].f,
                      more.value[2].f, more.value[3].f, record.value[3].i)
        self._set(LAST, row, record.value[0].f)
        if record.flags & HAS_B:
            self._set(SIZE, row, record.value[1].f)
        self._range(row, record.value[2].f, more.value[0].f, more.value[1].f)
        self._set(VOLUME, row, self._get(VOLUME, row) + more.value[2].f)
        self._set(TURNOVER, row, self._get(TURNOVER, row) + more.value[3].f)
        self._add(TRADES, row, record.value[3].i)
        self._set_int(TRADE_EXCHANGE_NS, row, record.exchange_ns)
        self._set_int(TRADE_SEQUENCE, row, record.sequence)
        self._set_int(RECEIVE_NS, row, record.receive_ns)
        self._add(EXTRA, row, 1)

    cdef inline double _grown(self, const Record *record, uint64_t row, int value, int index) noexcept nogil:
        """By how much a ticker's sum is above the row's: what was traded since. A sum that shrinks (a vendor's own new
        day, or the last 24 hours) says nothing of that, and neither does the first one of a session."""
        cdef uint64_t known = self.bars.counts[row].cumulative
        if not record.flags & (HAS_A << value) or known != <uint64_t>(<int64_t *>self.columns[SESSION])[row] + 1:
            return 0.0
        return max(0.0, record.value[value].f - self._get(index, row))

    cdef void _find_ticker(self, const Record *record, uint64_t row, Touch *touch) noexcept nogil:
        """Find the bar of a ticker. One that tells of no trade is in none, or quiet symbols would have bars."""
        cdef uint64_t session = <uint64_t>(<int64_t *>self.columns[SESSION])[row] + 1
        cdef bint first = record.flags & HAS_C and self.bars.counts[row].cumulative != session
        cdef bint moved = not first and record.value[0].f != self._get(LAST, row)
        if moved or self._grown(record, row, 2, VOLUME) > 0 or self._grown(record, row, 3, TURNOVER) > 0:
            bar_find(&self.bars, row, record, touch)
        else:
            bar_nowhere(&self.bars, row, touch)
        if first:
            touch.cumulative = session
            touch.mask |= BAR_COUNTS

    cdef void _ticker(self, const Record *record, uint64_t row, const Touch *touch) noexcept nogil:
        """A vendor's own running figures: its sums are taken as they are, never added up."""
        cdef double price = record.value[0].f
        if self.bars.kept:
            bar_store(&self.bars, touch, price, price, price, price, self._grown(record, row, 2, VOLUME),
                      self._grown(record, row, 3, TURNOVER), 0)
        self._set(LAST, row, price)
        self._range(row, price, price, price)
        if record.flags & HAS_B:
            self._set(PREV_CLOSE, row, record.value[1].f)
        if record.flags & HAS_C:
            self._set(VOLUME, row, record.value[2].f)
        if record.flags & HAS_D:
            self._set(TURNOVER, row, record.value[3].f)
        self._set_int(TRADE_EXCHANGE_NS, row, record.exchange_ns)
        self._set_int(TRADE_SEQUENCE, row, record.sequence)
        self._set_int(RECEIVE_NS, row, record.receive_ns)

    cdef void _repair(self, const Record *record, uint64_t row) noexcept nogil:
        """The vendor's latest trade, asked for: it is no event, and nothing says what came before it. So it is in no
        sum, and what the row has from the feed stays, unless this is newer."""
        self._add(EXTRA, row, 1)
        if record.exchange_ns <= (<int64_t *>self.columns[TRADE_EXCHANGE_NS])[row]:
            return
        self._set(LAST, row, record.value[0].f)
        self._set(SIZE, row, record.value[1].f if record.flags & HAS_B else 0.0)
        self._set_int(TRADE_EXCHANGE_NS, row, record.exchange_ns)
        self._set_int(TRADE_SEQUENCE, row, record.sequence)
        self._set_int(REPAIRED, row, record.receive_ns)

    cdef void _book(self, int ring, uint64_t position, uint64_t n, uint64_t row) noexcept nogil:
        """A whole book: what it does not hold, is not there."""
        cdef const Record *record = self._record(ring, position)
        cdef int level, at
        cdef uint16_t flags = record.flags
        self._set(BID, row, record.value[0].f if flags & HAS_A else NAN)
        self._set(BID_SIZE, row, record.value[1].f if flags & HAS_B else 0.0)
        self._set(ASK, row, record.value[2].f if flags & HAS_C else NAN)
        self._set(ASK_SIZE, row, record.value[3].f if flags & HAS_D else 0.0)
        self._set_int(QUOTE_EXCHANGE_NS, row, record.exchange_ns)
        self._set_int(QUOTE_SEQUENCE, row, record.sequence)
        self._set_int(RECEIVE_NS, row, record.receive_ns)
        self._add(EXTRA, row, n - 1)
        for level in range(self.levels):
            flags = 0
            if <uint64_t>level < n:
                record = self._record(ring, position + level)
                flags = record.flags
            at = <int>BOOK + level
            self._set(at, row, record.value[0].f if flags & HAS_A else NAN)
            self._set(at + self.levels, row, record.value[1].f if flags & HAS_B else 0.0)
            self._set(at + 2 * self.levels, row, record.value[2].f if flags & HAS_C else NAN)
            self._set(at + 3 * self.levels, row, record.value[3].f if flags & HAS_D else 0.0)

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
        self._add(TRADES, row, 1)
        if record.kind == KIND_GAP:
            self._add(EXTRA, row, 1)
            if not record.side:
                # Otherwise it was told to the rows that it concerns, one by one.
                self._add(GAPS, row, 1)
        if record.receive_ns:
            self._set_int(RECEIVE_NS, row, record.receive_ns)
