"""Looking after the single symbols of a connection: who is silent, who is to be asked for again, where a request was
cut off. See `openbell.receiver.symbolwatch` for how that is judged; here is where it is seen and what follows."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Final, Protocol

from openbell.config import Source
from openbell.monitor.subscriptions import Subscriptions, SubscriptionState
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

    def confirmed(self) -> Sequence[str]:
        """Return the symbols that the vendor has granted, in the order of the request."""

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
    subscriptions : Subscriptions
        Written by the subscriber; the flag SILENT is written here.
    connection : int
    subscriber : Subscribed
    stamps : Stamps
    """

    def __init__(self, subscriptions: Subscriptions, connection: int, subscriber: Subscribed, stamps: Stamps) -> None:
        self._subscriptions = subscriptions
        self._connection = connection
        self._subscriber = subscriber
        self._stamps = stamps

    def confirmed(self) -> Sequence[str]:
        """See `Asked.confirmed`."""
        found = []
        for symbol, key in self._subscriber.keys.items():
            row = self._stamps.row(key)
            if row < 0:
                continue
            seen = self._subscriptions.read(row)
            if seen.state is SubscriptionState.CONFIRMED and seen.connection == self._connection:
                found.append(symbol)
        return found

    def resubscribe(self, symbols: Sequence[str]) -> None:
        """See `Asked.resubscribe`."""
        self._subscriber.resubscribe(symbols)

    def flag_silent(self, symbol: str, silent: bool) -> None:
        """See `Asked.flag_silent`."""
        row = self._stamps.row(self._subscriber.keys[symbol]) if symbol in self._subscriber.keys else -1
        if row >= 0:
            self._subscriptions.flag_silent(row, silent)


class Sampler:
    """Looks after the symbols of one connection, through all its lives.

    Parameters
    ----------
    source : Source
    vendor : Vendor
    asked : Asked
        Knows what was granted.
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
        """Watch what is granted by now."""
        granted = tuple(self._asked.confirmed())
        if granted == self._watch.names:
            return
        rows = {symbol: self._stamps.row(self._key(symbol)) for symbol in granted}
        names = tuple(symbol for symbol, row in rows.items() if row >= 0)
        self._watch.watch(names)
        self._read = self._stamps.reader([rows[name] for name in names])
        self._watch.sample(self._read())

    def _key(self, symbol: str) -> bytes:
        return (self._source.prefix + self._vendor.symbol_key(symbol)).encode()

    def _judge(self) -> None:
        found = self._watch.judge()
        for symbol in found.silent:
            self._asked.flag_silent(symbol, True)
        for symbol in found.back:
            self._asked.flag_silent(symbol, False)
        self._block.silent = self._watch.silent
        if found.overdue:
            log.warning(
                "%s: silent, and never so long before: %s; asking for %s once more",
                self._where,
                _named(found.overdue),
                "them" if len(found.overdue) > 1 else "it",
            )
            self._asked.resubscribe(found.overdue)
        self._say_what_was_kept()

    def _say_what_was_kept(self) -> None:
        kept, asked = self._watch.kept(), len(self._watch.names)
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
                self._watch.names[kept - 1],
                kept * len(self._source.streams) if self._vendor.semantics.adds else kept,
                connections,
            )


def _named(symbols: Sequence[str]) -> str:
    more = len(symbols) - _NAMED
    return ", ".join(symbols[:_NAMED]) + (f" and {more} more" if more > 0 else "")
