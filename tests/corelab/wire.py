"""A small vendor of our own, and a frame listener to give frames to, without sockets."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from picows import WSFrame, WSMsgType
from picows.picows import _make_test_ws_frame

from corelab.memory import memory
from corelab.records import Record, unpack
from openbell.core import ring, symbols, words
from openbell.core.listener import FrameListener
from openbell.core.plan import Plan
from openbell.core.ring import RingReader, RingWriter
from openbell.core.symbols import SymbolTable
from openbell.reasons import REASONS, Reason
from openbell.record import Kind
from openbell.vendors.plan import Field, Ignore, Op, Route

# Words of a receiver's block of counters.
(
    C_FRAMES, C_BYTES, C_EVENTS, C_RECORDS, C_PUBLISHES, C_READS, C_PAUSED_NS, C_SIDE_PEAK, C_PRESSURE, C_MAX_FRAMES,
    C_CONTROL, C_LOST,
) = range(12)  # fmt: skip
C_REASONS = 64


class Loose(msgspec.Struct):
    """An event that decodes whatever comes: every guard of the listener is on its own."""

    symbol: Any = None
    price: Any = None
    size: Any = None
    amount: Any = None
    other: Any = None
    sequence: Any = None
    time: Any = None
    code: Any = None
    maker: Any = None
    type: Any = "t"
    keep: Any = None


class LooseFrame(msgspec.Struct):
    """A frame with one loose event."""

    event: Any


class LooseList(msgspec.Struct):
    """A frame with many loose events."""

    events: list[Loose]


class One(msgspec.Struct):
    """A frame with one loose event, or none."""

    one: Loose | None
    tag: Any = 1


class Strict(msgspec.Struct):
    """An event as a vendor declares it."""

    s: str
    p: float
    q: float | None = None
    t: float | None = None
    n: int = 0
    T: int = 0
    d: int = 0


class StrictList(msgspec.Struct):
    """A frame with many strict events."""

    ticks: list[Strict] | None
    cmd: int = 1


FIELDS = (
    Field("symbol", Op.SYMBOL),
    Field("type", Op.EXPECT, expect="t"),
    Field("keep", Op.KEEP_IF, expect="yes", reason=Reason.IGNORED_NOT_MARKET),
    Field("price", Op.PRICE, target="a"),
    Field("size", Op.SIZE, target="b"),
    Field("amount", Op.AMOUNT, target="c"),
    Field("other", Op.AMOUNT, target="d"),
    Field("sequence", Op.SEQUENCE),
    Field("time", Op.TIME),
    Field("code", Op.SIDE_CODE),
    Field("maker", Op.SIDE_BUYER_MAKER),
)
STRICT_FIELDS = (
    Field("s", Op.SYMBOL),
    Field("p", Op.PRICE, target="a"),
    Field("q", Op.SIZE, target="b"),
    Field("t", Op.AMOUNT, target="c"),
    Field("n", Op.SEQUENCE),
    Field("T", Op.TIME),
    Field("d", Op.SIDE_CODE),
)
LOOSE = Route("loose", Kind.TRADE, Loose, Loose, "", False, FIELDS, b'{"symbol":')
LIST = Route("list", Kind.TRADE, LooseList, Loose, "events", True, FIELDS, b'{"events":')
ONE = Route("one", Kind.TRADE, One, Loose, "one", False, FIELDS, b'{"one":', ("tag", 1))
QUOTES = Route("quote", Kind.QUOTE, Loose, Loose, "", False, FIELDS, b'{"quote":')
STRICT = Route("strict", Kind.TRADE, StrictList, Strict, "ticks", True, STRICT_FIELDS, b'"ticks"', ("cmd", 1))
DEPTH = Ignore(b'"depth"', Reason.IGNORED_DEPTH)
PLAN = (LOOSE, LIST, ONE, QUOTES, STRICT, DEPTH)
LOOSE_INDEX, LIST_INDEX, ONE_INDEX, QUOTE_INDEX, STRICT_INDEX, DEPTH_INDEX = range(6)
SYMBOLS = (b"AAA", b"BBB", b"CCC", "贵州".encode())


def text_frame(payload: bytes, *, last: bool = True) -> WSFrame:
    """Return a whole text message in one frame; `last`: whether its socket read ends with it."""
    return frame(WSMsgType.TEXT, payload, last=last)


def frame(kind: WSMsgType, payload: bytes, *, fin: bool = True, last: bool = True) -> WSFrame:
    """Return a frame as picows hands it out."""
    made = _make_test_ws_frame(kind, payload, fin, False)
    if not last:
        _not_last(made)
    return made


def _not_last(made: WSFrame) -> None:
    """Clear `last_in_buffer`, which is the last byte of a frame's members and cannot be set from Python."""
    address = id(made) + _LAST_AT
    ctypes.c_uint8.from_address(address).value = 0
    assert not made.last_in_buffer
    assert made.fin


