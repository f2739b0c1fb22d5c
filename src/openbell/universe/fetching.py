"""Fetching a list of symbols over HTTP: bounded in time and size, and careful with the token.

A process of its own, `openbell.universe.retrieving`, lives as long as one answer takes. It can be ended whatever it
waits for (a name server, a server that sends a byte a second), and the libraries for HTTP and TLS stay out of the
process that runs a feed for months. The token goes to it through a pipe, never by its arguments.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from openbell.config.universe import Universe
from openbell.errors import ConfigError

_START_S: Final = 20.0
"""What the child may take besides, for starting on a slow machine."""


_LOOK_S: Final = 0.1


class Order(Struct):
    """What the child is asked to fetch, on its stdin."""

    url: str
    timeout_s: float
    max_bytes: int
    insecure: bool
    header: str
    value: str


class Heading(Struct):
    """What the child says, on a line of its stdout; the list itself follows."""

    error: str = ""
    content_type: str = ""
    charset: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came.

    Attributes
    ----------
    body : bytes
        The list.
    content_type, charset : str
        What the server says that it is; empty where it says nothing.
    """

    body: bytes
    content_type: str
    charset: str


def shown(url: str) -> str:
    """Return an address as messages show it: without its query, which nobody promises to be harmless."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}{'?…' if parts.query else ''}"


def fetch(url: str, universe: Universe, stop: threading.Event | None = None) -> Fetched:
    """Fetch a list in a process of its own.

    Parameters
    ----------
    url : str
        Its address, as :meth:`Universe.check_url` lets it pass.
    universe : Universe
        The token's place, `timeout_s`, `max_bytes`.
    stop : threading.Event, optional
        Set: the list is not wanted any more.

    Raises
    ------
    ConfigError
        It did not come; the message says why and what to do, and holds no secret. It begins with no address.
    """
    token = universe.token()
    value = "" if token is None else universe.token_format.replace("{token}", token.reveal())
    order = Order(url, universe.timeout_s, universe.max_bytes, universe.insecure, universe.token_header, value)
    output, status = _ask(msgspec.json.encode(order), universe.timeout_s, stop or threading.Event())
    line, _, body = output.partition(b"\n")
    try:
        heading = msgspec.json.decode(line, type=Heading)
    except msgspec.MsgspecError:
        # Its own words are not repeated: nobody has looked whether the token is in them.
        raise ConfigError(f"the process that fetches it failed with exit status {status}") from None
    if heading.error:
        raise ConfigError(heading.error)
    return Fetched(body, heading.content_type, heading.charset)


def _ask(order: bytes, timeout_s: float, stop: threading.Event) -> tuple[bytes, int]:
    """Run the process; return what it says, and its exit status."""
    command = [sys.executable, "-P", "-m", "openbell.universe.retrieving", str(os.getpid())]
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0
        )
    except OSError as error:
        raise ConfigError(f"no process for fetching it could be started: {error.strerror}") from None
    deadline, given = time.monotonic() + timeout_s + _START_S, order
    with process:
        try:
            while True:
                try:
                    output, _ = process.communicate(given, timeout=_LOOK_S)
                    return output, process.returncode
                except subprocess.TimeoutExpired:
                    given = b""
                if stop.is_set():
                    raise ConfigError("it is not wanted any more")
                if time.monotonic() > deadline:
                    raise ConfigError(late(timeout_s))
        finally:
            process.kill()


def late(timeout_s: float) -> str:
    """Return what is said of a list that did not come in time."""
    return f"it did not come within {timeout_s:g} s; try again, or raise timeout_s in [source.universe]"
