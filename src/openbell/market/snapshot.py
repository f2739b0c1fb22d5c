"""A copy of the market."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from openbell.errors import FeedGone, InvalidArgument, UnknownColumn, UnknownSymbol
from openbell.market import export
from openbell.market.columns import NAMES, Column
from openbell.market.derived import DERIVED, FORMULAS, WIDER, DerivedColumns, compute, needs
from openbell.market.row import Level, Row
from openbell.market.scan import scan
from openbell.monitor.subscriptions import SubscriptionState

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow
    from numpy.typing import NDArray

    from openbell.market.expression import Expression


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns a copy has.

    Attributes
    ----------
    places : dict of str to int
        Where in the copy each column is, in their order.
    dtypes : dict of str to numpy.dtype
    book_levels : int
        Levels of the order book a side, behind the columns that all feeds have; 0 if only some columns were copied.
    known : tuple of str
        All columns that an expression may name: those, and the derived ones.
    """

    places: Mapping[str, int]
    dtypes: Mapping[str, np.dtype[Any]]
    book_levels: int
    known: tuple[str, ...]

    @classmethod
    def of(cls, dtypes: Mapping[str, np.dtype[Any]], book_levels: int = 0) -> Layout:
        """Return the layout of a copy of the columns `dtypes`, in their order."""
        return cls({name: at for at, name in enumerate(dtypes)}, dtypes, book_levels, (*dtypes, *DERIVED))


def _left_behind(rows: NDArray[np.intp], taken_ns: int) -> NDArray[np.float64]:
    raise FeedGone("a snapshot that was pickled has no bars for volume_z; name it in columns= to take it along")


VolumeZ = Callable[["NDArray[np.intp]", int], "NDArray[np.float64]"]
"""From rows and the time of the copy to the column `volume_z`."""


