"""What the kernel knows of a socket and asyncio does not say."""

from __future__ import annotations

import array
import fcntl
import sys
from typing import Final

from picows import WSTransport

# FIONREAD by another name: what was received and not read. Elsewhere it means other things for other sockets.
_SIOCINQ: Final = 0x541B if sys.platform == "linux" else None


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


def local_port(transport: WSTransport) -> int:
    """Return the port at our end; 0 where there is none."""
    name = transport.underlying_transport.get_extra_info("sockname")
    return int(name[1]) if isinstance(name, tuple) and len(name) > 1 else 0
