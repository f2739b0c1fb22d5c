"""One HTTP GET, bounded in time and size, by the same way and under the same rules as the WebSocket.

In a thread of its own, which nobody waits for: a receiver that is told to stop stops.
"""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from python_socks import ProxyError
from python_socks.sync import Proxy

from openbell.config import Network
from openbell.errors import OpenBellError
from openbell.receiver.dial import retry_after
from openbell.secret import Secret

BODY_MAX: Final = 4 << 20
"""Bytes of an answer at most: fifty codes take some kB."""
_CHUNK: Final = 1 << 16


class FetchError(OpenBellError):
    """Say why nothing came. The text is not redacted: whoever logs it does that."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came.

    Attributes
    ----------
    status : int
    body : bytes
    retry_after_s : float
        How long the other side asks to be left alone; 0: it does not say.
    """

    status: int
    body: bytes
    retry_after_s: float


async def fetch(url: Secret, headers: tuple[tuple[str, str], ...], network: Network) -> Answer:
    """Get `url`. Redirects are not followed: a token must not be carried to where nobody sent it.

    Raises
    ------
    FetchError
        Nothing came, not in time, or too much.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Answer] = loop.create_future()

    def settle(answer: Answer | None, error: Exception | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        elif answer is not None:
            done.set_result(answer)

    def work() -> None:
        answer: Answer | None = None
        error: Exception | None = None
        try:
            answer = get(url.reveal(), headers, network)
        except (OSError, http.client.HTTPException, ProxyError, ValueError, OpenBellError) as failure:
            error = failure if isinstance(failure, OpenBellError) else _described(failure)
        except Exception as failure:  # noqa: BLE001 - a thread has nobody else to tell
            error = failure
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, answer, error)

    threading.Thread(target=work, name="openbell-fetch", daemon=True).start()
    try:
        # The thread gives up by itself; this is for one that cannot, say for a name server that does not answer.
        return await asyncio.wait_for(done, network.connect_s * 2)
    except TimeoutError:
        raise FetchError("no answer in time") from None


def get(url: str, headers: tuple[tuple[str, str], ...], network: Network) -> Answer:
    """Do what `fetch` promises, in the calling thread."""
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    deadline = time.monotonic() + network.connect_s
    connection = http.client.HTTPConnection(host, port, timeout=network.connect_s)
    try:
        connection.sock = _connect(host, port, network)
        if secure:
            connection.sock = network.trust().wrap_socket(connection.sock, server_hostname=host)
        connection.request(
            "GET",
            f"{parts.path}?{parts.query}" if parts.query else parts.path,
            headers={"Accept-Encoding": "identity", "User-Agent": "openbell", "Connection": "close", **dict(headers)},
        )
        response = connection.getresponse()
        body = bytearray()
        while chunk := response.read1(_CHUNK):
            body += chunk
            if len(body) > BODY_MAX:
                raise FetchError(f"the answer has more than {BODY_MAX:,} bytes")
            if time.monotonic() > deadline:
                raise FetchError(f"the answer was not complete within {network.connect_s:g} s")
        return Answer(response.status, bytes(body), retry_after(response.headers.get("Retry-After")))
    finally:
        connection.close()


def _connect(host: str, port: int, network: Network) -> socket.socket:
    proxy = network.proxy_url()
    if proxy is None:
        return socket.create_connection((host, port), network.connect_s)
    if urlsplit(proxy.reveal()).scheme == "https":
        raise FetchError("the HTTP interface cannot be asked through an https:// proxy; use http:// or socks5://")
    made: socket.socket = Proxy.from_url(proxy.reveal()).connect(host, port, timeout=network.connect_s)
    made.settimeout(network.connect_s)
    return made


def _described(error: Exception) -> FetchError:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return FetchError(f"{type(error).__name__}: {text}")
