"""Other people's words as a terminal and a log may show them: nothing in them moves a cursor or begins a line."""

from __future__ import annotations

from typing import Final

WORD_MAX: Final = 80
"""Longest word of somebody else's that is shown whole; a symbol has 31 bytes at most."""


def printable(text: str) -> str:
    """Return `text` with escapes for all that is not printable, on one line."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def word(text: str) -> str:
    """Return the same of a symbol, or of what should have been one: not too long, either."""
    return printable(_cut(text))


def quoted(text: str) -> str:
    """Return such a word in quotes."""
    return repr(_cut(text))


def _cut(text: str) -> str:
    return text if len(text) <= WORD_MAX else f"{text[:WORD_MAX]}…"
