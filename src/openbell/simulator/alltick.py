"""AllTick's dialect: requests and answers, and captured pushes.

Source: github.com/alltick, websocket_interface (envelope, 22000-22007, 22998, 22999) and error_code_description.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Sequence
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from picows import WSTransport, WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener

from openbell.simulator.events import Book, Kind, Message, Trade
from openbell.simulator.floor import Client, Floor
from openbell.simulator.latest import LatestTrades
from openbell.simulator.parts import Framing, Number, Part, Repeat, Text
from openbell.simulator.rules import NO_RULES, Rules
from openbell.simulator.universe import MAX_SYMBOLS, a_shares

PATH = "/quote-stock-b-ws-api"
_OTHER_PATH = "/quote-b-ws-api"
_LATEST_PATHS = ("/quote-stock-b-api/trade-tick", "/quote-b-api/trade-tick")
_BAD_REQUEST, _TOO_MANY, _TOO_MANY_CLOSING = 400, 605, 606
_CANCEL_TRADES = 2  # 1: books, 0: both

_HEARTBEAT, _SUBSCRIBE_BOOK, _SUBSCRIBE_TRADE, _CANCEL = 22000, 22002, 22004, 22006
_PUSH_TRADE, _PUSH_BOOK = 22998, 22999
BOOK = "book:"
"""What the key of a code's order book begins with: books are subscribed apart from trades."""
_MAX_CODES = 100_000


def trade(symbols: Sequence[str], decimals: int, volume_decimals: int = 0) -> tuple[Part, ...]:
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
        Number("volume", volume_decimals),
        b'","turnover":"',
        Number("turnover", decimals + volume_decimals),
        b'","trade_direction":',
        Number("side"),
        b"}}",
    )


def book(symbols: Sequence[str], decimals: int, volume_decimals: int = 0) -> tuple[Part, ...]:
    """Return push 22999, keys in the documented order, best level first; a side that is not there is an empty array."""
    return (
        b'{"cmd_id":22999,"data":{"code":"',
        Text("symbol", [symbol.encode() for symbol in symbols]),
        b'","seq":',
        Number("sequence"),
        b',"tick_time":',
        Number("time"),
        b',"bids":[',
        _side("bid", decimals, volume_decimals),
        b'],"asks":[',
        _side("ask", decimals, volume_decimals),
        b"]}}",
    )


def _side(name: str, decimals: int, volume_decimals: int) -> Repeat:
    price, volume = Number(f"{name}_price", decimals), Number(f"{name}_volume", volume_decimals)
    return Repeat(f"{name}s", (b'{"price":"', price, b'","volume":"', volume, b'"}'))


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
    # Only books have one; a request without it gets what there is.
    depth_level: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1_000


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


def path(universe: str) -> str:
    """Return where the vendor serves a universe: stocks apart from everything else."""
    return _OTHER_PATH if universe == "crypto" else PATH


def error(message: str, code: int = _BAD_REQUEST) -> bytes:
    """Return the vendor's error answer, which names no request: its cmd_id, seq_id and trace are empty."""
    return _encode(_Answer(code, message, 0, 0, "", {}))


