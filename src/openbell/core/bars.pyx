# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""One-minute bars of every row: their memory, the rare half of the worker's side, and consistent copies.

A worker changes the bars of a row in the same window as its columns, so they have the same version word; a row whose
worker died or was stopped within it is read with the images of the worker's undo area, as its columns are.
"""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t, intptr_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset

from openbell.core.atomics cimport (
    cpu_pause,
    cpu_yield,
    crash_point,
    fence_acquire,
    load_acquire,
    load_relaxed,
    store_relaxed,
)
from openbell.core.buffers cimport Borrowed, borrow, borrow_writable
from openbell.core.layout cimport Record
from openbell.core.snapshot cimport (
    DISARMED,
    SNAPSHOT_HEADER,
    VERSION,
    SnapshotWords,
    Undo,
    column,
    snapshot_words,
    undo_area,
)

cdef enum:
    BLOCK = 64
    KEPT_MAX = 1440
    # As long as a reader of columns spins on an odd row.
    SPINS = 200

FIELDS = (
    ("start_ns", "i8"),
    ("open", "f8"),
    ("high", "f8"),
    ("low", "f8"),
    ("close", "f8"),
    ("volume", "f8"),
    ("turnover", "f8"),
    ("trades", "i8"),
)


def _check(rows, kept):
    if rows < BLOCK or rows % BLOCK:
        raise ValueError(f"rows must be a multiple of {BLOCK}, not {rows}")
    if not 1 <= kept <= KEPT_MAX:
        raise ValueError(f"bars must be from 1 to {KEPT_MAX} a symbol, not {kept}")


def size(rows: int, kept: int) -> int:
    """Return the bytes of the last `kept` bars (1 to 1,440) of `rows` data rows, a multiple of 64."""
    _check(rows, kept)
    return BARS_HEADER + rows * (COUNT_WORDS * 8 + (1 + kept) * BAR_BYTES)


def format(buffer, rows: int, kept: int) -> None:
    """Make room for bars in `buffer`, which is zeroed: no row has any yet."""
    cdef Borrowed lent = borrow_writable(buffer, size(rows, kept))
    cdef BarsWords *words = <BarsWords *>lent.data
    words.rows = rows
    words.kept = kept
    words.current_at = BARS_HEADER
    words.history_at = words.current_at + rows * BAR_BYTES
    words.counts_at = words.history_at + rows * kept * BAR_BYTES


cdef BarsWords *bars_words(Borrowed lent) except NULL:
    """Check that a buffer (of at least BARS_HEADER bytes) holds bars and return its words."""
    cdef BarsWords *words = <BarsWords *>lent.data
    if not 1 <= words.kept <= KEPT_MAX or not words.rows or words.current_at != BARS_HEADER:
        raise ValueError("the buffer holds no bars of this layout")
    if <uint64_t>lent.size < words.counts_at + words.rows * COUNT_WORDS * 8:
        raise ValueError("the buffer is shorter than the bars that its header names")
    return words


cdef void bars_view(BarsWords *words, Bars *bars) noexcept nogil:
    """Set the pointers of a worker's view."""
    cdef uint8_t *base = <uint8_t *>words
    bars.words = words
    bars.kept = words.kept
    bars.counts = <BarCounts *>(base + words.counts_at)
    bars.current = <Bar *>(base + words.current_at)
    bars.history = <Bar *>(base + words.history_at)


# ---- the worker's side, what is not of the present minute ----

cdef void bar_find(const Bars *bars, uint64_t row, const Record *record, Touch *touch) noexcept nogil:
    """Find the bar of `row` that `record` belongs to. Nothing is changed yet."""
    cdef int64_t ns = bar_time(record)
    cdef int64_t start = ns - ns % MINUTE_NS
    cdef Bar *history = &bars.history[row * bars.kept]
    cdef uint64_t begun, low, high, middle
    bar_nowhere(bars, row, touch)
    begun = touch.counts.begun
    touch.ns = ns
    if start and begun and start == touch.line.start_ns:
        touch.step = STEP_ADD
        touch.mask = BAR_SUMS
        return
    if start and (not begun or start > touch.line.start_ns):
        touch.step = STEP_BEGIN
        touch.mask = BAR_LINE | BAR_COUNTS
        return
    # Among the bars that readers are shown, in the order of their minutes; the newest of them is the present one.
    high = begun - 1 if begun else 0
    low = begun - bars.kept if begun > bars.kept else 0
    while start and low < high:
        middle = low + (high - low) // 2
        if history[middle % bars.kept].start_ns < start:
            low = middle + 1
        else:
            high = middle
    if start and begun and low < begun - 1 and history[low % bars.kept].start_ns == start:
        touch.line = &history[low % bars.kept]
        touch.step = STEP_ADD
        touch.mask = BAR_SUMS
        return
    touch.step = STEP_LATE
    touch.mask = BAR_COUNTS


