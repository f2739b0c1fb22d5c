"""Order books and AllTick's rules over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from simulator_client import PATIENCE_S, add_trade, ask, client, finished, receive, request, running, stated
from websockets.exceptions import ConnectionClosed

from openbell.simulator import UNIVERSES


def books_request(codes: Iterable[str], depth: int | None = None, seq_id: int = 8) -> str:
    depths = {} if depth is None else {"depth_level": depth}
    return request(22002, {"symbol_list": [{"code": code} | depths for code in codes]}, seq_id)


def trades_request(codes: Iterable[str], seq_id: int = 7) -> str:
    return request(22004, {"symbol_list": [{"code": code} for code in codes]}, seq_id)


def pushes(messages: Iterable[str]) -> list[tuple[int, dict[str, Any]]]:
    """Return the number and the data of each push."""
    decoded = (json.loads(line) for message in messages for line in message.split("\n"))
    return [(each["cmd_id"], each["data"]) for each in decoded if each["cmd_id"] in (22998, 22999)]


def snapshot_of(received: Iterable[tuple[int, dict[str, Any]]], levels: int) -> dict[str, dict[str, Any]]:
    """Return the snapshot that trades and books leave, a push at a time."""
    rows: dict[str, dict[str, Any]] = {}
    for number, data in received:
        code, told, seq = data["code"], data["tick_time"], data["seq"]
        if number == 22998:
            add_trade(rows, code, data["price"], data["volume"], data["turnover"], told, seq)
            continue
        row = rows.setdefault(code, {})
        row |= {"quote_exchange_ns": told * 1_000_000, "quote_sequence": seq}
        for name in ("bid", "ask"):
            for level in range(levels):
                there = level < len(data[f"{name}s"])
                price, size = data[f"{name}s"][level].values() if there else (None, 0.0)
                if level == 0:
                    row |= {name: price, f"{name}_size": size}
                row |= {f"book_{name}_{level + 1}": price, f"book_{name}_size_{level + 1}": size}
    for row in rows.values():
        for name, value in row.items():
            if isinstance(value, str):
                row[name] = float(value)
    # Null is what never came, or is not there any more.
    absent = {code: {name for name, value in row.items() if value is None} for code, row in rows.items()}
    for row in rows.values():
        row |= {name: 0 for name, value in row.items() if value is None}
    done = finished(rows)
    return {code: row | dict.fromkeys(absent[code]) for code, row in done.items()}


@pytest.mark.parametrize(
    ("universe", "asked", "levels", "join"), [("cn", 0, 5, 1), ("hk", 10, 10, 1), ("hk", 3, 3, 7), ("us", 0, 1, 1)]
)
def test_books_and_trades_arrive_as_the_oracle_states_them(
    tmp_path: Path, universe: str, asked: int, levels: int, join: int
) -> None:
    async def scenario() -> None:
        options: dict[str, Any] = {
            "universe": universe,
            "symbols": 400,
            "rate": 12_000.0,
            "seconds": 0.5,
            "books": True,
        }
        options |= {"book_levels": asked, "join": join, "oracle": tmp_path / "oracle"}
        async with running(**options) as run:
            ready = await run.event("ready")
            codes = ready["symbols"]
            assert ready["streams"] == codes + [f"book:{code}" for code in codes]
            async with client(ready["url"]) as connection:
                await connection.send(trades_request(codes))
                await connection.send(books_request(codes, depth=10))
                first, second, *messages = await receive(connection, run)
            done = await run.event("done")
        assert [json.loads(ack)["cmd_id"] for ack in (first, second)] == [22005, 22003]
        received = pushes(messages)
        books = [data for number, data in received if number == 22999]
        assert len(received) == done["sent"] == done["trades"] + done["books"]
        assert len(books) == done["books"]
        assert 0.4 < len(books) / len(received) < 0.6
        grid = set((UNIVERSES[universe].grid / 10 ** UNIVERSES[universe].decimals).tolist())
        for data in books:
            bids, asks = ([float(each["price"]) for each in data[side]] for side in ("bids", "asks"))
            assert bids or asks
            assert bids == sorted(bids, reverse=True)
            assert asks == sorted(asks)
            assert not bids or not asks or bids[0] < asks[0]
            assert max(len(bids), len(asks)) <= levels
            assert grid.issuperset(bids)
            assert grid.issuperset(asks)
            assert all(int(each["volume"]) > 0 for side in ("bids", "asks") for each in data[side])
        assert any(not data["bids"] for data in books)
        assert any(not data["asks"] for data in books)
        assert max(len(data["bids"]) for data in books) == levels
        assert stated(tmp_path / "oracle")["rows"] == snapshot_of(received, levels)

    asyncio.run(scenario())


def test_each_client_gets_the_depth_it_asked_for_and_the_oracle_states_the_deepest(tmp_path: Path) -> None:
    async def scenario() -> None:
        options: dict[str, Any] = {"symbols": 60, "rate": 5_000.0, "seconds": 0.4, "books": True}
        async with running(**options, oracle=tmp_path / "oracle") as run:
            ready = await run.event("ready")
            codes = ready["symbols"]
            async with client(ready["url"]) as shallow, client(ready["url"]) as deep, client(ready["url"]) as other:
                await other.send(trades_request(codes))
                await deep.send(books_request(codes[:30]))
                await shallow.send(books_request(codes, depth=2))
                received = await asyncio.gather(*(receive(each, run) for each in (shallow, deep, other)))
            done = await run.event("done")
        two, five, prints = (pushes(messages) for messages in received)
        assert {number for number, _ in two + five} == {22999}
        assert {number for number, _ in prints} == {22998}
        assert max(len(data["bids"]) for _, data in two) == 2
        assert max(len(data["bids"]) for _, data in five) == 5
        assert {data["code"] for _, data in five} == set(codes[:30])
        assert len(two) + len(prints) == done["sent"]
        # What was sent to somebody five levels deep was sent.
        shallower = [(number, data) for number, data in two if data["code"] in codes[30:]]
        assert stated(tmp_path / "oracle")["rows"] == snapshot_of(shallower + five + prints, 5)

    asyncio.run(scenario())


def test_a_market_is_the_same_however_its_symbols_are_dealt_out() -> None:
    async def scenario(parts: int, universe: str = "hk") -> dict[str, list[Any]]:
        options: dict[str, Any] = {"universe": universe, "symbols": 90, "rate": 8_000.0, "seconds": 0.3}
        async with running(**options, books=True, start_quiet_s=5.0) as run:
            ready = await run.event("ready")
            codes = ready["symbols"]

            async def part(own: list[str]) -> list[str]:
                async with client(ready["url"]) as connection:
                    await connection.send(trades_request(own))
                    await connection.send(books_request(own))
                    return await receive(connection, run)

            received = await asyncio.gather(*(part(codes[i::parts]) for i in range(parts)))
        by_symbol: dict[str, list[Any]] = {}
        for messages in received:
            for number, data in pushes(messages):
                by_symbol.setdefault(data["code"], []).append((number, data))
        return by_symbol

    whole, dealt = asyncio.run(scenario(1)), asyncio.run(scenario(4))
    assert len(whole) == 90
    # Between a trade and a book of the same moment there is no order.
    assert {code: sorted(each, key=str) for code, each in whole.items()} == {
        code: sorted(each, key=str) for code, each in dealt.items()
    }


def test_a_cancellation_ends_books_or_trades_or_both() -> None:
    async def scenario() -> None:
        async with running(symbols=30, rate=4_000.0, books=True, start_quiet_s=0.0) as run:
            ready = await run.event("ready")
            codes = ready["symbols"]
            async with client(ready["url"]) as connection:

                async def kinds(cancel: int, seq_id: int) -> set[int]:
                    """Cancel, and return what still comes afterwards."""
                    await connection.send(request(22006, {"cancel_type": cancel}, seq_id))
                    while True:
                        message = json.loads(await connection.recv())
                        if message["cmd_id"] == 22007:
                            assert (message["ret"], message["seq_id"]) == (200, seq_id)
                            break
                    found = set()
                    for _ in range(60):
                        try:
                            # Nothing is to come after the last one; a busy machine is late with what comes before.
                            left_s = 0.5 if cancel == 0 else PATIENCE_S
                            found.add(json.loads(await asyncio.wait_for(connection.recv(), left_s))["cmd_id"])
                        except TimeoutError:
                            break
                    return found

                for cancel, left in ((1, {22998}), (2, {22999}), (0, set())):
                    await connection.send(trades_request(codes))
                    await connection.send(books_request(codes))
                    assert await kinds(cancel, 100 + cancel) - {22003, 22005} == left

    asyncio.run(scenario())


def test_codes_above_the_limit_are_left_out_and_nothing_is_said() -> None:
    async def scenario() -> None:
        async with running(symbols=50, rate=5_000.0, seconds=0.3, books=True, codes_limit=20) as run:
            ready = await run.event("ready")
            async with client(ready["url"]) as connection:
                await connection.send(trades_request(ready["symbols"][::-1]))
                await connection.send(books_request(ready["symbols"]))
                first, second, *messages = await receive(connection, run)
        assert [json.loads(ack)["ret"] for ack in (first, second)] == [200, 200]
        received = pushes(messages)
        assert {data["code"] for number, data in received if number == 22998} == set(ready["symbols"][30:])
        assert {data["code"] for number, data in received if number == 22999} == set(ready["symbols"][:20])

    asyncio.run(scenario())


def test_requests_too_close_to_each_other_are_rejected_and_heartbeats_are_not() -> None:
    async def scenario() -> None:
        async with running(symbols=10, request_spacing_s=0.4, start_quiet_s=60.0) as run:
            ready = await run.event("ready")
            async with client(ready["url"]) as connection:
                assert (await ask(connection, trades_request(ready["symbols"][:3])))["ret"] == 200
                rejected = await ask(connection, books_request(ready["symbols"][:3]))
                assert (rejected["ret"], rejected["cmd_id"], rejected["seq_id"]) == (605, 0, 0)
                for _ in range(3):
                    assert (await ask(connection, request(22000, {})))["cmd_id"] == 22001
                await asyncio.sleep(0.45)
                assert (await ask(connection, books_request(ready["symbols"][:3])))["ret"] == 200

    asyncio.run(scenario())


def test_a_connection_too_many_or_too_soon_is_told_so_and_closed() -> None:
    async def scenario() -> None:
        async with running(symbols=10, connections_limit=2, connection_spacing_s=60.0, start_quiet_s=60.0) as run:
            ready = await run.event("ready")
            async with client(ready["url"]) as first, client(ready["url"]) as second:
                async with client(ready["url"]) as third:
                    assert json.loads(await third.recv())["ret"] == 606
                    with pytest.raises(ConnectionClosed):
                        await third.recv()
                assert (await ask(first, trades_request(ready["symbols"])))["ret"] == 200
                assert (await ask(second, trades_request(ready["symbols"])))["ret"] == 606
                with pytest.raises(ConnectionClosed):
                    await second.recv()
                assert (await ask(first, request(22000, {})))["ret"] == 200

    asyncio.run(scenario())


def test_enforcing_takes_the_limits_that_the_vendor_publishes_and_any_can_be_set() -> None:
    from openbell.simulator import SimulatorOptions

    assert SimulatorOptions().rules.enforced() == []
    rules = SimulatorOptions(enforce=True, connection_spacing_s=0.0).rules
    assert (rules.codes, rules.connections, rules.request_spacing_s, rules.connection_spacing_s) == (3000, 10, 1.0, 0.0)
    rules = SimulatorOptions(enforce=True, dialect="binance", codes_limit=7).rules
    assert (rules.codes, rules.messages_per_s, rules.ping_s) == (7, 5, 20.0)
