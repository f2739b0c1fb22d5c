"""A feed as its user runs it: simulate, run, status, snapshot, record, each as a command of its own."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from command_line import Command, command, environment, last_object, run, started

import openbell
from openbell.errors import FeedError
from openbell.memory import generation, runtime
from openbell.simulator import a_shares

SYMBOLS = 50
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


@dataclass(frozen=True)
class House:
    """What the tests of this file share: an exchange, and a feed that takes all of it."""

    directory: Path
    exchange_url: str
    feed: Command
    feed_name: str

    def config(self, feed_name: str) -> Path:
        """Return the configuration of a feed of another name."""
        path = self.directory / f"{feed_name}.toml"
        path.write_text(
            f'[feed]\nname = "{feed_name}"\nworkers = 2\n\n'
            f'[source]\nvendor = "alltick"\nurl = "{self.exchange_url}"\ntoken_env = "TEST_TOKEN"\n'
            'symbols_file = "symbols.txt"\n'
        )
        return path


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Start the exchange and the feed, once: their start costs far more than a look at them."""
    directory = tmp_path_factory.mktemp("house")
    (directory / "symbols.txt").write_text("\n".join(a_shares(SYMBOLS)))
    arguments = ("--port", "0", "--symbols", str(SYMBOLS), "--rate", "5000", "--json")
    with pytest.MonkeyPatch.context() as patch, started("simulate", *arguments) as exchange:
        patch.setenv("TEST_TOKEN", "a-secret-for-nobody")
        patch.setenv("OPENBELL_RUNTIME_DIR", str(directory / "runtime"))
        exchange.until(lambda: "\n" in exchange.out)
        url = json.loads(exchange.out.splitlines()[0])["url"]
        name = f"shared-{uuid.uuid4().hex[:12]}"
        with started("run", str(House(directory, url, exchange, name).config(name))) as running:
            running.until(lambda: applied(name) > 100)
            yield House(directory, url, running, name)
    assert [path for path in (directory / "runtime").rglob("*") if path.name != "runtime"] == []


@pytest.fixture
def house(shared: House, monkeypatch: pytest.MonkeyPatch) -> House:
    """Look for feeds where the shared one is."""
    monkeypatch.setenv("TEST_TOKEN", "a-secret-for-nobody")
    monkeypatch.setenv("OPENBELL_RUNTIME_DIR", str(shared.directory / "runtime"))
    return shared