cdef void bar_nowhere(const Bars *bars, uint64_t row, Touch *touch) noexcept nogil:
    """Touch no bar of `row`."""
    touch.step = STEP_NONE
    touch.mask = 0
    touch.line = &bars.current[row]
    touch.counts = &bars.counts[row]
    touch.ns = 0
    touch.cumulative = 0


cdef void touch_image(const Bars *bars, const Touch *touch, Undo *undo) noexcept nogil:
    """Take the before-images of what is touched."""
    no_image(undo)
    if touch.mask & BAR_SUMS:
        sums_image(bars, touch.line, undo)
    elif touch.mask & BAR_LINE:
        memcpy(undo.bar_image, touch.line, BAR_BYTES)
        crash_point(16)
        store_relaxed(&undo.bar_at, <uint64_t>(<const char *>touch.line - <const char *>bars.words))
        crash_point(16)
    if touch.mask & BAR_COUNTS:
        memcpy(undo.bar_counts, touch.counts, sizeof(BarCounts))
        crash_point(16)
    store_relaxed(&undo.bar_mask, touch.mask)
    crash_point(16)


cdef void bar_store(const Bars *bars, const Touch *touch, double first, double high, double low, double close,
                    double volume, double turnover, int64_t trades) noexcept nogil:
    """Take `trades` trades into the bar that was found: prices from `low` to `high`, `first` to `close`, and sums."""
    cdef Bar *bar = touch.line
    if touch.step == STEP_ADD:
        bar_add(bar, high, low, close, volume, turnover, trades)
    elif touch.step == STEP_BEGIN:
        _keep(bars, touch)
        bar_set_int(<int64_t *>&touch.counts.begun, <int64_t>(touch.counts.begun + 1))
        bar_set_int(&bar.start_ns, touch.ns - touch.ns % MINUTE_NS)
        bar_set(&bar.open, first)
        bar_set(&bar.high, high)
        bar_set(&bar.low, low)
        bar_set(&bar.close, close)
        bar_set(&bar.volume, volume)
        bar_set(&bar.turnover, turnover)
        bar_set_int(&bar.trades, trades)
    elif touch.step == STEP_LATE:
        bar_set_int(<int64_t *>&touch.counts.late, <int64_t>touch.counts.late + trades)
        bar_set(&touch.counts.late_volume, touch.counts.late_volume + volume)
    if touch.cumulative:
        bar_set_int(<int64_t *>&touch.counts.cumulative, <int64_t>touch.cumulative)


cdef void _keep(const Bars *bars, const Touch *touch) noexcept nogil:
    """Copy the present bar into the history, before it is begun anew."""
    cdef uint64_t row = touch.line - bars.current
    cdef const uint64_t *present = <const uint64_t *>touch.line
    cdef uint64_t *kept
    cdef int i
    if not touch.counts.begun:
        return
    # No image of this line: it is beyond what readers are shown, and done again it is given the same values.
    kept = <uint64_t *>&bars.history[row * bars.kept + (touch.counts.begun - 1) % bars.kept]
    for i in range(BAR_WORDS):
        store_relaxed(&kept[i], present[i])
        crash_point(19)


# ---- readers ----

