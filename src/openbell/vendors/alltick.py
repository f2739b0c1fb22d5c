"""AllTick: stocks (A-shares, Hong Kong, US), and forex, metals and crypto, over WebSocket.

Source of the messages and rules: https://en.apis.alltick.co (WebSocket API) and the vendor's repository
``alltick/alltick-realtime-forex-crypto-stock-tick-finance-websocket-api``. What its documents leave open is read
generously here:

- ``seq`` and ``tick_time`` are shown as integers and, until June 2026, as strings; both are read.
- ``tick_time`` is documented as milliseconds and shown with ten digits: the unit goes by magnitude.
- An error may carry ``cmd_id`` 0, and codes beyond the documented ones: any ``ret`` other than 200 is an error.
- ``seq`` is not documented to be contiguous; it is passed on and proves nothing.
- An order book push carries the whole visible book, best level first; an empty side means that there is none (the
  price is at its daily limit). Forex and metals come without volumes.
- Whether gateways join documents by newlines in one frame is not documented; if one does, each is read by itself.

The token travels in the address's query and nowhere else.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Final
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec
from msgspec import Struct

from openbell.config import Source
from openbell.errors import ConfigError
from openbell.reasons import Reason
from openbell.record import Kind
from openbell.secret import Secret
from openbell.vendors import alltick_latest
from openbell.vendors.base import Ack, Control, HeartbeatAck, Refusal, Vendor
from openbell.vendors.codes import alltick_pair, alltick_stock, is_pair, is_stock
from openbell.vendors.latest import Latest, LatestRequest
from openbell.vendors.plan import Field, Ignore, Op, Route
from openbell.vendors.semantics import Request, Semantics

HEARTBEAT: Final = 22000
HEARTBEAT_ACK: Final = 22001
SUBSCRIBE_BOOKS: Final = 22002
BOOK_ACK: Final = 22003
SUBSCRIBE_TRADES: Final = 22004
SUBSCRIBE_ACK: Final = 22005
CANCEL: Final = 22006
CANCEL_ACK: Final = 22007
TRADE: Final = 22998
BOOK: Final = 22999
OK: Final = 200

STREAMS: Final = ("trade", "book")

# Levels that a book has at most, by market.
_DEPTHS: Final = {".HK": 10, ".SH": 5, ".SZ": 5, ".US": 1}
_CRYPTO_DEPTH: Final = 5
_OTHER_DEPTH: Final = 1

CODES_A_CONNECTION: Final = 3000
"""Codes a connection takes on the large plans; above its plan's number the vendor ignores codes without a word."""

_REQUEST_SPACING_S: Final = 1.2
"""Two requests on a connection must be a second apart when they arrive: some way more when they leave."""
_TOKEN_SPACING_S: Final = 3.3
"""Three seconds, likewise."""
_SILENCE_S: Final = 30.0
"""The vendor closes a connection that was silent for so long, and may count it until then."""

_CANCEL_ALL, _CANCEL_BOOKS, _CANCEL_TRADES = 0, 1, 2

# Source: error_code_description.md of the vendor's repository; WebSocket and HTTP share the codes.
_ERRORS: Final = {
    400: "the request was malformed; if it comes again, report it",
    401: "the token is invalid; look at what token_env or token_file gives, and at the account",
    402: "the address's query is invalid; look at source.url",
    429: "too many requests in a short time; it is asked again later",
    600: "a code is not one of the vendor's; compare the symbols with its product list",
    601: "the request had no body; if it comes again, report it",
    603: "the account's plan does not reach so far; ask for fewer symbols on a connection, or change the plan",
    604: "the account may not have one of the codes; take it out, or change the plan",
    605: "a request came sooner than a second after the one before it; it is asked again later",
    606: (
        "too many connections, or requests less than three seconds apart over the connections of the token: the vendor "
        "closes; is the token in use elsewhere, or are there more connections than the plan has?"
    ),
}
_PASSING: Final = frozenset({429, 605, 606})
# It is not a code that is at fault.
_FINAL: Final = frozenset({401, 402, 601, 603})

# A simulator on this machine wants a token like the vendor, and takes any.
_LOCAL_TOKEN: Final = "local"

_URLS: Final = {
    "stock": "wss://quote.alltick.co/quote-stock-b-ws-api",
    "fx": "wss://quote.alltick.co/quote-b-ws-api",
}


class Trade(Struct, gc=False):
    """The ``data`` of a trade push; forex and metals come without volume."""

    code: str
    price: float
    volume: float | None = None
    turnover: float | None = None
    seq: int = 0
    tick_time: int = 0
    trade_direction: int = 0


class TradePush(Struct, gc=False):
    """Push 22998."""

    cmd_id: int
    data: Trade


class Level(Struct, gc=False):
    """One level of one side of a book."""

    price: float
    volume: float | None = None


