"""Where a listener's records go: into the rings, or, while one is full, where they wait by the policy in force."""

from collections.abc import Callable
from typing import Final

from _typeshed import WriteableBuffer
from typing_extensions import disjoint_base

from openbell.core.ring import RingWriter

OVERFLOWS: Final[tuple[str, ...]]

@disjoint_base
class Outlet:
    def __init__(
        self,
        rings: list[RingWriter],
        counters: WriteableBuffer,
        on_pressure: Callable[[], object],
        overflow: str,
        levels: int,
        side_queue_records: int,
        rows: int,
    ) -> None: ...
