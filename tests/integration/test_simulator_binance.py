"""A made-up market in Binance's dialect over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from simulator_client import UPGRADE, add_trade, ask, client, finished, receive, running, snapshot_of_streams, stated
from websockets.exceptions import ConnectionClosed

from openbell.simulator.rules import PUBLISHED, Rules


def subscription(streams: Iterable[str], number: object = 1, method: str = "SUBSCRIBE") -> str:
    return json.dumps({"method": method, "params": list(streams), "id": number})


def snapshot_of_tickers(tickers: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what running figures leave: they are assigned; prices seen make the range."""
    rows: dict[str, dict[str, Any]] = {}
    for data in tickers:
        row, price = rows.setdefault(data["s"], {}), Decimal(data["c"])
        row.setdefault("open", price)
        row["high"], row["low"] = max(row.get("high", price), price), min(row.get("low", price), price)
        row |= {"last": price, "prev_close": Decimal(data["o"]), "trade_exchange_ns": data["E"] * 1_000_000}
        row |= {"volume": Decimal(data["v"]), "turnover": Decimal(data["q"])}
    return finished(rows)


def test_trades_and_best_bids_and_offers_arrive_as_the_oracle_states_them(tmp_path: Path) -> None:
    async def scenario() -> None:
        options: dict[str, Any] = {"dialect": "binance", "symbols": 150, "rate": 10_000.0, "seconds": 0.5}
        async with running(**options, books=True, oracle=tmp_path / "oracle") as run:
            ready = await run.event("ready")
            assert ready["vendor"] == "binance"
            assert "BTCUSDT" in ready["symbols"]
            async with client(ready["url"]) as connection:
                await connection.send(subscription(ready["streams"], "all of it"))
                ack, *messages = await receive(connection, run)
            done = await run.event("done")
        assert json.loads(ack) == {"result": None, "id": "all of it"}
        rows, counts = snapshot_of_streams(messages)
        assert counts["trades"] > 2000
        assert counts["quotes"] > 2000
        assert {name: done[name] for name in counts} == counts
        assert stated(tmp_path / "oracle")["rows"] == rows
        for message in map(json.loads, messages):
            stream, data = message["stream"], message["data"]
            assert stream.partition("@")[0] == data["s"].lower()
            if stream.endswith("@trade"):
                assert list(data) == ["e", "E", "s", "t", "p", "q", "T", "m", "M"]
            else:
                assert list(data) == ["u", "s", "b", "B", "a", "A"]
                assert 0 < float(data["b"]) < float(data["a"])

    asyncio.run(scenario())


@pytest.mark.parametrize("raw", [False, True])
def test_the_array_of_mini_tickers_comes_once_a_second_with_what_changed(tmp_path: Path, raw: bool) -> None:
    async def scenario() -> None:
        options: dict[str, Any] = {"dialect": "binance", "symbols": 80, "rate": 60.0, "seconds": 2.2}
        async with running(**options, oracle=tmp_path / "oracle") as run:
            ready = await run.event("ready")
            url = ready["url"].replace("/stream", "/ws/!miniTicker@arr") if raw else ready["url"]
            async with client(url) as connection:
                if not raw:
                    assert await ask(connection, subscription(["!miniTicker@arr"])) == {"result": None, "id": 1}
                messages = [json.loads(message) for message in await receive(connection, run)]
            done = await run.event("done")
        if not raw:
            assert {message["stream"] for message in messages} == {"!miniTicker@arr"}
        arrays = messages if raw else [message["data"] for message in messages]
        assert len(arrays) == 2
        assert len(arrays[0]) == 80 > len(arrays[1]) > 0
        assert arrays[1][0]["E"] - arrays[0][0]["E"] == 1000
        tickers = [ticker for array in arrays for ticker in array]
        assert list(tickers[0]) == ["e", "E", "s", "c", "o", "h", "l", "v", "q"]
        assert all(Decimal(each["l"]) <= Decimal(each["c"]) <= Decimal(each["h"]) for each in tickers)
        assert len(tickers) == done["sent"] == done["tickers"]
        assert stated(tmp_path / "oracle")["rows"] == snapshot_of_tickers(tickers)

    asyncio.run(scenario())


