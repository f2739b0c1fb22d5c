"""Which symbols a scan leaves out until they have traded: those of sources that say ``only_traded``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
from msgspec import Struct

if TYPE_CHECKING:
    from numpy.typing import NDArray


class _Source(Struct):
    prefix: str = ""
    only_traded: bool = False


class _Config(Struct):
    """What is needed of a feed's configuration; the rest is passed over."""

    sources: list[_Source] = []


# Made once, at import: msgspec looks into types when it first meets them, and two threads must not do that at once.
_decode: Final = msgspec.json.Decoder(_Config).decode


class Asked:
    """What a feed's configuration says of its symbols.

    Parameters
    ----------
    config : bytes
        The configuration as JSON, as the feed's processes have it.
    """

    def __init__(self, config: bytes) -> None:
        sources = _decode(config).sources
        # Of two prefixes that fit, such as "" and "usdm:", the longer one says whose symbol it is.
        self._sources = sorted({(each.prefix, each.only_traded) for each in sources}, key=lambda each: -len(each[0]))
        self._symbols: Sequence[str] = ()
        self._wanted: NDArray[np.bool_] = np.empty(0, np.bool_)

    @property
    def anywhere(self) -> bool:
        """Whether any source says it."""
        return any(only for _, only in self._sources)

    def of(self, symbols: tuple[str, ...]) -> NDArray[np.bool_]:
        """Return for each of `symbols` whether its source says it."""
        if symbols is not self._symbols:
            self._wanted = np.fromiter(map(self._asked, symbols), np.bool_, len(symbols))
            self._symbols = symbols
        return self._wanted

    def _asked(self, symbol: str) -> bool:
        return next((only for prefix, only in self._sources if symbol.startswith(prefix)), False)
