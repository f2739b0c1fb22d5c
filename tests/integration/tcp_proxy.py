"""A network that is slow or breaks, between a client and a server on this machine: a TCP proxy with toxics."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(slots=True)
class Toxics:
    """What the network does to what the server sends; a change holds from the next bytes on.

    Attributes
    ----------
    latency_s, jitter_s : float
        How long bytes are on their way, and by how much more at random. Their order is kept, as TCP keeps it.
    bytes_per_s : float
        Bandwidth; 0: unlimited.
    limit_data : int or None
        Bytes that a connection lets through before it is reset.
    slice_bytes : int
        Bytes of a segment; 0: as they come.
    close_after_s : float
        How long the end of a connection takes to get through.
    dropping : bool
        Nothing gets through any more, in either direction, and nobody is told.
    """

    latency_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float = 0.0
    limit_data: int | None = None
    slice_bytes: int = 0
    close_after_s: float = 0.0
    dropping: bool = False


class Proxy:
    """A proxy to a port of this machine, in a thread of its own.

    Attributes
    ----------
    port : int
        Where it listens.
    toxics : Toxics
    connections : int
        How many it took so far.
    passed : int
        Bytes of the server that it passed on.
    ports : dict of int to int
        By the port of a client, the one that the server sees instead.
    """

    def __init__(self, target: int, toxics: Toxics | None = None) -> None:
        self.toxics = toxics or Toxics()
        self.connections = self.passed = 0
        self.ports: dict[int, int] = {}
        self._target = target
        self._random = random.Random(1)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        self.ports[writer.get_extra_info("peername")[1]] = up_writer.get_extra_info("sockname")[1]
        for end in (writer, up_writer):
            end.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pumps = [asyncio.create_task(self._upwards(reader, up_writer))]
        pumps.append(asyncio.create_task(self._downwards(up_reader, writer)))
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for end in (writer, up_writer):
                end.close()

    async def _upwards(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65_536):
            if not self.toxics.dropping:
                writer.write(chunk)
                await writer.drain()

    async def _downwards(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what the server sends, as the network does; what is on its way is read ahead by 1 MiB at most."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(16)

        async def deliver() -> None:
            passed, free_at = 0, self._loop.time()
            while True:
                at, chunk = await waiting.get()
                await asyncio.sleep(max(0.0, at - self._loop.time()))
                if not chunk:
                    await asyncio.sleep(self.toxics.close_after_s)
                    return
                if self.toxics.dropping:
                    continue
                toxics = self.toxics
                if toxics.limit_data is not None and passed + len(chunk) >= toxics.limit_data:
                    writer.write(chunk[: toxics.limit_data - passed])
                    self.passed += toxics.limit_data - passed
                    with contextlib.suppress(ConnectionError):
                        await writer.drain()
                    # A moment for the bytes before the reset, which would overtake them in the receiver.
                    await asyncio.sleep(0.02)
                    _reset(writer)
                    return
                size = toxics.slice_bytes or len(chunk)
                for begin in range(0, len(chunk), size):
                    writer.write(chunk[begin : begin + size])
                    await writer.drain()
                    if toxics.slice_bytes:
                        # Another turn of the loop, or the pieces would leave as one.
                        await asyncio.sleep(0)
                passed += len(chunk)
                self.passed += len(chunk)
                if toxics.bytes_per_s:
                    free_at = max(free_at, self._loop.time()) + len(chunk) / toxics.bytes_per_s
                    await asyncio.sleep(free_at - self._loop.time())

        delivering = asyncio.create_task(deliver())
        last_at = 0.0
        try:
            while True:
                reading = asyncio.create_task(reader.read(65_536))
                await asyncio.wait({reading, delivering}, return_when=asyncio.FIRST_COMPLETED)
                if delivering.done():
                    reading.cancel()
                    return
                toxics = self.toxics
                delay = toxics.latency_s + toxics.jitter_s * self._random.random()
                last_at = max(last_at, self._loop.time() + delay)
                chunk = reading.result()
                await waiting.put((last_at, chunk))
                if not chunk:
                    await delivering
                    return
        finally:
            delivering.cancel()

    def close(self) -> None:
        """End it, and all its connections."""

        async def end() -> None:
            self._server.close()
            mine = asyncio.current_task()
            others = [task for task in asyncio.all_tasks() if task is not mine]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextlib.contextmanager
def proxied(target: int, toxics: Toxics | None = None) -> Iterator[Proxy]:
    """Run a proxy to a port; it is gone afterwards whatever happened."""
    proxy = Proxy(target, toxics)
    try:
        yield proxy
    finally:
        proxy.close()