def test_running_figures_are_those_of_the_trades() -> None:
    async def scenario() -> None:
        options: dict[str, Any] = {"dialect": "binance", "symbols": 20, "rate": 2_000.0, "seconds": 1.2}
        async with running(**options) as run:
            ready = await run.event("ready")
            async with client(ready["url"]) as connection:
                streams = [
                    f"{symbol.lower()}@{kind}" for symbol in ready["symbols"] for kind in ("trade", "miniTicker")
                ]
                await connection.send(subscription(streams))
                _, *messages = await receive(connection, run)
        decoded = [json.loads(message)["data"] for message in messages]
        opened = min(data["T"] for data in decoded if data["e"] == "trade")
        rows: dict[str, dict[str, Any]] = {}
        for data in decoded:
            if data["e"] == "trade" and data["T"] < opened + 1000:
                turnover = Decimal(data["p"]) * Decimal(data["q"])
                add_trade(rows, data["s"], data["p"], data["q"], turnover, data["T"], data["t"])
        tickers = [data for data in decoded if data["e"] == "24hrMiniTicker"]
        assert len(tickers) == 20
        for data in tickers:
            row = rows[data["s"]]
            told = {"last": data["c"], "open": data["o"], "high": data["h"], "low": data["l"]}
            told |= {"volume": data["v"], "turnover": data["q"]}
            assert {name: Decimal(value) for name, value in told.items()} == {name: row[name] for name in told}

    asyncio.run(scenario())


def test_raw_and_combined_clients_get_the_same_events_and_they_count_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        options: dict[str, Any] = {"dialect": "binance", "symbols": 30, "rate": 4_000.0, "seconds": 0.4}
        async with running(**options, oracle=tmp_path / "oracle") as run:
            ready = await run.event("ready")
            streams = [stream.replace("@trade", "@aggTrade") for stream in ready["streams"]]
            async with (
                client(ready["url"] + "?streams=" + "/".join(streams)) as combined,
                client(ready["url"].replace("/stream", "/ws/" + "/".join(streams))) as raw,
            ):
                one, two = await asyncio.gather(receive(combined, run), receive(raw, run))
            done = await run.event("done")
        plain = [json.loads(message) for message in two]
        assert [json.loads(message)["data"] for message in one] == plain
        assert len(plain) == done["sent"] == done["trades"] > 1000
        rows: dict[str, dict[str, Any]] = {}
        for data in plain:
            assert data["e"] == "aggTrade"
            assert data["a"] == data["f"] == data["l"]
            turnover = Decimal(data["p"]) * Decimal(data["q"])
            add_trade(rows, data["s"], data["p"], data["q"], turnover, data["T"], data["a"])
        assert stated(tmp_path / "oracle")["rows"] == finished(rows)

    asyncio.run(scenario())


def test_subscriptions_add_are_listed_and_are_refused_with_the_venues_errors() -> None:
    async def scenario() -> None:
        async with running(dialect="binance", symbols=5, start_quiet_s=60.0, codes_limit=4) as run:
            ready = await run.event("ready")
            names = [f"{symbol.lower()}@trade" for symbol in ready["symbols"]]
            async with client(ready["url"]) as connection:
                assert await ask(connection, subscription(names[:2], 1)) == {"result": None, "id": 1}
                assert await ask(connection, subscription(names[1:4], 2)) == {"result": None, "id": 2}
                assert await ask(connection, subscription(names[:1], 3, "UNSUBSCRIBE")) == {"result": None, "id": 3}
                listed = await ask(connection, json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": 4}))
                assert listed == {"result": sorted(names[1:4]), "id": 4}
                for wrong, code, number in (
                    ("{", 3, None),
                    ('{"method":"BUY","id":5}', 2, 5),
                    ('{"method":"SUBSCRIBE","params":[1],"id":6}', 2, 6),
                    (subscription([*names, "a@trade"], 7), 2, 7),
                ):
                    answer = await ask(connection, wrong)
                    assert (answer["code"], answer["id"]) == (code, number)

    asyncio.run(scenario())


def test_whoever_sends_too_many_messages_is_disconnected() -> None:
    async def scenario() -> None:
        async with running(dialect="binance", symbols=5, start_quiet_s=60.0, enforce=True) as run:
            ready = await run.event("ready")
            async with client(ready["url"]) as connection:
                listing = json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": 4})
                for _ in range(6):
                    await connection.send(listing)
                answers = []
                with pytest.raises(ConnectionClosed):
                    while True:
                        answers.append(await connection.recv())
                assert len(answers) == 5

    asyncio.run(scenario())


def test_who_answers_pings_stays_and_who_does_not_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PUBLISHED, "binance", Rules(ping_s=0.3))

    async def scenario() -> None:
        async with running(dialect="binance", symbols=5, start_quiet_s=60.0, enforce=True) as run:
            url = urlsplit((await run.event("ready"))["url"])
            async with client(url.geturl()) as answering:
                reader, writer = await asyncio.open_connection(url.hostname, url.port)
                writer.write(UPGRADE.replace(b"/quote-stock-b-ws-api?token=any", b"/ws"))
                async with asyncio.timeout(20):
                    received = await reader.read()
                writer.close()
                _, _, frames = received.partition(b"\r\n\r\n")
                assert frames[0] == 0x89
                # The library answers by itself.
                assert await ask(answering, subscription(["ethusdt@trade"])) == {"result": None, "id": 1}

    asyncio.run(scenario())
