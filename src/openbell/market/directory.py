"""Which symbol has which row: the symbol table as numpy and Python like it, kept as the table grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from openbell.core.symbols import SymbolTable
from openbell.errors import InvalidArgument, UnknownSymbol

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Directory:
    """The symbols of a feed.

    Parameters
    ----------
    feed : str
        Name of the feed, for messages.
    body : memoryview
        Body of the symbols segment, borrowed for the life of the directory.
    """

    def __init__(self, feed: str, body: memoryview) -> None:
        self.feed = feed
        self.table = SymbolTable(body)
        self._count = 0
        self._symbols: tuple[str, ...] = ()
        self._rows: NDArray[np.intp] = np.empty(0, np.intp)
        self._shards: NDArray[np.intp] = np.empty(0, np.intp)

    def _refresh(self) -> None:
        count = self.table.count
        if count == self._count:
            return
        # More may come while the table is read; the count from before the reading makes the next call look again.
        items = self.table.items()
        self._symbols = tuple(key.decode() for _, key in items)
        self._rows = np.fromiter((row for row, _ in items), np.intp, len(items))
        self._shards = np.fromiter((self.table.shard_of(key) for _, key in items), np.intp, len(items))
        # Handed out as they are, to be looked at.
        self._rows.flags.writeable = self._shards.flags.writeable = False
        self._count = count

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols, in row order."""
        self._refresh()
        return self._symbols

    def listing(self) -> tuple[tuple[str, ...], NDArray[np.intp], NDArray[np.intp]]:
        """Return all symbols in row order, with the row and the shard of each; the arrays are read-only."""
        self._refresh()
        return self._symbols, self._rows, self._shards

    def find(self, symbol: str) -> tuple[int, int]:
        """Return the row and the shard of `symbol`.

        Raises
        ------
        UnknownSymbol
            The table has no such symbol.
        """
        if not isinstance(symbol, str):
            raise InvalidArgument(f"a symbol is text, such as '600519.SH', and not {symbol!r}")
        key = symbol.encode("utf-8", "surrogatepass")
        row = self.table.lookup(key)
        if row < 0:
            raise UnknownSymbol(symbol, self.feed, self.symbols)
        return row, self.table.shard_of(key)

    def symbol(self, row: int) -> str:
        """Return the symbol of `row`.

        Raises
        ------
        KeyError
            No symbol has that row.
        """
        return self.table.key(row).decode()
