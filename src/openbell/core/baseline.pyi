"""What the frame listener is measured against. Benchmarks only."""

from collections.abc import Callable

from _typeshed import ReadableBuffer
from picows import WSListener
from typing_extensions import disjoint_base

@disjoint_base
class RawListener(WSListener):
    def __init__(self, on_count: Callable[[int], object]) -> None: ...
    @property
    def frames(self) -> int: ...

@disjoint_base
class DecodeListener(WSListener):
    def __init__(self, decode: Callable[[ReadableBuffer], object], on_count: Callable[[int], object]) -> None: ...
    @property
    def frames(self) -> int: ...
    def decode_with(self, decode: Callable[[ReadableBuffer], object]) -> None: ...
