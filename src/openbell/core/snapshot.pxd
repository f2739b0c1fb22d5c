# cython: language_level=3
from libc.stdint cimport int64_t, uint8_t, uint64_t

from openbell.core.buffers cimport Borrowed

cdef enum:
    VERSION = 0
    LAST
    SIZE
    OPEN
    HIGH
    LOW
    PREV_CLOSE
    VOLUME
    TURNOVER
    TRADES
    TRADE_EXCHANGE_NS
    TRADE_SEQUENCE
    BID
    BID_SIZE
    ASK
    ASK_SIZE
    QUOTE_EXCHANGE_NS
    QUOTE_SEQUENCE
    RECEIVE_NS
    UPDATED
    SESSION
    GAPS
    REPAIRED
    STATUS
    # Records applied to the row that were no event of their own: the further ones of a group, gaps, halts.
    EXTRA
    # From here the columns of the order book, four a level: bids, bid sizes, asks, ask sizes.
    BOOK

cdef enum:
    LEVELS_MAX = 10
    COLUMNS_MAX = 65
    SNAPSHOT_HEADER = 256
    UNDO_BYTES = 768

cdef extern from *:
    """
    #define OB_DISARMED (1ULL << 63)
    """
    # In an undo word: there is nothing to put back. No worker has so many rings that a word has it otherwise.
    const uint64_t DISARMED "OB_DISARMED"

ctypedef struct SnapshotWords:
    uint64_t rows
    uint64_t data_rows
    uint64_t workers
    uint64_t columns
    uint64_t stride
    uint64_t undo_offset
    uint64_t column_offset
    uint64_t levels

ctypedef struct Undo:
    # ring << 56 | position of the record in flight, and DISARMED if it has no images; all ones: none yet.
    uint64_t word
    uint64_t row
    uint64_t mask
    uint64_t image[COLUMNS_MAX]
    # Of the row's bars (core/bars.pxd): which of the following two hold images, where in the segment the imaged line is,
    # its image, and that of the row's counts.
    uint64_t bar_mask
    uint64_t bar_at
    uint64_t bar_image[8]
    uint64_t bar_counts[4]

cdef inline uint64_t mask_bit(int index) noexcept nogil:
    """The bit of a column in an undo mask. VERSION has none: it is never put back."""
    return 1ULL << (index - 1)

cdef SnapshotWords *snapshot_words(Borrowed lent) except NULL

cdef inline uint64_t *column(const SnapshotWords *words, int index) noexcept nogil:
    return <uint64_t *>(<uint8_t *>words + words.column_offset + <uint64_t>index * words.stride)

cdef inline Undo *undo_area(const SnapshotWords *words, int worker) noexcept nogil:
    return <Undo *>(<uint8_t *>words + words.undo_offset + worker * UNDO_BYTES)
