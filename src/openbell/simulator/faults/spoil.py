"""Messages that are not what they should be, and the reason under which a correct handler counts each.

What is spoiled is an event of the market, which then does not reach the handler, as with a vendor whose gateway breaks
its messages. Whatever is left of it must not be applied.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from openbell.reasons import Reason
from openbell.simulator.faults.journal import BACKWARD_NS

Spoiled = tuple[bytes, Reason | None]
"""A message, and why it is refused; None: it is applied all the same."""


@dataclass(frozen=True, slots=True)
class Speech:
    """What spoils the messages of a dialect.

    Attributes
    ----------
    symbol : bytes
        What stands before the symbol in a push.
    time : Pattern
        The time in a push, digits in group 2.
    inner : bytes
        What an object of the market's data begins with, behind its brace.
    enums : sequence of (bytes pattern, bytes, Reason)
        What is replaced by what nobody knows, and how that counts; the first one that is found.
    request : Pattern
        What a subscription has in it, and nothing else has.
    """

    symbol: bytes
    time: re.Pattern[bytes]
    inner: bytes
    enums: tuple[tuple[re.Pattern[bytes], bytes, Reason], ...]
    request: re.Pattern[bytes]

    def is_subscription(self, request: bytes) -> bool:
        """Return whether a client's message subscribes to something."""
        return self.request.search(request) is not None


_ALLTICK = Speech(
    symbol=b'"code":"',
    time=re.compile(rb'("tick_time":)([0-9]+)'),
    inner=b'"data":{',
    enums=(
        (re.compile(rb'"trade_direction":[0-9]+'), b'"trade_direction":9', Reason.SIDE_WRONG_TYPE),
        (re.compile(rb'"cmd_id":22999'), b'"cmd_id":22997', Reason.UNKNOWN_MESSAGE),
    ),
    request=re.compile(rb'"cmd_id"\s*:\s*2200[24]'),
)
_TICKS = Speech(
    symbol=b'"symbol":"',
    time=re.compile(rb'("time":)([0-9]+)'),
    inner=b'"ticks":[{',
    enums=((re.compile(rb'"side":[0-9]+'), b'"side":9', Reason.SIDE_WRONG_TYPE),),
    request=re.compile(rb'"subscribe"'),
)
_BINANCE = Speech(
    symbol=b'"s":"',
    time=re.compile(rb'("T":)([0-9]+)'),
    inner=b'"data":{',
    enums=(
        (re.compile(rb'"e":"(trade|aggTrade)"'), b'"e":"tradeOfTomorrow"', Reason.UNKNOWN_MESSAGE),
        (re.compile(rb'"u":'), b'"e":"bookOfTomorrow","u":', Reason.UNKNOWN_MESSAGE),
    ),
    request=re.compile(rb'"SUBSCRIBE"'),
)
SPEECHES: Mapping[str, Speech] = {"alltick": _ALLTICK, "ticks": _TICKS, "binance": _BINANCE}

_NEW_FIELDS = b'"x_new":{"list":[1,-2.5e3,null,{"deep":"\xc3\xa9"}],"on":true},'


def malformed(message: bytes, speech: Speech, random_: random.Random) -> Spoiled:
    """Break a message so that it is UTF-8, and no JSON."""
    match random_.randrange(4):
        case 0:
            # Cut off: what is left of an object is never whole.
            return message[: random_.randrange(1, len(message))], Reason.NOT_JSON
        case 1:
            return message + b"}", Reason.NOT_JSON
        case 2:
            return message.replace(b":", b"=", 1), Reason.NOT_JSON
        case _:
            return b"<html>502 Bad Gateway</html>", Reason.NOT_JSON


def bad_utf8(message: bytes, speech: Speech, random_: random.Random) -> Spoiled:
    """Put bytes into the symbol that no text has."""
    broken = random_.choice((b"\xff", b"\xc3(", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"))
    return message.replace(speech.symbol, speech.symbol + broken, 1), Reason.NOT_UTF8


def unknown_fields(message: bytes, speech: Speech, random_: random.Random) -> Spoiled:
    """Add fields that a handler must pass over: at the front of the message, or of its data."""
    if random_.random() < 0.5:
        return b"{" + _NEW_FIELDS + message[1:], None
    return message.replace(speech.inner, speech.inner + _NEW_FIELDS, 1), None


def unknown_enums(message: bytes, speech: Speech, random_: random.Random) -> Spoiled:
    """Say a kind or a side that is none the vendor is known to send."""
    for pattern, replacement, reason in speech.enums:
        spoiled, count = pattern.subn(replacement, message, count=1)
        if count:
            return spoiled, reason
    return message, None


def backward(message: bytes, speech: Speech, unit_ns: int) -> bytes | None:
    """Return a message that tells a time `BACKWARD_NS` earlier; None if it tells none."""
    step = BACKWARD_NS // unit_ns
    found, count = speech.time.subn(lambda at: at[1] + b"%d" % (int(at[2]) - step), message, count=1)
    return found if count else None


SPOILERS: Mapping[str, Callable[[bytes, Speech, random.Random], Spoiled]] = {
    "malformed": malformed,
    "bad-utf8": bad_utf8,
    "unknown-fields": unknown_fields,
    "unknown-enums": unknown_enums,
}


def error(dialect: str, code: int, request: bytes | None = None) -> bytes:
    """Return an error as the vendor reports it.

    Parameters
    ----------
    dialect : str
    code : int
    request : bytes, optional
        The request that is refused. Binance names it by its number; AllTick names none (its ``cmd_id`` is 0).
    """
    message = f"made up by the simulator: {code}"
    if dialect == "alltick":
        return msgspec.json.encode({"ret": code, "msg": message, "cmd_id": 0, "seq_id": 0, "trace": "", "data": {}})
    if dialect == "binance":
        return msgspec.json.encode({"code": code, "msg": message, "id": _number_of(request)})
    return msgspec.json.encode({"action": "error", "message": message})


def _number_of(request: bytes | None) -> object:
    if request is None:
        return None
    try:
        decoded = msgspec.json.decode(request)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return decoded.get("id") if isinstance(decoded, dict) else None


def shutdown(moment_ms: int, raw: bool) -> bytes:
    """Return Binance's announcement that the connection will end."""
    event: dict[str, object] = {"e": "serverShutdown", "E": moment_ms}
    return msgspec.json.encode(event if raw else {"stream": "!serverShutdown", "data": event})
