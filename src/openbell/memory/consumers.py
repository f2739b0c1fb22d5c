"""The consumers segment: places for the readers that may hold a feed's writers back, and the bells that all share.

It is the one segment that readers map for writing. In bytes from the start of its body:

==============  =========================================================================
part            contents
==============  =========================================================================
header          slots, rings, receivers, workers
bells           two, on lines of their own: rung behind a head, rung behind what was applied
slots           one block of 16 words each: who has it
tethers         for each ring: one line of states, the cursors, time held and cuts of each slot
==============  =========================================================================

A slot belongs to the process that holds its lock file, in the generation's directory: a reader of an old generation
never blocks a restart, and a dead one is known by its lock.
"""

from __future__ import annotations

import os
import time
import weakref
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from openbell.core import tether, words
from openbell.core.tether import Tether
from openbell.errors import FeedAlreadyRunning, FeedError, FeedGone, TooManyConsumers
from openbell.memory.locks import RoleLock
from openbell.memory.names import CONSUMERS, consumer_lock, ring_name
from openbell.memory.segment import Kind
from openbell.monitor.control import Block, Word

if TYPE_CHECKING:
    from openbell.memory.generation import Generation

SLOTS = tether.SLOTS
LABEL_BYTES = 64
_LABEL_AT = 64
_PATIENCE_S = 0.1
"""How long all slots must be taken to be called so: the supervisor holds a lock for an instant when it looks."""


class ConsumerSlot(Block):
    """Who has a slot. Written by the holder of its lock.

    `cuts_before` and `held_before_ns` are what the producers had counted when the slot was claimed; `died` is how many
    holders of the slot died without giving it back.
    """

    pid = Word(0)
    epoch = Word(1)
    joined_ns = Word(2)
    cuts_before = Word(3)
    held_before_ns = Word(4)
    died = Word(5)

    @property
    def label(self) -> str:
        """What the reader calls itself."""
        return bytes(self.memory[_LABEL_AT : _LABEL_AT + LABEL_BYTES]).rstrip(b"\0").decode("utf-8", "ignore")

    @label.setter
    def label(self, text: str) -> None:
        padded = text.encode("utf-8", "replace")[:LABEL_BYTES].ljust(LABEL_BYTES, b"\0")
        for at in range(0, LABEL_BYTES, 8):
            words.store(self.memory, _LABEL_AT + at, int.from_bytes(padded[at : at + 8], "little"))


class Consumers(Block):
    """The consumers segment of a feed.

    Parameters
    ----------
    body : memoryview
        Body of the segment, borrowed for the life of this object and of all that it hands out.
    """

    rings = Word(1)
    receivers = Word(2)
    workers = Word(3)

    def number(self, receiver: int, worker: int) -> int:
        """Return the number of a ring in the feed."""
        if not (0 <= receiver < self.receivers and 0 <= worker < self.workers):
            raise IndexError(f"ring {receiver}-{worker} of {self.receivers} x {self.workers}")
        return receiver * self.workers + worker

    def tethers(self, receiver: int, worker: int) -> memoryview:
        """Return the tethers of a ring, for its producer."""
        at = tether.TETHERS_AT + self.number(receiver, worker) * tether.TETHERS_BYTES
        return self.memory[at : at + tether.TETHERS_BYTES]

    @property
    def published_bell(self) -> memoryview:
        """The bell that receivers ring behind a head, for any number of readers."""
        return self.memory[tether.PUBLISHED_BELL_AT : tether.PUBLISHED_BELL_AT + tether.BELL_BYTES]

    @property
    def applied_bell(self) -> memoryview:
        """The bell that workers ring behind what they applied, for any number of readers."""
        return self.memory[tether.APPLIED_BELL_AT : tether.APPLIED_BELL_AT + tether.BELL_BYTES]

    def slot(self, index: int) -> ConsumerSlot:
        """Return who has slot `index`."""
        if not 0 <= index < SLOTS:
            raise IndexError(f"slot {index} of {SLOTS}")
        at = tether.INFO_AT + index * tether.INFO_BYTES
        return ConsumerSlot(self.memory[at : at + tether.INFO_BYTES])

    def counted(self, index: int) -> tuple[int, int]:
        """Return how often slot `index` was cut, and for how long it held writers (ns), over all rings."""
        found = [tether.states(self.memory, ring)[index] for ring in range(self.rings)]
        return sum(cuts for *_, cuts in found), sum(held for *_, held, _ in found)


def format(body: memoryview, receivers: int, workers: int) -> None:
    """Make an empty segment in a fresh body."""
    tether.format(body, receivers, workers)


