# cython: language_level=3
"""The record as a C struct, and the words that several core modules share.

``openbell.record`` holds the same layout for numpy; a test compares the two field by field.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from *:
    """
    typedef union { double f; int64_t i; } ob_value;
    typedef struct {
        uint32_t row;
        uint8_t kind;
        uint8_t side;
        uint16_t flags;
        int64_t exchange_ns;
        int64_t receive_ns;
        int64_t sequence;
        ob_value value[4];
    } ob_record;
    _Static_assert(sizeof(ob_record) == 64, "a record is one cache line");
    """
    ctypedef union Value "ob_value":
        double f
        int64_t i
    ctypedef struct Record "ob_record":
        uint32_t row
        uint8_t kind
        uint8_t side
        uint16_t flags
        int64_t exchange_ns
        int64_t receive_ns
        int64_t sequence
        Value value[4]

cdef enum:
    RECORD_SIZE = 64
    KIND_PAD = 0
    KIND_TRADE = 1
    KIND_QUOTE = 2
    KIND_TICKER = 3
    KIND_LEVEL = 4
    KIND_BAR = 5
    KIND_STATUS = 6
    KIND_GAP = 7
    KIND_TRADES = 8
    KIND_REPAIR = 9
    HAS_A = 1
    HAS_B = 2
    HAS_C = 4
    HAS_D = 8
    FIRST_OF_GROUP = 16
    LAST_OF_GROUP = 32
    # More records than any group has.
    GROUP_MAX = 16
    REPAIRED_FLAG = 128
    GAP_LAP = 3

cdef enum:
    # uint32 max: a record that concerns no symbol.
    ROW_NONE = 0xFFFFFFFF

cdef inline bint of_group(const Record *record) noexcept nogil:
    """Whether a record is of a kind that only comes in groups, FIRST to LAST."""
    return record.kind == KIND_LEVEL or record.kind == KIND_TRADES
