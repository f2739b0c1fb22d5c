"""Whom an interruption concerns: the symbols of a connection, as the feed knows them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Protocol

from openbell.config import Source


class Known(Protocol):
    """What is needed of the symbol table."""

    def items(self) -> Iterable[tuple[int, bytes]]:
        """Return row and key of all symbols that the feed knows by now."""


class Asked(Protocol):
    """What is needed of a connection's subscriber."""

    @property
    def keys(self) -> Mapping[str, bytes]:
        """The symbols that are wanted, each with its key in the symbol table."""


def concerned_symbols(
    source: Source, asked: Asked, prefixes: Collection[str], known: Known
) -> Callable[[], Collection[bytes]]:
    """Return what says, at any later time, which symbols came over a connection.

    Parameters
    ----------
    source : Source
        That of the connection.
    asked : Asked
        Its subscriber.
    prefixes : collection of str
        Those of all sources of the feed.
    known : SymbolTable
        Looked at only for an open source, of which nobody knows beforehand what comes: what has come has a row.
    """
    if not source.open:
        return lambda: asked.keys.values()
    own = source.prefix.encode()
    # Of two prefixes that fit, such as "" and "all:", the longer one says whose symbol it is.
    others = tuple(each.encode() for each in prefixes if each != source.prefix and each.startswith(source.prefix))

    def seen() -> Collection[bytes]:
        came = (key for _, key in known.items() if key.startswith(own) and not key.startswith(others))
        return dict.fromkeys((*asked.keys.values(), *came))

    return seen
