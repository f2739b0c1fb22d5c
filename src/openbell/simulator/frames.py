"""One message as a WebSocket frame; made-up events are written by the thousand, in `openbell.simulator.writer`."""

from __future__ import annotations

import struct

_TEXT = 0x81  # FIN and the opcode of a text frame


def text_frame(message: bytes) -> bytes:
    """Return `message` as one unmasked, final text frame (RFC 6455 §5.2)."""
    size = len(message)
    if size < 126:
        return b"%c%c%b" % (_TEXT, size, message)
    if size < 1 << 16:
        return struct.pack(">BBH", _TEXT, 126, size) + message
    return struct.pack(">BBQ", _TEXT, 127, size) + message
