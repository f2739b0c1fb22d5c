"""One-minute bars of a market, as numpy likes them."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np

from openbell.core import bars as core
from openbell.errors import FeedError, InvalidArgument, UnknownColumn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from openbell.core.bars import BarsReader
    from openbell.market.session import Session

MINUTE_NS = 60_000_000_000

BAR = np.dtype([(name, f"<{kind}") for name, kind in core.FIELDS])
"""One bar, 64 bytes: ``start_ns`` (ns since the epoch, UTC), ``open``, ``high``, ``low``, ``close``, ``volume`` and
``turnover`` as f8, ``trades`` as i8."""

NAMES: tuple[str, ...] = BAR.names or ()


class Bars:
    """The last one-minute bars of one symbol, or of all; a copy, yours to keep and to change.

    Of one symbol: those minutes in which it traded, oldest first; every array has shape (bars,). Of all symbols: the
    last minutes of the market, one behind the other, oldest first; every array has shape (minutes, symbols), but
    `start_ns`, which has shape (minutes,). Where a symbol did not trade in a minute its prices are NaN, its sums 0.

    The last bar is that of the present minute and still grows. The bars of one symbol are consistent in themselves,
    and with its row as it was at one instant.

    Attributes
    ----------
    feed : str
        Name of the feed.
    symbols : tuple of str
        The one symbol, or all, in row order.
    start_ns : numpy.ndarray of int64
        When each minute begins, ns since the epoch, UTC: by the venue's time, or by ours where it sends none or one
        that is more than a minute ahead of ours.
    open, high, low, close : numpy.ndarray of float64
        First, highest, lowest and last price of the minute, in the order in which they came.
    volume, turnover : numpy.ndarray of float64
        Sums of sizes, and of price x size, in the minute. From a vendor that sends running sums of the day: by how much
        they grew; the first such sum of a session tells of no minute.
    trades : numpy.ndarray of int64
        How many trades; a vendor's running figures are none.
    late : numpy.ndarray of int64, shape (len(symbols),)
        Trades of each symbol that are in no bar since the feed began: of a minute whose bar is no longer kept or was
        never begun.
    """

    def __init__(
        self,
        feed: str,
        symbols: tuple[str, ...],
        columns: dict[str, NDArray[Any]],
        late: NDArray[np.int64],
    ) -> None:
        self.feed = feed
        self.symbols = symbols
        self.late = late
        self.start_ns: NDArray[np.int64] = columns["start_ns"]
        self.open: NDArray[np.float64] = columns["open"]
        self.high: NDArray[np.float64] = columns["high"]
        self.low: NDArray[np.float64] = columns["low"]
        self.close: NDArray[np.float64] = columns["close"]
        self.volume: NDArray[np.float64] = columns["volume"]
        self.turnover: NDArray[np.float64] = columns["turnover"]
        self.trades: NDArray[np.int64] = columns["trades"]

    @property
    def start(self) -> NDArray[np.datetime64]:
        """When each minute begins, as numpy's dates: UTC, in seconds."""
        return self.start_ns.view("datetime64[ns]").astype("datetime64[s]")

    @property
    def vwap(self) -> NDArray[np.float64]:
        """Turnover over volume of each bar; NaN where nothing was traded."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.volume > 0, self.turnover / self.volume, np.nan)

    def __len__(self) -> int:
        """Return how many bars, or minutes, there are."""
        return len(self.start_ns)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return the array `name`, such as ``"close"``."""
        if name not in NAMES:
            raise UnknownColumn(name, NAMES)
        found: NDArray[Any] = getattr(self, name)
        return found

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the columns, so that ``dict(bars)`` is a dict of arrays."""
        return iter(NAMES)

    def keys(self) -> tuple[str, ...]:
        """Return the names of the columns."""
        return NAMES

    def __repr__(self) -> str:
        whose = self.symbols[0] if self.start_ns.ndim == self.volume.ndim else f"{len(self.symbols):,} symbols"
        return f"<Bars of {whose}, feed {self.feed!r}: {len(self)} minutes>"


def bars_of(session: Session, symbol: str | None, n: int | None) -> Bars:
    """Copy bars as `Market.bars` does, of one generation of a feed."""
    if n is not None and (not isinstance(n, SupportsIndex) or operator.index(n) < 1):
        raise InvalidArgument(f"n must be a whole number from 1, not {n!r}")
    reader = session.bars_reader
    if reader is None:
        raise FeedError(
            f"feed {session.feed!r} keeps no bars; set bars = 20, or as many minutes as you want, in its [feed] table"
        )
    most = reader.kept if n is None else min(n, reader.kept)
    if symbol is not None:
        return read_one(session.feed, reader, symbol, session.directory.find(symbol)[0], most)
    symbols, rows, _ = session.directory.listing()
    return read_all(session.feed, reader, symbols, rows, most)


def read_one(feed: str, reader: BarsReader, symbol: str, row: int, n: int) -> Bars:
    """Copy the last `n` bars of one row."""
    lines, counts = _copy(reader, np.array([row], np.intp), n)
    shown = lines[0, n - counts[0, 0] :]
    return Bars(feed, (symbol,), {name: shown[name].copy() for name in NAMES}, counts[:, 1].copy())


def read_all(feed: str, reader: BarsReader, symbols: tuple[str, ...], rows: NDArray[np.intp], n: int) -> Bars:
    """Copy the last `n` minutes of many rows onto one axis of time, which ends with the newest bar of them all."""
    lines, counts = _copy(reader, rows, n)
    there = np.arange(n) >= n - counts[:, :1]
    starts = lines["start_ns"]
    newest = int(starts[there].max()) if there.any() else 0
    minutes = n if newest else 0
    # Which minute of the axis each bar is of; those before its beginning are too old to be shown.
    place = minutes - 1 - (newest - starts) // MINUTE_NS
    which, bar = np.nonzero(there & (place >= 0))
    at = place[which, bar]
    columns: dict[str, NDArray[Any]] = {"start_ns": newest - MINUTE_NS * np.arange(minutes - 1, -1, -1, dtype=np.int64)}
    for name in NAMES[1:]:
        empty = np.nan if name in ("open", "high", "low", "close") else 0
        column = np.full((minutes, len(rows)), empty, BAR[name])
        column[at, which] = lines[name][which, bar]
        columns[name] = column
    return Bars(feed, symbols, columns, counts[:, 1].copy())


def _copy(reader: BarsReader, rows: NDArray[np.intp], n: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    lines = np.zeros((len(rows), n), BAR)
    counts = np.zeros((len(rows), 2), np.int64)
    reader.copy_rows(np.ascontiguousarray(rows).data, lines.data, counts.data)
    return lines, counts


def present(now_ns: int, newest_ns: int, kept: int) -> int:
    """Return the present moment of a market whose last trade was at `newest_ns`, by its venue's time.

    That is our time, unless no bar that is kept reaches to it: then it is a replay, a simulator with a clock of its
    own, or a market that is closed, and the moment of its last trade.
    """
    return newest_ns if 0 < newest_ns < now_ns - kept * MINUTE_NS else now_ns


def volume_z(reader: BarsReader | None, rows: NDArray[np.intp], now_ns: int) -> NDArray[np.float64]:
    """Return how unusual the volume of the last 60 seconds is for each symbol: its z-score against its own minutes.

    Parameters
    ----------
    reader : BarsReader or None
        Of the feed's bars; None: it keeps none.
    rows : numpy.ndarray of intp, shape (n,)
        The symbols' rows.
    now_ns : int
        The present moment, ns since the epoch.

    Returns
    -------
    numpy.ndarray of float64, shape (n,)
        (volume of the last 60 s - mean) / standard deviation over the complete minutes before the present one, as many
        as are kept, a minute without a trade counting as 0. NaN where fewer than three of them are known, or they do
        not vary; everywhere without bars.

    Notes
    -----
    The last 60 seconds are the present minute and so much of the minute before as lies within them, its volume taken as
    evenly spread. The standard deviation is that of a sample (n - 1).
    """
    result = np.full(len(rows), np.nan)
    if reader is None or not len(rows):
        return result
    present = now_ns - now_ns % MINUTE_NS
    volumes = np.empty((reader.kept, len(rows)))
    known = np.empty(len(rows), np.int64)
    reader.volumes(np.ascontiguousarray(rows).data, present, volumes.data, known.data)
    if reader.kept < 4:
        return result
    within = 1.0 - (now_ns - present) / MINUTE_NS
    last = volumes[-1] + volumes[-2] * within
    before = volumes[:-1]
    # What is before a symbol's first bar is 0 in the copy, and must not count as a quiet minute.
    count = np.minimum(known, reader.kept) - 1
    counts = np.arange(reader.kept - 1)[:, None] >= reader.kept - 1 - count
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = before.sum(axis=0) / count
        spread = np.sqrt((((before - mean) * counts) ** 2).sum(axis=0) / (count - 1))
        return np.where((count >= 3) & (spread > 1e-9 * mean), (last - mean) / spread, np.nan)
