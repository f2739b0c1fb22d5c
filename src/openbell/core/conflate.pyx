# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What waits for room in a ring under the policy ``conflate``: for each symbol the newest of everything, and sums.

Bounded by the number of symbols, however long the worker is behind. A newer quote, book or ticker replaces the older
one; trades merge into the last one with the sums of all of them, so that a snapshot ends where it would have ended had
each been applied on its own. Symbols leave in the order in which they came to wait, and what waits of one symbol in the
order in which it was last changed.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from openbell.core.layout cimport (
    FIRST_OF_GROUP,
    HAS_A,
    HAS_B,
    HAS_C,
    HAS_D,
    KIND_LEVEL,
    KIND_QUOTE,
    KIND_STATUS,
    KIND_TICKER,
    KIND_TRADES,
    LAST_OF_GROUP,
    ROW_NONE,
    Record,
)

cdef enum:
    NO_MEMORY = -1


cdef class Conflator:
    """The waiting records of one listener.

    Parameters
    ----------
    rows : int
        Rows of the snapshot.
    rings : int
        Rings the listener writes to.
    levels : int
        Most records of an order book.
    """

    def __cinit__(self, uint64_t rows, int rings, int levels):
        self.rows = rows
        self.rings = rings
        self.levels = levels
        self.by_row = <Pending **>PyMem_Calloc(rows, sizeof(Pending *))
        self.first = <Pending **>PyMem_Calloc(rings, sizeof(Pending *))
        self.last = <Pending **>PyMem_Calloc(rings, sizeof(Pending *))
        if not (self.by_row and self.first and self.last):
            raise MemoryError

    def __dealloc__(self):
        cdef Pending *pending
        if self.first and self.last:
            self.clear()
        while self.spare:
            pending = self.spare
            self.spare = pending.next
            PyMem_Free(pending)
        PyMem_Free(self.by_row)
        PyMem_Free(self.first)
        PyMem_Free(self.last)

    cdef int add(self, int ring, const Record *records, int n) noexcept:
        """Take a record or a group. Returns how many waiting events it made superfluous, or -1 without memory."""
        cdef Pending *pending = self.by_row[records.row]
        cdef int merged = 0
        cdef int i
        if pending is NULL:
            pending = self._enqueued(ring, records.row)
            if pending is NULL:
                return NO_MEMORY
            self.by_row[records.row] = pending
        if records.kind == KIND_LEVEL:
            # A whole book: neither an older one nor an older top of it is of use behind it.
            merged = (pending.has >> BOOK & 1) + (pending.has >> QUOTE & 1)
            for i in range(n):
                pending.book[i] = records[i]
            pending.levels = <uint8_t>n
            pending.has &= ~(1 << QUOTE)
            self._changed(pending, BOOK)
        elif records.kind == KIND_QUOTE:
            merged = pending.has >> QUOTE & 1
            _newer(&pending.quote, records, merged)
            self._changed(pending, QUOTE)
        elif records.kind == KIND_TICKER:
            merged = self._ticker(pending, records)
        else:
            merged = pending.has >> TRADES & 1
            _add_trade(&pending.trades, records, merged)
            self._changed(pending, TRADES)
        self.waiting += 1 - merged
        return merged

    cdef int tell(self, int ring, const Record *record) except -1:
        """Take a record that is no event: it waits its turn, and nothing replaces it."""
        cdef Pending *pending = self._enqueued(ring, ROW_NONE)
        cdef Pending *before
        if pending is NULL:
            raise MemoryError
        pending.quote = record[0]
        self._changed(pending, TOLD)
        self.told += 1
        if record.kind == KIND_STATUS:
            # What comes behind a session is of that session: it must not be merged with what comes before it.
            before = self.first[ring]
            while before is not NULL:
                self._detach(before)
                before = before.next
        return 0

    cdef Pending *_enqueued(self, int ring, uint32_t row) noexcept:
        """A new entry at the end of a ring's queue, or NULL without memory."""
        cdef Pending *pending = self.spare
        if pending is not NULL:
            self.spare = pending.next
        else:
            pending = <Pending *>PyMem_Malloc(sizeof(Pending) + self.levels * sizeof(Record))
            if pending is NULL:
                return NULL
        memset(pending, 0, sizeof(Pending))
        pending.row = row
        if self.last[ring] is NULL:
            self.first[ring] = pending
        else:
            self.last[ring].next = pending
        self.last[ring] = pending
        return pending

    cdef inline void _changed(self, Pending *pending, int part) noexcept nogil:
        pending.has |= 1 << part
        self.changes += 1
        pending.changed[part] = self.changes

    cdef int _ticker(self, Pending *pending, const Record *record) noexcept:
        """A ticker assigns sums: what came before it still counts for open, high and low, and where it has no sums."""
        cdef int before = (pending.has >> TICKER & 1) + (pending.has >> TRADES & 1) + (pending.has >> EARLIER & 1)
        cdef Record newest = record[0]
        if pending.has & 1 << TICKER:
            if pending.has & 1 << TRADES:
                if pending.ticker.flags & HAS_C:
                    pending.ticker.value[2].f += pending.trades.volume
                if pending.ticker.flags & HAS_D:
                    pending.ticker.value[3].f += pending.trades.turnover
            _add_price(&pending.earlier, &pending.ticker, pending.has >> EARLIER & 1)
            self._changed(pending, EARLIER)
        if pending.has & 1 << TRADES:
            _add_sums(&pending.earlier, &pending.trades, pending.has >> EARLIER & 1)
            self._changed(pending, EARLIER)
            pending.has &= ~(1 << TRADES)
        _newer(&pending.ticker, &newest, pending.has >> TICKER & 1)
        self._changed(pending, TICKER)
        return before + 1 - (1 + (pending.has >> EARLIER & 1))

    cdef int size_of_next(self, int ring) noexcept nogil:
        """Records of the unit that `take` gives next; 0: nothing waits for this ring."""
        cdef const Pending *pending = self.first[ring]
        cdef int part
        if pending is NULL:
            return 0
        part = _next_part(pending)
        if part == BOOK:
            return pending.levels
        if part == EARLIER:
            return _size_of(&pending.earlier)
        if part == TRADES:
            return _size_of(&pending.trades)
        return 1

    cdef void take(self, int ring, Record *out) noexcept nogil:
        """Move the next unit to `out`, which has room for it. There is one: `size_of_next` says so."""
        cdef Pending *pending = self.first[ring]
        cdef int part = _next_part(pending)
        cdef int i
        if part == BOOK:
            for i in range(pending.levels):
                out[i] = pending.book[i]
        elif part == EARLIER:
            _write_sums(&pending.earlier, out)
        elif part == TRADES:
            _write_sums(&pending.trades, out)
        elif part == TICKER:
            out[0] = pending.ticker
        else:
            out[0] = pending.quote
        if part == TOLD:
            self.told -= 1
        else:
            self.waiting -= 1
            # What comes of this symbol from now on waits at the end again: a busy one must not keep the others out.
            self._detach(pending)
        pending.has &= ~(1 << part)
        if not pending.has:
            self._release(ring)

    cdef void _release(self, int ring) noexcept nogil:
        """Take the first entry out of a ring's queue."""
        cdef Pending *pending = self.first[ring]
        self._detach(pending)
        self.first[ring] = pending.next
        if pending.next is NULL:
            self.last[ring] = NULL
        pending.next = self.spare
        self.spare = pending

    cdef inline void _detach(self, const Pending *pending) noexcept nogil:
        """Merge nothing further into an entry."""
        if pending.row != ROW_NONE and self.by_row[pending.row] is pending:
            self.by_row[pending.row] = NULL

    cdef Py_ssize_t clear(self) noexcept:
        """Drop everything; return how many events that was."""
        cdef Py_ssize_t dropped = self.waiting
        cdef int ring
        for ring in range(self.rings):
            while self.first[ring] is not NULL:
                self._release(ring)
        self.waiting = self.told = 0
        return dropped


