"""The door of the simulator: where connections come in, or are taken without a word."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from picows import ws_create_server


class Door:
    """A listening socket that outlives the server behind it.

    Parameters
    ----------
    admit : callable
        See `picows.ws_create_server`.
    host, port
        Where to listen.
    """

    def __init__(self, admit: Callable[..., Any], host: str, port: int) -> None:
        self._admit, self._host, self._port = admit, host, port
        self._server: asyncio.Server | None = None
        self._socket: socket.socket | None = None
        self._taking: asyncio.Task[None] | None = None
        self._taken: list[socket.socket] = []

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._socket is not None
        return int(self._socket.getsockname()[1])

    async def open(self) -> None:
        """Listen.

        Raises
        ------
        OSError
            The port cannot be taken.
        """
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        self._socket = socket.create_server((self._host, self._port), family=family, backlog=128)
        self._socket.setblocking(False)
        await self._serve()

    def shut(self) -> None:
        """Take connections and say nothing to them; those that are there are not concerned."""
        if self._taking is None:
            assert self._server is not None
            self._server.close()
            self._server = None
            self._taking = asyncio.create_task(self._take())

    async def reopen(self) -> None:
        """Let connections in again; those that were not let in are closed."""
        if self._taking is not None:
            self._stop_taking()
            await self._serve()

    def close(self) -> None:
        """Listen no more."""
        self._stop_taking()
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._socket is not None:
            self._socket.close()

    async def _serve(self) -> None:
        assert self._socket is not None
        # A copy: closing a server closes its socket, and the port would be free for others. PINGs are answered by the
        # client's channel, or not.
        self._server = await ws_create_server(
            self._admit, sock=self._socket.dup(), logger_name="openbell.simulator", enable_auto_pong=False
        )

    async def _take(self) -> None:
        assert self._socket is not None
        loop = asyncio.get_running_loop()
        while True:
            taken, _ = await loop.sock_accept(self._socket)
            self._taken.append(taken)

    def _stop_taking(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None
        for taken in self._taken:
            taken.close()
        self._taken.clear()
