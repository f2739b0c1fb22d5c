"""Frames of all sorts, built by hand: a library would not send what must go wrong."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

CONTINUATION, TEXT, CLOSE, PING, PONG = 0x0, 0x1, 0x8, 0x9, 0xA
_FIN = 0x80


def frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True) -> bytes:
    """Return an unmasked frame (RFC 6455 §5.2)."""
    return header(len(payload), opcode, fin=fin) + payload


def header(size: int, opcode: int = TEXT, *, fin: bool = True) -> bytes:
    """Return the header of an unmasked frame of `size` bytes."""
    first = opcode | (_FIN if fin else 0)
    if size < 126:
        return bytes((first, size))
    if size < 1 << 16:
        return struct.pack(">BBH", first, 126, size)
    return struct.pack(">BBQ", first, 127, size)


def payload_of(message: bytes) -> bytes:
    """Return the payload of one whole unmasked frame."""
    size = message[1]
    return message[2:] if size < 126 else message[4:] if size == 126 else message[10:]


def fragmented(payload: bytes, random_: random.Random) -> bytes:
    """Return a message in two to five frames, an empty one among them now and then, with pings between them."""
    cuts = sorted(random_.randrange(len(payload) + 1) for _ in range(random_.randint(1, 4)))
    parts = [payload[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
    out = bytearray()
    for number, part in enumerate(parts):
        out += frame(part, CONTINUATION if number else TEXT, fin=number == len(parts) - 1)
        if number < len(parts) - 1 and random_.random() < 0.3:
            out += frame(b"between", PING)
    return bytes(out)


def huge_frame(size: int, chunk: int = 256 * 1024) -> Iterator[bytes]:
    """Yield one frame of `size` bytes, piece by piece."""
    yield header(size)
    while size > 0:
        yield b"x" * min(chunk, size)
        size -= chunk


def huge_fragments(size: int, chunk: int = 65_536) -> Iterator[bytes]:
    """Yield a message of `size` bytes in as many frames, `chunk` frames at a time."""
    yield frame(b"[", fin=False)
    one = frame(b" ", CONTINUATION, fin=False)
    size -= 2
    while size > 0:
        yield one * min(chunk, size)
        size -= chunk
    yield frame(b"]", CONTINUATION)
