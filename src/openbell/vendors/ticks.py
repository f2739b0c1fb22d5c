"""The plain dialect: ticks in arrays, ``{"ticks": [...]}``, as many a relay and many a tutorial speaks it.

There is no vendor behind it, so this page is the dialect's documentation:

- ``{"action": "subscribe", "symbols": ["600519.SH"]}`` asks for symbols, in addition to those asked for before; the
  answer is ``{"action": "subscribed", "symbols": 1}``, or ``{"action": "error", "message": "..."}``; answers come in
  the order of the requests. ``"unsubscribe"`` cancels symbols, and is answered by ``"unsubscribed"``.
- A push is ``{"ticks": [{"symbol": "600519.SH", "price": 1500.01, "volume": 100, "turnover": 150001.0,
  "time": 1767576600000000000, "seq": 17, "side": 1}, ...]}``: trades, as many as there are. All but ``symbol`` and
  ``price`` may be absent. The unit of ``time`` goes by its magnitude; ``side`` is 1 where the buyer was the aggressor,
  2 where the seller was, 0 where nobody knows.
- There are no heartbeats. If there is a token, it travels in the ``Authorization`` header of the handshake.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

import msgspec
from msgspec import Struct

from openbell.config import Source
from openbell.errors import ConfigError
from openbell.record import Kind
from openbell.secret import Secret
from openbell.vendors.base import Ack, Control, Refusal, Vendor
from openbell.vendors.plan import Field, Ignore, Op, Route
from openbell.vendors.semantics import Request, Semantics

SYMBOLS_A_MESSAGE: Final = 20
PAUSE_S: Final = 0.05


class Tick(Struct, gc=False):
    """One trade."""

    symbol: str
    price: float
    volume: float | None = None
    turnover: float | None = None
    time: int = 0
    seq: int = 0
    side: int = 0


class Ticks(Struct, gc=False):
    """One push."""

    ticks: list[Tick]


class _Request(Struct):
    action: str
    symbols: list[str]


class _Answer(Struct):
    action: str | None = None
    message: str | None = None


_TICKS: Final = Route(
    name="ticks",
    kind=Kind.TRADE,
    frame=Ticks,
    event=Tick,
    path="ticks",
    many=True,
    fields=(
        Field("symbol", Op.SYMBOL),
        Field("price", Op.PRICE, target="a"),
        Field("volume", Op.SIZE, target="b"),
        Field("turnover", Op.AMOUNT, target="c"),
        Field("time", Op.TIME),
        Field("seq", Op.SEQUENCE),
        Field("side", Op.SIDE_CODE),
    ),
    # A key with its quotes cannot stand inside a text; where a relay puts it, and with which spaces, is open.
    marker=b'"ticks":',
)


class PlainTicks(Vendor):
    """The plain dialect."""

    name: ClassVar[str] = "ticks"

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        if source.url is None:
            raise ConfigError('source.url: the plain dialect has no address of its own; write url = "wss://..."')
        if source.streams != ("trade",):
            raise ConfigError('source.streams: the plain dialect has "trade" alone; leave the key out')
        if source.market is not None:
            raise ConfigError("source.market: the plain dialect has no markets; leave the key out")
        self.semantics = Semantics(
            cancels="symbols",
            batch=SYMBOLS_A_MESSAGE,
            # There is no rule to keep, but many a relay works through its requests one by one.
            pause_s=0.0 if source.local or source.subscribing.pause_s is not None else PAUSE_S,
            limit=source.max_streams,
        )
        self._url = source.url
        self._token = source.token()
        if source.min_reconnect_s is not None:
            self.min_reconnect_s = source.min_reconnect_s
        self._answers = msgspec.json.Decoder(_Answer)

    def plan(self) -> tuple[Route | Ignore, ...]:
        """Return the one route."""
        return (_TICKS,)

    def url(self) -> Secret:
        """Return the configured address."""
        return Secret(self._url)

    def secret(self) -> Secret | None:
        """Return the token, if there is one."""
        return self._token

    def headers(self) -> list[tuple[str, str]]:
        """Return the header that carries the token, if there is one."""
        return [] if self._token is None else [("Authorization", f"Bearer {self._token.reveal()}")]

    def subscribe(self, symbols: Sequence[str]) -> list[Request]:
        """Return the one message that subscribes to `symbols`; none for an empty list."""
        return self._requests("subscribe", symbols)

    def unsubscribe(self, symbols: Sequence[str]) -> list[Request]:
        """Return the one message that cancels `symbols`."""
        return self._requests("unsubscribe", symbols)

    def _requests(self, action: str, symbols: Sequence[str]) -> list[Request]:
        payload = msgspec.json.encode(_Request(action, list(symbols)))
        return [Request(payload, tuple(symbols))] if symbols else []

    def control(self, payload: bytes) -> Control | None:
        """Read an answer."""
        try:
            answer = self._answers.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        match answer.action:
            case "subscribed" | "unsubscribed":
                return Ack()
            case "error":
                return Refusal(None, answer.message or "")
            case _:
                return None
