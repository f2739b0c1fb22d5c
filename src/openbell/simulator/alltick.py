"""AllTick's dialect: requests and answers, and captured pushes.

Source: github.com/alltick, websocket_interface (envelope, 22000-22007, 22998, 22999) and error_code_description.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from picows import WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener

from openbell.simulator.events import Kind, Message, Trade
from openbell.simulator.floor import Client, Floor
from openbell.simulator.parts import Framing, Number, Part, Text
from openbell.simulator.universe import MAX_SYMBOLS, a_shares

PATH = "/quote-stock-b-ws-api"
_PATHS = (PATH, "/quote-b-ws-api")

_HEARTBEAT, _SUBSCRIBE_BOOK, _SUBSCRIBE_TRADE, _CANCEL = 22000, 22002, 22004, 22006
_PUSH_TRADE, _PUSH_BOOK = 22998, 22999
_BOOK = "book:"  # books are subscribed apart from trades
_MAX_CODES = 100_000


def trade(symbols: Sequence[str], decimals: int) -> tuple[Part, ...]:
    """Return push 22998, keys in the documented order."""
    return (
        b'{"cmd_id":22998,"data":{"code":"',
        Text("symbol", [symbol.encode() for symbol in symbols]),
        b'","seq":',
        Number("sequence"),
        b',"tick_time":',
        Number("time"),
        b',"price":"',
        Number("price", decimals),
        b'","volume":"',
        Number("volume"),
        b'","turnover":"',
        Number("turnover", decimals),
        b'","trade_direction":',
        Number("side"),
        b"}}",
    )


def framing(group: int) -> Framing:
    """Return the frames of pushes: one each as documented, or several joined by newlines, as clients have seen it."""
    return Framing(separator=b"\n", group=group)


class _Request(msgspec.Struct):
    cmd_id: Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
    seq_id: Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
    trace: Annotated[str, msgspec.Meta(max_length=64)]
    data: dict[str, msgspec.Raw]


class _Symbol(msgspec.Struct):
    code: Annotated[str, msgspec.Meta(min_length=1)]


class _Answer(msgspec.Struct):
    ret: int
    msg: str
    cmd_id: int
    seq_id: int
    trace: str
    data: dict[str, Any]


_decode_request = msgspec.json.Decoder(_Request).decode
_decode_symbols = msgspec.json.Decoder(
    Annotated[list[_Symbol], msgspec.Meta(min_length=1, max_length=_MAX_CODES)]
).decode
_decode_cancel = msgspec.json.Decoder(Annotated[int, msgspec.Meta(ge=0, le=2)]).decode
_encode = msgspec.json.encode


def error(message: str) -> bytes:
    """Return the vendor's error answer, which names no request: its cmd_id, seq_id and trace are empty."""
    return _encode(_Answer(400, message, 0, 0, "", {}))


class AllTickClient(Client):
    """A connection in AllTick's dialect; a subscription replaces the one before it, trades and books apart."""

    def on_request(self, payload: bytes) -> None:
        """Answer heartbeats, subscriptions and cancellations; anything else is a 400."""
        try:
            request = _decode_request(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self.reply(error("request header param invalid"))
            return
        try:
            known = self._execute(request)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self.reply(error("request data param invalid"))
            return
        if known:
            # The answer's number is the request's plus one, for all of them.
            self.reply(_encode(_Answer(200, "ok", request.cmd_id + 1, request.seq_id, request.trace, {})))
        else:
            self.reply(error("request header param invalid"))

    def _execute(self, request: _Request) -> bool:
        books = {key for key in self.keys if key.startswith(_BOOK)}
        if request.cmd_id == _SUBSCRIBE_TRADE:
            self.subscribe(books | {symbol.code for symbol in _decode_symbols(_part(request, "symbol_list"))})
        elif request.cmd_id == _SUBSCRIBE_BOOK:
            asked = {_BOOK + symbol.code for symbol in _decode_symbols(_part(request, "symbol_list"))}
            self.subscribe((self.keys - books) | asked)
        elif request.cmd_id == _CANCEL:
            cancelled = _decode_cancel(_part(request, "cancel_type"))
            self.subscribe({0: set[str](), 1: self.keys - books, 2: books}[cancelled])
        else:
            return request.cmd_id == _HEARTBEAT
        return True


def _part(request: _Request, name: str) -> msgspec.Raw:
    if name not in request.data:
        raise msgspec.ValidationError(f"data has no {name}")
    return request.data[name]


def admit(request: WSUpgradeRequest, floor: Floor) -> Client | WSUpgradeResponseWithListener | None:
    """Let a connection in that brings a token (any); 401 without one, 404 elsewhere."""
    url = urlsplit(request.path.decode("latin-1"))
    if url.path not in _PATHS:
        return None
    if not parse_qs(url.query).get("token"):
        body = b'{"msg":"token is required","ret":401}'
        refusal = WSUpgradeResponse.create_error_response(
            HTTPStatus.UNAUTHORIZED, body, {"Content-Type": "application/json"}
        )
        return WSUpgradeResponseWithListener(refusal, None)
    return AllTickClient(floor)


class _PushData(msgspec.Struct):
    code: str
    seq: int = 0
    tick_time: int = 0
    price: str | None = None
    volume: str | None = None
    turnover: str | None = None


class _Push(msgspec.Struct):
    cmd_id: int
    data: _PushData


_CODE = re.compile(rb'("code"\s*:\s*")[^"]*(?=")')


class AllTickDialect:
    """Reads captured pushes 22998 and 22999; numbers may be text, as in the vendor's older documents."""

    vendor = "alltick"

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(_Push, strict=False).decode

    def parse(self, payload: bytes) -> Message:
        """See `Dialect.parse`."""
        try:
            push = self._decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return Message(payload, False, None, None, Kind.OTHER, None)
        data = push.data
        if push.cmd_id == _PUSH_BOOK:
            return Message(payload, False, _BOOK + data.code, data.code, Kind.DEPTH, None)
        if push.cmd_id != _PUSH_TRADE:
            return Message(payload, False, None, None, Kind.OTHER, None)
        if data.price is None:
            return Message(payload, False, data.code, data.code, Kind.OTHER, None)
        trade = Trade(data.code, data.price, data.volume, data.turnover, True, data.tick_time, data.seq)
        return Message(payload, False, data.code, data.code, Kind.TRADE, trade)

    def generated_symbols(self, count: int) -> list[str]:
        """Return A-share codes."""
        return a_shares(count) if count <= MAX_SYMBOLS else [f"{number:06d}.XX" for number in range(count)]

    def relabel(self, message: Message, symbol: str) -> Message:
        """See `Dialect.relabel`."""
        if message.symbol is None:
            return message
        name = symbol.encode()
        return self.parse(_CODE.sub(lambda found: found[1] + name, message.whole, count=1))
