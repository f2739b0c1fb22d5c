"""A vendor that misbehaves, fault by fault: what the feed does, what it counts and tells, and how soon it is back.

Each demonstration is real processes on real sockets, and ends with an account of every message. Some faults share one:
what one of them does to a connection is over before the next one begins.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from command_line import last_object, run, started

from openbell.simulator.faults import parse_fault

CALM = ("--patience", "20")
"""For faults that must not cost the connection; nor must a machine that stands still for a second."""
STATES = {"LIVE", "STALE", "DOWN", "CONNECTING", "SUBSCRIBING"}


def play(tmp_path: Path, faults: Sequence[str], *arguments: str, seconds: float) -> dict[str, Any]:
    """Run a demonstration with a schedule of faults, which must be right, and return its result."""
    schedule = tmp_path / "faults.json"
    schedule.write_text(json.dumps({"fault": list(faults)}))
    many = ("--symbols", "100", "--rate", "1000", "--seconds", str(seconds), "--workers", "1")
    done = run("demo", "--json", "--faults", str(schedule), *many, *arguments, timeout_s=90)
    assert done.returncode == 0, done.stderr
    result = last_object(done.stdout)
    # Rows and columns, reasons and gaps: `ok` says that all of them are what follows from what was received.
    assert result["ok"] and result["snapshot_matches"] and result["wrong"] == [], result["wrong"]
    assert [each["untold"] for each in result["connections"]] == [0] * len(result["connections"])
    assert [each["kind"] for each in result["faults"]] == [parse_fault(text).kind.name for text in faults]
    assert all(set(each["states"]) <= STATES for each in result["faults"])
    return result


def of(result: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return what came of the fault of a kind."""
    (found,) = [each for each in result["faults"] if each["kind"] == kind]
    assert isinstance(found, dict)
    return found


def back(fault: dict[str, Any]) -> float:
    """Return how long a connection took to be live again."""
    assert fault["recovered_s"] is not None, f"{fault['fault']} was not recovered from: {fault}"
    assert isinstance(fault["recovered_s"], float)
    return fault["recovered_s"]


def test_what_is_wrong_with_messages_is_counted_and_the_good_ones_are_applied(tmp_path: Path) -> None:
    faults = ("malformed=0.5@0.2s+0.4s", "bad-utf8=0.5@0.7s+0.4s", "unknown-enums=0.5@1.2s+0.4s", "error=201@1.7s")
    result = play(tmp_path, faults, *CALM, seconds=2)
    reasons = result["reasons"]
    assert set(reasons) == {"NOT_JSON", "NOT_UTF8", "SIDE_WRONG_TYPE"} and min(reasons.values()) > 50
    assert result["invalid"] == sum(reasons.values())
    assert result["applied"] + result["invalid"] == result["received"]
    # Nothing of that costs the connection, or is a gap.
    assert [each["lives"] for each in result["connections"]] == [1]
    assert result["connections"][0]["missing"] == result["connections"][0]["gaps"] == 0
    assert of(result, "malformed")["counted"]["NOT_JSON"] == reasons["NOT_JSON"]
    assert of(result, "error")["counted"]["errors"] == 1


@pytest.mark.parametrize("dialect", ["alltick", "binance", "ticks"])
def test_what_comes_twice_late_in_pieces_or_from_the_past_is_applied_as_it_comes(tmp_path: Path, dialect: str) -> None:
    faults = (
        *("duplicate=0.3@0.2s+0.2s", "reorder=0.3@0.5s+0.2s", "backward=0.3@0.8s+0.2s"),
        *("unknown-fields@1.1s+0.2s", "fragments@1.4s+0.2s", "bytes=0.05@1.7s+0.2s"),
    )
    result = play(tmp_path, faults, "--dialect", dialect, *CALM, seconds=2)
    (connection,) = result["connections"]
    assert (connection["lives"], connection["gaps"], connection["missing"]) == (1, 0, 0)
    assert result["invalid"] == result["ignored"] == 0
    assert result["received"] == result["applied"] > 1000
    assert connection["sent"] == connection["received"] >= result["received"]


