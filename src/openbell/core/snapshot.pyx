# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The last-value cache of the whole market: one contiguous column per field, one version word per row.

One worker writes a row; it makes the version odd, stores, and makes it even again. A reader that saw the same even
version before and after its copy has a consistent row. A row that stays odd belongs to a worker that died or was
stopped inside the window: its values from before the record in flight are in the worker's undo area, and a reader
takes them from there instead of waiting for a restart.
"""

from libc.math cimport NAN
from libc.stdint cimport int64_t, intptr_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset

from openbell.core.atomics cimport cpu_pause, cpu_yield, fence_acquire, load_acquire, load_relaxed
from openbell.core.buffers cimport Borrowed, borrow, borrow_writable

cdef enum:
    # A window lasts some ten ns: who spins longer than this met a writer that was stopped.
    SPINS = 200
    BLOCK = 64
    WORKERS_MAX = 64

COLUMNS = (
    ("version", "i8"),
    ("last", "f8"),
    ("size", "f8"),
    ("open", "f8"),
    ("high", "f8"),
    ("low", "f8"),
    ("prev_close", "f8"),
    ("volume", "f8"),
    ("turnover", "f8"),
    ("trades", "i8"),
    ("trade_exchange_ns", "i8"),
    ("trade_sequence", "i8"),
    ("bid", "f8"),
    ("bid_size", "f8"),
    ("ask", "f8"),
    ("ask_size", "f8"),
    ("quote_exchange_ns", "i8"),
    ("quote_sequence", "i8"),
    ("receive_ns", "i8"),
    ("updated", "i8"),
    ("session", "i8"),
    ("gaps", "i8"),
    ("repaired", "i8"),
    ("status", "i8"),
    ("extra", "i8"),
)
_EMPTY = (LAST, OPEN, HIGH, LOW, PREV_CLOSE, BID, ASK)
_BOOK = ("book_bid", "book_bid_size", "book_ask", "book_ask_size")


def columns(book_levels: int = 0) -> tuple:
    """Return ``(name, "f8" or "i8")`` of all columns of a snapshot with `book_levels` levels a side, in order.

    Raises
    ------
    ValueError
        There are 0 to 10 levels.
    """
    if not 0 <= book_levels <= LEVELS_MAX:
        raise ValueError(f"book_levels must be from 0 to {LEVELS_MAX}, not {book_levels}")
    return COLUMNS + tuple((f"{part}_{level}", "f8") for part in _BOOK for level in range(1, book_levels + 1))


cdef uint64_t _stride(uint64_t rows) noexcept nogil:
    # Columns of a power-of-two length would all start in the same cache set, and a record touches a dozen of them:
    # page-round, then shift each by five lines.
    return (rows * 8 + 4095) // 4096 * 4096 + 5 * 64


def _check(rows, workers):
    if rows < BLOCK or rows % BLOCK:
        raise ValueError(f"rows must be a multiple of {BLOCK}, not {rows}")
    if not 1 <= workers <= WORKERS_MAX:
        raise ValueError(f"workers must be from 1 to {WORKERS_MAX}, not {workers}")


def feed_row(rows: int, worker: int) -> int:
    """Return the row that takes what concerns no symbol (PAD, GAP, STATUS) at `worker`, behind `rows` data rows."""
    return rows + worker * BLOCK


def size(rows: int, workers: int, book_levels: int = 0) -> int:
    """Return the bytes of a snapshot of `rows` data rows (a multiple of 64) written by `workers` workers."""
    _check(rows, workers)
    return SNAPSHOT_HEADER + workers * UNDO_BYTES + len(columns(book_levels)) * _stride(rows + workers * BLOCK)


def format(buffer, rows: int, workers: int, book_levels: int = 0) -> None:
    """Make an empty snapshot in `buffer`: NaN in prices, 0 elsewhere, nothing in flight."""
    cdef Borrowed lent = borrow_writable(buffer, size(rows, workers, book_levels))
    cdef SnapshotWords *words = <SnapshotWords *>lent.data
    cdef Py_ssize_t i
    cdef double *values
    memset(lent.data, 0, lent.size)
    words.rows = rows + workers * BLOCK
    words.data_rows = rows
    words.workers = workers
    words.columns = len(columns(book_levels))
    words.levels = book_levels
    words.stride = _stride(words.rows)
    words.undo_offset = SNAPSHOT_HEADER
    words.column_offset = SNAPSHOT_HEADER + workers * UNDO_BYTES
    for worker in range(workers):
        undo_area(words, worker).word = <uint64_t>-1
    for index, (name, _) in enumerate(columns(book_levels)):
        if index not in _EMPTY and not (index >= <int>BOOK and "size" not in name):
            continue
        values = <double *>column(words, index)
        for i in range(<Py_ssize_t>words.rows):
            values[i] = NAN


cdef SnapshotWords *snapshot_words(Borrowed lent) except NULL:
    """Check that a buffer (of at least SNAPSHOT_HEADER bytes) holds a snapshot of this layout and return its words."""
    cdef SnapshotWords *words = <SnapshotWords *>lent.data
    if words.levels > LEVELS_MAX or words.columns != <uint64_t>BOOK + 4 * words.levels or not words.rows:
        raise ValueError("the buffer holds no snapshot of this layout")
    if <uint64_t>lent.size < words.column_offset + words.columns * words.stride:
        raise ValueError("the buffer is shorter than the snapshot that its header names")
    return words


cdef bint _undo_row(const SnapshotWords *words, Py_ssize_t row, uint64_t version, uint64_t *out,
                    Py_ssize_t step) noexcept nogil:
    """Copy `row`, seen at the odd `version`, with the values from before the record in flight."""
    cdef int worker, c
    cdef const Undo *undo
    cdef uint64_t word, mask
    for worker in range(<int>words.workers):
        undo = undo_area(words, worker)
        word = load_acquire(&undo.word)  # SYNC POINT: undo-armed
        if word & DISARMED or load_relaxed(&undo.row) != <uint64_t>row:
            continue
        mask = load_relaxed(&undo.mask)
        for c in range(1, <int>words.columns):
            if mask & mask_bit(c):
                out[c * step] = load_relaxed(&undo.image[c])
            else:
                out[c * step] = load_relaxed(&column(words, c)[row])
        fence_acquire()  # SYNC POINT: row-odd, undo-reuse
        if load_relaxed(&undo.word) == word and load_relaxed(&column(words, VERSION)[row]) == version:
            # The even version that the window began with: images hold none, the row's own word is odd.
            out[VERSION * step] = version - 1
            return True
    return False


cdef bint _copy_row(const SnapshotWords *words, Py_ssize_t row, uint64_t *out, Py_ssize_t step) noexcept nogil:
    """Copy one consistent row, column c to ``out[c * step]``. True if the values came from an undo area."""
    cdef uint64_t *versions = column(words, VERSION)
    cdef uint64_t version
    cdef int c
    cdef Py_ssize_t spins = 0
    while True:
        version = load_acquire(&versions[row])  # SYNC POINT: row-even
        if version & 1 == 0:
            for c in range(1, <int>words.columns):
                out[c * step] = load_relaxed(&column(words, c)[row])
            fence_acquire()  # SYNC POINT: row-odd (the copy before the look that judges it)
            if load_relaxed(&versions[row]) == version:
                out[VERSION * step] = version
                return False
        elif spins >= SPINS and _undo_row(words, row, version, out, step):
            return True
        spins += 1
        if spins % SPINS == 0:
            cpu_yield()
        else:
            cpu_pause()


cdef class SnapshotReader:
    """Consistent copies of rows, for any process that maps the snapshot (read-only is enough).

    Parameters
    ----------
    buffer : buffer
        Body of the snapshot segment; borrowed for the life of the reader.

    Attributes
    ----------
    rows, data_rows : int
        All rows, and those that symbols can have.
    columns : tuple of (str, str)
        Name and type of each column, in the order of copies.
    book_levels : int
        Levels of the order book a side.
    columns_at, stride : int
        Offset of the first column, and from each column to the next, in bytes.
    """

    cdef object _buffer
    cdef SnapshotWords *words
    cdef readonly Py_ssize_t rows
    cdef readonly Py_ssize_t data_rows
    cdef readonly int workers
    cdef readonly int book_levels
    cdef readonly Py_ssize_t stride
    cdef readonly Py_ssize_t columns_at
    cdef readonly tuple columns
    cdef readonly unsigned long long undone

    def __init__(self, buffer):
        cdef Borrowed lent = borrow(buffer, SNAPSHOT_HEADER)
        self.words = snapshot_words(lent)
        self._buffer = lent
        self.rows = self.words.rows
        self.data_rows = self.words.data_rows
        self.workers = self.words.workers
        self.book_levels = self.words.levels
        self.stride = self.words.stride
        self.columns_at = self.words.column_offset
        self.columns = columns(self.book_levels)

    def column_offset(self, name: str) -> int:
        """Return the offset in bytes of column `name`: `rows` contiguous 8-byte values.

        Raises
        ------
        KeyError
            No such column.
        """
        for index, (known, _) in enumerate(self.columns):
            if known == name:
                return self.words.column_offset + index * self.words.stride
        raise KeyError(f"no column {name!r}")

    def extra(self) -> int:
        """Return how many records were applied to data rows that were no event of their own, over all rows."""
        cdef uint64_t *extras = column(self.words, EXTRA)
        cdef uint64_t total = 0
        cdef Py_ssize_t row
        with nogil:
            for row in range(self.data_rows):
                total += load_relaxed(&extras[row])
        return total

    def copy_rows(self, rows, out) -> int:
        """Copy rows, each consistent in itself, in column-major order.

        Parameters
        ----------
        rows : buffer of intp, shape (n,)
            Row indices.
        out : writable buffer of uint64, shape (columns, n), C order
            Receives the bits; view its rows with the dtypes of `columns`.

        Returns
        -------
        int
            How many rows were taken from an undo area (a worker died or was stopped inside their window).
        """
        cdef Borrowed indices = borrow(rows, 0)
        cdef const intptr_t *wanted = <const intptr_t *>indices.data
        cdef Py_ssize_t i, n = indices.size // <Py_ssize_t>sizeof(intptr_t), undone = 0
        cdef Borrowed target = borrow_writable(out, n * <Py_ssize_t>self.words.columns * 8)
        cdef uint64_t *to = <uint64_t *>target.data
        for i in range(n):
            if not 0 <= wanted[i] < self.rows:
                raise IndexError(f"row {wanted[i]} of {self.rows}")
        with nogil:
            for i in range(n):
                undone += _copy_row(self.words, wanted[i], to + i, n)
        self.undone += undone
        return undone

    def copy_all(self, out) -> int:
        """Copy all rows (data and feed rows), each consistent in itself.

        Parameters
        ----------
        out : writable buffer of uint64, shape (columns, rows), C order

        Returns
        -------
        int
            How many rows were taken from an undo area.
        """
        cdef Py_ssize_t rows = self.rows
        cdef Borrowed target = borrow_writable(out, rows * <Py_ssize_t>self.words.columns * 8)
        cdef uint64_t *to = <uint64_t *>target.data
        cdef uint64_t before[BLOCK]
        cdef uint64_t *versions = column(self.words, VERSION)
        cdef Py_ssize_t block, start, i, undone = 0
        cdef int c
        with nogil:
            # Whole blocks at the speed of memcpy; only the rows that moved meanwhile are copied again one by one.
            for block in range(rows // BLOCK):
                start = block * BLOCK
                for i in range(BLOCK):
                    before[i] = load_acquire(&versions[start + i])  # SYNC POINT: row-even
                for c in range(1, <int>self.words.columns):
                    memcpy(to + c * rows + start, &column(self.words, c)[start], BLOCK * 8)
                fence_acquire()  # SYNC POINT: row-odd
                for i in range(BLOCK):
                    if before[i] & 1 or load_relaxed(&versions[start + i]) != before[i]:
                        undone += _copy_row(self.words, start + i, to + start + i, rows)
                    else:
                        to[start + i] = before[i]
        self.undone += undone
        return undone
