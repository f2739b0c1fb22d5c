"""The simulated universe: thousands of A-share codes of the real numbering ranges.

The ranges are those of the main boards of Shanghai (600, 601, 603, 605) and Shenzhen (000, 002) and of ChiNext (300);
which codes of a range are listed is made up.
"""

from __future__ import annotations

from openbell.errors import ConfigError

DEFAULT_SYMBOLS = 5_200

# Well-known codes come first, so that the README's example exists in every universe, however small.
_KNOWN = ("600519.SH", "000001.SZ", "300750.SZ", "601318.SH", "002594.SZ", "600036.SH", "000858.SZ", "601398.SH")
_RANGES = (
    (600_000, 602_000, "SH"),
    (603_000, 604_000, "SH"),
    (605_000, 606_000, "SH"),
    (1, 1_000, "SZ"),
    (2_001, 3_000, "SZ"),
    (300_001, 301_700, "SZ"),
)
# A prime step visits every code once in an order that mixes the ranges, the same on every machine.
_STEP = 3_571


def _all_codes() -> list[str]:
    codes = [f"{number:06d}.{exchange}" for low, high, exchange in _RANGES for number in range(low, high)]
    mixed = [codes[index * _STEP % len(codes)] for index in range(len(codes))]
    return list(dict.fromkeys((*_KNOWN, *mixed)))


MAX_SYMBOLS = len(_all_codes())


def a_shares(count: int = DEFAULT_SYMBOLS) -> list[str]:
    """Return `count` A-share codes, sorted; a smaller universe is a subset of every larger one.

    Raises
    ------
    ConfigError
        `count` is not in 1..`MAX_SYMBOLS`.
    """
    if not 1 <= count <= MAX_SYMBOLS:
        raise ConfigError(f"the cn universe has 1 to {MAX_SYMBOLS} symbols, not {count}")
    return sorted(_all_codes()[:count])
