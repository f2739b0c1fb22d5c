"""Price grids: which prices a venue admits.

A price of the made-up market is a position on its venue's grid; a move by a tick is a step of one, whatever the tick
is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

CN_BANDS = ((1, 1), (300_000, 0))
"""A-shares, in cents: a tick of 0.01 everywhere; ends at 3,000.00."""

HK_BANDS = (
    (10, 1),
    (250, 5),
    (500, 10),
    (10_000, 10),
    (20_000, 20),
    (50_000, 50),
    (100_000, 100),
    (200_000, 200),
    (500_000, 500),
    (1_000_000, 1_000),
    (2_000_000, 2_000),
    (5_000_000, 0),
)
"""Hong Kong, in 0.001 HKD: the exchange's spread table for equities (Second Schedule of its rules) as of 4 August 2025,
when the first phase of "Reduction of Minimum Spreads" halved 10-20 HKD to 0.01 and took 20-50 HKD to 0.02."""

US_BANDS = ((1_000, 1), (10_000, 100), (20_000_000, 0))
"""US equities, in 0.0001 USD: cents from 1 USD on, 0.0001 below (17 CFR 242.612); from 0.1 to 2,000 USD."""

CRYPTO_BANDS = ((1, 1), (10_000, 10), (1_000_000, 100), (100_000_000, 1_000), (1_000_000_000, 0))
"""Coins, in 0.0001 USDT: ticks of about a hundredth of a percent, as venues choose them pair by pair; to 100,000."""


def price_grid(bands: Sequence[tuple[int, int]]) -> Ints:
    """Return all admitted prices, ascending.

    Parameters
    ----------
    bands : sequence of (int, int)
        Where a band begins, and the tick in it; the last entry is the end and its tick does not count. The price at
        the end is admitted.
    """
    parts = [np.arange(low, high, tick) for (low, tick), (high, _) in pairwise(bands)]
    return np.concatenate([*parts, [bands[-1][0]]]).astype(np.int64)
