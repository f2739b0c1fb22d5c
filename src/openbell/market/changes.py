"""What moved: a conflated stream of the symbols that went further than a threshold since they were last told."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from openbell.core import words
from openbell.errors import FeedGone, InvalidArgument, UnknownColumn
from openbell.market.columns import NAMES
from openbell.market.waiting import Waiter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from openbell.market.attachment import Attachment
    from openbell.market.session import Session
    from openbell.market.waiting import Waiters

_VERSION = 0
_RECEIVED = 1 + NAMES.index("receive_ns")
# Prices are decimal and floats are not: 10.03 - 10.02 is one tick of 0.01, and a little less than 0.01.
_TICK_SLACK = 1e-6
_PCT_SLACK = 1e-9


class Move(NamedTuple):
    """One symbol that moved."""

    symbol: str
    old: float
    new: float


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """The symbols that moved far enough since they were last told, and how far; iterate for one `Move` each.

    All arrays have one element a symbol, and are yours.

    Attributes
    ----------
    feed : str
        Name of the feed.
    generation : int
        Number of the run of the feed that `rows` belong to.
    column : str
        What moved.
    symbols : tuple of str
    rows : numpy.ndarray of intp
        Their rows in the live columns.
    old : numpy.ndarray
        What was told of each last, or was there at the beginning. NaN where there was no price.
    new : numpy.ndarray
        What it is now. NaN where there is no price any more.
    receive_ns : numpy.ndarray of int64
        When each symbol's last event came.
    taken_ns : int
        When this was taken, ns since the epoch.
    looked_at : int
        How many rows had anything happen to them since the look before, whether far enough or not.
    """

    feed: str
    generation: int
    column: str
    symbols: tuple[str, ...]
    rows: NDArray[np.intp]
    old: NDArray[Any]
    new: NDArray[Any]
    receive_ns: NDArray[np.int64]
    taken_ns: int
    looked_at: int

    def __len__(self) -> int:
        return len(self.symbols)

    def __iter__(self) -> Iterator[Move]:
        return map(Move, self.symbols, self.old.tolist(), self.new.tolist())

    def __repr__(self) -> str:
        return f"<Changes of feed {self.feed!r}: {self.column} of {len(self):,} symbols>"


class ChangeStream:
    """The changes of a market as they come; made by `Market.changes`. For one thread, or one task, at a time.

    Iterate over it, by ``for`` or ``async for``: each `Changes` has at least one symbol, and two of them are at least
    the interval apart, whatever the market does. A symbol that moved ten times in between is in it once. There is no
    end but `FeedGone`, or that the market is closed.

    `poll` is for those who have a loop of their own.
    """

    def __init__(
        self,
        attachment: Attachment,
        waiters: Waiters,
        column: str,
        min_ticks: float,
        min_pct: float,
        tick: float | Mapping[str, float] | None,
        interval: float,
        symbols: Collection[str] | None,
        initial: bool,
    ) -> None:
        self._attachment = attachment
        self._waiters = waiters
        self._waiter = Waiter(attachment)
        self._column = column
        self._min_ticks = min_ticks
        self._min_pct = min_pct
        self._tick = tick
        self._interval = interval
        self._wanted = None if symbols is None else frozenset(symbols)
        self._rows: NDArray[np.intp] | None = None
        self._ticks: NDArray[np.float64] | float = math.nan if tick is None or isinstance(tick, Mapping) else tick
        self._due = 0.0
        self._carried: dict[str, Any] = {}
        session = attachment.session()
        for symbol in self._wanted or ():
            session.directory.find(symbol)
        self._begin(session)
        if not initial:
            self._look(session)

    # ---- one look ----

    def poll(self) -> Changes:
        """Return what has moved far enough since it was last told, perhaps nothing; do not wait.

        Raises
        ------
        FeedGone
            The feed does not run.
        """
        return self._look(self._attachment.session())

    def _look(self, session: Session) -> Changes:
        if session is not self._session:
            self._carry()
            self._begin(session)
        elif session.directory.table.count != self._count:
            self._place()
        taken_ns = words.monotonic_ns() + session.control.clock_offset_ns
        rows = self._moved()
        copy = np.empty((3, len(rows)), np.uint64)
        if len(rows):
            session.reader.copy_rows(rows.data, copy.data, (_VERSION, self._index, _RECEIVED))
            self._seen[rows] = copy[0].view(np.int64)
        new = copy[1].view(self._dtype)
        told = self._far_enough(rows, new) if len(rows) else np.empty(0, np.bool_)
        far, new = rows[told], new[told]
        old = self._told[far]
        self._told[far] = new
        return Changes(
            self._attachment.feed,
            session.number,
            self._column,
            tuple(self._symbols[far].tolist()),
            far,
            old,
            new,
            copy[2].view(np.int64)[told],
            taken_ns,
            len(rows),
        )

    def _moved(self) -> NDArray[np.intp]:
        """Return the rows to which anything has happened since they were looked at: one comparison of the versions."""
        versions = self._session.versions
        if self._rows is None:
            return np.flatnonzero(versions != self._seen)
        moved: NDArray[np.intp] = self._rows[versions[self._rows] != self._seen[self._rows]]
        return moved

    def _far_enough(self, rows: NDArray[np.intp], new: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which of the rows that moved are to be told, and take note of which have a value."""
        old = self._told[rows]
        step = np.abs(new - old)
        told: NDArray[np.bool_] = step > 0
        if self._min_ticks > 0:
            ticks = self._ticks if isinstance(self._ticks, float) else self._ticks[rows]
            # Compared so that a symbol without a tick, which is NaN, passes.
            told &= ~(step < (self._min_ticks - _TICK_SLACK) * ticks)
        if self._min_pct > 0:
            told &= step >= (self._min_pct - _PCT_SLACK) / 100 * np.abs(old)
        if self._dtype.kind == "f":
            told |= np.isnan(old)
            gone = np.isnan(new)
            if gone.any():
                # A row that has had no price in this run of the feed has not lost one.
                told[gone] = (self._valued[rows] & ~np.isnan(old))[gone]
            self._valued[rows] |= ~gone
        else:
            told |= ~self._valued[rows]
            self._valued[rows] = True
        # A session that begins writes to rows that no symbol has yet.
        told &= self._named[rows]
        return told

    # ---- runs of the feed ----

    def _begin(self, session: Session) -> None:
        """Turn to a run of the feed, of which nothing has been looked at."""
        places = {name: place for place, name in session.public}
        if self._column not in places:
            raise UnknownColumn(self._column, tuple(places))
        self._session = session
        self._index = places[self._column]
        self._dtype = session.dtypes[self._column]
        rows = session.reader.data_rows
        self._seen = np.zeros(rows, np.int64)
        self._told = np.full(rows, np.nan if self._dtype.kind == "f" else 0, self._dtype)
        # Whether there was a value in this run, or, of what is no price, in any.
        self._valued = np.zeros(rows, np.bool_)
        self._symbols = np.full(rows, "", np.object_)
        self._named = np.zeros(rows, np.bool_)
        self._place()

    def _place(self) -> None:
        """Learn the rows of the symbols that there are by now."""
        directory = self._session.directory
        # Before the symbols are read: what comes meanwhile makes the next look read them again.
        self._count = directory.table.count
        symbols, rows, _ = directory.listing()
        self._symbols[rows] = symbols
        self._named[rows] = True
        if self._wanted is not None:
            keep = np.fromiter(map(self._wanted.__contains__, symbols), np.bool_, len(symbols))
            self._rows = rows[keep]
        if isinstance(self._tick, Mapping):
            self._ticks = np.full(len(self._told), np.nan)
            self._ticks[rows] = np.fromiter((self._tick.get(each, np.nan) for each in symbols), float, len(symbols))
        if self._carried:
            for symbol, row in zip(symbols, rows.tolist(), strict=True):
                if symbol in self._carried:
                    self._told[row] = self._carried.pop(symbol)
                    self._valued[row] = self._dtype.kind != "f"

    def _carry(self) -> None:
        """Keep what was told of each symbol: in the next run it has another row."""
        symbols, rows, _ = self._session.directory.listing()
        told = self._told[rows]
        known = ~np.isnan(told) if self._dtype.kind == "f" else self._valued[rows]
        self._carried |= zip(compress(symbols, known.tolist()), told[known].tolist(), strict=True)

    # ---- as a stream ----

    def __iter__(self) -> ChangeStream:
        return self

    def __next__(self) -> Changes:
        while True:
            time.sleep(max(0.0, self._due - time.monotonic()))
            self._waiter.wait(None)
            if changes := self._next():
                return changes

    def __aiter__(self) -> AsyncIterator[Changes]:
        return self

    async def __anext__(self) -> Changes:
        import asyncio

        while True:
            await asyncio.sleep(max(0.0, self._due - time.monotonic()))
            await self._waiters.wait_as(self._waiter, None)
            if changes := self._next():
                return changes

    def _next(self) -> Changes | None:
        self._due = time.monotonic() + self._interval
        try:
            # Not for longer than a look: who waits for the next run of the feed is the waiter.
            return self._look(self._attachment.session(0.0)) or None
        except FeedGone:
            if not self._attachment.reattach:
                raise
            return None


def check(
    min_ticks: float | None, min_pct: float | None, tick: float | Mapping[str, float] | None, interval: float
) -> None:
    """Refuse thresholds that make no sense.

    Raises
    ------
    InvalidArgument
        Which one, and what it may be.
    """
    for name, value in (("min_ticks", min_ticks), ("min_pct", min_pct), ("interval", interval)):
        if value is not None and not 0 <= value < math.inf:
            raise InvalidArgument(f"{name} must be a finite number from 0, not {value!r}")
    if min_ticks and tick is None:
        raise InvalidArgument(
            "min_ticks needs the price increment: tick=0.01, or a mapping of each symbol to its own, tick={...}"
        )
    ticks = tick.items() if isinstance(tick, Mapping) else () if tick is None else (("tick", tick),)
    for name, each in ticks:
        if not 0 < each < math.inf:
            raise InvalidArgument(f"a tick must be a finite number above 0, not {each!r} (of {name})")
