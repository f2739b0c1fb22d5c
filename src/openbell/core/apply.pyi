"""The worker's loop: records out of its rings, into the rows of the snapshot, exactly once through any crash."""

from typing import Final, Literal, TypeVar

from _typeshed import WriteableBuffer
from typing_extensions import disjoint_base

from openbell.core.symbols import SymbolTable

# Variables, so that a list of any one kind of buffer will do.
_Ring = TypeVar("_Ring", bound=WriteableBuffer)
_Bell = TypeVar("_Bell", bound=WriteableBuffer)

WAITS: Final[tuple[str, ...]]

@disjoint_base
class Applier:
    # `rings` and `producer_bells` are lists, not any sequence: compiled code checks the type.
    def __init__(
        self,
        snapshot: WriteableBuffer,
        worker: int,
        rings: list[_Ring],
        worker_bell: WriteableBuffer,
        producer_bells: list[_Bell],
        counters: WriteableBuffer,
        histogram: WriteableBuffer,
        clock_offset: WriteableBuffer,
        wait: str = "adaptive",
        symbols: SymbolTable | None = None,
        exchange_histogram: WriteableBuffer | None = None,
        readers_bell: WriteableBuffer | None = None,
        bars: WriteableBuffer | None = None,
    ) -> None: ...
    def recover(self) -> Literal[0, 1]: ...
    def backlog(self) -> int: ...
    def run(self, budget_ns: int, limit: int = 0) -> int: ...
