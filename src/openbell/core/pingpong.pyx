# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""How long a record takes from one process to another, and how long a bare word takes. Benchmarks only.

Both ways the same: two processes that spin answer each other, and half of each turn is one way. Nothing of Python is in
it. What a ring adds to the bare word is a record written, claimed and shown, found, copied and judged.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from openbell.core.atomics cimport cpu_pause, load_acquire, monotonic_ns, store_release
from openbell.core.buffers cimport Borrowed, borrow_writable
from openbell.core.follow cimport SLACK, Follower
from openbell.core.layout cimport KIND_TRADE, Record
from openbell.core.ring cimport RingWriter

cdef enum:
    # Bytes between the two words: no processor fetches them together.
    APART = 256
    # A partner that is gone must not leave this one spinning for ever.
    LOOK = 1 << 24


def words(buffer, bint first, out) -> int:
    """Answer each other by two words, this side's and the other's.

    Parameters
    ----------
    buffer : writable buffer
        Shared, at least 512 bytes, zero.
    first : bool
        Whether this side begins each turn, and takes its time.
    out : writable buffer of int64, shape (turns,)
        Half of each turn, in ns, where this side is the first. The other one gives the same number of turns.

    Returns
    -------
    int
        How many turns there were: fewer, if the other side is gone.
    """
    cdef Borrowed shared = borrow_writable(buffer, 2 * APART)
    cdef Borrowed lent = borrow_writable(out, 0)
    cdef int64_t *half = <int64_t *>lent.data
    cdef uint64_t turns = lent.size // 8
    cdef uint64_t *mine = <uint64_t *>(shared.data + (0 if first else <int>APART))
    cdef uint64_t *others = <uint64_t *>(shared.data + (<int>APART if first else 0))
    cdef uint64_t turn, spins
    cdef int64_t began
    with nogil:
        for turn in range(1, turns + 1):
            began = monotonic_ns()
            if first:
                store_release(mine, turn)
            spins = 0
            while load_acquire(others) != turn:
                cpu_pause()
                spins += 1
                if spins == LOOK:
                    with gil:
                        return turn - 1
            if not first:
                store_release(mine, turn)
            half[turn - 1] = (monotonic_ns() - began) // 2
    return turns


def rings(RingWriter writer, Follower follower, bint first, out) -> int:
    """Answer each other by records, each side by a ring of its own; as `words` otherwise.

    Parameters
    ----------
    writer : RingWriter
        Of this side's ring, which has room for all turns.
    follower : Follower
        Of the other side's.
    """
    cdef Borrowed lent = borrow_writable(out, 0)
    cdef int64_t *half = <int64_t *>lent.data
    cdef uint64_t turns = lent.size // 8
    cdef uint64_t turn, spins
    cdef int64_t began
    cdef Record got[1 + SLACK]
    with nogil:
        for turn in range(1, turns + 1):
            began = monotonic_ns()
            if first and not _send(writer, turn):
                with gil:
                    raise ValueError("the ring is too small for so many turns")
            spins = 0
            while follower._read(got, 1) == 0:
                cpu_pause()
                spins += 1
                if spins == LOOK:
                    with gil:
                        return turn - 1
            if not first and not _send(writer, turn):
                with gil:
                    raise ValueError("the ring is too small for so many turns")
            half[turn - 1] = (monotonic_ns() - began) // 2
            if got[0].sequence != <int64_t>turn:
                with gil:
                    raise ValueError(f"turn {turn} brought record {got[0].sequence}")
    return turns


cdef bint _send(RingWriter writer, uint64_t number) noexcept nogil:
    cdef Record *record = writer.slot()
    if record is NULL:
        return False
    memset(record, 0, sizeof(Record))
    record.kind = KIND_TRADE
    record.sequence = number
    writer.position += 1
    writer.flush()
    return True