def _find_last() -> int:
    """Return the offset of `last_in_buffer`: the one byte behind which `fin`, `rsv1..3` lie as they were made."""
    made = _make_test_ws_frame(WSMsgType.TEXT, b"", True, True)
    size = type(made).__basicsize__
    data = ctypes.string_at(id(made), size)
    # fin, rsv1, rsv2, rsv3, last_in_buffer
    at = data.rfind(bytes([1, 1, 0, 0, 1]))
    if at < 0:
        raise RuntimeError("picows lays its frames out otherwise than these tests know")
    return at + 4


_LAST_AT = _find_last()


class Receiver:
    """A frame listener with its table, rings, counters and clock.

    Parameters
    ----------
    directory : Path
        For the lock of the symbol table.
    plan : sequence of Route or Ignore
        What the listener understands.
    shards, capacity : int
        Rings, and records of each.
    beside : Receiver, optional
        Another connection of the same receiver: this one has its rings, table and counters, and a listener of its own.
    """

    def __init__(
        self,
        directory: Path,
        plan: Sequence[Route | Ignore] = PLAN,
        *,
        shards: int = 2,
        capacity: int = 1024,
        known: Iterable[bytes] = SYMBOLS,
        symbols_capacity: int = 64,
        prefix: bytes = b"",
        max_wait_ns: int = 1000,
        fallback: Any = None,
        beside: Receiver | None = None,
        **options: Any,
    ) -> None:
        if beside is not None:
            self.__dict__.update(beside.__dict__)
            self._listen(plan, prefix, fallback, options)
            return
        table = memory(symbols.size(symbols_capacity, shards))
        symbols.format(table, symbols_capacity, shards)
        self.table = SymbolTable(table, str(directory / "symbols.lock"))
        for symbol in known:
            self.table.insert(symbol)
        self.bell = memory(64)
        self.rings = [memory(ring.size(capacity)) for _ in range(shards)]
        self.writers = []
        for index, buffer in enumerate(self.rings):
            ring.format(buffer, capacity, index)
            writer = RingWriter(buffer, memory(64), self.bell, max_wait_ns)
            writer.recover()
            self.writers.append(writer)
        self.readers = [RingReader(buffer) for buffer in self.rings]
        self.counters = memory(1024)
        self.clock_offset = memory(64)
        self.unclaimed: list[tuple[bytes, int]] = []
        self.pressed = 0
        self.connected: list[object] = []
        self.disconnected: list[tuple[int, str]] = []
        self._listen(plan, prefix, fallback, options)

    def _listen(self, plan: Sequence[Route | Ignore], prefix: bytes, fallback: Any, options: dict[str, Any]) -> None:
        self.listener = FrameListener(
            Plan(tuple(plan), prefix),
            self.table,
            self.writers,
            self.counters,
            self.clock_offset,
            fallback=fallback or (lambda listener, payload, why: self.unclaimed.append((payload, why))),
            on_connected=self.connected.append,
            on_disconnected=lambda code, reason: self.disconnected.append((code, reason)),
            on_pressure=self._press,
            **options,
        )

    def _press(self) -> None:
        self.pressed += 1

    def send(self, *payloads: bytes, together: bool = False) -> None:
        """Have messages arrive, each in a socket read of its own, or all in one."""
        for index, payload in enumerate(payloads):
            self.receive(text_frame(payload, last=not together or index == len(payloads) - 1))

    def receive(self, made: WSFrame) -> None:
        """Have a frame arrive."""
        self.listener.on_ws_frame(None, made)  # type: ignore[arg-type]

    def shard(self, symbol: bytes) -> int:
        """Return the ring that takes a symbol's records."""
        return self.table.shard_of(symbol)

    def taken(self) -> list[list[Record]]:
        """Take what is published, ring by ring."""
        return [unpack(reader.poll(1 << 20)) for reader in self.readers]

    def records(self) -> list[Record]:
        """Take what is published, of all rings; in order within each."""
        return [record for records in self.taken() for record in records]

    def counter(self, index: int) -> int:
        """Return a word of the block of counters."""
        return words.load(self.counters, index * 8)

    def counted(self) -> dict[Reason, int]:
        """Return how many events were not applied, by reason."""
        found = {}
        for index in range(REASONS):
            if count := self.counter(C_REASONS + index):
                found[Reason(index)] = count
        return found

    def balanced(self) -> bool:
        """Say whether every event is a record, or counted under a reason."""
        return self.counter(C_EVENTS) == self.counter(C_RECORDS) + sum(self.counted().values())
