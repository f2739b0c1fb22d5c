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
    # Rows copied between two looks at their versions: long enough for memcpy to come to speed, short enough that few
    # rows move meanwhile.
    RUN = 512

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


cdef bint _undo_row(const SnapshotWords *words, Py_ssize_t row, uint64_t version, const int *wanted, int count,
                    uint64_t *out, Py_ssize_t step) noexcept nogil:
    """Copy `row`, seen at the odd `version`, with the values from before the record in flight."""
    cdef int worker, i, c
    cdef const Undo *undo
    cdef uint64_t word, mask
    for worker in range(<int>words.workers):
        undo = undo_area(words, worker)
        word = load_acquire(&undo.word)  # SYNC POINT: undo-armed
        if word & DISARMED or load_relaxed(&undo.row) != <uint64_t>row:
            continue
        mask = load_relaxed(&undo.mask)
        for i in range(count):
            c = wanted[i]
            if c == VERSION:
                # The even version that the window began with: images hold none, the row's own word is odd.
                out[i * step] = version - 1
            elif mask & mask_bit(c):
                out[i * step] = load_relaxed(&undo.image[c])
            else:
                out[i * step] = load_relaxed(&column(words, c)[row])
        fence_acquire()  # SYNC POINT: row-odd, undo-reuse
        if load_relaxed(&undo.word) == word and load_relaxed(&column(words, VERSION)[row]) == version:
            return True
    return False


cdef bint _copy_row(const SnapshotWords *words, Py_ssize_t row, const int *wanted, int count, uint64_t *out,
                    Py_ssize_t step) noexcept nogil:
    """Copy one consistent row, column ``wanted[i]`` to ``out[i * step]``. True if it came from an undo area."""
    cdef uint64_t *versions = column(words, VERSION)
    cdef uint64_t version
    cdef int i
    cdef Py_ssize_t spins = 0
    while True:
        version = load_acquire(&versions[row])  # SYNC POINT: row-even
        if version & 1 == 0:
            for i in range(count):
                # Of the version itself, too: the look below judges it with the rest.
                out[i * step] = load_relaxed(&column(words, wanted[i])[row])
            fence_acquire()  # SYNC POINT: row-odd (the copy before the look that judges it)
            if load_relaxed(&versions[row]) == version:
                return False
        elif spins >= SPINS and _undo_row(words, row, version, wanted, count, out, step):
            return True
        spins += 1
        if spins % SPINS == 0:
            cpu_yield()
        else:
            cpu_pause()


cdef bint _moved(const uint64_t *versions, const uint64_t *before, Py_ssize_t n) noexcept nogil:
    """Say whether any of `n` rows is, or was, being written. A loop of its own, without a branch, keeps it short."""
    cdef uint64_t found = 0
    cdef Py_ssize_t i
    for i in range(n):
        found |= (before[i] & 1) | (before[i] ^ load_relaxed(&versions[i]))
    return found != 0


cdef Py_ssize_t _copy_run(const SnapshotWords *words, Py_ssize_t start, Py_ssize_t rows, const int *wanted, int count,
                          uint64_t *out, Py_ssize_t step) noexcept nogil:
    """Copy rows that follow one another, each consistent in itself; return how many came from an undo area.

    At the speed of memcpy, RUN rows at a time; only those that moved meanwhile are copied again, one by one.
    """
    cdef uint64_t before[RUN]
    cdef const uint64_t *versions
    cdef Py_ssize_t i, n, at = 0, undone = 0
    cdef int c
    while at < rows:
        n = min(<Py_ssize_t>RUN, rows - at)
        versions = column(words, VERSION) + start + at
        for i in range(n):
            before[i] = load_relaxed(&versions[i])
        # One fence makes acquire loads of them all.
        fence_acquire()  # SYNC POINT: row-even
        for c in range(count):
            memcpy(out + c * step + at, &column(words, wanted[c])[start + at], n * 8)
        fence_acquire()  # SYNC POINT: row-odd
        if _moved(versions, before, n):
            for i in range(n):
                # What moved only after the look above may be copied once more, or not: both is right.
                if before[i] & 1 or load_relaxed(&versions[i]) != before[i]:
                    undone += _copy_row(words, start + at + i, wanted, count, out + at + i, step)
        at += n
    return undone


cdef Py_ssize_t _outside(const intptr_t *asked, Py_ssize_t n, Py_ssize_t rows) noexcept nogil:
    """Return the place of the first row that does not exist, or `n`."""
    cdef uint64_t beyond = 0
    cdef Py_ssize_t i
    for i in range(n):
        # Negative ones are huge without their sign.
        beyond |= <uint64_t>asked[i] >= <uint64_t>rows
    if not beyond:
        return n
    for i in range(n):
        if not 0 <= asked[i] < rows:
            return i
    return n


cdef Py_ssize_t _run(const intptr_t *asked, Py_ssize_t n) noexcept nogil:
    """Return how many of `n` rows, from the first on, follow one another."""
    cdef Py_ssize_t i = 1
    cdef intptr_t first = asked[0]
    while i < n and asked[i] - first == i:
        i += 1
    return i


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

    def copy_rows(self, rows, out, columns=None) -> int:
        """Copy rows, each consistent in itself, in column-major order.

        Rows that follow one another in `rows` as they do in the snapshot are copied together, at the speed of memcpy.

        Parameters
        ----------
        rows : buffer of intp, shape (n,)
            Row indices.
        out : writable buffer of uint64, shape (len(columns), n), C order
            Receives the bits; view its rows with the dtypes of `columns`.
        columns : iterable of int, optional
            Places in `columns` of those that are wanted, in the order of `out`, any number of times; all by default.

        Returns
        -------
        int
            How many rows were taken from an undo area (a worker died or was stopped inside their window).

        Raises
        ------
        IndexError
            There is no such row, or no such column. Nothing has been copied.
        ValueError
            `out` is too small, or more columns are wanted than there are.
        """
        cdef Borrowed indices = borrow(rows, 0)
        cdef const intptr_t *asked = <const intptr_t *>indices.data
        cdef Py_ssize_t n = indices.size // <Py_ssize_t>sizeof(intptr_t), at = 0, undone = 0, run
        cdef int wanted[COLUMNS_MAX]
        cdef int count = self._wanted(columns, wanted)
        cdef Borrowed target = borrow_writable(out, n * count * 8)
        cdef uint64_t *to = <uint64_t *>target.data
        run = _outside(asked, n, self.rows)
        if run < n:
            raise IndexError(f"row {asked[run]} of {self.rows}")
        with nogil:
            while at < n:
                run = _run(asked + at, n - at)
                undone += _copy_run(self.words, asked[at], run, wanted, count, to + at, n)
                at += run
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
        cdef int wanted[COLUMNS_MAX]
        cdef int count = self._wanted(None, wanted)
        cdef Borrowed target = borrow_writable(out, self.rows * count * 8)
        cdef uint64_t *to = <uint64_t *>target.data
        cdef Py_ssize_t undone
        with nogil:
            undone = _copy_run(self.words, 0, self.rows, wanted, count, to, self.rows)
        self.undone += undone
        return undone

    cdef int _wanted(self, columns, int *wanted) except -1:
        """Fill in which columns are wanted, and return how many they are."""
        cdef int count = 0
        for place in range(len(self.columns)) if columns is None else columns:
            if not 0 <= place < len(self.columns):
                raise IndexError(f"column {place} of {len(self.columns)}")
            if count == COLUMNS_MAX:
                raise ValueError(f"at most {COLUMNS_MAX} columns can be copied at a time")
            wanted[count] = place
            count += 1
        return count
