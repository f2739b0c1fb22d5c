# cython: language_level=3
"""Doorbells: one futex word and one flag per consumer, however many rings it reads.

The waiter announces itself, fences, looks again, and only then sleeps; the writer publishes, fences, and only then
looks at the flag. The two full fences are the pair that makes a lost wake-up impossible (docs/memory-model.md).
"""

from libc.stdint cimport int64_t, uint32_t

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

ctypedef struct Bell:
    uint32_t count
    uint32_t waiting

cdef inline void ring_bell(Bell *bell) noexcept nogil:
    """Wake the owner of `bell` if it sleeps. Call after the release store that it may be waiting for."""
    fence_full()  # SYNC POINT: bell-ring (pairs with bell-wait)
    if load32(&bell.waiting) and exchange32(&bell.waiting, 0):
        increment32(&bell.count)
        futex_wake(&bell.count)

cdef inline void wake_anyway(Bell *bell) noexcept nogil:
    """Wake the owner of `bell` whether it has announced itself or not: who took the flag may have died before waking."""
    increment32(&bell.count)
    futex_wake(&bell.count)

cdef inline uint32_t announce_wait(Bell *bell) noexcept nogil:
    """Say that the owner is about to sleep. Look for work once more after this, then `sleep_on` or `cancel_wait`."""
    # Before the announcement, whatever the processor would like: a ring in between must not count as seen.
    cdef uint32_t seen = load32_acquire(&bell.count)
    store32(&bell.waiting, 1)
    fence_full()  # SYNC POINT: bell-wait (pairs with bell-ring)
    return seen

cdef inline void sleep_on(Bell *bell, uint32_t seen, int64_t timeout_ns) noexcept nogil:
    """Sleep until the bell rings after `seen` was read, or for `timeout_ns`."""
    futex_wait(&bell.count, seen, timeout_ns)
    store32(&bell.waiting, 0)

cdef inline void cancel_wait(Bell *bell) noexcept nogil:
    """Take the announcement back: there was work after all."""
    store32(&bell.waiting, 0)
