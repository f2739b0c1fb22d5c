"""The frame listener as a connection sees it, and how the compiled one is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, cast

from picows import WSTransport

from openbell.config import Overflow
from openbell.reasons import Reason
from openbell.receiver.fallback import EventSink
from openbell.vendors.plan import Ignore, Route

if TYPE_CHECKING:
    from openbell.core.holes import Holes
    from openbell.core.overlap import Overlap
    from openbell.core.ring import RingWriter
    from openbell.core.symbols import SymbolTable


class Listener(EventSink, Protocol):
    """What a connection needs of a frame listener (it is a picows ``WSListener``, too)."""

    @property
    def frames(self) -> int:
        """Frames that came to this listener; any change is a sign of life."""

    @property
    def records_published(self) -> int:
        """Data records that this listener published."""

    def publish(self) -> None:
        """Show the workers everything that is in the rings."""

    def drain(self) -> int:
        """Move the side queue into the rings as far as there is room; return how many records still wait."""

    def abandon(self) -> int:
        """Drop the side queue, count its records as lost, and return how many they were."""

    @property
    def holds_reading(self) -> bool:
        """Whether reading is to pause while something waits for room in a ring."""

    @property
    def messages(self) -> int:
        """Whole messages that came to this listener, acknowledgements included."""

    @property
    def last_read_ns(self) -> int:
        """When the last socket read that brought a frame returned, CLOCK_MONOTONIC in ns; 0: never."""

    @property
    def parked_bytes(self) -> int:
        """Bytes of the messages that are kept unread, see `park`."""

    def note(self, overlap: Overlap) -> None:
        """Remember in `overlap` what is published from now on: another connection is about to replace this one."""

    def park(self) -> None:
        """Keep market data unread until `release`."""

    def release(self, overlap: Overlap | None) -> int:
        """Publish what was kept, but for what `overlap` says was published already; return how much was kept."""

    def interrupted(self) -> None:
        """Note that an interruption is told: what numbers show to be missing next is a part of that."""

    def publish_repair(self, key: bytes, price: float, size: float, exchange_ns: int, sequence: int = 0) -> bool:
        """Tell the latest trade of a symbol, asked for after a gap; return whether the symbol has a row."""

    def publish_gap(
        self, reason: int, count: int, symbols: Iterable[bytes] | None = None, first_ns: int = 0, last_ns: int = 0
    ) -> None:
        """Put one GAP record into every ring; and one for each of the `symbols` that it concerns, if not all."""

    def publish_status(self, session: int, status: int) -> None:
        """Put one STATUS record into every ring."""


def _nothing(*_: object) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a connection gives to the frame listener made for it."""

    plan: tuple[Route | Ignore, ...]
    fallback: Callable[[EventSink, bytes, int], None]
    on_connected: Callable[[WSTransport], None]
    on_disconnected: Callable[[int, str], None]
    on_pressure: Callable[[], None]
    prefix: bytes
    open_symbols: bool
    max_message_bytes: int
    overflow: Overflow = "block"
    book_levels: int = 0
    on_pong: Callable[[], None] = _nothing
    holes: Holes | None = None


# A plan has an entry at least; this one is for frames that never come.
_NO_FRAMES: Final = (Ignore(b"-", Reason.IGNORED_OTHER),)
UNCONNECTED: Final = Hooks(_NO_FRAMES, _nothing, _nothing, _nothing, _nothing, b"", False, 0)
"""For a listener that no connection uses: it hears nothing, and only publishes what it is told to."""


def compiled_listeners(
    symbols: SymbolTable,
    rings: Sequence[RingWriter],
    counters: memoryview,
    clock_offset: memoryview,
    publish_every: int = 256,
) -> Callable[[Hooks], Listener]:
    """Return what makes the compiled frame listener of each connection.

    Parameters
    ----------
    symbols : SymbolTable
        Open for insertion.
    rings : sequence of RingWriter
        One a worker, in the order of shards.
    counters, clock_offset : memoryview
        The receiver's counter block and the feed's clock word; borrowed for the life of every listener.
    publish_every : int
        Frames after which records are shown to the workers even in the middle of a socket read.
    """
    # Imported here: the life of a connection can be tried out without the compiled path.
    from openbell.core.listener import FrameListener
    from openbell.core.plan import Plan

    def make(hooks: Hooks) -> Listener:
        listener = FrameListener(
            Plan(hooks.plan, hooks.prefix),
            symbols,
            list(rings),
            counters,
            clock_offset,
            fallback=hooks.fallback,
            on_connected=hooks.on_connected,
            on_disconnected=hooks.on_disconnected,
            on_pressure=hooks.on_pressure,
            on_pong=hooks.on_pong,
            open_symbols=hooks.open_symbols,
            max_message_bytes=hooks.max_message_bytes,
            publish_every=publish_every,
            overflow=hooks.overflow,
            book_levels=hooks.book_levels,
            holes=hooks.holes,
        )
        return cast(Listener, listener)

    return make