class AllTickClient(Client):
    """A connection in AllTick's dialect; a subscription replaces the one before it, trades and books apart.

    Parameters
    ----------
    floor : Floor
    rules : Rules
        What is enforced.

    Attributes
    ----------
    depths : dict of str to int
        The levels asked for, of each code whose books are subscribed.
    last_heartbeat : float
        Loop time of the last heartbeat, or of the connection; other requests are none.
    """

    def __init__(self, floor: Floor, rules: Rules = NO_RULES) -> None:
        super().__init__(floor)
        self.depths: dict[str, int] = {}
        self.last_heartbeat = self.last_request
        self._rules = rules
        self._asked_at: float | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Enter the floor, or be turned away: there are too many connections."""
        super().on_ws_connected(transport)
        if self._rules.connections and len(self.floor.clients) > self._rules.connections:
            self._close("too many connections")

    def on_request(self, payload: bytes) -> None:
        """Answer heartbeats, subscriptions and cancellations; anything else is an error."""
        try:
            request = _decode_request(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self.reply(error("request header param invalid"))
            return
        if request.cmd_id != _HEARTBEAT and not self._in_time():
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

    def keep_first(self, part: float, known: Collection[str]) -> None:
        """See `Client.keep_first`."""
        super().keep_first(part, known)
        self.depths = {code: depth for code, depth in self.depths.items() if BOOK + code in self.keys}

    def _in_time(self) -> bool:
        """Refuse a request that comes too soon; only one that was in time starts the clock anew."""
        rules, now = self._rules, asyncio.get_running_loop().time()
        if self._asked_at is not None:
            if now - self._asked_at < rules.request_spacing_s:
                self.reply(error("too many requests", _TOO_MANY))
                return False
        elif self.floor.requested_at is not None and now - self.floor.requested_at < rules.connection_spacing_s:
            self._close("too many requests and connection will be closed")
            return False
        self._asked_at = self.floor.requested_at = now
        return True

    def _close(self, message: str) -> None:
        self.reply(error(message, _TOO_MANY_CLOSING))
        self.hang_up()

    def _execute(self, request: _Request) -> bool:
        trades = {key for key in self.keys if not key.startswith(BOOK)}
        if request.cmd_id == _SUBSCRIBE_TRADE:
            codes = self._codes(request)
            self.subscribe({code.code for code in codes} | (self.keys - trades))
        elif request.cmd_id == _SUBSCRIBE_BOOK:
            self.depths = {code.code: code.depth_level for code in self._codes(request)}
            self.subscribe(trades | {BOOK + code for code in self.depths})
        elif request.cmd_id == _CANCEL:
            cancelled = _decode_cancel(_part(request, "cancel_type"))
            if cancelled != _CANCEL_TRADES:
                self.depths = {}
            self.subscribe({0: set[str](), 1: trades, 2: self.keys - trades}[cancelled])
        elif request.cmd_id == _HEARTBEAT:
            self.last_heartbeat = self.last_request
        else:
            return False
        return True

    def _codes(self, request: _Request) -> list[_Symbol]:
        """Return the codes asked for: the first ones, where there are more than a connection may have."""
        codes: list[_Symbol] = _decode_symbols(_part(request, "symbol_list"))
        return codes[: self._rules.codes] if self._rules.codes else codes


def _part(request: _Request, name: str) -> msgspec.Raw:
    if name not in request.data:
        raise msgspec.ValidationError(f"data has no {name}")
    return request.data[name]


def admit(
    request: WSUpgradeRequest, floor: Floor, rules: Rules = NO_RULES, latest: LatestTrades | None = None
) -> Client | WSUpgradeResponseWithListener | None:
    """Let a connection in that brings a token (any); 401 without one, 404 elsewhere.

    With `latest`, the HTTP interface for the latest trades is served, too.
    """
    url = urlsplit(request.path.decode("latin-1"))
    if latest is not None and url.path in _LATEST_PATHS:
        return latest.answer(url.query)
    if url.path not in (PATH, _OTHER_PATH):
        return None
    if not parse_qs(url.query).get("token"):
        body = b'{"msg":"token is required","ret":401}'
        refusal = WSUpgradeResponse.create_error_response(
            HTTPStatus.UNAUTHORIZED, body, {"Content-Type": "application/json"}
        )
        return WSUpgradeResponseWithListener(refusal, None)
    return AllTickClient(floor, rules)


class _Level(msgspec.Struct):
    price: str
    volume: str | None = None


class _PushData(msgspec.Struct):
    code: str
    seq: int = 0
    tick_time: int = 0
    price: str | None = None
    volume: str | None = None
    turnover: str | None = None
    bids: list[_Level] | None = None
    asks: list[_Level] | None = None


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
            bids, asks = ([(each.price, each.volume) for each in side or ()] for side in (data.bids, data.asks))
            book = Book(data.code, bids, asks, data.tick_time, data.seq)
            return Message(payload, False, BOOK + data.code, data.code, Kind.BOOK, book)
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
