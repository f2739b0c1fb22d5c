"""The market of a running feed, as another process sees it."""

from __future__ import annotations

import struct
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from openbell.core import snapshot as core
from openbell.core import words
from openbell.core.snapshot import SnapshotReader
from openbell.errors import FeedError, FeedGone, FeedNotFound, UnknownSymbol
from openbell.market.columns import INTERNAL, Columns, public
from openbell.market.directory import Directory
from openbell.market.pulse import Pulse
from openbell.market.row import Level, Row
from openbell.market.snapshot import Snapshot
from openbell.market.traded import Asked
from openbell.memory.segment import Kind
from openbell.monitor.history import History, Life
from openbell.monitor.status import Status, read_status
from openbell.monitor.subscriptions import ROW_BYTES, SubscriptionState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from openbell.control.client import FeedControl, Subscribed
    from openbell.control.protocol import Change
    from openbell.memory.generation import Generation

_BOOK_PARTS = 4
_GAPS = [name for name, _ in core.COLUMNS].index("gaps")
_FIXED = len(core.COLUMNS)


class Market(Columns):
    """A feed's market, live and read-only; made by `openbell.attach`.

    Three ways to read it:

    ``market["600519.SH"]``
        one symbol's `Row`, consistent in itself. Some 10 us.
    ``market.snapshot()``
        a `Snapshot` of all symbols, each row consistent in itself. Below 1 ms for 5,000.
    ``market.last``, ``market.bid``, ... (every column)
        the live memory as numpy arrays, free. Read-only, indexed by row (`row`, `rows`), always current and **not
        consistent with one another**: between reading `bid` and reading `ask` the quote may have moved, so that the
        bid passes the ask for an instant. Rows that no symbol has hold NaN and 0.

    All of it raises `FeedGone` once the feed was stopped or restarted, and about a second after it was killed. Arrays
    taken before stay readable, and keep what they held at the end.

    May be used from several threads. Not after a fork: attach in each process.
    """

    def __init__(self, feed: str, generation: Generation) -> None:
        self._feed = feed
        self._generation: Generation | None = generation
        self._segment = generation.segments["snapshot"]
        self._reader = SnapshotReader(generation.body("snapshot"))
        columns = self._reader.columns
        self._dtypes = {name: np.dtype("<f8" if kind == "f8" else "<i8") for name, kind in columns}
        self._public = [(index, name) for index, (name, _) in enumerate(columns) if name not in INTERNAL]
        self._row_struct = struct.Struct("=" + "".join("d" if kind == "f8" else "q" for _, kind in columns))
        self._directory = Directory(feed, generation.body("symbols"))
        self._control = generation.open_control()
        self._pulse = Pulse(generation)
        self._live: dict[str, NDArray[Any]] = {}

    # ---- symbols ----

    @property
    def feed(self) -> str:
        """Name of the feed."""
        return self._feed

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols that the feed knows by now, in row order."""
        self._check()
        return self._directory.symbols

    @property
    def rows(self) -> NDArray[np.intp]:
        """The row of each of `symbols`, in the same order: ``market.last[market.rows]`` goes with `symbols`."""
        self._check()
        return self._directory.listing()[1].copy()

    def row(self, symbol: str) -> int:
        """Return the row of `symbol` in the live columns; it is the same for as long as the feed runs.

        Raises
        ------
        UnknownSymbol
            The feed has no such symbol; the message names those that are like it.
        """
        self._check()
        return self._directory.find(symbol)[0]

    def symbol(self, row: int) -> str:
        """Return the symbol of a row of the live columns.

        Raises
        ------
        KeyError
            No symbol has that row.
        """
        self._check()
        return self._directory.symbol(row)

    # ---- subscriptions ----

    def subscribe(self, symbols: Iterable[str], *, source: int | None = None, timeout_s: float = 15.0) -> list[Change]:
        """Subscribe more symbols, without touching the feed's connections, and wait for what comes of it.

        Parameters
        ----------
        symbols : iterable of str
            As the vendor spells them, behind the prefix of their source.
        source : int, optional
            Number of the source in the configuration, from 1, where prefixes do not say which one it is.
        timeout_s : float
            How long the vendor's answers are waited for.

        Returns
        -------
        list of Change
            One a symbol, in order: what became of it, and why.

        Raises
        ------
        FeedError
            Nothing was changed, or nobody knows: a receiver does not answer, or others' commands took all the time.
        """
        self._check()
        return self._feed_control.subscribe(symbols, source=source, timeout_s=timeout_s)

    def unsubscribe(
        self, symbols: Iterable[str], *, source: int | None = None, timeout_s: float = 15.0
    ) -> list[Change]:
        """Unsubscribe symbols, as `subscribe` does. Their rows stay as they are; what still comes is dropped."""
        self._check()
        return self._feed_control.unsubscribe(symbols, source=source, timeout_s=timeout_s)

    def subscriptions(self) -> list[Subscribed]:
        """Return how far all subscriptions are: granted, refused and why, silent, on which connection."""
        self._check()
        return self._feed_control.subscriptions()

    @cached_property
    def _feed_control(self) -> FeedControl:
        # Imported when it is wanted: who only reads has no use for it.
        from openbell.control.client import FeedControl

        assert self._generation is not None
        return FeedControl(self._feed, self._generation)

    def __contains__(self, symbol: object) -> bool:
        self._check()
        return isinstance(symbol, str) and self._directory.table.lookup(symbol.encode("utf-8", "surrogatepass")) >= 0

    def __len__(self) -> int:
        self._check()
        return self._directory.table.count

    def __bool__(self) -> bool:
        # By `__len__`, a market without symbols would be false, and ``if market:`` raise once the feed is gone.
        return True

    # ---- prices ----

    def column(self, name: str) -> NDArray[Any]:
        """Return the live column `name`: zero-copy, read-only, one element a row.

        Every column is also an attribute, but ``status``: `status` tells of the feed, ``column("status")`` of symbols.

        Not consistent with other columns; `snapshot` and indexing are. The array keeps the memory mapped for as long
        as it lives, also after `close`.

        Raises
        ------
        KeyError
            There is no such column; the message lists them.
        FeedGone
            The feed was stopped or restarted.
        """
        self._check()
        array = self._live.get(name)
        if array is None:
            known = public(self._reader.columns)
            if name not in known:
                raise KeyError(f"no column {name!r}; the columns are {', '.join(known)}")
            offset = self._reader.column_offset(name)
            array = np.frombuffer(self._segment.body, self._dtypes[name], self._reader.data_rows, offset)
            self._live[name] = array
        return array

    def _levels(self, part: int) -> NDArray[np.float64]:
        self._check()
        levels, rows = self._reader.book_levels, self._reader.data_rows
        if not levels:
            return np.empty((0, rows))
        first = (_FIXED + part * levels) * self._reader.stride
        base = np.frombuffer(
            self._segment.body, np.uint8, levels * self._reader.stride, self._reader.columns_at + first
        )
        return np.ndarray((levels, rows), np.float64, base, strides=(self._reader.stride, 8))

    def __getitem__(self, symbol: str) -> Row:
        """Return a consistent copy of one symbol's row.

        Raises
        ------
        UnknownSymbol
            The feed has no such symbol; the message names those that are like it.
        FeedGone
            The feed was stopped or restarted.
        """
        self._check()
        row, shard = self._directory.find(symbol)
        copy = np.empty((len(self._dtypes), 2), np.uint64)
        self._reader.copy_rows(np.array((row, self._feed_row(shard)), np.intp).data, copy.data)
        values = list(self._row_struct.unpack(copy[:, 0].tobytes()))
        values[_GAPS] += int(copy[_GAPS, 1])
        levels = self._reader.book_levels
        book = tuple(Level(*values[_FIXED + level :: levels]) for level in range(levels))
        # Between the version and the last fixed column, both internal, are those that everybody may see.
        return Row._make((symbol, row, *values[1 : _FIXED - 1], book, SubscriptionState(self._states[row])))

    @overload
    def get(self, symbol: str) -> Row | None: ...

    @overload
    def get(self, symbol: str, default: Row) -> Row: ...

    def get(self, symbol: str, default: Row | None = None) -> Row | None:
        """Return ``market[symbol]``, or `default` if the feed has no such symbol."""
        try:
            return self[symbol]
        except UnknownSymbol:
            return default

    def snapshot(self, only_traded: bool | None = None) -> Snapshot:
        """Return a copy of all known symbols' rows, each consistent in itself.

        Never waits for a worker: a row whose worker died in the middle of an update is copied as it was before it.

        Parameters
        ----------
        only_traded : bool, optional
            True: leave out symbols that have not traded in their session, whose `open` is NaN. False: leave none out.
            By default those of the sources whose configuration says ``only_traded = true``.

        Returns
        -------
        Snapshot
            Column name to array; element i belongs to ``snapshot.symbols[i]``. `gaps` includes the interruptions of
            the symbol's whole connection.

        Raises
        ------
        FeedGone
            The feed was stopped or restarted.
        """
        self._check()
        symbols, rows, shards = self._directory.listing()
        count = len(symbols)
        workers = range(self._reader.workers)
        wanted = np.concatenate((rows, np.array([self._feed_row(worker) for worker in workers], np.intp)))
        copy = np.empty((len(self._dtypes), len(wanted)), np.uint64)
        taken_ns = words.monotonic_ns() + self._control.clock_offset_ns
        undone = self._reader.copy_rows(wanted.data, copy.data)
        columns = {name: copy[index, :count].view(self._dtypes[name]) for index, name in self._public}
        columns["gaps"] += copy[_GAPS, count:].view(np.int64)[shards]
        book = copy[_FIXED:, :count].view(np.float64).reshape(_BOOK_PARTS, self._reader.book_levels, count)
        taken = Snapshot(self._feed, symbols, rows.copy(), columns, taken_ns, undone, book, self._states[rows])
        if only_traded is None and self._asked.anywhere:
            return taken.where(~np.isnan(taken.open) | ~self._asked.of(symbols))
        return taken.where(~np.isnan(taken.open)) if only_traded else taken

    @cached_property
    def _states(self) -> NDArray[np.uint8]:
        """How far the subscription of each row is, live: the lowest byte of its first word."""
        assert self._generation is not None
        try:
            body = self._generation.open("subscriptions", Kind.SUBSCRIPTIONS)
        except FeedNotFound:
            raise FeedGone(f"feed {self._feed!r} was stopped or restarted; attach again") from None
        return np.ndarray((self._reader.data_rows,), np.uint8, body, strides=(ROW_BYTES,))

    @cached_property
    def _asked(self) -> Asked:
        assert self._generation is not None
        try:
            return Asked(self._generation.config)
        except FeedNotFound:
            raise FeedGone(f"feed {self._feed!r} was stopped or restarted; attach again") from None

    def _feed_row(self, worker: int) -> int:
        return core.feed_row(self._reader.data_rows, worker)

    # ---- the feed itself ----

    @property
    def alive(self) -> bool:
        """Whether the feed still runs; does not raise. Of one that was killed it is known after about a second."""
        return self._generation is not None and self._pulse.beats

    def status(self) -> Status:
        """Return what the feed's processes, connections and rings say about themselves.

        Returns
        -------
        Status
            Of the feed. The trading status of the symbols is ``market.column("status")``, or in `snapshot`.

        Raises
        ------
        FeedGone
            The feed was stopped or restarted.
        """
        self._check()
        assert self._generation is not None
        return read_status(self._feed, self._generation, self._reader, len(self))

    def history(self, connection: int) -> list[Life]:
        """Return the last lives of a connection, oldest first: one a socket, with how and why it ended.

        Parameters
        ----------
        connection : int
            Its `ConnectionStatus.index`.

        Raises
        ------
        IndexError
            The feed has no such connection.
        FeedGone
            The feed was stopped or restarted.
        """
        self._check()
        assert self._generation is not None
        return list(History(self._generation.open("history", Kind.HISTORY), connection).lives())

    def close(self) -> None:
        """Detach. The feed does not notice.

        The memory is unmapped at once, unless live columns (numpy arrays) are still in use: it then stays mapped, and
        those arrays valid, until the last of them is gone. May be called again.
        """
        generation, self._generation = self._generation, None
        if generation is None:
            return
        self._live.clear()
        self.__dict__.pop("_states", None)
        del self._reader, self._directory, self._control, self._segment, self._pulse
        generation.close()

    def _check(self) -> None:
        if self._generation is None:
            raise FeedError(f"this market of feed {self._feed!r} is closed; attach again")
        if not self._pulse.beats:
            raise FeedGone(f"feed {self._feed!r} was stopped, killed or restarted; attach again")

    def __enter__(self) -> Market:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process attaches for itself.
        from openbell.market.attach import attach

        return attach, (self._feed,)

    def __repr__(self) -> str:
        if self._generation is None:
            return f"<Market of feed {self._feed!r}: closed>"
        return f"<Market of feed {self._feed!r}: {'live' if self.alive else 'gone'}>"
