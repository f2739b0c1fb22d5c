"""What the kernel knows of a socket and asyncio does not say."""

from __future__ import annotations

import array
import asyncio
import fcntl
import socket
import sys
from typing import Final

from picows import WSTransport

# FIONREAD by another name: what was received and not read. Elsewhere it means other things for other sockets.
_SIOCINQ: Final = 0x541B if sys.platform == "linux" else None
_TCP_CLOSE: Final = 7
"""State of a connection that is over for the kernel; the first byte of what TCP_INFO tells."""
_ROUNDS: Final = 1000
_ROUND_S: Final = 0.001


def queue_bytes(transport: WSTransport) -> int | None:
    """Return the bytes that the kernel has received and we have not read; None where it does not say."""
    made = transport.underlying_transport.get_extra_info("socket")
    if _SIOCINQ is None or made is None:
        return None
    answer = array.array("i", [0])
    try:
        fcntl.ioctl(made.fileno(), _SIOCINQ, answer)
    except (OSError, ValueError):
        # It was closed a moment ago.
        return None
    return answer[0]


async def hear_end(transport: WSTransport, ended: asyncio.Future[None]) -> bool:
    """Hear of an end that the event loop has passed over; return whether there is one.

    uvloop tells a reader of a reset once, and then closes what would tell it again. If there was data to be read first,
    that once was for the data, and nobody ever hears of the reset: the connection would look quiet until something is
    sent on it. Beginning to read anew brings the rest of the data, and the end.

    Parameters
    ----------
    transport : WSTransport
    ended : future
        Done when the end was heard.
    """
    made = transport.underlying_transport.get_extra_info("socket")
    if _SIOCINQ is None or made is None or ended.done():
        return False
    try:
        state = made.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except (OSError, ValueError):
        # It was closed a moment ago.
        return False
    if state != _TCP_CLOSE:
        return False
    for _ in range(_ROUNDS):
        if not transport.underlying_transport.is_reading():
            # Held back by now, for what was read: another time.
            return False
        transport.underlying_transport.pause_reading()
        transport.underlying_transport.resume_reading()
        await asyncio.wait({ended}, timeout=_ROUND_S)
        if ended.done():
            break
    return True


def local_port(transport: WSTransport) -> int:
    """Return the port at our end; 0 where there is none."""
    name = transport.underlying_transport.get_extra_info("sockname")
    return int(name[1]) if isinstance(name, tuple) and len(name) > 1 else 0
