# cython: language_level=3
"""A log-linear (HDR) latency histogram in shared memory: 32 sub-buckets an octave, at most 3.1 % wide, signed."""

from libc.stdint cimport int64_t, uint64_t

cdef extern from *:
    """
    static inline int ob_highest_bit(uint64_t v) { return 63 - __builtin_clzll(v); }
    """
    int highest_bit "ob_highest_bit"(uint64_t v) noexcept nogil

cdef enum:
    BUCKETS = 1920

ctypedef struct Histogram:
    uint64_t count
    uint64_t negative
    int64_t minimum
    int64_t maximum
    int64_t total
    uint64_t reserved[3]
    uint64_t buckets[BUCKETS]

cdef inline int bucket_of(int64_t value) noexcept nogil:
    """The bucket of a value >= 0: one each below 64, then 32 an octave."""
    cdef int shift
    if value < 64:
        return <int>value
    shift = highest_bit(<uint64_t>value) - 5
    return 32 + shift * 32 + <int>((<uint64_t>value >> shift) - 32)

cdef inline void observe(Histogram *histogram, int64_t value, uint64_t times) noexcept nogil:
    """Count `value` (ns) `times` times. A negative one counts apart: clocks lie, and nothing is clamped."""
    if histogram.count == 0 or value < histogram.minimum:
        histogram.minimum = value
    if histogram.count == 0 or value > histogram.maximum:
        histogram.maximum = value
    histogram.count += times
    histogram.total += value * <int64_t>times
    if value < 0:
        histogram.negative += times
    else:
        histogram.buckets[bucket_of(value)] += times
