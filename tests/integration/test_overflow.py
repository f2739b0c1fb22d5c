"""Workers too slow for their market: each overload policy keeps its promise, and memory stays flat."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import last_object, run, started
from test_demo import attached, end_market, pids
from test_demo import scratch as scratch  # an autouse fixture, here as there

from openbell.market import Market

# Twice what two workers held to 37,500 records a second take.
OFFERED = ("--dialect", "ticks", "--frame-ticks", "50", "--symbols", "400", "--rate", "150000", "--workers", "2")
HELD = ("--slow-worker", "37500", "--seconds", "0.8")
ONE = ("--connections", "1", "--receivers", "1")
MANY = ("--connections", "4", "--receivers", "2")
MB = 1e6
# The excess of 0.8 seconds would be 4 MB as records, and half as much again as messages.
FLAT_MB = 2.0

both = pytest.mark.parametrize("many", [ONE, MANY], ids=["one connection", "four connections, two receivers"])


def private_mb(pid: int) -> float:
    """Return the memory that a process has for itself."""
    text = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    found = re.search(r"^RssAnon:\s*(\d+) kB", text, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024 / MB


def strained(market: Market) -> bool:
    """Say whether a ring has been full."""
    status = market.status()
    return status.paused_ns + status.conflated + status.dropped > 0


def overload(policy: str, many: tuple[str, ...], name: str) -> tuple[dict[str, Any], str, float]:
    """Run a demonstration under overload; return its result, what it said, and how the receivers grew, in MB."""
    grown = 0.0
    with started("demo", *OFFERED, *HELD, *many, "--overflow", policy, "--name", name, "--json") as running:
        with attached(running, name) as market:
            running.until(lambda: strained(market))
            receivers = pids(market, "receiver")
            time.sleep(0.1)
            before = {pid: private_mb(pid) for pid in receivers}
            while (status := market.status()).backlog and running.process.poll() is None:
                try:
                    grown = max(grown, *(private_mb(pid) - before[pid] for pid in receivers))
                except (OSError, AssertionError):
                    break  # It has ended in order.
                running.listen(0.05)
            assert status.restarts == 0
        assert running.end() == 0, running.err
        return last_object(running.out), running.err, grown


@both
def test_block_loses_nothing_and_recovers(many: tuple[str, ...], feed_name: str) -> None:
    result, _, grown = overload("block", many, feed_name)
    assert result["ok"] and result["overflow"] == "block"
    assert result["sent"] == result["received"] == result["applied"] > 60_000
    assert (result["lost"], result["conflated"], result["dropped"]) == (0, 0, 0)
    # The rings were full, and stayed as large as they are; the exchange was held up instead. What waits beside a ring
    # is the rest of one read.
    assert result["paused_seconds"] > 0.2
    assert result["peak_waiting"] < 10_000
    assert grown < FLAT_MB


@both
def test_conflate_ends_with_every_last_value_and_every_sum(many: tuple[str, ...], feed_name: str) -> None:
    result, said, grown = overload("conflate", many, feed_name)
    assert result["ok"] and result["snapshot_matches"] and "all 400 rows" in said
    assert result["conflated"] > result["sent"] / 10
    assert result["sent"] == result["received"] == result["applied"] + result["conflated"]
    assert (result["lost"], result["dropped"], result["rows_with_gaps"]) == (0, 0, 0)
    # What waits is one group of records a symbol, however long it lasts; the exchange was never held up.
    assert result["peak_waiting"] <= 400 * int(many[3])
    assert result["paused_seconds"] == 0
    assert grown < FLAT_MB


@both
def test_drop_counts_exactly_and_says_so(many: tuple[str, ...], feed_name: str) -> None:
    result, said, grown = overload("drop", many, feed_name)
    assert result["ok"]
    assert result["dropped"] > result["sent"] / 10
    assert result["sent"] == result["received"] == result["applied"] + result["dropped"]
    assert (result["lost"], result["unaccounted"], result["conflated"]) == (result["dropped"], 0, 0)
    assert result["rows_with_gaps"] > 0
    # Every event was a trade: what the rows lack is what was dropped, to the last one.
    assert f"they lack {result['dropped']:,} trades" in said
    assert result["peak_waiting"] == result["paused_seconds"] == 0
    assert grown < FLAT_MB


def test_what_is_dropped_for_one_worker_is_told_to_its_rows_alone(feed_name: str) -> None:
    # Small rings, and no worker that would be too slow if it were not stopped.
    arguments = (
        *("demo", "--seconds", "60", "--dialect", "ticks", "--symbols", "200", "--rate", "4000", "--workers", "2"),
        *("--slow-worker", "1000000", "--overflow", "drop", "--name", feed_name, "--json"),
    )
    with started(*arguments) as running:
        with attached(running, feed_name) as market:
            stopped = pids(market, "worker")[0]
            os.kill(stopped, signal.SIGSTOP)
            try:
                running.until(lambda: market.status().dropped > 100)
            finally:
                os.kill(stopped, signal.SIGCONT)
            running.until(lambda: market.status().gaps > 0)
        end_market(running)
        assert running.end() == 0, running.err
        result = last_object(running.out)
    assert result["ok"] and result["snapshot_matches"]
    assert 0 < result["rows_with_gaps"] < 200
    assert f"the other {200 - result['rows_with_gaps']} rows" in running.err
    assert f"they lack {result['dropped']:,} trades" in running.err


def test_order_books_are_merged_into_the_newest_one() -> None:
    arguments = ("--books", "--symbols", "200", "--rate", "20000", "--seconds", "0.5", "--slow-worker", "10000")
    done = run("demo", *arguments, "--overflow", "conflate", "--json")
    assert done.returncode == 0, done.stderr
    result = last_object(done.stdout)
    assert result["conflated"] > 0 and result["lost"] == 0
