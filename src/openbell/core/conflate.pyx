# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What waits for room in a ring under the policy ``conflate``: for each symbol the newest of everything, and sums.

Bounded by the number of symbols, however long the worker is behind. A newer quote, book or ticker replaces the older
one; trades merge into the last one with the sums of all of them, so that a snapshot ends where it would have ended had
each been applied on its own. Symbols leave in the order in which they came to wait.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset

from openbell.core.layout cimport (
    FIRST_OF_GROUP,
    HAS_A,
    HAS_B,
    HAS_C,
    HAS_D,
    KIND_LEVEL,
    KIND_QUOTE,
    KIND_TICKER,
    KIND_TRADES,
    LAST_OF_GROUP,
    Record,
)

cdef enum:
    HAS_BOOK = 1
    HAS_QUOTE = 2
    HAS_TICKER = 4
    HAS_TRADES = 8
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
        self.waiting_of = <Py_ssize_t *>PyMem_Calloc(rings, sizeof(Py_ssize_t))
        if not (self.by_row and self.first and self.last and self.waiting_of):
            raise MemoryError

    def __dealloc__(self):
        cdef Pending *pending
        if self.first:
            self.clear()
        while self.spare:
            pending = self.spare
            self.spare = pending.next
            PyMem_Free(pending)
        PyMem_Free(self.by_row)
        PyMem_Free(self.first)
        PyMem_Free(self.last)
        PyMem_Free(self.waiting_of)

    cdef int add(self, int ring, const Record *records, int n) noexcept:
        """Take a record or a group. Returns how many waiting events it made superfluous, or -1 without memory."""
        cdef Pending *pending = self._pending(ring, records.row)
        cdef int merged = 0
        cdef int i
        if pending is NULL:
            return NO_MEMORY
        if records.kind == KIND_LEVEL:
            # A whole book: neither an older one nor an older top of it is of use behind it.
            merged = (pending.has & HAS_BOOK != 0) + (pending.has & HAS_QUOTE != 0)
            for i in range(n):
                pending.book[i] = records[i]
            pending.levels = <uint8_t>n
            pending.has = (pending.has | HAS_BOOK) & ~HAS_QUOTE
        elif records.kind == KIND_QUOTE:
            merged = pending.has & HAS_QUOTE != 0
            _newer(&pending.quote, records, merged)
            pending.has |= HAS_QUOTE
        elif records.kind == KIND_TICKER:
            merged = pending.has & HAS_TICKER != 0
            _newer(&pending.ticker, records, merged)
            pending.has |= HAS_TICKER
        else:
            merged = self._trade(pending, records)
        self.waiting += 1 - merged
        self.waiting_of[ring] += 1 - merged
        return merged

    cdef Pending *_pending(self, int ring, uint32_t row) noexcept:
        """What `row` has waiting; at the end of its ring's queue if that is nothing yet."""
        cdef Pending *pending = self.by_row[row]
        if pending is not NULL:
            return pending
        pending = self.spare
        if pending is not NULL:
            self.spare = pending.next
        else:
            pending = <Pending *>PyMem_Malloc(sizeof(Pending) + self.levels * sizeof(Record))
            if pending is NULL:
                return NULL
        memset(pending, 0, sizeof(Pending))
        pending.row = row
        self.by_row[row] = pending
        if self.last[ring] is NULL:
            self.first[ring] = pending
        else:
            self.last[ring].next = pending
        self.last[ring] = pending
        return pending

    cdef int _trade(self, Pending *pending, const Record *record) noexcept:
        cdef double price = record.value[0].f
        cdef double size = record.value[1].f if record.flags & HAS_B else 0.0
        cdef double turnover = record.value[2].f if record.flags & HAS_C else price * size
        pending.trade = record[0]
        if not pending.has & HAS_TRADES:
            pending.has |= HAS_TRADES
            pending.trades = 1
            pending.open = pending.high = pending.low = price
            pending.volume = size
            pending.turnover = turnover
            return 0
        pending.trades += 1
        pending.high = max(pending.high, price)
        pending.low = min(pending.low, price)
        pending.volume += size
        pending.turnover += turnover
        return 1

    cdef int size_of_next(self, int ring) noexcept nogil:
        """Records of the unit that `take` gives next; 0: nothing waits for this ring."""
        cdef Pending *pending = self.first[ring]
        if pending is NULL:
            return 0
        if pending.has & HAS_BOOK:
            return pending.levels
        if pending.has & (HAS_QUOTE | HAS_TICKER):
            return 1
        return 2 if pending.trades > 1 else 1

    cdef void take(self, int ring, Record *out) noexcept nogil:
        """Move the next unit to `out`, which has room for it. There is one: `size_of_next` says so."""
        cdef Pending *pending = self.first[ring]
        cdef int i
        if pending.has & HAS_BOOK:
            for i in range(pending.levels):
                out[i] = pending.book[i]
            pending.has &= ~HAS_BOOK
        elif pending.has & HAS_QUOTE:
            out[0] = pending.quote
            pending.has &= ~HAS_QUOTE
        elif pending.has & HAS_TICKER:
            out[0] = pending.ticker
            pending.has &= ~HAS_TICKER
        else:
            out[0] = pending.trade
            if pending.trades > 1:
                _merged(pending, out)
            pending.has &= ~HAS_TRADES
        self.waiting -= 1
        self.waiting_of[ring] -= 1
        if not pending.has:
            self.first[ring] = pending.next
            if pending.next is NULL:
                self.last[ring] = NULL
            self.by_row[pending.row] = NULL
            pending.next = self.spare
            self.spare = pending

    cdef Py_ssize_t clear(self) noexcept:
        """Drop everything; return how many units that was."""
        cdef Py_ssize_t dropped = self.waiting
        cdef Pending *pending
        cdef int ring
        for ring in range(self.rings):
            while self.first[ring] is not NULL:
                pending = self.first[ring]
                self.first[ring] = pending.next
                self.by_row[pending.row] = NULL
                pending.next = self.spare
                self.spare = pending
            self.last[ring] = NULL
            self.waiting_of[ring] = 0
        self.waiting = 0
        return dropped


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


cdef void _merged(const Pending *pending, Record *out) noexcept nogil:
    """Make the group of many trades out of the last one, which is in ``out[0]``."""
    cdef double size = out[0].value[1].f if out[0].flags & HAS_B else 0.0
    out[0].kind = KIND_TRADES
    out[0].flags = HAS_A | HAS_B | HAS_C | HAS_D | FIRST_OF_GROUP
    out[1] = out[0]
    out[1].flags = HAS_A | HAS_B | HAS_C | HAS_D | LAST_OF_GROUP
    out[0].value[1].f = size
    out[0].value[2].f = pending.open
    out[0].value[3].i = pending.trades
    out[1].value[0].f = pending.high
    out[1].value[1].f = pending.low
    out[1].value[2].f = pending.volume
    out[1].value[3].f = pending.turnover
