# cython: language_level=3
"""Shared 64-bit words from Python: ordered loads and stores, bells, the clock.

Python has no way of its own to publish a word to another process: ``struct.pack_into`` zero-fills first, so that a
reader can see a 0 that nobody stored. Cold code uses these functions; hot code uses the inline ones of `atomics.pxd`.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from openbell.core cimport atomics
from openbell.core.buffers cimport Borrowed, borrow, borrow_writable
from openbell.core.doorbell cimport Bell, announce_wait, cancel_wait, ring_bell, sleep_on, wake_anyway
from openbell.core.layout cimport Record


cdef uint64_t *_word(Borrowed lent, Py_ssize_t offset) except NULL:
    if offset < 0 or offset & 7 or offset + 8 > lent.size:
        raise ValueError(f"offset {offset} is not an aligned word of a buffer of {lent.size} bytes")
    return <uint64_t *>(lent.data + offset)


def load(buffer, Py_ssize_t offset) -> int:
    """Load the word at `offset` (bytes, a multiple of 8) with acquire order."""
    return atomics.load_acquire(_word(borrow(buffer, 8), offset))


def load_signed(buffer, Py_ssize_t offset) -> int:
    """Load the word at `offset` as a signed integer, with acquire order."""
    return <int64_t>atomics.load_acquire(_word(borrow(buffer, 8), offset))


def store(buffer, Py_ssize_t offset, value: int) -> None:
    """Store `value` (taken modulo 2**64) at `offset` with release order."""
    cdef uint64_t bits = value & 0xFFFFFFFFFFFFFFFF
    atomics.store_release(_word(borrow_writable(buffer, 8), offset), bits)


def add(buffer, Py_ssize_t offset, value: int) -> None:
    """Add to a counter that only the calling process writes. Not atomic between writers."""
    cdef Borrowed lent = borrow_writable(buffer, 8)
    cdef uint64_t *word = _word(lent, offset)
    cdef uint64_t bits = value & 0xFFFFFFFFFFFFFFFF
    atomics.store_relaxed(word, atomics.load_relaxed(word) + bits)


def wake(buffer, Py_ssize_t offset) -> None:
    """Wake whoever sleeps on the bell at `offset`, whether or not it has announced itself."""
    cdef Borrowed lent = borrow_writable(buffer, 8)
    cdef Bell *bell = <Bell *>_word(lent, offset)
    wake_anyway(bell)


def ring(buffer, Py_ssize_t offset) -> None:
    """Ring the bell at `offset`: full fence, then wake its owner if it has announced that it sleeps."""
    cdef Borrowed lent = borrow_writable(buffer, 8)
    ring_bell(<Bell *>_word(lent, offset))


def wait(bell_buffer, Py_ssize_t bell_offset, word_buffer, Py_ssize_t word_offset, old_value: int,
         int64_t timeout_ns) -> bool:
    """Sleep on a bell until a word differs from `old_value`, or for `timeout_ns` at most.

    Returns
    -------
    bool
        Whether the word differs from `old_value` now. May wake early; look again.
    """
    cdef Borrowed bell_lent = borrow_writable(bell_buffer, 8)
    cdef Borrowed word_lent = borrow(word_buffer, 8)
    cdef Bell *bell = <Bell *>_word(bell_lent, bell_offset)
    cdef uint64_t *word = _word(word_lent, word_offset)
    cdef uint64_t old = old_value & 0xFFFFFFFFFFFFFFFF
    cdef uint32_t count
    with nogil:
        count = announce_wait(bell)
        if atomics.load_acquire(word) != old:
            cancel_wait(bell)
        else:
            sleep_on(bell, count, timeout_ns)
    return atomics.load_acquire(word) != old


def monotonic_ns() -> int:
    """Return CLOCK_MONOTONIC in ns, the clock of every interval here."""
    return atomics.monotonic_ns()


def crash_hooks_compiled() -> bool:
    """Say whether this build carries the crash points (tests only; a normal build has none)."""
    return atomics.CRASH_HOOKS == 1


def record_layout() -> dict:
    """Return ``{field: (offset, size)}`` of the C record, as the compiler laid it out."""
    cdef Record record
    cdef char *base = <char *>&record
    return {
        "row": (<char *>&record.row - base, sizeof(record.row)),
        "kind": (<char *>&record.kind - base, sizeof(record.kind)),
        "side": (<char *>&record.side - base, sizeof(record.side)),
        "flags": (<char *>&record.flags - base, sizeof(record.flags)),
        "exchange_ns": (<char *>&record.exchange_ns - base, sizeof(record.exchange_ns)),
        "receive_ns": (<char *>&record.receive_ns - base, sizeof(record.receive_ns)),
        "sequence": (<char *>&record.sequence - base, sizeof(record.sequence)),
        "a": (<char *>&record.value[0] - base, sizeof(record.value[0])),
        "b": (<char *>&record.value[1] - base, sizeof(record.value[1])),
        "c": (<char *>&record.value[2] - base, sizeof(record.value[2])),
        "d": (<char *>&record.value[3] - base, sizeof(record.value[3])),
        "": (0, sizeof(Record)),
    }
