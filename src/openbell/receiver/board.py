"""Where a connection's symbols have their rows, and what is said there about their subscriptions."""

from __future__ import annotations

from typing import Protocol

from openbell.core import words
from openbell.monitor.subscriptions import Subscription, Subscriptions, SubscriptionState


class Table(Protocol):
    """What is needed of the symbol table."""

    def insert(self, key: bytes) -> int:
        """Return the row of a symbol, a new one if it has none."""

    def lookup(self, key: bytes) -> int:
        """Return the row of a symbol, or -1."""

    def mute(self, key: bytes) -> bool:
        """Drop what comes for a symbol, and count it; return whether it has a row."""

    def unmute(self, key: bytes) -> bool:
        """Take what comes for a symbol again; return whether it has a row."""


class Board:
    """The rows of one connection's symbols.

    Parameters
    ----------
    table : Table
        The symbol table, open for insertion.
    view : Subscriptions
        The subscriptions of the feed, writable.
    prefix : str
        Of the source, before every key.
    connection : int
        Number of the connection through all sources.
    """

    def __init__(self, table: Table, view: Subscriptions, prefix: str, connection: int) -> None:
        self._table = table
        self._view = view
        self._prefix = prefix
        self._connection = connection
        self._rows: dict[str, int] = {}

    def enter(self, key: str) -> int:
        """Return the row of a symbol, a new one if it has none.

        Raises
        ------
        SymbolTableFull
            There is no room for it.
        """
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = self._table.insert((self._prefix + key).encode())
        return row

    def has(self, key: str) -> bool:
        """Return whether a symbol has a row."""
        return self._table.lookup((self._prefix + key).encode()) >= 0

    def show(self, key: str, state: SubscriptionState, code: int = 0) -> None:
        """Say how far the subscription of a symbol is."""
        self._view.write(self.enter(key), state, self._connection, code=code)

    def read(self, key: str) -> Subscription:
        """Return what is said about a symbol."""
        return self._view.read(self.enter(key))

    def age_s(self, key: str) -> float:
        """Return for how long that has been said, in seconds."""
        return (words.monotonic_ns() - self.read(key).changed_ns) / 1e9

    def mute(self, key: str) -> None:
        """Drop what comes for a symbol, and count it."""
        self.enter(key)
        self._table.mute((self._prefix + key).encode())

    def unmute(self, key: str) -> None:
        """Take what comes for a symbol again."""
        self.enter(key)
        self._table.unmute((self._prefix + key).encode())
