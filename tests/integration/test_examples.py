"""The examples that follow ticks: run as a user runs them, against a feed."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
from command_line import REPOSITORY, environment
from feed_driver import configure
from tick_feed import Tape

from openbell.supervisor import Supervisor

pytestmark = pytest.mark.timeout(60)

EXAMPLES = REPOSITORY / "examples"


def loaded(name: str) -> ModuleType:
    """Return an example as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Example:
    """A running example, and what it has printed."""

    def __init__(self, name: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-u", str(EXAMPLES / f"{name}.py"), *arguments],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        self.out = ""

    def until(self, said: str, supervisor: Supervisor, tape: Tape) -> None:
        """Write trades until it has printed `said`."""
        deadline = time.monotonic() + 30
        assert self.process.stdout is not None
        while said not in self.out:
            assert time.monotonic() < deadline and self.process.poll() is None, self.out
            # Each time above all prices before.
            tape.rise += 1.0
            tape.write(100)
            supervisor.poll(0.01)
            # Whatever is there: it does not block.
            with contextlib.suppress(BlockingIOError):
                self.out += os.read(self.process.stdout.fileno(), 1 << 16).decode()

    def end(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        _, err = self.process.communicate(timeout=20)
        assert (self.process.returncode, err) == (0, b"")


@pytest.fixture
def feed(feed_name: str) -> Iterator[Supervisor]:
    with Supervisor(configure(feed_name), receivers=False) as supervisor:
        supervisor.start()
        yield supervisor


def test_the_async_strategy_buys_what_breaks_out_and_forgets_what_lies_before_a_gap() -> None:
    strategy = loaded("strategy_async").Breakout()
    assert not any(strategy.on_trade("A", price) for price in range(20, 40))
    assert strategy.on_trade("A", 40.0)
    assert not strategy.on_trade("A", 40.0)
    assert not strategy.on_trade("B", 99.0)
    strategy.on_gap("A")
    assert not strategy.on_trade("A", 99.0)
    strategy.on_gap(None)
    assert not strategy.prices


def test_the_async_strategy_survives_a_restart_of_the_feed(feed_name: str) -> None:
    example = None
    try:
        for _ in range(2):
            with Supervisor(configure(feed_name), receivers=False) as supervisor:
                supervisor.start()
                tape = Tape(supervisor, symbols=3)
                tape.write(30)
                if example is None:
                    example = Example("strategy_async", feed_name, *tape.symbols)
                    example.until("buy", supervisor, tape)
                else:
                    example.until("gap: FEED_RESTART, unknown of all", supervisor, tape)
                    example.out = example.out.partition("FEED_RESTART")[2]
                    example.until("buy", supervisor, tape)
        assert example is not None
        example.end()
    finally:
        if example is not None:
            example.process.kill()
            example.process.communicate()


def test_the_spinning_strategy_tells_how_late_trades_are(feed: Supervisor, feed_name: str) -> None:
    tape = Tape(feed)
    example = Example("strategy_spin", feed_name, "--cpu", "0")
    try:
        example.until("trades  p50 ", feed, tape)
        example.end()
    finally:
        example.process.kill()
        example.process.communicate()


def test_the_indicators_are_those_of_a_loop_over_all_trades() -> None:
    random = np.random.default_rng(3)
    prices = loaded("indicators").Prices(8)
    history: list[list[float]] = [[] for _ in range(8)]
    for size in (1, 5, 700, 300):
        rows = random.integers(0, 7, size).astype(np.uint32)
        values = random.uniform(1, 100, size)
        prices.add(rows, values)
        for row, value in zip(rows, values, strict=True):
            history[row].append(value)
    scores = prices.z_scores()
    for row in range(7):
        last = np.array(history[row][-200:])
        assert scores[row] == pytest.approx((last[-1] - last.mean()) / last.std())
    assert np.isnan(scores[7])


def test_the_indicators_run_beside_a_feed(feed: Supervisor, feed_name: str) -> None:
    tape = Tape(feed)
    example = Example("indicators", feed_name)
    try:
        example.until(" trades, 0 missed; furthest: ", feed, tape)
        example.end()
    finally:
        example.process.kill()
        example.process.communicate()


@pytest.mark.parametrize("name", ["strategy_async", "strategy_spin", "indicators"])
def test_an_example_says_in_one_line_that_there_is_no_such_feed(name: str, feed_name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), feed_name],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"{name}: no feed '{feed_name}' is running") and done.stderr.count("\n") == 1


def test_the_spinning_strategy_names_the_processors_that_there_are(feed_name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "strategy_spin.py"), feed_name, "--cpu", "99999"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert "--cpu: this process may run on [" in done.stderr
