# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Symbols to rows, in shared memory: open addressing, inline keys, one cache line a probe, look-ups without a lock.

Inserts are rare and serialised by a file lock that the kernel drops with its holder; a crash in the middle of one is
mended by the next holder from the `pending` words. Two symbols never share a row: keys are compared in full.
"""

import fcntl
import os

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from openbell.core.atomics cimport crash_point, load_acquire, store_relaxed, store_release
from openbell.core.buffers cimport Borrowed, borrow, borrow_writable

from openbell.errors import SymbolTableFull

cdef enum:
    # Words of the header, as indices of u64.
    W_CAPACITY = 0
    W_SHARDS = 1
    W_SLOTS = 2
    W_ROWS = 3
    W_COUNT = 4
    W_BLOCKS = 5
    W_PENDING = 6
    W_PENDING_SHARD = 7
    W_PENDING_NEXT = 8
    W_PENDING_BLOCKS = 9
    W_PENDING_COUNT = 10
    W_SHARD_NEXT = 16
    HEADER_BYTES = 1024
    # Rows are handed to shards in blocks, so that a worker owns whole cache lines of every column (8 rows of 8 bytes).
    BLOCK = 64
    SHARDS_MAX = 64

KEY_BYTES_MAX = KEY_MAX
ROW_BLOCK = BLOCK


cdef void make_key(Key *key, const char *text, Py_ssize_t length) noexcept nogil:
    """Fill `key` from `length` (1..KEY_MAX) bytes: zero-padded words and their stable hash."""
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t at = 0
    cdef uint64_t h = <uint64_t>length * 0x9E3779B97F4A7C15ULL
    cdef uint64_t word
    cdef uint32_t half
    key.length = <uint32_t>length
    while at + 8 <= length:
        memcpy(&word, text + at, 8)
        key.word[i] = word
        h = (h ^ word) * 0x9E3779B97F4A7C15ULL
        h ^= h >> 32
        at += 8
        i += 1
    if at < length:
        word = 0
        if length >= 8:
            # The last 8 bytes overlap what is done: shift the known part out. No byte outside the text is read.
            memcpy(&word, text + length - 8, 8)
            word >>= 8 * (8 - (length - at))
        elif length >= 4:
            memcpy(&half, text, 4)
            word = half
            memcpy(&half, text + length - 4, 4)
            word |= <uint64_t>half << (8 * (length - 4))
        else:
            word = <uint8_t>text[0]
            if length >= 2:
                word |= <uint64_t><uint8_t>text[1] << 8
            if length == 3:
                word |= <uint64_t><uint8_t>text[2] << 16
        key.word[i] = word
        h = (h ^ word) * 0x9E3779B97F4A7C15ULL
        h ^= h >> 32
        i += 1
    while i < 4:
        key.word[i] = 0
        i += 1
    h ^= h >> 29
    key.hash = h if h else 1


cdef inline bint _same(const Slot *slot, const Key *key) noexcept nogil:
    return (slot.hash == key.hash and slot.length == key.length and slot.word[0] == key.word[0]
            and slot.word[1] == key.word[1] and slot.word[2] == key.word[2] and slot.word[3] == key.word[3])


cdef uint64_t _slots_for(Py_ssize_t capacity) noexcept:
    cdef uint64_t slots = 64
    while slots < <uint64_t>capacity * 2:
        slots *= 2
    return slots


def physical_rows(capacity: int, shards: int) -> int:
    """Return the rows that columns need: `capacity` symbols fit whatever their spread over `shards`."""
    _check(capacity, shards)
    return (capacity + BLOCK - 1) // BLOCK * BLOCK + (shards - 1) * BLOCK


def _check(capacity, shards):
    if not 1 <= capacity <= 1 << 24:
        raise ValueError(f"symbol capacity must be from 1 to {1 << 24}, not {capacity}")
    if not 1 <= shards <= SHARDS_MAX:
        raise ValueError(f"shards must be from 1 to {SHARDS_MAX}, not {shards}")


def size(capacity: int, shards: int = 1) -> int:
    """Return the bytes of a table for `capacity` symbols."""
    _check(capacity, shards)
    row_slots = (physical_rows(capacity, shards) * 4 + 63) // 64 * 64
    return HEADER_BYTES + row_slots + _slots_for(capacity) * sizeof(Slot)


def format(buffer, capacity: int, shards: int) -> None:
    """Make an empty table in `buffer` (at least `size` bytes)."""
    cdef Borrowed lent = borrow_writable(buffer, size(capacity, shards))
    cdef uint64_t *words = <uint64_t *>lent.data
    memset(lent.data, 0, lent.size)
    words[W_CAPACITY] = capacity
    words[W_SHARDS] = shards
    words[W_SLOTS] = _slots_for(capacity)
    words[W_ROWS] = physical_rows(capacity, shards)


def stable_hash(key: bytes) -> int:
    """Return the 64-bit hash that names the shard of `key`: the same in every process, on every machine."""
    cdef Key made
    if not 1 <= len(key) <= KEY_MAX:
        raise ValueError(f"a symbol takes 1 to {KEY_MAX} bytes, not {len(key)}")
    make_key(&made, <const char *>key, len(key))
    return made.hash


cdef inline int _shard(uint64_t h, int shards) noexcept nogil:
    # The low bits choose the slot: take others for the shard.
    return <int>((h >> 40) % <uint64_t>shards)


cdef class SymbolTable:
    """The table of one feed, over shared memory.

    Parameters
    ----------
    buffer : buffer
        Body of the symbols segment, formatted. Read-only is enough for look-ups.
    lock_path : str or None
        File that serialises inserts. None: this process may only look up.

    Notes
    -----
    `buffer` is borrowed for the life of the table.
    """

    def __init__(self, buffer, lock_path=None):
        cdef Borrowed lent = borrow(buffer, HEADER_BYTES) if lock_path is None else borrow_writable(buffer, HEADER_BYTES)
        cdef uint64_t *words = <uint64_t *>lent.data
        if not words[W_CAPACITY]:
            raise ValueError("the buffer holds no symbol table")
        self._buffer = lent
        self._lock_path = lock_path
        self.base = lent.data
        self.capacity = words[W_CAPACITY]
        self.shards = words[W_SHARDS]
        self.rows = words[W_ROWS]
        self.mask = words[W_SLOTS] - 1
        if lent.size < size(self.capacity, self.shards):
            raise ValueError("the buffer is shorter than the symbol table that its header names")
        self.row_slot = <uint32_t *>(self.base + HEADER_BYTES)
        self.slots = <Slot *>(self.base + HEADER_BYTES + (self.rows * 4 + 63) // 64 * 64)

    cdef const Slot *find(self, const Key *key) noexcept nogil:
        cdef uint64_t i = key.hash & self.mask
        cdef const Slot *slot
        cdef uint64_t h
        cdef uint64_t probes = 0
        while probes <= self.mask:
            slot = &self.slots[i]
            h = load_acquire(&slot.hash)  # SYNC POINT: symbol-slot
            if h == 0:
                return NULL
            if h == key.hash and _same(slot, key):
                return slot
            i = (i + 1) & self.mask
            probes += 1
        return NULL

    def lookup(self, key: bytes) -> int:
        """Return the row of `key`, or -1."""
        cdef Key made
        if not 1 <= len(key) <= KEY_MAX:
            return -1
        make_key(&made, <const char *>key, len(key))
        cdef const Slot *slot = self.find(&made)
        return -1 if slot is NULL else slot.row

    def shard_of(self, key: bytes) -> int:
        """Return the shard of `key`, in the table or not."""
        return _shard(stable_hash(key), self.shards)

    def key(self, row: int) -> bytes:
        """Return the symbol of `row`.

        Raises
        ------
        KeyError
            No symbol has that row.
        """
        if 0 <= row < self.rows:
            found = self._key_at(row)
            if found is not None:
                return found
        raise KeyError(f"no symbol has row {row}")

    def _key_at(self, Py_ssize_t row):
        cdef uint32_t at = self.row_slot[row]
        cdef const Slot *slot
        if at == 0:
            return None
        slot = &self.slots[at - 1]
        if load_acquire(&slot.hash) == 0 or slot.row != <uint32_t>row:  # SYNC POINT: symbol-slot
            return None
        return (<const char *>slot.word)[:slot.length]

    def items(self) -> list:
        """Return ``[(row, key), ...]`` of all symbols, by row."""
        found = []
        for row in range(self.rows):
            key = self._key_at(row)
            if key is not None:
                found.append((row, key))
        return found

    @property
    def count(self) -> int:
        """How many symbols the table holds."""
        return load_acquire(&(<uint64_t *>self.base)[W_COUNT])

    def __len__(self):
        return self.count

    def mute(self, key: bytes) -> bool:
        """Say that nobody asks for `key` any more: what still comes of it is late. Return whether it has a row."""
        return self._set_muted(key, 1)

    def unmute(self, key: bytes) -> bool:
        """Say that `key` is asked for again. Return whether it has a row."""
        return self._set_muted(key, 0)

    def muted(self, key: bytes) -> bool:
        """Return whether nobody asks for `key` any more."""
        cdef Key made
        cdef const Slot *slot
        if not 1 <= len(key) <= KEY_MAX:
            return False
        make_key(&made, <const char *>key, len(key))
        slot = self.find(&made)
        return slot is not NULL and slot.muted != 0

    def _set_muted(self, key, uint8_t muted):
        cdef Key made
        cdef Slot *slot
        if self._lock_path is None:
            raise ValueError("this symbol table was opened for look-ups only")
        if not 1 <= len(key) <= KEY_MAX:
            return False
        make_key(&made, <const char *>key, len(key))
        slot = <Slot *>self.find(&made)
        if slot is NULL:
            return False
        # One byte, written by the receiver of the symbol alone, which is also the one that looks at it.
        slot.muted = muted
        return True

    def insert(self, key: bytes) -> int:
        """Return the row of `key`, giving it one if it has none.

        Raises
        ------
        SymbolTableFull
            Every row is taken; nothing was changed.
        ValueError
            `key` is empty or longer than 31 bytes.
        """
        cdef Key made
        if not 1 <= len(key) <= KEY_MAX:
            raise ValueError(f"a symbol takes 1 to {KEY_MAX} bytes, not {len(key)}")
        make_key(&made, <const char *>key, len(key))
        cdef const Slot *slot = self.find(&made)
        if slot is not NULL:
            return slot.row
        if self._lock_path is None:
            raise ValueError("this symbol table was opened for look-ups only")
        fd = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            self._repair()
            slot = self.find(&made)
            if slot is not NULL:
                return slot.row
            return self._place(&made)
        finally:
            os.close(fd)

    cdef void _repair(self) noexcept nogil:
        """Finish or forget the insert that its maker did not live to finish. The lock is held."""
        cdef uint64_t *words = <uint64_t *>self.base
        cdef uint64_t pending = words[W_PENDING]
        if pending == 0:
            return
        if load_acquire(&self.slots[pending - 1].hash) != 0:
            words[W_SHARD_NEXT + words[W_PENDING_SHARD]] = words[W_PENDING_NEXT]
            words[W_BLOCKS] = words[W_PENDING_BLOCKS]
            store_release(&words[W_COUNT], words[W_PENDING_COUNT])
        store_release(&words[W_PENDING], 0)

    cdef int64_t _place(self, const Key *key) except -1:
        cdef uint64_t *words = <uint64_t *>self.base
        cdef int shard = _shard(key.hash, self.shards)
        cdef uint64_t next_row = words[W_SHARD_NEXT + shard]
        cdef uint64_t blocks = words[W_BLOCKS]
        cdef uint64_t i = key.hash & self.mask
        cdef Slot *slot
        if words[W_COUNT] >= <uint64_t>self.capacity:
            raise SymbolTableFull(
                f"the symbol table is full: {self.capacity} symbols; raise symbols_capacity in the feed's configuration"
            )
        if next_row % BLOCK == 0:
            # No row yet, or the block is used up (next_row is one past it).
            next_row = blocks * BLOCK
            blocks += 1
        while self.slots[i].hash != 0:
            i = (i + 1) & self.mask
        slot = &self.slots[i]
        store_relaxed(&words[W_PENDING_SHARD], shard)
        store_relaxed(&words[W_PENDING_NEXT], next_row + 1)
        store_relaxed(&words[W_PENDING_BLOCKS], blocks)
        store_relaxed(&words[W_PENDING_COUNT], words[W_COUNT] + 1)
        crash_point(40)
        store_release(&words[W_PENDING], i + 1)
        crash_point(41)
        slot.row = <uint32_t>next_row
        slot.length = <uint8_t>key.length
        slot.shard = <uint8_t>shard
        memcpy(slot.word, key.word, sizeof(slot.word))
        self.row_slot[next_row] = <uint32_t>(i + 1)
        crash_point(42)
        store_release(&slot.hash, key.hash)  # SYNC POINT: symbol-slot
        crash_point(43)
        store_release(&words[W_SHARD_NEXT + shard], next_row + 1)
        crash_point(44)
        store_release(&words[W_BLOCKS], blocks)
        crash_point(45)
        store_release(&words[W_COUNT], words[W_PENDING_COUNT])
        crash_point(46)
        store_release(&words[W_PENDING], 0)
        crash_point(47)
        return <int64_t>next_row