class Book(Struct, gc=False):
    """The ``data`` of an order book push."""

    code: str
    bids: list[Level] | None = None
    asks: list[Level] | None = None
    seq: int = 0
    tick_time: int = 0


class BookPush(Struct, gc=False):
    """Push 22999."""

    cmd_id: int
    data: Book


class _Answer(Struct):
    """Whatever else the vendor sends: all optional, because an error may lack any of it."""

    cmd_id: int | None = None
    ret: int | None = None
    msg: str | None = None
    seq_id: int | None = None


class _Code(Struct):
    code: str


class _BookCode(Struct):
    code: str
    depth_level: int


class _SymbolList(Struct, omit_defaults=True):
    symbol_list: list[_Code] | list[_BookCode] = []


class _Cancel(Struct):
    cancel_type: int


class _Request(Struct):
    cmd_id: int
    seq_id: int
    trace: str
    data: _SymbolList | _Cancel


_TRADES = Route(
    name="trade",
    kind=Kind.TRADE,
    frame=TradePush,
    event=Trade,
    path="data",
    many=False,
    fields=(
        Field("code", Op.SYMBOL),
        Field("price", Op.PRICE, target="a"),
        Field("volume", Op.SIZE, target="b"),
        Field("turnover", Op.AMOUNT, target="c"),
        Field("seq", Op.SEQUENCE),
        Field("tick_time", Op.TIME),
        Field("trade_direction", Op.SIDE_CODE),
    ),
    marker=b'"cmd_id":22998',
    frame_expect=("cmd_id", TRADE),
)
_BOOKS = Route(
    name="book",
    kind=Kind.LEVEL,
    frame=BookPush,
    event=Book,
    path="data",
    many=False,
    fields=(
        Field("code", Op.SYMBOL),
        Field("bids", Op.BIDS, level=("price", "volume")),
        Field("asks", Op.ASKS, level=("price", "volume")),
        Field("seq", Op.SEQUENCE),
        Field("tick_time", Op.TIME),
    ),
    marker=b'"cmd_id":22999',
    frame_expect=("cmd_id", BOOK),
)


