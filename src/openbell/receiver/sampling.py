"""Looking after the single symbols of a connection: who is silent, who is to be asked for again, where a request was
cut off. See `openbell.receiver.symbolwatch` for how that is judged; here is where it is seen and what follows."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import itemgetter
from typing import Final, Protocol

from openbell.config import Source
from openbell.monitor.subscriptions import (
    CONNECTION_AT,
    ROW_BYTES,
    STATE_AND_CONNECTION,
    Subscriptions,
    SubscriptionState,
)
from openbell.receiver.symbolwatch import SymbolWatch
from openbell.vendors.base import Vendor

log = logging.getLogger("openbell.receiver")

_SAMPLE_S: Final = 5.0
_SAMPLES: Final = 20
"""Samples within the shortest silence that matters, at least."""
_JUDGE_EVERY: Final = 4
"""Samples from one judgement to the next."""
_NAMED: Final = 5
"""Symbols that a line of the log names."""


class Stamps:
    """Numbers that change with everything that comes for a symbol: a column of the snapshot.

    Parameters
    ----------
    column : memoryview
        Of int64, one a row; borrowed. Market data changes it, gaps and sessions do not.
    lookup : callable
        Returns the row of a key, -1 if it has none.
    """

    def __init__(self, column: memoryview, lookup: Callable[[bytes], int]) -> None:
        self._column = column
        self._lookup = lookup

    def row(self, key: bytes) -> int:
        """Return the row of a symbol, -1 if it has none."""
        return self._lookup(key)

    def reader(self, rows: Sequence[int]) -> Callable[[], Sequence[int]]:
        """Return what reads the numbers of `rows`, in order."""
        if not rows:
            return tuple
        if len(rows) == 1:
            return lambda: (self._column[rows[0]],)
        get = itemgetter(*rows)
        return lambda: get(self._column)


class SamplerBlock(Protocol):
    """The words of a connection in the control segment that are written here."""

    silent: int
    kept: int


class Asked(Protocol):
    """What is needed of a connection's subscriber."""

    def rows(self) -> Mapping[str, int]:
        """Return the symbols that are wanted, in the order of the request, each with its row."""

    def confirmed(self) -> Collection[str]:
        """Return those of them that the vendor has granted."""

    def resubscribe(self, symbols: Sequence[str]) -> None:
        """Ask for symbols once more: alone where the vendor can, else with the next full list."""

    def flag_silent(self, symbol: str, silent: bool) -> None:
        """List a symbol as silent, or not any more."""


class Subscribed(Protocol):
    """What is needed of a connection's subscriber."""

    @property
    def keys(self) -> Mapping[str, bytes]:
        """The symbols that are wanted, in the order of the request, each with its key in the symbol table."""

    def resubscribe(self, symbols: Sequence[str]) -> None:
        """Ask for symbols once more."""


class Granted:
    """The symbols that a connection's vendor has granted, by the subscriptions segment.

    Parameters
    ----------
    view : Subscriptions
        Written by the subscriber; the flag SILENT is written here.
    words : memoryview
        The same segment's body: thousands of states are looked at in one go.
    connection : int
    subscriber : Subscribed
    stamps : Stamps
    acknowledges : bool
        Whether the vendor answers requests; if not, what was asked for counts.
    """

    def __init__(
        self,
        view: Subscriptions,
        words: memoryview,
        connection: int,
        subscriber: Subscribed,
        stamps: Stamps,
        *,
        acknowledges: bool = True,
    ) -> None:
        self._view = view
        self._words = words.cast("Q")
        self._subscriber = subscriber
        self._stamps = stamps
        good = {SubscriptionState.CONFIRMED} if acknowledges else {SubscriptionState.CONFIRMED, SubscriptionState.ASKED}
        self._good = frozenset(state | connection << CONNECTION_AT for state in good)
        self._keys: Mapping[str, bytes] = {}
        self._rows: dict[str, int] = {}

    def rows(self) -> Mapping[str, int]:
        """See `Asked.rows`."""
        keys = self._subscriber.keys
        if keys is not self._keys:
            rows = {symbol: self._stamps.row(key) for symbol, key in keys.items()}
            self._keys, self._rows = keys, {symbol: row for symbol, row in rows.items() if row >= 0}
        return self._rows

    def confirmed(self) -> Collection[str]:
        """See `Asked.confirmed`."""
        words, good, mask, step = self._words, self._good, STATE_AND_CONNECTION, ROW_BYTES // 8
        return {symbol for symbol, row in self._rows.items() if words[row * step] & mask in good}

    def resubscribe(self, symbols: Sequence[str]) -> None:
        """See `Asked.resubscribe`."""
        self._subscriber.resubscribe(symbols)

    def flag_silent(self, symbol: str, silent: bool) -> None:
        """See `Asked.flag_silent`."""
        if (row := self._rows.get(symbol)) is not None:
            self._view.flag_silent(row, silent)


