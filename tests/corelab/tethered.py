"""A ring with its writer, its worker's end, and the places of tethered readers, all in the memory of one process."""

from __future__ import annotations

from corelab.memory import memory
from corelab.numbered import numbered
from openbell.core import ring, tether, words
from openbell.core.gate import Cuts
from openbell.core.ring import RingReader, RingWriter
from openbell.core.tether import Tether

MILLISECOND = 1_000_000


class TetheredRing:
    """One ring of a feed that has only this one.

    Parameters
    ----------
    capacity : int
        Records of the ring.
    max_wait_ns, max_hold_ns : int
        Of the writer.
    cuts : Cuts, optional
        What it shares with the writers of other rings.
    """

    def __init__(
        self,
        capacity: int = 64,
        *,
        max_wait_ns: int = 1000,
        max_hold_ns: int = 10_000 * MILLISECOND,
        start: int = 0,
        cuts: Cuts | None = None,
    ) -> None:
        self.capacity = capacity
        self.start = start
        self.buffer = memory(ring.size(capacity))
        ring.format(self.buffer, capacity, 0, start)
        self.consumers = memory(tether.size(1))
        tether.format(self.consumers, 1, 1)
        self.worker_bell, self.own_bell = memory(64), memory(64)
        self.max_wait_ns, self.max_hold_ns = max_wait_ns, max_hold_ns
        self.cuts = cuts or Cuts()
        self.worker = RingReader(self.buffer)
        self.written = 0
        self.writer = self.another_writer()

    def another_writer(self, max_hold_ns: int | None = None) -> RingWriter:
        """Return the writer that comes after the present one; it has taken the ring over."""
        whole = memoryview(self.consumers)
        at = tether.TETHERS_AT
        writer = RingWriter(
            self.buffer,
            self.worker_bell,
            self.own_bell,
            self.max_wait_ns,
            tethers=whole[at : at + tether.TETHERS_BYTES],
            readers_bell=whole[tether.PUBLISHED_BELL_AT : tether.PUBLISHED_BELL_AT + tether.BELL_BYTES],
            max_hold_ns=self.max_hold_ns if max_hold_ns is None else max_hold_ns,
            cuts=self.cuts,
        )
        writer.recover()
        return writer

    def tether(self, slot: int = 0) -> Tether:
        """Return the hold of the reader in a slot; it has not joined."""
        return Tether(self.consumers, slot, 0, self.buffer)

    def write(self, count: int, *, apply: bool = True) -> int:
        """Write numbered records until there is no room; the worker applies all it can. Return how many were taken."""
        for taken in range(count):
            if apply:
                self.worker.poll()
            if not self.writer.append(numbered(self.written, 1)):
                self.writer.publish()
                return taken
            self.written += 1
        self.writer.publish()
        if apply:
            self.worker.poll()
        return count

    def state(self, slot: int = 0) -> str:
        """Return the state of a slot."""
        return tether.states(self.consumers, 0)[slot][0]

    def counted(self, slot: int = 0) -> tuple[int, int]:
        """Return for how long (ns) the reader of a slot has held the writer, and how often it was cut."""
        return tether.states(self.consumers, 0)[slot][3:]

    def scribble(self, slot: int, *, state: int, cursor: int) -> None:
        """Write anything into the words of a slot, as a reader that has gone mad might."""
        words.store(self.consumers, tether.TETHERS_AT + 128 + slot * 128, cursor)
        words.store(self.consumers, tether.TETHERS_AT + slot * 8, state)
