"""What one-minute bars cost a worker: its apply loop with and without them, in turns, in one process.

A ring of 65,536 records is published over and over, of which every eighth time the minute is a new one. Each turn
applies one ring full of them: to the snapshot alone, and to the snapshot and its bars. The same records in the same
order, and nothing else runs in between; what a turn takes is CPU time of the process.
"""

from __future__ import annotations

import json
import mmap
import platform
import random
import statistics
import sys
import time
from typing import Any

import numpy as np

from openbell.core import bars, histogram, ring, snapshot, words
from openbell.core.apply import Applier
from openbell.record import Flag, Kind, dtype

SYMBOLS = 5_200
ROWS = -(-SYMBOLS // 64) * 64
CAPACITY = 65_536
KEPT = 20
LAPS_A_MINUTE = 8
MINUTE_NS = 60_000_000_000
_AT_CLAIM, _AT_HEAD, _AT_RECORDS = 128, 256, 1024
_TURN_NS = 10_000_000_000


class Lane:
    """A worker with one ring, in the memory of this process.

    Parameters
    ----------
    records : numpy.ndarray of record.dtype, shape (CAPACITY,)
    kept : int
        Bars kept; 0: none.
    """

    def __init__(self, records: np.ndarray[Any, Any], kept: int) -> None:
        self.ring = mmap.mmap(-1, ring.size(CAPACITY))
        ring.format(self.ring, CAPACITY, 0)
        self._records = np.frombuffer(self.ring, dtype(), CAPACITY, _AT_RECORDS)
        self._records[:] = records
        body = mmap.mmap(-1, snapshot.size(ROWS, 1))
        snapshot.format(body, ROWS, 1)
        lines = mmap.mmap(-1, bars.size(ROWS, kept)) if kept else None
        if lines is not None:
            bars.format(lines, ROWS, kept)
        bells = [mmap.mmap(-1, 4096) for _ in range(4)]
        counts = mmap.mmap(-1, histogram.size())
        self.applier = Applier(body, 0, [self.ring], bells[0], [bells[1]], bells[2], counts, bells[3], bars=lines)
        self._laps = 0

    def turn(self) -> float:
        """Apply one ring full of records; return the CPU time of a record in ns."""
        self._laps += 1
        if self._laps % LAPS_A_MINUTE == 0:
            self._records["exchange_ns"] += MINUTE_NS
        words.store(self.ring, _AT_CLAIM, self._laps * CAPACITY)
        words.store(self.ring, _AT_HEAD, self._laps * CAPACITY)
        before = time.process_time_ns()
        done = self.applier.run(_TURN_NS, CAPACITY)
        taken = time.process_time_ns() - before
        if done != CAPACITY:
            raise RuntimeError(f"{done} records were applied, not {CAPACITY}")
        return taken / CAPACITY


def _stream(quotes: float) -> np.ndarray[Any, Any]:
    """Return a ring full of trades, and a share of quotes, of symbols of which a few are busy and most are not."""
    chance = random.Random(7)
    records = np.zeros(CAPACITY, dtype())
    weights = [1 / (1 + rank) ** 0.7 for rank in range(SYMBOLS)]
    rows = list(range(SYMBOLS))
    chance.shuffle(rows)
    records["row"] = chance.choices(rows, weights, k=CAPACITY)
    kinds = np.array([Kind.QUOTE if chance.random() < quotes else Kind.TRADE for _ in range(CAPACITY)])
    records["kind"] = kinds
    records["flags"] = Flag.HAS_A | Flag.HAS_B | Flag.HAS_C
    records["exchange_ns"] = 29_394_720 * MINUTE_NS
    prices = [chance.randint(1000, 1100) / 100 for _ in range(CAPACITY)]
    records["a"], records["b"], records["c"] = prices, 100.0, [price * 100.0 for price in prices]
    return records


def measure(quick: bool) -> dict[str, Any]:
    """Return ns a record with and without bars, and their ratio, for trades alone and for a mixed stream."""
    turns = 24 if quick else 200
    result: dict[str, Any] = {"symbols": SYMBOLS, "bars": KEPT, "turns": turns, "ns": {}, "ratio": {}}
    for name, quotes in (("trades", 0.0), ("half_quotes", 0.5)):
        lanes = {"without": Lane(_stream(quotes), 0), "with": Lane(_stream(quotes), KEPT)}
        taken: dict[str, list[float]] = {each: [] for each in lanes}
        for turn in range(turns):
            # In turns, and each first as often as second.
            for each in sorted(lanes, reverse=bool(turn % 2)):
                taken[each].append(lanes[each].turn())
        ratios = [has / lacks for has, lacks in zip(taken["with"], taken["without"], strict=True)]
        result["ns"][name] = {each: round(statistics.median(values), 2) for each, values in taken.items()}
        result["ratio"][name] = round(statistics.median(ratios), 3)
    return result


def run(*, as_json: bool, quick: bool) -> int:
    """Measure and print."""
    result = measure(quick) | {"python": platform.python_version(), "machine": platform.machine()}
    out = sys.stderr if as_json else sys.stdout
    for name, ns in result["ns"].items():
        print(
            f"{name.replace('_', ' ')}: {ns['without']:.1f} ns a record without bars, {ns['with']:.1f} with "
            f"{KEPT} of each symbol: x {result['ratio'][name]:.2f}",
            file=out,
        )
    if as_json:
        print(json.dumps(result))
    return 0
