"""One generation of a feed, as one reader has it mapped: everything of a `Market` that a restart of the feed ends."""

from __future__ import annotations

import struct
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from openbell.core import snapshot as core
from openbell.core.bars import BarsReader
from openbell.core.snapshot import SnapshotReader
from openbell.errors import FeedNotFound, UnknownColumn
from openbell.market.columns import INTERNAL, public
from openbell.market.directory import Directory
from openbell.market.pulse import Pulse
from openbell.market.traded import Asked
from openbell.memory import feeds
from openbell.memory.consumers import Consumers
from openbell.memory.names import CONSUMERS, ring_name
from openbell.memory.segment import Kind
from openbell.monitor.subscriptions import ROW_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from openbell.control.client import FeedControl
    from openbell.memory.generation import Generation

FIXED = len(core.COLUMNS)
"""Columns that every feed has; those of the book are behind them."""

VANISHING_S = 1.0
"""How long a feed may be running and yet not be found: it is just being started, or stopped."""


class Session:
    """What a reader has mapped of one generation of a feed. It never changes into another one.

    Whoever keeps a session, or an array of it, keeps its memory mapped. It is let go of by forgetting it: nothing is
    closed under the feet of a thread that still reads.

    Parameters
    ----------
    feed : str
        Name of the feed.
    generation : Generation
        Its segments ``control``, ``symbols``, ``snapshot`` and ``subscriptions`` are mapped.

    Attributes
    ----------
    number : int
        Number of the generation: no other run of the feed has it, and later runs have greater ones.
    reader : SnapshotReader
    directory : Directory
    control : Control
    dtypes : dict of str to numpy.dtype
        Of all columns, in the order of copies.
    public : list of (int, str)
        Index in that order, and name, of each column that is shown.
    choices : dict
        What `openbell.market.taking` remembers of the columns that were wanted.
    feed_rows : numpy.ndarray of intp
        The row of each worker that has what concerns all of its symbols.
    places : dict of str to int
        The same the other way round.
    row_struct : struct.Struct
        Of all columns of one row.
    states : numpy.ndarray of uint8, shape (rows,)
        How far the subscription of each row is, live.
    """

    def __init__(self, feed: str, generation: Generation) -> None:
        self.feed = feed
        self.generation = generation
        self.number = generation.number
        self.reader = SnapshotReader(generation.body("snapshot"))
        columns = self.reader.columns
        self.dtypes = {name: np.dtype("<f8" if kind == "f8" else "<i8") for name, kind in columns}
        self.public = [(index, name) for index, (name, _) in enumerate(columns) if name not in INTERNAL]
        self.places = {name: index for index, name in self.public}
        self.row_struct = struct.Struct("=" + "".join("d" if kind == "f8" else "q" for _, kind in columns))
        self.feed_rows = np.array([self.feed_row(worker) for worker in range(self.reader.workers)], np.intp)
        self.directory = Directory(feed, generation.body("symbols"))
        self.control = generation.open_control()
        # The lowest byte of a row's first word.
        body = generation.body("subscriptions")
        self.states: NDArray[np.uint8] = np.ndarray((self.reader.data_rows,), np.uint8, body, strides=(ROW_BYTES,))
        self._pulse = Pulse(generation)
        self.choices: dict[tuple[str, ...] | None, Any] = {}
        self._live: dict[str, NDArray[Any]] = {}

    @classmethod
    def open(cls, feed: str, patience_s: float = VANISHING_S) -> Session:
        """Map what runs now.

        Parameters
        ----------
        feed : str
        patience_s : float
            How long to wait for one that is starting.

        Raises
        ------
        FeedNotFound, LayoutMismatch, FeedError
            As `openbell.attach`.
        """
        deadline = time.monotonic() + patience_s
        while True:
            generation = feeds.find(feed, patience_s)
            try:
                generation.open("symbols", Kind.SYMBOLS)
                generation.open("snapshot", Kind.SNAPSHOT)
                generation.open("subscriptions", Kind.SUBSCRIPTIONS)
            except FeedNotFound:
                # Stopped or restarted while we looked; `find` knows which.
                generation.close()
                if time.monotonic() > deadline:
                    raise
                continue
            except BaseException:
                generation.close()
                raise
            return cls(feed, generation)

    @property
    def alive(self) -> bool:
        """Whether this generation runs. Once it does not, it never will again."""
        return self._pulse.beats

    def column(self, name: str) -> NDArray[Any]:
        """Return the live column `name`, one element a row that a symbol can have.

        Raises
        ------
        UnknownColumn
            There is no such column; the message lists them.
        """
        array = self._live.get(name)
        if array is None:
            known = public(self.reader.columns)
            if name not in known:
                raise UnknownColumn(name, known)
            self._live[name] = array = self._column(name)
        return array

    @cached_property
    def versions(self) -> NDArray[np.int64]:
        """The version word of each row, live: it grows with whatever happens to the row; odd while it is written."""
        return self._column("version")

    def _column(self, name: str) -> NDArray[Any]:
        body, offset = self.generation.body("snapshot"), self.reader.column_offset(name)
        return np.frombuffer(body, self.dtypes[name], self.reader.data_rows, offset)

    def levels(self, part: int) -> NDArray[np.float64]:
        """Return part 0 to 3 of the book, live: bids, bid sizes, asks, ask sizes; shape (levels, rows)."""
        levels, rows = self.reader.book_levels, self.reader.data_rows
        if not levels:
            return np.empty((0, rows))
        stride = self.reader.stride
        first = (FIXED + part * levels) * stride
        body = self.generation.body("snapshot")
        base = np.frombuffer(body, np.uint8, levels * stride, self.reader.columns_at + first)
        return np.ndarray((levels, rows), np.float64, base, strides=(stride, 8))

    def rings(self) -> list[memoryview]:
        """Map all rings, unless they are, and return their bodies, a receiver after the other.

        Raises
        ------
        FeedNotFound
            The feed was stopped before they could be mapped.
        """
        return [
            self.generation.open(ring_name(receiver, worker), Kind.RING)
            for receiver in range(self.control.receivers)
            for worker in range(self.control.workers)
        ]

    @cached_property
    def bars_reader(self) -> BarsReader | None:
        """What reads the one-minute bars; None where the feed keeps none.

        Raises
        ------
        FeedNotFound
            The feed was stopped before they could be mapped.
        """
        if not self.generation.has("bars"):
            if not self.alive:
                raise FeedNotFound(f"there are no bars of feed {self.feed!r} any more: it was stopped")
            return None
        return BarsReader(self.generation.open("bars", Kind.BARS), self.generation.body("snapshot"))

    @cached_property
    def consumers(self) -> Consumers:
        """The places and bells of readers: the one segment that a reader maps for writing.

        Raises
        ------
        FeedNotFound
            The feed was stopped before it could be mapped.
        """
        return Consumers(self.generation.open(CONSUMERS, Kind.CONSUMERS, writable=True))

    @cached_property
    def asked(self) -> Asked:
        """What the feed's configuration says of its symbols.

        Raises
        ------
        FeedNotFound
            The feed was stopped before it could be read.
        """
        return Asked(self.generation.config)

    @cached_property
    def feed_control(self) -> FeedControl:
        """The subscriptions of this generation.

        Raises
        ------
        FeedNotFound
            The feed was stopped before its configuration could be read.
        """
        # Imported when it is wanted: who only reads has no use for it.
        from openbell.control.client import FeedControl

        return FeedControl(self.feed, self.generation)

    def feed_row(self, worker: int) -> int:
        """Return the row that has what concerns all symbols of `worker`."""
        return core.feed_row(self.reader.data_rows, worker)
