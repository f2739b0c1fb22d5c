"""The simple dialects of relays: what they send, what they are asked, and how they spell symbols.

Nobody's own, and each met in many places. A dialect is a row of `RELAYS`; docs/simulator.md shows its messages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

import msgspec
from picows import WSTransport, WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener

from openbell.simulator.floor import Client, Floor
from openbell.simulator.parts import Framing, Number, Part, Text

PATH = "/feed"
_EVERYTHING: Final = "*"
_UNKNOWN, _INVALID = 600, 400
_COMMAND, _ANSWER = 22004, 22005


@dataclass(frozen=True, slots=True)
class Relay:
    """A dialect.

    Attributes
    ----------
    name : str
        As in ``--dialect``.
    universe : str
        The market it is usually about.
    spell : callable
        Returns a code of that market, given as AllTick writes it, as this dialect does.
    fields : tuple of (str, str)
        Keys of an event in order, and what they are: ``"symbol"``, ``"price"``, ``"volume"``, ``"time"``,
        ``"reference"``.
    listed : bool
        Events come in lists, ``{"ticks": [...]}``; otherwise one is a message.
    asks : str
        How symbols are asked for: ``"array"``, ``"text"``, ``"query"``, ``"wildcard"`` or ``"command"``.
    """

    name: str
    universe: str
    spell: Callable[[str], str]
    fields: tuple[tuple[str, str], ...]
    listed: bool
    asks: Literal["array", "text", "query", "wildcard", "command"]

    def sends(self, what: str) -> bool:
        """Return whether its events say that."""
        return any(meaning == what for _, meaning in self.fields)

    def event(
        self, symbols: Sequence[str], decimals: int, volume_decimals: int, cumulative: bool = False
    ) -> tuple[Part, ...]:
        """Return an event; `cumulative`: its volume is that of the day so far."""
        values: dict[str, Sequence[Part]] = {
            "symbol": (b'"', Text("symbol", [symbol.encode() for symbol in symbols]), b'"'),
            "price": (Number("price", decimals),),
            "volume": (Number("total" if cumulative else "volume", volume_decimals),),
            "time": (Number("time"),),
            "reference": (Number("reference", decimals),),
        }
        parts: list[Part] = []
        for key, meaning in self.fields:
            parts += [f'{"," if parts else "{"}"{key}":'.encode(), *values[meaning]]
        return (*parts, b"}")

    def framing(self, group: int) -> Framing:
        """Return its messages, of so many events where they are listed."""
        return Framing(b'{"ticks":[', b",", b"]}", group) if self.listed else Framing()


def padded(code: str) -> str:
    """Return a code with Hong Kong's numbers in five digits: ``00700.HK``."""
    number, dot, exchange = code.partition(".")
    return f"{number.zfill(5)}.HK" if dot and exchange == "HK" else code


def bare(code: str) -> str:
    """Return a code without its exchange: ``600519``, ``00700``, ``AAPL``."""
    return padded(code).partition(".")[0]


def exchange_first(code: str) -> str:
    """Return a code behind its exchange: ``NASDAQ:AAPL``."""
    name, dot, exchange = code.partition(".")
    return f"{_EXCHANGES[exchange]}:{name}" if dot else f"BINANCE:{code}"


_EXCHANGES: Final = {"SH": "SSE", "SZ": "SZSE", "HK": "HKEX", "US": "NASDAQ"}
_VOLUMES: Final = (("symbol", "symbol"), ("price", "price"), ("volume", "volume"))
_TIMES: Final = (("code", "symbol"), ("price", "price"), ("time", "time"))
_REFERENCES: Final = (("code", "symbol"), ("price", "price"), ("open_24h", "reference"))

RELAYS: Final = {
    relay.name: relay
    for relay in (
        Relay("symbol-array", "hk", padded, _VOLUMES, True, "array"),
        Relay("symbol-text", "cn", bare, _TIMES, True, "text"),
        Relay("symbol-wildcard", "cn", bare, _TIMES, True, "wildcard"),
        Relay("symbol-query", "cn", bare, _TIMES, True, "query"),
        Relay("command-code", "us", exchange_first, _REFERENCES, False, "command"),
    )
}
"""By name."""


