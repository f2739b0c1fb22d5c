"""The ``[feed]`` table: the name, the processes and the shared memory."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta, Struct

from openbell.errors import ConfigError

Overflow = Literal["block", "conflate", "drop"]

_FEED_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# It travels on a command line: nothing that could pass for an option.
_CALENDAR_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,31}")


class Feed(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The ``[feed]`` table: the name, the processes and the shared memory.

    Attributes
    ----------
    name : str
        Name of the feed, by which readers attach: letters, digits, ``.``, ``_``, ``-``; at most 64.
    workers : int
        Worker processes, 1 to 64.
    receivers : int
        Receiver processes, 1 to 16; the connections of all sources are dealt out to them.
    symbols_capacity : int
        Most symbols the feed can ever hold, 1 to 2**24.
    ring_capacity : int
        Records in the ring between the receiver and a worker, 64 bytes each: a power of two from 8 to 2**30.
    wait : str
        How a worker waits for records: ``"adaptive"``, ``"park"``, ``"yield"`` or ``"spin"``.
    overflow : str
        What happens when a ring is full. ``"block"``: reading from the socket pauses; ``"conflate"``: what waits is
        merged, per symbol; ``"drop"``: it is dropped, and counted.
    max_hold_ms : int
        For how long a tethered reader that lags a whole ring may hold up the receiver before it is cut off, 0 to 2,000.
    book_levels : int
        Levels of the order book in the snapshot, 0 to 10; 0: none beyond the best bid and ask.
    bars : int
        One-minute bars kept a symbol, the present one among them, 0 to 1440; 0: none.
    calendar : str
        Trading calendar by which sessions begin and end, a name of the library ``exchange_calendars`` such as
        ``"XSHG"``; empty: none.
    roll_minutes_before_open : int
        How long before a session's open the rows roll over to it.
    worker_rate_limit : int
        Records a second that a worker applies at most, for demonstrations and tests; 0: no limit.
    exchange_latency : bool
        Keep a histogram of the latency from the vendor's event time to the snapshot, too.
    """

    name: str
    workers: Annotated[int, Meta(ge=1, le=64)] = 2
    receivers: Annotated[int, Meta(ge=1, le=16)] = 1
    symbols_capacity: Annotated[int, Meta(ge=1, le=1 << 24)] = 16384
    ring_capacity: Annotated[int, Meta(ge=8, le=1 << 30)] = 65536
    wait: Literal["adaptive", "park", "yield", "spin"] = "adaptive"
    overflow: Overflow = "block"
    max_hold_ms: Annotated[int, Meta(ge=0, le=2000)] = 100
    book_levels: Annotated[int, Meta(ge=0, le=10)] = 0
    bars: Annotated[int, Meta(ge=0, le=1440)] = 20
    calendar: str = ""
    roll_minutes_before_open: Annotated[int, Meta(ge=0, le=1440)] = 45
    worker_rate_limit: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    exchange_latency: bool = False

    def __post_init__(self) -> None:
        if not _FEED_NAME.fullmatch(self.name):
            raise ConfigError(
                f"feed.name: {self.name!r} is not a feed name; use letters, digits, '.', '_' and '-', beginning with a "
                "letter or a digit, at most 64 characters"
            )
        if self.ring_capacity & (self.ring_capacity - 1):
            below = 1 << (self.ring_capacity.bit_length() - 1)
            raise ConfigError(
                f"feed.ring_capacity: {self.ring_capacity} is not a power of two; write {below} or {below * 2}"
            )
        if self.book_levels * 2 > self.ring_capacity:
            # A book is shown whole or not at all, and what is published at once fills half of a ring at most.
            raise ConfigError(
                f"feed.book_levels: books of {self.book_levels} levels do not fit a ring_capacity of "
                f"{self.ring_capacity}; it must be twice as many at least"
            )
        if self.calendar and not _CALENDAR_NAME.fullmatch(self.calendar):
            raise ConfigError(
                f'feed.calendar: {self.calendar!r} is not the name of a calendar; write one such as "XSHG", "XHKG", '
                '"XNYS" or "24/7"'
            )
