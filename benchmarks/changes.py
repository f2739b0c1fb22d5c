"""What a look for changes costs, by how many symbols moved, against comparing the whole market.

A feed of 11,000 symbols without a receiver: this process writes trades into its ring, waits until the worker has
applied them, and then looks in three ways, each time another one first. What counts is the CPU time of a look.

poll      `Market.changes(...).poll()`: one comparison of versions, then only the rows that moved
column    a consistent copy of one column of all symbols, compared with the one before
snapshot  the same with a copy of all columns
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import struct
import sys
import time
from typing import Any

import numpy as np

import openbell
from benchmarks.processes import BenchmarkError
from openbell.config import Config, Feed, Source
from openbell.core.ring import RingWriter
from openbell.core.symbols import SymbolTable
from openbell.market import Market
from openbell.memory.names import ring_name
from openbell.record import Flag, Kind
from openbell.supervisor import Supervisor

SYMBOLS = 11_000
MOVED = (0, 1, 10, 100, 1_000, SYMBOLS)
WAYS = ("poll", "column", "snapshot")
_TRADE = struct.Struct("<IBBHqqqdddd")


class Writer:
    """Writes one trade each of so many symbols into the ring of a feed that has no receiver."""

    def __init__(self, supervisor: Supervisor) -> None:
        generation = supervisor.generation
        control = generation.open_control()
        table = SymbolTable(generation.body("symbols"), generation.symbols_lock)
        self._rows = [table.insert(b"%06d.BENCH" % number) for number in range(SYMBOLS)]
        self._ring = RingWriter(
            generation.body(ring_name(0, 0)), control.worker_bell(0), control.receiver_bell(0), 1_000_000_000
        )
        self._ring.recover()
        self._price = 100.0
        self._random = np.random.default_rng(1)

    def move(self, count: int) -> None:
        """Move the price of `count` symbols, all over the market."""
        self._price += 0.01
        for place in self._random.choice(SYMBOLS, count, replace=False).tolist():
            record = _TRADE.pack(
                *(self._rows[place], Kind.TRADE, 0, Flag.HAS_A | Flag.HAS_B, 0, time.time_ns(), 0),
                *(self._price, 1.0, 0.0, 0.0),
            )
            if not self._ring.append(record):
                raise BenchmarkError("the worker of the benchmark's feed applies nothing")
        self._ring.publish()


def measure(rounds: int) -> dict[str, dict[int, float]]:
    """Return the median of each way's looks, in us, by how many symbols moved."""
    name = f"bench-changes-{os.getpid()}"
    feed = Feed(name=name, workers=1, symbols_capacity=16_384, ring_capacity=32_768)
    source = Source(vendor="binance", symbols=("UNUSED",), url="ws://127.0.0.1:1/")
    took: dict[str, dict[int, list[float]]] = {way: {count: [] for count in MOVED} for way in WAYS}
    with Supervisor(Config(feed=feed, sources=(source,)), receivers=False) as supervisor:
        supervisor.start()
        writer = Writer(supervisor)
        with openbell.attach(name) as market:
            stream = market.changes()
            looks = {
                "poll": lambda: len(stream.poll()),
                "column": Comparison(market, ("last",)).look,
                "snapshot": Comparison(market, None).look,
            }
            for number in range(-1, rounds):
                for count in MOVED:
                    writer.move(count)
                    _settle(supervisor, market)
                    for way in WAYS[number % 3 :] + WAYS[: number % 3]:
                        began = time.thread_time_ns()
                        found = looks[way]()
                        cost = time.thread_time_ns() - began
                        if found != count:
                            raise BenchmarkError(f"{count} symbols moved, and {way} found {found}")
                        if number >= 0:
                            took[way][count].append(cost / 1_000)
    return {way: {count: statistics.median(each) for count, each in found.items()} for way, found in took.items()}


class Comparison:
    """What one writes without a stream of changes."""

    def __init__(self, market: Market, columns: tuple[str, ...] | None) -> None:
        self._market = market
        self._columns = columns
        self._before = market.snapshot(columns=columns).last

    def look(self) -> int:
        """Return how many prices are others than at the look before."""
        last = self._market.snapshot(columns=self._columns).last
        moved = np.flatnonzero((last != self._before) & ~(np.isnan(last) & np.isnan(self._before)))
        self._before = last
        return len(moved)


def _settle(supervisor: Supervisor, market: Market) -> None:
    """Wait until the worker has applied everything."""
    while market.status().backlog:
        supervisor.poll(0.001)


def run(as_json: bool, quick: bool) -> int:
    """Run the benchmark; 0 if a look for ten changes costs less than comparing everything."""
    out = sys.stderr if as_json else sys.stdout
    rounds = 6 if quick else 99
    cost = measure(rounds)
    ratio = {
        f"{way}_vs_poll": {str(count): cost[way][count] / cost["poll"][count] for count in MOVED} for way in WAYS[1:]
    }
    symbol = (cost["poll"][SYMBOLS] - cost["poll"][1]) / (SYMBOLS - 1)
    print(f"CPU time of one look at {SYMBOLS:,} symbols, us, median of {rounds}: {platform.platform()},", file=out)
    print(f"{os.cpu_count()} cores, CPython {platform.python_version()}, numpy {np.__version__}", file=out)
    print(f"{'moved':>8}{'poll':>10}{'column':>10}{'snapshot':>10}{'column/poll':>14}{'snapshot/poll':>15}", file=out)
    for count in MOVED:
        cells = "".join(f"{cost[way][count]:>10.1f}" for way in WAYS)
        ratios = [ratio[f"{way}_vs_poll"][str(count)] for way in WAYS[1:]]
        print(f"{count:>8,}{cells}{ratios[0]:>13.1f}x{ratios[1]:>14.1f}x", file=out)
    print(f"each symbol more that moved costs {symbol * 1_000:.0f} ns", file=out)
    ok = all(ratios["10"] > 1 for ratios in ratio.values())
    if as_json:
        result: dict[str, Any] = {
            "symbols": SYMBOLS,
            "rounds": rounds,
            "cost_us": {way: {str(count): each for count, each in found.items()} for way, found in cost.items()},
            "ns_a_symbol_that_moved": symbol * 1_000,
            "ratio": ratio,
            "ok": ok,
        }
        print(json.dumps(result))
    # A quick run is a smoke test: too short to judge by.
    return 0 if ok or quick else 1
