"""A client that decodes what a market sends, and does nothing else: what is left when all of OpenBell's own is gone.

``python -m benchmarks.burst.decode_only CONFIG`` subscribes as the only source of a feed's CONFIG (as JSON) would. A
line on its stdin says that everything is sent; then it prints when it had decoded the last frame, and how many there
were.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec
import uvloop
from picows import WSListener, WSMsgType, ws_connect

from openbell.config import Config
from openbell.core.baseline import DecodeListener
from openbell.vendors import Ack, Vendor, create
from openbell.vendors.plan import Route

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_QUIET_S, _LOOK_S = 0.05, 0.001


class _Client:
    def __init__(self, vendor: Vendor) -> None:
        self._vendor = vendor
        route = next(entry for entry in vendor.plan() if isinstance(entry, Route))
        self._decode = msgspec.json.Decoder(route.frame, strict=False).decode
        self.subscribed = asyncio.Event()
        self.last_ns = 0
        self._answers = 0
        self._wanted = 0
        self.listener: DecodeListener

    def make(self) -> WSListener:
        self.listener = DecodeListener(self._answer, self._note)
        return cast(WSListener, self.listener)

    def _answer(self, payload: ReadableBuffer) -> None:
        if isinstance(self._vendor.control(bytes(payload)), Ack):
            self._answers += 1
            if self._answers >= self._wanted:
                self.listener.decode_with(self._decode)
                self.subscribed.set()

    def _note(self, frames: int) -> None:
        self.last_ns = time.time_ns()

    async def run(self, symbols: Sequence[str]) -> None:
        requests = list(self._vendor.requests(symbols))
        self._wanted = len(requests)
        transport, _ = await ws_connect(self.make, self._vendor.url().reveal())
        for request in requests:
            transport.send(WSMsgType.TEXT, request.payload)
        await asyncio.wait_for(self.subscribed.wait(), 30)
        answers = self.listener.frames
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        # Everything is in the kernel's buffers at least: it is never quiet before all of it is decoded.
        frames = -1
        while self.listener.frames != frames:
            frames = self.listener.frames
            await asyncio.sleep(_QUIET_S)
            # Once more around: whoever slept too long on a busy machine has not looked at the socket since.
            await asyncio.sleep(_LOOK_S)
        print(json.dumps({"last_ns": self.last_ns, "frames": frames - answers}), flush=True)
        transport.disconnect(graceful=False)


def main() -> None:
    """Run it."""
    (source,) = Config.from_json(Path(sys.argv[1]).read_bytes()).sources
    uvloop.run(_Client(create(source)).run(source.symbols))


if __name__ == "__main__":
    main()
