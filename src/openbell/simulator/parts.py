"""The parts of a message: what stands in it literally, and what is filled in from a column of numbers.

A declaration that `openbell.simulator.writer` runs, a row of columns for each message. Numbers are whole ones of 0 and
above; what has decimals is given in units of the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """One of a list of texts; the column holds its index."""

    column: str
    texts: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Number:
    """A decimal number, with exactly `decimals` digits after the point (0: no point)."""

    column: str
    decimals: int = 0


@dataclass(frozen=True, slots=True)
class Repeat:
    """Parts written `count` times, with a comma between them; `count` is a column.

    The columns of `parts` have two dimensions: a row for each message, and in it a value for each time.
    """

    count: str
    parts: tuple[bytes | Number, ...]


Part = bytes | Text | Number | Repeat


@dataclass(frozen=True, slots=True)
class Framing:
    """How messages share frames.

    Attributes
    ----------
    opening, separator, closing : bytes
        What a payload begins with, what stands between two messages in it, what it ends with.
    group : int
        How many consecutive events of a block share a frame (those of them that are written).
    """

    opening: bytes = b""
    separator: bytes = b""
    closing: bytes = b""
    group: int = 1
