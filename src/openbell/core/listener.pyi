"""From a WebSocket frame to records in rings, without going back to Python for a tick."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from _typeshed import ReadableBuffer, WriteableBuffer
from msgspec import Struct
from picows import WSListener, WSTransport
from typing_extensions import disjoint_base

from openbell.core.holes import Holes
from openbell.core.overlap import Overlap
from openbell.core.plan import Plan
from openbell.core.ring import RingWriter
from openbell.core.symbols import SymbolTable
from openbell.vendors.plan import Ignore, Route

OVERFLOWS: Final[tuple[str, ...]]

@disjoint_base
class FrameListener(WSListener):
    def __init__(
        self,
        plan: Plan | Sequence[Route | Ignore],
        symbols: SymbolTable,
        rings: list[RingWriter],
        counters: WriteableBuffer,
        clock_offset: ReadableBuffer,
        *,
        fallback: Callable[[FrameListener, bytes, int], object],
        on_connected: Callable[[WSTransport], object],
        on_disconnected: Callable[[int, str], object],
        on_pressure: Callable[[], object],
        on_pong: Callable[[], object] | None = None,
        open_symbols: bool = False,
        max_message_bytes: int = ...,
        publish_every: int = 256,
        side_queue_records: int = ...,
        overflow: str = "block",
        book_levels: int = 0,
        holes: Holes | None = None,
    ) -> None: ...
    @property
    def pending(self) -> int: ...
    @property
    def holds_reading(self) -> bool: ...
    @property
    def frames(self) -> int: ...
    @property
    def messages(self) -> int: ...
    @property
    def last_read_ns(self) -> int: ...
    @property
    def parked_bytes(self) -> int: ...
    @property
    def records_published(self) -> int: ...
    def publish(self) -> None: ...
    def drain(self) -> int: ...
    def abandon(self) -> int: ...
    def publish_event(self, route_index: int, event: Struct) -> int: ...
    def interrupted(self) -> None: ...
    def note(self, overlap: Overlap) -> None: ...
    def park(self) -> None: ...
    def release(self, overlap: Overlap | None) -> int: ...
    def publish_repair(self, key: bytes, price: float, size: float, exchange_ns: int, sequence: int = 0) -> bool: ...
    def publish_gap(
        self,
        reason: int,
        count: int,
        symbols: Iterable[bytes] | None = None,
        first_ns: int = 0,
        last_ns: int = 0,
    ) -> None: ...
    def publish_status(self, session: int, status: int) -> None: ...
    def count(self, reason: int, n: int = 1) -> None: ...
    def count_control(self) -> None: ...
