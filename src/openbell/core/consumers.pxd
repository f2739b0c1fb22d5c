# cython: language_level=3
"""The consumers segment: the one that readers map for writing. What is in it, and the bell that they share.

Whatever a reader does to it, a writer is held up for its budget at most: it takes no word here for more than a hint
of how far a reader has come.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from openbell.core.atomics cimport (
    exchange32,
    fence_full,
    futex_wait,
    futex_wake,
    increment32,
    load32,
    load32_acquire,
    store32,
)

cdef enum:
    SLOTS = 16
    # Lower bits of a state word; above them the epoch, one more each time the slot is joined.
    STATE_BITS = 2
    STATE_MASK = 3
    STATE_FREE = 0
    STATE_ACTIVE = 2
    STATE_CUT = 3

ctypedef struct ReadersBell:
    # A doorbell that any number of readers share: nobody takes an announcement back, for it may be another's.
    uint32_t count
    uint32_t waiting
    # Not 0 once the generation is dead, and nobody will ring any more.
    uint64_t over
    uint64_t pad[14]

ctypedef struct ConsumerInfo:
    # Written by who holds the lock of the slot.
    uint64_t pid
    uint64_t epoch
    int64_t joined_ns
    # What the slot's counters stood at when it was claimed: they are the producers' and never go back.
    uint64_t cuts_before
    uint64_t held_before
    uint64_t died
    uint64_t pad[2]
    char label[64]

ctypedef struct Cursor:
    uint64_t at
    uint64_t pad[15]

ctypedef struct Tethers:
    # Of one ring. One line of states, which its producer looks at for each claim.
    uint64_t state[SLOTS]
    Cursor cursor[SLOTS]
    # Written by the producer.
    uint64_t held_ns[SLOTS]
    uint64_t cuts[SLOTS]

ctypedef struct Consumers:
    uint64_t slots
    uint64_t rings
    uint64_t receivers
    uint64_t workers
    uint64_t pad0[12]
    ReadersBell published
    ReadersBell applied
    uint64_t pad1[16]
    ConsumerInfo info[SLOTS]
    # Then the Tethers of each ring, receiver by receiver.

cdef inline void ring_readers(ReadersBell *bell) noexcept nogil:
    """Wake the readers that have announced themselves. Call after a full fence that is after the store they wait for."""
    # SYNC POINT: readers-ring (pairs with readers-wait; the full fence is that of bell-ring)
    if load32(&bell.waiting) and exchange32(&bell.waiting, 0):
        increment32(&bell.count)
        futex_wake(&bell.count)

cdef inline void wake_readers(ReadersBell *bell) noexcept nogil:
    """Wake all readers, whether or not one has announced itself: who took the flag may have died before waking."""
    increment32(&bell.count)
    futex_wake(&bell.count)

cdef inline uint32_t announce_reader(ReadersBell *bell) noexcept nogil:
    """Say that a reader is about to sleep. Look once more after this, then `sleep_reader`, or do not."""
    cdef uint32_t seen = load32_acquire(&bell.count)
    store32(&bell.waiting, 1)
    fence_full()  # SYNC POINT: readers-wait (pairs with readers-ring)
    return seen

cdef inline void sleep_reader(ReadersBell *bell, uint32_t seen, int64_t timeout_ns) noexcept nogil:
    """Sleep until the bell rings after `seen` was read, or for `timeout_ns`."""
    futex_wait(&bell.count, seen, timeout_ns)
