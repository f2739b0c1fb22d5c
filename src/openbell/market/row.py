"""One symbol's row, as it was at one instant."""

from __future__ import annotations

from typing import NamedTuple

from openbell.monitor.subscriptions import SubscriptionState


class Level(NamedTuple):
    """One level of an order book, both sides; NaN and 0 for a side that has none."""

    bid: float
    bid_size: float
    ask: float
    ask_size: float


class Row(NamedTuple):
    """A consistent copy of one row: all values belong to the same instant of the symbol.

    Prices are NaN before anything has arrived for them. Times are ns since the epoch, UTC; 0 means never. What each
    value means is said at the column of the same name, see `openbell.market.Market`.
    """

    symbol: str
    row: int
    last: float
    size: float
    open: float
    high: float
    low: float
    prev_close: float
    volume: float
    turnover: float
    trades: int
    trade_exchange_ns: int
    trade_sequence: int
    bid: float
    bid_size: float
    ask: float
    ask_size: float
    quote_exchange_ns: int
    quote_sequence: int
    receive_ns: int
    updated: int
    session: int
    gaps: int
    """Interruptions of this symbol's events, those of its whole connection included."""
    repaired: int
    """When `last` was last replaced by the vendor's latest trade, asked for after a gap; 0: never."""
    status: int
    book: tuple[Level, ...] = ()
    """The order book, best level first: as many levels as the feed keeps (``book_levels``)."""
    subscription: SubscriptionState = SubscriptionState.NONE
    """How far its subscription is. UNSUBSCRIBED: nothing of it is applied any more, the row is what it was then."""
