"""The demonstration, end to end: real processes, real sockets, and a verdict that can say no."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import Command, last_object, run, started

import openbell
from openbell.errors import OpenBellError
from openbell.market import Market
from openbell.memory.locks import RoleLock

KEYS = [
    *("universe", "symbols", "connections", "receivers", "workers", "overflow", "sent", "received", "applied"),
    *("invalid", "ignored", "conflated", "dropped", "lost", "unaccounted", "rows_with_gaps", "snapshot_matches"),
    *("seconds", "ticks_per_second", "receive_to_snapshot_ns", "paused_seconds", "peak_backlog", "peak_waiting"),
    *("peak_rss_mb", "ok"),
]


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give demonstrations a place for temporary files that goes with the test, also those of a killed one."""
    directory = tmp_path / "scratch"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    return directory


def play(*arguments: str) -> dict[str, Any]:
    """Run a demonstration that must be right, and return its result."""
    done = run("demo", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    return last_object(done.stdout)


def pids(market: Market, role: str) -> list[int]:
    """Return the pids of the feed's processes of a role."""
    return [process.pid for process in market.status().processes if process.name.startswith(role)]


def attached(running: Command, name: str) -> Market:
    """Attach to the feed of a demonstration as soon as it has applied something."""
    found: list[Market] = []

    def look() -> bool:
        try:
            market = found[0] if found else openbell.attach(name)
        except OpenBellError:
            return False
        if not found:
            found.append(market)
        return market.status().applied > 1000

    running.until(look)
    return found[0]


def test_nothing_is_lost_and_the_snapshot_is_what_the_oracle_says() -> None:
    result = play("--seconds", "0.5", "--workers", "4")
    assert list(result) == KEYS
    assert result["ok"] is result["snapshot_matches"] is True
    assert result["universe"] == "cn" and result["symbols"] == 5200
    # The opening flush alone has a trade of every symbol.
    assert result["sent"] == result["received"] == result["applied"] > 10_000
    assert result["invalid"] == result["ignored"] == result["lost"] == 0
    latency = result["receive_to_snapshot_ns"]
    assert 0 < latency["p50"] <= latency["p99"] <= latency["p999"] <= latency["max"]
    assert 0.4 < result["seconds"] < 20 and result["ticks_per_second"] > 0


@pytest.mark.parametrize(("connections", "receivers", "workers"), [(4, 1, 1), (4, 2, 2), (3, 3, 4)])
def test_many_connections_receivers_and_workers_come_to_the_same(
    connections: int, receivers: int, workers: int
) -> None:
    many = ("--connections", str(connections), "--receivers", str(receivers), "--workers", str(workers))
    result = play("--seconds", "0.3", "--symbols", "2000", *many)
    assert (result["connections"], result["receivers"]) == (connections, receivers)
    assert result["sent"] == result["applied"] > 2000


@pytest.mark.parametrize(
    ("arguments", "universe"),
    [
        (("--universe", "hk", "--books", "--connections", "4", "--receivers", "2"), "hk"),
        (("--universe", "us", "--dialect", "ticks", "--frame-ticks", "100", "--connections", "4"), "us"),
        (("--dialect", "binance", "--books", "--connections", "2"), "crypto"),
        (("--universe", "hk", "--profile", "open", "--scale", "0.5"), "hk"),
    ],
    ids=["order books", "batches of a whole market", "binance", "opening"],
)
def test_every_market_is_taken_whole_in_every_dialect(arguments: tuple[str, ...], universe: str) -> None:
    result = play("--seconds", "0.3", *arguments)
    assert (result["universe"], result["ok"]) == (universe, True)
    assert result["sent"] == result["applied"] > 1000
    assert set(result["peak_rss_mb"]) >= {"simulator", "receiver-0", "worker-0"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("symbol-array", "--cumulative", "--frame-ticks", "20"),
        ("symbol-text", "--frame-ticks", "20"),
        ("symbol-wildcard",),
        ("symbol-query", "--connections", "2"),
        ("command-code",),
    ],
    ids=" ".join,
)
def test_every_dialect_of_relays_is_taken_whole_by_the_generic_vendor(arguments: tuple[str, ...]) -> None:
    result = play("--seconds", "0.3", "--symbols", "1000", "--workers", "1", "--dialect", *arguments)
    assert result["ok"] and result["sent"] == result["applied"] > 1000