cdef int _next_part(const Pending *pending) noexcept nogil:
    """The part that was changed the longest ago: so the last one that is applied is the last one that came."""
    cdef int part, found = -1
    for part in range(PARTS):
        if pending.has >> part & 1 and (found < 0 or pending.changed[part] < pending.changed[found]):
            found = part
    return found


cdef void _newer(Record *waiting, const Record *newer, bint waits) noexcept nogil:
    """Replace a record; a value that the newer one lacks stays as it is, as it would in the snapshot."""
    cdef Record older = waiting[0]
    cdef int i
    waiting[0] = newer[0]
    if not waits:
        return
    for i in range(4):
        if older.flags & (HAS_A << i) and not newer.flags & (HAS_A << i):
            waiting.value[i] = older.value[i]
            waiting.flags |= HAS_A << i


cdef void _add_trade(Sums *sums, const Record *record, bint waits) noexcept nogil:
    cdef double price = record.value[0].f
    cdef double size = record.value[1].f if record.flags & HAS_B else 0.0
    if not waits:
        memset(sums, 0, sizeof(Sums))
    _add_range(sums, price, price, price)
    sums.record = record[0]
    sums.volume += size
    sums.turnover += record.value[2].f if record.flags & HAS_C else price * size
    sums.trades += 1
    sums.prices += 1


cdef void _add_price(Sums *sums, const Record *ticker, bint waits) noexcept nogil:
    """Add the price of a ticker, which is no trade."""
    cdef double price = ticker.value[0].f
    if not waits:
        memset(sums, 0, sizeof(Sums))
        sums.record = ticker[0]
    _add_range(sums, price, price, price)
    sums.prices += 1


cdef void _add_sums(Sums *sums, const Sums *more, bint waits) noexcept nogil:
    if not waits:
        sums[0] = more[0]
        return
    _add_range(sums, more.open, more.high, more.low)
    sums.record = more.record
    sums.volume += more.volume
    sums.turnover += more.turnover
    sums.trades += more.trades
    sums.prices += more.prices


cdef inline void _add_range(Sums *sums, double first, double high, double low) noexcept nogil:
    if not sums.prices:
        sums.open = first
    sums.high = max(sums.high, high) if sums.prices else high
    sums.low = min(sums.low, low) if sums.prices else low


cdef inline int _size_of(const Sums *sums) noexcept nogil:
    return 1 if sums.prices == 1 and sums.trades else 2


cdef void _write_sums(const Sums *sums, Record *out) noexcept nogil:
    """The one trade as it came, or a group for all of them."""
    cdef double size = sums.record.value[1].f if sums.record.flags & HAS_B else 0.0
    out[0] = sums.record
    if _size_of(sums) == 1:
        return
    out[0].kind = KIND_TRADES
    # Without a trade among the prices there is no last size.
    out[0].flags = HAS_A | (HAS_B if sums.trades else 0) | HAS_C | HAS_D | FIRST_OF_GROUP
    out[1] = out[0]
    out[1].flags = HAS_A | HAS_B | HAS_C | HAS_D | LAST_OF_GROUP
    out[0].value[1].f = size
    out[0].value[2].f = sums.open
    out[0].value[3].i = sums.trades
    out[1].value[0].f = sums.high
    out[1].value[1].f = sums.low
    out[1].value[2].f = sums.volume
    out[1].value[3].f = sums.turnover
