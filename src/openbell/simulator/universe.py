"""The simulated universes: whole markets of the real size, with their codes, price grids, lots and day limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from openbell.errors import ConfigError
from openbell.simulator.codes import HK_LOTS, cn_codes, crypto_codes, hk_codes, us_codes
from openbell.simulator.grid import CN_BANDS, CRYPTO_BANDS, HK_BANDS, US_BANDS, Ints, price_grid


@dataclass(frozen=True, slots=True)
class Universe:
    """One market's conventions.

    Attributes
    ----------
    name : str
        As in ``--universe``.
    default_symbols : int
        How many codes it has unless asked for more or fewer.
    codes : callable
        Returns all codes there are, well-known ones first.
    bands : tuple
        See `openbell.simulator.grid.price_grid`.
    decimals : int
        Decimals of a price; the unit of the grid is the last of them.
    median_price, price_spread : float
        Of the log-normal distribution of previous closes, in currency.
    book_levels : int
        Levels of an order book that AllTick pushes for this market at most.
    odd_lots : bool
        Whether trades of less than a lot are common.
    volume_decimals : int
        Decimals of a volume; 0 where whole shares are traded.
    """

    name: str
    default_symbols: int
    codes: Callable[[], list[str]]
    bands: tuple[tuple[int, int], ...]
    decimals: int
    median_price: float
    price_spread: float
    book_levels: int
    odd_lots: bool = False
    volume_decimals: int = 0

    def symbols(self, count: int = 0) -> list[str]:
        """Return `count` codes (0: the default), sorted; a smaller universe is a subset of every larger one.

        Raises
        ------
        ConfigError
            There are not so many.
        """
        codes = _codes(self.name)
        if not 0 <= count <= len(codes):
            raise ConfigError(f"the {self.name} universe has 1 to {len(codes)} symbols, not {count}")
        return sorted(codes[: count or self.default_symbols])

    @property
    def max_symbols(self) -> int:
        """How many codes there are."""
        return len(_codes(self.name))

    @property
    def grid(self) -> Ints:
        """All admitted prices, ascending, in units of the last decimal. Shared: not to be written to."""
        return _grid(self.name)

    def limits(self, symbols: Sequence[str]) -> Ints:
        """Return how far each price may move from the previous close in a day, in percent.

        A-shares: 20 on ChiNext (300, 301), 10 on the main boards. The other markets have no fixed limit; there the
        figure only keeps a random walk within reason.
        """
        if self.name != "cn":
            return np.full(len(symbols), 50, dtype=np.int64)
        return np.array([20 if code.startswith("30") else 10 for code in symbols], dtype=np.int64)

    def lots(self, symbols: Sequence[str], closes: Ints, random: np.random.Generator) -> Ints:
        """Return each symbol's lot in shares, given its previous close.

        A-shares trade by 100; US shares by 100, and singly; in Hong Kong issuers choose the board lot, mostly so that
        it is worth some thousand HKD. A coin has no lots: the figure is about 10 USD worth of it.
        """
        if self.name == "crypto":
            worth_10: Ints = 10 ** (1 + self.decimals + self.volume_decimals) // closes
            return worth_10.clip(1, 1_000_000)
        if self.name != "hk":
            return np.full(len(symbols), 100, dtype=np.int64)
        usual = np.array([100, 200, 400, 500, 1_000, 2_000, 5_000, 10_000, 20_000], dtype=np.int64)
        worth = random.uniform(2_000.0, 8_000.0, len(symbols)) * 10**self.decimals
        drawn = usual[np.minimum(np.searchsorted(usual, worth / closes), len(usual) - 1)]
        known = [HK_LOTS.get(code.removesuffix(".HK"), 0) for code in symbols]
        return np.where(np.array(known) > 0, known, drawn)


UNIVERSES = {
    "cn": Universe("cn", 5_200, cn_codes, CN_BANDS, 2, 15.0, 0.9, book_levels=5),
    "hk": Universe("hk", 3_000, hk_codes, HK_BANDS, 3, 2.5, 1.7, book_levels=10),
    "us": Universe("us", 11_000, us_codes, US_BANDS, 4, 22.0, 1.3, book_levels=1, odd_lots=True),
    "crypto": Universe("crypto", 400, crypto_codes, CRYPTO_BANDS, 4, 1.0, 2.5, book_levels=5, volume_decimals=3),
}
"""The universes, by name."""


@cache
def _codes(name: str) -> tuple[str, ...]:
    return tuple(UNIVERSES[name].codes())


@cache
def _grid(name: str) -> Ints:
    grid = price_grid(UNIVERSES[name].bands)
    grid.flags.writeable = False
    return grid


DEFAULT_SYMBOLS = UNIVERSES["cn"].default_symbols
MAX_SYMBOLS = UNIVERSES["cn"].max_symbols


def a_shares(count: int = DEFAULT_SYMBOLS) -> list[str]:
    """Return `count` A-share codes, sorted; see `Universe.symbols`.

    Raises
    ------
    ConfigError
        `count` is not in 1..`MAX_SYMBOLS`.
    """
    if not count:
        raise ConfigError(f"the cn universe has 1 to {MAX_SYMBOLS} symbols, not {count}")
    return UNIVERSES["cn"].symbols(count)
