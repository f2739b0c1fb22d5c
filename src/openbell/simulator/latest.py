"""AllTick's HTTP interface, as far as a feed handler needs it: ``GET /trade-tick``, the latest trades of some codes.

Source: github.com/alltick, http_interface (latest_transaction_price_query, api_address_description,
interface_limitation): numbers are text, at most 50 codes a request are answered, and the first ones of more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
import numpy as np
import numpy.typing as npt
from picows import WSUpgradeResponse, WSUpgradeResponseWithListener

from openbell.simulator.clock import Clock
from openbell.simulator.tally import grouped
from openbell.simulator.trading import TradeBlock
from openbell.simulator.universe import Universe

CODES_MOST: Final = 50
_OK, _BAD_DATA, _NO_TOKEN, _TOO_MANY = 200, 400, 401, 605
_FIGURES: Final = 5
_PENDING_MOST: Final = 64
_PRICE, _VOLUME, _TURNOVER, _TIME, _SEQUENCE = range(_FIGURES)


class _Code(msgspec.Struct):
    code: str


class _Codes(msgspec.Struct):
    symbol_list: list[_Code]


class _Query(msgspec.Struct):
    trace: str
    data: _Codes


_decode = msgspec.json.Decoder(_Query).decode


class LatestTrades:
    """The latest trade of every symbol, whether anybody was sent it or not.

    Parameters
    ----------
    symbols : sequence of str
    universe : Universe
        Its decimals say what a price and a volume are counted in.
    clock : Clock
        What the answers tell the time by.
    spacing_s : float
        A request that comes sooner after the one before it is refused; 0: none is.
    """

    def __init__(self, symbols: Sequence[str], universe: Universe, clock: Clock, spacing_s: float = 0.0) -> None:
        self._index = {code: index for index, code in enumerate(symbols)}
        self._clock = clock
        self._units = 10**universe.decimals, 10**universe.volume_decimals
        self._decimals = universe.decimals, universe.volume_decimals
        self._spacing_s = spacing_s
        self._asked_at: float | None = None
        self._traded = np.zeros(len(symbols), dtype=np.bool_)
        self._figures = np.zeros((_FIGURES, len(symbols)), dtype=np.int64)
        self._pending: list[tuple[TradeBlock, int, int]] = []

    def note(self, block: TradeBlock, first: int, end: int) -> None:
        """Take note of the trades `first` to `end` (exclusive) of a block. Cheap: they are looked at when asked for."""
        if self._pending and self._pending[-1][0] is block and self._pending[-1][2] == first:
            first = self._pending.pop()[1]
        self._pending.append((block, first, end))
        if len(self._pending) > _PENDING_MOST:
            self._catch_up()

    def _catch_up(self) -> None:
        pending, self._pending = self._pending, []
        for block, first, end in pending:
            self._take(block, np.arange(first, end))

    def _take(self, block: TradeBlock, chosen: npt.NDArray[np.intp]) -> None:
        chosen, _, ends = grouped(block.symbol, chosen)
        last = chosen[ends - 1]
        row = block.symbol[last]
        told = self._clock.told(block.intended_ns[last])
        self._figures[:, row] = block.price[last], block.volume[last], block.turnover[last], told, block.sequence[last]
        self._traded[row] = True

    def answer(self, query: str) -> WSUpgradeResponseWithListener:
        """Answer one request, given what stands behind the question mark of its address."""
        self._catch_up()
        values = parse_qs(query)
        if not values.get("token"):
            return _response(_NO_TOKEN, "token is required", HTTPStatus.UNAUTHORIZED)
        now = asyncio.get_running_loop().time()
        if self._asked_at is not None and now - self._asked_at < self._spacing_s:
            return _response(_TOO_MANY, "too many requests")
        self._asked_at = now
        try:
            asked = _decode(values.get("query", [""])[0].encode())
        except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
            return _response(_BAD_DATA, "request data param invalid")
        ticks = [self._tick(each.code) for each in asked.data.symbol_list[:CODES_MOST]]
        return _response(_OK, "ok", trace=asked.trace, data={"tick_list": [tick for tick in ticks if tick]})

    def _tick(self, code: str) -> dict[str, Any] | None:
        """Return what is said of one code, None of one that is not known or has not traded."""
        at = self._index.get(code)
        if at is None or not self._traded[at]:
            return None
        price, volume, turnover, told, sequence = self._figures[:, at].tolist()
        decimals, volume_decimals = self._decimals
        unit, volume_unit = self._units
        return {
            "code": code,
            "seq": str(sequence),
            "tick_time": str(told),
            "price": f"{price / unit:.{decimals}f}",
            "volume": f"{volume / volume_unit:.{volume_decimals}f}",
            "turnover": f"{turnover / (unit * volume_unit):.{decimals}f}",
            "trade_direction": 0,
        }


def _response(
    code: int,
    message: str,
    status: HTTPStatus = HTTPStatus.OK,
    trace: str = "",
    data: dict[str, Any] | None = None,
) -> WSUpgradeResponseWithListener:
    body = msgspec.json.encode({"ret": code, "msg": message, "trace": trace, "data": data or {}})
    headers = {"Content-Type": "application/json"}
    if status is HTTPStatus.OK:
        made = WSUpgradeResponse.create_ok_response(body, headers)
    else:
        made = WSUpgradeResponse.create_error_response(status, body, headers)
    return WSUpgradeResponseWithListener(made, None)
