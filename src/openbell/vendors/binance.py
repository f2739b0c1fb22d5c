"""Binance: spot and USD-M futures market streams, without an account.

Source of the messages and rules: ``binance/binance-spot-api-docs``, ``web-socket-streams.md``, and
https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams.

- A *combined* connection (``/stream``) wraps each event as ``{"stream": ..., "data": ...}``; a *raw* one (``/ws``)
  sends the event alone. Which one it is goes by the address.
- ``T`` is when a trade happened and is what ``exchange_ns`` holds; ``E`` is when the message was made. The spot
  ``bookTicker`` has neither.
- Old spot captures carry order ids in a trade's ``a`` and ``b``, where a ``bookTicker`` has prices: every stream has
  a Struct of its own.
- ``miniTicker`` is a summary of the last 24 hours, whose volume is a total: it becomes a TICKER record, which sets
  columns instead of adding to them. All symbols come in one array a second as ``!miniTicker@arr``, and only those
  that changed.
- Trades (``t``) and aggregates (``a``) of a symbol are numbered without a break, which no document says and every
  capture shows: a number left out is a trade that never came. An update id (``u``) jumps all the time.
- Futures trades whose ``X`` is not ``MARKET`` (insurance fund, auto-deleveraging) make no market price, and may have
  price 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Final
from urllib.parse import urlsplit, urlunsplit

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

from openbell.config import Source
from openbell.errors import ConfigError
from openbell.reasons import Reason
from openbell.record import Kind
from openbell.secret import Secret
from openbell.vendors.base import Ack, Control, Notice, Refusal, Vendor
from openbell.vendors.codes import binance_pair
from openbell.vendors.plan import Field, Ignore, Op, Route
from openbell.vendors.semantics import Request, Semantics

STREAMS_A_MESSAGE: Final = 200
STREAMS_A_CONNECTION: Final = 1024

_SPOT: Final = "wss://stream.binance.com:9443"
# Since April 2026 futures streams are served by category, and a connection of one category never gets the other's.
_USDM_PUBLIC: Final = "wss://fstream.binance.com/public"
_USDM_MARKET: Final = "wss://fstream.binance.com/market"
_USDM_MARKET_STREAMS: Final = frozenset({"aggTrade", "miniTicker"})


class Trade(Struct, gc=False):
    """A ``trade`` event; `kind` is sent by futures only."""

    event: str = field(name="e")
    symbol: str = field(name="s")
    price: float = field(name="p")
    quantity: float = field(name="q")
    buyer_is_maker: bool = field(name="m")
    trade_id: int = field(name="t", default=0)
    trade_time: int = field(name="T", default=0)
    kind: str | None = field(name="X", default=None)


class AggTrade(Struct, gc=False):
    """An ``aggTrade`` event: fills of one taker order at one price."""

    event: str = field(name="e")
    symbol: str = field(name="s")
    price: float = field(name="p")
    quantity: float = field(name="q")
    buyer_is_maker: bool = field(name="m")
    aggregate_id: int = field(name="a", default=0)
    trade_time: int = field(name="T", default=0)


class BookTicker(Struct, gc=False):
    """A ``bookTicker`` event; spot sends neither `event` nor `transaction_time`."""

    update_id: int = field(name="u")
    symbol: str = field(name="s")
    bid: float = field(name="b")
    bid_size: float = field(name="B")
    ask: float = field(name="a")
    ask_size: float = field(name="A")
    transaction_time: int = field(name="T", default=0)
    event: str = field(name="e", default="bookTicker")


class MiniTicker(Struct, gc=False):
    """A ``24hrMiniTicker`` event."""

    event: str = field(name="e")
    symbol: str = field(name="s")
    close: float = field(name="c")
    open: float = field(name="o")
    volume: float = field(name="v")
    quote_volume: float = field(name="q")
    event_time: int = field(name="E", default=0)


class CombinedTrade(Struct, gc=False):
    """A ``trade`` event of a combined connection."""

    data: Trade


class CombinedAggTrade(Struct, gc=False):
    """An ``aggTrade`` event of a combined connection."""

    data: AggTrade


class CombinedBookTicker(Struct, gc=False):
    """A ``bookTicker`` event of a combined connection."""

    data: BookTicker


class CombinedMiniTicker(Struct, gc=False):
    """A ``24hrMiniTicker`` event of a combined connection."""

    data: MiniTicker


class CombinedMiniTickers(Struct, gc=False):
    """The ``24hrMiniTicker`` events of all symbols that changed, on a combined connection."""

    data: list[MiniTicker]


_TRADE_FIELDS: Final = (
    Field("event", Op.EXPECT, expect="trade"),
    Field("symbol", Op.SYMBOL),
    Field("kind", Op.KEEP_IF, expect="MARKET", reason=Reason.IGNORED_NOT_MARKET),
    Field("price", Op.PRICE, target="a"),
    Field("quantity", Op.SIZE, target="b"),
    Field("buyer_is_maker", Op.SIDE_BUYER_MAKER),
    Field("trade_id", Op.SEQUENCE),
    Field("trade_time", Op.TIME),
)
_AGG_TRADE_FIELDS: Final = (
    Field("event", Op.EXPECT, expect="aggTrade"),
    Field("symbol", Op.SYMBOL),
    Field("price", Op.PRICE, target="a"),
    Field("quantity", Op.SIZE, target="b"),
    Field("buyer_is_maker", Op.SIDE_BUYER_MAKER),
    Field("aggregate_id", Op.SEQUENCE),
    Field("trade_time", Op.TIME),
)
_BOOK_TICKER_FIELDS: Final = (
    Field("event", Op.EXPECT, expect="bookTicker"),
    Field("symbol", Op.SYMBOL),
    Field("bid", Op.PRICE, target="a"),
    Field("bid_size", Op.SIZE, target="b"),
    Field("ask", Op.PRICE, target="c"),
    Field("ask_size", Op.SIZE, target="d"),
    Field("update_id", Op.SEQUENCE),
    Field("transaction_time", Op.TIME),
)
_MINI_TICKER_FIELDS: Final = (
    Field("event", Op.EXPECT, expect="24hrMiniTicker"),
    Field("symbol", Op.SYMBOL),
    Field("close", Op.PRICE, target="a"),
    Field("open", Op.PRICE, target="b"),
    Field("volume", Op.AMOUNT, target="c"),
    Field("quote_volume", Op.AMOUNT, target="d"),
    Field("event_time", Op.TIME),
)

_COMBINED: Final = {
    "trade": Route(
        "trade", Kind.TRADE, CombinedTrade, Trade, "data", False, _TRADE_FIELDS, b'@trade"', consecutive=True
    ),
    "aggTrade": Route(
        "aggTrade",
        Kind.TRADE,
        CombinedAggTrade,
        AggTrade,
        "data",
        False,
        _AGG_TRADE_FIELDS,
        b'@aggTrade"',
        consecutive=True,
    ),
    "bookTicker": Route(
        "bookTicker", Kind.QUOTE, CombinedBookTicker, BookTicker, "data", False, _BOOK_TICKER_FIELDS, b'@bookTicker"'
    ),
    "miniTicker": Route(
        "miniTicker", Kind.TICKER, CombinedMiniTicker, MiniTicker, "data", False, _MINI_TICKER_FIELDS, b'@miniTicker"'
    ),
}
_RAW: Final = {
    "trade": Route("trade", Kind.TRADE, Trade, Trade, "", False, _TRADE_FIELDS, b'"e":"trade"', consecutive=True),
    "aggTrade": Route(
        "aggTrade", Kind.TRADE, AggTrade, AggTrade, "", False, _AGG_TRADE_FIELDS, b'"e":"aggTrade"', consecutive=True
    ),
    "bookTicker": Route(
        "bookTicker", Kind.QUOTE, BookTicker, BookTicker, "", False, _BOOK_TICKER_FIELDS, b'"e":"bookTicker"'
    ),
    "miniTicker": Route(
        "miniTicker", Kind.TICKER, MiniTicker, MiniTicker, "", False, _MINI_TICKER_FIELDS, b'"e":"24hrMiniTicker"'
    ),
}
ALL_MINI_TICKERS: Final = "!miniTicker@arr"
_COMBINED_ARRAY: Final = replace(
    _COMBINED["miniTicker"], name="miniTickers", frame=CombinedMiniTickers, many=True, marker=b'!miniTicker@arr"'
)
_RAW_ARRAY: Final = replace(_RAW["miniTicker"], name="miniTickers", frame=list[MiniTicker], many=True)
# Spot's bookTicker names no event; it is the only one that begins with "u".
_RAW_SPOT_BOOK_TICKER: Final = Route(
    "bookTicker, spot", Kind.QUOTE, BookTicker, BookTicker, "", False, _BOOK_TICKER_FIELDS, b'{"u":'
)


def _ignored(key: bytes, reason: Reason) -> tuple[Ignore, Ignore]:
    """Return the entries for messages with `key` and its value, written without and (by a relay) with a space.

    A key with its quotes cannot stand inside a text, where quotes are escaped: an answer that quotes a stream or a
    message is never taken for one. The name of a stream alone (``btcusdt@depth``) proves nothing.
    """
    return Ignore(key, reason), Ignore(key.replace(b":", b": "), reason)


_DEPTH: Final = (
    *_ignored(b'"e":"depthUpdate"', Reason.IGNORED_DEPTH),
    # Spot's partial books name no event.
    Ignore(b'"lastUpdateId":', Reason.IGNORED_DEPTH),
)


class _Answer(Struct):
    """An answer to a request, or an announcement; everything optional."""

    id: int | str | None = None
    result: Raw | UnsetType = UNSET
    error: _Error | None = None
    code: int | None = None
    msg: str | None = None
    e: str | None = None
    stream: str | None = None


class _Error(Struct):
    code: int | None = None
    msg: str | None = None


class _Request(Struct):
    method: str
    params: list[str]
    id: int


class Binance(Vendor):
    """The Binance dialect."""

    name: ClassVar[str] = "binance"
    public_paths = frozenset({"/stream", "/ws", "/public/stream", "/public/ws", "/market/stream", "/market/ws"})

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._market = source.market or "spot"
        if self._market not in ("spot", "usdm"):
            raise ConfigError(f'source.market: binance has no market {self._market!r}; write "spot" or "usdm"')
        for stream in source.streams:
            if stream not in _COMBINED and not _is_depth(stream):
                raise ConfigError(
                    f'source.streams: {stream!r} is not supported; there are "trade", "aggTrade", "bookTicker", '
                    '"miniTicker" and "depth" (such as "depth@100ms", counted only)'
                )
        if {"trade", "aggTrade"} <= set(source.streams):
            raise ConfigError(
                'source.streams: "trade" and "aggTrade" report the same trades, and the volume would count twice; keep '
                "one of them"
            )
        if "miniTicker" in source.streams and {"trade", "aggTrade"} & set(source.streams):
            raise ConfigError(
                'source.streams: "miniTicker" states the volume of a whole day, and trades would add to it; keep one '
                "of them, or give miniTicker a source and a prefix of its own"
            )
        self._whole_market = source.open and "miniTicker" in source.streams
        if not source.symbols and (not self._whole_market or len(source.streams) > 1):
            raise ConfigError(
                'source.symbols: binance gives all symbols as streams = ["miniTicker"] alone; for anything else, list '
                "some"
            )
        self._base = source.url or self._default_url()
        self._limit = source.max_streams or STREAMS_A_CONNECTION
        # Of the streams of one symbol; none where it comes with the whole market alone.
        each = len(self._names(("X",)))
        self._check_limit(len(self._market_streams()) + each)
        self.semantics = Semantics(
            cancels="symbols",
            batch=max(1, STREAMS_A_MESSAGE // each) if each else 0,
            # 5 messages a second are allowed, and pongs count; a simulator on this machine has no such limit.
            pause_s=0.0 if source.local else 0.25,
            limit=max(1, (self._limit - len(self._market_streams())) // each) if each else None,
            forgets_after_s=0.0 if source.local else 60.0,
            overlaps=True,
            lifetime_s=86_400.0,
        )
        if source.min_reconnect_s is not None:
            # 300 attempts in 5 minutes are allowed.
            self.min_reconnect_s = source.min_reconnect_s if source.local else max(1.0, source.min_reconnect_s)
        self._sequence = 0
        self._answers = msgspec.json.Decoder(_Answer, strict=False)

    @property
    def raw(self) -> bool:
        """Whether events come alone, not wrapped with the name of their stream."""
        path = urlsplit(self._base).path
        return path.rstrip("/").endswith("/ws") or "/ws/" in path

    def plan(self) -> tuple[Route | Ignore, ...]:
        """Return the routes of the streams asked for; other streams are counted as ignored."""
        asked: list[Route | Ignore] = []
        others: list[Route | Ignore] = []
        if self._whole_market:
            # First: an array on a raw connection has the marker of one event, too.
            asked.append(_RAW_ARRAY if self.raw else _COMBINED_ARRAY)
        for stream, route in (_RAW if self.raw else _COMBINED).items():
            if stream == "miniTicker" and self._whole_market:
                continue
            if stream in self.source.streams:
                asked.append(route)
            else:
                others.extend(_ignored(_RAW[stream].marker, Reason.IGNORED_UNSUBSCRIBED))
        if "bookTicker" not in self.source.streams:
            others.append(Ignore(_RAW_SPOT_BOOK_TICKER.marker, Reason.IGNORED_UNSUBSCRIBED))
        elif self.raw:
            asked.append(_RAW_SPOT_BOOK_TICKER)
        return (*asked, *_DEPTH, *others)

    def url(self) -> Secret:
        """Return the address: the vendor's own, or the one configured (``/stream`` where it has no path)."""
        parts = urlsplit(self._base)
        return Secret(urlunsplit(parts._replace(path="/stream")) if parts.path in ("", "/") else self._base)

    def subscribe(self, symbols: Sequence[str]) -> list[Request]:
        """Return SUBSCRIBE requests for every stream of every symbol, at most 200 streams each.

        Without a symbol, that for the tickers of the whole market, if they are asked for.
        """
        if not symbols:
            return [self._request("SUBSCRIBE", names, ()) for names in (self._market_streams(),) if names]
        return self._requests("SUBSCRIBE", symbols)

    def unsubscribe(self, symbols: Sequence[str]) -> list[Request]:
        """Return UNSUBSCRIBE requests for every stream of every symbol."""
        return self._requests("UNSUBSCRIBE", symbols)

    def _requests(self, method: str, symbols: Sequence[str]) -> list[Request]:
        requests = []
        size = self.semantics.batch or len(symbols)
        for start in range(0, len(symbols), max(1, size)):
            some = symbols[start : start + size]
            if names := self._names(some):
                requests.append(self._request(method, names, some))
        return requests

    def _request(self, method: str, names: list[str], symbols: Sequence[str]) -> Request:
        self._sequence += 1
        payload = msgspec.json.encode(_Request(method, names, self._sequence))
        return Request(payload, tuple(symbols), self._sequence)

    def control(self, payload: bytes) -> Control | None:
        """Read an answer to a request (``result`` or ``error``), or an announcement."""
        try:
            answer = self._answers.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        request = answer.id if isinstance(answer.id, int) else None
        if answer.error is not None:
            return Refusal(answer.error.code, answer.error.msg or "", request)
        if answer.code is not None and answer.msg is not None:
            return Refusal(answer.code, answer.msg, request)
        if answer.result is not UNSET and answer.id is not None:
            return Ack(request)
        if answer.e == "serverShutdown" or answer.stream == "!serverShutdown":
            return Notice("the server announces its shutdown; it will close the connection", leaving=True)
        return None

    def symbol_key(self, symbol: str) -> str:
        """Return `symbol` in upper case, as it arrives."""
        return symbol.upper()

    def symbol_fault(self, symbol: str) -> str | None:
        """Say why `symbol` is no pair: the vendor takes any name of a stream, and never sends what does not exist."""
        meant = binance_pair(symbol)
        if meant is None:
            return None
        name, at, stream = symbol.partition("@")
        if at and binance_pair(name) is None:
            return f'{symbol!r} is a stream; write the symbol {name!r}, and streams = ["{stream}"]'
        hint = f"did you mean {meant!r}?" if meant else "it writes them like 'BTCUSDT'"
        return f"{symbol!r} is no pair of binance; {hint}"

    def _default_url(self) -> str:
        if self._market == "spot":
            return f"{_SPOT}/stream"
        regular = set(self.source.streams) & _USDM_MARKET_STREAMS
        if not regular:
            return f"{_USDM_PUBLIC}/stream"
        if regular != set(self.source.streams):
            raise ConfigError(
                f"source.streams: usdm serves {' and '.join(map(repr, sorted(regular)))} on another address than its "
                'other streams, and a source has one address; take "trade" instead of "aggTrade", or give each a source'
            )
        return f"{_USDM_MARKET}/stream"

    def _names(self, symbols: Sequence[str]) -> list[str]:
        """Return the names of all streams that `symbols` have of their own, each once."""
        names = dict.fromkeys(
            f"{symbol.lower()}@{stream}"
            for symbol in symbols
            for stream in self.source.streams
            if not (self._whole_market and stream == "miniTicker")
        )
        return list(names)

    def _market_streams(self) -> list[str]:
        """Return the names of the streams that come for all symbols at once."""
        return [ALL_MINI_TICKERS] if self._whole_market else []

    def _check_limit(self, streams: int) -> None:
        """Refuse a limit under which no connection could have all streams of one symbol, as each must."""
        if streams > self._limit:
            raise ConfigError(
                f"source.max_streams: the streams of one symbol are {streams}, and a connection may have "
                f"{self._limit}; raise it, or take fewer streams"
            )


def _is_depth(stream: str) -> bool:
    """Return whether `stream` is a book stream: ``depth``, ``depth5``, ``depth@100ms``, ..."""
    name, _, speed = stream.partition("@")
    return (
        name.startswith("depth")
        and name[5:] in ("", "5", "10", "20")
        and speed in ("", "100ms", "250ms", "500ms", "1000ms")
    )
