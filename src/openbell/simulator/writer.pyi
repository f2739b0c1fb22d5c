from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from openbell.simulator.parts import Framing, Part

class Writer:
    def __init__(self, parts: Sequence[Part], framing: Framing) -> None: ...
    def frames(
        self, columns: Mapping[str, npt.NDArray[Any]], chosen: npt.NDArray[np.intp]
    ) -> tuple[bytes, npt.NDArray[np.int64]]: ...
