"""A network that is slow, cuts, slices and drops, between a whole feed and the simulator."""

from __future__ import annotations

import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from simulator_client import Process
from tcp_proxy import Proxy, Toxics, proxied

import openbell
from openbell.config import Config, Feed, Liveness, Source, Subscribing
from openbell.demo.account import settle
from openbell.demo.observer import Observer
from openbell.market import Market
from openbell.monitor.control import ConnectionState
from openbell.monitor.history import EndReason
from openbell.receiver.backoff import Backoff
from openbell.simulator import SimulatorOptions
from openbell.simulator.faults.journal import read_journal
from openbell.simulator.faults.replay import Replay
from openbell.supervisor import Supervisor
from openbell.verdict import Counts, Oracle, compare

MARKET: dict[str, Any] = {"symbols": 50, "seed": 3}
QUICK = Liveness(
    ping_s=0.3,
    pong_s=0.3,
    silence_s=0.4,
    backoff_first_s=0.05,
    backoff_longest_s=0.2,
    stable_s=1.0,
    forgets_after_s=0.0,
)
PATIENCE_S = 30.0


class Scene:
    """A simulator, a network, and a feed behind it."""

    def __init__(
        self,
        process: Process,
        proxy: Proxy,
        feed: Supervisor,
        market: Market,
        observer: Observer,
        journal: Path,
        options: SimulatorOptions,
    ) -> None:
        self.proxy, self.market = proxy, market
        self._process, self._feed, self._observer, self._journal = process, feed, observer, journal
        self._options = options

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Let the feed run until something is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"no {what}: {self.market.status()}"
            self._feed.poll(0.02)
            self._observer.look(self.market.status())

    def lives(self) -> list[Any]:
        """Return the lives of the one connection."""
        return list(self._observer.lives(0))

    def settle(self) -> tuple[int, int]:
        """End the market and the feed; hold it to what it received. Return its events, and how many it lacks."""
        self._process.send(signal.SIGUSR1)
        self._process.event("done")
        quiet = _Quiet()
        self.until(lambda: quiet.after(self.market.status().events), "end of what is on its way")
        self._feed.drain()
        status, snapshot = self.market.status(), self.market.snapshot()
        self._observer.look(status)
        self._process.send(signal.SIGTERM)
        self._process.wait()
        replay = Replay(self._options)
        lives, gaps = self._observer.lives(0), self._observer.gaps(0)
        # The peers of the simulator are the proxy's sockets.
        known = [_Through(life, self.proxy.ports[life.local_port]) for life in lives]
        journal = read_journal(self._journal)
        slow_ns = round((self.proxy.toxics.latency_s + self.proxy.toxics.jitter_s + 5.0) * 1e9)
        offset_ns, holes = self._observer.clock_offset_ns, self._observer.holes(0)
        account = settle(journal, [("feed", known)], [gaps], offset_ns, replay, slow_ns, [holes])
        assert account.problems == []
        rows, _ = replay.apply(account.received)
        stated = Oracle(Counts(0, 0, 0, 0, 0), {symbol: dict(row) for symbol, row in rows.items()})
        verdict = compare(stated, snapshot, gaps=self._observer.gaps_of_rows())
        assert verdict.matches, [str(each) for each in verdict.first]
        assert status.events == account.events == status.applied and status.invalid == 0
        return account.events, account.connections[0].missing


class _Quiet:
    """Whether a number has stayed the same for a while."""

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds, self._number, self._since = seconds, -1, 0.0

    def after(self, number: int) -> bool:
        """Look at the number."""
        if number != self._number:
            self._number, self._since = number, time.monotonic()
        return time.monotonic() - self._since >= self._seconds


class _Through:
    """A life as the simulator saw it: the port is that of the proxy."""

    def __init__(self, life: Any, port: int) -> None:
        self.began_ns, self.ended_ns = life.began_ns, life.ended_ns
        self.messages, self.why, self.local_port = life.messages, life.why, port


@contextmanager
def scene(
    tmp_path: Path, feed_name: str, toxics: Toxics, liveness: Liveness = QUICK, rate: float = 1000.0
) -> Iterator[Scene]:
    """Run a simulator, a proxy before it, and a feed that connects to that."""
    journal = tmp_path / "journal"
    market_of = MARKET | {"rate": rate}
    arguments = [f"--{name}={value}" for name, value in market_of.items()]
    with Process(*arguments, "--journal", journal) as process:
        ready = process.event("ready")
        found = re.search(r":([0-9]+)/", ready["url"])
        assert found is not None
        with proxied(int(found[1]), toxics) as proxy:
            source = Source(
                vendor="alltick",
                url=ready["url"].replace(found[1], str(proxy.port)),
                symbols=tuple(ready["symbols"]),
                min_reconnect_s=0.05,
                liveness=liveness,
                subscribing=Subscribing(pause_s=0.0, ack_s=2.0, retry_s=0.2),
            )
            feed = Feed(name=feed_name, workers=1, ring_capacity=4096, symbols_capacity=256)
            config = Config(feed=feed, sources=(source,))
            with Supervisor(config) as supervisor:
                supervisor.start()
                with openbell.attach(feed_name) as market:
                    observer = Observer(supervisor.generation, config)
                    options = SimulatorOptions(**market_of)
                    yield Scene(process, proxy, supervisor, market, observer, journal, options)


