"""What every stack has: its command line, a socket with the same receive buffer, and its words to the benchmark."""

from __future__ import annotations

import json
import socket
import sys
from urllib.parse import urlsplit

from benchmarks.peers.frames import END, REPORT, SUBSCRIBED

RECEIVE_BUFFER = 256 * 1024
"""SO_RCVBUF of every client, in bytes, set before connecting: without it a slow one lets the kernel queue MBs."""

Table = dict[str, list[float]]
"""A stack's snapshot: symbol to last price, sum of the volumes, number of ticks."""


def arguments() -> tuple[str, str, list[str]]:
    """Return the address, the shape and the options of the command line."""
    url, shape, *options = sys.argv[1:]
    return url, shape, options


def connected(url: str) -> socket.socket:
    """Return a socket that is connected to the host of `url`."""
    made = unconnected()
    parts = urlsplit(url)
    made.connect((parts.hostname, parts.port))
    return made


def unconnected() -> socket.socket:
    """Return a TCP socket with the receive buffer of the benchmark."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def say(event: str, **fields: object) -> None:
    """Print one line for the benchmark."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def answer(action: str, rows: Table, processes: dict[str, int]) -> None:
    """Answer a message that is no tick, once all ticks before it are in the snapshot.

    Parameters
    ----------
    action : str
        What it said.
    rows : Table
        The snapshot.
    processes : dict of str to int
        What this stack runs: role to pid.
    """
    if action == SUBSCRIBED:
        say("ready", processes=processes)
    elif action == END:
        say("done")
    elif action == REPORT:
        say("snapshot", rows=rows)
