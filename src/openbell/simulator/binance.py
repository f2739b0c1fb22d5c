"""Binance's dialect: combined and raw streams, live subscriptions, and captured messages.

Source: github.com/binance/binance-spot-api-docs, web-socket-streams.md.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
from picows import WSUpgradeRequest

from openbell.simulator.events import Event, Kind, Message, Quote, Ticker, Trade
from openbell.simulator.floor import Client, Floor
from openbell.simulator.rules import NO_RULES, Rules

PATH = "/stream"
_RAW_PATH = "/ws"
_INVALID_REQUEST, _INVALID_JSON = 2, 3
# The venue asks every 20 s and hangs up after a minute without an answer: there is time for three.
_UNANSWERED_PINGS = 3


class BinanceClient(Client):
    """A connection in Binance's dialect.

    Parameters
    ----------
    floor : Floor
        Where it belongs.
    streams : sequence of str
        Subscribed by the URL.
    raw : bool
        Connected to ``/ws``: messages come without the stream's envelope.
    rules : Rules
        What is enforced.

    Attributes
    ----------
    raw : bool
    """

    def __init__(self, floor: Floor, streams: Sequence[str], raw: bool, rules: Rules = NO_RULES) -> None:
        super().__init__(floor)
        self.raw = raw
        self._rules = rules
        self._recent: deque[float] = deque(maxlen=max(rules.messages_per_s, 1))
        self._pinged_at = self._answered_at = self.last_request
        if streams:
            self.subscribe(streams[: rules.codes] if rules.codes else streams)

    def watch(self, now: float) -> None:
        """Send a PING where that is a rule, and hang up on a client that answers none."""
        ping_s = self._rules.ping_s
        if not ping_s or self.transport is None:
            return
        if now - self._answered_at > _UNANSWERED_PINGS * ping_s:
            self.cut_off()
        elif now - self._pinged_at >= ping_s:
            self._pinged_at = now
            self.transport.send_ping(str(time.time_ns() // 1_000_000).encode())

    def on_pong(self) -> None:
        """See `Client.on_pong`."""
        self._answered_at = asyncio.get_running_loop().time()

    def render(self, message: Message) -> bytes:
        """See `Client.render`."""
        return bytes(_decode_envelope(message.whole).data) if self.raw and message.wrapped else message.whole

    def on_request(self, payload: bytes) -> None:
        """Answer SUBSCRIBE, UNSUBSCRIBE and LIST_SUBSCRIPTIONS; anything else is an error answer."""
        if self._too_many():
            self.hang_up()
            return
        try:
            request = msgspec.json.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self.reply(_error(_INVALID_JSON, f"Invalid JSON: {error}", None))
            return
        number = request.get("id") if isinstance(request, dict) else None
        fault = _fault(request)
        if fault:
            self.reply(_error(_INVALID_REQUEST, f"Invalid request: {fault}", number))
            return
        result: list[str] | None = None
        if request["method"] == "SUBSCRIBE":
            wanted = self.keys | set(request["params"])
            if self._rules.codes and len(wanted) > self._rules.codes:
                self.reply(_error(_INVALID_REQUEST, "Invalid request: too many parameters", number))
                return
            self.subscribe(wanted)
        elif request["method"] == "UNSUBSCRIBE":
            self.subscribe(self.keys - set(request["params"]))
        else:
            result = sorted(self.keys)
        self.reply(msgspec.json.encode({"result": result, "id": number}))

    def _too_many(self) -> bool:
        """Note a message, and return whether it is one too many within a second."""
        if not self._rules.messages_per_s:
            return False
        full = len(self._recent) == self._recent.maxlen
        over = full and self.last_request - self._recent[0] < 1.0
        self._recent.append(self.last_request)
        return over


def _fault(request: Any) -> str | None:
    if not isinstance(request, dict):
        return "a request is an object"
    if unknown := set(request) - {"method", "params", "id"}:
        return f"unknown property {sorted(unknown)[0]!r}"
    if request.get("method") not in ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS"):
        return "unknown method"
    if not isinstance(request.get("id"), int | str | None) or isinstance(request.get("id"), bool):
        return "id must be an integer, a string or null"
    params = request.get("params")
    if request["method"] != "LIST_SUBSCRIPTIONS" and not (
        isinstance(params, list) and params and all(isinstance(stream, str) and stream for stream in params)
    ):
        return "params must be a list of stream names"
    return None


def _error(code: int, message: str, number: object) -> bytes:
    return msgspec.json.encode({"code": code, "msg": message, "id": number})


def admit(request: WSUpgradeRequest, floor: Floor, rules: Rules = NO_RULES) -> Client | None:
    """Let in connections to ``/stream`` and ``/ws``; 404 elsewhere."""
    url = urlsplit(request.path.decode("latin-1"))
    if url.path == PATH:
        asked = parse_qs(url.query).get("streams", [""])[0]
        return BinanceClient(floor, [stream for stream in asked.split("/") if stream], False, rules)
    if url.path == _RAW_PATH or url.path.startswith(f"{_RAW_PATH}/"):
        streams = [unquote(stream) for stream in url.path.split("/")[2:] if stream]
        return BinanceClient(floor, streams, True, rules)
    return None


class _Envelope(msgspec.Struct):
    stream: str
    data: msgspec.Raw


_decode_envelope = msgspec.json.Decoder(_Envelope).decode


class _Head(msgspec.Struct):
    e: str | None = None
    s: str | None = None


class _Trade(msgspec.Struct):
    s: str
    p: str
    q: str
    T: int = 0
    t: int = 0
    X: str = "MARKET"


class _AggregateTrade(msgspec.Struct):
    s: str
    p: str
    q: str
    T: int = 0
    a: int = 0
    X: str = "MARKET"


class _BookTicker(msgspec.Struct):
    s: str
    u: int
    b: str
    B: str
    a: str
    A: str
    T: int = 0


class _MiniTicker(msgspec.Struct):
    s: str
    c: str
    o: str
    v: str
    q: str
    E: int = 0


# The symbol is matched up to its closing quote, that of a stream up to its channel.
_SYMBOL = re.compile(rb'("s"\s*:\s*")([^"]*)(?=")')
_STREAM = re.compile(rb'("stream"\s*:\s*")[^"@]*(?=@)')
_TRADE_ID, _AGGREGATE_ID = re.compile(rb'("t"\s*:\s*)[0-9]+'), re.compile(rb'("a"\s*:\s*)[0-9]+')

# Channels whose messages have an "e" of another name than the stream has.
_CHANNEL_OF_EVENT = {"depthUpdate": "depth", "24hrTicker": "ticker", "24hrMiniTicker": "miniTicker"}


class BinanceDialect:
    """Reads captured messages of combined streams, and of raw ones by what is in them."""

    vendor = "binance"

    def __init__(self) -> None:
        # Of the streams of trades that were relabelled, the last number.
        self._numbers: dict[str, int] = {}
        self._head = msgspec.json.Decoder(_Head).decode
        self._trade = msgspec.json.Decoder(_Trade).decode
        self._aggregate = msgspec.json.Decoder(_AggregateTrade).decode
        self._ticker = msgspec.json.Decoder(_MiniTicker).decode
        self._quote = msgspec.json.Decoder(_BookTicker).decode

    def parse(self, payload: bytes) -> Message:
        """See `Dialect.parse`."""
        try:
            envelope = _decode_envelope(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self._message(payload, payload, None)
        return self._message(payload, envelope.data, envelope.stream)

    def _message(self, whole: bytes, data: bytes | msgspec.Raw, stream: str | None) -> Message:
        symbol: str | None = None
        event: Event | None = None
        kind = Kind.OTHER
        try:
            if stream is None:
                stream = self._stream_of(data)
            channel = stream.partition("@")[2] if stream else ""
            if channel == "trade":
                trade = self._trade(data)
                symbol, kind = trade.s, Kind.TRADE
                event = Trade(symbol, trade.p, trade.q, None, trade.X == "MARKET", trade.T, trade.t)
            elif channel == "aggTrade":
                sum_ = self._aggregate(data)
                symbol, kind = sum_.s, Kind.TRADE
                event = Trade(symbol, sum_.p, sum_.q, None, sum_.X == "MARKET", sum_.T, sum_.a)
            elif channel == "bookTicker":
                quote = self._quote(data)
                symbol, kind = quote.s, Kind.QUOTE
                event = Quote(symbol, quote.b, quote.B, quote.a, quote.A, quote.T, quote.u)
            elif channel == "miniTicker":
                ticker = self._ticker(data)
                symbol, kind = ticker.s, Kind.TICKER
                event = Ticker(symbol, ticker.c, ticker.o, ticker.v, ticker.q, ticker.E)
            elif stream is not None:
                symbol = self._head(data).s
                kind = Kind.DEPTH if channel.startswith("depth") else Kind.OTHER
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            # Not what the stream's name promises: it is sent as it is and changes nothing.
            symbol, event, kind = None, None, Kind.OTHER
        return Message(whole, data is not whole, stream, symbol, kind, event)

    def _stream_of(self, data: bytes | msgspec.Raw) -> str | None:
        """Tell the stream of a raw message; a book ticker is the one push that does not say what it is."""
        head = self._head(data)
        if head.s is None:
            return None
        if head.e is None:
            try:
                self._quote(data)
            except msgspec.ValidationError:
                return None
            return f"{head.s.lower()}@bookTicker"
        return f"{head.s.lower()}@{_CHANNEL_OF_EVENT.get(head.e, head.e)}"

    def generated_symbols(self, count: int) -> list[str]:
        """Return symbols in the venue's style, all of one length."""
        return [f"OB{number:05d}USDT" for number in range(count)]

    def relabel(self, message: Message, symbol: str) -> Message:
        """See `Dialect.relabel`; the symbol stands in the stream's name and in ``s``, also of nested objects.

        Trades are numbered anew: the venue numbers those of a symbol without a break, and dealt out they would have
        nothing but holes.
        """
        if message.symbol is None:
            return message
        # Functions, not templates: re would compile a template anew for each of thousands of symbols.
        name, old = symbol.encode(), message.symbol.encode()
        whole = _SYMBOL.sub(lambda found: found[1] + name if found[2] == old else found[0], message.whole)
        message.whole = _STREAM.sub(lambda found: found[1] + name.lower(), whole, count=1)
        message.symbol = symbol
        if message.event is not None:
            message.event.symbol = symbol
        if message.key is not None:
            message.key = f"{symbol.lower()}@{message.key.partition('@')[2]}"
            if isinstance(message.event, Trade):
                self._renumber(message, message.event, message.key)
        return message

    def _renumber(self, message: Message, trade: Trade, stream: str) -> None:
        trade.sequence = self._numbers[stream] = self._numbers.get(stream, 0) + 1
        pattern = _AGGREGATE_ID if stream.endswith("@aggTrade") else _TRADE_ID
        message.whole = pattern.sub(lambda found: found[1] + b"%d" % trade.sequence, message.whole, count=1)