@pytest.fixture
def config(shared: House, feed_name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the configuration of a feed that takes all of the shared exchange, in a runtime directory of its own."""
    monkeypatch.setenv("TEST_TOKEN", "a-secret-for-nobody")
    return shared.config(feed_name)


@pytest.fixture
def feed(config: Path, feed_name: str) -> Iterator[Command]:
    """Run a feed for one test; it has applied something when the test begins."""
    with started("run", str(config)) as running:
        running.until(lambda: applied(feed_name) > 100)
        yield running


def applied(feed_name: str) -> int:
    """Return how much a feed has applied; 0 if it does not run."""
    try:
        with openbell.attach(feed_name) as market:
            return market.status().applied
    except FeedError:
        return 0


def status_of(feed_name: str) -> Any:
    """Return what ``openbell status`` says about one feed, None if it does not run."""
    done = run("status", feed_name, "--json")
    return last_object(done.stdout)["feeds"][0] if done.stdout else None


def test_a_feed_runs_until_it_is_told_to_stop_and_that_is_its_normal_end(feed: Command, feed_name: str) -> None:
    feed.send(signal.SIGTERM)
    assert feed.end() == 0
    assert feed.out == ""
    assert "Traceback" not in feed.err and "a-secret-for-nobody" not in feed.err
    assert status_of(feed_name) is None


def test_status_tells_of_processes_connections_rings_counters_and_latencies(house: House) -> None:
    status = status_of(house.feed_name)
    assert [process["name"] for process in status["processes"]] == ["supervisor", "receiver-0", "worker-0", "worker-1"]
    assert all(process["healthy"] and process["restarts"] == 0 for process in status["processes"])
    assert status["processes"][0]["pid"] == house.feed.process.pid
    (connection,) = status["connections"]
    assert (connection["state"], connection["symbols"], connection["errors"]) == ("live", SYMBOLS, 0)
    assert [(ring["receiver"], ring["worker"]) for ring in status["rings"]] == [(0, 0), (0, 1)]
    counters = status["counters"]
    # Rings are read before counters: of a feed that goes on, what arrives in between is an event already.
    told = counters["published"] + counters["invalid"] + counters["ignored"] + counters["lost"]
    assert 100 < told <= counters["events"] < told + 5_000
    assert status["receive_to_snapshot_ns"]["p50"] > 0
    people = run("status")
    assert people.returncode == 0
    for word in (house.feed_name, "receiver-0", "live", "0 → 1", "applied", "p99.9"):
        assert word in people.stdout


def test_snapshot_prints_the_rows_asked_for_or_says_which_were_meant(house: House) -> None:
    done = run("snapshot", house.feed_name, "600519.SH", "000001.SZ", "--json")
    assert done.returncode == 0, done.stderr
    result = last_object(done.stdout)
    assert list(result["rows"]) == ["600519.SH", "000001.SZ"]
    row = result["rows"]["600519.SH"]
    assert row["low"] <= row["last"] <= row["high"]
    # Nothing has quoted: absent is null, never NaN, which is no JSON.
    assert row["bid"] is None and row["prev_close"] is None
    people = run("snapshot", house.feed_name, "--limit", "3")
    assert len([line for line in people.stdout.splitlines() if ".S" in line]) == 3
    assert f"{SYMBOLS - 3} more rows" in people.stdout
    wrong = run("snapshot", house.feed_name, "600519")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "did you mean 600519.SH" in wrong.stderr


def test_another_process_reads_the_market_by_the_five_lines_of_the_readme(house: House) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    _, _, rest = readme.partition("```python\n")
    lines = rest.partition("```")[0].replace('"cn"', repr(house.feed_name)) + "print(len(snapshot.symbols))\n"
    done = subprocess.run(
        [sys.executable, "-c", lines], env=environment(), capture_output=True, text=True, timeout=30, check=True
    )
    last, symbols = done.stdout.splitlines()
    assert float(last) > 0
    assert int(symbols) == SYMBOLS


def test_a_second_feed_of_the_same_name_is_refused(house: House) -> None:
    done = run("run", str(house.config(house.feed_name)))
    assert done.returncode == 1
    assert f"already running (pid {house.feed.process.pid})" in done.stderr
    assert status_of(house.feed_name)["processes"][0]["pid"] == house.feed.process.pid


def test_a_process_that_is_not_well_makes_status_fail(feed: Command, feed_name: str) -> None:
    worker = next(process for process in status_of(feed_name)["processes"] if process["name"] == "worker-1")
    os.kill(worker["pid"], signal.SIGSTOP)
    try:
        feed.until(lambda: run("status", feed_name).returncode == 1)
    finally:
        os.kill(worker["pid"], signal.SIGCONT)
    feed.until(lambda: run("status", feed_name).returncode == 0)


def test_watching_a_feed_draws_it_until_interrupted(house: House) -> None:
    with started("status", house.feed_name, "--watch") as watching:
        watching.until(lambda: "live" in watching.out)
        watching.send(signal.SIGINT)
        assert watching.end() == 0
    assert watching.err == ""


def test_watching_a_feed_that_stops_ends_with_a_message(feed: Command, feed_name: str) -> None:
    with started("status", feed_name, "--watch") as watching:
        watching.until(lambda: "live" in watching.out)
        feed.send(signal.SIGINT)
        assert feed.end() == 0
        assert watching.end() == 1
    assert "was stopped" in watching.err and "Traceback" not in watching.err


def test_what_is_recorded_can_be_played(config: Path, tmp_path: Path) -> None:
    capture = tmp_path / "short.capture.gz"
    done = run("record", str(config), str(capture), "--messages", "500", "--json")
    assert done.returncode == 0, done.stderr
    result = last_object(done.stdout)
    assert (result["messages"], result["ended"]) == (500, "messages")
    played = run("demo", "--capture", str(capture), "--speed", "max", "--json")
    assert played.returncode == 0, played.stderr
    assert last_object(played.stdout)["applied"] == 500


def test_a_recording_can_be_interrupted_before_the_vendor_answers(tmp_path: Path) -> None:
    capture = tmp_path / "old.capture"
    capture.write_text("1 {}\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}/"
        with started("record", url, str(capture), "--overwrite", "--json") as recording:
            connection, _ = silent.accept()
            with connection:
                assert connection.recv(4) == b"GET "
                recording.send(signal.SIGINT)
                assert recording.end(timeout_s=4.0) == 130
                assert last_object(recording.out)["ended"] == "stopped"
                assert "Traceback" not in recording.err
    assert [path.name for path in tmp_path.iterdir()] == ["old.capture"]
    assert capture.read_text() == "1 {}\n"


def test_a_recording_that_falls_short_of_its_limit_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_TOKEN", "any")
    with started("simulate", "--port", "0", "--symbols", "20", "--seconds", "0.5", "--json") as exchange:
        path = config_of(exchange, tmp_path)
        recorded = run("record", str(path), str(tmp_path / "cut.capture"), "--messages", "1000000")
        assert exchange.end() == 0
    assert recorded.returncode == 1, recorded.stderr
    assert "disconnected" in recorded.stdout
    assert (tmp_path / "cut.capture").stat().st_size > 0


def config_of(exchange: Command, directory: Path) -> Path:
    """Return the configuration of a feed that takes all of an exchange of 20 symbols, once that listens."""
    exchange.until(lambda: "\n" in exchange.out)
    url, symbols = json.loads(exchange.out.splitlines()[0])["url"], json.dumps(a_shares(20))
    path = directory / "feed.toml"
    path.write_text(
        f'[feed]\nname = "unused"\n[source]\nvendor = "alltick"\nurl = "{url}"\ntoken_env = "TEST_TOKEN"\n'
        f"symbols = {symbols}\n"
    )
    return path


def test_a_mistake_that_only_the_vendor_sees_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "feed.toml"
    path.write_text('[feed]\nname = "x"\n[source]\nvendor = "alltick"\nmarket = "moon"\nsymbols = ["A"]\n')
    for arguments in (("record", str(path), str(tmp_path / "a.capture")), ("run", str(path))):
        done = run(*arguments)
        assert done.returncode == 2
        assert done.stderr.startswith(f"openbell: {path}: source.market: ")
    assert not list(tmp_path.glob("a.capture*"))


def test_a_market_with_an_end_closes_by_itself_and_states_what_it_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_TOKEN", "any")
    oracle = tmp_path / "oracle.json"
    arguments = ("--port", "0", "--symbols", "20", "--seconds", "0.5", "--oracle", str(oracle), "--json")
    with started("simulate", *arguments) as exchange:
        path = config_of(exchange, tmp_path)
        recorded = run("record", str(path), str(tmp_path / "all.capture"), "--json")
        assert recorded.returncode == 0, recorded.stderr
        assert exchange.end() == 0
    done = last_object(exchange.out)
    assert done["event"] == "done"
    assert last_object(recorded.stdout)["messages"] == done["sent"] > 0
    assert json.loads(oracle.read_text())["counts"]["sent"] == done["sent"]


def test_a_market_cut_short_is_interrupted() -> None:
    with started("simulate", "--port", "0", "--seconds", "60") as exchange:
        exchange.until(lambda: "waiting for a subscriber" in exchange.out)
        exchange.send(signal.SIGINT)
        assert exchange.end() == 130
    assert "the market is closed: sent 0 events" in exchange.out


def test_an_interrupt_while_a_capture_is_checked_is_one(tmp_path: Path) -> None:
    capture = tmp_path / "endless.capture"
    os.mkfifo(capture)
    # A pipe opens once somebody reads, who then waits for what never comes.
    with started("simulate", "--port", "0", "--capture", str(capture), "--json") as exchange, capture.open("w"):
        exchange.send(signal.SIGINT)
        assert exchange.end() == 130, exchange.err
    assert "Traceback" not in exchange.err


def test_on_a_terminal_the_demonstration_draws_a_live_table() -> None:
    pid, terminal = on_a_terminal("demo", "--seconds", "1", "--symbols", "200")
    text, status = to_the_end(pid, terminal)
    assert status == 0, text
    for word in ("top movers", "ring 0 → 1", "since the start", "●", "200 rows", "OK"):
        assert word in text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["is stopped", "is killed"])
def test_a_terminal_is_given_back_whole_when_the_feed_that_is_watched(
    number: signal.Signals, feed: Command, feed_name: str
) -> None:
    pid, terminal = on_a_terminal("status", feed_name, "--watch")
    drawn = ""
    while "live" not in drawn:
        drawn += (chunk := _read(terminal)).decode("utf-8", "replace")
        assert chunk, f"it ended before that: {drawn}"
    feed.send(number)
    text, status = to_the_end(pid, terminal)
    drawn += text
    assert status == 1
    assert drawn.count(HIDE_CURSOR) == drawn.count(SHOW_CURSOR) == 1
    assert "\nopenbell: feed" in drawn.replace(SHOW_CURSOR, ""), "the message begins a line of its own"
    feed.end()
    if number == signal.SIGKILL:
        clean_up(feed_name)


def clean_up(feed_name: str) -> None:
    """Remove what a killed feed left behind."""
    lock = generation.claim(feed_name)
    generation.reclaim(lock)
    lock.release(remove=True)
    runtime.remove_if_empty(lock.path.parent)


def on_a_terminal(*arguments: str) -> tuple[int, int]:
    """Run ``openbell`` on a terminal of its own; return its pid and our end of the terminal."""
    words = command(*arguments)
    surroundings = environment() | {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "50"}
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(words[0], words, surroundings)
    return pid, terminal


def to_the_end(pid: int, terminal: int) -> tuple[str, int]:
    """Return what it still writes on the terminal, and its exit status."""
    drawn = b""
    while chunk := _read(terminal):
        drawn += chunk
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return drawn.decode("utf-8", "replace"), os.waitstatus_to_exitcode(status)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:
        # How a terminal tells that nobody holds its other side any more.
        return b""
