"""What the one-minute bars must be after a sequence of records, in plain Python, from the documented semantics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelab.records import Record
from openbell.core import bars as core

MINUTE = 60_000_000_000
BAR = np.dtype([(name, f"<{kind}") for name, kind in core.FIELDS])
SUMS = ("volume", "turnover")


@dataclass
class Minutes:
    """The bars of one row, oldest first; all of them, however many are kept."""

    bars: list[dict[str, Any]] = field(default_factory=list)
    late: int = 0
    late_volume: float = 0.0
    baseline: int | None = None
    """The session whose cumulative sums are known."""

    def add(self, kept: int, record: Record, prices: list[float], volume: float, turnover: float, trades: int) -> None:
        """Take what was traded at `prices`, in their order, into the minute of `record`."""
        time = record.exchange_ns
        if time < MINUTE or (record.receive_ns and time > record.receive_ns + MINUTE):
            time = record.receive_ns
        start = time // MINUTE * MINUTE
        newest = self.bars[-1]["start_ns"] if self.bars else 0
        if start > newest:
            self.bars.append(
                {"start_ns": start, "open": prices[0], "high": max(prices), "low": min(prices), "close": prices[-1]}
                | {"volume": volume, "turnover": turnover, "trades": trades}
            )
            return
        for bar in self.bars[-kept:]:
            if start and bar["start_ns"] == start:
                bar["high"], bar["low"] = max(bar["high"], *prices), min(bar["low"], *prices)
                bar["close"] = prices[-1]
                bar["volume"] += volume
                bar["turnover"] += turnover
                bar["trades"] += trades
                return
        self.late += trades
        self.late_volume += volume

    def trade(self, kept: int, record: Record) -> None:
        """One trade; no size counts as 0, no turnover as price times size."""
        size, turnover = record.value(1) or 0.0, record.value(2)
        self.add(kept, record, [record.a], size, record.a * size if turnover is None else turnover, 1)

    def merged(self, kept: int, group: list[Record]) -> None:
        """Trades merged into one group: all of the minute of the last one."""
        record, more = group
        trades = int.from_bytes(record.pack()[56:], "little")
        self.add(kept, record, [record.c, more.a, more.b, record.a], more.c, more.d, trades)

    def ticker(self, kept: int, record: Record, last: float, volume: float, turnover: float, session: int) -> None:
        """A vendor's running sums, over a row that has the others: what was traded since."""
        first = record.value(2) is not None and self.baseline != session
        known = self.baseline == session
        grown = [0.0, 0.0]
        for at, before in enumerate((volume, turnover)):
            value = record.value(2 + at)
            if value is not None and known:
                grown[at] = max(0.0, value - before)
        if (not first and record.a != last) or any(grown):
            self.add(kept, record, [record.a], grown[0], grown[1], 0)
        if first:
            self.baseline = session


def copied(reader: core.BarsReader, rows: list[int], most: int | None = None) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the bars of some rows, shape (rows, most), and how many of each are there and how many trades are late."""
    wanted = np.array(rows, np.intp)
    lines = np.zeros((len(rows), reader.kept if most is None else most), BAR)
    counts = np.zeros((len(rows), 2), np.int64)
    reader.copy_rows(wanted.data, lines.data, counts.data)
    return lines, counts


def check(reader: core.BarsReader, expected: dict[int, Minutes]) -> None:
    """Compare the bars of every row of a market at rest: sums to 1e-9, everything else to the bit."""
    compare(*copied(reader, list(range(reader.rows))), expected)
    assert reader.late() == sum(model.late for model in expected.values())


def compare(lines: NDArray[Any], counts: NDArray[np.int64], expected: dict[int, Minutes]) -> None:
    """Compare copies of the bars of all rows in the same way."""
    rows, kept = lines.shape
    for row in range(rows):
        model = expected.get(row, Minutes())
        wanted = model.bars[-kept:]
        assert tuple(counts[row]) == (len(wanted), model.late), f"row {row}: bars shown, late trades"
        found = lines[row, kept - len(wanted) :]
        for name in BAR.names or ():
            values = np.array([bar[name] for bar in wanted], BAR[name])
            if name in SUMS:
                np.testing.assert_allclose(found[name], values, rtol=1e-9, atol=0, err_msg=f"row {row}: {name}")
            else:
                np.testing.assert_array_equal(found[name], values, err_msg=f"row {row}: {name}")
