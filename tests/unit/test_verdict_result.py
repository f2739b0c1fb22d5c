"""The result of a demonstration: when it is ok, and what it tells people and programs."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from openbell.cli import main
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
        "sent": 100,
        "received": 100,
        "applied": 90,
        "invalid": 4,
        "ignored": 6,
        "lost": 0,
        "snapshot_matches": True,
        "seconds": 2.0,
        "ticks_per_second": 45,
        "receive_to_snapshot_ns": None,
        "ok": True,
    }
    assert RESULT.lines()[-1] == "OK"


@pytest.mark.parametrize(("count", "lost"), [(89, 1), (91, -1)])
def test_one_event_too_few_or_too_many_is_a_failure(count: int, lost: int) -> None:
    result = applied(count)
    assert (result.lost, result.ok) == (lost, False)
    assert result.lines()[-2:] == [f"lost: {lost}", "NOT OK"]


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
