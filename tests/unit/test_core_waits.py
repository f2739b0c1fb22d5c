"""What a worker does when there is nothing to do: every strategy delivers, none oversleeps its budget."""

from __future__ import annotations

import statistics
import time

import pytest
from corelab.oracle import Oracle
from corelab.records import Record, trade
from corelab.rig import AT_HEAD, C_PARKS, SECOND, Rig
from corelab.workers import PARK_NS, asleep, running, until

from openbell.core import words
from openbell.core.apply import WAITS

MS = 1_000_000


@pytest.mark.parametrize("wait", WAITS)
def test_every_strategy_applies_everything_in_bursts_and_out_of_the_silence(wait: str) -> None:
    rig = Rig(capacity=256, wait=wait)
    model = Oracle(rig.rows, rig.feed_row)
    records = [trade(number % 7, 1.0 + number, 1.0, sequence=number) for number in range(600)]
    with running(rig) as turns:
        done = 0
        for size in (1, 7, 1, 200, 1, 150, 40, 100, 100):
            rig.publish(records[done : done + size])
            done += size
            until(lambda done=done: rig.applied() == done)  # type: ignore[misc]
            time.sleep(0.002)
    assert done == 600
    model.apply_all(records)
    stopped = Record(0xFFFFFFFF, 0)
    rig.apply()
    model.apply([stopped], done)
    model.check(rig.copy())
    assert sum(turns) in (600, 601)


@pytest.mark.parametrize("wait", WAITS)
def test_a_worker_with_nothing_to_do_uses_its_budget_and_comes_back(wait: str) -> None:
    rig = Rig(wait=wait)
    before = time.monotonic_ns()
    assert rig.applier.run(30 * MS) == 0
    assert 30 * MS <= time.monotonic_ns() - before < 10 * SECOND


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("budget", [0, -1, 1])
def test_a_worker_without_time_comes_back_at_once(wait: str, budget: int) -> None:
    rig = Rig(wait=wait)
    before = time.monotonic_ns()
    assert rig.applier.run(budget) == 0
    assert time.monotonic_ns() - before < 10 * SECOND


@pytest.mark.parametrize("wait", WAITS)
def test_a_worker_under_steady_load_comes_back_when_its_budget_is_over(wait: str) -> None:
    rig = Rig(wait=wait, capacity=1 << 14)
    rig.publish([trade(0, 1.0)] * (1 << 14))
    assert rig.applier.run(1) == 64, "one batch, then it looks at the clock"
    assert rig.applier.backlog() == (1 << 14) - 64


@pytest.mark.parametrize("wait", ["park", "adaptive"])
def test_a_parked_worker_wakes_at_once(wait: str) -> None:
    # Were its bell not rung, it would sleep on to its time-out: half of it on average, and hardly ever a tenth.
    rig = Rig(wait=wait)
    delays = []
    with running(rig, 5 * PARK_NS):
        for number in range(21):
            until(lambda: asleep(rig))
            time.sleep(0.005)
            before = time.monotonic_ns()
            rig.publish([trade(0, 1.0)])
            until(lambda number=number: rig.applied() == number + 1)  # type: ignore[misc]
            delays.append(time.monotonic_ns() - before)
    assert statistics.median(delays) < PARK_NS / 10


def test_a_parked_worker_looks_up_by_itself_if_its_producer_died_before_it_rang() -> None:
    rig = Rig(wait="park")
    with running(rig, 5 * PARK_NS):
        until(lambda: asleep(rig))
        time.sleep(0.01)
        # What a producer leaves that is killed between its head and the bell.
        rig.writers[0].append(trade(0, 5.0).pack())
        words.store(rig.rings[0], AT_HEAD, 1)
        until(lambda: rig.applied() == 1)


def busy(wait: str) -> int:
    """Return the processor time that a worker takes to do nothing for a while, in ns."""
    rig = Rig(wait=wait)
    before = time.thread_time_ns()
    rig.applier.run(150 * MS)
    return time.thread_time_ns() - before


def test_a_quiet_market_costs_no_core_unless_it_was_asked_for() -> None:
    spinning = busy("spin")
    assert busy("park") < spinning / 5
    assert busy("adaptive") < spinning / 5


def test_only_strategies_that_sleep_count_their_sleeps() -> None:
    parks = {}
    for wait in WAITS:
        rig = Rig(wait=wait)
        rig.applier.run(5 * MS)
        parks[wait] = rig.counter(C_PARKS)
    assert parks["spin"] == parks["yield"] == 0
    assert parks["park"] >= 1
    assert parks["adaptive"] >= 1