def capture_of(path: Path, messages: int) -> Path:
    """Write a capture of `messages` Binance messages of one symbol, a fifth of each kind, and a REST answer."""
    with gzip.open(path, "wt") as file:
        for number in range(messages):
            data: dict[str, object]
            match number % 5:
                case 0:
                    stream, data = "depth@100ms", {"e": "depthUpdate", "s": "BTCUSDT", "b": [["1.0", "0"]], "a": []}
                case 1 | 2:
                    price = f"{61_000 + number % 50}.5"
                    stream = "trade"
                    data = {
                        "e": "trade",
                        "s": "BTCUSDT",
                        "t": number // 5 * 2 + number % 5,
                        "p": price,
                        "q": "0.1",
                        "T": 1723161255342 + number,
                    }
                    data |= {"m": True, "M": True}
                case _:
                    stream = "bookTicker"
                    data = {
                        "u": number,
                        "s": "BTCUSDT",
                        "b": f"{61_000 + number}.1",
                        "B": "3",
                        "a": "61900.2",
                        "A": "1.5",
                    }
            text = json.dumps({"stream": f"btcusdt@{stream}", "data": data}, separators=(",", ":"))
            file.write(f"{1723161253937085768 + number * 1000} {text}\n")
        file.write(f'{1723161253937085768 + messages * 1000} {{"lastUpdateId":1,"bids":[],"asks":[]}}\n')
    return path


def test_a_capture_is_applied_in_full_and_its_other_messages_are_counted(tmp_path: Path) -> None:
    capture = capture_of(tmp_path / "small.capture.gz", 5000)
    result = play("--capture", str(capture), "--speed", "max", "--symbols", "40")
    assert (result["universe"], result["symbols"]) == ("capture", 40)
    assert (result["sent"], result["applied"], result["ignored"], result["invalid"]) == (5001, 4000, 1001, 0)


def test_captured_order_books_and_tickers_are_applied_too(tmp_path: Path) -> None:
    books, tickers = tmp_path / "books.capture", tmp_path / "tickers.capture"
    with books.open("w") as file:
        for n in range(1000):
            sides = [
                [{"price": f"{9 + n % 7 + side}.{level}", "volume": "100"} for level in range(3)] for side in (0, 1)
            ]
            data = {
                "code": f"{n % 5}.HK",
                "seq": n,
                "tick_time": 1_700_000_000_000 + n,
                "bids": sides[0],
                "asks": sides[1],
            }
            if n % 3 == 0:
                data["asks"] = []
            file.write(f"{10**9 + n} {json.dumps({'cmd_id': 22999, 'data': data}, separators=(',', ':'))}\n")
    with tickers.open("w") as file:
        for n in range(1000):
            data = {"e": "24hrMiniTicker", "E": 1_700_000_000_000 + n, "s": f"S{n % 5}USDT", "c": f"{n + 1}", "o": "7"}
            data |= {"h": f"{n + 1}", "l": "1", "v": f"{n * 3}", "q": f"{n * 7}"}
            message = {"stream": f"s{n % 5}usdt@miniTicker", "data": data}
            file.write(f"{10**9 + n} {json.dumps(message, separators=(',', ':'))}\n")
    for capture in (books, tickers):
        result = play("--capture", str(capture), "--speed", "max")
        assert (result["symbols"], result["sent"], result["applied"]) == (5, 1000, 1000)


def test_two_demonstrations_run_at_once() -> None:
    arguments = ("demo", "--seconds", "0.5", "--symbols", "200", "--workers", "1", "--json")
    with started(*arguments) as first, started(*arguments) as second:
        assert [first.end(), second.end()] == [0, 0], first.err + second.err
        assert last_object(first.out)["ok"] and last_object(second.out)["ok"]


def test_the_first_interrupt_ends_it_with_the_verdict_so_far(feed_name: str) -> None:
    with started("demo", "--seconds", "60", "--symbols", "300", "--name", feed_name, "--json") as running:
        with attached(running, feed_name):
            running.send(signal.SIGINT)
        assert running.end() == 130
        result = last_object(running.out)
        assert result["ok"], running.err
        assert result["sent"] >= 300 and result["lost"] == 0
        assert "interrupted" in running.err


def test_the_second_interrupt_tears_everything_down_at_once(feed_name: str) -> None:
    with started("demo", "--seconds", "60", "--symbols", "300", "--name", feed_name, "--json") as running:
        with attached(running, feed_name) as market:
            # It cannot end by itself: what is published stays unapplied while the worker is stopped.
            for pid in pids(market, "worker"):
                os.kill(pid, signal.SIGSTOP)
            running.send(signal.SIGINT)
            running.until(lambda: "ending the market" in running.err)
            running.send(signal.SIGINT)
            assert running.end(timeout_s=5) == 130
        assert running.out == ""
        assert "aborted" in running.err


def test_an_interrupt_at_any_moment_leaves_nothing_behind(scratch: Path) -> None:
    # The runtime directory and the processes are looked at after every test; temporary files are looked at here.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        with started("demo", "--seconds", "2", "--symbols", "100", "--json") as running:
            # Not before its handlers are in place: until then it is a Python like any other.
            running.until(lambda running=running: "starting the simulator" in running.err)  # type: ignore[misc]
            time.sleep(random.uniform(0.0, 1.5))
            running.send(number)
            assert running.end() == 130, running.err
            assert "Traceback" not in running.err
            if running.out:
                result = last_object(running.out)
                assert result["lost"] == 0 and result["snapshot_matches"], running.err
    assert list(scratch.iterdir()) == []


