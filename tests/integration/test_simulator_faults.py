"""What the simulator does wrong, seen by an independent client, and what its journal says about it."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulator_client import PATIENCE_S, Process, Run, client, running, subscription
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from openbell.reasons import Reason
from openbell.simulator import SimulatorOptions
from openbell.simulator.faults.journal import BACKWARD, CONTROL, WITHHELD, Sent, read_journal, reason_of
from openbell.simulator.faults.replay import Replay

MARKET: dict[str, Any] = {"symbols": 50, "rate": 1000.0, "seconds": 1.0, "seed": 3}


def journal_of(path: Path, port: int) -> Sent:
    (sent,) = [sent for sent in read_journal(path) if sent.port == port]
    return sent


async def take(connection: ClientConnection, until: Run, received: list[str | bytes]) -> None:
    """Subscribe to everything and take what comes, up to the connection's end or the market's."""
    ready = await until.event("ready")
    await connection.send(subscription(ready["symbols"]))

    async def read() -> None:
        try:
            while True:
                received.append(await connection.recv(decode=False))
        except WebSocketException:
            return

    reading = asyncio.create_task(read())
    await until.event("done")
    await until.end()
    await asyncio.wait_for(reading, PATIENCE_S)


def played(faults: tuple[str, ...], tmp_path: Path, **options: Any) -> tuple[list[bytes], Sent]:
    """Play a market with faults to one client; return what it took, and what the journal says it was sent."""
    received: list[Any] = []
    journal = tmp_path / "journal"

    async def run() -> int:
        async with (
            running(**MARKET | options, fault=faults, journal=journal) as market,
            client((await market.event("ready"))["url"]) as connection,
        ):
            await take(connection, market, received)
            return int(connection.local_address[1])

    port = asyncio.run(run())
    return received, journal_of(journal, port)


def events(sent: Sent) -> list[int]:
    """Return the numbers of the events that were sent, in order."""
    entries = sent.entries[(sent.entries >= 0) & (sent.entries & WITHHELD == 0)]
    return (entries & ((1 << 40) - 1)).tolist()  # type: ignore[no-any-return]


def test_without_faults_the_journal_is_the_market(tmp_path: Path) -> None:
    received, sent = played((), tmp_path)
    assert len(received) == len(sent.entries) > 500
    assert sent.entries[0] == CONTROL and events(sent) == list(range(len(received) - 1))
    assert 0 < sent.opened_ns < sent.times_ns[0] <= sent.times_ns[-1] < sent.closed_ns
    rows, counts = Replay(SimulatorOptions(**MARKET)).apply([sent.entries])
    last = {}
    for message in received[1:]:
        data = json.loads(message)["data"]
        last[data["code"]] = (float(data["price"]), data["seq"])
    assert {symbol: (row["last"], row["trade_sequence"]) for symbol, row in rows.items()} == last
    assert counts.trades == len(received) - 1


def test_repeated_and_reordered_messages_are_journalled_as_they_were_sent(tmp_path: Path) -> None:
    received, sent = played(("duplicate=0.3@0+60s", "reorder=0.3@0+60s"), tmp_path)
    numbers = events(sent)
    assert len(numbers) == len(received) - 1
    assert numbers != sorted(numbers) and max(Counter(numbers).values()) == 2
    replay = Replay(SimulatorOptions(**MARKET))
    pushed = [json.loads(message)["data"] for message in received if b"22998" in message]
    entries = sent.entries[sent.entries >= 0]
    assert [data["seq"] for data in pushed] == replay.sequence(entries).tolist()
    assert [data["code"] for data in pushed] == [replay.symbols[index] for index in replay.symbol(entries)]
    # Late by eight places at most, repetitions apart.
    first = list(dict.fromkeys(numbers))
    assert max(abs(at - number) for at, number in enumerate(first)) <= 16
    rows, _ = replay.apply([sent.entries])
    volume = Counter[str]()
    for data in pushed:
        volume[data["code"]] += int(data["volume"])
    assert {symbol: row["volume"] for symbol, row in rows.items()} == volume


def test_backward_times_are_a_minute_back_and_replayed_so(tmp_path: Path) -> None:
    received, sent = played(("backward=0.5@0+60s",), tmp_path)
    back = (sent.entries >= 0) & (sent.entries & BACKWARD != 0)
    assert 0.3 < back.sum() / len(back) < 0.7
    rows, _ = Replay(SimulatorOptions(**MARKET)).apply([sent.entries])
    last = {}
    for message in received[1:]:
        data = json.loads(message)["data"]
        last[data["code"]] = data["tick_time"] * 1_000_000
    assert {symbol: row["trade_exchange_ns"] for symbol, row in rows.items()} == last
    assert len({at // 60_000_000_000 for at in last.values()}) == 2


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("malformed=0.5@0+60s", Reason.NOT_JSON),
        ("bad-utf8=0.5@0+60s", Reason.NOT_UTF8),
        ("unknown-enums=0.5@0+60s", Reason.SIDE_WRONG_TYPE),
    ],
)
def test_spoiled_messages_are_journalled_with_their_reason(tmp_path: Path, fault: str, reason: Reason) -> None:
    received, sent = played((fault,), tmp_path)
    reasons = [reason_of(entry) for entry in sent.entries.tolist()]
    assert set(reasons) == {None, reason} and 0.4 < reasons.count(reason) / len(reasons) < 0.6
    for message, why in zip(received, reasons, strict=True):
        broken = False
        try:
            broken = json.loads(message.decode()).get("data", {}).get("trade_direction") == 9
        except ValueError:
            broken = True
        assert broken is (why is not None), message


def test_unknown_fields_and_fragments_change_nothing_of_a_message(tmp_path: Path) -> None:
    received, sent = played(("unknown-fields@0+60s", "fragments@0+60s", "bytes@0+60s"), tmp_path)
    pushed = [json.loads(message) for message in received if b"22998" in message]
    assert len(pushed) == len(events(sent))
    assert 0.3 < sum("x_new" in push or "x_new" in push["data"] for push in pushed) / len(pushed) < 0.7
    replay = Replay(SimulatorOptions(**MARKET))
    assert [push["data"]["seq"] for push in pushed] == replay.sequence(sent.entries[sent.entries >= 0]).tolist()


def test_a_mute_market_withholds_and_says_so(tmp_path: Path) -> None:
    received, sent = played(("mute@0.3s+0.3s",), tmp_path)
    withheld = (sent.entries >= 0) & (sent.entries & WITHHELD != 0)
    assert len(received) == (~withheld).sum()
    assert withheld.sum() > 100
    # In one piece, in the middle.
    (where,) = np.nonzero(withheld)
    assert where[-1] - where[0] == len(where) - 1 and where[0] > 0 and where[-1] < len(withheld) - 1
    assert 0.2e9 < sent.times_ns[where[-1]] - sent.times_ns[where[0]] < 5e9


def test_a_mute_market_still_answers_pings_and_one_that_never_pongs_still_sends(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(**MARKET | {"seconds": 30.0}, commands=True) as market:
            ready = await market.event("ready")
            async with client(ready["url"]) as connection:
                await connection.send(subscription(ready["symbols"]))
                await market.event("started")
                await market.simulator.command("mute")
                await asyncio.wait_for(await connection.ping(), PATIENCE_S)
                await market.simulator.command("end mute")
                await market.simulator.command("never-pong")
                waiting = asyncio.ensure_future(await connection.ping())
                async with asyncio.timeout(PATIENCE_S):
                    for _ in range(200):
                        await connection.recv()
                assert not waiting.done()
                waiting.cancel()

    asyncio.run(run())


def with_client(
    faults: tuple[str, ...], look: Callable[[Run, str, list[str]], Awaitable[None]], **options: Any
) -> None:
    async def run() -> None:
        async with running(**MARKET | {"seconds": 30.0} | options, fault=faults, commands=True) as market:
            ready = await market.event("ready")
            await look(market, ready["url"], ready["symbols"])

    asyncio.run(run())


def test_half_open_means_that_nothing_comes_and_nothing_ends() -> None:
    async def look(market: Run, url: str, symbols: list[str]) -> None:
        async with client(url, close_timeout=0.1) as connection:
            await connection.send(subscription(symbols))
            await market.event("started")
            await market.simulator.command("half-open")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    while True:
                        await connection.recv()
            pong = asyncio.ensure_future(await connection.ping())
            await asyncio.sleep(0.1)
            assert not pong.done()
            pong.cancel()

    with_client((), look)


@pytest.mark.parametrize(
    ("fault", "code"), [("reset", None), ("close=1013", 1013), ("error-close=606", 1000), ("error-close=429", 1000)]
)
def test_a_connection_ends_as_the_fault_says(fault: str, code: int | None) -> None:
    async def look(market: Run, url: str, symbols: list[str]) -> None:
        async with client(url) as connection:
            await connection.send(subscription(symbols))
            await market.event("started")
            await market.simulator.command(fault)
            messages: list[Any] = []
            with pytest.raises(ConnectionClosed) as ended:
                async with asyncio.timeout(PATIENCE_S):
                    while True:
                        messages.append(json.loads(await connection.recv()))
            assert (ended.value.rcvd.code if ended.value.rcvd else None) == code
            if "error" in fault:
                assert (messages[-1]["ret"], messages[-1]["cmd_id"]) == (int(fault[-3:]), 0)
        told = await market.event("fault")
        assert (told["kind"], len(told["ports"])) == (fault.partition("=")[0], 1)

    with_client((), look)


def test_no_upgrade_takes_connections_without_a_word_and_ends() -> None:
    async def look(market: Run, url: str, symbols: list[str]) -> None:
        with pytest.raises(TimeoutError):
            async with connect(url + "?token=x", open_timeout=0.4):
                pass
        await market.simulator.command("end no-upgrade")
        async with client(url) as connection:
            await connection.send(subscription(symbols))
            assert json.loads(await connection.recv())["ret"] == 200

    with_client(("no-upgrade@0+60s",), look)


def test_a_refused_handshake_says_when_to_come_again() -> None:
    async def look(market: Run, url: str, symbols: list[str]) -> None:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url + "?token=x"):
                pass
        assert (refused.value.response.status_code, refused.value.response.headers["Retry-After"]) == (429, "7")

    with_client(("http-429=7@0+60s",), look)


@pytest.mark.parametrize(
    ("fault", "answer"),
    [("error-ack=600@0+60s", (600, 0)), ("slow-ack=0.3@0+60s", (200, 22005)), ("no-ack@0+60s", None)],
)
def test_acknowledgements_are_what_the_fault_makes_of_them(fault: str, answer: tuple[int, int] | None) -> None:
    async def look(market: Run, url: str, symbols: list[str]) -> None:
        async with client(url) as connection:
            asked = time.monotonic()
            await connection.send(subscription(symbols))
            while True:
                message = json.loads(await asyncio.wait_for(connection.recv(), PATIENCE_S))
                if message["cmd_id"] != 22998:
                    assert (message["ret"], message["cmd_id"]) == answer
                    break
                if answer is None:
                    break
            if "slow" in fault:
                assert time.monotonic() - asked >= 0.3

    with_client((fault,), look)


def test_a_truncated_subscription_is_acknowledged_and_half_of_it_is_sent() -> None:
    async def look(market: Run, url: str, symbols: list[str]) -> None:
        async with client(url) as connection:
            await connection.send(subscription(symbols))
            assert json.loads(await connection.recv())["ret"] == 200
            seen = set()
            async with asyncio.timeout(PATIENCE_S):
                for _ in range(500):
                    seen.add(json.loads(await connection.recv())["data"]["code"])
            assert seen <= set(symbols[:25])

    with_client(("truncate@0+60s",), look)


@pytest.mark.parametrize("fault", ["huge-frame", "huge-fragments"])
def test_a_huge_message_is_sent_as_far_as_it_is_taken(fault: str) -> None:
    async def look(market: Run, url: str, symbols: list[str]) -> None:
        async with client(url, max_size=1_000_000) as connection:
            await connection.send(subscription(symbols))
            await market.event("started")
            await market.simulator.command(fault)
            with pytest.raises(ConnectionClosed) as ended:
                async with asyncio.timeout(60):
                    while True:
                        await connection.recv()
            assert ended.value.sent is not None and ended.value.sent.code == 1009

    with_client((), look)


def test_a_shutdown_is_announced_and_data_goes_on_until_it_comes() -> None:
    async def look(market: Run, url: str, symbols: list[str]) -> None:
        streams = "/".join(f"{symbol.lower()}@trade" for symbol in symbols)
        async with client(f"{url}?streams={streams}") as connection:
            await market.event("started")
            await market.simulator.command("shutdown+0.5s")
            messages = []
            with pytest.raises(ConnectionClosed) as ended:
                async with asyncio.timeout(PATIENCE_S):
                    while True:
                        messages.append(json.loads(await connection.recv()))
            assert ended.value.rcvd is not None and ended.value.rcvd.code == 1001
            (at,) = [n for n, message in enumerate(messages) if message["stream"] == "!serverShutdown"]
            assert messages[at]["data"]["e"] == "serverShutdown" and len(messages) > at + 100

    with_client((), look, dialect="binance")


def test_flapping_ends_every_connection_soon_after_it_subscribed() -> None:
    async def look(market: Run, url: str, symbols: list[str]) -> None:
        for _ in range(3):
            async with client(url) as connection:
                await connection.send(subscription(symbols))
                with pytest.raises(ConnectionClosed):
                    async with asyncio.timeout(PATIENCE_S):
                        while True:
                            await connection.recv()

    with_client(("flap@0+60s",), look)


def test_the_process_takes_faults_from_its_command_line_and_more_from_its_stdin(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    arguments = ("--symbols", 20, "--seconds", 1, "--no-linger", "--journal", journal)
    with Process(*arguments, "--fault", "duplicate=1@0+60s", "--commands", commands="error=201\nnonsense\n") as process:
        url = process.event("ready")["url"]

        async def run() -> list[str]:
            async with client(url) as connection:
                await connection.send(subscription(["600519.SH"]))
                return [str(message) async for message in connection]

        assert process.event("refused")["message"].startswith("no fault 'nonsense'")
        received = asyncio.run(run())
        assert process.wait() == 0
    (sent,) = read_journal(journal)
    numbers = events(sent)
    assert len(received) == len(sent.entries) and max(Counter(numbers).values()) == 2 == min(Counter(numbers).values())
