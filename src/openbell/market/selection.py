"""What a reader wants of a stream: which symbols, which kinds of records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from openbell.errors import InvalidArgument
from openbell.record import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from openbell.market.directory import Directory

_EVERYTHING = -1
_UNKNOWN = 2
_WORDS = {kind.name.lower(): kind for kind in Kind if kind is not Kind.PAD}


class Selection:
    """What is wanted.

    Parameters
    ----------
    symbols : iterable of str, optional
        None: all.
    kinds : iterable of Kind or str, optional
        None: all. TRADE stands for TRADES as well: that is what trades become where they had to be merged.

    Raises
    ------
    InvalidArgument
        Nothing is wanted, or a kind of that name is not known.
    """

    def __init__(self, symbols: Iterable[str] | str | None, kinds: Iterable[Kind | str] | Kind | str | None) -> None:
        if isinstance(symbols, str):
            symbols = (symbols,)
        if isinstance(kinds, str | Kind):
            kinds = (kinds,)
        self.symbols = None if symbols is None else frozenset(symbols)
        self.kinds = _EVERYTHING if kinds is None else _mask(kinds)
        if self.symbols is not None and not self.symbols:
            raise InvalidArgument("symbols is empty: nothing would ever come; None stands for all")
        if self.kinds == 0:
            raise InvalidArgument("kinds is empty: nothing would ever come; None stands for all")

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return self.symbols is None and self.kinds == _EVERYTHING

    def check(self, directory: Directory) -> None:
        """See to it that the feed knows all wanted symbols.

        Raises
        ------
        UnknownSymbol
            It does not; the message names those that are like it.
        """
        for symbol in sorted(self.symbols or ()):
            directory.find(symbol)

    def mask(self, directory: Directory, rows: int) -> NDArray[np.uint8] | None:
        """Return for each row whether it is wanted (1), not (0), or to be asked for when it first shows (2)."""
        if self.symbols is None:
            return None
        found = np.full(rows, _UNKNOWN, np.uint8)
        symbols, listed, _ = directory.listing()
        found[listed] = np.fromiter((symbol in self.symbols for symbol in symbols), np.uint8, len(symbols))
        return found

    def wants(self, symbol: str) -> bool:
        """Return whether a symbol is wanted."""
        return self.symbols is None or symbol in self.symbols


def _mask(kinds: Iterable[Kind | str]) -> int:
    found = 0
    for each in kinds:
        kind = _WORDS.get(each.lower()) if isinstance(each, str) else each
        if not isinstance(kind, Kind) or kind is Kind.PAD:
            raise InvalidArgument(f"{each!r} is no kind of record; the kinds are {', '.join(_WORDS)}")
        found |= 1 << kind
        if kind is Kind.TRADE:
            found |= 1 << Kind.TRADES
    return found