class Sampler:
    """Looks after the symbols of one connection, through all its lives.

    Parameters
    ----------
    source : Source
    vendor : Vendor
    asked : Asked
        Knows what is wanted, and granted.
    block : SamplerBlock
    stamps : Stamps
    """

    def __init__(self, source: Source, vendor: Vendor, asked: Asked, block: SamplerBlock, stamps: Stamps) -> None:
        liveness = source.liveness
        self._source = source
        self._vendor = vendor
        self._asked = asked
        self._block = block
        self._stamps = stamps
        self._where = vendor.display_url()
        self._watch = SymbolWatch(liveness.symbol_silence_s, liveness.silence_times)
        self._interval_s = min(_SAMPLE_S, liveness.symbol_silence_s / _SAMPLES)
        self._read: Callable[[], Sequence[int]] = tuple
        self._told = False

    def restart(self) -> None:
        """Begin with a new connection."""
        self._watch.restart()
        self._told = False

    async def run(self, moving: Callable[[], bool]) -> None:
        """Look after them until cancelled.

        Parameters
        ----------
        moving : callable
            Whether data comes over the connection, so that a symbol without any is remarkable.
        """
        looked = time.monotonic()
        number = 0
        while True:
            if number % _JUDGE_EVERY == 0:
                self._choose()
            number += 1
            await asyncio.sleep(self._interval_s)
            now = time.monotonic()
            # A longer step is one in which we were not running ourselves.
            elapsed_s, looked = min(now - looked, 2 * self._interval_s), now
            if moving():
                self._watch.pass_time(elapsed_s)
            self._watch.sample(self._read())
            if number % _JUDGE_EVERY == 0:
                self._judge()

    def _choose(self) -> None:
        """Watch what is wanted by now."""
        rows = self._asked.rows()
        names = tuple(rows)
        if names == self._watch.names:
            return
        self._watch.watch(names)
        self._read = self._stamps.reader(tuple(rows.values()))
        self._watch.sample(self._read())

    def _judge(self) -> None:
        granted = self._asked.confirmed()
        found = self._watch.judge(granted)
        # All of them each time: what is asked for again begins without a flag.
        for symbol in self._watch.silent:
            self._asked.flag_silent(symbol, True)
        for symbol in found.back:
            self._asked.flag_silent(symbol, False)
        self._block.silent = len(self._watch.silent)
        if found.overdue:
            log.warning(
                "%s: silent, and never so long before: %s; asking for %s once more",
                self._where,
                _named(found.overdue),
                "them" if len(found.overdue) > 1 else "it",
            )
            self._asked.resubscribe(found.overdue)
        self._say_what_was_kept(granted)

    def _say_what_was_kept(self, granted: Collection[str]) -> None:
        kept, asked = self._watch.kept(granted), len(granted)
        self._block.kept = kept or 0
        if kept is None:
            self._told = False
        elif not self._told:
            self._told = True
            connections = -(-asked // kept)
            log.error(
                "%s: the vendor granted %d symbols and sends only the first %d: nothing after %s in the list has ever "
                "come, though most of those before it have. The plan takes no more on a connection, and it does not "
                "say so: write max_streams = %d and connections = %d (or more), or ask for fewer",
                self._where,
                asked,
                kept,
                [name for name in self._watch.names if name in granted][kept - 1],
                kept * len(self._source.streams) if self._vendor.semantics.adds else kept,
                connections,
            )


def _named(symbols: Sequence[str]) -> str:
    more = len(symbols) - _NAMED
    return ", ".join(symbols[:_NAMED]) + (f" and {more} more" if more > 0 else "")
