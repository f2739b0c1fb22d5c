"""Records that can be checked by themselves: every byte follows from the position in the ring."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openbell import record

_KEY = 0x5DEECE66D


def numbered(first: int, count: int) -> bytes:
    """Return the records of positions `first` to ``first + count - 1``."""
    return _expected(np.arange(first, first + count, dtype=np.int64)).tobytes()


def _expected(positions: NDArray[np.int64]) -> NDArray[np.void]:
    records = np.zeros(len(positions), record.dtype())
    records["row"] = positions & 0xFFFF
    records["kind"] = record.Kind.TRADE
    records["side"] = positions % 3
    records["flags"] = positions & 0xFF
    records["exchange_ns"] = positions * 3 + 1
    records["receive_ns"] = positions ^ _KEY
    records["sequence"] = positions
    for index, name in enumerate("abcd"):
        records[name] = positions * (index + 1.5)
    return records


def torn(data: bytes) -> int:
    """Return how many of the records contradict themselves: not every field is of the same position."""
    found = np.frombuffer(data, record.dtype())
    expected = _expected(found["sequence"].copy())
    same = np.frombuffer(data, np.uint64).reshape(-1, 8) == expected.view(np.uint64).reshape(-1, 8)
    return int((~same.all(axis=1)).sum())


def misplaced(data: bytes, first: int) -> int:
    """Return how many of the records are not the one of their position, the first being `first`."""
    found = np.frombuffer(data, record.dtype())["sequence"]
    return int((found != np.arange(first, first + len(found))).sum())
