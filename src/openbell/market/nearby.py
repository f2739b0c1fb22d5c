"""Symbols that somebody probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def nearby(symbol: str, known: Sequence[str], most: int = 3) -> list[str]:
    """Return up to `most` of the `known` symbols that are like `symbol`, the likeliest first."""
    asked = symbol.casefold()
    if not asked:
        return []
    folded = {name.casefold(): name for name in known}
    if asked in folded:
        return [folded[asked]]
    # "600519" for "600519.SH", "SH600519" and "usdm:BTCUSDT": one is part of the other.
    found = [name for key, name in folded.items() if asked in key or (len(key) > 2 and key in asked)]
    if found:
        return sorted(found, key=len)[:most]
    # Codes are so alike that many are equally close by what they share: then the fewest places that differ.
    close = difflib.get_close_matches(asked, folded, n=64, cutoff=0.7)
    close.sort(key=lambda key: sum(map(str.__ne__, key, asked)) + abs(len(key) - len(asked)))
    return [folded[key] for key in close[:most]]
