"""Whole markets and their openings over real sockets, in the dialect of plain batches."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from simulator_client import add_trade as add
from simulator_client import ask, client, finished, receive, running, stated

from openbell.simulator import UNIVERSES


def ticks_of(messages: list[str]) -> list[list[dict[str, Any]]]:
    """Return the ticks of each push."""
    return [message["ticks"] for message in map(json.loads, messages) if "ticks" in message]


def snapshot_of(frames: list[list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for each in (tick for frame in frames for tick in frame):
        price, turnover = str(each["price"]), repr(each["turnover"])
        add(rows, each["symbol"], price, str(each["volume"]), turnover, each["time"], each["seq"])
    return finished(rows)


@pytest.mark.parametrize(("universe", "group"), [("cn", 1), ("hk", 10), ("us", 1000)])
def test_an_opening_arrives_as_the_oracle_states_it(tmp_path: Path, universe: str, group: int) -> None:
    async def scenario() -> None:
        options: dict[str, Any] = {"universe": universe, "dialect": "ticks", "profile": "open", "frame_ticks": group}
        options |= {"scale": 0.02 if universe == "us" else 0.2, "seconds": 1.4, "oracle": tmp_path / "oracle"}
        async with running(**options) as run:
            ready = await run.event("ready")
            assert ready["vendor"] == "ticks"
            assert ready["symbols"] == UNIVERSES[universe].symbols()
            async with client(ready["url"]) as connection:
                request = json.dumps({"action": "subscribe", "symbols": ready["symbols"]})
                await connection.send(request)
                ack, *messages = await receive(connection, run)
        assert json.loads(ack) == {"action": "subscribed", "symbols": len(ready["symbols"])}
        done = await run.event("done")
        frames = ticks_of(messages)
        assert len(frames) == len(messages)
        assert max(map(len, frames)) == group
        received = sum(map(len, frames))
        assert received == done["sent"] == done["trades"] > done["offered_first_second"]
        assert done["offered_first_second"] == done["expected_first_second"]
        assert done["offered_first_second"] == {"cn": 2_000, "hk": 2_000, "us": 10_000}[universe]
        assert stated(tmp_path / "oracle")["rows"] == snapshot_of(frames)

    asyncio.run(scenario())


def test_stamps_are_the_intended_send_times_on_the_wall_clock() -> None:
    async def scenario() -> None:
        async with running(symbols=300, dialect="ticks", rate=2_000.0, seconds=0.3, stamp_ns=True) as run:
            ready = await run.event("ready")
            async with client(ready["url"]) as connection:
                before = time.time_ns()
                await connection.send(json.dumps({"action": "subscribe", "symbols": ready["symbols"]}))
                times = []
                messages = await receive(connection, run)
                after = time.time_ns()
        start = (await run.event("started"))["start_ns"]
        times = [tick["time"] for frame in ticks_of(messages) for tick in frame]
        assert times == sorted(times)
        assert before < start == times[0] == times[299] < times[300]
        assert times[-1] < min(after, start + 300_000_000)

    asyncio.run(scenario())


def test_subscriptions_add_and_can_be_taken_back() -> None:
    async def scenario() -> None:
        async with running(symbols=50, dialect="ticks", rate=5_000.0, start_quiet_s=60.0) as run:
            ready = await run.event("ready")
            codes = ready["symbols"]
            async with client(ready["url"]) as connection:

                async def asked(action: str, symbols: list[str]) -> Any:
                    return await ask(connection, json.dumps({"action": action, "symbols": symbols}))

                assert await asked("subscribe", codes[:10]) == {"action": "subscribed", "symbols": 10}
                assert await asked("subscribe", codes[5:20]) == {"action": "subscribed", "symbols": 20}
                assert await asked("unsubscribe", codes[10:]) == {"action": "unsubscribed", "symbols": 10}
                for wrong in ("ping", "{}", '{"action":"buy","symbols":["a"]}', '{"action":"subscribe","symbols":[]}'):
                    answer = await ask(connection, wrong)
                    assert answer["action"] == "error"
                    assert "invalid request" in answer["message"]
                answer = await asked("subscribe", [codes[0], "NONE.US"])
                assert answer == {"action": "error", "message": "unknown symbol NONE.US"}

    asyncio.run(scenario())


def test_each_of_several_clients_gets_its_part_and_the_oracle_states_the_whole(tmp_path: Path) -> None:
    async def scenario() -> None:
        options: dict[str, Any] = {"universe": "hk", "symbols": 100, "dialect": "ticks", "rate": 20_000.0}
        async with running(**options, frame_ticks=8, seconds=0.4, oracle=tmp_path / "oracle") as run:
            ready = await run.event("ready")
            codes = ready["symbols"]
            async with client(ready["url"]) as one, client(ready["url"]) as two, client(ready["url"]) as three:
                parts = [codes[::3], codes[1::3], codes[2::3]]
                for each, part in zip((one, two, three), parts, strict=True):
                    await each.send(json.dumps({"action": "subscribe", "symbols": part}))
                received = await asyncio.gather(*(receive(each, run) for each in (one, two, three)))
            done = await run.event("done")
        frames = [ticks_of(messages) for messages in received]
        for part, own in zip(parts, frames, strict=True):
            assert {tick["symbol"] for frame in own for tick in frame} == set(part)
        together = [frame for own in frames for frame in own]
        assert sum(map(len, together)) == done["sent"]
        assert stated(tmp_path / "oracle")["rows"] == snapshot_of(together)

    asyncio.run(scenario())
