"""A stand-in for the receiver: it writes trades into a feed's rings, and knows what the snapshot must hold."""

from __future__ import annotations

import math
import random
import struct
import time
from dataclasses import dataclass, fields

from openbell.config import Config, Feed, Source
from openbell.core.ring import RingWriter
from openbell.core.symbols import SymbolTable
from openbell.market import Market, Row
from openbell.memory.consumers import Consumers
from openbell.memory.names import CONSUMERS, ring_name
from openbell.record import Flag, Kind
from openbell.supervisor import Supervisor

_TRADE = struct.Struct("<IBBHqqqdddd")


def configure(
    name: str, *, workers: int = 2, ring_capacity: int = 4096, symbols: int = 1024, book_levels: int = 0
) -> Config:
    """Return the configuration of a small feed. Nobody listens where its source should be."""
    feed = Feed(
        name=name, workers=workers, ring_capacity=ring_capacity, symbols_capacity=symbols, book_levels=book_levels
    )
    return Config(feed=feed, sources=(Source(vendor="binance", symbols=("BTCUSDT",), url="ws://127.0.0.1:1/ws"),))


@dataclass
class Expected:
    """What the trades of one symbol come to."""

    last: float = math.nan
    size: float = 0.0
    open: float = math.nan
    high: float = math.nan
    low: float = math.nan
    volume: float = 0.0
    turnover: float = 0.0
    trades: int = 0
    trade_exchange_ns: int = 0
    trade_sequence: int = 0
    receive_ns: int = 0

    def add(self, price: float, size: float, exchange_ns: int, receive_ns: int, sequence: int) -> None:
        """Count a trade."""
        first = self.trades == 0
        self.open = price if first else self.open
        self.high = price if first else max(self.high, price)
        self.low = price if first else min(self.low, price)
        self.last, self.size = price, size
        self.volume += size
        self.turnover += price * size
        self.trades += 1
        self.trade_exchange_ns, self.trade_sequence, self.receive_ns = exchange_ns, sequence, receive_ns

    def differences(self, row: Row) -> list[str]:
        """Return what `row` holds otherwise, exactly: one worker adds in the order in which we did."""
        found = []
        for name in (field.name for field in fields(self)):
            wanted, there = getattr(self, name), getattr(row, name)
            if wanted != there and not (wanted != wanted and there != there):
                found.append(f"{row.symbol}.{name}: {there} instead of {wanted}")
        return found


class Driver:
    """Writes random trades of `symbols` symbols into the rings of a started feed that has no receiver."""

    def __init__(self, supervisor: Supervisor, symbols: int = 100, seed: int = 1, *, backwards: bool = False) -> None:
        generation = supervisor.generation
        control = generation.open_control()
        self._supervisor = supervisor
        self._random = random.Random(seed)
        self._table = SymbolTable(generation.body("symbols"), generation.symbols_lock)
        self.symbols: tuple[str, ...] = ()
        self.places: list[tuple[int, int]] = []
        self.expected: list[Expected] = []
        names = [f"{600_000 + index}.SH" for index in range(symbols)]
        # The first one to come has the first row.
        for name in reversed(names) if backwards else names:
            self._table.insert(name.encode())
        for name in names:
            self.add(name)
        consumers = Consumers(generation.body(CONSUMERS))
        self.rings = [
            RingWriter(
                generation.body(ring_name(0, worker)),
                control.worker_bell(worker),
                control.receiver_bell(0),
                tethers=consumers.tethers(0, worker),
                readers_bell=consumers.published_bell,
                max_hold_ns=supervisor.config.feed.max_hold_ms * 1_000_000,
            )
            for worker in range(supervisor.shape.workers)
        ]
        for ring in self.rings:
            ring.recover()
        self.sent = 0

    def add(self, symbol: str) -> int:
        """Have the feed know one more symbol; return its number."""
        key = symbol.encode()
        self.places.append((self._table.insert(key), self._table.shard_of(key)))
        self.expected.append(Expected())
        self.symbols += (symbol,)
        return len(self.symbols) - 1

    def trade(self, count: int) -> None:
        """Write `count` trades and publish them; wait for room as long as it takes."""
        for _ in range(count):
            index = self._random.randrange(len(self.symbols))
            self._send(index, round(self._random.uniform(1, 100), 2), float(self._random.randrange(1, 1000)))
        self._publish()

    def trade_at(self, index: int, *prices: float, size: float = 1.0) -> None:
        """Write trades of one symbol at these prices and publish them."""
        for price in prices:
            self._send(index, price, size)
        self._publish()

    def _send(self, index: int, price: float, size: float) -> None:
        self.sent += 1
        exchange_ns, receive_ns = self.sent, time.time_ns()
        row, shard = self.places[index]
        record = _TRADE.pack(
            row, Kind.TRADE, 1, Flag.HAS_A | Flag.HAS_B, exchange_ns, receive_ns, self.sent, price, size, 0.0, 0.0
        )
        while not self.rings[shard].append(record):
            self._supervisor.poll(0.0)
        self.expected[index].add(price, size, exchange_ns, receive_ns, self.sent)

    def _publish(self) -> None:
        for ring in self.rings:
            ring.publish()

    def await_applied(self, market: Market, patience_s: float = 10.0) -> None:
        """Wait until everything is in the snapshot."""
        deadline = time.monotonic() + patience_s
        while market.status().applied < self.sent:
            assert time.monotonic() < deadline, f"{market.status().applied} of {self.sent} applied"
            self._supervisor.poll(0.005)

    def differences(self, market: Market) -> list[str]:
        """Return what the snapshot holds otherwise than it must."""
        snapshot = market.snapshot()
        assert sorted(snapshot.symbols) == sorted(self.symbols)
        found = []
        for name, expected in zip(self.symbols, self.expected, strict=True):
            found += expected.differences(snapshot.row(name))
        return found
