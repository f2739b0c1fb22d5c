"""Subscriptions of a running feed: changed from outside, kept over a restart, within the rules of a venue that enforces
them."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from simulator_client import Process
from test_lifetimes_connections import Exchange

import openbell
from openbell.cli import main
from openbell.config import Config, Feed, Source
from openbell.config.subscribing import Subscribing
from openbell.control import Change, Fate, FeedControl
from openbell.control import client as clients
from openbell.errors import ConfigError, FeedError, FeedGone
from openbell.market import Market
from openbell.monitor.control import ConnectionState
from openbell.monitor.subscriptions import SubscriptionState as State
from openbell.reasons import Reason
from openbell.supervisor import Supervisor

pytestmark = pytest.mark.timeout(60)

PACE = Subscribing(pause_s=0.12, spacing_s=0.24, ack_s=2.0, retry_s=0.1)
RULES = ("--enforce", "--request-spacing", 0.1, "--connection-spacing", 0.2, "--codes-limit", 6)


class Running:
    """A feed, tended by a thread, and its market."""

    def __init__(self, name: str, *sources: Source, receivers: int = 1) -> None:
        feed = Feed(name=name, receivers=receivers, workers=1, ring_capacity=4096, symbols_capacity=64)
        self.name = name
        self._supervisor = Supervisor(Config(feed=feed, sources=sources))
        self._done = threading.Event()
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._tend)
        self.market: Market

    def _tend(self) -> None:
        # A supervisor lives in one thread.
        try:
            with self._supervisor as supervisor:
                supervisor.start()
                self._ready.set()
                while not self._done.is_set():
                    supervisor.poll(0.02)
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            self._failure = error
        finally:
            self._ready.set()

    def __enter__(self) -> Running:
        self._thread.start()
        assert self._ready.wait(30)
        assert self._failure is None, self._failure
        self.market = openbell.attach(self.name)
        return self

    def __exit__(self, *_: object) -> None:
        self.market.close()
        self.stop()

    def stop(self) -> None:
        self._done.set()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def until(self, true: Callable[[], object], what: str, patience_s: float = 15.0) -> None:
        deadline = time.monotonic() + patience_s
        while not true():
            assert time.monotonic() < deadline, f"waited in vain for {what}: {self.market.status().connections}"
            time.sleep(0.01)

    def live(self) -> bool:
        return {each.state for each in self.market.status().connections} == {ConnectionState.LIVE}

    def states(self) -> dict[str, State]:
        return {each.symbol: each.subscription.state for each in self.market.subscriptions()}

    def pid(self, name: str) -> int:
        return next(each.pid for each in self.market.status().processes if each.name == name)

    def errors(self) -> int:
        return sum(each.errors for each in self.market.status().connections)

    def updated(self, symbol: str) -> int:
        return int(self.market.receive_ns[self.market.row(symbol)])


@pytest.fixture
def venue() -> Iterator[Process]:
    """An exchange that speaks AllTick's protocol, has ten symbols, and holds everybody to its rules."""
    with Process("--symbols", 10, "--rate", 400, "--port", 0, *RULES) as process:
        yield process


def fates(changes: list[Change]) -> dict[str, Fate]:
    return {change.symbol: change.fate for change in changes}


def test_symbols_come_and_go_within_the_rules_of_a_venue_that_enforces_them(venue: Process, feed_name: str) -> None:
    ready = venue.event("ready")
    codes = ready["symbols"]
    source = Source(
        vendor="alltick", url=ready["url"], symbols=tuple(codes[:4]), connections=2, max_streams=6, subscribing=PACE
    )
    with Running(feed_name, source, receivers=2) as feed:
        market = feed.market
        feed.until(feed.live, "both connections")
        # Those of two receivers, of one token: nobody was turned away.
        assert feed.errors() == 0
        feed.until(lambda: all(feed.updated(code) for code in codes[:4]), "first trades")
        assert codes[4] not in market

        changes = market.subscribe([codes[4], codes[5], codes[6], codes[0], "700"])
        assert fates(changes) == {
            codes[4]: Fate.SUBSCRIBED, codes[5]: Fate.SUBSCRIBED, codes[6]: Fate.SUBSCRIBED,
            codes[0]: Fate.ALREADY, "700": Fate.REFUSED,
        }  # fmt: skip
        assert "'700' is no code of alltick; did you mean '700.HK'?" in changes[4].why
        feed.until(lambda: all(feed.updated(code) for code in codes[4:7]), "trades of what was added")
        status = market.status().connections
        assert sorted(each.symbols for each in status) == [3, 4], "each went where there were fewest"
        assert [each.connects for each in status] == [1, 1] and feed.errors() == 0

        assert fates(market.unsubscribe([codes[0], codes[4], codes[9]])) == {
            codes[0]: Fate.UNSUBSCRIBED, codes[4]: Fate.UNSUBSCRIBED, codes[9]: Fate.ABSENT,
        }  # fmt: skip
        seen = feed.updated(codes[4])
        time.sleep(0.3)
        assert feed.updated(codes[4]) == seen, "its row stays as it is"
        assert feed.states()[codes[4]] is State.UNSUBSCRIBED
        assert fates(market.subscribe([codes[4]])) == {codes[4]: Fate.SUBSCRIBED}
        feed.until(lambda: feed.updated(codes[4]) > seen, "its trades again")

        # All of one connection: the last list is cancelled with its kind, and comes back.
        mine = [each.symbol for each in market.subscriptions() if each.subscription.connection == 0]
        mine = [symbol for symbol in mine if feed.states()[symbol] is State.CONFIRMED]
        assert set(fates(market.unsubscribe(mine)).values()) == {Fate.UNSUBSCRIBED}
        assert market.status().connections[0].symbols == 0
        assert set(fates(market.subscribe(mine)).values()) == {Fate.SUBSCRIBED}
        assert [each.connects for each in market.status().connections] == [1, 1] and feed.errors() == 0
        assert market.status().lost == 0


