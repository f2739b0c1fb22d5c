"""The market of a running feed, as another process sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np

from openbell.core import snapshot as core
from openbell.errors import UnknownSymbol
from openbell.market.bars import Bars, bars_of
from openbell.market.book import Book
from openbell.market.changes import ChangeStream, check
from openbell.market.followed import Followed
from openbell.market.row import Level, Row
from openbell.market.session import FIXED
from openbell.market.snapshot import Snapshot
from openbell.market.taking import names_of, scan_market, take
from openbell.monitor.subscriptions import SubscriptionState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from numpy.typing import NDArray


_GAPS = [name for name, _ in core.COLUMNS].index("gaps")


class Market(Followed):
    """A feed's market, live and read-only; made by `openbell.attach`.

    Five ways to read it:

    ``market["600519.SH"]``
        one symbol's `Row`, consistent in itself. Some 10 us.
    ``market.snapshot()``
        a `Snapshot` of all symbols, each row consistent in itself. Below 1 ms for 11,000.
    ``market.scan("change_pct > 3")``
        a `Snapshot` of those for which an expression holds.
    ``market.ticks()``
        every single record, in order, with every gap in its place.
    ``market.last``, ``market.bid``, ... (every column)
        the live memory as numpy arrays, free. Read-only, indexed by row (`row`, `rows`), always current and **not
        consistent with one another**: between reading `bid` and reading `ask` the quote may have moved, so that the
        bid passes the ask for an instant. Rows that no symbol has hold NaN and 0.

    All of it raises `FeedGone` once the feed was stopped or restarted, and about a second after it was killed; attached
    with ``reattach=True``, it does so only while there is no feed, and goes on with the next run. Whatever was taken
    before belongs to the run that is over: arrays stay readable and keep what they held at the end, and a symbol may
    have another row (`generation` tells the runs apart).

    May be used from several threads. Not after a fork: attach in each process.
    """

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols that the feed knows by now, in row order."""
        return self._session().directory.symbols

    @property
    def rows(self) -> NDArray[np.intp]:
        """The row of each of `symbols`, in the same order: ``market.last[market.rows]`` goes with `symbols`."""
        return self._session().directory.listing()[1].copy()

    def row(self, symbol: str) -> int:
        """Return the row of `symbol` in the live columns; it is the same for as long as the feed runs.

        Raises
        ------
        UnknownSymbol
            The feed has no such symbol; the message names those that are like it.
        """
        return self._session().directory.find(symbol)[0]

    def symbol(self, row: int) -> str:
        """Return the symbol of a row of the live columns.

        Raises
        ------
        KeyError
            No symbol has that row.
        """
        return self._session().directory.symbol(row)

    def __contains__(self, symbol: object) -> bool:
        table = self._session().directory.table
        return isinstance(symbol, str) and table.lookup(symbol.encode("utf-8", "surrogatepass")) >= 0

    def __len__(self) -> int:
        return self._session().directory.table.count

    # ---- prices ----

    def column(self, name: str) -> NDArray[Any]:
        """Return the live column `name`: zero-copy, read-only, one element a row.

        Every column is also an attribute, but ``status``: `status` tells of the feed, ``column("status")`` of symbols.

        Not consistent with other columns; `snapshot` and indexing are. The array keeps the memory mapped for as long
        as it lives, also after `close`.

        Raises
        ------
        UnknownColumn
            There is no such column; the message lists them.
        FeedGone
            The feed was stopped or restarted.
        """
        return self._session().column(name)

    def _levels(self, part: int) -> NDArray[np.float64]:
        return self._session().levels(part)

    def __getitem__(self, symbol: str) -> Row:
        """Return a consistent copy of one symbol's row.

        Raises
        ------
        UnknownSymbol
            The feed has no such symbol; the message names those that are like it.
        FeedGone
            The feed was stopped or restarted.
        """
        session = self._session()
        row, shard = session.directory.find(symbol)
        copy = np.empty((len(session.dtypes), 2), np.uint64)
        session.reader.copy_rows(np.array((row, session.feed_row(shard)), np.intp).data, copy.data)
        values = list(session.row_struct.unpack(copy[:, 0].tobytes()))
        values[_GAPS] += int(copy[_GAPS, 1])
        levels = session.reader.book_levels
        book = tuple(Level(*values[FIXED + level :: levels]) for level in range(levels))
        # Between the version and the last fixed column, both internal, are those that everybody may see.
        return Row._make((symbol, row, *values[1 : FIXED - 1], book, SubscriptionState(session.states[row])))

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

    def book(self, symbol: str) -> Book:
        """Return a consistent copy of one symbol's last known order book.

        Of a feed that keeps no levels (``book_levels = 0``), and of a symbol whose vendor sends no books, it is the
        best bid and offer.

        Raises
        ------
        UnknownSymbol
            The feed has no such symbol; the message names those that are like it.
        FeedGone
            The feed does not run.
        """
        return Book.of(self[symbol])

    def snapshot(
        self,
        symbols: Iterable[str] | str | None = None,
        columns: Iterable[str] | str | None = None,
        only_traded: bool | None = None,
    ) -> Snapshot:
        """Return a copy of all known symbols' rows, or of some, each consistent in itself.

        Never waits for a worker: a row whose worker died in the middle of an update is copied as it was before it.

        Parameters
        ----------
        symbols : iterable of str, or str, optional
            Which ones, in this order. All that the feed knows by default, in row order.
        columns : iterable of str, optional
            Which columns to copy: fewer are quicker. Of derived ones, what they need is copied. All by default.
        only_traded : bool, optional
            True: leave out symbols that have not traded in their session, whose `open` is NaN. False: leave none out.
            By default those of the sources whose configuration says ``only_traded = true``, unless `symbols` are named.

        Returns
        -------
        Snapshot
            Column name to array; element i belongs to ``snapshot.symbols[i]``. `gaps` includes the interruptions of
            the symbol's whole connection.

        Raises
        ------
        UnknownSymbol
            The feed has no symbol of that name.
        UnknownColumn
            There is no column of that name; the message lists them.
        FeedGone
            The feed was stopped or restarted.
        """
        wanted = names_of(symbols)
        names = names_of(columns)
        return self._attachment.read(lambda session: take(session, wanted, names, only_traded))

    def scan(
        self,
        expression: str,
        sort: str | None = None,
        top: int | None = None,
        descending: bool = True,
        columns: Iterable[str] | str | None = None,
        only_traded: bool | None = None,
    ) -> Snapshot:
        """Return a snapshot of the symbols for which an expression holds.

        Parameters
        ----------
        expression : str
            Such as ``change_pct > 3 and volume_z > 2``: see `openbell.market.Expression`.
        sort : str, optional
            Column, or expression, to sort by: ``turnover``, ``abs(change_pct)``, ``symbol``. NaN comes last. Row order
            by default.
        top : int, optional
            Keep at most so many.
        descending : bool
            Greatest first.
        columns : iterable of str, optional
            Which columns to copy besides those that the expressions look at: none is quickest. All by default.
        only_traded : bool, optional
            As in `snapshot`.

        Raises
        ------
        ExpressionError
            An expression cannot be understood; the error says what is wrong, and where.
        UnknownColumn, FeedGone
            As `snapshot`.
        InvalidArgument
            `top` is no whole number from 0.

        Examples
        --------
        ::

            market.scan("change_pct > 3 and spread_bps < 20", sort="turnover", top=20).to_pandas()
        """
        names = names_of(columns)
        return self._attachment.read(
            lambda session: scan_market(session, expression, sort, top, descending, names, only_traded)
        )

    @property
    def keeps_bars(self) -> bool:
        """Whether the feed keeps one-minute bars: what `bars` returns and `volume_z` is computed from.

        Raises
        ------
        FeedGone
            The feed does not run.
        """
        return self._attachment.read(lambda session: session.bars_reader is not None)

    def bars(self, symbol: str | None = None, n: int | None = None) -> Bars:
        """Return a copy of the last one-minute bars of one symbol, or of all.

        Parameters
        ----------
        symbol : str, optional
            Whose; None: everybody's, on one axis of minutes.
        n : int, optional
            How many at most, the present one among them; by default, and at most, as many as the feed keeps (``bars``
            in its configuration).

        Raises
        ------
        FeedError
            The feed keeps no bars.
        UnknownSymbol
            The feed has no such symbol; the message names those that are like it.
        InvalidArgument
            `n` is no whole number from 1.
        FeedGone
            The feed does not run.
        """
        return self._attachment.read(lambda session: bars_of(session, symbol, n))

    def changes(
        self,
        column: str = "last",
        *,
        min_ticks: float | None = None,
        min_pct: float | None = None,
        tick: float | Mapping[str, float] | None = None,
        interval: float = 0.25,
        symbols: Collection[str] | None = None,
        initial: bool = False,
    ) -> ChangeStream:
        """Follow what moves, at most so often: each symbol whose value went far enough since it was last told.

        Nothing queues up for who is slow: he is told of the whole move at once. What it costs grows with what happened
        since the last look, not with the market.

        Parameters
        ----------
        column : str
            What moves: any column of the feed, such as ``last``, ``bid``, ``volume``, ``status``.
        min_ticks : float, optional
            The smallest move that is told, in price increments.
        min_pct : float, optional
            The smallest move that is told, in per cent of what was told last. If both are given, a move must reach
            both; if none is, every change is told.
        tick : float or mapping of str to float, optional
            The price increment, of all symbols or of each. Symbols that the mapping lacks go by `min_pct` alone.
        interval : float
            Seconds between two `Changes` at least.
        symbols : collection of str, optional
            Which ones to follow; by default all, also those that come later.
        initial : bool
            Begin with what is there now: the first `Changes` has every symbol that has a value, `old` being NaN. By
            default what is there now counts as told.

        Returns
        -------
        ChangeStream
            To be iterated over by ``for`` or ``async for``, or asked by its `poll`.

        Raises
        ------
        InvalidArgument
            A threshold makes no sense, or `min_ticks` comes without `tick`.
        UnknownColumn
            There is no such column; the message lists them.
        UnknownSymbol
            The feed has no such symbol; the message names those that are like it.
        FeedGone
            The feed does not run.

        Notes
        -----
        A first price, and one that is not there any more (NaN: nobody bids), are always told: there is no distance to
        compare. Where a session ends and the next one begins `last` does not move, and what is told of the first trade
        is its distance from what was told the day before; sums start anew, which is a move. Attached with
        ``reattach=True`` a stream goes on with the next run of the feed, still by what was told last; that a symbol has
        no price in the new run yet is not told. Moves shorter than the threshold add up until they are told.
        """
        check(min_ticks, min_pct, tick, interval)
        chosen = [symbols] if isinstance(symbols, str) else symbols
        return ChangeStream(
            self._attachment, self._waiters, column, min_ticks or 0.0, min_pct or 0.0, tick, interval, chosen, initial
        )
