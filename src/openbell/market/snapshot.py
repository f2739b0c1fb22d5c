"""A copy of the whole market."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np

from openbell.errors import UnknownSymbol
from openbell.market.columns import NAMES, Column, Columns
from openbell.market.row import Level, Row
from openbell.monitor.subscriptions import SubscriptionState

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Snapshot(Columns, Mapping[str, "NDArray[Any]"]):
    """All known symbols at (nearly) one instant, each row consistent in itself.

    A mapping of column name to array; every column is also an attribute: ``snapshot["last"] is snapshot.last``. The
    arrays are copies: yours to keep and to change, whatever becomes of the feed. Element i of each belongs to
    ``symbols[i]``. Rows are copied one after the other while the market moves: what belongs to one symbol fits
    together, two symbols may be some microseconds apart.

    Attributes
    ----------
    feed : str
        Name of the feed.
    symbols : tuple of str
        The symbols, in row order.
    rows : numpy.ndarray of intp, shape (len(symbols),)
        Their rows in the live columns of the `Market`.
    taken_ns : int
        When the copy was begun, ns since the epoch.
    book_bids, book_bid_sizes, book_asks, book_ask_sizes : numpy.ndarray of float64, shape (levels, len(symbols))
        The order book, best level first; no levels where the feed keeps none.
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
        columns: dict[str, NDArray[Any]],
        taken_ns: int,
        undone: int,
        book: NDArray[np.float64] | None = None,
        subscriptions: NDArray[np.uint8] | None = None,
    ) -> None:
        self.feed = feed
        self.symbols = symbols
        self.rows = rows
        self.taken_ns = taken_ns
        self.undone = undone
        self._columns = columns
        self._book = book
        self.subscriptions = np.zeros(len(symbols), np.uint8) if subscriptions is None else subscriptions
        self._places: dict[str, int] = {}

    def column(self, name: str) -> NDArray[Any]:
        """Return the column `name`, shape (len(symbols),).

        Raises
        ------
        KeyError
            There is no such column; the message lists them.
        """
        try:
            return self._columns[name]
        except KeyError:
            raise KeyError(f"no column {name!r}; the columns are {', '.join(self._columns)}") from None

    def _levels(self, part: int) -> NDArray[np.float64]:
        if self._book is None:
            return np.empty((0, len(self.symbols)))
        part_of: NDArray[np.float64] = self._book[part]
        return part_of

    def where(self, keep: NDArray[np.bool_]) -> Snapshot:
        """Return a snapshot of some of the symbols.

        Parameters
        ----------
        keep : numpy.ndarray of bool, shape (len(symbols),)
            Which ones, such as ``snapshot.volume > 0``.
        """
        symbols = tuple(compress(self.symbols, keep.tolist()))
        columns = {name: column[keep] for name, column in self._columns.items()}
        book = None if self._book is None else self._book[:, :, keep]
        kept = self.subscriptions[keep]
        return Snapshot(self.feed, symbols, self.rows[keep], columns, self.taken_ns, self.undone, book, kept)

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
        """
        place = self.place(symbol)
        values = (self._columns[name].item(place) for name in NAMES)
        levels = [] if self._book is None else self._book[:, :, place].T.tolist()
        book = tuple(Level(*level) for level in levels)
        subscription = SubscriptionState(self.subscriptions[place])
        return Row._make((symbol, int(self.rows[place]), *values, book, subscription))

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.column(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __eq__(self, other: object) -> bool:
        # Mapping would compare arrays by truth value. Two snapshots are the same only if they are one.
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<Snapshot of feed {self.feed!r}: {len(self.symbols):,} symbols, {len(self)} columns>"
