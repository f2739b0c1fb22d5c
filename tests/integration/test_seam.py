"""A copy of the market and the ticks after it: no hole and no double, under load, and while workers are killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from feed_driver import configure
from numpy.typing import NDArray
from tick_feed import Tape

import openbell
from openbell.errors import FeedError, UnknownSymbol
from openbell.market import seaming
from openbell.market.snapshot import Snapshot
from openbell.market.taking import take
from openbell.monitor.control import ProcessState
from openbell.record import GapReason
from openbell.supervisor import Supervisor

pytestmark = pytest.mark.timeout(90)

MODES = ("tap", "tethered")
FOLLOWERS = 2
KILLS = 3


@pytest.fixture
def feed(feed_name: str) -> Iterator[Supervisor]:
    with Supervisor(configure(feed_name, workers=2, ring_capacity=65_536), receivers=False) as supervisor:
        supervisor.start()
        yield supervisor


def kill_worker(supervisor: Supervisor, index: int) -> None:
    """Kill a worker, wherever it is, and have it started again."""
    slot = supervisor.generation.open_control().worker(index)
    killed = slot.pid
    os.kill(killed, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while slot.pid == killed or slot.state != ProcessState.RUNNING:
        assert time.monotonic() < deadline, "the worker was not started again"
        supervisor.poll(0.005)


class Following:
    """A copy, and what came after it."""

    def __init__(self, market: openbell.Market, mode: str) -> None:
        self.snapshot, self.ticks = market.snapshot_and_follow(mode=mode)  # type: ignore[arg-type]
        self.came: list[NDArray[np.void]] = []

    def look(self) -> None:
        """Take what is there."""
        self.came.append(self.ticks.read(1_000_000, timeout=0))

    def assert_no_hole_and_no_double(self, sent: dict[str, list[int]]) -> None:
        """Compare both with all that was sent."""
        assert (self.ticks.skipped, self.ticks.cuts, self.ticks.gaps) == (0, 0, 0)
        came = np.concatenate(self.came)
        assert (np.diff(came["receive_ns"]) >= 0).all(), "two rings were merged in the wrong order"
        for place, symbol in enumerate(self.snapshot.symbols):
            in_the_copy = sent[symbol][: int(self.snapshot.trades[place])]
            assert int(self.snapshot.trade_sequence[place]) == (in_the_copy[-1] if in_the_copy else 0)
            after = came["sequence"][came["row"] == self.snapshot.rows[place]]
            assert after.tolist() == sent[symbol][len(in_the_copy) :], symbol
        assert len(came) + int(self.snapshot.trades.sum()) == sum(map(len, sent.values()))


def test_the_ticks_after_a_copy_begin_with_the_first_record_that_it_does_not_hold(
    feed: Supervisor, feed_name: str
) -> None:
    tape = Tape(feed, max_hold_ms=20_000)
    followed: list[Following] = []
    with openbell.attach(feed_name) as market:
        with tape.running():
            for turn in range(KILLS):
                for mode in MODES:
                    for _ in range(FOLLOWERS):
                        followed.append(Following(market, mode))
                        feed.poll(0.001)
                for each in followed:
                    each.look()
                kill_worker(feed, turn % 2)
        for each in followed:
            each.look()
            each.assert_no_hole_and_no_double(tape.sent)
            each.ticks.close()
    copied = [int(each.snapshot.trades.sum()) for each in followed]
    assert copied[0] < copied[-1] < tape.count, "they began at different moments, all of them under way"


@pytest.mark.parametrize("mode", MODES)
def test_a_copy_that_begins_while_a_worker_is_dead_is_followed_without_a_hole(
    feed: Supervisor, feed_name: str, mode: str
) -> None:
    tape = Tape(feed, max_hold_ms=20_000)
    with openbell.attach(feed_name) as market:
        tape.write(500)
        slot = feed.generation.open_control().worker(0)
        os.kill(slot.pid, signal.SIGSTOP)
        tape.write(500)
        killed = slot.pid
        if mode == "tap":
            # It need not wait for anybody: what is published and not applied comes as ticks.
            following = Following(market, mode)
            os.kill(killed, signal.SIGKILL)
        else:
            os.kill(killed, signal.SIGKILL)
            waiting = threading.Thread(target=lambda: made.append(Following(market, mode)))
            made: list[Following] = []
            waiting.start()
            while waiting.is_alive():
                feed.poll(0.005)
            waiting.join()
            (following,) = made
        tape.write(500)
        deadline = time.monotonic() + 20
        while market.status().applied < tape.count:
            assert time.monotonic() < deadline
            feed.poll(0.005)
        following.look()
        following.assert_no_hole_and_no_double(tape.sent)
        following.ticks.close()


def test_a_tethered_reader_does_not_wait_for_ever_for_a_worker_that_stands_still(
    feed: Supervisor, feed_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seaming, "APPLY_S", 0.2)
    tape = Tape(feed)
    pid = feed.generation.open_control().worker(0).pid
    os.kill(pid, signal.SIGSTOP)
    try:
        tape.write(200)
        with openbell.attach(feed_name) as market, pytest.raises(FeedError, match="did not apply within 0 s"):
            market.snapshot_and_follow(mode="tethered")
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_tethered_reader_that_is_cut_while_it_copies_is_told_what_it_missed(
    feed_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*args: Any) -> Snapshot:
        # Twice the ring: what was published when it joined is gone when the copy is made.
        tape.write(2 * 256, symbol)
        return take(*args)

    monkeypatch.setattr(seaming, "take", slow)
    with ExitStack() as stack:
        supervisor = Supervisor(configure(feed_name, workers=1, ring_capacity=256), receivers=False)
        stack.enter_context(supervisor).start()
        tape = Tape(supervisor, max_hold_ms=20)
        symbol = tape.symbols[0]
        market = stack.enter_context(openbell.attach(feed_name))
        snapshot, ticks = market.snapshot_and_follow(mode="tethered")
        tape.write(100, symbol)
        came = list(iter(lambda: ticks.take(0), None))
        gaps = [tick.gap for tick in came if tick.gap is not None]
        assert [gap.reason for gap in gaps] == [GapReason.CUT]
        assert gaps[0].count == ticks.skipped
        assert gaps[0].first == 0
        copied = int(snapshot.trades[snapshot.symbols.index(symbol)])
        given = [tick.sequence for tick in came if tick.gap is None]
        # What the copy holds is not given again, and all that was not told as missed is.
        assert given == [number for number in tape.sent[symbol] if number > max(copied, ticks.skipped)]
        ticks.close()


def test_some_symbols_are_copied_and_followed(feed: Supervisor, feed_name: str) -> None:
    tape = Tape(feed)
    tape.write(300)
    wanted = tape.symbols[2:5]
    with openbell.attach(feed_name) as market:
        snapshot, ticks = market.snapshot_and_follow(wanted, kinds="trade")
        assert snapshot.symbols == tuple(wanted)
        taken = snapshot.trades.tolist()
        tape.write(300)
        for place, symbol in enumerate(wanted):
            assert int(taken[place]) <= len(tape.sent[symbol])
        came = [(tick.symbol, tick.sequence) for tick in iter(lambda: ticks.take(0), None)]
        assert sorted(came) == sorted(
            (symbol, number) for place, symbol in enumerate(wanted) for number in tape.sent[symbol][int(taken[place]) :]
        )
        ticks.close()
        with pytest.raises(UnknownSymbol):
            market.snapshot_and_follow(["nobody"])