def test_a_socket_that_is_mute_or_half_open_or_never_pongs_is_left(tmp_path: Path) -> None:
    result = play(tmp_path, ("mute@0.8s", "half-open@3s", "never-pong@5s"), seconds=7)
    mute, half_open, never_pong = (of(result, kind) for kind in ("mute", "half-open", "never-pong"))
    for fault, why in ((mute, "SILENT"), (half_open, "NO_PONG"), (never_pong, "NO_PONG")):
        assert fault["ended"][0] == why, fault
        assert "DOWN" in fault["states"] or "CONNECTING" in fault["states"], fault
        assert fault["gaps"] >= 1 and fault["noticed_s"] < back(fault), fault
    # It was asked by a ping, and answered; then for its data, which did not come.
    assert "STALE" in mute["states"]
    assert half_open["counted"]["missed_pongs"] >= 1 and never_pong["counted"]["missed_pongs"] >= 2
    (connection,) = result["connections"]
    assert connection["withheld"] > 200 and connection["missing"] >= connection["withheld"]


def test_a_stream_that_is_mute_for_a_while_leaves_a_gap_though_the_connection_holds(tmp_path: Path) -> None:
    # Longer than it takes to notice, and shorter than it takes to give up.
    result = play(tmp_path, ("mute@1s+0.7s",), seconds=3)
    mute = of(result, "mute")
    assert "STALE" in mute["states"], mute
    (connection,) = result["connections"]
    assert connection["withheld"] > 100 and connection["gaps"] >= 1


def test_ends_of_all_kinds_are_come_back_from(tmp_path: Path) -> None:
    faults = ("reset@0.4s", "close=1013@1.2s", "error-close=606@2s", "error-close=429@3s", "flap@4s+0.8s")
    result = play(tmp_path, faults, seconds=6.5)
    reset, close, refused, limited, flap = result["faults"]
    assert reset["ended"][0] == "CUT" and {each["ended"][0] for each in (close, refused, limited)} == {"CLOSED"}
    for fault in result["faults"]:
        assert fault["gaps"] >= 1 and back(fault) > 0, fault
    # After words like these it waits longer before it comes back.
    assert min(back(refused), back(limited)) >= 0.2
    assert len(flap["ended"]) >= 2
    (connection,) = result["connections"]
    assert connection["lives"] >= 6 and connection["gaps"] >= 5


def test_doors_that_are_shut_are_knocked_at_again(tmp_path: Path) -> None:
    result = play(tmp_path, ("no-upgrade@0.4s+1.5s", "http-429=1@3s+1.5s"), seconds=6.5)
    silent, refused = result["faults"]
    for fault in (silent, refused):
        assert fault["ended"] == ["CLOSED"] and fault["counted"]["errors"] >= 1, fault
        # Not before the door is open again, or the time is over that the vendor asked for.
        assert back(fault) >= 1.0, fault
        assert "CONNECTING" in fault["states"] or "DOWN" in fault["states"], fault
    assert result["connections"][0]["lives"] == 3


def test_subscriptions_are_asked_for_again_until_they_are_granted(tmp_path: Path) -> None:
    faults = ("slow-ack=0.6@0.4s+0.4s", "no-ack@1.6s+0.6s", "error-ack=600@3.2s+0.6s", "truncate=0.5@5.2s+0.3s")
    result = play(tmp_path, faults, seconds=6.5)
    slow, missing, refused, truncated = result["faults"]
    for fault in (slow, missing, refused):
        assert fault["ended"][0] == "CLOSED" and back(fault) > 0, fault
    assert missing["counted"]["retries"] >= 1
    assert refused["counted"]["errors"] >= 1
    # What a truncated subscription does not bring was never sent; what was is all there.
    assert back(truncated) > 0 and result["connections"][0]["missing"] == 0


