"""What the two stacks on picows and msgspec share: the messages as Structs, and the connection.

Only what the snapshot needs is declared; msgspec skips the rest.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import msgspec
from msgspec import Struct
from picows import WSListener, WSMsgType, WSParsedURL, ws_connect

from benchmarks.peers.frames import action_of, subscription
from benchmarks.peers.stacks.common import unconnected


class Trade(Struct, gc=False):
    """The ``data`` of an AllTick message; an answer's is empty."""

    code: str = ""
    price: float = 0.0
    volume: float = 0.0


class Push(Struct, gc=False):
    """An AllTick message."""

    cmd_id: int
    data: Trade


class Tick(Struct, gc=False):
    """One element of the plain array."""

    symbol: str
    price: float
    volume: float


class Ticks(Struct, gc=False):
    """A message of the plain array's dialect; an answer has no ticks."""

    ticks: list[Tick] = []


def push_decoder() -> msgspec.json.Decoder[Push]:
    """Return a decoder that also reads AllTick's quoted numbers."""
    return msgspec.json.Decoder(Push, strict=False)


def ticks_decoder() -> msgspec.json.Decoder[Ticks]:
    """Return a decoder of the plain array."""
    return msgspec.json.Decoder(Ticks)


def action_in(payload: bytes) -> str:
    """Return what a message that is no tick says."""
    return action_of(msgspec.json.decode(payload))


async def receive(url: str, shape: str, make_listener: Callable[[], WSListener]) -> None:
    """Connect, subscribe, and stay until the connection ends."""

    async def connected_socket(parsed: WSParsedURL) -> socket.socket:
        made = unconnected()
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, (parsed.host, parsed.port))
        return made

    transport, _ = await ws_connect(make_listener, url, socket_factory=connected_socket)
    transport.send(WSMsgType.TEXT, subscription(shape))
    await transport.wait_disconnected()
