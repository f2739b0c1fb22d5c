"""Several connections in several receivers: each has its symbols and its light, and none depends on another."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from feed_process import lives
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

import openbell
from openbell.config import Change, Config, Feed, Source
from openbell.market import Market
from openbell.monitor.control import ConnectionState
from openbell.record import MarketStatus
from openbell.supervisor import Supervisor

pytestmark = pytest.mark.timeout(60)

SYMBOLS = tuple(f"S{number}" for number in range(8))


class Exchange:
    """A venue on loopback: it sends a symbol's trades to whoever subscribed to them last."""

    def __init__(self) -> None:
        self._server = serve(self._handle, "127.0.0.1", 0)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}"
        self.homes: dict[str, ServerConnection] = {}
        self.subscriptions = 0
        self.sent = 0
        self.numbers: Counter[str] = Counter()
        self._connections: list[ServerConnection] = []

    def _handle(self, connection: ServerConnection) -> None:
        self._connections.append(connection)
        try:
            for message in connection:
                request = json.loads(message)
                self.homes |= {stream.partition("@")[0].upper(): connection for stream in request["params"]}
                self.subscriptions += 1
                connection.send(json.dumps({"result": None, "id": request["id"]}))
        except ConnectionClosed:
            return

    def trade(self, rounds: int, symbols: tuple[str, ...] = SYMBOLS) -> None:
        """Send `rounds` trades of each of `symbols`, each over its connection."""
        for _ in range(rounds):
            for symbol in symbols:
                self.sent += 1
                self.numbers[symbol] += 1
                number = self.numbers[symbol]
                trade = {"e": "trade", "s": symbol, "t": number, "p": f"{self.sent}.5", "q": "2", "m": False}
                self.homes[symbol].send(json.dumps({"stream": f"{symbol.lower()}@trade", "data": trade}))

    def groups(self) -> set[tuple[str, ...]]:
        """Return which symbols share a connection."""
        homes = {id(home) for home in self.homes.values()}
        return {tuple(symbol for symbol in SYMBOLS if id(self.homes[symbol]) == home) for home in homes}

    def close(self) -> None:
        """Close without waiting for anybody's good-bye."""
        self._server.shutdown()
        for connection in self._connections:
            connection.socket.close()
        self._thread.join()


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    venue = Exchange()
    yield venue
    venue.close()


@pytest.fixture
def feed(exchange: Exchange, feed_name: str) -> Iterator[Supervisor]:
    """Run a feed of two sources, four connections, two receivers and two workers."""
    first, second = (
        Source(vendor="binance", symbols=symbols, url=exchange.url, connections=n, min_reconnect_s=0.05)
        for symbols, n in ((SYMBOLS[:6], 3), (SYMBOLS[6:], 1))
    )
    feed = Feed(name=feed_name, receivers=2, workers=2, ring_capacity=1024, symbols_capacity=64)
    with Supervisor(Config(feed=feed, sources=(first, second))) as supervisor:
        supervisor.start()
        yield supervisor


@pytest.fixture
def market(feed: Supervisor, feed_name: str) -> Iterator[Market]:
    with openbell.attach(feed_name) as attached:
        await_live(feed, attached)
        yield attached


def await_live(feed: Supervisor, market: Market, connections: int = 4, patience_s: float = 10.0) -> None:
    deadline = time.monotonic() + patience_s
    while [each.state for each in market.status().connections] != [ConnectionState.LIVE] * connections:
        assert time.monotonic() < deadline, market.status().connections
        feed.poll(0.01)


def await_applied(feed: Supervisor, market: Market, count: int, patience_s: float = 10.0) -> None:
    deadline = time.monotonic() + patience_s
    while market.status().applied < count:
        assert time.monotonic() < deadline, f"{market.status().applied} of {count} applied"
        feed.poll(0.01)


def gaps(market: Market) -> dict[str, int]:
    """Return the gaps of those symbols that have some."""
    snapshot = market.snapshot()
    return {symbol: int(count) for symbol, count in zip(snapshot.symbols, snapshot.gaps, strict=True) if count}


def pids(market: Market) -> dict[str, int]:
    return {process.name: process.pid for process in market.status().processes}


