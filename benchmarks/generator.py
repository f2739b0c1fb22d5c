"""A process of its own that writes prepared WebSocket frames to whoever asks, as fast as the socket takes them.

The client connects to ``/<shape>`` and sends the number of frames it wants as text; the frames come back in large
writes, so that the generator costs little next to the receiver under test, and one frame more that says "done".
"""

from __future__ import annotations

import asyncio
import random
import struct
import sys

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

SYMBOLS = [f"{600000 + i}.SH" for i in range(2500)] + [f"{i:06d}.SZ" for i in range(1, 2501)]
TICKS_A_FRAME = {"single": 1, "batch": 100}
FRAMES_A_BLOCK = {"single": 5000, "batch": 50}


def single(rng: random.Random) -> bytes:
    """Return one AllTick trade push, as the vendor documents it."""
    price, lots = rng.randrange(500, 200_000), rng.randrange(1, 500)
    cents = price * lots * 100
    return (
        f'{{"cmd_id":22998,"data":{{"code":"{rng.choice(SYMBOLS)}","seq":{rng.randrange(10**7, 10**8)},'
        f'"tick_time":{1763688600000 + rng.randrange(10**7)},"price":"{price / 100:.2f}","volume":"{lots * 100}",'
        f'"turnover":"{cents // 100}.{cents % 100:02d}","trade_direction":{rng.randrange(3)}}}}}'
    ).encode()


def batch(rng: random.Random) -> bytes:
    """Return one frame of a plain ``ticks`` array of 100."""
    ticks = ",".join(
        f'{{"symbol":"{rng.choice(SYMBOLS)}","price":{rng.randrange(500, 200_000) / 100:.2f},'
        f'"volume":{rng.randrange(1, 500) * 100},"time":{1763688600000 + rng.randrange(10**7)}}}'
        for _ in range(TICKS_A_FRAME["batch"])
    )
    return f'{{"ticks":[{ticks}]}}'.encode()


# Closes each answer: decodes like any other frame, but no route claims it.
END = {
    "single": single(random.Random(1)).replace(b"22998", b"22990"),
    "batch": b'{ "ticks":[]}',
}


def framed(payload: bytes) -> bytes:
    """Return `payload` as an unmasked text frame."""
    size = len(payload)
    if size < 126:
        return struct.pack(">BB", 0x81, size) + payload
    if size < 65536:
        return struct.pack(">BBH", 0x81, 126, size) + payload
    return struct.pack(">BBQ", 0x81, 127, size) + payload


class Generator(WSListener):
    """Serves one client."""

    def __init__(self, shape: str) -> None:
        rng = random.Random(7)
        make = {"single": single, "batch": batch}[shape]
        self.frames = [framed(make(rng)) for _ in range(FRAMES_A_BLOCK[shape])]
        self.block = b"".join(self.frames)
        self.end = framed(END[shape])

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()
        elif frame.msg_type == WSMsgType.TEXT:
            blocks, rest = divmod(int(frame.get_payload_as_ascii_text()), len(self.frames))
            for _ in range(blocks):
                transport.underlying_transport.write(self.block)
            transport.underlying_transport.write(b"".join(self.frames[:rest]) + self.end)

    def pause_writing(self) -> None:
        """Leave it to the transport to hold what the socket does not take yet: a request is bounded."""

    def resume_writing(self) -> None:
        """Nothing waits for this."""


async def serve() -> None:
    """Listen on a free port of loopback, say which, and serve until stdin closes."""

    def listener(request: WSUpgradeRequest) -> Generator:
        return Generator(request.path.decode().strip("/"))

    server = await ws_create_server(listener, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    uvloop.run(serve())
