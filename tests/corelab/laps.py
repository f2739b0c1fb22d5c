"""A fixed lap of trades and quotes, applied over and over: what a row must hold follows from its `updated` alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from corelab.oracle import Oracle
from corelab.records import Record, quote, trade
from openbell.core import snapshot

ROWS = 64
LAP = 4096
NAMES = [name for name, _ in snapshot.COLUMNS]
INDEX = {name: index for index, name in enumerate(NAMES)}
FLOATS = [INDEX[name] for name, kind in snapshot.COLUMNS if kind == "f8"]
# Columns that grow with every lap; all others repeat.
GROWING = [INDEX[name] for name in ("version", "volume", "turnover", "trades", "updated")]


def lap_records() -> list[Record]:
    """Return the records of a lap: few hot rows, every row at least once, whole numbers so that all sums are exact."""
    generator = np.random.default_rng(6)
    # Half of all records go to four rows: those are under the writer's hand whenever they are read.
    rows = np.where(generator.random(LAP) < 0.5, generator.integers(0, 4, LAP), generator.integers(0, ROWS, LAP))
    rows[: 2 * ROWS] = np.repeat(np.arange(ROWS), 2)
    records = []
    for number, row in enumerate(rows.tolist()):
        k = float(generator.integers(1, 1000))
        stamps = {"exchange_ns": number * 11, "receive_ns": number * 13}
        if (number % 2 if number < 2 * ROWS else generator.random() < 0.6) == 0:
            records.append(quote(row, k, 2 * k, k + 1, 3 * k, number * 17, **stamps))
        else:
            records.append(trade(row, k, 2 * k, 3 * k, number * 7, **stamps))
    return records


class Expected:
    """Every state that a row can be in, from the second lap on."""

    def __init__(self) -> None:
        records = lap_records()
        model = Oracle(ROWS, ROWS)
        model.apply_all(records)
        self.rows = np.array([record.row for record in records])
        # Growth of each row in a lap, and the state of the record's row right behind each record of the second lap.
        self.growth = np.zeros((len(NAMES), ROWS), np.int64)
        for row, state in model.touched.items():
            for column in GROWING:
                self.growth[column, row] = int(getattr(state, NAMES[column]))
        self.growth[INDEX["updated"]] = LAP
        self.states = np.zeros((len(NAMES), LAP), np.uint64)
        for number, record in enumerate(records):
            model.apply([record], LAP + number)
            state = model.touched[record.row]
            for index, (name, kind) in enumerate(snapshot.COLUMNS):
                self.states[index, number] = np.array(getattr(state, name), kind).view(np.uint64)

    def wrong(self, copies: NDArray[np.uint64]) -> int:
        """Return how many of the copied rows are no state that the row ever was in.

        Parameters
        ----------
        copies : array of uint64, shape (n, columns, rows)
            Copies of all data rows, made when every row had been through the first lap.
        """
        updated = copies[:, INDEX["updated"], :].view(np.int64)
        laps, numbers = np.divmod(updated - 1, LAP)
        wrong: NDArray[np.bool_] = self.rows[numbers] != np.arange(ROWS)
        for index in range(len(NAMES)):
            expected = self.states[index, numbers]
            if index in GROWING:
                grown = (laps - 1) * self.growth[index]
                if index in FLOATS:
                    expected = (expected.view(np.float64) + grown).view(np.uint64)
                else:
                    expected = expected + grown.view(np.uint64)
            wrong |= copies[:, index, :] != expected
        return int(wrong.sum())