def state(market: Market) -> ConnectionState:
    (connection,) = market.status().connections
    return connection.state


@pytest.mark.parametrize(
    ("toxics", "rate"),
    # A segment a byte is a system call a byte: that network is slow indeed.
    [
        (Toxics(latency_s=0.1, jitter_s=0.1), 1000.0),
        (Toxics(slice_bytes=1), 50.0),
        (Toxics(bytes_per_s=100_000), 1000.0),
    ],
    ids=["latency and jitter", "slicer", "bandwidth"],
)
def test_a_slow_network_delays_everything_and_loses_nothing(
    tmp_path: Path, feed_name: str, toxics: Toxics, rate: float
) -> None:
    # Data that is late for want of bandwidth is no silence; that a pong stands in its queue is no reason to leave.
    patient = Liveness(ping_s=2.0, pong_s=2.0, silence_s=2.0, backoff_first_s=0.05, backoff_longest_s=0.2)
    with scene(tmp_path, feed_name, toxics, patient, rate) as network:
        network.until(lambda: network.market.status().applied > 50 + rate / 2, "data")
        network.until(lambda: state(network.market) is ConnectionState.LIVE, "LIVE")
        events, missing = network.settle()
        assert events > 50 + rate / 2 and missing == 0
        assert [life.why for life in network.lives()] == [EndReason.STOPPED]


def test_a_reset_anywhere_in_the_stream_leaves_no_half_message(tmp_path: Path, feed_name: str) -> None:
    # Within the handshake, within a header, within a message, at its end.
    limits = [1, 50, 130, 200, 300, 301, 302, 303, *(random.Random(7).randrange(300, 20_000) for _ in range(8))]
    with scene(tmp_path, feed_name, Toxics(limit_data=limits[0])) as network:
        for limit in limits:
            before = network.proxy.connections
            network.proxy.toxics.limit_data = limit
            network.until(lambda before=before: network.proxy.connections > before, "another connection")  # type: ignore[misc]
        network.proxy.toxics.limit_data = None
        before = network.market.status().applied
        network.until(lambda: network.market.status().applied > before + 500, "data")
        ended = [life.why for life in network.lives()[:-1]]
        assert ended and set(ended) == {EndReason.CUT}
        # Every life that brought data, and ended, was a gap.
        assert all(life.told for life in network.lives()[:-1] if life.records)
        events, _ = network.settle()
        assert events > 500


def test_a_network_that_drops_everything_is_noticed_and_its_end_is_come_back_from(
    tmp_path: Path, feed_name: str
) -> None:
    with scene(tmp_path, feed_name, Toxics()) as network:
        network.until(lambda: network.market.status().applied > 500, "data")
        dropped = time.monotonic()
        network.proxy.toxics.dropping = True
        network.until(lambda: network.lives() and network.lives()[0].ended_ns, "end")
        noticed_s = time.monotonic() - dropped
        network.proxy.toxics.dropping = False
        network.until(lambda: state(network.market) is ConnectionState.LIVE, "LIVE")
        applied = network.market.status().applied
        network.until(lambda: network.market.status().applied > applied + 200, "data")
        assert network.lives()[0].why is EndReason.NO_PONG
        assert network.lives()[0].told
        # Two pings of 0.3 s each went unanswered, or one that silence gave cause for; a busy machine takes longer.
        assert noticed_s < 15, f"noticed after {noticed_s:.1f} s"
        _, missing = network.settle()
        assert missing > 0


def test_a_close_that_takes_its_time_is_a_close(tmp_path: Path, feed_name: str) -> None:
    with scene(tmp_path, feed_name, Toxics(close_after_s=0.3)) as network:
        network.until(lambda: network.market.status().applied > 200, "data")
        network.proxy.toxics.limit_data = 0
        network.until(lambda: network.lives() and network.lives()[0].ended_ns, "end")
        network.proxy.toxics.limit_data = None
        network.until(lambda: len(network.lives()) > 1 and state(network.market) is ConnectionState.LIVE, "LIVE")
        network.settle()


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_reconnecting_for_ever_stays_far_below_what_venues_allow(chance: float) -> None:
    # Binance: 300 attempts in five minutes from one address. The usual intervals, and a server that takes no time to
    # refuse: nothing but the pauses keeps attempts apart.
    usual = Liveness()
    backoff = Backoff(usual.backoff_first_s, usual.backoff_longest_s, chance=lambda: chance)
    moments, now = [], 0.0
    while now < 3600:
        moments.append(now)
        now += backoff.next_s()
    most = max(sum(begin <= moment < begin + 300 for moment in moments) for begin in moments)
    assert most < 30
    # Also where every connection lasts just long enough to count as good, and the pauses begin anew each time.
    assert 300 / (usual.stable_s + usual.backoff_first_s) < 300
