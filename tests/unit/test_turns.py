"""Requests of one account keep apart, whichever connection, receiver or feed they come from."""

from __future__ import annotations

import fcntl
import itertools
import logging
import random
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from openbell.config import Source
from openbell.receiver.turns import CONNECT_SLACK_S, Turns, earliest, new_name
from openbell.secret import Secret


@pytest.fixture(autouse=True)
def runtime_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the files of these accounts away from everybody else's."""
    monkeypatch.setenv("OPENBELL_RUNTIME_DIR", str(tmp_path))


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def shared(path: Path, clock: Clock, spacing_s: float = 3.0) -> Turns:
    return Turns(path / "account", spacing_s, clock)


def test_without_a_rule_nobody_waits_and_nothing_is_written(tmp_path: Path, clock: Clock) -> None:
    turns = Turns(tmp_path / "account", 0.0, clock)
    assert turns.connect("a", 2, 1.2) == turns.ask("b", 1, 0.0, 0.0) == 1_000
    assert list(tmp_path.iterdir()) == []


def test_connections_that_start_together_leave_each_other_time_for_all_their_requests(
    tmp_path: Path, clock: Clock
) -> None:
    first, second = shared(tmp_path, clock), shared(tmp_path, clock)
    assert first.connect("a", 2, 1.2) == 1_000
    behind = 1_000 + CONNECT_SLACK_S + 1.2 + 3.0
    assert second.connect("b", 2, 1.2) == pytest.approx(behind)
    # The first one was connected soon enough: it asks at once, and both its requests keep clear of the second one.
    clock.now += 0.3
    assert first.ask("a", 2, 1.2, 0.0) == pytest.approx(1_000.3)
    # The second one was slow: its second request might come too close to the third one, which goes first.
    third = second.connect("c", 2, 1.2)
    assert third is not None
    assert third == pytest.approx(behind + CONNECT_SLACK_S + 1.2 + 3.0)
    clock.now = behind + CONNECT_SLACK_S + 1.0
    assert second.ask("b", 2, 1.2, 0.0) == pytest.approx(third + CONNECT_SLACK_S + 1.2 + 3.0)


def test_one_connections_requests_go_by_their_own_pause(tmp_path: Path, clock: Clock) -> None:
    turns = shared(tmp_path, clock)
    assert turns.ask("a", 1, 1.2, 0.0) == 1_000
    assert turns.ask("a", 1, 1.2, 1_001.2) == 1_001.2
    assert turns.ask("b", 1, 1.2, 0.0) == 1_004.2
    assert turns.ask("a", 1, 1.2, 1_002.4) == pytest.approx(1_007.2), "not even between two of another"


def test_a_gap_that_is_large_enough_is_used(tmp_path: Path, clock: Clock) -> None:
    turns = shared(tmp_path, clock)
    turns.ask("a", 1, 1.2, 1_000)
    turns.ask("b", 1, 1.2, 1_010)
    assert turns.ask("c", 2, 1.2, 0.0) == 1_003
    assert turns.ask("d", 1, 1.2, 0.0) == pytest.approx(1_013), "what is left between them is too small"


def test_whatever_is_asked_for_in_whatever_order_no_two_connections_come_too_close(
    tmp_path: Path, clock: Clock
) -> None:
    chance = random.Random(11)
    turns = [shared(tmp_path, clock) for _ in range(3)]
    moments: dict[str, list[float]] = {}
    last: dict[str, float] = {}
    for _ in range(200):
        clock.now += chance.choice([0.0, 0.1, 2.0])
        name, count = chance.choice("abcdef"), chance.randint(1, 3)
        at = chance.choice(turns).ask(name, count, 1.2, last.get(name, 0.0) + 1.2)
        assert at is not None
        assert at >= clock.now
        moments.setdefault(name, []).extend(at + 1.2 * number for number in range(count))
        last[name] = max(moments[name])
    for mine, yours in itertools.combinations(moments, 2):
        assert min(abs(a - b) for a in moments[mine] for b in moments[yours]) >= 3 - 1e-6


def test_a_moment_of_long_ago_or_of_another_run_of_the_machine_holds_nobody_up(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "account").write_bytes(
        msgspec.json.encode([(800.0, "x", False), (999_999.0, "y", False), (998.0, "z", False)])
    )
    assert shared(tmp_path, clock).ask("a", 1, 1.2, 0.0) == 1_001


@pytest.mark.parametrize("text", [b'[[1000.0,"x"', b"\xff", b'{"a":1}', b"[[null]]"])
def test_a_file_that_was_half_written_is_begun_anew(tmp_path: Path, clock: Clock, text: bytes) -> None:
    (tmp_path / "account").write_bytes(text)
    turns = shared(tmp_path, clock)
    assert turns.ask("a", 1, 1.2, 0.0) == 1_000
    assert turns.ask("b", 1, 1.2, 0.0) == 1_003


def test_a_lock_is_waited_for_a_moment_and_then_done_without(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    turns = shared(tmp_path, clock)
    with (tmp_path / "account").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert turns.ask("a", 1, 1.2, 0.0) is None
        clock.now += 1
        assert turns.ask("a", 1, 1.2, 0.0) is None
        clock.now += 1.5
        with caplog.at_level(logging.WARNING):
            assert turns.ask("a", 1, 1.2, 0.0) == clock.now
    assert "is locked by a process that does not run" in caplog.text
    assert turns.ask("b", 1, 1.2, 0.0) == clock.now + 3, "those of one process keep apart all the same"


def test_without_a_directory_the_connections_of_a_process_keep_apart(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    turns = Turns(tmp_path / "nowhere" / "account", 3.0, clock)
    assert [turns.ask(name, 1, 1.2, 0.0) for name in "ab"] == [1_000, 1_003]
    assert caplog.text.count("cannot be opened") == 1


def test_two_feeds_with_one_token_share_a_file_whose_name_does_not_tell_the_token(tmp_path: Path) -> None:
    one = Source(vendor="alltick", symbols=("A",), token_env="ONE")
    other = Source(vendor="alltick", symbols=("B",), token_file="/two")
    for source, token in ((one, "c0ffee-secret"), (other, "c0ffee-secret"), (other, "tea")):
        Turns.of(source, Secret(token), 3.0).ask(new_name(), 1, 1.0, 0.0)
    names = [path.name for path in tmp_path.iterdir()]
    assert len(names) == 2
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    assert "c0ffee" not in "".join(names) + "".join(path.read_text() for path in tmp_path.iterdir())


def test_processes_share_their_turns(tmp_path: Path) -> None:
    program = """
import sys, time
from pathlib import Path
from openbell.receiver.turns import Turns, new_name
turns, at = Turns(Path(sys.argv[1]), 1.0), None
while at is None:
    at = turns.ask(new_name(), 1, 0.0, 0.0)
print(at)
"""
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "account")], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    moments = sorted(float(process.communicate(timeout=30)[0]) for process in started)
    assert all(later - earlier >= 1 - 1e-6 for earlier, later in itertools.pairwise(moments))


def test_the_earliest_moment_keeps_clear_of_all_others() -> None:
    assert earliest([], 5.0, [0.0], 3.0) == 5
    assert earliest([6.0], 5.0, [0.0], 3.0) == 9
    assert earliest([10.0, 6.0], 1.0, [0.0, 1.0], 3.0) == 1
    assert earliest([10.0, 6.0], 2.5, [0.0, 1.0], 3.0) == 13
