"""Conditions over float columns, a block of rows at a time."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from _typeshed import ReadableBuffer, WriteableBuffer
from numpy.typing import NDArray
from typing_extensions import disjoint_base

# Name of each step of a program, and its number.
STEPS: Final[dict[str, int]]

@disjoint_base
class Program:
    def __init__(self, steps: Sequence[tuple[str, float]], columns: int) -> None: ...
    def run(
        self,
        columns: Sequence[ReadableBuffer | NDArray[Any]],
        rows: int,
        places: WriteableBuffer | NDArray[np.intp],
    ) -> int: ...
