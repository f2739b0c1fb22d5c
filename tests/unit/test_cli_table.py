"""The live table: who has moved most, and what a reader sees of it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from rich.console import Console

from openbell.market import Snapshot
from openbell.market.columns import NAMES
from openbell.monitor.control import ConnectionState, FeedState, ProcessState
from openbell.monitor.histogram import Histogram
from openbell.monitor.status import ConnectionStatus, ProcessStatus, RingStatus, Status
from openbell.monitor.table import FeedTable, top_movers

PRICES = {"last", "open", "high", "low", "prev_close", "bid", "ask"}


def snapshot_of(rows: dict[str, dict[str, float]]) -> Snapshot:
    """Return a snapshot; a column that a row does not give is empty."""
    columns: dict[str, Any] = {
        name: np.array([row.get(name, math.nan if name in PRICES else 0.0) for row in rows.values()]) for name in NAMES
    }
    return Snapshot.of_columns("test", tuple(rows), columns)


MARKET = snapshot_of(
    {
        "UP": {"open": 10.0, "last": 10.5},
        "DOWN": {"open": 10.0, "last": 9.0},
        "QUOTED": {"bid": 1.0, "ask": 2.0},
        "STILL": {"open": 10.0, "last": 10.0},
        "CLOSED": {"open": 10.0, "last": 10.2, "prev_close": 8.0},
    }
)


def status_of(**changed: Any) -> Status:
    """Return the status of a healthy feed, but for `changed`."""
    values: dict[str, Any] = {
        "feed": "cn",
        "generation": 1,
        "state": FeedState.RUNNING,
        "uptime_ns": 1_000_000_000,
        "symbols": 5,
        "processes": (ProcessStatus("worker-0", 1, ProcessState.RUNNING, 0, 1, 0, 0),),
        "connections": (ConnectionStatus(0, 0, "alltick", ConnectionState.LIVE, 1, 0, 0, 0, 1, 0, 5),),
        "rings": (RingStatus(0, 0, 64, 32, 0),),
        "latency": Histogram(),
        "exchange_latency": Histogram(),
        "reasons": {},
    }
    numbers = ("frames", "bytes", "events", "published", "applied", "invalid", "ignored", "lost", "gaps", "paused_ns")
    values |= dict.fromkeys((*numbers, "conflated", "dropped", "last_batch_ns", "backlog_peak", "side_queue_peak"), 0)
    return Status(**(values | changed))


class FakeMarket:
    """A market whose statuses are given."""

    def __init__(self, *statuses: Status) -> None:
        self._statuses = list(statuses)

    def status(self) -> Status:
        """Return the next one."""
        return self._statuses.pop(0)

    def snapshot(self) -> Snapshot:
        """Return the market."""
        return MARKET


def drawn(*statuses: Status) -> str:
    """Return the drawing of the last status."""
    table = FeedTable(FakeMarket(*statuses))  # type: ignore[arg-type]
    console = Console(width=120, color_system=None)
    with console.capture() as capture:
        console.print(table.render())
    return capture.get()


def test_movers_are_ordered_by_distance_from_the_close_or_else_the_open() -> None:
    assert [(MARKET.symbols[row], round(change, 6)) for row, change in top_movers(MARKET, 10)] == [
        ("CLOSED", 0.275),
        ("DOWN", -0.1),
        ("UP", 0.05),
        ("STILL", 0.0),
    ]


def test_no_more_movers_come_than_were_asked_for() -> None:
    assert len(top_movers(MARKET, 2)) == 2


def test_a_market_without_a_trade_has_no_movers() -> None:
    assert top_movers(snapshot_of({"A": {}, "B": {"bid": 1.0}}), 10) == []


def test_rates_are_those_since_the_drawing_before() -> None:
    text = drawn(
        status_of(events=1000, applied=900, bytes=1_000_000),
        status_of(uptime_ns=3_000_000_000, events=5000, applied=2900, bytes=5_000_000),
    )
    assert "2,000 events/s" in text and "1,000 applied/s" in text and "2.0 MB/s" in text


def test_the_fill_of_a_ring_and_the_state_of_a_connection_are_shown() -> None:
    text = drawn(status_of(), status_of())
    assert "██████░░░░░░ 32 of 64" in text
    assert "● live  alltick  5 symbols" in text


def connections_of(count: int, **changed: Any) -> tuple[ConnectionStatus, ...]:
    """Return `count` live connections; the second is `changed`."""
    live = [
        ConnectionStatus(n, 0, f"alltick {n + 1}/{count}", ConnectionState.LIVE, 1, 0, 0, 0, 1, 0, 5)
        for n in range(count)
    ]
    live[1] = replace(live[1], **changed)
    return tuple(live)


def test_a_few_connections_have_a_row_each() -> None:
    few = status_of(connections=connections_of(4, state=ConnectionState.STALE))
    text = drawn(few, few)
    assert text.count("●") == 4
    assert "● stale  alltick 2/4  5 symbols" in text


def test_many_connections_have_a_light_each_and_those_in_need_a_row() -> None:
    many = status_of(connections=connections_of(12, state=ConnectionState.DOWN, disconnects=3))
    text = drawn(many, many)
    assert "●" * 12 + "  11 of 12 live  60 symbols" in text
    assert "● down  alltick 2/12  5 symbols, 3 disconnects" in text
    assert text.count("●") == 13


def test_of_many_rings_the_fullest_are_shown() -> None:
    rings = tuple(RingStatus(n // 4, n % 4, 64, n, 0) for n in range(16))
    many = status_of(rings=rings)
    text = drawn(many, many)
    assert "ring 3 → 3" in text and "15 of 64" in text
    assert "ring 1 → 3" not in text
    assert "and 8 rings that are not fuller" in text


def test_a_line_counts_connections_by_state() -> None:
    table = FeedTable(FakeMarket(status_of(), status_of(connections=connections_of(4, state=ConnectionState.DOWN))))  # type: ignore[arg-type]
    assert "3 live, 1 down" in table.line()


def test_a_process_that_is_well_is_not_mentioned_and_one_that_was_restarted_is() -> None:
    assert "worker-0" not in drawn(status_of(), status_of())
    restarted = (ProcessStatus("worker-0", 1, ProcessState.RUNNING, 0, 1, 2, -9),)
    assert "running, 2 restarts" in drawn(status_of(), status_of(processes=restarted))


def test_quotes_are_shown_where_there_are_any() -> None:
    assert "bid" in drawn(status_of(), status_of())


def test_one_line_tells_the_same_where_there_is_no_terminal() -> None:
    table = FeedTable(FakeMarket(status_of(), status_of(uptime_ns=2_000_000_000, events=70, lost=3)))  # type: ignore[arg-type]
    line = table.line()
    assert "\n" not in line
    for words in ("live", "received 70 (70/s)", "lost 3", "rings 50%"):
        assert words in line


def test_what_was_merged_is_shown_where_something_was() -> None:
    assert "conflated" not in FeedTable(FakeMarket(status_of(), status_of())).line()  # type: ignore[arg-type]
    assert "conflated 12" in FeedTable(FakeMarket(status_of(), status_of(conflated=12))).line()  # type: ignore[arg-type]
    assert "conflated 12" in " ".join(drawn(status_of(), status_of(conflated=12)).split())