class AllTick(Vendor):
    """The AllTick dialect.

    Notes
    -----
    A subscription replaces the one before it of its kind, so all symbols go into one message a kind. No single code can
    be cancelled, only all of a kind. Above the plan's number of codes the vendor takes the first ones and says nothing
    about the others.
    """

    name: ClassVar[str] = "alltick"
    public_paths = frozenset(urlsplit(url).path for url in _URLS.values())
    # A third of the silence that the vendor bears.
    heartbeat_interval_s = 10.0
    latest_pause_s = alltick_latest.PAUSE_S

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        market = source.market or "stock"
        if market not in _URLS:
            raise ConfigError(
                f'source.market: alltick has no market {market!r}; write "stock" (A-shares, Hong Kong, US) or "fx" '
                "(forex, metals, crypto)"
            )
        for stream in source.streams:
            if stream not in STREAMS:
                raise ConfigError(f'source.streams: alltick has no {stream!r}; there are "trade" and "book"')
        if not source.symbols:
            raise ConfigError("source.symbols: alltick sends what is listed, and nothing else; list some")
        self._token = source.token()
        if self._token is None and not source.local:
            raise ConfigError(
                "source.token_env: alltick needs a token; put it into an environment variable and write "
                'token_env = "ALLTICK_TOKEN"'
            )
        # Paid plans may reconnect every 3 s, the free one every 10 s: too early and the vendor drops the newcomer.
        asked = source.min_reconnect_s
        self.min_reconnect_s = 3.0 if asked is None else asked if source.local else max(3.0, asked)
        self.connection_spacing_s = 0.0 if source.local else _TOKEN_SPACING_S
        self.semantics = Semantics(
            adds=False,
            cancels="all",
            pause_s=_REQUEST_SPACING_S,
            limit=source.max_streams or (None if source.local else CODES_A_CONNECTION),
            # Whether it is one is not documented.
            heartbeat_is_request=True,
            forgets_after_s=0.0 if source.local else _SILENCE_S,
        )
        self._base = source.url or _URLS[market]
        self._sequence = 0
        self._answers = msgspec.json.Decoder(_Answer, strict=False)

    def plan(self) -> tuple[Route | Ignore, ...]:
        """Return the routes of what is asked for (also as a relay may print it, with a space); the rest is ignored."""
        asked: list[Route | Ignore] = []
        others: list[Route | Ignore] = []
        for stream, route, reason in (
            ("trade", _TRADES, Reason.IGNORED_UNSUBSCRIBED),
            ("book", _BOOKS, Reason.IGNORED_DEPTH),
        ):
            spaced = route.marker.replace(b":", b": ")
            if stream in self.source.streams:
                asked += [route, replace(route, name=f"{route.name}, spaced", marker=spaced)]
            else:
                others += [Ignore(route.marker, reason), Ignore(spaced, reason)]
        return (*asked, *others)

    def url(self) -> Secret:
        """Return the address with the token in its query, as the vendor wants it."""
        parts = urlsplit(self._base)
        value = self._token.reveal() if self._token is not None else _LOCAL_TOKEN
        token = f"token={quote(value, safe='')}"
        return Secret(urlunsplit(parts._replace(query=f"{parts.query}&{token}" if parts.query else token)))

    def secret(self) -> Secret | None:
        """Return the token."""
        return self._token

    def subscribe(self, symbols: Sequence[str]) -> list[Request]:
        """Return a request for each kind of stream that subscribes to all `symbols`; none for an empty list."""
        requests: list[Request] = []
        if symbols and "trade" in self.source.streams:
            codes = _SymbolList([_Code(symbol) for symbol in symbols])
            requests.append(self._request(SUBSCRIBE_TRADES, codes, symbols))
        if symbols and "book" in self.source.streams:
            books = _SymbolList([_BookCode(symbol, _depth(symbol)) for symbol in symbols])
            requests.append(self._request(SUBSCRIBE_BOOKS, books, symbols))
        return requests

    def unsubscribe_all(self) -> list[Request]:
        """Return the request that cancels every kind of stream that was asked for."""
        kinds = set(self.source.streams)
        kind = _CANCEL_ALL if len(kinds) > 1 else _CANCEL_BOOKS if "book" in kinds else _CANCEL_TRADES
        return [self._request(CANCEL, _Cancel(kind))]

    def explain(self, code: int | None) -> str | None:
        """Return what the vendor's table of errors says, and what to do."""
        return _ERRORS.get(code) if code is not None else None

    def latest(self, symbols: Sequence[str]) -> list[LatestRequest] | None:
        """Return requests for the latest trades, as many codes each as the plan and an address have room for."""
        size = min(alltick_latest.CODES_A_REQUEST, self.source.max_streams or alltick_latest.CODES_A_REQUEST)
        token = self._token.reveal() if self._token is not None else _LOCAL_TOKEN
        return alltick_latest.requests(self._base, token, symbols, size)

    def read_latest(self, body: bytes) -> list[Latest]:
        """Return the latest trades that an answer tells."""
        return alltick_latest.read(body)

    def heartbeat(self) -> bytes:
        """Return the next heartbeat."""
        return self._request(HEARTBEAT, _SymbolList()).payload

    def control(self, payload: bytes) -> Control | None:
        """Read an answer: an acknowledgement, or an error, whatever command it claims to answer."""
        try:
            answer = self._answers.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        if answer.ret is not None and answer.ret != OK:
            # Number 0 is no request's: an error that names none.
            passing, final = answer.ret in _PASSING, answer.ret in _FINAL
            return Refusal(answer.ret, answer.msg or "", answer.seq_id or None, passing=passing, final=final)
        match answer.cmd_id:
            case 22001:
                return HeartbeatAck()
            case 22003 | 22005 | 22007:
                return Ack(answer.seq_id)
            case _:
                return None

    def symbol_fault(self, symbol: str) -> str | None:
        """Say why `symbol` is no code of this market; the vendor refuses, or forgets, what it does not know."""
        stocks = (self.source.market or "stock") == "stock"
        meant = alltick_stock(symbol) if stocks else alltick_pair(symbol)
        if stocks and is_pair(symbol) and not is_stock(symbol):
            return f'{symbol!r} is no stock; alltick has forex, metals and crypto under market = "fx"'
        if not stocks and is_stock(symbol):
            return f'{symbol!r} is a stock; alltick has those under market = "stock"'
        if meant is None:
            return None
        known = "'700.HK', '600519.SH' or 'AAPL.US'" if stocks else "'USDJPY', 'GOLD' or 'BTCUSDT'"
        hint = f"did you mean {meant!r}?" if meant else f"it writes them like {known}"
        return f"{symbol!r} is no code of alltick; {hint}"

    def _request(self, command: int, data: _SymbolList | _Cancel, symbols: Sequence[str] = ()) -> Request:
        self._sequence += 1
        # At most 64 characters; the vendor's support asks for it.
        trace = f"openbell-{uuid.uuid4().hex}"
        payload = msgspec.json.encode(_Request(command, self._sequence, trace, data))
        return Request(payload, tuple(symbols), self._sequence)


def _depth(symbol: str) -> int:
    """Return the most levels that the book of `symbol` has: by its exchange, or as a crypto pair."""
    for suffix, depth in _DEPTHS.items():
        if symbol.endswith(suffix):
            return depth
    return _CRYPTO_DEPTH if symbol.endswith("USDT") else _OTHER_DEPTH
