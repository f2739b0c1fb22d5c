"""A server that wants a token, and repeats it wherever it can: in answers, errors, broken messages, bodies, reasons."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from urllib.parse import parse_qs, unquote, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

ALLTICK = "/quote-stock-b-ws-api"
PATH = "/path"
"""Where the token follows in the path of the address."""


class Indiscreet:
    """The server, in a thread of its own.

    Parameters
    ----------
    tokens : dict of str to str
        The token that is right, by path.

    Attributes
    ----------
    port : int
    served : dict of str to int
        How often each path was subscribed to with its token.
    refused : int
        How many handshakes came with a wrong one.
    """

    def __init__(self, tokens: dict[str, str]) -> None:
        self._tokens = tokens
        self.port = 0
        self.served = dict.fromkeys(tokens, 0)
        self.refused = 0
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        async with serve(self._talk, "127.0.0.1", 0, process_request=self._admit, compression=None) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            self._ready.set()
            await self._stop.wait()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        path = self._place(request)
        token = self._presented(request)
        if path in ("/message", ALLTICK) or token == self._tokens.get(path):
            return None
        self.refused += 1
        return connection.respond(HTTPStatus.UNAUTHORIZED, f"echo-body {token} {token}")

    def _place(self, request: Request) -> str:
        path = urlsplit(request.path).path
        return PATH if path.startswith(f"{PATH}/") else path

    def _presented(self, request: Request) -> str:
        path, query = urlsplit(request.path).path, parse_qs(urlsplit(request.path).query)
        if path.startswith(f"{PATH}/"):
            return unquote(path.removeprefix(f"{PATH}/"))
        return request.headers.get("X-Access", query.get("token", [""])[0]).removeprefix("Key ")

    async def _talk(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        path = self._place(connection.request)
        request = json.loads(await connection.recv())
        token = request.get("access", "") if path == "/message" else self._presented(connection.request)
        if token != self._tokens[path]:
            await connection.send(json.dumps({"action": "error", "message": f"echo-error {token}"}))
            await connection.close(1008, f"echo-reason {token}")
            return
        if path == ALLTICK:
            granted = {"ret": 200, "msg": "ok", "cmd_id": 22005, "seq_id": request["seq_id"], "data": {}}
            await connection.send(json.dumps(granted))
            await connection.send(json.dumps({"ret": 402, "msg": f"echo-error {token}", "cmd_id": 0, "seq_id": 0}))
            tick = {"cmd_id": 22998, "data": {"code": "700.HK", "price": "1.5", "volume": "1"}}
        else:
            await connection.send('{"action":"subscribed","symbols":1}')
            await connection.send(json.dumps({"action": "error", "message": f"echo-error {token}"}))
            tick = {"ticks": [{"symbol": "A", "price": 1.5, "volume": 1}]}
        await connection.send(f'{{"echo-broken {token}')
        await connection.send(json.dumps({"hello": f"echo-unknown {token}"}))
        # Where an excerpt of it would end in the middle.
        await connection.send(json.dumps({"long": "x" * 95 + token}))
        await connection.send(json.dumps(tick))
        self.served[path] += 1
        if self.served[path] == 1:
            await connection.close(1008, f"echo-reason {token}")
            return
        while True:
            await connection.send(json.dumps(tick))
            await asyncio.sleep(0.02)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        """Hang up, and end the thread."""
        if self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()


@contextmanager
def indiscreet(tokens: dict[str, str]) -> Iterator[Indiscreet]:
    """Run one beside a test."""
    server = Indiscreet(tokens)
    server.start()
    try:
        yield server
    finally:
        server.stop()