def test_what_was_changed_outlives_a_receiver(venue: Process, feed_name: str) -> None:
    ready = venue.event("ready")
    codes = ready["symbols"]
    source = Source(
        vendor="alltick", url=ready["url"], symbols=tuple(codes[:3]), subscribing=PACE, min_reconnect_s=0.05
    )
    with Running(feed_name, source) as feed:
        market = feed.market
        feed.until(feed.live, "the connection")
        market.subscribe([codes[3]])
        market.unsubscribe([codes[0]])
        row = market.row(codes[0])
        os.kill(feed.pid("receiver-0"), signal.SIGKILL)
        # At once, while there is nobody to ask: the next receiver answers.
        assert fates(market.subscribe([codes[4]], timeout_s=10.0))[codes[4]] in (Fate.SUBSCRIBED, Fate.WAITING)
        feed.until(feed.live, "the connection again")
        expected = dict.fromkeys(codes[1:5], State.CONFIRMED) | {codes[0]: State.UNSUBSCRIBED}
        feed.until(lambda: feed.states() == expected, f"{expected}")
        before = feed.updated(codes[0])
        feed.until(lambda: feed.updated(codes[4]) and feed.updated(codes[3]), "trades")
        assert feed.updated(codes[0]) == before
        assert market.row(codes[0]) == row
        assert market.status().restarts == 1


def test_more_than_the_vendor_takes_is_refused_and_never_sent(venue: Process, feed_name: str) -> None:
    ready = venue.event("ready")
    codes = ready["symbols"]
    source = Source(vendor="alltick", url=ready["url"], symbols=tuple(codes[:5]), max_streams=6, subscribing=PACE)
    with Running(feed_name, source) as feed:
        feed.until(feed.live, "the connection")
        changes = feed.market.subscribe(codes[5:8])
        assert list(fates(changes).values()) == [Fate.SUBSCRIBED, Fate.REFUSED, Fate.REFUSED]
        assert "has 6 symbols, and takes 6" in changes[1].why
        # Six is what the venue takes: it would have dropped a seventh without a word.
        feed.until(lambda: all(feed.updated(code) for code in codes[:6]), "trades of all six")


