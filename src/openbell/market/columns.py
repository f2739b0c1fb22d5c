"""The columns of a market: what each one means, its unit, and what it holds before anything has arrived."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Element = TypeVar("Element", np.float64, np.int64)


class Column(Generic[Element]):
    """An attribute that is one column of a market."""

    def __init__(self, meaning: str) -> None:
        self.__doc__ = meaning
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, columns: None, owner: type) -> Column[Element]: ...

    @overload
    def __get__(self, columns: Columns, owner: type) -> NDArray[Element]: ...

    def __get__(self, columns: Columns | None, owner: type) -> Column[Element] | NDArray[Element]:
        return self if columns is None else columns.column(self.name)


class Columns(ABC):
    """The columns, each an array of one 8-byte value a row.

    A price is NaN only as long as nothing has arrived for it; everything else begins with 0. Times are ns since the
    epoch, UTC, 0 for never (or: the vendor sends none). Sizes and sums are in the vendor's units.
    """

    last: Column[np.float64] = Column("Price of the last trade; NaN before the first.")
    size: Column[np.float64] = Column("Size of the last trade.")
    open: Column[np.float64] = Column("Price of the session's first trade seen; NaN before it.")
    high: Column[np.float64] = Column("Highest price traded in the session; NaN before the first trade.")
    low: Column[np.float64] = Column("Lowest price traded in the session; NaN before the first trade.")
    prev_close: Column[np.float64] = Column(
        "Last price of the session before, or the vendor's reference price; NaN if none was seen."
    )
    volume: Column[np.float64] = Column("Sum of the sizes traded in the session.")
    turnover: Column[np.float64] = Column(
        "Sum of price x size in the session, the vendor's own figures where it sends them."
    )
    trades: Column[np.int64] = Column("Number of trades in the session.")
    trade_exchange_ns: Column[np.int64] = Column(
        "The venue's time of the last trade, ns since the epoch; may run backwards."
    )
    trade_sequence: Column[np.int64] = Column("The venue's number of the last trade, as sent; 0 where it has none.")
    bid: Column[np.float64] = Column("Best bid; NaN before the first quote, and where a book has no bids (limit-down).")
    bid_size: Column[np.float64] = Column("Size at the best bid.")
    ask: Column[np.float64] = Column("Best ask; NaN before the first quote, and where a book has no asks (limit-up).")
    ask_size: Column[np.float64] = Column("Size at the best ask.")
    quote_exchange_ns: Column[np.int64] = Column("The venue's time of the last quote, ns since the epoch.")
    quote_sequence: Column[np.int64] = Column("The venue's number of the last quote, as sent; 0 where it has none.")
    receive_ns: Column[np.int64] = Column(
        "When the socket read that brought the last event returned, ns since the epoch."
    )
    updated: Column[np.int64] = Column("Ring position + 1 of the last record applied to the row; 0: none yet.")
    session: Column[np.int64] = Column("The row's trading session as yyyymmdd; 0 for a feed without a calendar.")
    gaps: Column[np.int64] = Column("How often the row's events were interrupted: something may be missing from it.")
    repaired: Column[np.int64] = Column(
        "When `last` was last replaced, after a gap, by the vendor's latest trade, asked for; ns since the epoch, 0: "
        "never. Such a trade is in no sum."
    )

    @abstractmethod
    def column(self, name: str) -> NDArray[Any]:
        """Return the column `name`.

        Raises
        ------
        UnknownColumn
            There is no such column; the message lists them.
        """

    @property
    def book_bids(self) -> NDArray[np.float64]:
        """Bids of the order book, shape (levels, rows), best first; NaN where there is none."""
        return self._levels(0)

    @property
    def book_bid_sizes(self) -> NDArray[np.float64]:
        """Sizes at `book_bids`, the same shape; 0 where there is none."""
        return self._levels(1)

    @property
    def book_asks(self) -> NDArray[np.float64]:
        """Asks of the order book, shape (levels, rows), best first; NaN where there is none."""
        return self._levels(2)

    @property
    def book_ask_sizes(self) -> NDArray[np.float64]:
        """Sizes at `book_asks`, the same shape; 0 where there is none."""
        return self._levels(3)

    @abstractmethod
    def _levels(self, part: int) -> NDArray[np.float64]:
        """Return part 0 to 3 of the book: bids, bid sizes, asks, ask sizes."""


NAMES: tuple[str, ...] = (*(name for name, value in vars(Columns).items() if isinstance(value, Column)), "status")
"""The names of all columns that every feed has, in their order. ``status`` is no attribute here: a `Market` has a
method of that name. A feed with ``book_levels`` has ``book_bid_1`` and so on besides."""

INTERNAL = frozenset({"version", "extra"})
"""Columns of the shared memory that are nobody's business but the core's."""


def public(columns: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Return the names of those `columns` of a snapshot that are shown."""
    return tuple(name for name, _ in columns if name not in INTERNAL)