class _Asked(msgspec.Struct):
    action: Literal["subscribe", "unsubscribe"]
    symbols: list[str] | str


class _Commanded(msgspec.Struct):
    cmd_id: int
    action: Literal["subscribe", "unsubscribe"]
    code: list[str]


_decode_asked = msgspec.json.Decoder(_Asked).decode
_decode_commanded = msgspec.json.Decoder(_Commanded).decode
_encode = msgspec.json.encode


class RelayClient(Client):
    """A connection in one of these dialects; subscriptions add.

    Parameters
    ----------
    floor : Floor
    relay : Relay
    known : frozenset of str
        The symbols there are, as the dialect spells them.
    begin : sequence of str
        What the address asked for.
    """

    def __init__(self, floor: Floor, relay: Relay, known: frozenset[str], begin: Sequence[str] = ()) -> None:
        super().__init__(floor)
        self._relay, self._known, self._begin = relay, known, begin

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Enter the floor, subscribed to what the address asked for."""
        super().on_ws_connected(transport)
        if self._begin:
            unknown = self._change("subscribe", self._begin)
            if unknown:
                self._refuse(_UNKNOWN, f"unknown symbol {unknown[0]}", unknown)

    def on_request(self, payload: bytes) -> None:
        """Answer a subscription with what it came to, anything else with an error."""
        try:
            action, symbols = self._read(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self._refuse(_INVALID, f"invalid request: {error}")
            return
        unknown = self._change(action, symbols)
        if len(unknown) == len(symbols):
            self._refuse(_UNKNOWN, f"unknown symbol {unknown[0]}" if unknown else "no symbol", unknown)
            return
        if self._relay.asks == "command":
            answer: dict[str, Any] = {"cmd_id": _ANSWER, "ret": 200, "msg": "ok"}
        else:
            answer = {"action": f"{action}d", "symbols": len(self.keys)}
        self.reply(_encode(answer | ({"refused": unknown} if unknown else {})))

    def _read(self, payload: bytes) -> tuple[str, list[str]]:
        """Return what is to be done, and with which symbols."""
        asks = self._relay.asks
        if asks == "command":
            command = _decode_commanded(payload)
            if command.cmd_id != _COMMAND:
                raise msgspec.ValidationError(f"there is no command {command.cmd_id}")
            return command.action, command.code
        asked = _decode_asked(payload)
        if asks == "query" or isinstance(asked.symbols, list) != (asks == "array"):
            raise msgspec.ValidationError("symbols are not asked for in this way")
        return asked.action, asked.symbols if isinstance(asked.symbols, list) else asked.symbols.split(",")

    def _change(self, action: str, symbols: Sequence[str]) -> list[str]:
        """Take symbols in, or out; return those that there are not."""
        everything = _EVERYTHING in symbols and self._relay.asks not in ("array", "command")
        asked = self._known if everything else self._known.intersection(symbols)
        if asked:
            self.subscribe(self.keys | asked if action == "subscribe" else self.keys - asked)
        return [] if everything else [symbol for symbol in symbols if symbol not in self._known]

    def _refuse(self, code: int, message: str, symbols: Sequence[str] = ()) -> None:
        answer: dict[str, Any]
        if self._relay.asks == "command":
            answer = {"cmd_id": _ANSWER, "ret": code, "msg": message, "code": list(symbols)}
        else:
            answer = {"action": "error", "message": message, "symbols": list(symbols)}
        self.reply(_encode(answer))


def admit(
    request: WSUpgradeRequest, floor: Floor, relay: Relay, known: frozenset[str]
) -> Client | WSUpgradeResponseWithListener | None:
    """Let in connections to the one path there is, 404 elsewhere; 400 where the address lacks the codes."""
    url = urlsplit(request.path.decode("latin-1"))
    if url.path != PATH:
        return None
    codes = [code for text in parse_qs(url.query).get("codes", []) for code in text.split(",")]
    if relay.asks != "query":
        return RelayClient(floor, relay, known)
    if not codes:
        body = _encode({"action": "error", "message": "codes are required"})
        refusal = WSUpgradeResponse.create_error_response(
            HTTPStatus.BAD_REQUEST, body, {"Content-Type": "application/json"}
        )
        return WSUpgradeResponseWithListener(refusal, None)
    return RelayClient(floor, relay, known, codes)
