"""The made-up market over real sockets: what an independent client receives is what the oracle states."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from simulator_client import (
    UPGRADE,
    Process,
    ask,
    client,
    masked_frame,
    payloads,
    receive,
    request,
    running,
    snapshot_of_trades,
    stated,
    subscription,
    trades,
)
from websockets.exceptions import ConnectionClosed, InvalidStatus

from openbell.simulator import Simulator, SimulatorError, SimulatorOptions, a_shares


def test_what_a_client_receives_is_what_the_oracle_states(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(symbols=800, rate=30_000.0, seconds=0.5, oracle=tmp_path / "oracle") as run:
            ready = await run.event("ready")
            assert ready["vendor"] == "alltick"
            assert ready["symbols"] == ready["streams"] == a_shares(800)
            async with client(ready["url"]) as connection:
                await connection.send(subscription(ready["symbols"]))
                messages = await receive(connection, run)
                assert connection.close_code == 1000
        done = await run.event("done")
        ack, *pushes = messages
        assert json.loads(ack)["cmd_id"] == 22005
        received = trades(pushes)
        assert len(received) == len(pushes) == done["sent"] == done["trades"] > 800 + 0.4 * 30_000
        assert {data["code"] for data in received[:800]} == set(ready["symbols"])
        assert {data["tick_time"] for data in received[:800]} == {received[0]["tick_time"]}
        assert stated(tmp_path / "oracle")["rows"] == snapshot_of_trades(received)
        assert stated(tmp_path / "oracle")["counts"]["sent"] == len(received)
        assert done["flushed"]
        assert done["disconnects"] == 0
        assert 0 < done["late_ns"]["p50"] <= done["late_ns"]["p99"] <= done["late_ns"]["max"]

    asyncio.run(scenario())


def test_two_runs_with_one_seed_send_the_same_bytes() -> None:
    async def scenario(seed: int) -> list[str]:
        async with running(symbols=300, rate=20_000.0, seconds=0.2, seed=seed) as run:
            ready = await run.event("ready")
            async with client(ready["url"]) as connection:
                await connection.send(subscription(ready["symbols"]))
                return await receive(connection, run)

    first, second, other = (asyncio.run(scenario(seed)) for seed in (5, 5, 6))
    assert first == second
    assert len(first) > 300 + 3000
    assert first != other


def test_a_subscription_replaces_the_one_before_and_unknown_codes_are_ignored(tmp_path: Path) -> None:
    codes = a_shares(40)

    async def scenario() -> None:
        async with running(symbols=40, rate=5_000.0, oracle=tmp_path / "oracle") as run:
            ready = await run.event("ready")
            async with client(ready["url"]) as connection:
                messages = []

                async def read_until_ack(seq_id: int) -> list[str]:
                    while True:
                        message = str(await connection.recv())
                        messages.append(message)
                        if json.loads(message).get("seq_id") == seq_id:
                            return messages

                await connection.send(subscription([*codes[:10], "999999.XX"], 1))
                await read_until_ack(1)
                await run.event("started")
                await asyncio.sleep(0.1)
                await connection.send(subscription(codes[5:15], 2))
                before = len(await read_until_ack(2))
                await asyncio.sleep(0.1)
                await connection.send(request(22006, {"cancel_type": 2}, 3))
                between = len(await read_until_ack(3))
                await asyncio.sleep(0.1)
                await connection.send(request(22000, {}, 4))
                quiet = len(await read_until_ack(4)) - between
                assert quiet == 1
                assert {data["code"] for data in trades(messages[:before])} == set(codes[:10])
                assert {data["code"] for data in trades(messages[before:])} == set(codes[5:15])
        assert stated(tmp_path / "oracle")["rows"] == snapshot_of_trades(trades(messages))

    asyncio.run(scenario())


def test_requests_are_answered_as_the_vendor_answers_them() -> None:
    async def scenario() -> None:
        async with running(symbols=5, rate=1.0) as run:
            ready = await run.event("ready")
            async with client(ready["url"]) as connection:
                assert await ask(connection, request(22000, {}, 123)) == {
                    "ret": 200,
                    "msg": "ok",
                    "cmd_id": 22001,
                    "seq_id": 123,
                    "trace": "trace-123",
                    "data": {},
                }
                books = request(22002, {"symbol_list": [{"code": "600519.SH", "depth_level": 5}]})
                assert (await ask(connection, books))["cmd_id"] == 22003
                assert (await ask(connection, request(22006, {"cancel_type": 0})))["cmd_id"] == 22007
                header, data = "request header param invalid", "request data param invalid"
                for wrong, message in (
                    ("ping", header),
                    ("[]", header),
                    ("[" * 100_000, header),
                    ('{"action":"subscribe","symbols":["00700.HK"]}', header),
                    ('{"cmd_id":22004,"seq_id":1,"trace":"a"}', header),
                    ('{"cmd_id":22000,"seq_id":1,"trace":"a","data":[]}', header),
                    (request(22000, {}).replace("trace-7", "t" * 65), header),
                    (request(12345, {}), header),
                    (request(22004, {}), data),
                    (request(22004, {"symbol_list": []}), data),
                    (request(22004, {"symbol_list": ["600519.SH"]}), data),
                    (request(22006, {"cancel_type": 9}), data),
                ):
                    answer = await ask(connection, wrong)
                    assert answer == {"ret": 400, "msg": message, "cmd_id": 0, "seq_id": 0, "trace": "", "data": {}}
                await connection.send([subscription(["600519.SH"])[:40], subscription(["600519.SH"])[40:]])
                assert json.loads(await connection.recv())["cmd_id"] == 22005, "a fragmented request is put together"

    asyncio.run(scenario())


def test_nobody_gets_in_without_a_token_or_elsewhere() -> None:
    async def scenario() -> None:
        async with running(symbols=5) as run:
            url = (await run.event("ready"))["url"]
            with pytest.raises(InvalidStatus) as caught:
                async with client(f"{url}?token="):
                    pass
            assert caught.value.response.status_code == 401
            assert json.loads(caught.value.response.body) == {"msg": "token is required", "ret": 401}
            with pytest.raises(InvalidStatus) as caught:
                async with client(url.replace("quote-stock-b-ws-api", "stream")):
                    pass
            assert caught.value.response.status_code == 404

    asyncio.run(scenario())


def test_a_connection_without_heartbeat_is_closed() -> None:
    async def scenario() -> None:
        async with running(symbols=5, heartbeat_timeout_s=0.3) as run, client((await run.event("ready"))["url"]) as one:
            await asyncio.wait_for(one.wait_closed(), 5)
            assert one.close_code != 1000

    asyncio.run(scenario())


def test_other_requests_are_no_heartbeats() -> None:
    async def scenario() -> None:
        options = {"symbols": 5, "heartbeat_timeout_s": 0.5, "start_quiet_s": 60.0}
        async with running(**options) as run, client((await run.event("ready"))["url"]) as silent:
            with pytest.raises(ConnectionClosed):
                for number in range(100):
                    await ask(silent, subscription(["600519.SH"], number))
                    await asyncio.sleep(0.05)

    asyncio.run(scenario())


@pytest.mark.parametrize("goodbye", [b"", b"\x88\x80" + bytes(4)], ids=["without a word", "after a CLOSE"])
def test_a_client_that_neither_reads_nor_lives_does_not_hold_the_market_up_for_ever(goodbye: bytes) -> None:
    async def scenario() -> None:
        # With a CLOSE it goes at once, without one its heartbeats are missed.
        options = {"symbols": 1000, "rate": 200_000.0, "heartbeat_timeout_s": 60.0 if goodbye else 1.0}
        async with running(**options) as run:
            port = int((await run.event("ready"))["url"].split(":")[2].split("/")[0])
            with socket.create_connection(("127.0.0.1", port)) as stuck:
                stuck.sendall(UPGRADE + masked_frame(subscription(a_shares(1000)).encode()))
                await run.event("started")
                async with asyncio.timeout(20):
                    while run.simulator._floor.room.is_set():
                        await asyncio.sleep(0.01)
                    stuck.sendall(goodbye)
                    while not run.simulator._floor.room.is_set():
                        await asyncio.sleep(0.01)

    asyncio.run(scenario())


def test_events_while_nobody_is_connected_are_not_sent_and_the_market_goes_on(tmp_path: Path) -> None:
    codes = a_shares(30)

    async def scenario() -> None:
        received: list[dict[str, object]] = []
        async with running(symbols=30, rate=5_000.0, oracle=tmp_path / "oracle") as run:
            url = (await run.event("ready"))["url"]
            for visit in range(2):
                async with client(url) as connection:
                    await connection.send(subscription(codes))
                    await run.event("started")
                    await asyncio.sleep(0.15)
                    # So that nothing is on its way when the connection ends.
                    await connection.send(request(22006, {"cancel_type": 0}, 99))
                    messages: list[str] = []
                    while not messages or json.loads(messages[-1]).get("seq_id") != 99:
                        messages.append(str(await connection.recv()))
                    visited = trades(messages)
                    assert len(visited) > 200
                    received += visited
                if visit == 0:
                    await asyncio.sleep(0.15)
            await run.end()
            done = await run.event("done")
        assert done["disconnects"] == 2
        assert done["sent"] == len(received)
        assert stated(tmp_path / "oracle")["rows"] == snapshot_of_trades(received)
        sequences = sorted(int(str(data["seq"])) for data in received if data["code"] == received[0]["code"])
        assert sequences[-1] - sequences[0] > len(sequences), "the market went on meanwhile"

    asyncio.run(scenario())


def test_of_two_clients_every_event_counts_once(tmp_path: Path) -> None:
    codes = a_shares(50)

    async def scenario() -> None:
        async with running(symbols=50, rate=10_000.0, seconds=0.3, oracle=tmp_path / "oracle") as run:
            url = (await run.event("ready"))["url"]
            async with client(url) as one, client(url) as other:
                await one.send(subscription(codes[:30]))
                await other.send(subscription(codes[20:]))
                both = await asyncio.gather(receive(one, run), receive(other, run))
            done = await run.event("done")
        first, second = (trades(messages) for messages in both)
        union = {(data["code"], data["seq"]): data for data in first + second}
        assert {data["code"] for data in first} == set(codes[:30])
        assert {data["code"] for data in second} == set(codes[20:])
        assert done["sent"] == len(union) < len(first) + len(second)
        ordered = sorted(union.values(), key=lambda data: int(data["seq"]))
        assert stated(tmp_path / "oracle")["rows"] == snapshot_of_trades(ordered)

    asyncio.run(scenario())


def test_sigterm_in_the_middle_of_a_burst_leaves_an_oracle_of_exactly_what_was_received(tmp_path: Path) -> None:
    with Process("--symbols", 2000, "--rate", 2_000_000, "--oracle", tmp_path / "oracle") as process:
        url = process.event("ready")["url"]

        async def scenario() -> list[str]:
            messages: list[str] = []
            async with client(url) as connection:
                await connection.send(subscription(a_shares(2000)))
                async for message in connection:
                    messages.append(str(message))
                    if len(messages) == 12_000:
                        process.send(signal.SIGTERM)
                assert connection.close_code == 1000
            return messages

        received = trades(asyncio.run(scenario()))
        done = process.event("done")
        assert process.wait() == 0
        assert process.stderr() == ""
    assert done["stopped"]
    assert done["flushed"]
    assert done["sent"] == len(received) > 11_000
    assert stated(tmp_path / "oracle")["rows"] == snapshot_of_trades(received)


def _memory_kib(pid: int, name: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(f"{name}:")).split()[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_slow_client_loses_nothing_and_costs_bounded_memory(tmp_path: Path) -> None:
    # 0.2 s at 400,000 a second are 13 MB, of which the client reads nothing before 0.8 s have passed.
    options = ("--symbols", 1000, "--rate", 400_000, "--seconds", 0.2, "--oracle", tmp_path / "oracle")
    with Process(*options) as process, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        slow.settimeout(20)
        port = int(process.event("ready")["url"].split(":")[2].split("/")[0])
        before = _memory_kib(process.pid, "VmRSS")
        slow.connect(("127.0.0.1", port))
        slow.sendall(UPGRADE + masked_frame(subscription(a_shares(1000)).encode()))
        process.event("started")
        time.sleep(0.8)
        peaks = []

        def end() -> None:
            process.event("done")
            peaks.append(_memory_kib(process.pid, "VmHWM"))
            process.send(signal.SIGTERM)

        ending = threading.Thread(target=end)
        ending.start()
        stream = bytearray()
        while chunk := slow.recv(1 << 20):
            stream += chunk
        ending.join()
        assert process.wait() == 0
    messages = payloads(bytes(stream).partition(b"\r\n\r\n")[2])
    received = trades(message.decode() for message in messages[:-1])
    assert int.from_bytes(messages[-1][:2], "big") == 1000, "the last frame is CLOSE"
    oracle = stated(tmp_path / "oracle")
    assert len(received) == oracle["counts"]["sent"] > 70_000
    assert oracle["rows"] == snapshot_of_trades(received)
    # 7 to 8 MB, on a busy machine up to 9.5: what is made and encoded ahead, and the 1 MiB a client may be behind.
    assert peaks[0] - before < 11 * 1024


def test_a_client_that_never_reads_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    async def scenario() -> None:
        options = {"symbols": 1000, "rate": 1_000_000.0, "flush_timeout_s": 0.2, "oracle": tmp_path / "oracle"}
        async with running(**options) as run:
            port = int((await run.event("ready"))["url"].split(":")[2].split("/")[0])
            with socket.create_connection(("127.0.0.1", port)) as stuck:
                stuck.sendall(UPGRADE + masked_frame(subscription(a_shares(1000)).encode()))
                await run.event("started")
                await asyncio.sleep(0.5)
                run.simulator.end_market()
                done = await run.event("done")
                assert not done["flushed"]
                await run.end()
        assert stated(tmp_path / "oracle")["counts"]["sent"] == done["sent"] > 1000

    asyncio.run(scenario())


def test_a_second_signal_waits_for_no_client() -> None:
    options = ("--symbols", 1000, "--rate", 200_000, "--flush-timeout", 3600)
    with Process(*options) as process, socket.socket() as stuck:
        port = int(process.event("ready")["url"].split(":")[2].split("/")[0])
        stuck.connect(("127.0.0.1", port))
        stuck.sendall(UPGRADE + masked_frame(subscription(a_shares(1000)).encode()))
        process.event("started")
        # Until it holds the market up, which then sends nothing more.
        sent = [-1, 0]
        while sent[-1] != sent[-2] or not sent[-1]:
            sent.append(process.event("progress")["sent"])
        process.send(signal.SIGINT)
        time.sleep(0.3)
        process.send(signal.SIGINT)
        assert not process.event("done")["flushed"]
        assert process.wait() == 0


def test_sigint_ends_it_also_where_it_was_started_with_sigint_ignored(tmp_path: Path) -> None:
    with Process("--symbols", 5, "--oracle", tmp_path / "oracle", ignore_sigint=True) as process:
        process.event("ready")
        process.send(signal.SIGINT)
        assert process.event("done")["sent"] == 0
        assert process.wait() == 0
    assert stated(tmp_path / "oracle")["rows"] == {}


def test_sigusr1_ends_the_market_and_keeps_the_connections(tmp_path: Path) -> None:
    with Process("--symbols", 20, "--oracle", tmp_path / "oracle") as process:
        ready = process.event("ready")

        async def scenario() -> None:
            async with client(ready["url"]) as connection:
                await connection.send(subscription(ready["symbols"]))
                process.event("started")
                process.send(signal.SIGUSR1)
                assert process.event("done")["stopped"]
                await connection.send(request(22000, {}, 55))
                while json.loads(await connection.recv()).get("seq_id") != 55:
                    continue
                process.send(signal.SIGTERM)
                await asyncio.wait_for(connection.wait_closed(), 5)
                assert connection.close_code == 1000

        asyncio.run(scenario())
        assert process.wait() == 0


def test_without_its_parent_it_leaves() -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as gone:
        gone.wait()
    with Process("--symbols", 5, "--parent", gone.pid) as process:
        process.event("done")
        assert process.wait() == 0
    with Process("--symbols", 5, "--parent", os.getpid()) as process:
        process.event("ready")
        time.sleep(0.6)
        process.send(signal.SIGTERM)
        assert process.event("done")["stopped"]


def test_without_anybody_who_reads_its_lines_it_leaves() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.Popen(
        [sys.executable, "-m", "openbell.simulator", "--symbols", "5"], stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    try:
        _, stderr = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0
    assert stderr == b""


def test_without_linger_it_leaves_at_the_end_of_the_market() -> None:
    async def scenario() -> None:
        async with (
            running(symbols=5, seconds=0.05, linger=False) as run,
            client((await run.event("ready"))["url"]) as one,
        ):
            await one.send(subscription(a_shares(5)))
            await asyncio.wait_for(run.task, 10)
            await one.wait_closed()
            assert one.close_code == 1000

    asyncio.run(scenario())


def test_a_taken_port_is_a_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        simulator = Simulator(SimulatorOptions(symbols=5, port=port), lambda event: None)
        with pytest.raises(SimulatorError, match=f"cannot listen on 127.0.0.1:{port}"):
            asyncio.run(simulator.run())


def test_the_lists_go_to_a_file_where_one_is_named(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(symbols=6000, symbols_file=tmp_path / "lists") as run:
            ready = await run.event("ready")
            assert "symbols" not in ready
            assert ready["symbols_file"] == str(tmp_path / "lists")
            assert json.loads((tmp_path / "lists").read_text())["symbols"] == a_shares(6000)

    asyncio.run(scenario())
