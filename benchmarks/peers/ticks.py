"""The plain ``ticks`` array as a vendor of OpenBell, given to a feed by its path."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

import msgspec
from msgspec import Struct

from openbell.record import Kind
from openbell.secret import Secret
from openbell.vendors import Ack, Control, Field, HeartbeatAck, Ignore, Op, Route, Vendor


class Tick(Struct, gc=False):
    """One element of the array."""

    symbol: str
    price: float
    volume: float | None = None
    time: int = 0


class Ticks(Struct, gc=False):
    """A message."""

    ticks: list[Tick]


class _Answer(Struct):
    action: str = ""


class TicksVendor(Vendor):
    """Subscribes with one message; everything that comes and is no array of ticks is an answer."""

    name: ClassVar[str] = "peers-ticks"

    def plan(self) -> tuple[Route | Ignore, ...]:
        """Return the one route."""
        return (
            Route(
                name="ticks",
                kind=Kind.TRADE,
                frame=Ticks,
                event=Tick,
                path="ticks",
                many=True,
                fields=(
                    Field("symbol", Op.SYMBOL),
                    Field("price", Op.PRICE, "a"),
                    Field("volume", Op.SIZE, "b"),
                    Field("time", Op.TIME),
                ),
                marker=b'{"ticks":',
            ),
        )

    def url(self) -> Secret:
        """Return the configured address."""
        return Secret(self.source.url or "ws://127.0.0.1/")

    def subscribe(self, symbols: Sequence[str]) -> list[bytes]:
        """Return the one message that subscribes to all `symbols`."""
        return [json.dumps({"action": "subscribe", "symbols": list(symbols)}).encode()]

    def control(self, payload: bytes) -> Control | None:
        """Read an answer."""
        try:
            answer = msgspec.json.decode(payload, type=_Answer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        return Ack() if answer.action == "subscribed" else HeartbeatAck()
