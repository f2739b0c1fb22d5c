"""WebSocket frames as bytes, ready to be written.

A server's frames are unmasked and need nothing from the connection, so that a whole batch can be encoded ahead and
given to the transport in one write instead of one a frame. AllTick trades are encoded by the block, in numpy: a
template row of bytes a trade, digits put in by columns, unused bytes deleted at the end (RFC 6455 §5.2 for the frame;
the vendor's documentation of push 22998 for the message and the order of its keys).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from openbell.simulator.trading import Ints, TradeBlock

_TEXT = 0x81  # FIN and the opcode of a text frame
_CODE_BYTES = 9  # "600519.SH"
_ZERO = ord("0")
# No byte of a text frame of valid UTF-8 is 0xFF, and no header made here contains it.
_FILLER = b"\xff"

_DIGITS = [b"%04d" % group for group in range(10_000)]
_CUT = [digits.lstrip(b"0").rjust(4, _FILLER) for digits in _DIGITS]
# Three tables in one: digits as they are; the first group of a number (leading zeros cut, 0 has no digit);
# the same where the number has no other group (0 has one digit).
_LEADING, _LEADING_LAST = 10_000, 20_000
_TABLE = [*_DIGITS, *_CUT, _CUT[0][:3] + b"0", *_CUT[1:]]
_GROUPS = np.frombuffer(b"".join(_TABLE), dtype=np.uint32)
_UNUSED = np.array([digits.count(_FILLER) for digits in _TABLE], dtype=np.int64)
_CENTS = np.frombuffer(b"".join(b"%02d" % cents for cents in range(100)), dtype=np.uint16)


def text_frame(message: bytes) -> bytes:
    """Return `message` as one unmasked, final text frame."""
    size = len(message)
    if size < 126:
        return b"%c%c%b" % (_TEXT, size, message)
    if size < 1 << 16:
        return struct.pack(">BBH", _TEXT, 126, size) + message
    return struct.pack(">BBQ", _TEXT, 127, size) + message


class TradeEncoder:
    """Encodes trades as AllTick push frames.

    Parameters
    ----------
    symbols : sequence of str
        The universe; a `TradeBlock` refers to it by index. Every code has nine ASCII characters.

    Notes
    -----
    A row of the template is as wide as the longest message. Numbers are written in groups of four digits from tables;
    where a number is shorter than its field, the rest is filled with a byte that no frame contains, and all filling is
    deleted in one pass over the block.
    """

    def __init__(self, symbols: Sequence[str]) -> None:
        codes = [code.encode("ascii") for code in symbols]
        if wrong := next((code for code in codes if len(code) != _CODE_BYTES), None):
            raise ValueError(f"an A-share code has {_CODE_BYTES} characters, not {wrong!r}")
        self._codes = np.array(codes)
        row = b""
        fields: dict[str, tuple[str, int]] = {}
        for parts, text in (
            ((("header", ">u4"),), b'{"cmd_id":22998,"data":{"code":"'),
            ((("code", f"S{_CODE_BYTES}"),), b'","seq":'),
            (_number("sequence", 3), b',"tick_time":'),
            ((("time_0", "u1"), *_number("time", 3)), b',"price":"'),
            (_number("price", 1), b"."),
            ((("price_cents", "u2"),), b'","volume":"'),
            (_number("volume", 2), b'","turnover":"'),
            (_number("turnover", 3), b"."),
            ((("turnover_cents", "u2"),), b'","trade_direction":'),
            ((("side", "u1"),), b"}}"),
        ):
            for name, kind in parts:
                fields[name] = (kind, len(row))
                row += bytes(np.dtype(kind).itemsize)
            row += text
        self._layout = np.dtype(
            {
                "names": list(fields),
                "formats": [kind for kind, _ in fields.values()],
                "offsets": [offset for _, offset in fields.values()],
                "itemsize": len(row),
            }
        )
        self._template = np.frombuffer(row, dtype=np.uint8)

    def encode(self, block: TradeBlock, chosen: npt.NDArray[np.intp]) -> tuple[bytes, Ints]:
        """Encode the trades `chosen` (indexes into the block) as frames, one after the other.

        Returns
        -------
        frames : bytes
            The frames.
        offsets : ndarray of int64, shape (len(chosen) + 1,)
            Frame ``i`` is ``frames[offsets[i]:offsets[i + 1]]``.

        Raises
        ------
        OverflowError
            A value has more digits than its field.
        """
        rows = np.tile(self._template, (len(chosen), 1)).view(self._layout).reshape(-1)
        price, price_cents = _divide(block.price[chosen], 100)
        turnover, turnover_cents = _divide(block.turnover[chosen], 100)
        time_0, time = _divide(block.time_ms[chosen], 10**12)
        unused = np.zeros(len(chosen), dtype=np.int64)
        rows["code"] = self._codes[block.symbol[chosen]]
        unused += _put_number(rows, "sequence", 3, block.sequence[chosen])
        rows["time_0"] = time_0 + _ZERO
        # Zeros inside a number stay: only the first digits of a field are ever cut.
        _put_number(rows, "time", 3, time, keep_zeros=True)
        unused += _put_number(rows, "price", 1, price)
        rows["price_cents"] = _CENTS[price_cents]
        unused += _put_number(rows, "volume", 2, block.volume[chosen])
        unused += _put_number(rows, "turnover", 3, turnover)
        rows["turnover_cents"] = _CENTS[turnover_cents]
        rows["side"] = block.side[chosen] + _ZERO
        lengths = self._layout.itemsize - unused
        # Every payload has 126 to 254 bytes: so the header has a 16-bit length, and no byte like the filler.
        rows["header"] = (lengths - 4) + (_TEXT << 24 | 126 << 16)
        offsets = np.zeros(len(chosen) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return rows.tobytes().translate(None, _FILLER), offsets


def _number(name: str, groups: int) -> tuple[tuple[str, str], ...]:
    return tuple((f"{name}_{group}", "u4") for group in range(groups, 0, -1))


def _divide(values: Ints, by: int) -> tuple[Ints, Ints]:
    quotient = values // by
    return quotient, values - quotient * by


def _put_number(
    rows: npt.NDArray[np.void], name: str, groups: int, values: Ints, *, keep_zeros: bool = False
) -> Ints | int:
    """Write decimal digits into a field of `groups` times four; return how many of them are filler."""
    rest = values
    unused: Ints | int = 0
    for group in range(1, groups + 1):
        higher, digits = _divide(rest, 10_000)
        if not keep_zeros:
            digits += (higher == 0) * (_LEADING_LAST if group == 1 else _LEADING)
            unused = unused + _UNUSED[digits]
        rows[f"{name}_{group}"] = _GROUPS[digits]
        rest = higher
    if rest.any():
        raise OverflowError(f"{name}: {int(values.max())} has more than {4 * groups} digits")
    return unused
