"""The trading floor: who is connected, what they asked for, and whether they keep up."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Collection
from typing import Any, Protocol

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from openbell.simulator.events import Message

PATIENCE_BYTES, OPENING_PATIENCE_BYTES = 1024 * 1024, 96 * 1024 * 1024
"""A client may be this far behind before the market waits for it; the kernel's socket buffers come on top.

An opening is encoded before it begins, so that what lies in a connection's queue takes no memory more: it waits for
nobody, or it would measure the client's pace instead of setting one."""
_MAX_REQUEST_BYTES = 10 * 1024 * 1024


class Way(Protocol):
    """What everything to and from a client passes where things are to go wrong; see `openbell.simulator.faults`."""

    def reply(self, message: bytes) -> None:
        """Send an answer."""

    def request(self, payload: bytes) -> None:
        """Let a request be answered."""

    def pong(self, payload: bytes) -> None:
        """Answer a PING."""

    def flush(self) -> None:
        """Send what is held back."""

    def close(self) -> None:
        """Take note of the connection's end."""


class Client(WSListener):
    """One connection. A venue's subclass answers its requests.

    Attributes
    ----------
    keys : set of str
        What it is subscribed to.
    version : int
        Changes with every change of `keys`.
    last_request : float
        Loop time of the last request, or of the connection.
    way : Way or None
        Where things go wrong; None: they do not.
    """

    def __init__(self, floor: Floor) -> None:
        self.floor = floor
        self.way: Way | None = None
        self.keys: set[str] = set()
        self.version = 0
        self.last_request = asyncio.get_running_loop().time()
        self.transport: WSTransport | None = None
        self.paused = False
        self._fragments = bytearray()

    def on_request(self, payload: bytes) -> None:
        """Answer one complete message of the client."""
        raise NotImplementedError

    def reply(self, message: bytes) -> None:
        """Send one message."""
        assert self.transport is not None
        if self.way is not None:
            self.way.reply(message)
        else:
            self.transport.send(WSMsgType.TEXT, message)

    def hang_up(self, code: int = 1000) -> None:
        """Say goodbye and close the connection, once the client has taken what was written."""
        assert self.transport is not None
        if self.way is not None:
            self.way.flush()
        self.transport.send_close(WSCloseCode(code))
        self.transport.disconnect()
        # It gets nothing more: however long it takes, nobody waits for it.
        self.floor.check_room()

    def cut_off(self) -> None:
        """Close the connection at once: who has fallen silent may never take what was written."""
        assert self.transport is not None
        self.transport.disconnect(graceful=False)

    def reset(self) -> None:
        """Reset the connection: what the client has not read yet is lost to it."""
        self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.cut_off()

    def hold_reading(self, hold: bool = True) -> None:
        """Read nothing more that the client sends, not even its goodbye; or go on reading."""
        assert self.transport is not None
        reading = self.transport.underlying_transport
        if not reading.is_closing():
            (reading.pause_reading if hold else reading.resume_reading)()

    def keep_first(self, part: float, known: Collection[str]) -> None:
        """Forget all but the first part of a subscription, in the order of `known`, and say nothing about it."""
        keys = [key for key in known if key in self.keys]
        self.keys = set(keys[: round(part * len(keys))])
        self.version += 1

    @property
    def port(self) -> int:
        """The port that the client comes from."""
        assert self.transport is not None
        return int(self.transport.underlying_transport.get_extra_info("peername")[1])

    @property
    def descriptor(self) -> int:
        """The socket's file descriptor."""
        return int(self._socket().fileno())

    def _socket(self) -> Any:
        assert self.transport is not None
        return self.transport.underlying_transport.get_extra_info("socket")

    def subscribe(self, keys: Collection[str]) -> None:
        """Replace what the client is subscribed to."""
        self.keys = set(keys)
        self.version += 1
        self.floor.subscribed_at = asyncio.get_running_loop().time()

    def render(self, message: Message) -> bytes:
        """Choose the form of a captured message this client gets: with the stream's envelope or without."""
        return message.whole

    @property
    def listening(self) -> bool:
        """Whether a write would still be taken."""
        transport = self.transport
        return transport is not None and not (
            transport.is_close_frame_sent or transport.is_disconnected or transport.underlying_transport.is_closing()
        )

    def write(self, frames: bytes | bytearray | memoryview) -> bool:
        """Write whole frames in one go; return False if the client is gone.

        The frames go below picows, to the asyncio transport: a call of its own for each frame would cost more than
        making the frame did.
        """
        if not self.listening:
            return False
        assert self.transport is not None
        self.transport.underlying_transport.write(frames)
        return self.listening

    def buffered(self) -> int:
        """Return the bytes written that the kernel has not taken yet."""
        if not self.listening:
            return 0
        assert self.transport is not None
        return self.transport.underlying_transport.get_write_buffer_size()

    def watch(self, now: float) -> None:
        """Do what is to be done now and then, given the loop's time; a venue's subclass may have something."""

    def on_pong(self) -> None:
        """Take note of the answer to a PING; a venue's subclass may have sent one."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Enter the floor."""
        self.transport = transport
        if self.floor.new_way is not None:
            self.way = self.floor.new_way(self)
        patience = self.floor.patience_bytes
        transport.underlying_transport.set_write_buffer_limits(high=patience, low=patience // 4)
        self.floor.enter(self)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Leave the floor; a subscription does not outlive its connection."""
        if self.way is not None:
            self.way.close()
        self.floor.leave(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Put fragments together and answer the request."""
        if frame.msg_type == WSMsgType.CLOSE:
            self.hang_up()
        elif frame.msg_type == WSMsgType.PONG:
            self.on_pong()
        elif frame.msg_type == WSMsgType.PING:
            # picows answers by itself where nothing may go wrong.
            if self.way is not None:
                self.way.pong(frame.get_payload_as_bytes())
        elif frame.msg_type in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            self._fragments += frame.get_payload_as_bytes()
            if len(self._fragments) > _MAX_REQUEST_BYTES:
                transport.send_close(WSCloseCode.MESSAGE_TOO_BIG)
                transport.disconnect()
                self.floor.check_room()
            elif frame.fin:
                payload, self._fragments = bytes(self._fragments), bytearray()
                self.last_request = asyncio.get_running_loop().time()
                if self.way is not None:
                    self.way.request(payload)
                else:
                    self.on_request(payload)

    def pause_writing(self) -> None:
        """Note that the client is too far behind."""
        self.paused = True
        self.floor.room.clear()

    def resume_writing(self) -> None:
        """Note that the client has caught up."""
        self.paused = False
        self.floor.check_room()


class Floor:
    """All clients, and the moments a market waits for.

    Parameters
    ----------
    patience_bytes : int
        How far behind a client may be before the market waits for it.

    Attributes
    ----------
    clients : list of Client
        Who is connected.
    disconnects : int
        Connections lost or closed since the market started.
    subscribed_at : float or None
        Loop time of the last change of a subscription.
    requested_at : float or None
        Loop time of the last request of any client that its venue took.
    room : asyncio.Event
        Set while every client keeps up.
    stop : asyncio.Event
        Set when the market is to end.
    hurried : bool
        Nobody waits for clients at the end any more.
    new_way : callable or None
        Makes the `Way` of a new client; None: nothing goes wrong.
    """

    def __init__(self, patience_bytes: int = PATIENCE_BYTES) -> None:
        self.patience_bytes = patience_bytes
        self.clients: list[Client] = []
        self.disconnects = 0
        self.subscribed_at: float | None = None
        self.requested_at: float | None = None
        self.room = asyncio.Event()
        self.room.set()
        self.stop = asyncio.Event()
        self.hurried = False
        self.new_way: Callable[[Client], Way] | None = None

    def enter(self, client: Client) -> None:
        """Take in a client."""
        self.clients.append(client)

    def leave(self, client: Client) -> None:
        """Let a client go; it holds nobody up any more."""
        if client in self.clients:
            self.clients.remove(client)
            self.disconnects += 1
        self.check_room()

    def check_room(self) -> None:
        """Go on if nobody is behind."""
        if not any(client.paused and client.listening for client in self.clients):
            self.room.set()

    def end(self) -> None:
        """End the market: whoever waits for room goes on and sees `stop`."""
        self.stop.set()
        self.room.set()

    @property
    def audience(self) -> bool:
        """Whether anybody is subscribed to anything."""
        return any(client.keys for client in self.clients)

    def subscriptions(self) -> set[str]:
        """Return what at least one client is subscribed to."""
        return set().union(*(client.keys for client in self.clients))

    async def drain(self, timeout_s: float) -> bool:
        """Wait until the kernel has taken everything written; False if a client did not take it in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while any(client.buffered() for client in self.clients):
            if self.hurried or loop.time() > deadline:
                return False
            await asyncio.sleep(0.001)
        return True

    async def close(self, timeout_s: float = 1.0) -> None:
        """Say goodbye (1000) to every client, wait shortly for its answer, and hang up."""
        leaving = list(self.clients)
        for client in leaving:
            if client.transport is not None:
                client.transport.send_close(WSCloseCode.OK, b"the market is closed")
        deadline = asyncio.get_running_loop().time() + timeout_s
        while self.clients and not self.hurried and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.005)
        for client in list(self.clients):
            if client.transport is not None:
                client.transport.disconnect(graceful=False)
