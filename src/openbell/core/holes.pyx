# cython: language_level=3, boundscheck=False, wraparound=False
"""What a vendor's own numbers prove: where it counts the events of a symbol one by one, a number that does not come is
an event that is lost.

One of these follows a connection through all its lives, so that the first number after an interruption says how many
events that one cost. Each stream (a route that is declared `consecutive`) is followed by itself, symbol by symbol.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport int64_t, uint32_t, uint64_t

from openbell.core.atomics cimport load_relaxed, store_release
from openbell.core.buffers cimport Borrowed, borrow_writable

cdef enum:
    C_HOLES = 0
    C_MISSING = 1


cdef class Holes:
    """The last number of each row and stream.

    Parameters
    ----------
    rows : int
        Rows that symbols can have.
    streams : int
        Streams that are numbered.
    counters : writable buffer
        Two words, which only this adds to: how often numbers were left out while the connection was up, and how many
        numbers never came, those of interruptions included. Borrowed for the life of this object.

    Raises
    ------
    ValueError
        There are no rows or no streams, or the buffer is too small.
    """

    def __cinit__(self, Py_ssize_t rows, int streams, counters):
        if rows < 1 or streams < 1:
            raise ValueError(f"holes in {streams} streams of {rows} rows")
        self._lent = borrow_writable(counters, 16)
        self.counters = <uint64_t *>self._lent.data
        # Zeroed by the kernel: a page is taken when a row in it is first followed.
        self.followed = <Followed *>PyMem_Calloc(rows * streams, sizeof(Followed))
        if self.followed is NULL:
            raise MemoryError
        self.rows = rows
        self.streams = streams

    def __dealloc__(self):
        PyMem_Free(self.followed)

    cdef int64_t missing_before(self, int stream, uint32_t row, int64_t number, bint *told) noexcept nogil:
        """Take in that event `number` of `row` came; return how many before it did not.

        0 for the first one, and for one that comes again or late. `told`: an interruption was told since the last one,
        so that what is missing is a part of what was told already.
        """
        cdef Followed *one
        cdef int64_t missing
        told[0] = False
        if number <= 0 or row >= <uint32_t>self.rows:
            return 0
        one = &self.followed[stream * self.rows + row]
        told[0] = one.interruption != self.interruption
        if not one.last or (told[0] and number <= one.last):
            # Whoever begins its numbers anew does so with a connection.
            one.last = number
            one.interruption = self.interruption
            return 0
        missing = number - one.last - 1
        if missing < 0:
            return 0
        one.last = number
        one.interruption = self.interruption
        return missing

    cdef void count(self, int64_t missing, bint told) noexcept nogil:
        """Count a hole that was told."""
        if not told:
            store_release(&self.counters[C_HOLES], load_relaxed(&self.counters[C_HOLES]) + 1)
        store_release(&self.counters[C_MISSING], load_relaxed(&self.counters[C_MISSING]) + <uint64_t>missing)

    def interrupted(self) -> None:
        """Note that an interruption of the connection is told: of each row, what is missing next belongs to that."""
        self.interruption += 1

    def forget(self, uint32_t row) -> None:
        """Follow a row from the number on that comes next: it was not subscribed to for a while, on purpose."""
        cdef int stream
        if row < <uint32_t>self.rows:
            for stream in range(self.streams):
                self.followed[stream * self.rows + row].last = 0
