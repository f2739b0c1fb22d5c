"""A receiver process of a crash test: trades and books through a frame listener of one policy, into full rings.

Each life goes on where the snapshot says that the rings got to, symbol by symbol, once the workers have applied all
that is published. What a dead one had not published is sent anew, as if the vendor had kept it.
"""

from __future__ import annotations

import sys
import time
from array import array
from pathlib import Path
from typing import Any, cast

import msgspec
from picows import WSMsgType, WSTransport
from picows.picows import _make_test_ws_frame

from faults.shared import LEVELS, RECEIVERS, SHARDS, SYMBOLS, Shared, ring_name
from openbell.core import ring, snapshot, words
from openbell.core.listener import FrameListener
from openbell.record import Kind
from openbell.vendors.plan import Field, Op, Route


class Level(msgspec.Struct):
    """A level of a book."""

    p: float
    v: float


class Event(msgspec.Struct):
    """A trade or a book."""

    s: str
    n: int
    p: float = 0.0
    q: float = 0.0
    bids: list[Level] = []
    asks: list[Level] = []


class Trade(msgspec.Struct):
    """A frame with a trade."""

    trade: Event


class Book(msgspec.Struct):
    """A frame with a book."""

    book: Event


SYMBOL, NUMBER = Field("s", Op.SYMBOL), Field("n", Op.SEQUENCE)
TRADE = (SYMBOL, NUMBER, Field("p", Op.PRICE, target="a"), Field("q", Op.SIZE, target="b"))
BOOK = (SYMBOL, NUMBER, Field("bids", Op.BIDS, level=("p", "v")), Field("asks", Op.ASKS, level=("p", "v")))
PLAN = (
    Route("trade", Kind.TRADE, Trade, Event, "trade", False, TRADE, b'{"trade"'),
    Route("book", Kind.LEVEL, Book, Event, "book", False, BOOK, b'{"book"'),
)


def event(number: int) -> tuple[str, dict[str, Any]]:
    """Return kind and body of event `number`: what a book holds says which one it is."""
    mixed = number * 2654435761 % 2**32
    symbol = SYMBOLS[mixed // 11 % len(SYMBOLS)]
    if mixed % 3:
        return "trade", {"s": symbol, "n": number, "p": 10 + mixed % 50 / 4, "q": mixed % 9}
    depth = 1 + mixed // 3 % LEVELS
    bids = [{"p": 100_000 + number - level, "v": number % 100 + level} for level in range(depth)]
    asks = [{"p": 200_000 + number + level, "v": number % 100 + level} for level in range(depth - mixed // 17 % 2)]
    return "book", {"s": symbol, "n": number, "bids": bids, "asks": asks}


def settled(shared: Shared) -> dict[str, tuple[int, int]]:
    """Wait until all that is published is applied; return the last trade and the last book of each symbol."""
    bodies = [shared.maps[ring_name(shard, receiver)] for shard in range(SHARDS) for receiver in range(RECEIVERS)]
    while any(at["applied"] != at["head"] for at in map(ring.positions, bodies)):
        time.sleep(0.001)
    reader = snapshot.SnapshotReader(shared.maps["snapshot"])
    names = [name for name, _ in reader.columns]
    copy = array("q", bytes(8 * len(names) * reader.rows))
    reader.copy_all(copy)
    trades, books = (names.index(name) * reader.rows for name in ("trade_sequence", "quote_sequence"))
    table = shared.table()
    rows = {symbol: table.lookup(symbol.encode()) for symbol in SYMBOLS}
    return {symbol: (copy[trades + row], copy[books + row]) for symbol, row in rows.items()}


def main(directory: str, overflow: str, count: int) -> None:
    shared = Shared(Path(directory))
    if not words.crash_hooks_compiled():
        raise RuntimeError("this needs the build with crash points")
    writers = [shared.writer(shard) for shard in range(SHARDS)]
    for writer in writers:
        writer.recover()
    last = settled(shared)

    def unexpected(*args: object) -> None:
        raise RuntimeError(f"the listener was not to call this: {args}")

    control = memoryview(shared.maps["control"])
    listener = FrameListener(
        PLAN,
        shared.table(),
        writers,
        bytearray(1024),
        control[8:16],
        fallback=unexpected,
        on_connected=unexpected,
        on_disconnected=unexpected,
        on_pressure=lambda: None,
        overflow=overflow,
        book_levels=LEVELS,
    )
    # Frames without a connection: the listener uses its transport for CLOSE frames alone.
    transport = cast(WSTransport, None)
    for number in range(1, count + 1):
        kind, body = event(number)
        if number <= last[body["s"]][kind == "book"]:
            continue
        payload = msgspec.json.encode({kind: body})
        listener.on_ws_frame(transport, _make_test_ws_frame(WSMsgType.TEXT, payload, True, False))
        if number % 97 == 0:
            listener.publish_gap(2, -1, [body["s"].encode()])
        while overflow == "block" and listener.pending:
            listener.drain()
        if number % 20 == 0:
            time.sleep(0.0002)
    while listener.drain():
        time.sleep(0.0005)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2].split(":")[0], int(sys.argv[2].split(":")[1]))
