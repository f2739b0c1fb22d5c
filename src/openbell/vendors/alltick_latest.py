"""AllTick's HTTP interface, as far as it is needed: the latest trades, ``GET /trade-tick``.

Source: ``http_interface/latest_transaction_price_query.md``, ``api_address_description.md`` and
``interface_limitation.md`` of the vendor's repository. A request names 50 codes at most (5 on the free plan), because
of the length of an address; of more, the first ones are answered. The Basic plan allows one request a second, the free
one every ten seconds; WebSocket requests are counted apart.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import msgspec
from msgspec import Raw, Struct

from openbell.errors import VendorError
from openbell.secret import Secret
from openbell.vendors.latest import Latest, LatestRequest

CODES_A_REQUEST: Final = 50
PAUSE_S: Final = 1.1
"""A second between two requests is the rule of the smallest paid plan; some way more when they leave."""
_SOCKET_PATH, _HTTP_PATH = "-ws-api", "-api/trade-tick"
_OK: Final = 200


class _Code(Struct):
    code: str


class _Codes(Struct):
    symbol_list: list[_Code]


class _Query(Struct):
    trace: str
    data: _Codes


class _Tick(Struct):
    code: str
    price: float
    volume: float = 0.0
    tick_time: int = 0
    seq: int = 0


class _Ticks(Struct):
    tick_list: list[Raw] = []


class _Answer(Struct):
    ret: int
    msg: str = ""
    data: _Ticks | None = None


_decode = msgspec.json.Decoder(_Answer, strict=False).decode
_decode_tick = msgspec.json.Decoder(_Tick, strict=False).decode
_UNDECODABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def requests(base: str, token: str, symbols: Sequence[str], size: int) -> list[LatestRequest] | None:
    """Return what asks for the latest trades of `symbols`, or None if the interface's address is not known.

    Parameters
    ----------
    base : str
        The address of the WebSocket interface; that of HTTP lies beside it.
    token : str
    symbols : sequence of str
    size : int
        Codes of a request at most.
    """
    parts = urlsplit(base)
    if not parts.path.endswith(_SOCKET_PATH):
        return None
    scheme = "https" if parts.scheme == "wss" else "http"
    path = parts.path.removesuffix(_SOCKET_PATH) + _HTTP_PATH
    found = []
    for start in range(0, len(symbols), size):
        some = tuple(symbols[start : start + size])
        query = _Query(f"openbell-{uuid.uuid4().hex}", _Codes([_Code(symbol) for symbol in some]))
        asked = urlencode({"token": token, "query": msgspec.json.encode(query).decode()}, quote_via=quote)
        found.append(LatestRequest(Secret(urlunsplit((scheme, parts.netloc, path, asked, ""))), some))
    return found


def read(body: bytes) -> list[Latest]:
    """Return what an answer says; one trade in it that makes no sense does not cost the others.

    Raises
    ------
    VendorError
        It is an error, or no answer at all; the message is the vendor's.
    """
    try:
        answer = _decode(body)
    except _UNDECODABLE:
        raise VendorError("the answer is none that this vendor is known to give") from None
    if answer.ret != _OK:
        raise VendorError(f"error {answer.ret}: {answer.msg}")
    found = []
    for part in answer.data.tick_list if answer.data is not None else []:
        try:
            tick = _decode_tick(part)
        except _UNDECODABLE:
            continue
        found.append(Latest(tick.code, tick.price, tick.volume, _nanoseconds(tick.tick_time), tick.seq))
    return found


def _nanoseconds(time: int) -> int:
    """Return a time in ns: documented as milliseconds and shown in seconds, so the unit goes by magnitude."""
    return time * 10**9 if time < 10**11 else time * 10**6 if time < 10**14 else time
