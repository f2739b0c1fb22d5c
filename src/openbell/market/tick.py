"""One record of the stream, as Python likes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from openbell.record import Flag, GapReason, Kind, MarketStatus, Side

_TRADE = (Kind.TRADE, Kind.REPAIR)
_BOOK = (Kind.QUOTE, Kind.LEVEL)
_BY_READER = (GapReason.LAP, GapReason.CUT)


@dataclass(frozen=True, slots=True)
class Gap:
    """What a reader was not given, as far as anybody knows."""

    reason: GapReason
    count: int | None
    """How many: with LAP and CUT exactly this many records of the rings, wanted or not; otherwise events. None: nobody
    can know."""
    first: int | None
    last: int | None
    """With LAP and CUT the first and the last ring position that was missed, with VENUE_HOLE the first and the last of
    the vendor's numbers that did not come. Otherwise from when to when something may be missing, ns since the epoch;
    None: not known, or not over yet."""


class Tick(NamedTuple):
    """One record. What a record has not, is None.

    The properties name what `a` to `d` mean for the record's kind; they are None for every other kind. What is a group
    in the stream (a book, trades that were merged) comes as several ticks, one after the other, from the one with
    `first_of_group` to the one with `last_of_group`.
    """

    symbol: str | None
    """None: it concerns no single symbol."""
    kind: int
    """A `Kind`; compares equal to its members."""
    side: int
    flags: int
    exchange_ns: int
    """When the venue says that it happened, ns since the epoch; 0: it does not say."""
    receive_ns: int
    """When the socket read that brought it returned, ns since the epoch."""
    sequence: int
    """The vendor's number, as sent; 0 where it has none."""
    a: float | int | None
    b: float | int | None
    c: float | int | None
    d: float | int | None
    row: int | None
    """Row of the symbol in the live columns of this run of the feed."""

    @property
    def price(self) -> float | None:
        """Price of a TRADE, TICKER or REPAIR; the last one of merged TRADES."""
        if self.kind in _TRADE or self.kind == Kind.TICKER or (self.kind == Kind.TRADES and self.first_of_group):
            return self.a
        return None

    @property
    def size(self) -> float | None:
        """Size of a TRADE or REPAIR; the last one of merged TRADES."""
        return self.b if self.kind in _TRADE or (self.kind == Kind.TRADES and self.first_of_group) else None

    @property
    def turnover(self) -> float | None:
        """Turnover of a TRADE, where the vendor sends it."""
        return self.c if self.kind == Kind.TRADE else None

    @property
    def aggressor(self) -> Side | None:
        """Who crossed the spread in a TRADE."""
        return Side(self.side) if self.kind == Kind.TRADE and self.side in (0, 1, 2) else None

    @property
    def bid(self) -> float | None:
        """Best bid of a QUOTE, or that of a LEVEL."""
        return self.a if self.kind in _BOOK else None

    @property
    def bid_size(self) -> float | None:
        """Size at `bid`."""
        return self.b if self.kind in _BOOK else None

    @property
    def ask(self) -> float | None:
        """Best ask of a QUOTE, or that of a LEVEL."""
        return self.c if self.kind in _BOOK else None

    @property
    def ask_size(self) -> float | None:
        """Size at `ask`."""
        return self.d if self.kind in _BOOK else None

    @property
    def level(self) -> int | None:
        """Which level of the book a LEVEL is, from 1."""
        return self.side if self.kind == Kind.LEVEL else None

    @property
    def reference_price(self) -> float | None:
        """The vendor's reference price in a TICKER."""
        return self.b if self.kind == Kind.TICKER else None

    @property
    def cumulative_volume(self) -> float | None:
        """The vendor's own volume of the session in a TICKER."""
        return self.c if self.kind == Kind.TICKER else None

    @property
    def cumulative_turnover(self) -> float | None:
        """The vendor's own turnover of the session in a TICKER."""
        return self.d if self.kind == Kind.TICKER else None

    @property
    def session(self) -> int | None:
        """The trading session that a STATUS tells, as yyyymmdd."""
        return int(self.a) if self.kind == Kind.STATUS and self.a is not None else None

    @property
    def status(self) -> MarketStatus | None:
        """The trading status that a STATUS tells."""
        return MarketStatus(int(self.b)) if self.kind == Kind.STATUS and self.b is not None else None

    @property
    def gap(self) -> Gap | None:
        """What is missing, if this is a GAP."""
        if self.kind != Kind.GAP or self.a is None:
            return None
        count = None if self.b is None or self.b < 0 else int(self.b)
        first = None if self.c is None else int(self.c)
        last = None if self.d is None else int(self.d)
        return Gap(GapReason(int(self.a)), count, first, last)

    @property
    def first_of_group(self) -> bool:
        """Whether a group of records begins with this one."""
        return bool(self.flags & Flag.FIRST)

    @property
    def last_of_group(self) -> bool:
        """Whether a group of records ends with this one."""
        return bool(self.flags & Flag.LAST)
