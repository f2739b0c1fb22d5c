"""Heavy indicators in a process of their own, off the receive path: they may take as long as they like.

    python examples/indicators.py cn

Follows all trades in arrays, keeps the last 200 prices of each symbol, and prints once a second which symbols are
furthest from their mean. The feed does not notice: what this process is too slow for, it misses and is told of.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time

import numpy as np
from numpy.typing import NDArray

import openbell

LENGTH = 200


class Prices:
    """The last prices of every row, as one array."""

    def __init__(self, rows: int) -> None:
        self.prices = np.full((rows, LENGTH), np.nan)
        self.count = np.zeros(rows, np.int64)

    def add(self, rows: NDArray[np.uint32], prices: NDArray[np.float64]) -> None:
        """Append a batch of trades, vectorised: the k-th trade of a row in the batch goes k places on."""
        order = np.argsort(rows, kind="stable")
        rows, prices = rows[order], prices[order]
        first = np.r_[True, rows[1:] != rows[:-1]]
        starts = np.flatnonzero(first)
        turn = np.arange(len(rows)) - np.repeat(starts, np.diff(np.r_[starts, len(rows)]))
        # Of more trades than there is room for, the last ones: assignments are made in order.
        self.prices[rows, (self.count[rows] + turn) % LENGTH] = prices
        np.add.at(self.count, rows, 1)

    def z_scores(self) -> NDArray[np.float64]:
        """Return how many standard deviations each row's last price is from its mean; NaN where too few are known."""
        # A window with one price only, or none, has no deviation: that is what NaN says.
        with np.errstate(all="ignore"):
            known = np.minimum(self.count, LENGTH)
            filled = np.where(np.isnan(self.prices), 0.0, self.prices)
            mean = filled.sum(axis=1) / known
            deviation = np.sqrt(np.maximum((filled**2).sum(axis=1) / known - mean**2, 0.0))
            last = self.prices[np.arange(len(self.count)), (self.count - 1) % LENGTH]
            return np.where((known >= 20) & (deviation > 1e-9), (last - mean) / deviation, np.nan)


def main(feed: str, seconds: float = float("inf")) -> None:
    """Follow until Ctrl-C, or for a while."""
    end = time.monotonic() + seconds
    with openbell.attach(feed) as market, market.ticks(kinds=["trade"]) as ticks:
        indicators = Prices(len(market.last))
        report = time.monotonic() + 1.0
        while time.monotonic() < end:
            records = ticks.read(65_536, timeout=0.2)
            trades = records[records["kind"] == openbell.Kind.TRADE]
            indicators.add(trades["row"], trades["a"])
            if time.monotonic() >= report:
                scores = indicators.z_scores()
                found = np.argsort(-np.abs(np.nan_to_num(scores)))[:5]
                known = [f"{market.symbol(row)} {scores[row]:+.1f}" for row in found if not np.isnan(scores[row])]
                print(f"{ticks.delivered:,} trades, {ticks.skipped:,} missed; furthest: {', '.join(known)}", flush=True)
                report += 1.0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("feed")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after so long")
    arguments = parser.parse_args()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            main(arguments.feed, arguments.seconds)
    except openbell.OpenBellError as error:
        sys.exit(f"indicators: {error}")
