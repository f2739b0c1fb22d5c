"""The dialects of relays over real sockets: what they answer, and that the oracle states what they say."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from simulator_client import ask, client, receive, running, stated
from websockets.exceptions import InvalidStatus

from openbell.simulator import EMPTY_ROW
from openbell.simulator.relays import bare, exchange_first, padded

EMPTY = {name: None if math.isnan(value) else value for name, value in EMPTY_ROW.items()}


def request(dialect: str, symbols: list[str], action: str = "subscribe") -> str:
    """Return what a client of a dialect sends."""
    if dialect == "command-code":
        return json.dumps({"cmd_id": 22004, "action": action, "code": symbols})
    return json.dumps({"action": action, "symbols": symbols if dialect == "symbol-array" else ",".join(symbols)})


def snapshot_of(events: Iterable[dict[str, Any]], *, running_figures: bool) -> dict[str, dict[str, Any]]:
    """Return what events come to, one at a time and in floats."""
    rows: dict[str, dict[str, Any]] = {}
    for event in events:
        row = rows.setdefault(event.get("symbol") or event["code"], dict(EMPTY))
        price, volume = event["price"], event.get("volume", 0)
        row["open"] = price if row["open"] is None else row["open"]
        row["high"], row["low"] = max(row["high"] or price, price), min(row["low"] or price, price)
        row["last"] = price
        row["trade_exchange_ns"] = event.get("time", 0) * 1_000_000
        if running_figures:
            row |= {"volume": volume} | ({"prev_close": event["open_24h"]} if "open_24h" in event else {})
        else:
            row |= {"size": volume, "volume": row["volume"] + volume, "turnover": row["turnover"] + price * volume}
            row["trades"] += 1
    return rows


@pytest.mark.parametrize(
    ("dialect", "options", "first"),
    [
        ("symbol-array", {"frame_ticks": 7}, "00001.HK"),
        ("symbol-array", {"cumulative": True}, "00001.HK"),
        ("symbol-text", {"frame_ticks": 3}, "000001"),
        ("symbol-wildcard", {}, "000001"),
        ("symbol-query", {"universe": "hk"}, "00001"),
        ("command-code", {}, "NASDAQ:AAPL"),
    ],
)
def test_what_a_relay_sends_is_what_the_oracle_states(
    tmp_path: Path, dialect: str, options: dict[str, Any], first: str
) -> None:
    async def scenario() -> None:
        market: dict[str, Any] = {"dialect": dialect, "symbols": 60, "rate": 4_000.0, "seconds": 0.3}
        async with running(**market, **options, oracle=tmp_path / "oracle") as run:
            ready = await run.event("ready")
            assert ready["vendor"] == dialect and first in ready["symbols"]
            url = ready["url"] + (f"?codes={','.join(ready['symbols'])}" if dialect == "symbol-query" else "")
            async with client(url) as connection:
                if dialect != "symbol-query":
                    wanted = ["*"] if dialect == "symbol-wildcard" else ready["symbols"]
                    await connection.send(request(dialect, wanted))
                messages = [json.loads(message) for message in await receive(connection, run)]
        if dialect != "symbol-query":
            assert messages.pop(0) in (
                {"action": "subscribed", "symbols": 60},
                {"cmd_id": 22005, "ret": 200, "msg": "ok"},
            )
        events = [event for message in messages for event in message.get("ticks", [message])]
        assert len(events) == (await run.event("done"))["sent"] > 1_000
        expected = snapshot_of(events, running_figures="cumulative" in options or dialect == "command-code")
        found = stated(tmp_path / "oracle")["rows"]
        assert found.keys() == expected.keys()
        for symbol, row in expected.items():
            assert found[symbol] == row | {"turnover": pytest.approx(row["turnover"], rel=1e-12)}

    asyncio.run(scenario())


def test_cumulative_volumes_are_the_sums_of_the_trades() -> None:
    async def volumes(cumulative: bool) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        market: dict[str, Any] = {"dialect": "symbol-array", "symbols": 30, "rate": 5_000.0, "seconds": 0.3}
        async with running(**market, cumulative=cumulative) as run:
            ready = await run.event("ready")
            async with client(ready["url"]) as connection:
                await connection.send(request("symbol-array", ready["symbols"]))
                for message in await receive(connection, run):
                    for tick in json.loads(message).get("ticks", []):
                        found.setdefault(tick["symbol"], []).append(tick["volume"])
        return found

    single, total = asyncio.run(volumes(False)), asyncio.run(volumes(True))
    assert total == {symbol: [sum(each[: count + 1]) for count in range(len(each))] for symbol, each in single.items()}
    assert sum(map(len, total.values())) > 1_000


@pytest.mark.parametrize("dialect", ["symbol-array", "symbol-text", "command-code"])
def test_subscriptions_add_are_taken_back_and_refused_with_their_symbols(dialect: str) -> None:
    async def scenario() -> None:
        async with running(symbols=50, dialect=dialect, start_quiet_s=60.0) as run:
            ready = await run.event("ready")
            symbols = ready["symbols"]
            async with client(ready["url"]) as connection:

                async def asked(wanted: list[str], action: str = "subscribe") -> dict[str, Any]:
                    return await ask(connection, request(dialect, wanted, action))

                command = dialect == "command-code"
                granted = {"cmd_id": 22005, "ret": 200, "msg": "ok"}
                assert await asked(symbols[:10]) == (granted if command else {"action": "subscribed", "symbols": 10})
                assert await asked([*symbols[5:20], "NONE"]) == (
                    granted if command else {"action": "subscribed", "symbols": 20}
                ) | {"refused": ["NONE"]}
                answer = await asked(symbols[10:], "unsubscribe")
                assert answer == (granted if command else {"action": "unsubscribed", "symbols": 10})
                assert await asked(["NONE"]) == (
                    {"cmd_id": 22005, "ret": 600, "msg": "unknown symbol NONE", "code": ["NONE"]}
                    if command
                    else {"action": "error", "message": "unknown symbol NONE", "symbols": ["NONE"]}
                )
                for wrong in ("ping", "{}", '{"action":"subscribe","symbols":7}', '{"cmd_id":1,"action":"subscribe"}'):
                    answer = await ask(connection, wrong)
                    assert answer["ret"] == 400 if command else answer["action"] == "error"

    asyncio.run(scenario())


def test_codes_in_the_address_are_subscribed_by_connecting() -> None:
    async def scenario() -> None:
        async with running(symbols=50, dialect="symbol-query", start_quiet_s=60.0) as run:
            ready = await run.event("ready")
            with pytest.raises(InvalidStatus) as refused:
                async with client(ready["url"]):
                    pass
            assert refused.value.response.status_code == 400
            async with client(f"{ready['url']}?codes={ready['symbols'][0]},NONE") as connection:
                answer = json.loads(await connection.recv())
                assert answer == {"action": "error", "message": "unknown symbol NONE", "symbols": ["NONE"]}
                assert (await ask(connection, request("symbol-text", ready["symbols"])))["action"] == "error"
            async with client(f"{ready['url']}?codes=*"):
                # Everything is subscribed, so the market begins.
                await run.event("started")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("code", "spellings"),
    [
        ("700.HK", ("00700.HK", "00700", "HKEX:700")),
        ("600519.SH", ("600519.SH", "600519", "SSE:600519")),
        ("000001.SZ", ("000001.SZ", "000001", "SZSE:000001")),
        ("AAPL.US", ("AAPL.US", "AAPL", "NASDAQ:AAPL")),
        ("BTCUSDT", ("BTCUSDT", "BTCUSDT", "BINANCE:BTCUSDT")),
    ],
)
def test_each_dialect_spells_a_code_in_its_own_way(code: str, spellings: tuple[str, str, str]) -> None:
    assert (padded(code), bare(code), exchange_first(code)) == spellings
