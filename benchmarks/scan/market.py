"""A made-up market: what its symbols trade at, and the records that say so."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from openbell.config import Config, Feed, Source
from openbell.core.ring import RingWriter
from openbell.core.symbols import SymbolTable
from openbell.memory.generation import Generation
from openbell.memory.names import ring_name
from openbell.memory.segment import Kind as SegmentKind
from openbell.record import Flag, Kind

SYMBOLS = 11_000
WORKERS = 2
_RECORD = struct.Struct("<IBBHqqqdddd")
_ALL = Flag.HAS_A | Flag.HAS_B | Flag.HAS_C | Flag.HAS_D


def configure(name: str, symbols: int) -> Config:
    """Return the configuration of a feed whose receiver is a benchmark."""
    feed = Feed(name=name, workers=WORKERS, symbols_capacity=max(symbols * 5 // 4, 1024))
    return Config(feed=feed, sources=(Source(vendor="binance", symbols=("BTCUSDT",), url="ws://127.0.0.1:1/ws"),))


class Writer:
    """The only producer of a feed without receivers.

    Parameters
    ----------
    generation : Generation
        Of the feed.
    symbols : int
        How many it has.
    """

    def __init__(self, generation: Generation, symbols: int) -> None:
        control = generation.open_control(writable=True)
        self._rings = [
            RingWriter(
                generation.open(ring_name(0, worker), SegmentKind.RING, writable=True),
                control.worker_bell(worker),
                control.receiver_bell(0),
            )
            for worker in range(WORKERS)
        ]
        for ring in self._rings:
            ring.recover()
        table = SymbolTable(generation.open("symbols", SegmentKind.SYMBOLS, writable=True), generation.symbols_lock)
        keys = [f"S{number:05d}.US".encode() for number in range(symbols)]
        self._places = [(table.insert(key), table.shard_of(key)) for key in keys]

    def write(self, records: Iterator[tuple[int, Kind, tuple[float, float, float, float]]]) -> int:
        """Write records of (symbol number, kind, values), wait for room where there is none, and publish them."""
        count = 0
        for count, (number, kind, values) in enumerate(records, 1):
            row, shard = self._places[number]
            record = _RECORD.pack(row, kind, 0, _ALL, 0, time.time_ns(), count, *values)
            while not self._rings[shard].append(record):
                time.sleep(0.0001)
        for ring in self._rings:
            ring.publish()
        return count


def opening(symbols: int, seed: int = 5) -> Iterator[tuple[int, Kind, tuple[float, float, float, float]]]:
    """Yield a ticker and a quote of every symbol: moves of some 2 %, spreads of some 20 bps, turnovers of all sizes."""
    generator = np.random.default_rng(seed)
    before: NDArray[np.float64] = np.exp(generator.normal(3.5, 1.0, symbols))
    last = before * np.exp(generator.normal(0.0, 0.02, symbols))
    half = last * generator.lognormal(-7.0, 0.7, symbols) / 2
    volume = generator.lognormal(12.0, 1.5, symbols)
    for number in range(symbols):
        price = float(last[number])
        traded = float(volume[number])
        yield number, Kind.TICKER, (price, float(before[number]), traded, traded * price)
        bid, ask = price - float(half[number]), price + float(half[number])
        yield number, Kind.QUOTE, (bid, 100.0, ask, 100.0)