def test_the_commands_say_what_came_of_it_and_so_does_their_status(
    feed_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Process("--dialect", "ticks", "--symbols", 6, "--rate", 300, "--port", 0) as venue:
        ready = venue.event("ready")
        codes = ready["symbols"]
        source = Source(vendor="ticks", url=ready["url"], symbols=(codes[0], "999999.SH", codes[1]), prefix="x:")
        with Running(feed_name, source) as feed:
            feed.until(feed.live, "the connection")
            feed.until(lambda: feed.states().get("x:999999.SH") is State.REFUSED, "the refusal of what there is not")
            assert feed.states() == {
                f"x:{codes[0]}": State.CONFIRMED, f"x:{codes[1]}": State.CONFIRMED, "x:999999.SH": State.REFUSED,
            }  # fmt: skip
            (connection,) = feed.market.status().connections
            assert (connection.confirmed, connection.refused, connection.unconfirmed) == (2, 1, 0)

            assert main(["subscribe", feed_name, f"x:{codes[2]}"]) == 0
            assert capsys.readouterr().out == f"x:{codes[2]}  subscribed\n"
            assert main(["subscribe", feed_name, "x:777777.SH", f"x:{codes[2]}", "y:A", "--json"]) == 1
            told = json.loads(capsys.readouterr().out.splitlines()[-1])
            assert (told["feed"], told["ok"]) == (feed_name, False)
            assert [(each["fate"], each["ok"]) for each in told["symbols"]] == [
                ("refused", False), ("already", True), ("refused", False),
            ]  # fmt: skip
            assert "unknown symbol 777777.SH" in told["symbols"][0]["why"]
            assert "no source has a prefix that it begins with; there are 'x:'" in told["symbols"][2]["why"]
            assert main(["unsubscribe", feed_name, f"x:{codes[2]}", "x:none", "--json"]) == 0
            told = json.loads(capsys.readouterr().out.splitlines()[-1])
            assert told["counts"] == {"unsubscribed": 1, "absent": 1}

            assert main(["symbols", feed_name, "--live", "--json"]) == 0
            told = json.loads(capsys.readouterr().out.splitlines()[-1])
            assert told["counts"] == {"confirmed": 2, "refused": 2, "unsubscribed": 1}
            said = {each["symbol"]: each["why"] for each in told["symbols"]}
            assert "unknown symbol 999999.SH" in said["x:999999.SH"]
            assert main(["symbols", feed_name, "--live"]) == 0
            assert "2 confirmed" in capsys.readouterr().out
            assert main(["subscribe", feed_name, "x:A", "--source", "2"]) == 2
            assert "has no source 2; there are 1 to 1" in capsys.readouterr().err
    assert main(["subscribe", feed_name, "x:A"]) == 1
    assert f"no feed {feed_name!r} is running" in capsys.readouterr().err


def test_late_ticks_of_an_unsubscribed_symbol_are_dropped_and_counted(feed_name: str) -> None:
    exchange = Exchange()
    try:
        source = Source(vendor="binance", url=exchange.url, symbols=("S0", "S1"))
        with Running(feed_name, source) as feed:
            feed.until(feed.live, "the connection")
            exchange.trade(1, ("S0", "S1"))
            feed.until(lambda: feed.market.status().applied == 2, "the first trades")
            assert fates(feed.market.unsubscribe(["S0"])) == {"S0": Fate.UNSUBSCRIBED}
            last = feed.market["S0"].last
            # Not every vendor stops at once.
            exchange.trade(5, ("S0", "S1"))
            feed.until(lambda: feed.market.status().applied == 7, "those of the other")
            assert feed.market.status().reasons == {Reason.IGNORED_LATE: 5}
            assert feed.market["S0"].last == last
            # The row is marked, wherever it is seen.
            taken = feed.market.snapshot()
            assert feed.market["S0"].subscription is taken.row("S0").subscription is State.UNSUBSCRIBED
            assert dict(zip(taken.symbols, taken.where(taken.trades > 0).subscriptions.tolist(), strict=True)) == {
                "S0": State.UNSUBSCRIBED, "S1": feed.market["S1"].subscription,
            }  # fmt: skip
            assert fates(feed.market.subscribe(["S0"])) == {"S0": Fate.SUBSCRIBED}
            exchange.trade(1, ("S0",))
            feed.until(lambda: feed.market["S0"].last != last, "its trades again")
            assert feed.market.status().reasons == {Reason.IGNORED_LATE: 5}
    finally:
        exchange.close()


def test_who_asks_a_feed_that_is_gone_or_stuck_is_told_so(
    venue: Process, feed_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = venue.event("ready")
    source = Source(vendor="alltick", url=ready["url"], symbols=tuple(ready["symbols"][:2]), subscribing=PACE)
    monkeypatch.setattr(clients, "_SLACK_S", 0.3)
    with Running(feed_name, source) as feed, FeedControl(feed_name) as control:
        feed.until(feed.live, "the connection")
        with pytest.raises(ConfigError, match="timeout_s must be from 0 to 600"):
            control.subscribe(["A"], timeout_s=1e6)
        pid = feed.pid("receiver-0")
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(FeedError, match=r"receiver-0 of feed .* does not answer; it may be stuck"):
                control.subscribe([ready["symbols"][2]], timeout_s=0.1)
            assert {each.subscription.state for each in control.subscriptions()} == {State.CONFIRMED}
        finally:
            os.kill(pid, signal.SIGCONT)
        with FeedControl(feed_name) as other, other._turn(1.0):
            monkeypatch.setattr(clients, "_RESTART_S", 0.2)
            with pytest.raises(FeedError, match="busy with somebody else's command"):
                control.subscribe([ready["symbols"][2]], timeout_s=0.1)
        feed.stop()
        with pytest.raises(FeedGone, match="was stopped"):
            control.subscribe([ready["symbols"][2]])


def test_what_several_sources_might_have_is_not_guessed(venue: Process, feed_name: str) -> None:
    ready = venue.event("ready")
    codes = ready["symbols"]
    one, two = (Source(vendor="alltick", url=ready["url"], symbols=(code,), subscribing=PACE) for code in codes[:2])
    with Running(feed_name, one, two) as feed:
        feed.until(feed.live, "both connections")
        (change,) = feed.market.subscribe([codes[2]])
        assert change.fate is Fate.REFUSED
        assert "it may be of several sources: 1 (alltick), 2 (alltick); say which" in change.why
        (change,) = feed.market.subscribe([codes[2]], source=2)
        assert (change.fate, change.connection) == (Fate.SUBSCRIBED, 1)
        with FeedControl(feed_name) as control:
            assert control.change(1, [codes[3], "700"], [codes[0]]).keys() == {"700"}
        expected = dict.fromkeys(codes[1:4], State.CONFIRMED) | {codes[0]: State.UNSUBSCRIBED}
        assert feed.states() == expected
