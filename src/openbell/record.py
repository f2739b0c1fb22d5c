"""What flows: the 64-byte record, its vocabulary and its layout.

Everything downstream of a receiver sees market data as records of one fixed size, one cache line each.
The layout is written down once, here, in plain Python; the C struct of the compiled core and the numpy
dtype are both checked against it.

An absent value is absent: its ``HAS_*`` flag is not set, and its eight bytes mean nothing. It is never NaN.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np

RECORD_SIZE: Final = 64
"""Bytes of one record: one cache line."""

ROW_NONE: Final = 0xFFFFFFFF
"""The ``row`` of a record that concerns no symbol (``PAD``, and a ``GAP`` or ``STATUS`` of a whole connection)."""


class Kind(IntEnum):
    """Say what a record reports, and so what ``a`` to ``d`` mean.

    ======== ========================================================================
    TRADE    a price, b size, c turnover, d source
    QUOTE    a bid, b bid size, c ask, d ask size (top of book)
    TICKER   a price, b reference price, c cumulative volume, d cumulative turnover
    LEVEL    a bid, b bid size, c ask, d ask size of the book level in ``side``, from 1
    STATUS   a session (yyyymmdd), b :class:`MarketStatus`; both int64
    GAP      a :class:`GapReason`, b count (-1: unknown), c first, d last (ns since the
             epoch, if known; of a VENUE_HOLE the vendor's numbers); all int64. ``side`` 1:
             it is told elsewhere, too, and counts there
    TRADES   trades merged into a group of two: a last price, b last size, c first price,
             d count (int64); then a highest, b lowest price, c volume, d turnover.
             Without b, and with count 0, they are prices of tickers that were merged
    REPAIR   a last price, b its size: the vendor's latest trade, asked for after a gap; it
             is in no sum, and holds only where it is newer than what the row has
    PAD      nothing: a slot a producer gave up; every reader skips it
    ======== ========================================================================

    What takes more than one record is a group: consecutive records of a ring, the first marked FIRST and the last one
    LAST, shown and applied together. A LEVEL group is a whole book, best level first: it replaces the one before it.
    """

    PAD = 0
    TRADE = 1
    QUOTE = 2
    TICKER = 3
    LEVEL = 4
    BAR = 5
    STATUS = 6
    GAP = 7
    TRADES = 8
    REPAIR = 9


class Flag(IntFlag):
    """Mark which values are present, where a group of records begins and ends, and how a record came."""

    HAS_A = 1
    HAS_B = 2
    HAS_C = 4
    HAS_D = 8
    FIRST = 16
    LAST = 32
    REPLAYED = 64
    REPAIRED = 128


class Side(IntEnum):
    """Say who crossed the spread in a trade: the aggressor."""

    UNKNOWN = 0
    BUY = 1
    SELL = 2


class MarketStatus(IntEnum):
    """Say whether a symbol, or its whole market, trades."""

    UNKNOWN = 0
    CLOSED = 1
    PRE_OPEN = 2
    OPEN = 3
    BREAK = 4
    HALTED = 5


class GapReason(IntEnum):
    """Say why somebody was not given something.

    LAP, CUT and FEED_RESTART are told by a reader to itself, and stand in no ring: it was overtaken, or it held the
    writer longer than it may and was cut off (with both, first and last are ring positions), or it went over to the
    next run of the feed.
    """

    RECEIVER_RESTART = 1
    DISCONNECT = 2
    LAP = 3
    OVERFLOW = 4
    CUT = 5
    FEED_RESTART = 6
    VENUE_HOLE = 7


FIELDS: Final[tuple[tuple[str, str, int], ...]] = (
    ("row", "<u4", 0),
    ("kind", "<u1", 4),
    ("side", "<u1", 5),
    ("flags", "<u2", 6),
    ("exchange_ns", "<i8", 8),
    ("receive_ns", "<i8", 16),
    ("sequence", "<i8", 24),
    ("a", "<f8", 32),
    ("b", "<f8", 40),
    ("c", "<f8", 48),
    ("d", "<f8", 56),
)
"""Layout as ``(name, little-endian array-protocol type, byte offset)``, in order. For ``GAP`` and ``STATUS``,
a to d are ``<i8``."""

_cache: dict[str, np.dtype[Any]] = {}


def dtype() -> np.dtype[Any]:
    """Return the numpy dtype of a record, with a to d as float64.

    Returns
    -------
    numpy.dtype
        Structured, ``itemsize`` 64. For ``GAP`` records view a to d as ``int64``.

    Notes
    -----
    numpy is imported on the first call only: the processes on a tick's path never need it, and start faster without.
    """
    found = _cache.get("record")
    if found is None:
        import numpy as np

        found = _cache["record"] = np.dtype(
            {
                "names": [name for name, _, _ in FIELDS],
                "formats": [kind for _, kind, _ in FIELDS],
                "offsets": [offset for _, _, offset in FIELDS],
                "itemsize": RECORD_SIZE,
            }
        )
    return found
