# cython: language_level=3
from libc.stdint cimport int64_t, uint8_t, uint64_t

from openbell.core.buffers cimport Borrowed
from openbell.core.consumers cimport ReadersBell
from openbell.core.doorbell cimport Bell
from openbell.core.gate cimport TetherGate
from openbell.core.layout cimport Record

ctypedef struct RingWords:
    # Each word that two processes share has a 128-byte line of its own (adjacent-line prefetch pairs 64-byte lines).
    uint64_t capacity
    uint64_t ring_id
    uint64_t pad0[14]
    uint64_t claim
    uint64_t pad1[15]
    uint64_t head
    uint64_t pad2[15]
    uint64_t applied
    uint64_t pad3[15]

cdef enum:
    RING_HEADER = 1024

cdef RingWords *ring_words(Borrowed lent) except NULL
cdef bytes copy_records(const Record *records, uint64_t at, uint64_t n, uint64_t capacity)


cdef class RingWriter:
    cdef tuple _lent
    cdef RingWords *words
    cdef Record *records
    cdef Bell *worker_bell
    cdef Bell *own_bell
    # What readers sleep on, or NULL; and what holds us back besides the worker, or None.
    cdef ReadersBell *readers_bell
    cdef TetherGate tethers
    cdef uint64_t capacity
    cdef uint64_t mask
    cdef uint64_t chunk
    cdef uint64_t position
    cdef uint64_t claimed
    cdef uint64_t published
    cdef uint64_t gate
    cdef int64_t max_wait_ns
    cdef bint recovered
    # Whether a full fence came after the last claim: the next one must not be decided without it.
    cdef bint fenced

    cdef bint extend(self, uint64_t need) noexcept nogil
    cdef uint64_t _limit(self) noexcept nogil
    cdef bint _held_by_readers(self, uint64_t need) noexcept nogil
    cdef bint wait_for_space(self, uint64_t need) noexcept nogil
    cdef void flush(self) noexcept nogil

    cdef inline Record *slot(self) noexcept nogil:
        """The next slot to write, or NULL when the worker has not freed one."""
        if self.position == self.claimed and not self.extend(1):
            return NULL
        return &self.records[self.position & self.mask]

    cdef inline bint room(self, uint64_t n) noexcept nogil:
        """Whether there is room for a group of `n` records. They are then written, and shown, together."""
        return self.claimed - self.position >= n or self.extend(n)

    cdef inline Record *at(self, uint64_t offset) noexcept nogil:
        """The slot `offset` behind the next one; `room` was asked for."""
        return &self.records[(self.position + offset) & self.mask]
