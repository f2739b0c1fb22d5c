# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Waiting for news of several rings at once: published by receivers, or applied by workers.

A reader that spins looks at the rings' own words. One that sleeps does so on the bell that all readers of the feed
share, and sees to it that it costs the writers next to nothing: where records flow steadily it sleeps a little without
a word, and only one that finds nothing after that asks to be woken.
"""

from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t, uint64_t

from openbell.core.atomics cimport cpu_pause, cpu_yield, load_acquire, monotonic_ns, sleep_ns
from openbell.core.buffers cimport Borrowed, borrow, borrow_writable
from openbell.core.consumers cimport ReadersBell, announce_reader, sleep_reader
from openbell.core.ring cimport RING_HEADER, RingWords, ring_words

cdef enum Strategy:
    SPIN = 0
    YIELD = 1
    PARK = 2
    ADAPTIVE = 3

WAITS = ("spin", "yield", "park", "adaptive")

cdef enum:
    SPIN_NS = 20_000
    # Unannounced. With the kernel's timer slack it becomes about twice that.
    NAP_NS = 50_000
    NAP_LONGEST_NS = 1_000_000
    # The longest it goes without a look at the process's signals. A wake-up that a killed writer owed costs that much.
    SLICE_NS = 100_000_000


cdef class Watch:
    """Notices news of rings.

    Parameters
    ----------
    rings : list of buffer
        Bodies of the ring segments (read-only is enough); borrowed for the life of the watch.
    word : {"head", "applied"}
        What is news: records that were published, or records that are in the snapshot.
    bell : writable buffer, optional
        The bell that readers share and that is rung for that word; borrowed. Without one it looks every
        50 us to 1 ms instead.
    wait : {"adaptive", "spin", "yield", "park"}
        ``spin`` and ``yield`` keep a processor busy; ``park`` sleeps; ``adaptive`` spins for 20 us first.

    Notes
    -----
    For one thread at a time. It begins with what is there now: `wait` returns for what comes after.
    """

    def __init__(self, rings, word="head", bell=None, wait="adaptive"):
        cdef Borrowed lent
        cdef RingWords *ring
        cdef int i
        if word not in ("head", "applied"):
            raise ValueError(f"word must be 'head' or 'applied', not {word!r}")
        if wait not in WAITS:
            raise ValueError(f"wait must be one of {', '.join(WAITS)}, not {wait!r}")
        if not rings:
            raise ValueError("there is no ring to watch")
        self.strategy = WAITS.index(wait)
        self._lent = []
        self.count = 0
        self.words = <const uint64_t **>PyMem_Malloc(len(rings) * sizeof(uint64_t *))
        self.seen = <uint64_t *>PyMem_Malloc(len(rings) * sizeof(uint64_t))
        if self.words is NULL or self.seen is NULL:
            raise MemoryError
        for each in rings:
            lent = borrow(each, RING_HEADER)
            self._lent.append(lent)
            ring = ring_words(lent)
            self.words[self.count] = &ring.head if word == "head" else &ring.applied
            self.count += 1
        self.bell = NULL
        if bell is not None:
            lent = borrow_writable(bell, sizeof(ReadersBell))
            self._lent.append(lent)
            self.bell = <ReadersBell *>lent.data
        self.look()
        self.fresh = True

    def __dealloc__(self):
        PyMem_Free(self.words)
        PyMem_Free(self.seen)

    cdef bint look(self) noexcept nogil:
        """Whether there was news since the last look that had some; takes note of all of it."""
        cdef bint news = False
        cdef uint64_t now
        cdef int i
        for i in range(self.count):
            now = load_acquire(self.words[i])
            if now != self.seen[i]:
                self.seen[i] = now
                news = True
        return news

    cdef bint ended(self) noexcept nogil:
        """Whether the generation is over: nobody rings any more."""
        return self.bell is not NULL and load_acquire(&self.bell.over) != 0

    cdef bint pause(self, int64_t until_ns) noexcept nogil:
        """Wait for news until `until_ns` (CLOCK_MONOTONIC), 0.1 s at most; whether there was some."""
        cdef int64_t began = monotonic_ns()
        cdef int64_t end = min(until_ns, began + SLICE_NS)
        cdef int64_t spin_end = began
        cdef int64_t now = began
        cdef int64_t nap = NAP_NS
        if self.strategy == SPIN or self.strategy == YIELD:
            spin_end = end
        elif self.strategy == ADAPTIVE:
            spin_end = began + SPIN_NS
        while True:
            if self.look():
                self.fresh = True
                return True
            if now >= end or self.ended():
                return False
            if now < spin_end:
                if self.strategy == YIELD:
                    cpu_yield()
                else:
                    cpu_pause()
            elif self.bell is NULL:
                sleep_ns(min(nap, end - now))
                nap = min(nap * 2, <int64_t>NAP_LONGEST_NS)
            elif self.fresh:
                self.fresh = False
                sleep_ns(min(<int64_t>NAP_NS, end - now))
            elif self._sleep(end - now):
                return True
            now = monotonic_ns()

    cdef bint _sleep(self, int64_t left_ns) noexcept nogil:
        cdef unsigned int seen = announce_reader(self.bell)
        # Whatever comes of it, the announcement stands: it may be another reader's by now.
        if self.look():
            self.fresh = True
            return True
        if not self.ended():
            sleep_reader(self.bell, seen, left_ns)
        return False

    @property
    def over(self) -> bool:
        """Whether the generation is over (never known without a bell): nothing will come any more."""
        return self.ended()

    def mark(self) -> None:
        """Forget what has come until now: `wait` returns for what comes after."""
        self.look()

    def wait(self, timeout_ns: int) -> bool:
        """Wait for news. The GIL is released, and signals are handled.

        Parameters
        ----------
        timeout_ns : int
            The longest it waits; 0 only looks.

        Returns
        -------
        bool
            Whether there is news since this last returned True, or since `mark`. False at the end of the time, and at
            once if the generation is over.
        """
        cdef int64_t end = monotonic_ns() + <int64_t>min(timeout_ns, 1 << 62)
        cdef bint news
        while True:
            with nogil:
                news = self.pause(end)
            if news:
                return True
            PyErr_CheckSignals()
            if self.ended() or monotonic_ns() >= end:
                return False