def make_locks(directory: Path) -> None:
    """Make the lock files of all slots in a generation's directory, so that no reader has to."""
    for index in range(SLOTS):
        os.close(os.open(directory / consumer_lock(index), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def reap(generation: Generation) -> list[tuple[int, int, str]]:
    """Free the slots of dead processes, so that they hold no writer any more.

    Parameters
    ----------
    generation : Generation
        Its consumers segment is mapped for writing.

    Returns
    -------
    list of (int, int, str)
        Slot, pid and label of each that died without giving its slot back.
    """
    consumers = Consumers(generation.body(CONSUMERS))
    found = []
    for index in range(SLOTS):
        info = consumers.slot(index)
        pid = info.pid
        if not pid:
            continue
        lock = RoleLock(generation.path / consumer_lock(index), create=False)
        try:
            # Taken, not only looked at: whoever claims the slot in this moment waits, or takes another one.
            lock.acquire(0.0)
        except (FeedAlreadyRunning, FileNotFoundError):
            continue
        try:
            if info.pid:
                found.append((index, pid, info.label))
                _bury(consumers, index)
        finally:
            lock.release()
    return found


def _bury(consumers: Consumers, index: int) -> None:
    """Take a dead reader out of its slot, whose lock is held."""
    info = consumers.slot(index)
    tether.clear(consumers.memory, index)
    info.died += 1
    info.pid = 0


class Consumer:
    """This process's place among the tethered readers of a feed. Made by `claim`.

    Attributes
    ----------
    index : int
        Which slot it has.

    Notes
    -----
    After a fork it belongs to the parent; the child has none.
    """

    def __init__(self, generation: Generation, index: int, lock: RoleLock) -> None:
        self._generation = generation
        self._consumers = Consumers(generation.body(CONSUMERS))
        self.index = index
        self._lock = lock
        self._tethers: dict[tuple[int, int], Tether] = {}
        _held.add(self)
        # Forgotten without `close`: the supervisor finds the lock free, and clears up as after a death.
        weakref.finalize(self, lock.release)

    @classmethod
    def claim(cls, generation: Generation, label: str = "") -> Consumer:
        """Take a free slot of a feed.

        Parameters
        ----------
        generation : Generation
            Which run of the feed. Its consumers segment is mapped for writing.
        label : str
            What the reader calls itself, for those who look at the feed's status; 64 bytes of it are kept.

        Raises
        ------
        TooManyConsumers
            All slots are taken; the message says by whom.
        FeedGone
            The generation is over.
        FeedError
            The consumers segment or a lock file cannot be opened.
        """
        body = generation.open(CONSUMERS, Kind.CONSUMERS, writable=True)
        consumers = Consumers(body)
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            for index in range(SLOTS):
                lock = RoleLock(generation.path / consumer_lock(index), create=False)
                try:
                    lock.acquire(0.0)
                except FeedAlreadyRunning:
                    continue
                except FileNotFoundError as error:
                    raise FeedGone("the feed was stopped or restarted; attach again") from error
                return cls._begin(generation, consumers, index, lock, label)
            if time.monotonic() >= deadline:
                raise TooManyConsumers(_taken(generation, consumers))
            time.sleep(0.01)

    @classmethod
    def _begin(cls, generation: Generation, consumers: Consumers, index: int, lock: RoleLock, label: str) -> Consumer:
        info = consumers.slot(index)
        if info.pid:
            # The last holder died, and the supervisor has not come by yet.
            _bury(consumers, index)
        info.label = label
        info.epoch += 1
        info.joined_ns = words.monotonic_ns()
        info.cuts_before, info.held_before_ns = consumers.counted(index)
        info.pid = os.getpid()
        return cls(generation, index, lock)

    @property
    def held(self) -> bool:
        """Whether the slot is this process's: it was not given back, and not left behind by a fork."""
        return self._lock.held

    def tether(self, receiver: int, worker: int) -> Tether:
        """Return the hold on one ring, which has to `join` before it holds anything. The same one each time.

        Raises
        ------
        FeedError
            The slot was given back, or belongs to the process that this one was forked from.
        FeedNotFound
            The ring cannot be mapped: the feed was stopped.
        """
        if not self._lock.held:
            raise FeedError("this consumer has given its slot back, or was forked from the one that has it; claim anew")
        key = (receiver, worker)
        if key not in self._tethers:
            number = self._consumers.number(receiver, worker)
            ring = self._generation.open(ring_name(receiver, worker), Kind.RING)
            self._tethers[key] = Tether(self._consumers.memory, self.index, number, ring)
        return self._tethers[key]

    def close(self) -> None:
        """Leave all rings and give the slot back. May be called again."""
        if not self._lock.held:
            return
        for each in self._tethers.values():
            each.leave()
        self._tethers.clear()
        self._consumers.slot(self.index).pid = 0
        self._lock.release()
        _held.discard(self)

    def _forget(self) -> None:
        # In a forked child: its copy of the descriptor would keep the lock alive beyond the parent's death.
        self._lock.release()

    def __enter__(self) -> Consumer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_held: weakref.WeakSet[Consumer] = weakref.WeakSet()


def _after_fork() -> None:
    for consumer in list(_held):
        consumer._forget()
    _held.clear()


os.register_at_fork(after_in_child=_after_fork)


def _taken(generation: Generation, consumers: Consumers) -> str:
    holders = []
    for index in range(SLOTS):
        info = consumers.slot(index)
        label = info.label
        holders.append(f"pid {info.pid}{f' ({label})' if label else ''}")
    return (
        f"all {SLOTS} places for tethered readers of feed {generation.directory.name!r} are taken, by "
        f"{', '.join(holders)}; end one of them, or read with a tap, which takes no place"
    )
