"""A plain dialect of batches: many ticks in one frame, numbers as numbers, nothing else.

No vendor's own; the shape is that of the feeds that push arrays. It shows what batching is worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from picows import WSUpgradeRequest

from openbell.simulator.floor import Client, Floor
from openbell.simulator.parts import Framing, Number, Part, Text

PATH = "/ticks"


def trade(symbols: Sequence[str], decimals: int, volume_decimals: int = 0) -> tuple[Part, ...]:
    """Return a tick."""
    return (
        b'{"symbol":"',
        Text("symbol", [symbol.encode() for symbol in symbols]),
        b'","price":',
        Number("price", decimals),
        b',"volume":',
        Number("volume", volume_decimals),
        b',"turnover":',
        Number("turnover", decimals + volume_decimals),
        b',"time":',
        Number("time"),
        b',"seq":',
        Number("sequence"),
        b',"side":',
        Number("side"),
        b"}",
    )


def framing(group: int) -> Framing:
    """Return the frames of this dialect: an object with an array of ticks."""
    return Framing(b'{"ticks":[', b",", b"]}", group)


class _Request(msgspec.Struct):
    action: Literal["subscribe", "unsubscribe"]
    symbols: Annotated[list[str], msgspec.Meta(min_length=1, max_length=100_000)]


_decode = msgspec.json.Decoder(_Request).decode
_encode = msgspec.json.encode


class TicksClient(Client):
    """A connection in this dialect; subscriptions add.

    Parameters
    ----------
    floor : Floor
    known : set of str
        The symbols there are.
    """

    def __init__(self, floor: Floor, known: set[str]) -> None:
        super().__init__(floor)
        self._known = known

    def on_request(self, payload: bytes) -> None:
        """Answer a subscription with the number of symbols the client now has, anything else with an error."""
        try:
            request = _decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self.reply(_encode({"action": "error", "message": f"invalid request: {error}"}))
            return
        asked = set(request.symbols)
        if unknown := sorted(asked - self._known):
            self.reply(_encode({"action": "error", "message": f"unknown symbol {unknown[0]}"}))
            return
        self.subscribe(self.keys | asked if request.action == "subscribe" else self.keys - asked)
        self.reply(_encode({"action": f"{request.action}d", "symbols": len(self.keys)}))


def admit(request: WSUpgradeRequest, floor: Floor, symbols: Sequence[str]) -> Client | None:
    """Let in connections to the one path there is; 404 elsewhere."""
    return TicksClient(floor, set(symbols)) if request.path.split(b"?")[0] == PATH.encode() else None
