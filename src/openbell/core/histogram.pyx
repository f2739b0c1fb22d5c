# cython: language_level=3
"""Python's view of the latency histogram: its size, its buckets, and a way to fill one outside the hot path."""

from libc.stdint cimport int64_t, uint64_t

from openbell.core.buffers cimport Borrowed, borrow_writable

HEADER_WORDS = 8
BUCKET_COUNT = BUCKETS


def size() -> int:
    """Return the bytes of one histogram."""
    return sizeof(Histogram)


def bucket(value: int) -> int:
    """Return the index of the bucket that counts `value` (>= 0)."""
    if value < 0 or value > 0x7FFFFFFFFFFFFFFF:
        raise ValueError(f"a bucket holds values from 0 to 2**63 - 1, not {value}")
    return bucket_of(value)


def bounds(index: int) -> tuple:
    """Return ``(low, high)``, the smallest and the largest value that bucket `index` counts."""
    if not 0 <= index < BUCKETS:
        raise IndexError(f"bucket {index} of {BUCKETS}")
    if index < 64:
        return index, index
    shift = (index - 32) // 32
    low = ((index - 32) % 32 + 32) << shift
    return low, low + (1 << shift) - 1


def record(histogram, int64_t value, uint64_t times=1) -> None:
    """Count `value` in the histogram that `histogram` (`size` bytes) holds."""
    cdef Borrowed lent = borrow_writable(histogram, sizeof(Histogram))
    observe(<Histogram *>lent.data, value, times)
