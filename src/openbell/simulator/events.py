"""What a captured message means, free of any venue's dialect."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Kind(Enum):
    """How a message counts."""

    TRADE = "trade"
    QUOTE = "quote"
    BOOK = "book"
    TICKER = "ticker"
    DEPTH = "depth"
    OTHER = "other"


@dataclass(slots=True)
class Trade:
    """A trade as sent: decimals as text.

    Attributes
    ----------
    size : str or None
        None where the venue sends none.
    turnover : str or None
        As sent, or None where the venue sends none (it is price times size then).
    is_market : bool
        False for what is reported like a trade but is none (insurance fund and the like).
    time : int
        As sent; the unit shows in its magnitude. 0: none.
    """

    symbol: str
    price: str
    size: str | None
    turnover: str | None
    is_market: bool
    time: int
    sequence: int


@dataclass(slots=True)
class Quote:
    """Best bid and offer as sent: decimals as text."""

    symbol: str
    bid: str
    bid_size: str
    ask: str
    ask_size: str
    time: int
    sequence: int


@dataclass(slots=True)
class Book:
    """A whole order book as sent, best level first: price and size of each level as text, a size that is not sent None.

    A side that is not there is empty.
    """

    symbol: str
    bids: list[tuple[str, str | None]]
    asks: list[tuple[str, str | None]]
    time: int
    sequence: int


@dataclass(slots=True)
class Ticker:
    """Running figures of a day as sent: decimals as text."""

    symbol: str
    price: str
    reference: str
    volume: str
    turnover: str
    time: int


Event = Trade | Quote | Book | Ticker


@dataclass(slots=True)
class Message:
    """A captured message, ready to be sent.

    Attributes
    ----------
    whole : bytes
        The message as captured (relabelled if asked).
    wrapped : bool
        Whether it stands in the envelope of a combined stream.
    key : str or None
        What a client subscribes to get it; None: everybody gets it.
    symbol : str or None
        The symbol it is about, if it is about one.
    event : Event or None
        Its content where that changes a snapshot.
    """

    whole: bytes
    wrapped: bool
    key: str | None
    symbol: str | None
    kind: Kind
    event: Event | None


class Dialect(Protocol):
    """How a venue's messages are read and relabelled."""

    vendor: str

    def parse(self, payload: bytes) -> Message:
        """Read a message; what is not understood is of kind OTHER, never an error."""
        ...

    def generated_symbols(self, count: int) -> list[str]:
        """Return `count` made-up symbols in the venue's style."""
        ...

    def relabel(self, message: Message, symbol: str) -> Message:
        """Make the message be about another symbol, in place, and return it; unchanged if it is about none."""
        ...


def nanoseconds(time: int) -> int:
    """Turn a time since the epoch of whatever unit into ns, by its magnitude (0 stays 0)."""
    for limit, factor in ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3)):
        if time < limit:
            return time * factor
    return time
