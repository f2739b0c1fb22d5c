# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Following several rings at once: filtered, merged in the order of receipt, with every gap in its place.

A follower copies what passes its filter, and judges each copy before it hands anything of it out: a tap by the claim of
the ring, as `openbell.core.ring.Tap` does, a tethered reader by the state of its slot. What it was too late for stands in
the stream as a GAP record with the exact count. Groups are handed out whole.

**Order.** A receiver stamps what one socket read brought with one time, and shows all of it in all its rings before it
reads again. So, once a record is seen, everything of the same receiver with an older stamp can be seen as well, if one
looks again. Each poll therefore looks at all heads twice. What was there at the first look is handed out; what is there at
the second is what it is compared with. Nothing is kept back to wait for anything: whatever is visible when a poll
begins comes out of it, and stamps never decrease. A stamp of 0, or one that runs backwards (of what waited in a
receiver for room, say), counts as the greatest so far of its ring. Two receivers tell each other nothing: between them
the order is as good as what has arrived allows.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_SET_ITEM
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from openbell.core.atomics cimport fence_acquire, load_acquire, load_relaxed, store_release
from openbell.core.buffers cimport Borrowed, borrow, borrow_writable
from openbell.core.layout cimport (
    FIRST_OF_GROUP,
    GAP_LAP,
    GROUP_MAX,
    HAS_A,
    HAS_B,
    HAS_C,
    HAS_D,
    KIND_GAP,
    KIND_PAD,
    KIND_STATUS,
    KIND_TRADES,
    LAST_OF_GROUP,
    RECORD_SIZE,
    ROW_NONE,
    Record,
    of_group,
)
from openbell.core.ring cimport RING_HEADER, RingWords, ring_words
from openbell.core.tether cimport Tether
from openbell.errors import FeedError, FeedGone

cdef extern from *:
    """
    /* An empty instance of a tuple's subclass. By way of tuple.__new__ it would be made of another tuple, at twice the cost:
       this is done once a record. */
    static PyObject *ob_new_tuple(PyObject *type, Py_ssize_t n) {
        PyObject *made = ((PyTypeObject *)type)->tp_alloc((PyTypeObject *)type, n);
    #if PY_VERSION_HEX >= 0x030E0000
        /* Python 3.14 keeps the hash in the tuple; -1: not computed yet. */
        if (made != NULL) ((PyTupleObject *)made)->ob_hash = -1;
    #endif
        return made;
    }
    """
    object new_tuple "ob_new_tuple"(object type, Py_ssize_t n)

cdef enum:
    # Records copied ahead of a ring's turn.
    STAGE = 256
    # Records looked at between two looks at the claim: what a lap costs beyond what it must, and how soon it is seen.
    SCAN = 1024
    # How often a ring is tried whose writer laps us while we look.
    ATTEMPTS = 8
    # What the byte of a row says.
    LEFT_OUT = 0
    WANTED = 1
    UNKNOWN = 2
    GAP_CUT = 5

cdef enum Outcome:
    FINE = 0
    TOO_LATE = 1
    ASKS = 2

ROOM_BEYOND = SLACK
"""How many records a buffer must hold beyond those asked for: a gap, and the rest of the last group."""


