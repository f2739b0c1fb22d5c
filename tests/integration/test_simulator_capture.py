"""A capture served over real sockets, and recorded again: what is received is what the oracle states."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from simulator_client import (
    UPGRADE,
    Process,
    Run,
    ask,
    client,
    receive,
    running,
    snapshot_of_streams,
    snapshot_of_trades,
    stated,
    subscription,
    synthetic_capture,
    trades,
)
from websockets.asyncio.server import ServerConnection, serve

from openbell.capture import read_capture
from openbell.config import Source
from openbell.errors import CaptureError, ConfigError
from openbell.receiver.dial import DialError
from openbell.recorder import Recording, record
from openbell.simulator import Simulator, SimulatorOptions, a_shares
from openbell.vendors import Control
from openbell.vendors.binance import Binance


async def subscribe(connection: Any, streams: list[str], number: int = 1) -> None:
    """Subscribe live; the answer comes before any message."""
    answer = await ask(connection, json.dumps({"method": "SUBSCRIBE", "params": streams, "id": number}))
    assert answer == {"result": None, "id": number}


@pytest.mark.parametrize("name", ["test.cap", "test.cap.gz"])
def test_a_capture_arrives_message_by_message_as_it_was(tmp_path: Path, name: str) -> None:
    lines = synthetic_capture(tmp_path / name)

    async def scenario() -> None:
        options = {"capture": tmp_path / name, "speed": float("inf"), "oracle": tmp_path / "oracle"}
        async with running(**options) as run:
            ready = await run.event("ready")
            assert ready["vendor"] == "binance"
            assert ready["url"].endswith("/stream")
            assert ready["symbols"] == ["TESTUSDT"]
            assert sorted(ready["streams"]) == ["testusdt@bookTicker", "testusdt@depth@100ms", "testusdt@trade"]
            async with client(ready["url"]) as connection:
                await subscribe(connection, ready["streams"])
                received = await receive(connection, run)
                assert connection.close_code == 1000
        rows, counts = snapshot_of_streams(received)
        assert received == lines
        assert stated(tmp_path / "oracle")["rows"] == rows
        assert stated(tmp_path / "oracle")["counts"] == counts
        assert min(counts[name] for name in ("trades", "quotes", "ignored", "other")) > 0
        assert (await run.event("done"))["late_ns"] is None

    asyncio.run(scenario())


def test_a_relabelled_capture_is_the_same_market_of_many_symbols(tmp_path: Path) -> None:
    lines = synthetic_capture(tmp_path / "a")

    async def scenario() -> list[str]:
        options = {"capture": tmp_path / "a", "speed": float("inf"), "oracle": tmp_path / "oracle", "symbols": 70}
        async with running(**options) as run:
            ready = await run.event("ready")
            assert len(ready["symbols"]) == 70
            async with client(ready["url"]) as connection:
                await subscribe(connection, ready["streams"])
                return await receive(connection, run)

    received = asyncio.run(scenario())
    rows, counts = snapshot_of_streams(received)
    assert stated(tmp_path / "oracle")["rows"] == rows
    assert stated(tmp_path / "oracle")["counts"] == counts
    assert len(rows) == 70
    assert len(received) == len(lines)
    numbers: Counter[str] = Counter()
    for i, (before, after) in enumerate(zip(lines, received, strict=True)):
        expected = json.loads(before)
        if "stream" in expected:
            symbol = f"OB{i % 70:05d}USDT"
            expected["data"]["s"] = symbol
            if "t" in expected["data"]:
                # At the venue a symbol's trades have no holes.
                numbers[symbol] += 1
                expected["data"]["t"] = numbers[symbol]
            expected["stream"] = symbol.lower() + expected["stream"].removeprefix("testusdt")
        assert json.loads(after) == expected


def test_raw_streams_come_without_envelope_and_only_those_subscribed(tmp_path: Path) -> None:
    lines = synthetic_capture(tmp_path / "a")

    async def scenario(path: str) -> list[str]:
        options = {"capture": tmp_path / "a", "speed": float("inf"), "oracle": tmp_path / "oracle"}
        async with running(**options) as run:
            url = (await run.event("ready"))["url"].removesuffix("/stream")
            async with client(url + path) as connection:
                return await receive(connection, run)

    raw = asyncio.run(scenario("/ws/testusdt@trade/testusdt@bookTicker"))
    wanted = [line for line in lines if "@depth" not in line]
    assert [json.loads(each) for each in raw] == [json.loads(line).get("data", json.loads(line)) for line in wanted]
    rows, counts = snapshot_of_streams(wanted)
    assert stated(tmp_path / "oracle") == {"vendor": "binance", "counts": counts, "rows": rows}
    combined = asyncio.run(scenario("/stream?streams=testusdt@trade/testusdt%40bookTicker"))
    assert combined == wanted
    assert stated(tmp_path / "oracle") == {"vendor": "binance", "counts": counts, "rows": rows}


def test_requests_are_answered_as_the_venue_answers_them(tmp_path: Path) -> None:
    synthetic_capture(tmp_path / "a", 10)

    async def scenario() -> None:
        async with running(capture=tmp_path / "a", start_quiet_s=60.0) as run:
            url = (await run.event("ready"))["url"]
            async with client(url) as connection:
                await subscribe(connection, ["b@trade", "a@trade"], 3)
                listed = await ask(connection, '{"method":"LIST_SUBSCRIPTIONS","id":"x"}')
                assert listed == {"result": ["a@trade", "b@trade"], "id": "x"}
                await connection.send('{"method":"UNSUBSCRIBE","params":["a@trade"],"id":4}')
                assert json.loads(await connection.recv()) == {"result": None, "id": 4}
                assert (await ask(connection, '{"method":"LIST_SUBSCRIPTIONS","id":5}'))["result"] == ["b@trade"]
                for wrong, code in (
                    ("ping", 3),
                    ("[]", 2),
                    ('{"method":"SUBSCRIBE","id":6}', 2),
                    ('{"method":"SUBSCRIBE","params":"a@trade","id":6}', 2),
                    ('{"method":"SUBSCRIBE","params":[1],"id":6}', 2),
                    ('{"method":"SUBSCRIBE","params":["a"],"id":true}', 2),
                    ('{"method":"BUY","params":["a"],"id":6}', 2),
                    ('{"method":"SUBSCRIBE","params":["a"],"id":6,"x":1}', 2),
                ):
                    answer = await ask(connection, wrong)
                    assert answer["code"] == code
                    assert answer["msg"]
                    assert answer["id"] == (6 if '"id":6' in wrong else True if "true" in wrong else None)

    asyncio.run(scenario())


def test_the_recorded_pace_is_kept_and_can_be_changed(tmp_path: Path) -> None:
    # 100 messages 10 ms apart: 1 s, at speed 4 a quarter of it. One clock step backwards costs nothing.
    stamps = [i * 10_000_000 - (i == 50) * 10**9 + 10**18 for i in range(100)]
    data = [{"stream": "a@trade", "data": {"s": "A", "p": "1", "q": "1", "T": i, "t": i}} for i in range(100)]
    lines = [json.dumps(each) for each in data]
    (tmp_path / "a").write_text("".join(f"{stamp} {line}\n" for stamp, line in zip(stamps, lines, strict=True)))

    async def scenario() -> None:
        async with running(capture=tmp_path / "a", speed=4.0) as run:
            async with client((await run.event("ready"))["url"] + "?streams=a@trade") as connection:
                assert await receive(connection, run) == lines
            done = await run.event("done")
            assert 0.24 < done["seconds"] < 2.0
            assert done["late_ns"]["max"] > 0

    asyncio.run(scenario())


def test_without_a_pace_the_market_waits_for_a_client_that_is_away(tmp_path: Path) -> None:
    lines = synthetic_capture(tmp_path / "a", 6_000)
    streams = ["testusdt@trade", "testusdt@bookTicker", "testusdt@depth@100ms"]

    async def scenario() -> None:
        received: list[str] = []
        options = {"capture": tmp_path / "a", "speed": float("inf"), "oracle": tmp_path / "oracle"}
        async with running(**options) as run:
            url = (await run.event("ready"))["url"]
            async with client(url) as connection:
                await subscribe(connection, streams)
                while len(received) < 1000:
                    received.append(str(await connection.recv()))
                await connection.send(json.dumps({"method": "UNSUBSCRIBE", "params": streams, "id": "end"}))
                while json.loads(received[-1]).get("id") != "end":
                    received.append(str(await connection.recv()))
                received.pop()
            await asyncio.sleep(0.1)
            assert len(run.events) == 2 or run.events[-1]["event"] == "progress"
            async with client(url) as connection:
                await subscribe(connection, streams)
                received += await receive(connection, run)
            assert (await run.event("done"))["disconnects"] == 1
        # Messages without a stream go to everybody, so the visitor got some of them while not subscribed.
        assert received == lines
        assert stated(tmp_path / "oracle")["rows"] == snapshot_of_streams(lines)[0]

    asyncio.run(scenario())


def test_sigterm_in_the_middle_of_a_replay_leaves_an_oracle_of_exactly_what_was_received(tmp_path: Path) -> None:
    lines = synthetic_capture(tmp_path / "a.gz", 20_000)
    with Process("--capture", tmp_path / "a.gz", "--speed", "max", "--oracle", tmp_path / "oracle") as process:
        ready = process.event("ready")

        async def scenario() -> list[str]:
            received: list[str] = []
            async with client(ready["url"], max_queue=16) as connection:
                await subscribe(connection, ready["streams"])
                async for message in connection:
                    received.append(str(message))
                    if len(received) == 1000:
                        process.send(signal.SIGTERM)
            return received

        received = asyncio.run(scenario())
        done = process.event("done")
        assert process.wait() == 0
    rows, counts = snapshot_of_streams(received)
    assert received == lines[: len(received)]
    assert 1000 <= len(received) < 20_000
    assert done["stopped"]
    assert stated(tmp_path / "oracle") == {"vendor": "binance", "counts": counts, "rows": rows}


def test_how_long_a_slow_client_held_a_capture_up_is_said(tmp_path: Path) -> None:
    lines = [synthetic_capture(tmp_path / "a", 1)[0], *(json.dumps({"rest": "x" * 16_384}) for _ in range(1500))]
    (tmp_path / "a").write_text("".join(f"{n} {line}\n" for n, line in enumerate(lines, 1)))
    with Process("--capture", tmp_path / "a", "--speed", "max") as process, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        port = int(process.event("ready")["url"].split(":")[2].split("/")[0])
        slow.connect(("127.0.0.1", port))
        slow.settimeout(20)
        slow.sendall(UPGRADE.replace(b"/quote-stock-b-ws-api?token=any", b"/ws/testusdt@trade"))
        process.event("started")
        time.sleep(0.5)
        received = 0
        while received < 1500 * 16_384:
            received += len(slow.recv(1 << 20))
        assert process.event("done")["held_ns"] > 100_000_000


def test_a_broken_capture_is_named_before_anything_is_served(tmp_path: Path) -> None:
    lines = synthetic_capture(tmp_path / "a", 500)
    path = tmp_path / "a"
    path.write_text("".join(f"{i} {line}\n" for i, line in enumerate(lines[:400])) + "oops\n")
    with Process("--capture", path) as process:
        assert process.wait() == 1
        with pytest.raises(AssertionError, match="ended without 'ready'") as caught:
            process.event("ready")
    assert f"simulator: {path}, line 401: expected '<receive ns> <message>', found 'oops'" in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("content", ["", '1 {"lastUpdateId":1}\n'])
def test_a_capture_without_a_market_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "a").write_text(content)
    with pytest.raises(CaptureError, match="no market data"):
        Simulator(SimulatorOptions(capture=tmp_path / "a"), lambda event: None)


async def recorded(run: Run, source: Source | str, path: Path, **options: Any) -> Recording:
    """Record until the simulator is done, and let it go."""
    recording = asyncio.create_task(record(source, path, **options))
    await run.event("done")
    await run.end()
    return await asyncio.wait_for(recording, 20)


def test_a_recorded_replay_replays_the_same(tmp_path: Path) -> None:
    """From the simulator into a capture and out of it again: the same messages, and the same oracle."""
    lines = synthetic_capture(tmp_path / "first.gz")
    market = {"speed": float("inf"), "symbols": 0}

    async def scenario() -> None:
        async with running(capture=tmp_path / "first.gz", oracle=tmp_path / "oracle-1", **market) as run:
            source = Source(
                vendor="binance",
                url=(await run.event("ready"))["url"],
                symbols=("TESTUSDT",),
                streams=("trade", "bookTicker", "depth@100ms"),
            )
            recording = await recorded(run, source, tmp_path / "second.gz")
        assert (recording.messages, recording.control, recording.ended) == (len(lines), 1, "disconnected")
        assert [line.message.decode() for line in read_capture(tmp_path / "second.gz")] == lines
        async with running(capture=tmp_path / "second.gz", oracle=tmp_path / "oracle-2", **market) as run:
            ready = await run.event("ready")
            async with client(ready["url"]) as connection:
                await subscribe(connection, ready["streams"])
                await receive(connection, run)
        assert stated(tmp_path / "oracle-2") == stated(tmp_path / "oracle-1")

    asyncio.run(scenario())


def test_a_recorded_made_up_market_replays_as_alltick_would_send_it(tmp_path: Path) -> None:
    codes = a_shares(200)

    async def scenario() -> None:
        async with running(symbols=200, rate=10_000.0, seconds=0.3, oracle=tmp_path / "oracle-1") as run:
            url = (await run.event("ready"))["url"]
            source = Source(vendor="alltick", url=url, symbols=tuple(codes))
            recording = await recorded(run, source, tmp_path / "a.gz")
            assert recording.messages == (await run.event("done"))["sent"]
            assert recording.control == 1
        async with running(capture=tmp_path / "a.gz", speed=float("inf"), oracle=tmp_path / "oracle-2") as run:
            ready = await run.event("ready")
            assert ready["vendor"] == "alltick"
            assert sorted(ready["symbols"]) == codes
            async with client(ready["url"]) as connection:
                await connection.send(subscription(ready["symbols"]))
                received = trades((await receive(connection, run))[1:])
        assert stated(tmp_path / "oracle-2") == stated(tmp_path / "oracle-1")
        assert stated(tmp_path / "oracle-2")["rows"] == snapshot_of_trades(received)

    asyncio.run(scenario())


def test_a_bare_address_is_recorded_whole_until_enough_has_come(tmp_path: Path) -> None:
    synthetic_capture(tmp_path / "a")

    async def scenario() -> None:
        async with running(capture=tmp_path / "a", speed=float("inf")) as run:
            url = (await run.event("ready"))["url"].replace("/stream", "/ws/testusdt@trade")
            before = time.time_ns()
            recording = await asyncio.wait_for(record(url, tmp_path / "b", messages=100), 20)
            assert (recording.messages, recording.ended) == (100, "messages")
        found = list(read_capture(tmp_path / "b"))
        assert len(found) == 100
        assert before < found[0].receive_ns <= found[-1].receive_ns < time.time_ns()

    asyncio.run(scenario())


def test_a_recording_ends_in_order_after_its_time_and_when_stopped(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(symbols=20, rate=1000.0) as run:
            url = (await run.event("ready"))["url"]
            source = Source(vendor="alltick", url=url, symbols=tuple(a_shares(20)))
            seen: list[int] = []
            timed = await record(source, tmp_path / "timed", seconds=0.4, report=lambda r: seen.append(r.messages))
            assert timed.ended == "seconds"
            assert seen[-1] == timed.messages == len(list(read_capture(tmp_path / "timed")))
            assert timed.messages > 100
            stop = asyncio.Event()
            task = asyncio.create_task(record(source, tmp_path / "stopped", stop=stop))
            await asyncio.sleep(0.3)
            assert (tmp_path / "stopped.part").exists()
            assert not (tmp_path / "stopped").exists()
            stop.set()
            assert (await asyncio.wait_for(task, 5)).ended == "stopped"
            assert (tmp_path / "stopped").exists()

    asyncio.run(scenario())


async def with_server(talk: Callable[[ServerConnection], Awaitable[None]], path: Path, **options: Any) -> Recording:
    """Record a server of a few lines."""
    async with serve(talk, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        return await asyncio.wait_for(record(f"ws://127.0.0.1:{port}/", path, **options), 20)


def test_a_refusal_that_quotes_a_stream_is_not_taken_for_market_data(tmp_path: Path) -> None:
    async def talk(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send('{"error":{"code":2,"msg":"unknown stream testusdt@trade"},"id":1}')
        await connection.send('{"stream":"testusdt@trade","data":{"e":"trade","s":"TESTUSDT","p":"1","q":"1"}}')

    async def scenario() -> Recording:
        async with serve(talk, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            source = Source(vendor="binance", url=f"ws://127.0.0.1:{port}/stream", symbols=("TESTUSDT",))
            return await asyncio.wait_for(record(source, tmp_path / "a"), 20)

    recording = asyncio.run(scenario())
    assert (recording.messages, recording.control) == (1, 1)
    assert recording.refusals == ["2: 'unknown stream testusdt@trade'"]


class Clumsy(Binance):
    """A vendor that did not expect to be asked about the market."""

    def control(self, payload: bytes) -> Control | None:
        if b'"e":"trade"' in payload:
            raise KeyError("this vendor's own mistake")
        return super().control(payload)


def test_a_vendor_that_chokes_on_market_data_does_not_keep_it_from_being_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("openbell.recorder.create", Clumsy)

    async def talk(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send('{"result":null,"id":1}')
        for price in range(1, 4):
            trade = {"stream": "testusdt@trade", "data": {"e": "trade", "s": "TESTUSDT", "p": str(price), "q": "1"}}
            await connection.send(json.dumps(trade, separators=(",", ":")))

    async def scenario() -> Recording:
        async with serve(talk, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            source = Source(vendor="binance", url=f"ws://127.0.0.1:{port}/stream", symbols=("TESTUSDT",))
            return await asyncio.wait_for(record(source, tmp_path / "a"), 20)

    recording = asyncio.run(scenario())
    assert (recording.messages, recording.control) == (3, 1)
    (said,) = [each.getMessage() for each in caplog.records if each.name == "openbell.recorder"]
    assert "Clumsy.control raised KeyError" in said


def test_fragments_are_put_together_and_what_is_no_document_is_left_out(tmp_path: Path) -> None:
    async def talk(connection: ServerConnection) -> None:
        await connection.send(['{"a":', "1", "}"])
        await connection.send('{"a":\n 2}')
        await connection.send("{}\n{}")
        await connection.send("pong")
        await connection.send(b"\x01\x02")
        await connection.send(b'{"a":3}')

    recording = asyncio.run(with_server(talk, tmp_path / "a"))
    assert [line.message for line in read_capture(tmp_path / "a")] == [b'{"a":1}', b'{"a":2}', b'{"a":3}']
    assert (recording.messages, recording.compacted, recording.refused) == (3, 1, 3)
    assert recording.first_refused is not None
    assert "newline" in recording.first_refused


def test_a_recording_that_fails_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(connection: ServerConnection) -> None:
        for i in range(10):
            await connection.send(json.dumps({"i": i}))
        await connection.wait_closed()

    def report(recording: Recording) -> None:
        raise RuntimeError("the view broke")

    with pytest.raises(RuntimeError, match="the view broke"):
        asyncio.run(with_server(talk, tmp_path / "a", report=report))
    assert not (tmp_path / "a").exists()
    assert len(list(read_capture(tmp_path / "a.part"))) == 10


def test_a_vendor_nobody_can_reach_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(DialError):
        asyncio.run(record("ws://127.0.0.1:9/", tmp_path / "a"))
    assert not list(tmp_path.iterdir())


def test_an_address_with_a_token_in_it_is_refused_without_repeating_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        asyncio.run(record("wss://example.com/x?token=s3cr3t-value", tmp_path / "a"))
    assert "s3cr3t" not in str(caught.value)
    with pytest.raises(ConfigError, match="seconds"):
        asyncio.run(record("wss://example.com/x", tmp_path / "a", seconds=0.0))
    with pytest.raises(ConfigError, match="messages"):
        asyncio.run(record("wss://example.com/x", tmp_path / "a", messages=0))
    assert not list(tmp_path.iterdir())


def test_what_the_vendor_refuses_is_told(tmp_path: Path) -> None:
    async def scenario() -> Recording:
        async def talk(connection: ServerConnection) -> None:
            await connection.recv()
            await connection.send('{"ret":604,"msg":"code unauthorized","cmd_id":0,"seq_id":0,"trace":"","data":{}}')

        async with serve(talk, "127.0.0.1", 0) as server:
            url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/quote-stock-b-ws-api"
            return await asyncio.wait_for(
                record(Source(vendor="alltick", url=url, symbols=("A.US",)), tmp_path / "a"), 20
            )

    recording = asyncio.run(scenario())
    assert recording.refusals == ["604: 'code unauthorized'"]
    assert (recording.messages, recording.ended) == (0, "disconnected")


def test_ctrl_c_ends_a_recording_in_order(tmp_path: Path) -> None:
    config = tmp_path / "feed.toml"
    program = "import sys; from openbell.recorder import run; r = run(*sys.argv[1:]); print(r.messages, r.ended)"
    with Process("--symbols", 20, "--rate", 2000) as process:
        url = process.event("ready")["url"]
        symbols = json.dumps(a_shares(20))
        config.write_text(f'[feed]\nname = "x"\n[source]\nvendor = "alltick"\nurl = "{url}"\nsymbols = {symbols}\n')
        command = [sys.executable, "-c", program, str(config), str(tmp_path / "a.gz")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as recorder:
            process.event("progress")
            recorder.send_signal(signal.SIGINT)
            said, _ = recorder.communicate(timeout=20)
        assert recorder.returncode == 0
    assert said.split() == [str(len(list(read_capture(tmp_path / "a.gz")))), "stopped"]
    assert int(said.split()[0]) > 100