def test_a_killed_worker_is_replaced_and_nothing_is_lost_or_applied_twice(feed_name: str) -> None:
    with started("demo", "--seconds", "60", "--workers", "2", "--name", feed_name, "--json") as running:
        with attached(running, feed_name) as market:
            for pid in pids(market, "worker"):
                os.kill(pid, signal.SIGKILL)
            running.until(lambda: market.status().restarts >= 2)
        end_market(running)
        assert running.end() == 0, running.err
        assert last_object(running.out)["ok"]


def test_a_killed_receiver_is_never_passed_over(feed_name: str) -> None:
    with started("demo", "--seconds", "60", "--symbols", "300", "--name", feed_name, "--json") as running:
        with attached(running, feed_name) as market:
            (pid,) = pids(market, "receiver")
            os.kill(pid, signal.SIGKILL)
            running.until(lambda: market.status().gaps)
        end_market(running)
        assert running.end() == 1, running.err
        result = last_object(running.out)
        assert result["ok"] is False
        # What it held is gone: that shows as a gap in the rows, and as a loss unless it held nothing.
        assert result["snapshot_matches"] is False and result["lost"] >= 0
        assert "gaps: expected 0" in running.err
        assert "NOT OK" in running.err


def test_a_simulator_that_dies_is_said_and_leaves_nothing(feed_name: str) -> None:
    with started("demo", "--seconds", "60", "--symbols", "300", "--name", feed_name, "--json") as running:
        with attached(running, feed_name):
            os.kill(simulator_of(running.process.pid), signal.SIGKILL)
        assert running.end() == 1
        assert running.out == ""
        assert "the simulator ended with exit status -9" in running.err
        assert "Traceback" not in running.err


def test_a_killed_demonstration_takes_all_its_processes_along(feed_name: str) -> None:
    arguments = ("demo", "--seconds", "60", "--symbols", "300", "--name", feed_name, "--json")
    with started(*arguments) as running, attached(running, feed_name) as market:
        children = [simulator_of(running.process.pid), *pids(market, "receiver"), *pids(market, "worker")]
        running.send(signal.SIGKILL)
        running.end()
        deadline = time.monotonic() + 30.0
        while alive := [pid for pid in children if Path(f"/proc/{pid}").exists()]:
            assert time.monotonic() < deadline, f"still alive: {alive}"
            time.sleep(0.02)
    # A killed supervisor cannot clear up; the next one of the same name does.
    result = play("--seconds", "0.2", "--symbols", "10", "--name", feed_name)
    assert result["ok"]


def test_what_a_killed_demonstration_leaves_is_removed_by_the_next(runtime_dir: Path, scratch: Path) -> None:
    with started("demo", "--seconds", "60", "--symbols", "300", "--json") as running:
        name = f"demo-{running.process.pid}"
        with attached(running, name) as market:
            children = [simulator_of(running.process.pid), *(each.pid for each in market.status().processes)]
        running.send(signal.SIGKILL)
        running.end()
    deadline = time.monotonic() + 30.0
    while any(Path(f"/proc/{pid}").exists() for pid in children):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert [path.name for path in runtime_dir.iterdir()] == [name]
    assert len(list(scratch.iterdir())) == 1
    play("--seconds", "0.2", "--symbols", "10")
    assert list(runtime_dir.iterdir()) == list(scratch.iterdir()) == []


def test_temporary_files_that_may_be_somebodys_are_left_alone(scratch: Path) -> None:
    alive, starting, foreign, open_to_all = (scratch / f"openbell-demo-{name}" for name in ("a", "b", "c", "d"))
    for directory in (alive, starting, foreign, open_to_all):
        directory.mkdir(mode=0o700)
    (starting / "lock").touch()
    (open_to_all / "lock").write_text("1 1\n")
    open_to_all.chmod(0o755)
    (scratch / "openbell-demo-link").symlink_to(foreign)
    with RoleLock(alive / "lock"):
        play("--seconds", "0.2", "--symbols", "10")
    left = ["openbell-demo-a", "openbell-demo-b", "openbell-demo-c", "openbell-demo-d", "openbell-demo-link"]
    assert sorted(path.name for path in scratch.iterdir()) == left


def test_a_capture_without_market_data_is_said_in_the_simulators_own_words(tmp_path: Path) -> None:
    capture = tmp_path / "empty.capture"
    capture.write_text('1 {"lastUpdateId":1}\n')
    done = run("demo", "--capture", str(capture))
    assert done.returncode == 1
    assert "no market data in it" in done.stderr and "Traceback" not in done.stderr


def end_market(running: Command) -> None:
    """End the market of a demonstration as if its time were over."""
    os.kill(simulator_of(running.process.pid), signal.SIGUSR1)


def simulator_of(pid: int) -> int:
    """Return the pid of the simulator that process `pid` started."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            parent = int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1])
        except OSError:
            continue
        if parent == pid and b"openbell.simulator" in words:
            return int(entry.name)
    raise AssertionError(f"process {pid} has no simulator")
