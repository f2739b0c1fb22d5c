# cython: language_level=3
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from openbell.core.layout cimport Record
from openbell.core.ring cimport RingWords
from openbell.core.tether cimport Tether

cdef enum:
    # Records that `take` has at hand, and room for the last group of them.
    READY = 64
    # A gap, and a group that goes beyond what was asked for.
    SLACK = 32

ctypedef struct Source:
    RingWords *words
    const Record *records
    uint64_t capacity
    uint64_t mask
    # The next position to look at; all before it is handed out, staged, or told as missed.
    uint64_t at
    # The head at the first and at the second look of a poll: what may be handed out, and what it is compared with.
    uint64_t visible
    uint64_t head
    # The greatest receive_ns so far: what carries none, or an older one, goes by this.
    int64_t greatest
    # Where it stands may be in the middle of a group.
    bint anywhere
    # Of a tethered reader: the state word of its slot, what it is while it holds the writer, its cursor, and where its
    # tether thinks that it is. NULL for a tap, and after a fork, whose child holds nothing.
    uint64_t *state
    uint64_t mine
    uint64_t *cursor
    uint64_t *let_go
    # A gap that is not told yet.
    int missing_reason
    uint64_t missing
    uint64_t missing_from
    # Where the last one that was told began.
    uint64_t gap_at
    # What is copied and waits for its turn; a group's records all have the position of its first.
    Record *staged
    int64_t *stamps
    uint64_t *positions
    uint64_t first
    uint64_t end


cdef class Follower:
    cdef list _lent
    cdef list tethers
    cdef Source *sources
    cdef int count
    cdef bint apart
    cdef int turn
    cdef uint8_t *rows
    cdef uint64_t row_count
    cdef const int64_t *seam
    cdef uint64_t seam_count
    cdef uint64_t kinds
    cdef object resolve
    cdef object error
    cdef object make
    cdef object symbols
    cdef list names
    cdef Record ready[READY + SLACK]
    cdef uint64_t ready_first
    cdef uint64_t ready_end
    # The greatest stamp handed out, where rings are merged.
    cdef int64_t last
    cdef readonly unsigned long long delivered
    cdef readonly unsigned long long skipped
    cdef readonly unsigned long long lost
    cdef readonly unsigned long long gaps
    cdef readonly unsigned long long cuts
    # Something is lent and not settled.
    cdef bint lent
    # A thread is reading, and may have let the GIL go.
    cdef bint busy

    cdef _start(self, Source *source, start)
    cdef _hold(self, Source *source, Tether tether)
    cdef int _check(self) except -1
    cdef int _raise(self) except -1
    cdef void _look(self) noexcept nogil
    cdef uint64_t _read(self, Record *to, uint64_t most) noexcept nogil
    cdef bint _left(self, int index) noexcept nogil
    cdef uint64_t _merge(self, Record *to, uint64_t most) noexcept nogil
    cdef bint _refill(self, int index) noexcept nogil
    cdef uint64_t _scan(self, int index, Record *to, int64_t *stamps, uint64_t *positions, uint64_t most, int *outcome) noexcept nogil
    cdef void _let_go(self, Source *source) noexcept nogil
    cdef int _wanted(self, const Record *record, uint64_t position) noexcept nogil
    cdef int _ask(self, uint32_t row) noexcept with gil
    cdef bint _intact(self, int index) noexcept nogil
    cdef void _miss(self, int index) noexcept nogil
    cdef void _join_again(self, int index) noexcept with gil
    cdef void _account(self, const Record *records, uint64_t n) noexcept nogil
    cdef _tick(self, const Record *record)
    cdef _name(self, uint32_t row)
