"""Stop signals as something to look at."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from openbell.signals import StopSignals, wait_readable


@pytest.fixture(autouse=True)
def handlers_are_put_back() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    after = {number: signal.getsignal(number) for number in before}
    for number, handler in before.items():
        signal.signal(number, handler)
    assert after == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_noted_and_interrupts_nothing(number: signal.Signals) -> None:
    with StopSignals() as signals:
        assert not signals.requested
        os.kill(os.getpid(), number)
        assert signals.wait(30.0)
        assert (signals.count, signals.last) == (1, number)
        os.kill(os.getpid(), number)
        assert signals.count == 2


def test_interrupts_that_were_ignored_are_heard() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.wait(30.0)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, before)


def test_signals_that_were_blocked_are_heard() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.wait(30.0)


def test_a_hangup_that_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not signals.wait(0.05)
    signal.signal(signal.SIGHUP, before)


def test_a_signal_ends_a_wait_at_once() -> None:
    with StopSignals() as signals:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        began = time.monotonic()
        wait_readable([signals.fileno()], 60.0)
        assert time.monotonic() - began < 30.0
        assert signals.requested


def test_a_flood_of_signals_blocks_nobody() -> None:
    with StopSignals() as signals:
        for _ in range(70_000):
            signals._note(signal.SIGTERM, None)
        assert signals.count == 70_000


def test_elsewhere_than_in_the_main_thread_nothing_is_installed() -> None:
    found: list[object] = []

    def enter() -> None:
        with StopSignals() as signals:
            found.append(signals.wait(0.01))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [False]
    assert signal.getsignal(signal.SIGTERM) == before


def test_waiting_for_nothing_is_a_sleep() -> None:
    began = time.monotonic()
    wait_readable([-1], 0.02)
    assert time.monotonic() - began >= 0.02
