"""Following the ticks of a running feed: record by record, or in arrays."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import AsyncIterator, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Final

import numpy as np

from openbell.core.follow import ROOM_BEYOND
from openbell.errors import FeedError, FeedGone, FeedNotFound, InvalidArgument
from openbell.market.batch import Batch
from openbell.market.selection import Selection
from openbell.market.stream import Options, Start, Stream
from openbell.market.waiting import checked
from openbell.record import RECORD_SIZE, ROW_NONE, GapReason
from openbell.record import dtype as record_dtype

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from numpy.typing import NDArray

    from openbell.market.attachment import Attachment
    from openbell.market.session import Session
    from openbell.market.tick import Tick
    from openbell.record import Kind

LOOK_S: Final = 0.1
"""How long a wait lasts at most before it is asked whether the feed still runs."""
TRY_S: Final = 0.02
"""How often a feed that does not run is looked for."""
_LOOK_NS: Final = int(LOOK_S * 1e9)
_NOTHING: Final = -1
_COPIED: Final = -2
TURN: Final = 64
"""Ticks after which ``async for`` lets other tasks have a turn, even if more are there."""


class Ticks:
    """The stream of a feed's records from one moment on; made by `Market.ticks` and `Market.snapshot_and_follow`.

    Use it in one of these ways, or in several of them in turns: each goes on where the last one stopped.

    ``for tick in ticks`` / ``async for tick in ticks``
        one `Tick` after the other, without an end. ``break`` loses nothing.
    ``ticks.take(timeout)``
        the next `Tick`, or None.
    ``ticks.read(max_records, timeout)`` / ``await ticks.read_async(...)``
        a structured numpy array, dtype `openbell.record.dtype`: a copy, yours to keep.
    ``for batch in ticks.batches()``
        one `Batch` after the other: of a tethered reader without a filter the ring itself, not a copy.

    What it could not give stands in the stream, in its place, as a record of kind GAP: see `Tick.gap`. Nothing is left
    out silently.

    Attributes
    ----------
    mode : {"tap", "tethered"}

    Notes
    -----
    For one thread or one asyncio task at a time. Not after a fork: every call then raises `FeedError`. Close it, or use
    it in a ``with`` statement: a tethered reader that is only forgotten may hold the feed's writers until it is
    collected, or cut.

    Once the feed is stopped, what it had published to the last is still given. Then everything raises `FeedGone`, or,
    of a market attached with ``reattach=True``, waits for the next run: a GAP of reason FEED_RESTART and unknown count,
    then the oldest that this run still has. Rows are other ones then: `Tick.symbol` is what stays.
    """

    def __init__(self, attachment: Attachment, selection: Selection, options: Options, stream: Stream) -> None:
        self.mode = options.mode
        self._attachment = attachment
        self._selection = selection
        self._options = options
        self._before = np.zeros(5, np.int64)
        self._buffer = bytearray()
        self._executor: ThreadPoolExecutor | None = None
        self._stream: Stream | None = stream
        _living.add(self)

    # ---- one by one ----

    def take(self, timeout: float | None = None) -> Tick | None:
        """Return the next record, or None if none comes in time.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait; by default as long as it takes.

        Raises
        ------
        FeedGone
            The feed was stopped, or restarted and this market is not to be attached again.
        FeedError
            This is closed, or was forked, or another thread is reading it, or a `Batch` is not released.
        InvalidArgument
            The time is negative, or no number.
        """
        deadline = _deadline(timeout)
        while True:
            tick: Tick | None = self._ready().follower.take()
            if tick is not None or not self._wait(deadline):
                return tick

    def __iter__(self) -> Iterator[Tick]:
        while True:
            stream = self._ready()
            take = stream.follower.take
            while (tick := take()) is not None:
                yield tick
                if self._stream is not stream:
                    break
            else:
                self._wait(None)

    # ---- in arrays ----

    def read(self, max_records: int = 4096, timeout: float | None = None) -> NDArray[np.void]:
        """Return what there is, as soon as there is something.

        Parameters
        ----------
        max_records : int
            At most so many, and what further ones the last group of them has.
        timeout : float, optional
            Seconds to wait for the first one; by default as long as it takes.

        Returns
        -------
        numpy.ndarray, shape (n,)
            A copy, dtype `openbell.record.dtype`; empty if nothing came in time. `symbol` names a row. Of records of
            kind GAP and STATUS view a to d as int64.

        Raises
        ------
        FeedGone, FeedError
            As `take`.
        """
        _positive(max_records)
        deadline = _deadline(timeout)
        while True:
            found = self._read_now(max_records)
            if len(found) or not self._wait(deadline):
                return found

    def _read_now(self, max_records: int) -> NDArray[np.void]:
        stream = self._ready()
        # There is never more to be had: a greater number is no reason for a greater buffer.
        max_records = min(max_records, stream.follower.most)
        room = (max_records + ROOM_BEYOND) * RECORD_SIZE
        if len(self._buffer) < room:
            self._buffer = bytearray(room)
        n = stream.follower.read(self._buffer, max_records)
        return np.frombuffer(self._buffer, record_dtype(), n).copy()

    def batches(self, max_records: int = 4096, timeout: float | None = None) -> Iterator[Batch]:
        """Iterate over batches of records, each as soon as there is something.

        A tethered reader that leaves nothing out (neither `symbols` nor `kinds` were given) gets the rings themselves:
        each batch is a part of one ring, in the ring's order, records of kind PAD (nothing) among them, and borrowed
        until `Batch.release`. A group may be divided between two batches, where the ring's memory ends and begins anew.
        All others get copies, as from `read`.

        Parameters
        ----------
        max_records : int
            At most so many records a batch, and what further ones the last group of them has.
        timeout : float, optional
            Seconds to wait for a batch, after which the iteration ends; by default it never does.

        Raises
        ------
        FeedGone, FeedError
            As `take`; and `FeedError` if the batch before was not released.
        """
        _positive(max_records)
        deadline = _deadline(timeout)
        while True:
            batch = self._batch_now(max_records)
            if batch is not None:
                yield batch
                deadline = _deadline(timeout)
            elif not self._wait(deadline):
                return

    def _batch_now(self, max_records: int) -> Batch | None:
        stream = self._ready()
        ring, position, count = (
            stream.follower.lend(min(max_records, stream.follower.most)) if stream.lends else (_COPIED, 0, 0)
        )
        if ring == _COPIED:
            found = self._read_now(max_records)
            return Batch(found, None) if len(found) else None
        if ring == _NOTHING:
            return None
        if count == 0:
            return Batch(np.frombuffer(stream.follower.missed(ring), record_dtype()).copy(), ring)
        return Batch(stream.records(ring, position, count), ring, stream.follower.settle)

    # ---- asyncio ----

    async def __aiter__(self) -> AsyncIterator[Tick]:
        # Imported when it is wanted: it would be half of what the import of all of this costs.
        import asyncio

        while True:
            stream = self._ready()
            take = stream.follower.take
            turn = 0
            while (tick := take()) is not None:
                yield tick
                if self._stream is not stream:
                    break
                turn += 1
                if turn == TURN:
                    turn = 0
                    await asyncio.sleep(0)
            else:
                await self._wait_async(None)

    async def read_async(self, max_records: int = 4096, timeout: float | None = None) -> NDArray[np.void]:
        """Return what there is, as `read`, without blocking the event loop while there is nothing."""
        _positive(max_records)
        deadline = _deadline(timeout)
        while True:
            found = self._read_now(max_records)
            if len(found) or not await self._wait_async(deadline):
                return found

    # ---- waiting ----

    def _wait(self, deadline: float | None) -> bool:
        """Wait until there may be something; False at the end of the time."""
        while True:
            stream = self._ready()
            wait_ns = _LOOK_NS if deadline is None else _slice_ns(deadline)
            if stream.wait(wait_ns):
                return True
            if not stream.session.alive and self._over(stream):
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return False
            if not stream.session.alive:
                time.sleep(_left(deadline, TRY_S))

    async def _wait_async(self, deadline: float | None) -> bool:
        import asyncio
        from concurrent.futures import ThreadPoolExecutor

        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, "openbell-ticks")
        loop = asyncio.get_running_loop()
        while True:
            stream = self._ready()
            # In a thread of its own, without the GIL.
            if await loop.run_in_executor(self._executor, stream.wait, _slice_ns(deadline)):
                return True
            if not stream.session.alive and self._over(stream):
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return False
            if not stream.session.alive:
                await asyncio.sleep(_left(deadline, TRY_S))

    def _over(self, stream: Stream) -> bool:
        """Go on with the next run of the feed, if there is one; whether there is something to read."""
        # It was alive when the heads were looked at for the last time, perhaps.
        if stream.follower.waiting:
            return True
        try:
            fresh = Stream(self._attachment.session(0.0), self._selection, self._options, "oldest")
        except FeedNotFound:
            # Stopped again, while its rings were being mapped.
            return False
        except FeedGone:
            if not self._attachment.reattach:
                raise
            return False
        self._before += stream.counts()
        stream.close()
        self._stream = fresh
        fresh.follower.tell(GapReason.FEED_RESTART, -1)
        return True

    # ---- what became of it ----

    def _counted(self, index: int) -> int:
        now = 0 if self._stream is None else int(self._stream.counts()[index])
        return int(self._before[index]) + now

    @property
    def delivered(self) -> int:
        """Records given so far, GAP records among them."""
        return self._counted(0)

    @property
    def skipped(self) -> int:
        """Records of the rings that this reader was too late for, exactly: as a tap lapped, as a tethered one cut."""
        return self._counted(1)

    @property
    def lost(self) -> int:
        """Events that the feed said it had lost, as far as the GAP records given so far know how many."""
        return self._counted(2)

    @property
    def gaps(self) -> int:
        """GAP records given so far."""
        return self._counted(3)

    @property
    def cuts(self) -> int:
        """How often this tethered reader was cut off, and joined again."""
        return self._counted(4)

    @property
    def lag(self) -> int:
        """How many records of the rings are published and were not looked at yet."""
        return 0 if self._stream is None else self._stream.lag

    def symbol(self, row: int) -> str | None:
        """Return the symbol of a record's ``row``; None for records that concern no single symbol.

        Raises
        ------
        KeyError
            No symbol has that row.
        """
        return None if row == ROW_NONE else self._ready().session.directory.symbol(int(row))

    def close(self) -> None:
        """Stop following; a tethered reader lets the writers go. May be called again."""
        stream, self._stream = self._stream, None
        if stream is not None:
            self._before += stream.counts()
            stream.close()
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None

    def _ready(self) -> Stream:
        stream = self._stream
        if stream is None:
            raise FeedError("this stream of ticks is closed; ask the market for another one")
        if stream.pid != _pid:
            raise FeedError("this stream of ticks belongs to the process that this one was forked from; attach anew")
        return stream

    def __enter__(self) -> Ticks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._stream is None else f"{self.delivered:,} delivered, {self.skipped:,} skipped"
        return f"<Ticks of feed {self._attachment.feed!r}, {self.mode}: {state}>"


def ticks(
    attachment: Attachment,
    symbols: Iterable[str] | str | None,
    kinds: Iterable[Kind | str] | Kind | str | None,
    start: Start,
    options: Options,
) -> Ticks:
    """Follow a feed from now on, or from the oldest that it has; the parameters are those of `Market.ticks`."""
    selection = Selection(symbols, kinds)
    if start not in ("now", "oldest"):
        raise InvalidArgument(f"start must be 'now' or 'oldest', not {start!r}")

    def begin(session: Session) -> Stream:
        selection.check(session.directory)
        return Stream(session, selection, options, start)

    return Ticks(attachment, selection, options, attachment.read(begin))


def _positive(max_records: int) -> None:
    if max_records < 1:
        raise InvalidArgument(f"max_records must be at least 1, not {max_records}")


def _deadline(timeout: float | None) -> float | None:
    timeout = checked(timeout)
    return None if timeout is None else time.monotonic() + timeout


def _left(deadline: float | None, most_s: float) -> float:
    return most_s if deadline is None else min(most_s, max(0.0, deadline - time.monotonic()))


def _slice_ns(deadline: float | None) -> int:
    return int(_left(deadline, LOOK_S) * 1e9)


_living: weakref.WeakSet[Ticks] = weakref.WeakSet()
_pid = os.getpid()


def _after_fork() -> None:
    global _pid
    _pid = os.getpid()
    for each in list(_living):
        if each._stream is not None:
            each._stream.follower.disown()


os.register_at_fork(after_in_child=_after_fork)
