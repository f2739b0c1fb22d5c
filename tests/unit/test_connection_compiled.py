"""A connection with the compiled listener: bytes on a socket become records in a ring, all of them, in order."""

from __future__ import annotations

import asyncio
import mmap
import struct
import threading
import time
from pathlib import Path

import pytest
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from openbell.config import Source
from openbell.core import ring, symbols
from openbell.monitor.control import ConnectionCounters, ConnectionState, ReceiverCounters
from openbell.receiver.connection import Connection
from openbell.receiver.listeners import compiled_listeners
from openbell.receiver.timing import Timing
from openbell.record import RECORD_SIZE, ROW_NONE, GapReason, Kind
from openbell.vendors import create

TRADES = 20_000
RING_RECORDS = 64


def memory(size: int) -> memoryview:
    return memoryview(mmap.mmap(-1, size))


class Venue(WSListener):
    """Acknowledges the subscription, sends its trades as fast as the socket takes them, and hangs up."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()
            return
        transport.send(WSMsgType.TEXT, '{"ret":200,"msg":"ok","cmd_id":22005,"seq_id":1,"trace":"","data":{}}')
        if frame.get_payload_as_bytes().find(b"22004") > 0:
            for number in range(1, TRADES + 1):
                code = ("A", "B", "NOT-ASKED")[number % 3]
                push = b'{"cmd_id":22998,"data":{"code":"%b","seq":%d,"price":"1.5"}}' % (code.encode(), number)
                transport.send(WSMsgType.TEXT, push)
            transport.disconnect()


class SlowWorker(threading.Thread):
    """Takes records out of the ring, a few at a time."""

    def __init__(self, records: memoryview) -> None:
        super().__init__(daemon=True)
        self.reader = ring.RingReader(records)
        self.taken = bytearray()
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            # Slow at first, so that the ring fills and reading has to pause; then as fast as it goes.
            time.sleep(0.01 if len(self.taken) < 40 * RING_RECORDS * RECORD_SIZE else 0.0001)
            self.taken += self.reader.poll()
        self.taken += self.reader.poll()


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_tiny_ring_and_a_slow_worker_cost_time_and_no_record(
    tmp_path: Path, loop_factory: type[asyncio.AbstractEventLoop]
) -> None:
    table, records, blocks = memory(symbols.size(64)), memory(ring.size(RING_RECORDS)), memory(8192)
    symbols.format(table, 64, 1)
    ring.format(records, RING_RECORDS, 0)
    shared = symbols.SymbolTable(table, str(tmp_path / "lock"))
    rows = {name: shared.insert(name.encode()) for name in ("A", "B")}
    counters, block = ReceiverCounters(blocks[:1024]), ConnectionCounters(blocks[4096:4352])
    writer = ring.RingWriter(records, memory(128), memory(128))
    writer.recover()
    worker = SlowWorker(records)

    def let_in(request: WSUpgradeRequest) -> WSListener:
        return Venue()

    async def play() -> None:
        server = await ws_create_server(let_in, "127.0.0.1", 0)
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        source = Source(vendor="alltick", symbols=("A", "B"), url=url, min_reconnect_s=60.0)
        make = compiled_listeners(shared, [writer], counters.memory, memory(8))
        connection = Connection(source, create(source), make, block, counters, Timing())
        running = asyncio.create_task(connection.run())
        async with asyncio.timeout(20):
            while block.disconnects == 0 or connection.state is not ConnectionState.DOWN:
                await asyncio.sleep(0.005)
        await connection.stop()
        await running
        server.close()

    worker.start()
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(play())
    finally:
        worker.ended.set()
        worker.join(5)

    found = [struct.unpack_from("<IBBHqqqqq", worker.taken, at) for at in range(0, len(worker.taken), RECORD_SIZE)]
    trades = [(row, sequence) for row, kind, _, _, _, _, sequence, _, _ in found if kind == Kind.TRADE]
    expected = [(rows["AB"[n % 3]], n) for n in range(1, TRADES + 1) if n % 3 != 2]
    assert trades == expected
    row, kind, _, _, _, _, _, reason, count = found[-1]
    assert (row, kind, reason, count) == (ROW_NONE, Kind.GAP, GapReason.DISCONNECT, -1), "the gap comes last"
    assert len(found) == len(expected) + 1
    assert (counters.published, counters.lost) == (len(expected), 0)
    assert counters.events == TRADES
    assert counters.control_messages == 1
    assert counters.pressure_episodes > 0
    assert counters.paused_ns > 0
    assert (block.connects, block.disconnects, block.acks, block.symbols) == (1, 1, 1, 2)
    assert block.state == ConnectionState.DOWN