def test_symbols_and_connections_are_dealt_out_and_everything_arrives_in_order(
    feed: Supervisor, market: Market, exchange: Exchange
) -> None:
    assert exchange.groups() == {("S0", "S3"), ("S1", "S4"), ("S2", "S5"), ("S6", "S7")}
    exchange.trade(50)
    await_applied(feed, market, 400)
    status = market.status()
    assert [(each.label, each.receiver, each.symbols) for each in status.connections] == [
        ("binance 1/3", 0, 2),
        ("binance 2/3", 1, 2),
        ("binance 3/3", 0, 2),
        ("binance", 1, 2),
    ]
    assert (status.events, status.published, status.lost, status.gaps) == (400, 400, 0, 0)
    assert len(status.rings) == 4 and sum(ring.published for ring in status.rings) == 400
    snapshot = market.snapshot()
    assert [snapshot.row(symbol).last for symbol in SYMBOLS] == [392.5 + n + 1 for n in range(8)]
    assert set(snapshot.trades) == {50}


def test_one_connection_that_breaks_is_a_gap_and_leaves_the_others_up(
    feed: Supervisor, market: Market, exchange: Exchange
) -> None:
    exchange.trade(10)
    await_applied(feed, market, 80)
    before = exchange.subscriptions
    exchange.homes["S1"].close()
    deadline = time.monotonic() + 10
    while exchange.subscriptions == before:
        assert time.monotonic() < deadline
        feed.poll(0.01)
    await_live(feed, market)
    exchange.trade(10)
    await_applied(feed, market, 160)
    status = market.status()
    assert [(each.connects, each.disconnects) for each in status.connections] == [(1, 0), (2, 1), (1, 0), (1, 0)]
    # One interruption, told to both workers.
    assert (status.gaps, status.restarts, status.applied) == (2, 0, 160)
    assert gaps(market) == {"S1": 1, "S4": 1}


def test_a_killed_receiver_leaves_the_other_and_its_connections_alone(
    feed: Supervisor, market: Market, exchange: Exchange
) -> None:
    exchange.trade(10)
    await_applied(feed, market, 80)
    before = pids(market)
    subscriptions = exchange.subscriptions
    os.kill(before["receiver-0"], signal.SIGKILL)
    # The other one goes on while nobody has started the first one again.
    exchange.trade(10, ("S1", "S4", "S6", "S7"))
    deadline = time.monotonic() + 10
    while market.status().applied < 120:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    while exchange.subscriptions < subscriptions + 2:
        assert time.monotonic() < deadline
        feed.poll(0.01)
    await_live(feed, market)
    exchange.trade(10)
    await_applied(feed, market, 200)
    status, after = market.status(), pids(market)
    assert [each.connects for each in status.connections] == [2, 1, 2, 1]
    assert after["receiver-0"] != before["receiver-0"]
    assert {name: pid for name, pid in after.items() if name != "receiver-0"} == {
        name: pid for name, pid in before.items() if name != "receiver-0"
    }
    assert (status.restarts, status.gaps) == (1, 2)
    assert gaps(market) == {"S0": 1, "S3": 1, "S2": 1, "S5": 1}


