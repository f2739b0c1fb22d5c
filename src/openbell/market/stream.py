"""One reader's hold on the rings of one generation: everything of a `Ticks` that a restart of the feed ends."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from openbell.core import ring
from openbell.core.follow import Follower
from openbell.core.watch import WAITS, Watch
from openbell.errors import FeedGone, FeedNotFound, InvalidArgument
from openbell.market.tick import Tick
from openbell.memory.consumers import Consumer
from openbell.record import RECORD_SIZE
from openbell.record import dtype as record_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from openbell.market.selection import Selection
    from openbell.market.session import Session

Mode = Literal["tap", "tethered"]
Order = Literal["receive", "shard"]
Wait = Literal["adaptive", "spin", "yield", "park"]
Start = Literal["now", "oldest"]

_RING_HEADER: Final = 1024


class Held:
    """A slot of the feed, and with it a hold on each ring: the writers wait for this reader.

    Parameters
    ----------
    session : Session
    label : str
        What the reader calls itself.
    start : {"now", "oldest"}

    Raises
    ------
    TooManyConsumers
        All slots are taken.
    FeedNotFound
        The feed was stopped meanwhile.
    """

    def __init__(self, session: Session, label: str, start: Start) -> None:
        try:
            self._consumer = Consumer.claim(session.generation, label)
            try:
                self.tethers = [
                    self._consumer.tether(receiver, worker)
                    for receiver in range(session.control.receivers)
                    for worker in range(session.control.workers)
                ]
                for each in self.tethers:
                    each.join(start)
            except BaseException:
                self._consumer.close()
                raise
        except FeedGone as error:
            # Whoever asks finds out whether there is another run to go on with.
            raise FeedNotFound(str(error)) from error

    def close(self) -> None:
        """Let all rings go, and give the slot back."""
        self._consumer.close()


@dataclass(frozen=True, slots=True)
class Seam:
    """Where to begin.

    Parameters
    ----------
    starts : list
        For each ring "now", "oldest" or a position.
    updated : numpy.ndarray of int64, shape (rows,), optional
        For each row the position behind the last record that a copy of the market holds.
    held : Held, optional
        A hold on the rings, of a tethered reader.
    """

    starts: Sequence[Start | int]
    updated: NDArray[np.int64] | None = None
    held: Held | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """How to follow; see `Market.ticks`.

    Raises
    ------
    InvalidArgument
        One of the words is none of those that there are.
    """

    mode: Mode = "tap"
    order: Order = "receive"
    wait: Wait = "adaptive"
    label: str = ""

    def __post_init__(self) -> None:
        for name, given, known in (
            ("mode", self.mode, ("tap", "tethered")),
            ("order", self.order, ("receive", "shard")),
            ("wait", self.wait, WAITS),
        ):
            if given not in known:
                raise InvalidArgument(f"{name} must be one of {', '.join(known)}, not {given!r}")


class Stream:
    """A follower of all rings of a generation, and what it waits with.

    Parameters
    ----------
    session : Session
    selection : Selection
    options : Options
    begin : {"now", "oldest"} or Seam

    Raises
    ------
    FeedNotFound
        The feed was stopped before all was mapped.
    TooManyConsumers
        All places for tethered readers are taken.

    Attributes
    ----------
    lends : bool
        Whether batches are the rings' own memory.
    """

    def __init__(self, session: Session, selection: Selection, options: Options, begin: Start | Seam) -> None:
        self.session = session
        self.pid = os.getpid()
        self._rings = session.rings()
        self.watch = Watch(self._rings, "head", session.consumers.published_bell, options.wait)
        rows = selection.mask(session.directory, session.reader.data_rows)
        self.lends = options.mode == "tethered" and selection.whole and not isinstance(begin, Seam)
        if not isinstance(begin, Seam):
            held = Held(session, options.label, begin) if options.mode == "tethered" else None
            begin = Seam([begin] * len(self._rings), None, held)
        self._held = begin.held
        self.follower = Follower(
            self._rings,
            begin.starts,
            Tick,
            session.directory.symbol,
            None if rows is None else rows.data,
            lambda row: selection.wants(session.directory.symbol(row)),
            selection.kinds,
            None if begin.updated is None else begin.updated.data,
            options.order == "shard",
            None if self._held is None else self._held.tethers,
        )

    def wait(self, timeout_ns: int) -> bool:
        """Wait until there is something to read, for `timeout_ns` at most; may return True too early."""
        # What is there already need not be news: a task that was cancelled may have been told of it, and not read it.
        return self.follower.waiting or self.watch.wait(timeout_ns) or self.follower.waiting

    def records(self, index: int, position: int, count: int) -> NDArray[np.void]:
        """Return `count` records of a ring from `position` on, which lie there in a row: its own memory."""
        body = self._rings[index]
        capacity = (len(body) - _RING_HEADER) // RECORD_SIZE
        offset = _RING_HEADER + (position & (capacity - 1)) * RECORD_SIZE
        return np.frombuffer(body.toreadonly(), record_dtype(), count, offset)

    def counts(self) -> NDArray[np.int64]:
        """Return delivered, skipped, lost, gaps, cuts."""
        follower = self.follower
        return np.array((follower.delivered, follower.skipped, follower.lost, follower.gaps, follower.cuts), np.int64)

    @property
    def lag(self) -> int:
        """How many records are published and were not looked at yet, over all rings."""
        heads = (ring.positions(body)["head"] for body in self._rings)
        return sum(head - at for head, at in zip(heads, self.follower.positions, strict=True))

    def close(self) -> None:
        """Let the rings go."""
        if self._held is not None:
            self._held.close()
            self.follower.disown()
