"""A receiver process of a crash test: the real frame listener, fed with frames instead of a socket.

It starts where the rings say that its predecessor got to: every trade carries its number as its sequence, and what is
published is never sent again. What the predecessor had not published is sent anew, as if the vendor had kept it.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import cast

from picows import WSMsgType, WSTransport
from picows.picows import _make_test_ws_frame

from faults.shared import CAPACITY, SHARDS, SYMBOLS, Shared
from faults.trades import trade
from openbell.config import Source
from openbell.core import ring, words
from openbell.core.listener import FrameListener
from openbell.record import RECORD_SIZE, Kind
from openbell.vendors.alltick import AllTick


def last_published(shared: Shared, shard: int) -> int:
    """Return the number of the last trade in the ring of `shard`, 0 if there is none."""
    tap = ring.Tap(shared.maps[f"ring{shard}"], start="oldest")
    records, _ = tap.read(CAPACITY)
    last = 0
    for start in range(0, len(records), RECORD_SIZE):
        kind, sequence = records[start + 4], struct.unpack_from("<q", records, start + 24)[0]
        if kind == Kind.TRADE:
            last = sequence
    if last == 0 and ring.positions(shared.maps[f"ring{shard}"])["head"] > CAPACITY // 2:
        raise RuntimeError("the ring holds nothing but padding: cannot tell where to go on")
    return last


def main(directory: str, count: int) -> None:
    shared = Shared(Path(directory))
    if not words.crash_hooks_compiled():
        raise RuntimeError("this needs the build with crash points")
    table = shared.table()
    writers = [shared.writer(shard) for shard in range(SHARDS)]
    for writer in writers:
        writer.recover()
    published = [last_published(shared, shard) for shard in range(SHARDS)]

    def unexpected(*args: object) -> None:
        raise RuntimeError(f"the listener was not to call this: {args}")

    control = memoryview(shared.maps["control"])
    listener = FrameListener(
        AllTick(Source(vendor="alltick", symbols=tuple(SYMBOLS), url="ws://127.0.0.1/")).plan(),
        table,
        writers,
        bytearray(1024),
        control[8:16],
        fallback=unexpected,
        on_connected=unexpected,
        on_disconnected=unexpected,
        on_pressure=lambda: None,
    )
    # Frames without a connection: the listener uses its transport for CLOSE frames alone.
    transport = cast(WSTransport, None)
    for number in range(min(published) + 1, count + 1):
        symbol = SYMBOLS[number * 7 % len(SYMBOLS)]
        if number <= published[table.shard_of(symbol.encode())]:
            continue
        listener.on_ws_frame(transport, _make_test_ws_frame(WSMsgType.TEXT, trade(number, symbol).push, True, False))
        if number % 5 == 0:
            listener.publish()
        while listener.pending:
            listener.drain()
    listener.publish()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
