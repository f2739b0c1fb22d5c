"""Waiting for news of several rings at once: published by receivers, or applied by workers."""

from collections.abc import Sequence
from typing import Literal

from _typeshed import ReadableBuffer, WriteableBuffer
from typing_extensions import disjoint_base

WAITS: tuple[str, ...]

@disjoint_base
class Watch:
    def __init__(
        self,
        rings: Sequence[ReadableBuffer],
        word: Literal["head", "applied"] = "head",
        bell: WriteableBuffer | None = None,
        wait: Literal["adaptive", "spin", "yield", "park"] = "adaptive",
    ) -> None: ...
    @property
    def over(self) -> bool: ...
    def mark(self) -> None: ...
    def wait(self, timeout_ns: int) -> bool: ...
