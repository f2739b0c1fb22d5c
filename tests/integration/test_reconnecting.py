"""A feed through the ends of its connections: replaced without a break, or with one gap; and what is repaired after."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import command_line
import msgspec
import numpy as np
import pytest

import openbell
from openbell.config import Config, Feed, Liveness, Source
from openbell.market import Market
from openbell.monitor.control import ConnectionState
from openbell.monitor.history import EndReason
from openbell.reasons import Reason
from openbell.supervisor import Supervisor
from openbell.verdict import Oracle, compare

pytestmark = pytest.mark.timeout(90)

QUICK = Liveness(backoff_first_s=0.05, backoff_longest_s=0.2)


@contextmanager
def simulator(*arguments: str) -> Iterator[command_line.Command]:
    """Run a simulator, and end it on the way out."""
    running = command_line.Command("simulate", "--port", "0", "--json", *arguments)
    try:
        running.until(lambda: '"ready"' in running.out)
        yield running
    finally:
        running.process.kill()
        running.end()


def said(simulator: command_line.Command, event: str) -> dict[str, Any]:
    """Return what the simulator said of an event."""
    lines = [json.loads(line) for line in simulator.out.splitlines() if line.startswith("{")]
    found = [line for line in lines if line["event"] == event]
    assert found, simulator.err
    assert isinstance(found[-1], dict)
    return found[-1]


@contextmanager
def feed(name: str, source: Source) -> Iterator[tuple[Supervisor, Market]]:
    config = Config(feed=Feed(name=name, workers=2, ring_capacity=16384, symbols_capacity=256), sources=(source,))
    with Supervisor(config) as supervisor:
        supervisor.start()
        with openbell.attach(name) as market:
            yield supervisor, market


def until(supervisor: Supervisor, condition: Any, what: str, patience_s: float = 30.0) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        supervisor.poll(0.01)


def test_a_connection_is_replaced_again_and_again_under_load_without_a_loss_or_a_double(
    feed_name: str, tmp_path: Path
) -> None:
    oracle = tmp_path / "oracle.json"
    market_of = ("--dialect", "binance", "--symbols", "50", "--rate", "4000", "--seconds", "5", "--linger")
    with simulator(*market_of, "--oracle", str(oracle)) as venue:
        ready = said(venue, "ready")
        liveness = msgspec.structs.replace(QUICK, replace_after_s=0.9, overlap_s=0.2)
        source = Source(vendor="binance", symbols=tuple(ready["symbols"]), url=ready["url"], liveness=liveness)
        with feed(feed_name, source) as (supervisor, market):
            until(supervisor, lambda: (venue.listen(0), '"done"' in venue.out)[1], "the market's end")
            supervisor.drain()
            status, snapshot = market.status(), market.snapshot()
            lives = market.history(0)
            verdict = compare(Oracle.load(oracle), snapshot)
    (connection,) = status.connections
    assert connection.switches >= 3, lives
    assert (connection.gaps, connection.disconnects, status.gaps) == (0, 0, 0)
    assert verdict.matches, verdict
    # What came over both is counted, once as applied and once as seen before.
    twice = status.reasons.get(Reason.IGNORED_TWICE, 0)
    assert twice > 0
    assert status.applied == said(venue, "done")["sent"]
    assert status.events == status.applied + twice
    whys = [life.why for life in lives]
    assert whys[: connection.switches] == [EndReason.REPLACED] * connection.switches
    # The stop may come while the next one is on its way.
    assert whys[connection.switches :] in ([EndReason.STOPPED], [EndReason.STOPPED] * 2)
    assert not any(life.told for life in lives)


def test_an_announced_shutdown_is_answered_by_a_connection_beside_it(feed_name: str) -> None:
    faults = ("--fault", "shutdown@1s+3s")
    with simulator("--dialect", "binance", "--symbols", "20", "--rate", "500", "--seconds", "30", *faults) as venue:
        ready = said(venue, "ready")
        liveness = msgspec.structs.replace(QUICK, overlap_s=0.1)
        source = Source(vendor="binance", symbols=tuple(ready["symbols"]), url=ready["url"], liveness=liveness)
        with feed(feed_name, source) as (supervisor, market):
            until(supervisor, lambda: market.status().connections[0].switches, "a switch")
            (connection,) = market.status().connections
            assert (connection.gaps, connection.state) == (0, ConnectionState.LIVE)
            assert [life.why for life in market.history(0)] == [EndReason.REPLACED, EndReason.OPEN]


def test_after_a_gap_the_latest_prices_are_asked_for_and_told_as_repaired(
    feed_name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("MY_TOKEN", "very-secret-token")
    # Quick enough to tell the market's end from the gap, slow enough that most symbols are not traded soon after it.
    venue_of = ("--symbols", "60", "--rate", "400", "--seconds", "30", "--fault", "no-upgrade@1s+1s")
    with simulator(*venue_of) as venue:
        ready = said(venue, "ready")
        liveness = msgspec.structs.replace(QUICK, repair_after_gap=True, repair_pause_s=0.05)
        source = Source(
            vendor="alltick",
            symbols=tuple(ready["symbols"]),
            url=ready["url"],
            token_env="MY_TOKEN",
            min_reconnect_s=0.05,
            liveness=liveness,
        )
        with feed(feed_name, source) as (supervisor, market):
            until(supervisor, lambda: market.status().connections[0].repairs, "repairs")
            until(supervisor, lambda: np.count_nonzero(market.repaired[market.rows]) > 0, "a repaired row")
            (connection,) = market.status().connections
            life = market.history(0)[0]
            shown = command_line.last_object(command_line.run("status", feed_name, "--history", "--json").stdout)
            people = command_line.run("status", feed_name, "--history").stdout
    assert connection.gaps == 1, "one gap, however many attempts failed within it"
    assert life.told
    assert (life.why, life.close_code) == (EndReason.CLOSED, 1001)
    assert life.gap_ns is not None
    counters = shown["feeds"][0]["counters"]
    assert counters["loop_lag_peak_s"] >= counters["loop_lag_s"] >= 0
    assert shown["feeds"][0]["connections"][0]["queue_peak_bytes"] >= 0
    past = shown["feeds"][0]["connections"][0]["history"]
    assert [each["why"] for each in past][:1] == ["closed"]
    assert past[0]["gap_told"] and past[0]["gap_s"] > 0
    assert "closed by the other side (1001)" in people
    assert "very-secret-token" not in people + json.dumps(shown)


def test_a_receiver_that_is_killed_leaves_its_successor_one_gap_and_a_life_to_end(feed_name: str) -> None:
    with simulator("--dialect", "ticks", "--symbols", "20", "--rate", "500", "--seconds", "30") as venue:
        ready = said(venue, "ready")
        source = Source(vendor="ticks", symbols=tuple(ready["symbols"]), url=ready["url"], liveness=QUICK)
        with feed(feed_name, source) as (supervisor, market):
            until(supervisor, lambda: market.history(0) and market.history(0)[0].messages, "data")
            pid = next(each.pid for each in market.status().processes if each.name == "receiver-0")
            os.kill(pid, signal.SIGKILL)
            until(supervisor, lambda: len(market.history(0)) == 2 and market.history(0)[1].live_ns, "a new life")
            (connection,) = market.status().connections
            first, second = market.history(0)
    assert (first.why, first.told, second.why) == (EndReason.RECEIVER_GONE, True, EndReason.OPEN)
    assert first.messages > 0
    assert first.next_live_ns == second.live_ns
    assert connection.gaps == 1
    assert connection.state is ConnectionState.LIVE


def test_a_subscription_that_the_vendor_cut_off_without_a_word_is_found_and_shown(feed_name: str) -> None:
    venue_of = ("--symbols", "40", "--rate", "4000", "--seconds", "60")
    with simulator(*venue_of, "--fault", "truncate@0+60s") as venue:
        ready = said(venue, "ready")
        liveness = msgspec.structs.replace(QUICK, symbol_silence_s=1.0)
        source = Source(vendor="alltick", symbols=tuple(ready["symbols"]), url=ready["url"], liveness=liveness)
        with feed(feed_name, source) as (supervisor, market):
            until(supervisor, lambda: market.status().connections[0].kept, "what was kept")
            (connection,) = market.status().connections
            people = command_line.run("status", feed_name).stdout
    assert (connection.kept, connection.silent, connection.confirmed) == (20, 20, 40)
    assert connection.state is ConnectionState.LIVE
    assert "40 (20 silent, only the first 20 come)" in people