def test_the_lights_of_a_killed_receivers_connections_go_out_and_no_others(
    feed: Supervisor, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It stays dead for as long as this test looks.
    monkeypatch.setattr(feed, "_start_again", lambda role, mode="run": None)
    os.kill(pids(market)["receiver-1"], signal.SIGKILL)
    live, down = ConnectionState.LIVE, ConnectionState.DOWN
    deadline = time.monotonic() + 10
    while [each.state for each in market.status().connections] != [live, down, live, down]:
        assert time.monotonic() < deadline, market.status().connections
        feed.poll(0.01)


def test_an_orderly_stop_of_several_receivers_applies_all_that_was_read(
    feed: Supervisor, market: Market, exchange: Exchange
) -> None:
    exchange.trade(200)
    receivers = [pid for name, pid in pids(market).items() if name.startswith("receiver")]
    assert feed.drain() == 0
    status = market.status()
    assert not any(lives(pid) for pid in receivers)
    assert status.published == status.applied == status.events > 0
    assert {each.state for each in status.connections} == {ConnectionState.DOWN}


def test_connections_under_pressure_all_get_rid_of_what_they_have(exchange: Exchange, feed_name: str) -> None:
    source = Source(vendor="binance", symbols=SYMBOLS, url=exchange.url, connections=4)
    config = Config(
        feed=Feed(name=feed_name, receivers=2, workers=1, ring_capacity=64, symbols_capacity=64), sources=(source,)
    )
    with Supervisor(config) as feed, openbell.attach(started(feed)) as market:
        await_live(feed, market)
        os.kill(pids(market)["worker-0"], signal.SIGSTOP)
        exchange.trade(100)
        control = feed.generation.open_control()
        deadline = time.monotonic() + 10
        # More episodes than receivers: several connections of one receiver hold back what they read.
        while sum(control.receiver_counters(index).pressure_episodes for index in range(2)) < 3:
            assert time.monotonic() < deadline
            feed.poll(0.01)
        os.kill(pids(market)["worker-0"], signal.SIGCONT)
        await_applied(feed, market, 800)
        status = market.status()
        assert (status.events, status.lost, status.restarts) == (800, 0, 0)
        snapshot = market.snapshot()
        assert [snapshot.row(symbol).last for symbol in SYMBOLS] == [792.5 + n + 1 for n in range(8)]


def test_what_a_policy_drops_while_a_feed_stops_is_counted_and_no_failure(exchange: Exchange, feed_name: str) -> None:
    source = Source(vendor="binance", symbols=SYMBOLS, url=exchange.url, connections=4, overflow="drop")
    config = Config(
        feed=Feed(name=feed_name, receivers=2, workers=1, ring_capacity=64, symbols_capacity=64), sources=(source,)
    )
    with Supervisor(config) as feed, openbell.attach(started(feed)) as market:
        await_live(feed, market)
        stopped = [pid for name, pid in pids(market).items() if name != "supervisor"]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        # More than the rings hold is in the sockets when the receivers are told to stop.
        exchange.trade(300)

        def wake() -> None:
            for pid in reversed(stopped):
                os.kill(pid, signal.SIGCONT)

        awake = threading.Timer(0.2, wake)
        awake.start()
        assert feed.drain() == 0
        awake.join()
        status = market.status()
        assert status.dropped > 0
        assert (status.lost, status.events) == (status.dropped, status.applied + status.dropped)


def test_a_symbol_that_nobody_asked_for_is_in_the_session_that_is_on(exchange: Exchange, feed_name: str) -> None:
    source = Source(vendor="binance", symbols=SYMBOLS[:1], url=exchange.url, open=True)
    on = (Change(0, 20260105, MarketStatus.OPEN), Change(2**62, 20260105, MarketStatus.CLOSED))
    feed = Feed(name=feed_name, workers=2, ring_capacity=1024, symbols_capacity=256)
    config = Config(feed=feed, sources=(source,), schedule=on)
    with Supervisor(config) as running, openbell.attach(started(running)) as market:
        await_live(running, market, 1)
        new = tuple(f"NEW{number}" for number in range(100))
        exchange.homes |= dict.fromkeys(new, exchange.homes["S0"])
        exchange.trade(1, new)
        deadline = time.monotonic() + 10
        while market.status().applied < 100 or set(market.snapshot()["status"]) != {MarketStatus.OPEN}:
            assert time.monotonic() < deadline, market.snapshot()["status"]
            running.poll(0.01)
        assert set(market.snapshot()["session"]) == {20260105}
        assert (len(market), market.status().applied) == (101, 100)


def test_what_was_received_before_a_session_began_is_of_the_one_before(exchange: Exchange, feed_name: str) -> None:
    source = Source(vendor="binance", symbols=SYMBOLS, url=exchange.url, overflow="conflate")
    roll_ns = time.time_ns() + 5 * 10**9
    schedule = (Change(0, 1, MarketStatus.OPEN), Change(roll_ns, 2, MarketStatus.OPEN), Change(2**62, 2, 1))
    feed = Feed(name=feed_name, workers=1, worker_rate_limit=200, ring_capacity=8, symbols_capacity=64)
    config = Config(feed=feed, sources=(source,), schedule=schedule)
    with Supervisor(config) as running, openbell.attach(started(running)) as market:
        await_live(running, market, 1)
        worker = pids(market)["worker-0"]
        # It goes on slowly, with more to take than the ring holds: there is time for the session to slip in.
        os.kill(worker, signal.SIGSTOP)
        exchange.trade(50)
        deadline = time.monotonic() + 20
        while market.status().events < 400 or time.time_ns() < roll_ns + 2 * 10**8:
            assert time.monotonic() < deadline
            running.poll(0.01)
        os.kill(worker, signal.SIGCONT)
        while set(market.snapshot().session) != {2}:
            assert time.monotonic() < deadline
            running.poll(0.01)
        snapshot = market.snapshot()
        assert market.status().conflated > 0
        assert set(snapshot.trades) == {0}
        assert [snapshot.row(symbol).prev_close for symbol in SYMBOLS] == [392.5 + n + 1 for n in range(8)]


def started(feed: Supervisor) -> str:
    """Start a feed and return its name."""
    feed.start()
    return feed.config.feed.name
