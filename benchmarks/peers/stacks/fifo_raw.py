"""picows + faster-fifo + a worker process with msgspec and the dict: frames are handed on as they came.

Cheaper for the receiver, and for both together, than to decode first; but good for one worker alone, because nobody
knows yet whose symbol is in a frame. The frames of a socket read are one item.
"""

from __future__ import annotations

from typing import Any

import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from benchmarks.peers.frames import TRADE
from benchmarks.peers.stacks.common import Table, answer, arguments
from benchmarks.peers.stacks.fifo_queue import ITEM_TICKS, put, received, run
from benchmarks.peers.stacks.native import action_in, push_decoder, ticks_decoder

FRAMES = msgspec.msgpack.Decoder(list[bytes])


class RawReceiver(WSListener):
    """Puts the frames of a read into the queue as one item."""

    def __init__(self, shape: str, items: Any) -> None:
        self.items = items
        self.pending: list[bytes] = []
        self.encode = msgspec.msgpack.Encoder().encode
        # An item must stay well below the queue's size.
        self.most = ITEM_TICKS if shape == "single" else ITEM_TICKS // 100

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.TEXT:
            transport.disconnect()
            return
        self.pending.append(frame.get_payload_as_bytes())
        if frame.last_in_buffer or len(self.pending) >= self.most:
            put(self.items, self.encode(self.pending))
            self.pending.clear()


def apply_single(items: Any, processes: dict[str, int]) -> None:
    """Decode, and keep the snapshot of AllTick's ticks."""
    rows: Table = {}
    decode = push_decoder().decode
    for item in received(items):
        for payload in FRAMES.decode(item):
            push = decode(payload)
            if push.cmd_id != TRADE:
                answer(action_in(payload), rows, processes)
                continue
            tick = push.data
            row = rows.get(tick.code)
            if row is None:
                rows[tick.code] = [tick.price, tick.volume, 1]
            else:
                row[0] = tick.price
                row[1] += tick.volume
                row[2] += 1


def apply_batch(items: Any, processes: dict[str, int]) -> None:
    """Decode, and keep the snapshot of the plain array's ticks."""
    rows: Table = {}
    decode = ticks_decoder().decode
    for item in received(items):
        for payload in FRAMES.decode(item):
            ticks = decode(payload).ticks
            if not ticks:
                answer(action_in(payload), rows, processes)
            for tick in ticks:
                row = rows.get(tick.symbol)
                if row is None:
                    rows[tick.symbol] = [tick.price, tick.volume, 1]
                else:
                    row[0] = tick.price
                    row[1] += tick.volume
                    row[2] += 1


def apply(items: Any, processes: dict[str, int], shape: str) -> None:
    """Keep the snapshot: the second process."""
    (apply_single if shape == "single" else apply_batch)(items, processes)


if __name__ == "__main__":
    address, kind, _ = arguments()
    run(address, kind, RawReceiver, apply)
