"""A web server on this machine that serves lists of symbols, as well or as badly as a test wants."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    """What a path answers.

    Attributes
    ----------
    body : bytes
    content_type : str
        Empty: none is said.
    status : int
    headers : dict of str to str
        More headers; a ``Content-Length`` in them replaces the true one.
    chunk, pause_s : int, float
        Send so many bytes at a time, with a pause before each.
    """

    body: bytes = b""
    content_type: str = "application/json"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    chunk: int = 1 << 20
    pause_s: float = 0.0


@dataclass
class ListServer:
    """The server: its address, its pages, which may change, and the headers of the requests that came."""

    url: str
    pages: dict[str, Page] = field(default_factory=dict)
    requests: list[dict[str, str]] = field(default_factory=list)

    def at(self, path: str, page: Page) -> str:
        """Serve `page` at `path`; return the address."""
        self.pages[path.partition("?")[0]] = page
        return self.url + path


@contextmanager
def list_server(context: ssl.SSLContext | None = None) -> Iterator[ListServer]:
    """Run a server on a port of its own until the end of the block."""
    stopped = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.requests.append({"path": self.path, **{name.lower(): value for name, value in self.headers.items()}})
            page = server.pages.get(self.path.partition("?")[0], Page(b"nothing here", "text/plain", 404))
            self.send_response(page.status)
            headers = {"Content-Length": str(len(page.body))} | page.headers
            if page.content_type:
                headers["Content-Type"] = page.content_type
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            for start in range(0, len(page.body), page.chunk):
                if stopped.wait(page.pause_s):
                    return
                try:
                    self.wfile.write(page.body[start : start + page.chunk])
                except OSError:
                    # The client has had enough, which is what some tests are about.
                    return

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        http.socket = context.wrap_socket(http.socket, server_side=True)
    scheme = "http" if context is None else "https"
    server = ListServer(f"{scheme}://127.0.0.1:{http.server_address[1]}")
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        stopped.set()
        http.shutdown()
        http.server_close()
        thread.join()


def until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Wait until `condition` holds; fail if it does not within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"did not happen within {timeout_s} s"
        time.sleep(0.01)
