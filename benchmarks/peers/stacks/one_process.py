"""picows + msgspec + dict in one process, on uvloop: the least that a user could write."""

from __future__ import annotations

import os

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from benchmarks.peers.frames import TRADE
from benchmarks.peers.stacks.common import Table, answer, arguments
from benchmarks.peers.stacks.native import action_in, push_decoder, receive, ticks_decoder


class SingleListener(WSListener):
    """Takes one tick a frame."""

    def __init__(self) -> None:
        self.rows: Table = {}
        self.decode = push_decoder().decode

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        payload = frame.get_payload_as_bytes()
        if frame.msg_type != WSMsgType.TEXT:
            transport.disconnect()
            return
        push = self.decode(payload)
        if push.cmd_id != TRADE:
            answer(action_in(payload), self.rows, {"process": os.getpid()})
            return
        tick = push.data
        row = self.rows.get(tick.code)
        if row is None:
            self.rows[tick.code] = [tick.price, tick.volume, 1]
        else:
            row[0] = tick.price
            row[1] += tick.volume
            row[2] += 1


class BatchListener(WSListener):
    """Takes an array of ticks a frame."""

    def __init__(self) -> None:
        self.rows: Table = {}
        self.decode = ticks_decoder().decode

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        payload = frame.get_payload_as_bytes()
        if frame.msg_type != WSMsgType.TEXT:
            transport.disconnect()
            return
        rows = self.rows
        ticks = self.decode(payload).ticks
        for tick in ticks:
            row = rows.get(tick.symbol)
            if row is None:
                rows[tick.symbol] = [tick.price, tick.volume, 1]
            else:
                row[0] = tick.price
                row[1] += tick.volume
                row[2] += 1
        if not ticks:
            answer(action_in(payload), rows, {"process": os.getpid()})


if __name__ == "__main__":
    address, kind, _ = arguments()
    uvloop.run(receive(address, kind, SingleListener if kind == "single" else BatchListener))
