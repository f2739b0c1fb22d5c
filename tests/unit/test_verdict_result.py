"""The result of a demonstration: when it is ok, and what it tells people and programs."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from openbell.cli import main
from openbell.config import Overflow
from openbell.demo import Result
from openbell.monitor.control import FeedState
from openbell.monitor.histogram import Histogram
from openbell.monitor.status import Status
from openbell.reasons import Reason
from openbell.verdict import Difference, Verdict

RIGHT = Verdict(rows=3, columns=22, wrong=0, first=())
STATUS = Status(
    feed="test",
    generation=1,
    state=FeedState.STOPPING,
    uptime_ns=1,
    symbols=3,
    processes=(),
    connections=(),
    rings=(),
    frames=100,
    bytes=1000,
    events=100,
    published=90,
    applied=90,
    invalid=4,
    ignored=6,
    lost=0,
    conflated=0,
    dropped=0,
    gaps=0,
    reasons={Reason.PRICE_NOT_POSITIVE: 4, Reason.IGNORED_DEPTH: 6},
    last_batch_ns=0,
    backlog_peak=0,
    paused_ns=0,
    side_queue_peak=0,
    latency=Histogram(),
    exchange_latency=Histogram(),
)
SILENT = dataclasses.replace(STATUS, applied=0, invalid=0, ignored=0)
WRONG = Verdict(rows=3, columns=22, wrong=1, first=(Difference("600519.SH", "last", 1.5, 1.25),))
RESULT = Result(market="cn", symbols=3, sent=100, status=STATUS, verdict=RIGHT, seconds=2.0, interrupted=False)


def applied(count: int) -> Result:
    """Return a result in which `count` events were applied."""
    return dataclasses.replace(RESULT, status=dataclasses.replace(STATUS, applied=count))


def test_it_is_ok_if_everything_is_accounted_for_and_the_snapshot_matches() -> None:
    assert RESULT.lost == 0 and RESULT.ok
    assert RESULT.to_json() | {"receive_to_snapshot_ns": None} == {
        "universe": "cn",
        "symbols": 3,
        "connections": 0,
        "receivers": 0,
        "workers": 0,
        "overflow": "block",
        "sent": 100,
        "received": 100,
        "applied": 90,
        "invalid": 4,
        "ignored": 6,
        "conflated": 0,
        "dropped": 0,
        "lost": 0,
        "unaccounted": 0,
        "rows_with_gaps": 0,
        "snapshot_matches": True,
        "seconds": 2.0,
        "ticks_per_second": 45,
        "receive_to_snapshot_ns": None,
        "paused_seconds": 0.0,
        "peak_backlog": 0,
        "peak_waiting": 0,
        "peak_rss_mb": {},
        "ok": True,
    }
    assert RESULT.lines()[-1] == "OK"


@pytest.mark.parametrize(("count", "lost"), [(89, 1), (91, -1)])
def test_one_event_too_few_or_too_many_is_a_failure(count: int, lost: int) -> None:
    result = applied(count)
    assert (result.lost, result.ok) == (lost, False)
    assert result.lines()[-2:] == [f"lost: {lost}", "NOT OK"]


def overloaded(overflow: Overflow, *, conflated: int = 0, dropped: int = 0, **verdict: Any) -> Result:
    """Return a result in which 90 events were good, and not all of them found room."""
    status = dataclasses.replace(STATUS, applied=60, conflated=conflated, dropped=dropped, lost=dropped)
    return dataclasses.replace(RESULT, status=status, overflow=overflow, verdict=dataclasses.replace(RIGHT, **verdict))


def test_what_was_merged_is_in_the_snapshot_and_not_lost() -> None:
    result = overloaded("conflate", conflated=30)
    assert (result.lost, result.unaccounted, result.ok) == (0, 0, True)
    assert result.to_json()["conflated"] == 30
    # Merged is merged: every row must be right.
    assert not overloaded("conflate", conflated=30, wrong=1).ok
    assert not overloaded("conflate", conflated=29).ok
    assert not overloaded("conflate", conflated=31).ok


def test_what_was_dropped_by_policy_is_lost_counted_and_told() -> None:
    result = overloaded("drop", dropped=30, rows=1, excused=2, missing_trades=30)
    assert (result.lost, result.unaccounted, result.ok) == (30, 0, True)
    assert (result.to_json()["dropped"], result.to_json()["rows_with_gaps"]) == (30, 2)
    assert "lost: 30, of which 0 nobody has counted" in result.lines()
    assert any("2 rows tell a gap and are not compared; they lack 30 trades" in line for line in result.lines())


@pytest.mark.parametrize(
    "result",
    [
        overloaded("drop", dropped=29, excused=2),
        overloaded("drop", dropped=31, excused=2),
        overloaded("drop", dropped=30, excused=0),
        overloaded("drop", dropped=30, excused=2, missing_trades=31),
        overloaded("drop", dropped=30, excused=2, wrong=1),
        overloaded("block", dropped=30, excused=2),
        overloaded("conflate", dropped=30, excused=2),
    ],
    ids=["one uncounted", "one too many", "untold", "more missing", "wrong elsewhere", "block", "conflate"],
)
def test_dropping_excuses_nothing_else(result: Result) -> None:
    assert not result.ok


def test_peaks_of_memory_are_shown() -> None:
    result = dataclasses.replace(RESULT, peak_rss_mb={"receiver-0": 38.7, "worker-0": 18.9})
    assert "peak memory: receiver-0 38.7 MB, worker-0 18.9 MB" in result.lines()


def test_a_demonstration_of_nothing_proves_nothing() -> None:
    nothing = dataclasses.replace(RESULT, sent=0, status=SILENT)
    assert not nothing.ok
    assert nothing.lines()[-1] == "NOT OK"
    assert dataclasses.replace(nothing, interrupted=True).lines()[-1].startswith("no verdict: ")


def test_a_snapshot_that_differs_is_a_failure_and_the_first_differences_are_shown() -> None:
    result = dataclasses.replace(RESULT, verdict=WRONG)
    assert not result.ok
    assert "  600519.SH last: expected 1.5, found 1.25" in result.lines()


def test_every_reason_is_told_in_words() -> None:
    told = "\n".join(RESULT.lines())
    for reason in STATUS.reasons:
        assert reason.description in told


def test_an_interrupted_demonstration_says_so() -> None:
    assert "interrupted" in dataclasses.replace(RESULT, interrupted=True).lines()[-1]


def test_no_time_is_no_rate() -> None:
    assert dataclasses.replace(RESULT, seconds=0.0).to_json()["ticks_per_second"] == 0


def test_what_programs_get_is_json() -> None:
    assert json.loads(json.dumps(RESULT.to_json(), allow_nan=False))["ok"] is True


@pytest.mark.parametrize(
    ("change", "interrupted", "status"),
    [
        ({}, False, 0),
        ({}, True, 130),
        ({"sent": 101}, False, 1),
        ({"sent": 101}, True, 1),
        ({"verdict": WRONG}, True, 1),
        ({"sent": 0, "status": SILENT}, False, 1),
        ({"sent": 0, "status": SILENT}, True, 130),
    ],
    ids=[
        "ok",
        "cut short",
        "lost",
        "cut short and lost",
        "cut short and wrong",
        "nothing sent",
        "cut short before that",
    ],
)
def test_the_exit_status_of_a_demonstration_tells_a_bad_verdict_before_an_interrupt(
    change: dict[str, Any], interrupted: bool, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = dataclasses.replace(RESULT, interrupted=interrupted, **change)
    monkeypatch.setattr("openbell.demo.run_demo", lambda *arguments: result)
    assert main(["demo", "--json"]) == status