class Snapshot(DerivedColumns, Mapping[str, "NDArray[Any]"]):
    """Symbols at (nearly) one instant, each row consistent in itself.

    A mapping of column name to array; every column is also an attribute: ``snapshot["last"] is snapshot.last``. The
    arrays are copies: yours to keep and to change, whatever becomes of the feed. Element i of each belongs to
    ``symbols[i]``. Rows are copied one after the other while the market moves: what belongs to one symbol fits
    together, two symbols may be some microseconds apart.

    Derived columns (`change_pct`, `spread_bps`, ...) are computed from the copy when they are first asked for, as
    attributes or by name, and kept. They are not among the names that iterating over the snapshot gives, which are
    those that were copied. Only `volume_z` is more than that: it looks at the feed's bars when it is first asked for,
    and therefore needs the feed unless it was named in ``columns`` when the snapshot was taken.

    Attributes
    ----------
    feed : str
        Name of the feed.
    symbols : tuple of str
        The symbols, in row order, or in the order in which they were asked for.
    rows : numpy.ndarray of intp, shape (len(symbols),)
        Their rows in the live columns of the `Market`; may be read-only.
    taken_ns : int
        When the copy was begun, ns since the epoch.
    book_bids, book_bid_sizes, book_asks, book_ask_sizes : numpy.ndarray of float64, shape (levels, len(symbols))
        The order book, best level first; no levels where the feed keeps none, or only some columns were copied.
    subscriptions : numpy.ndarray of uint8, shape (len(symbols),)
        How far each subscription is, a `SubscriptionState`: rows of what was unsubscribed are what they were then.
    undone : int
        How many rows were caught in the middle of an update by a worker that was dead or stopped, and so show the
        values from before that update.
    """

    status: Column[np.int64] = Column("Trading status of the symbol.")

    def __init__(
        self,
        feed: str,
        symbols: tuple[str, ...],
        rows: NDArray[np.intp],
        layout: Layout,
        block: NDArray[np.uint64],
        taken_ns: int,
        undone: int,
        subscriptions: NDArray[np.uint8],
        volume_z: VolumeZ | None = None,
    ) -> None:
        self.feed = feed
        self.symbols = symbols
        self.rows = rows
        self.taken_ns = taken_ns
        self.undone = undone
        self.subscriptions = subscriptions
        self._layout = layout
        self._block = block
        # Those that somebody has asked for: making views of them all would be a good part of taking a snapshot.
        self._columns: dict[str, NDArray[Any]] = {}
        self._derived: dict[str, NDArray[Any]] = {}
        self._volume_z = volume_z
        self._turnover: float | None = None
        self._places: dict[str, int] = {}

    @classmethod
    def of_columns(
        cls,
        feed: str,
        symbols: tuple[str, ...],
        columns: Mapping[str, NDArray[Any]],
        taken_ns: int = 0,
        undone: int = 0,
    ) -> Snapshot:
        """Return a snapshot of one's own making, to test with what reads snapshots.

        Parameters
        ----------
        feed : str
        symbols : tuple of str
        columns : mapping of str to numpy.ndarray
            Of 8-byte values, one a symbol; copied.
        taken_ns, undone : int
        """
        block = np.array([np.asarray(column).view(np.uint64) for column in columns.values()], np.uint64)
        layout = Layout.of({name: each.dtype for name, each in columns.items()})
        rows = np.arange(len(symbols), dtype=np.intp)
        states = np.zeros(len(symbols), np.uint8)
        return cls(feed, symbols, rows, layout, block.reshape(len(columns), len(symbols)), taken_ns, undone, states)

    def column(self, name: str) -> NDArray[Any]:
        """Return the column `name`, copied or derived, shape (len(symbols),).

        Raises
        ------
        UnknownColumn
            There is no such column, or what it needs was not copied; the message lists the columns.
        FeedGone
            It is `volume_z`, was not asked for before, and the feed does not run any more.
        """
        found = self._columns.get(name)
        if found is None:
            found = self._derived.get(name)
        if found is None and name in self._layout.places:
            found = self._block[self._layout.places[name]].view(self._layout.dtypes[name])
            self._columns[name] = found
        if found is None:
            self._derived[name] = found = self._derive(name)
        return found

    def _derive(self, name: str) -> NDArray[Any]:
        if name not in FORMULAS and name not in WIDER:
            # Of the whole feed, or only of what was asked for.
            raise UnknownColumn(name, (*self._layout.places, *DERIVED), copied=name in NAMES)
        if missing := [each for each in needs(name) if each not in self._layout.places]:
            raise UnknownColumn(name, tuple(self._layout.places), needs=tuple(missing))
        if name in FORMULAS:
            return compute(name, self)
        if name == "turnover_share":
            turnover = self.column("turnover")
            total = self._total_turnover()
            return turnover / total if total > 0 else np.full(len(turnover), np.nan)
        if name == "staleness":
            received = self.column("receive_ns")
            # What was received while the copy was taken is not older than nothing.
            return np.where(received == 0, np.nan, np.maximum((self.taken_ns - received) / 1e9, 0.0))
        if self._volume_z is None:
            return np.full(len(self.symbols), np.nan)
        return self._volume_z(self.rows, self.taken_ns)

    def _total_turnover(self) -> float:
        if self._turnover is None:
            self._turnover = float(self.column("turnover").sum())
        return self._turnover

    def is_computed(self, name: str) -> bool:
        """Say whether column `name` costs nothing any more: it was copied, or was asked for before."""
        return name in self._layout.places or name in self._derived

    def keep(self, name: str, column: NDArray[Any]) -> None:
        """Take a derived column that was computed from the others."""
        self._derived[name] = column

    def _levels(self, part: int) -> NDArray[np.float64]:
        levels = self._layout.book_levels
        first = len(NAMES) + part * levels
        return self._block[first : first + levels].view(np.float64)

    def where(self, keep: NDArray[np.bool_] | Sequence[bool]) -> Snapshot:
        """Return a snapshot of some of the symbols, in the same order.

        Parameters
        ----------
        keep : array_like of bool, shape (len(symbols),)
            Which ones, such as ``snapshot.volume > 0``.

        Raises
        ------
        InvalidArgument
            It is no mask, or one of another snapshot.
        """
        # By places: for a mask, numpy counts anew for every column.
        chosen: NDArray[Any] = np.asarray(keep)
        if chosen.shape != (len(self.symbols),) or (chosen.dtype != np.bool_ and chosen.size):
            raise InvalidArgument(
                f"keep must be {len(self.symbols):,} booleans, one a symbol, not {chosen.dtype} of shape {chosen.shape}"
            )
        return self.take(np.flatnonzero(chosen))

    def take(self, places: NDArray[np.intp] | Sequence[int]) -> Snapshot:
        """Return a snapshot of some of the symbols, in an order of one's own.

        Parameters
        ----------
        places : array_like of int
            Indices in `symbols`, such as ``numpy.argsort(snapshot.turnover)``.
        """
        given = np.asarray(places)
        if given.dtype == np.bool_:
            raise InvalidArgument("places are indices, and these are booleans: a mask is for `where`")
        chosen: NDArray[np.intp] = given.astype(np.intp, copy=False)
        symbols = tuple(map(self.symbols.__getitem__, chosen.tolist()))
        some = Snapshot(
            self.feed,
            symbols,
            self.rows[chosen],
            self._layout,
            np.take(self._block, chosen, 1),
            self.taken_ns,
            self.undone,
            self.subscriptions[chosen],
            self._volume_z,
        )
        some._derived = {name: column[chosen] for name, column in self._derived.items()}
        if "turnover" in self._layout.places:
            # Shares are those of what was taken, however little of it is kept.
            some._turnover = self._total_turnover()
        return some

    def scan(
        self,
        expression: str | Expression,
        sort: str | Expression | None = None,
        top: int | None = None,
        descending: bool = True,
    ) -> Snapshot:
        """Return a snapshot of the symbols for which an expression holds.

        Parameters
        ----------
        expression : str or Expression
            Such as ``change_pct > 3 and spread_bps < 20``: see `openbell.market.Expression`.
        sort : str or Expression, optional
            Column, or expression, to sort by: ``turnover``, ``abs(change_pct)``, ``symbol``. NaN comes last. By default
            the order stays.
        top : int, optional
            Keep at most so many.
        descending : bool
            Greatest first.

        Raises
        ------
        ExpressionError
            An expression cannot be understood; the error says what is wrong, and where.
        InvalidArgument
            `top` is no whole number from 0.
        """
        return self.take(scan(self, self._layout.known, expression, sort, top, descending))

    def matches(self, expression: str | Expression) -> NDArray[np.intp]:
        """Return the indices in `symbols` of those for which an expression holds, in order.

        The quickest way of asking where nothing but the places is needed: `scan` copies the rows, too.

        Raises
        ------
        ExpressionError
            As `scan`.
        """
        return scan(self, self._layout.known, expression, None, None, True)

    def to_dict(self, columns: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Return a plain dict of arrays: ``symbol``, and the columns by name.

        Nothing is copied: the arrays of columns are those of the snapshot.

        Parameters
        ----------
        columns : sequence of str, optional
            Which ones, derived ones too. By default all that were copied.
        """
        return export.to_dict(self, columns)

    def to_arrow(self, columns: Sequence[str] | None = None) -> pyarrow.Table:
        """Return a `pyarrow.Table` with ``symbol`` and the columns, without copying them.

        What is not there is null: NaN in float64 columns, and times that are 0. Times are ``timestamp[ns, tz=UTC]``;
        `session` stays a whole number, yyyymmdd. The table borrows the snapshot's arrays, and shows later changes of
        them.

        Parameters
        ----------
        columns : sequence of str, optional
            Which ones, derived ones too. By default all that were copied.

        Raises
        ------
        MissingExtra
            pyarrow is not installed: ``pip install "openbell[arrow]"``.
        """
        return export.to_arrow(self, columns)

    def to_polars(self, columns: Sequence[str] | None = None) -> polars.DataFrame:
        """Return a `polars.DataFrame` of the same, without copying numbers: nulls and UTC times as in `to_arrow`.

        Raises
        ------
        MissingExtra
            polars or pyarrow is not installed: ``pip install "openbell[polars]"``.
        """
        return export.to_polars(self, columns)

    def to_pandas(self, columns: Sequence[str] | None = None) -> pandas.DataFrame:
        """Return a `pandas.DataFrame` with the symbols as its index.

        Numbers are not copied. What is not there is NaN, as here, and NaT in times, which are ``datetime64[ns, UTC]``.

        Raises
        ------
        MissingExtra
            pandas is not installed: ``pip install "openbell[pandas]"``.
        """
        return export.to_pandas(self, columns)

    def place(self, symbol: str) -> int:
        """Return the index of `symbol` in `symbols` and in every column.

        Raises
        ------
        UnknownSymbol
            The snapshot has no such symbol.
        """
        if not self._places:
            self._places = {name: place for place, name in enumerate(self.symbols)}
        try:
            return self._places[symbol]
        except KeyError:
            raise UnknownSymbol(symbol, self.feed, self.symbols) from None

    def row(self, symbol: str) -> Row:
        """Return what the snapshot holds of `symbol`.

        Raises
        ------
        UnknownSymbol
            The snapshot has no such symbol.
        UnknownColumn
            Only some columns were copied.
        """
        place = self.place(symbol)
        values = [self.column(name).item(place) for name in NAMES]
        levels = self._layout.book_levels
        book_of = self._block[len(NAMES) : len(NAMES) + 4 * levels, place].view(np.float64)
        book = tuple(Level(*book_of[level::levels].tolist()) for level in range(levels))
        subscription = SubscriptionState(self.subscriptions[place])
        return Row._make((symbol, int(self.rows[place]), *values, book, subscription))

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.column(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._layout.places)

    def __len__(self) -> int:
        return len(self._layout.places)

    def __getstate__(self) -> dict[str, Any]:
        # The bars stay where they are: another process is told what to do about it.
        return self.__dict__ | {"_volume_z": self._volume_z and _left_behind}

    def __eq__(self, other: object) -> bool:
        # Mapping would compare arrays by truth value. Two snapshots are the same only if they are one.
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<Snapshot of feed {self.feed!r}: {len(self.symbols):,} symbols, {len(self)} columns>"