cdef class Follower:
    """A reader of several rings that copies what it is asked for, in order.

    Parameters
    ----------
    rings : list of buffer
        Bodies of the ring segments (read-only is enough); borrowed for the life of the follower.
    starts : list
        For each ring "now" (the next record to be published), "oldest" (the oldest surely intact) or a position. Passed
        over where there are tethers.
    tick : type
        The tuple type of `take`.
    symbols : callable
        Returns the symbol of a row, for `take`; raises KeyError for a row that has none.
    rows : writable buffer of uint8, shape (rows,), optional
        1: records of that row are wanted; 0: they are not; 2: `resolve` is asked when the first one comes.
    resolve : callable, optional
        Returns whether a row is wanted that `rows` does not know.
    kinds : int
        Bit k is set if records of kind k are wanted. GAP records always are, but those of a row that is not.
    seam : buffer of int64, shape (rows,), optional
        For each row the first position that is wanted, in the ring that brings the row's events.
    apart : bool
        Do not merge: each ring for itself, in turns.
    tethers : list of Tether, optional
        This reader's hold on each ring. They have joined, and nobody else moves them. One that is cut joins again by
        itself, and what was missed is told.

    Attributes
    ----------
    delivered : int
        Records handed out, GAP records among them.
    skipped : int
        Records of the rings that this follower was too late for: exactly the sum of the counts in its own GAP records.
    lost : int
        Events that the feed said it had lost, as far as the GAP records that were handed out know how many.
    gaps : int
        GAP records handed out.
    cuts : int
        How often it was cut off, as a tethered reader, and joined again.
    """

    def __cinit__(self, list rings, *args, **kwargs):
        cdef int i
        self.count = len(rings)
        if not self.count:
            raise ValueError("a follower needs a ring")
        self.sources = <Source *>PyMem_Calloc(self.count, sizeof(Source))
        if self.sources is NULL:
            raise MemoryError
        for i in range(self.count):
            self.sources[i].staged = <Record *>PyMem_Calloc(STAGE + SLACK, RECORD_SIZE)
            self.sources[i].stamps = <int64_t *>PyMem_Calloc(STAGE + SLACK, 8)
            self.sources[i].positions = <uint64_t *>PyMem_Calloc(STAGE + SLACK, 8)
            if not self.sources[i].staged or not self.sources[i].stamps or not self.sources[i].positions:
                raise MemoryError

    def __init__(self, list rings, list starts, tick, symbols, rows=None, resolve=None, kinds=-1, seam=None,
                 apart=False, tethers=None):
        cdef Borrowed lent
        cdef Source *source
        cdef int i
        if len(starts) != self.count:
            raise ValueError(f"{len(starts)} starts for {self.count} rings")
        if tethers is not None and len(tethers) != self.count:
            raise ValueError(f"{len(tethers)} tethers for {self.count} rings")
        self.tethers = tethers
        self._lent = []
        if not issubclass(tick, tuple) or tick.__basicsize__ != tuple.__basicsize__:
            raise TypeError(f"ticks are made as tuples, and {tick!r} is no plain tuple type")
        self.make = tick
        self.symbols = symbols
        self.names = []
        self.apart = apart
        self.kinds = <uint64_t>(kinds & 0xFFFFFFFFFFFFFFFF)
        self.resolve = resolve
        if rows is not None:
            lent = borrow_writable(rows, 0)
            self._lent.append(lent)
            self.rows = lent.data
            self.row_count = lent.size
        if seam is not None:
            lent = borrow(seam, 0)
            self._lent.append(lent)
            self.seam = <const int64_t *>lent.data
            self.seam_count = lent.size // 8
        for i in range(self.count):
            lent = borrow(rings[i], RING_HEADER)
            self._lent.append(lent)
            source = &self.sources[i]
            source.words = ring_words(lent)
            source.records = <const Record *>(lent.data + RING_HEADER)
            source.capacity = source.words.capacity
            source.mask = source.capacity - 1
            source.gap_at = <uint64_t>-1
            if tethers is None:
                self._start(source, starts[i])
            else:
                self._hold(source, tethers[i])

    def __dealloc__(self):
        cdef int i
        if self.sources is NULL:
            return
        for i in range(self.count):
            PyMem_Free(self.sources[i].staged)
            PyMem_Free(self.sources[i].stamps)
            PyMem_Free(self.sources[i].positions)
        PyMem_Free(self.sources)

    cdef _start(self, Source *source, start):
        cdef uint64_t head = load_acquire(&source.words.head)
        cdef uint64_t claim = load_acquire(&source.words.claim)
        if start == "now":
            source.at = head
        elif start == "oldest":
            source.at = min(claim - source.capacity if claim > source.capacity else 0, head)
            source.anywhere = True
        elif isinstance(start, int) and 0 <= start <= head:
            source.at = start
        else:
            raise ValueError(f"start must be 'now', 'oldest' or a position up to the head ({head}), not {start!r}")
        source.visible = source.head = source.at

    cdef _hold(self, Source *source, Tether tether):
        if tether.ring is not source.words and tether.ring.ring_id != source.words.ring_id:
            raise ValueError("the tether is of another ring")
        if not tether.mine:
            raise ValueError("the tether has not joined")
        # It may have been cut since: then that is found out by the first look, and told.
        source.state, source.mine = tether.state, tether.mine
        source.cursor, source.let_go = tether.cursor, &tether.at
        source.at = source.visible = source.head = tether.at

    @property
    def positions(self) -> list:
        """For each ring the position of the next record to be looked at."""
        return [self.sources[i].at for i in range(self.count)]

    @property
    def most(self) -> int:
        """How many records one read can bring, if it may bring any number: all of the rings, and all that is at hand."""
        return READY + SLACK + sum([self.sources[i].capacity + STAGE + 2 * SLACK for i in range(self.count)])

    @property
    def waiting(self) -> bool:
        """Whether there is something to be read that was not looked at yet, or that is copied and not handed out."""
        cdef int i
        if self.ready_first < self.ready_end:
            return True
        for i in range(self.count):
            if self.sources[i].first < self.sources[i].end:
                return True
            if load_acquire(&self.sources[i].words.head) != self.sources[i].at:
                return True
        return False

    def disown(self) -> None:
        """Forget all tethers: in the child of a fork, they belong to the parent."""
        cdef int i
        for i in range(self.count):
            self.sources[i].state = NULL

    def lend(self, max_records: int) -> tuple:
        """Lend what comes next in one of the rings, of a reader that is tethered.

        Until it is settled, nothing else can be read.

        Returns
        -------
        ring : int
            Index of the ring; -1: there is nothing now; -2: records that were copied ahead are to be read first.
        position : int
            Of the first record in the ring.
        count : int
            How many records lie there in a row: `max_records` at most, and what further ones the last group of them has
            before the end of the ring. 0: there is a gap to be told first, see `missed`.
        """
        cdef Source *source
        cdef uint64_t n, most
        cdef int i
        if self.tethers is None:
            raise ValueError("only a tethered reader can lend its rings")
        self._check()
        if self.ready_first < self.ready_end:
            return -2, 0, 0
        for i in range(self.count):
            if self.sources[i].first < self.sources[i].end:
                return -2, 0, 0
        self._look()
        for i in range(self.count):
            self.turn = (self.turn + 1) % self.count
            source = &self.sources[self.turn]
            if source.missing:
                return self.turn, source.missing_from, 0
            if source.head == source.at:
                continue
            if source.head - source.at > source.capacity or not self._intact(self.turn):
                self._miss(self.turn)
                self._raise()
                if source.missing:
                    return self.turn, source.missing_from, 0
                continue
            most = min(source.head - source.at, source.capacity - (source.at & source.mask))
            n = min(most, <uint64_t>max_records)
            while n < most and _continues(&source.records[(source.at + n) & source.mask]):
                n += 1
            self.lent = True
            return self.turn, source.at, n
        return -1, 0, 0

    def settle(self, int ring, count: int) -> bool:
        """Take back `count` records that were lent, and let the writer have them.

        Returns
        -------
        bool
            False if this reader was cut off meanwhile: they may be overwritten, and are missed. It has joined again.
        """
        cdef Source *source = &self.sources[ring]
        cdef unsigned long long gaps = self.gaps, lost = self.lost
        cdef uint64_t i
        self.lent = False
        for i in range(<uint64_t>count):
            self._account(&source.records[(source.at + i) & source.mask], 1)
        if not self._intact(ring):
            self.gaps, self.lost = gaps, lost
            self._miss(ring)
            self._raise()
            return False
        source.at += <uint64_t>count
        self.delivered += count
        self._let_go(source)
        return True

    def missed(self, int ring) -> bytes:
        """Return the GAP record that tells what was missed of a ring since the last one; empty if there is none."""
        cdef Source *source = &self.sources[ring]
        cdef Record record
        if not source.missing:
            return b""
        _gap(&record, source.missing_reason, source.missing, source.missing_from, source.missing_from + source.missing - 1,
             HAS_A | HAS_B | HAS_C | HAS_D, source.greatest)
        self._account(&record, 1)
        self.skipped += source.missing
        self.delivered += 1
        source.missing = 0
        return (<const char *>&record)[:RECORD_SIZE]

    def tell(self, int reason, int64_t count) -> None:
        """Have a GAP record stand in the stream before all that comes: something happened that no ring tells of."""
        if self.ready_end >= READY:
            raise ValueError("read what is at hand first")
        _gap(&self.ready[self.ready_end], reason, count, 0, 0, HAS_A | HAS_B, self.sources[0].greatest)
        self._account(&self.ready[self.ready_end], 1)
        self.ready_end += 1

    def read(self, out, max_records: int) -> int:
        """Copy what there is, in order. The GIL is released.

        Parameters
        ----------
        out : writable buffer
            Of at least ``(max_records + ROOM_BEYOND) * 64`` bytes.
        max_records : int
            At most so many, and what further ones the last group of them has.

        Returns
        -------
        int
            How many records of 64 bytes are in `out`. 0: there is nothing now.
        """
        cdef Borrowed target = borrow_writable(out, 0)
        cdef Record *to = <Record *>target.data
        cdef uint64_t most = max_records
        cdef uint64_t n = 0
        if max_records < 1:
            raise ValueError(f"max_records must be at least 1, not {max_records}")
        if <uint64_t>target.size < (most + SLACK) * RECORD_SIZE:
            raise ValueError(f"a buffer of {target.size} bytes for {max_records} records and {SLACK} beyond")
        self._check()
        self.busy = True
        with nogil:
            if self.ready_first < self.ready_end:
                n = min(self.ready_end - self.ready_first, most)
                while n < self.ready_end - self.ready_first and _continues(&self.ready[self.ready_first + n]):
                    n += 1
                memcpy(to, &self.ready[self.ready_first], n * RECORD_SIZE)
                self.ready_first += n
            if n < most:
                n += self._read(to + n, most - n)
        self.busy = False
        # What was copied before something went wrong is not lost: the next call raises it.
        if not n:
            self._raise()
        self.delivered += n
        return n

    def take(self):
        """Return the next record as a tick, or None if there is nothing now."""
        cdef Record *record
        if self.ready_first == self.ready_end:
            self._check()
            self.busy = True
            self.ready_first = 0
            self.ready_end = self._read(self.ready, READY)
            self.busy = False
            if not self.ready_end:
                self._raise()
                return None
        record = &self.ready[self.ready_first]
        tick = self._tick(record)
        self.ready_first += 1
        self.delivered += 1
        return tick

    cdef int _check(self) except -1:
        if self.busy:
            raise FeedError("another thread is reading this stream; ask the market for a stream of its own in each thread")
        if self.lent:
            raise FeedError("release the last batch first: it is borrowed from the ring, and what comes next is behind it")
        self._raise()
        return 0

    cdef int _raise(self) except -1:
        """Raise what went wrong where nothing could be raised, if something did."""
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return 0

    # ---- polls ----

    cdef void _look(self) noexcept nogil:
        cdef int i
        for i in range(self.count):
            self.sources[i].visible = load_acquire(&self.sources[i].words.head)  # SYNC POINT: ring-head
        for i in range(self.count):
            if self.apart or self.count == 1:
                self.sources[i].head = self.sources[i].visible
            else:
                # Whatever is older than something that the first look has shown, the second one shows.
                self.sources[i].head = load_acquire(&self.sources[i].words.head)  # SYNC POINT: ring-head

    cdef uint64_t _read(self, Record *to, uint64_t most) noexcept nogil:
        cdef uint64_t kept = 0
        cdef int i, tries, outcome = FINE
        self._look()
        if self.count > 1 and not self.apart:
            kept = self._merge(to, most)
            self._account(to, kept)
            return kept
        # Each poll begins with another ring: none can starve the others.
        for i in range(self.count):
            self.turn = (self.turn + 1) % self.count
            tries = 0
            while kept < most and tries < ATTEMPTS and self._left(self.turn) and self.error is None:
                kept += self._scan(self.turn, to + kept, NULL, NULL, most - kept, &outcome)
                tries = tries + 1 if outcome == TOO_LATE else 0
        self.turn = (self.turn + 1) % self.count
        self._account(to, kept)
        return kept

    cdef bint _left(self, int index) noexcept nogil:
        return self.sources[index].at < self.sources[index].head or self.sources[index].missing != 0

    cdef uint64_t _merge(self, Record *to, uint64_t most) noexcept nogil:
        cdef uint64_t kept = 0
        cdef Source *source
        cdef int64_t least = 0, second, stamp
        cdef int i, best
        cdef bint left
        cdef uint64_t position
        while kept < most:
            best = -1
            second = 0
            left = False
            for i in range(self.count):
                source = &self.sources[i]
                if source.first == source.end:
                    if self._left(i) and not self._refill(i):
                        # Who knows what it would have brought: another time.
                        return kept
                    if source.first == source.end:
                        continue
                stamp = source.stamps[source.first]
                left = left or source.positions[source.first] < source.visible
                if best < 0:
                    best, least, second = i, stamp, 0x7FFFFFFFFFFFFFFF
                elif stamp < least:
                    best, least, second = i, stamp, least
                elif stamp < second:
                    second = stamp
            if not left:
                break
            source = &self.sources[best]
            while True:
                position = source.positions[source.first]
                while True:
                    to[kept] = source.staged[source.first]
                    self.last = max(self.last, source.stamps[source.first])
                    if source.positions[source.first] == source.gap_at and to[kept].kind == KIND_GAP:
                        # Of our own making: its ring was read last before the others went on.
                        to[kept].receive_ns = self.last
                    kept += 1
                    source.first += 1
                    if source.first == source.end or source.positions[source.first] != position:
                        break
                # A run: on with this ring for as long as it has the least, and what the first look has shown.
                if (kept >= most or source.first == source.end or source.stamps[source.first] > second
                        or source.positions[source.first] >= source.visible):
                    break
        return kept

    cdef bint _refill(self, int index) noexcept nogil:
        """Stage what comes next in a ring; False if its writer was faster, each time, or something went wrong."""
        cdef Source *source = &self.sources[index]
        cdef int outcome = FINE
        cdef int tries = 0
        source.first = source.end = 0
        while source.end == 0 and self._left(index):
            if self.error is not None:
                return False
            source.end = self._scan(index, source.staged, source.stamps, source.positions, STAGE, &outcome)
            tries = tries + 1 if outcome == TOO_LATE else 0
            if tries == ATTEMPTS:
                return False
        return True

    # ---- one ring ----

    cdef uint64_t _scan(self, int index, Record *to, int64_t *stamps, uint64_t *positions, uint64_t most,
                        int *outcome) noexcept nogil:
        """Copy what is wanted of the next records of a ring, judge it, and go on behind it; return how many.

        With a gap to be told, that is the first of them. `to` has room for SLACK more than `most`.
        """
        cdef Source *source = &self.sources[index]
        cdef uint64_t at = source.at
        cdef uint64_t kept = 1 if source.missing else 0
        cdef uint64_t end, n, i
        cdef uint64_t further = 0
        cdef int64_t greatest = source.greatest
        cdef bint anywhere = source.anywhere
        cdef const Record *record
        cdef int wanted
        cdef uint32_t asked = 0
        outcome[0] = FINE
        if source.head - at > source.capacity:
            # Such a copy would run past the end of the ring.
            outcome[0] = TOO_LATE
            self._miss(index)
            return 0
        end = min(source.head, at + SCAN)
        while at < end and (kept < most or anywhere):
            record = &source.records[at & source.mask]
            n = 1
            if of_group(record):
                if record.flags & FIRST_OF_GROUP:
                    n = _group(source, at)
                elif anywhere:
                    # The rest of a group whose beginning is not there.
                    at += 1
                    further += 1
                    continue
            anywhere = False
            if kept >= most:
                break
            wanted = self._wanted(record, at)
            if wanted == UNKNOWN:
                outcome[0] = ASKS
                asked = record.row
                break
            if record.receive_ns > greatest:
                greatest = record.receive_ns
            if wanted:
                for i in range(n):
                    to[kept + i] = source.records[(at + i) & source.mask]
                    if stamps is not NULL:
                        stamps[kept + i] = greatest
                        positions[kept + i] = at
                kept += n
            at += n
        if not self._intact(index):
            outcome[0] = TOO_LATE
            self._miss(index)
            return 0
        if source.missing:
            # Where it landed in the middle of a group, the rest of that is missed as well.
            source.missing += further
            source.gap_at = source.missing_from
            _gap(to, source.missing_reason, source.missing, source.missing_from, source.missing_from + source.missing - 1,
                 HAS_A | HAS_B | HAS_C | HAS_D, source.greatest)
            if stamps is not NULL:
                stamps[0] = source.greatest
                positions[0] = source.missing_from
            self.skipped += source.missing
            source.missing = 0
        source.greatest = greatest
        source.anywhere = anywhere
        if outcome[0] == ASKS:
            # By the same judgement that record was intact, so its row is one.
            self.rows[asked] = self._ask(asked)
        source.at = at
        self._let_go(source)
        return kept

    cdef void _let_go(self, Source *source) noexcept nogil:
        if source.state is not NULL and source.at > source.let_go[0]:
            source.let_go[0] = source.at
            store_release(source.cursor, source.at)  # SYNC POINT: tether-gate (what was read before it is let go)

    cdef int _wanted(self, const Record *record, uint64_t position) noexcept nogil:
        cdef uint64_t row = record.row
        cdef uint8_t kind = record.kind
        if kind == KIND_PAD or kind > 63:
            return LEFT_OUT
        if row == ROW_NONE:
            if kind == KIND_GAP:
                # With a side, it was told to the rows that it concerns, one by one.
                return self.rows is NULL or not record.side
            return (self.kinds >> kind) & 1
        if self.rows is not NULL:
            if row >= self.row_count or self.rows[row] == LEFT_OUT:
                return LEFT_OUT
            if self.rows[row] == UNKNOWN:
                return UNKNOWN
        if self.seam is not NULL and row < self.seam_count and <int64_t>position < self.seam[row]:
            return LEFT_OUT
        return kind == KIND_GAP or (self.kinds >> kind) & 1

    cdef int _ask(self, uint32_t row) noexcept with gil:
        try:
            return WANTED if self.resolve(row) else LEFT_OUT
        except KeyError:
            return LEFT_OUT
        except BaseException as error:
            # An interrupt as well: raised by whoever is reading. The row is asked for again by the next read.
            self.error = error
            return UNKNOWN

    cdef bint _intact(self, int index) noexcept nogil:
        """Whether the copy is what was written; asked after it was made."""
        cdef Source *source = &self.sources[index]
        # Looked at once: another thread may close this meanwhile.
        cdef uint64_t *state = source.state
        fence_acquire()  # SYNC POINT: ring-claim, tether-cut (the copy before the claim or the state that judges it)
        if state is not NULL:
            return load_relaxed(state) == source.mine
        # Acquired: the head that is read after a lap must not be older than this claim.
        return load_acquire(&source.words.claim) <= source.at + source.capacity

    cdef void _miss(self, int index) noexcept nogil:
        """Land in the middle of what is intact, and note how far that is."""
        cdef Source *source = &self.sources[index]
        cdef uint64_t resume
        if source.state is not NULL:
            self._join_again(index)
            return
        source.head = load_acquire(&source.words.head)
        resume = max(source.at + 1, source.head - source.capacity // 2)
        if not source.missing:
            source.missing_from = source.at
            source.missing_reason = GAP_LAP
        source.missing += resume - source.at
        source.at = resume
        source.anywhere = True

    cdef void _join_again(self, int index) noexcept with gil:
        """Go on after a cut, as close to where that was as the writer allows, and note how far it is."""
        cdef Source *source = &self.sources[index]
        cdef Tether tether = <Tether>self.tethers[index]
        cdef uint64_t start
        try:
            start = tether.join(source.at)
        except FeedGone:
            # Nobody writes any more: what is there can be read as by any tap.
            source.state = NULL
            return
        except BaseException as error:
            # Raised by whoever is reading. The next look finds the tether cut again, and comes here once more.
            self.error = error
            return
        source.mine = tether.mine
        source.head = load_acquire(&source.words.head)
        self.cuts += 1
        if start > source.at:
            if not source.missing:
                source.missing_from = source.at
                source.missing_reason = GAP_CUT
            source.missing += start - source.at
            source.at = start

    cdef void _account(self, const Record *records, uint64_t n) noexcept nogil:
        cdef uint64_t i
        for i in range(n):
            if records[i].kind == KIND_GAP:
                self.gaps += 1
                if records[i].value[0].i not in (GAP_LAP, GAP_CUT) and records[i].value[1].i > 0:
                    self.lost += records[i].value[1].i

    # ---- one record ----

    cdef _tick(self, const Record *record):
        cdef int flags = record.flags
        cdef bint whole = record.kind == KIND_GAP or record.kind == KIND_STATUS
        cdef bint counted = record.kind == KIND_TRADES and flags & FIRST_OF_GROUP
        cdef object symbol = None
        cdef object made
        if record.row != ROW_NONE:
            if record.row < <uint64_t>len(self.names):
                symbol = self.names[record.row]
            if symbol is None:
                symbol = self._name(record.row)
        made = new_tuple(self.make, 12)
        _put(made, 0, symbol)
        _put(made, 1, record.kind)
        _put(made, 2, record.side)
        _put(made, 3, flags)
        _put(made, 4, record.exchange_ns)
        _put(made, 5, record.receive_ns)
        _put(made, 6, record.sequence)
        _put(made, 7, _value(record, 0, flags & HAS_A, whole))
        _put(made, 8, _value(record, 1, flags & HAS_B, whole))
        _put(made, 9, _value(record, 2, flags & HAS_C, whole))
        _put(made, 10, _value(record, 3, flags & HAS_D, whole or counted))
        _put(made, 11, None if record.row == ROW_NONE else record.row)
        return made

    cdef _name(self, uint32_t row):
        symbol = self.symbols(row)
        if row >= <uint64_t>len(self.names):
            self.names.extend([None] * (row + 1 - len(self.names)))
        self.names[row] = symbol
        return symbol


cdef inline void _put(object made, Py_ssize_t index, object value):
    # It takes the reference that it is given.
    Py_INCREF(value)
    PyTuple_SET_ITEM(made, index, value)


cdef inline object _value(const Record *record, int index, bint there, bint whole):
    if not there:
        return None
    return record.value[index].i if whole else record.value[index].f


cdef inline bint _continues(const Record *record) noexcept nogil:
    """Whether a record is the rest of the group before it."""
    return of_group(record) and not record.flags & FIRST_OF_GROUP


cdef inline uint64_t _group(const Source *source, uint64_t at) noexcept nogil:
    """How many records the group at `at` has. What it looks at may be overwritten: the judgement of the copy is its own.
    """
    cdef uint64_t n = 1
    cdef uint64_t most = min(source.head - at, <uint64_t>GROUP_MAX)
    while n < most and not source.records[(at + n - 1) & source.mask].flags & LAST_OF_GROUP:
        n += 1
    return n


cdef void _gap(Record *record, int reason, int64_t count, int64_t first, int64_t last, int flags,
               int64_t receive_ns) noexcept nogil:
    memset(record, 0, sizeof(Record))
    record.row = ROW_NONE
    record.kind = KIND_GAP
    record.flags = flags
    record.receive_ns = receive_ns
    record.value[0].i = reason
    record.value[1].i = count
    record.value[2].i = first
    record.value[3].i = last
