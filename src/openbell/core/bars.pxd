# cython: language_level=3
"""One-minute bars: where they lie, and what a worker does to them while their row's version is odd.

A row has the bar of its present minute on a line of its own, and the bars before that in a ring of as many lines as
are kept. Bar number b of a row, counted from 0, is the present one as long as b + 1 bars were begun, and lies in line
b % kept of the row's history from then on. Readers are shown `kept` bars: the present one and `kept` - 1 of the
history, so the line that the next bar's beginning writes over is none of theirs.

What a record changes of this is in the undo area of the worker, beside the columns: one line, the row's counts, or
both. The one thing that is not is that history line: it is assigned from the present bar, which is put back before it
is assigned again. docs/memory-model.md, "bars".
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from openbell.core.atomics cimport bits_of, crash_point, store_relaxed
from openbell.core.buffers cimport Borrowed
from openbell.core.layout cimport Record
from openbell.core.snapshot cimport Undo

cdef extern from *:
    """
    #define OB_MINUTE_NS 60000000000LL
    """
    const int64_t MINUTE_NS "OB_MINUTE_NS"

cdef enum:
    BARS_HEADER = 256
    BAR_BYTES = 64
    BAR_WORDS = 8
    COUNT_WORDS = 4
    # Bits of an undo area's `bar_mask`: the words of a bar that a further trade changes, all of them, the row's counts.
    BAR_SUMS = 1
    BAR_LINE = 2
    BAR_COUNTS = 4
    # The first word that a further trade changes: start and open are what they are.
    SUMS_FROM = 2

cdef enum Step:
    # The record is in no bar, and that is as it should be.
    STEP_NONE
    STEP_ADD
    STEP_BEGIN
    # Its minute has no bar any more, or never had one, or it has no time.
    STEP_LATE

ctypedef struct Bar:
    int64_t start_ns
    double open
    double high
    double low
    double close
    double volume
    double turnover
    int64_t trades

ctypedef struct BarCounts:
    # Bars of the row begun so far.
    uint64_t begun
    # Trades that are in no bar, and their sizes.
    uint64_t late
    double late_volume
    # The session whose cumulative volume is known, plus one; 0: none.
    uint64_t cumulative

ctypedef struct BarsWords:
    uint64_t rows
    uint64_t kept
    uint64_t counts_at
    uint64_t current_at
    uint64_t history_at

ctypedef struct Bars:
    # A worker's view of the segment; without one, `kept` is 0.
    uint64_t kept
    BarsWords *words
    BarCounts *counts
    Bar *current
    Bar *history

ctypedef struct Touch:
    # What a record that is no trade of the present minute does to the bars of its row. `line`: the bar that changes,
    # `mask`: what needs an image.
    Step step
    uint64_t mask
    Bar *line
    BarCounts *counts
    int64_t ns
    uint64_t cumulative

cdef BarsWords *bars_words(Borrowed lent) except NULL
cdef void bars_view(BarsWords *words, Bars *bars) noexcept nogil
cdef void bar_find(const Bars *bars, uint64_t row, const Record *record, Touch *touch) noexcept nogil
cdef void touch_image(const Bars *bars, const Touch *touch, Undo *undo) noexcept nogil
cdef void bar_nowhere(const Bars *bars, uint64_t row, Touch *touch) noexcept nogil
cdef void bar_store(const Bars *bars, const Touch *touch, double first, double high, double low, double close,
                    double volume, double turnover, int64_t trades) noexcept nogil


cdef inline int64_t bar_time(const Record *record) noexcept nogil:
    """The time by which a record has its minute: the venue's, or ours where that is absent or cannot be.

    One time stamp in the future would make every trade behind it a late one.
    """
    if record.exchange_ns < MINUTE_NS or (record.receive_ns and record.exchange_ns > record.receive_ns + MINUTE_NS):
        return record.receive_ns
    return record.exchange_ns


cdef inline bint bar_is_present(const Bars *bars, uint64_t row, const Record *record) noexcept nogil:
    """Whether `record` is of the present minute of its row, as nearly all are."""
    cdef int64_t start = bars.current[row].start_ns
    cdef int64_t ns = bar_time(record)
    # The start of a bar is never 0: before the first one, this is no minute's.
    return start and start <= ns < start + MINUTE_NS


cdef inline void sums_image(const Bars *bars, const Bar *bar, Undo *undo) noexcept nogil:
    """Take the before-image of what a further trade changes of a bar.

    Copied at once, which is half of its cost: whoever reads images judges what he has by the version of the row.
    """
    memcpy(undo.bar_image + SUMS_FROM, <const uint64_t *>bar + SUMS_FROM, BAR_BYTES - SUMS_FROM * 8)
    crash_point(16)
    store_relaxed(&undo.bar_at, <uint64_t>(<const char *>bar - <const char *>bars.words))
    crash_point(16)
    store_relaxed(&undo.bar_mask, BAR_SUMS)
    crash_point(16)


cdef inline void no_image(Undo *undo) noexcept nogil:
    """Of a record that touches no bar."""
    store_relaxed(&undo.bar_mask, 0)
    crash_point(16)


cdef inline void bar_restore(const Bars *bars, uint64_t row, const Undo *undo) noexcept nogil:
    """Put the images back."""
    cdef uint64_t *line = <uint64_t *>(<char *>bars.words + undo.bar_at)
    cdef uint64_t *counts = <uint64_t *>&bars.counts[row]
    cdef int i
    if undo.bar_mask & (BAR_LINE | BAR_SUMS):
        for i in range(0 if undo.bar_mask & BAR_LINE else SUMS_FROM, BAR_WORDS):
            store_relaxed(&line[i], undo.bar_image[i])
            crash_point(18)
    if undo.bar_mask & BAR_COUNTS:
        for i in range(COUNT_WORDS):
            store_relaxed(&counts[i], undo.bar_counts[i])
            crash_point(18)


cdef inline void bar_set(double *value, double new) noexcept nogil:
    store_relaxed(<uint64_t *>value, bits_of(new))
    crash_point(17)


cdef inline void bar_set_int(int64_t *value, int64_t new) noexcept nogil:
    store_relaxed(<uint64_t *>value, <uint64_t>new)
    crash_point(17)


cdef inline void bar_add(Bar *bar, double high, double low, double close, double volume, double turnover,
                         int64_t trades) noexcept nogil:
    """Take further trades into a bar: prices from `low` to `high`, the last of them `close`, and their sums."""
    if high > bar.high:
        bar_set(&bar.high, high)
    if low < bar.low:
        bar_set(&bar.low, low)
    bar_set(&bar.close, close)
    bar_set(&bar.volume, bar.volume + volume)
    bar_set(&bar.turnover, bar.turnover + turnover)
    bar_set_int(&bar.trades, bar.trades + trades)
