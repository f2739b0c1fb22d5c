"""picows + msgspec + faster-fifo + a worker process with the dict.

The receiver decodes, as a feed must that has more than one worker, and hands on what one socket read brought as one
item in MessagePack: far fewer items than one a frame, and cheaper than pickled ones.
"""

from __future__ import annotations

from typing import Any

import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from benchmarks.peers.frames import TRADE
from benchmarks.peers.stacks.common import Table, answer, arguments
from benchmarks.peers.stacks.fifo_queue import ITEM_TICKS, put, received, run
from benchmarks.peers.stacks.native import Tick, Trade, action_in, push_decoder, ticks_decoder

CONTROL = b"!"
"""Begins an item that is a message as it came; MessagePack begins an array with a byte above 0x7f."""


class Receiver(WSListener):
    """Decodes, and puts the ticks of a read into the queue as one item."""

    def __init__(self, shape: str, items: Any) -> None:
        self.items = items
        self.pending: list[Any] = []
        self.encode = msgspec.msgpack.Encoder().encode
        self.single, self.batch = push_decoder().decode, ticks_decoder().decode
        self.is_single = shape == "single"

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        payload = frame.get_payload_as_bytes()
        if frame.msg_type != WSMsgType.TEXT:
            transport.disconnect()
            return
        if self.is_single:
            push = self.single(payload)
            if push.cmd_id == TRADE:
                self.pending.append(push.data)
            else:
                self.control(payload)
        elif ticks := self.batch(payload).ticks:
            self.pending.extend(ticks)
        else:
            self.control(payload)
        if frame.last_in_buffer or len(self.pending) >= ITEM_TICKS:
            self.flush()

    def control(self, payload: bytes) -> None:
        self.flush()
        put(self.items, CONTROL + payload)

    def flush(self) -> None:
        if self.pending:
            put(self.items, self.encode(self.pending))
            self.pending.clear()


def apply_single(items: Any, processes: dict[str, int]) -> None:
    """Keep the snapshot of AllTick's ticks."""
    rows: Table = {}
    decode = msgspec.msgpack.Decoder(list[Trade]).decode
    for item in received(items):
        if item[:1] == CONTROL:
            answer(action_in(item[1:]), rows, processes)
            continue
        for tick in decode(item):
            row = rows.get(tick.code)
            if row is None:
                rows[tick.code] = [tick.price, tick.volume, 1]
            else:
                row[0] = tick.price
                row[1] += tick.volume
                row[2] += 1


def apply_batch(items: Any, processes: dict[str, int]) -> None:
    """Keep the snapshot of the plain array's ticks."""
    rows: Table = {}
    decode = msgspec.msgpack.Decoder(list[Tick]).decode
    for item in received(items):
        if item[:1] == CONTROL:
            answer(action_in(item[1:]), rows, processes)
            continue
        for tick in decode(item):
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
    run(address, kind, Receiver, apply)
