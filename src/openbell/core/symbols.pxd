# cython: language_level=3
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from openbell.core.atomics cimport load_acquire, prefetch_read

cdef enum:
    KEY_MAX = 31

ctypedef struct Key:
    uint64_t word[4]
    uint64_t hash
    uint32_t length

ctypedef struct Slot:
    uint64_t hash
    uint32_t row
    uint8_t length
    uint8_t shard
    # Not 0: its events are late, nobody asks for them any more.
    uint8_t muted
    uint8_t reserved
    uint64_t word[4]
    uint64_t pad[2]

cdef void make_key(Key *key, const char *text, Py_ssize_t length) noexcept nogil


cdef class SymbolTable:
    cdef object _buffer
    cdef object _lock_path
    cdef uint8_t *base
    cdef Slot *slots
    cdef uint32_t *row_slot
    cdef uint64_t mask
    cdef readonly Py_ssize_t capacity
    cdef readonly Py_ssize_t rows
    cdef readonly int shards

    cdef const Slot *find(self, const Key *key) noexcept nogil

    cdef inline void prefetch(self, const Key *key) noexcept nogil:
        """Fetch the line that `find` will look at first."""
        prefetch_read(&self.slots[key.hash & self.mask])

    cdef inline int shard_of_block(self, uint64_t block) noexcept nogil:
        """The shard that rows 64 * block and up were handed to, or -1 if nobody has them yet."""
        cdef uint64_t row = block * 64
        cdef uint32_t at
        cdef const Slot *slot
        if row >= <uint64_t>self.rows:
            return -1
        at = self.row_slot[row]
        if at == 0:
            return -1
        slot = &self.slots[at - 1]
        if load_acquire(&slot.hash) == 0 or slot.row != <uint32_t>row:  # SYNC POINT: symbol-slot
            return -1
        return slot.shard

    cdef int64_t _place(self, const Key *key) except -1
    cdef void _repair(self) noexcept nogil