def test_a_message_without_end_costs_the_connection_and_little_memory(tmp_path: Path) -> None:
    result = play(tmp_path, ("huge-frame@0.5s", "huge-fragments@1.7s"), seconds=3)
    for found in result["faults"]:
        assert found["ended"] == ["TOO_LARGE"] and found["counted"]["TOO_LARGE"] == 1, found
        assert found["gaps"] == 1 and back(found) > 0, found
    before, after = result["resources"]["receiver-0"]["private_mb"]
    assert after - before < 16, "of 64 MiB hardly anything was kept"


def test_a_shutdown_that_is_announced_costs_nothing(tmp_path: Path) -> None:
    result = play(tmp_path, ("shutdown@0.5s+2s",), "--dialect", "binance", seconds=3.5)
    found = of(result, "shutdown")
    assert found["ended"] == ["REPLACED"] and found["counted"]["switches"] == 1
    (connection,) = result["connections"]
    assert (connection["missing"], connection["gaps"]) == (0, 0)
    # What both sockets brought is in the snapshot once.
    assert result["reasons"].get("IGNORED_TWICE", 0) == result["ignored"] > 0


def test_trades_that_are_left_out_are_told_each_with_its_number(tmp_path: Path) -> None:
    result = play(tmp_path, ("hole=0.1@0.3s+1s",), "--dialect", "binance", "--books", *CALM, seconds=2)
    (connection,) = result["connections"]
    assert (connection["lives"], connection["gaps"], connection["untold"]) == (1, 0, 0)
    assert connection["missing"] == connection["withheld"] > 20
    # What is left out behind the last trade of a symbol, no number can tell.
    assert 0 < connection["holes"] <= connection["numbers_missing"] <= connection["withheld"]
    counted = of(result, "hole")["counted"]
    assert (counted["holes"], counted["missing"]) == (connection["holes"], connection["numbers_missing"])
    assert result["invalid"] == result["ignored"] == 0


def test_what_an_interruption_cost_is_told_in_numbers_and_is_no_gap_of_its_own(tmp_path: Path) -> None:
    faults = ("hole=0.1@0.2s+1.2s", "reset@0.8s", "close=1001@1.8s")
    result = play(tmp_path, faults, "--dialect", "binance", *CALM, seconds=3)
    (connection,) = result["connections"]
    assert (connection["lives"], connection["gaps"], connection["untold"]) == (3, 2, 0)
    assert connection["numbers_missing"] > connection["holes"] > 0
    holes, missing = (sum(each["counted"].get(name, 0) for each in result["faults"]) for name in ("holes", "missing"))
    assert missing == connection["numbers_missing"]
    # Each row's gaps are compared with the verdict; here those of the connection: what a reset cost is no hole.
    assert 0 < holes < connection["holes"]


def test_a_fault_of_one_connection_leaves_the_others_alone(tmp_path: Path) -> None:
    many = ("--connections", "2", "--receivers", "2", "--books")
    result = play(tmp_path, ("reset#0@0.5s", "close=1001#1@1.5s"), *many, seconds=2.5)
    reset, close = result["faults"]
    assert len(reset["connections"]) == len(close["connections"]) == 1
    assert sorted(each["lives"] for each in result["connections"]) in ([1, 3], [2, 2])
    assert sum(each["gaps"] for each in result["connections"]) == 2


def test_a_loss_that_nobody_told_is_found(tmp_path: Path, feed_name: str) -> None:
    schedule = tmp_path / "faults.json"
    schedule.write_text('{"fault": ["reset@30s"]}')
    many = ("--symbols", "50", "--rate", "1000", "--seconds", "60", "--workers", "1", "--name", feed_name)
    with started("demo", "--json", "--faults", str(schedule), *many) as running:
        running.until(lambda: " live  received" in running.err)
        children = {
            int(pid): Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\\0", b" ")
            for pid in Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text().split()
        }
        (receiver,) = [pid for pid, words in children.items() if b"receiver" in words]
        # What it read since it last wrote down how much that is, nobody knows.
        os.kill(receiver, signal.SIGKILL)
        running.until(lambda: running.err.count(" live  received") >= 4)
        running.send(signal.SIGINT)
        assert running.end() == 1, running.err
        result = last_object(running.out)
    assert not result["ok"] and result["wrong"]