cdef class BarsReader:
    """Consistent copies of bars, for any process that maps bars and snapshot (read-only is enough).

    Parameters
    ----------
    bars : buffer
        Body of the bars segment; borrowed for the life of the reader.
    snapshot : buffer
        Body of the snapshot segment, which has the rows' versions; borrowed as well.

    Attributes
    ----------
    rows : int
        Data rows.
    kept : int
        Bars kept a row, the present one among them.
    """

    cdef list _lent
    cdef Bars bars
    cdef SnapshotWords *words
    cdef readonly Py_ssize_t rows
    cdef readonly Py_ssize_t kept

    def __init__(self, bars, snapshot):
        cdef Borrowed lent = borrow(bars, BARS_HEADER)
        cdef Borrowed versions = borrow(snapshot, SNAPSHOT_HEADER)
        cdef BarsWords *words = bars_words(lent)
        self._lent = [lent, versions]
        self.words = snapshot_words(versions)
        if words.rows != self.words.data_rows:
            raise ValueError(f"bars of {words.rows} rows beside a snapshot of {self.words.data_rows}")
        bars_view(words, &self.bars)
        self.rows = words.rows
        self.kept = words.kept

    def copy_rows(self, rows, out, counts) -> None:
        """Copy the last bars of some rows, each row consistent in itself.

        Parameters
        ----------
        rows : buffer of intp, shape (n,)
            Row indices.
        out : writable buffer of 64-byte bars, shape (n, most), C order
            Receives the last `most` bars of each row (at most `kept`), oldest first, at the end of its line; the
            fields are `FIELDS`. What is before the first bar of a row is left as it is.
        counts : writable buffer of int64, shape (n, 2)
            Receives how many bars of each row were copied, and how many trades of it are in no bar.

        Raises
        ------
        IndexError
            There is no such row.
        ValueError
            `out` is no whole number of bars a row, or more than are kept.
        """
        cdef Borrowed indices = borrow(rows, 0)
        cdef const intptr_t *wanted = <const intptr_t *>indices.data
        cdef Py_ssize_t i, n = indices.size // <Py_ssize_t>sizeof(intptr_t)
        cdef Borrowed target = borrow_writable(out, 0)
        cdef Borrowed numbers = borrow_writable(counts, n * 16)
        cdef Py_ssize_t most = target.size // (n * BAR_BYTES) if n else 0
        cdef int64_t *told = <int64_t *>numbers.data
        cdef Bar *to = <Bar *>target.data
        cdef BarCounts found
        if n and (not 1 <= most <= self.kept or target.size != n * most * BAR_BYTES):
            raise ValueError(
                f"out must hold 1 to {self.kept} bars of {BAR_BYTES} bytes for each of {n} rows, not {target.size} bytes"
            )
        self._check(wanted, n)
        with nogil:
            for i in range(n):
                told[2 * i] = self._copy(wanted[i], most, to + i * most, &found)
                told[2 * i + 1] = <int64_t>found.late

    def volumes(self, rows, int64_t newest_ns, out, known) -> None:
        """Copy the volumes of some rows onto one axis of minutes.

        Parameters
        ----------
        rows : buffer of intp, shape (n,)
        newest_ns : int
            Where the last minute begins, ns since the epoch.
        out : writable buffer of float64, shape (minutes, n), C order
            Receives the volumes, the last minute last; 0 for a minute without a bar.
        known : writable buffer of int64, shape (n,)
            Receives how many of the last minutes are known: those since the first bar kept of each row.

        Raises
        ------
        IndexError
            There is no such row.
        """
        cdef Borrowed indices = borrow(rows, 0)
        cdef const intptr_t *wanted = <const intptr_t *>indices.data
        cdef Py_ssize_t i, k, shown, n = indices.size // <Py_ssize_t>sizeof(intptr_t)
        cdef Borrowed target = borrow_writable(out, 0)
        cdef Borrowed numbers = borrow_writable(known, n * 8)
        cdef Py_ssize_t minutes = target.size // (n * 8) if n else 0
        cdef double *to = <double *>target.data
        cdef int64_t *told = <int64_t *>numbers.data
        cdef int64_t at
        cdef BarCounts found
        cdef Bar *copied
        self._check(wanted, n)
        memset(target.data, 0, target.size)
        copied = <Bar *>PyMem_Malloc(self.kept * sizeof(Bar))
        if copied is NULL:
            raise MemoryError
        with nogil:
            for i in range(n):
                shown = self._copy(wanted[i], self.kept, copied, &found)
                told[i] = 0
                for k in range(self.kept - shown, self.kept):
                    at = minutes - 1 - (newest_ns - copied[k].start_ns) // MINUTE_NS
                    if copied[k].start_ns > newest_ns:
                        continue
                    if not told[i]:
                        told[i] = min(minutes, minutes - at)
                    if at >= 0:
                        to[at * n + i] = copied[k].volume
        PyMem_Free(copied)

    def late(self) -> int:
        """Return how many trades are in no bar, over all rows."""
        cdef uint64_t total = 0
        cdef Py_ssize_t row
        with nogil:
            for row in range(self.rows):
                total += load_relaxed(&self.bars.counts[row].late)
        return total

    cdef int _check(self, const intptr_t *wanted, Py_ssize_t n) except -1:
        cdef Py_ssize_t i
        for i in range(n):
            if not 0 <= wanted[i] < self.rows:
                raise IndexError(f"row {wanted[i]} of {self.rows}")
        return 0

    cdef Py_ssize_t _copy(self, Py_ssize_t row, Py_ssize_t most, Bar *out, BarCounts *counts) noexcept nogil:
        """Copy the last bars of one row to the end of `out`; return how many."""
        cdef uint64_t *versions = column(self.words, VERSION)
        cdef uint64_t version
        cdef Py_ssize_t shown, spins = 0
        while True:
            version = load_acquire(&versions[row])  # SYNC POINT: row-even
            if version & 1 == 0:
                shown = self._gather(row, most, out, counts, NULL)
                fence_acquire()  # SYNC POINT: row-odd (the copy before the look that judges it)
                if load_relaxed(&versions[row]) == version:
                    return shown
            elif spins >= SPINS:
                shown = self._undone(row, version, most, out, counts)
                if shown >= 0:
                    return shown
            spins += 1
            if spins % SPINS == 0:
                cpu_yield()
            else:
                cpu_pause()

    cdef Py_ssize_t _undone(self, Py_ssize_t row, uint64_t version, Py_ssize_t most, Bar *out,
                            BarCounts *counts) noexcept nogil:
        """Do so for `row`, seen at the odd `version`, as it was before the record in flight; -1: it is not so now."""
        cdef int worker
        cdef const Undo *undo
        cdef uint64_t word
        cdef Py_ssize_t shown
        for worker in range(<int>self.words.workers):
            undo = undo_area(self.words, worker)
            word = load_acquire(&undo.word)  # SYNC POINT: undo-armed
            if word & DISARMED or load_relaxed(&undo.row) != <uint64_t>row:
                continue
            shown = self._gather(row, most, out, counts, undo)
            fence_acquire()  # SYNC POINT: row-odd, undo-reuse
            if load_relaxed(&undo.word) == word and load_relaxed(&column(self.words, VERSION)[row]) == version:
                return shown
        return -1

    cdef Py_ssize_t _gather(self, Py_ssize_t row, Py_ssize_t most, Bar *out, BarCounts *counts,
                            const Undo *undo) noexcept nogil:
        """Copy bars and counts of a row, with the images of `undo` where it has some."""
        cdef uint64_t mask = load_relaxed(&undo.bar_mask) if undo is not NULL else 0
        cdef uint64_t imaged = load_relaxed(&undo.bar_at) if mask & (BAR_LINE | BAR_SUMS) else 0
        cdef int unchanged = 0 if mask & BAR_LINE else SUMS_FROM
        cdef Py_ssize_t shown, k
        cdef const Bar *line
        cdef uint64_t *to
        if mask & BAR_COUNTS:
            memcpy(counts, undo.bar_counts, sizeof(BarCounts))
        else:
            memcpy(counts, &self.bars.counts[row], sizeof(BarCounts))
        shown = <Py_ssize_t>min(counts.begun, <uint64_t>most)
        for k in range(shown):
            line = &self.bars.current[row]
            if k < shown - 1:
                line = &self.bars.history[row * self.kept + (counts.begun - shown + k) % self.kept]
            to = <uint64_t *>(out + most - shown + k)
            memcpy(to, line, BAR_BYTES)
            if <uint64_t>(<const char *>line - <const char *>self.bars.words) == imaged:
                memcpy(to + unchanged, undo.bar_image + unchanged, (BAR_WORDS - unchanged) * 8)
        return shown
