"""A process of its own that sends the frames: encoded before, and as fast as the client takes them.

Clients connect to ``/<shape>/<name>`` and subscribe. Orders come on stdin, one a line: ``<shape> <name> <chunks>``
sends that many chunks and the message that ends a slice, ``<shape> <name> report`` the one that asks for the snapshot,
and ``<shape> <name> close`` ends the connection.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from benchmarks.peers.frames import END, REPORT, Pool, answered, control


class Client(WSListener):
    """One client. It is sent one chunk at a time: the next when the kernel has taken the one before."""

    def __init__(self, shape: str, chunks: list[bytes]) -> None:
        self.shape = shape
        self.chunks = chunks
        self.next = 0
        self.free = asyncio.Event()
        self.free.set()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.write = transport.underlying_transport.write
        # One chunk in the kernel, one waiting: TCP's back-pressure reaches us at once.
        transport.underlying_transport.set_write_buffer_limits(high=len(self.chunks[0]))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()
        elif frame.msg_type == WSMsgType.TEXT:
            # Before the first slice, or between two.
            self.write(answered(self.shape, frame.get_payload_as_utf8_text()))

    def pause_writing(self) -> None:
        self.free.clear()

    def resume_writing(self) -> None:
        self.free.set()

    async def send(self, chunks: int) -> None:
        for _ in range(chunks):
            await self.free.wait()
            self.write(self.chunks[self.next])
            self.next = (self.next + 1) % len(self.chunks)
        self.write(control(self.shape, END))


async def serve() -> None:
    """Listen on a free port of loopback, say which, and obey until stdin closes."""
    pools: dict[str, list[bytes]] = {}
    clients: dict[tuple[str, str], Client] = {}

    def listener(request: WSUpgradeRequest) -> Client | None:
        shape, _, name = request.path.decode().partition("?")[0].strip("/").partition("/")
        if shape not in ("single", "batch"):
            return None
        if shape not in pools:
            pools[shape] = Pool.of(shape).framed()
        clients[shape, name] = client = Client(shape, pools[shape])
        return client

    server = await ws_create_server(listener, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while order := await orders.readline():
        shape, name, what = order.decode().split()
        client = clients[shape, name]
        if what == REPORT:
            client.write(control(shape, REPORT))
        elif what == "close":
            client.transport.send_close(WSCloseCode.OK)
            client.transport.disconnect()
        else:
            await client.send(int(what))
    server.close()


if __name__ == "__main__":
    uvloop.run(serve())
