"""When a socket may ask and when its heart beats; and what its subscriber remembers from one socket to the next."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import math
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from openbell.config import Source
from openbell.config.subscribing import Subscribing
from openbell.monitor import subscriptions as segment
from openbell.monitor.subscriptions import Subscriptions
from openbell.monitor.subscriptions import SubscriptionState as State
from openbell.receiver.board import Board
from openbell.receiver.desired import Changes, Desired
from openbell.receiver.ratelimit import RateLimitedLog
from openbell.receiver.session import Session
from openbell.receiver.subscriber import Outcome, Subscriber
from openbell.receiver.turns import Turns
from openbell.vendors import Ack, HeartbeatAck, Notice, Refusal
from openbell.vendors.alltick import AllTick
from openbell.vendors.binance import Binance
from openbell.vendors.ticks import PlainTicks

LOCAL = "ws://127.0.0.1:1/"


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Block:
    """A connection's words."""

    symbols = confirmed = refused = unconfirmed = 0

    def __init__(self) -> None:
        self.added: dict[str, int] = {}

    def add(self, name: str, count: int = 1) -> None:
        self.added[name] = self.added.get(name, 0) + count

    def set_time(self, name: str) -> None:
        assert name == "last_ack_ns"


class Table:
    """A symbol table in a list."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.muted: set[bytes] = set()

    def insert(self, key: bytes) -> int:
        if key not in self.keys:
            self.keys.append(key)
        return self.keys.index(key)

    def lookup(self, key: bytes) -> int:
        return self.keys.index(key) if key in self.keys else -1

    def mute(self, key: bytes) -> bool:
        self.muted.add(key)
        return True

    def unmute(self, key: bytes) -> bool:
        self.muted.discard(key)
        return True


class Stage:
    """A subscriber with a clock of its own, and the messages of its sockets with the time of each."""

    def __init__(
        self, vendor: type[AllTick | Binance | PlainTicks] = AllTick, *, turns: Turns | None = None,
        clock: Clock | None = None, desired: Desired | None = None, table: Table | None = None,
        body: memoryview | None = None, **source: object,
    ) -> None:  # fmt: skip
        self.clock = clock or Clock()
        self.block = Block()
        self.table = table or Table()
        self.body = memoryview(bytearray(segment.size(64))) if body is None else body
        made = Source(**({"vendor": vendor.name, "symbols": ("A", "B"), "url": LOCAL} | source))  # type: ignore[arg-type]
        self.vendor = vendor(made)
        self.subscriber = Subscriber(
            made, self.vendor, self.block, RateLimitedLog(logging.getLogger("openbell.receiver")),
            turns=turns or Turns(clock=self.clock),
            board=Board(self.table, Subscriptions(self.body), made.prefix, 3), desired=desired, clock=self.clock,
        )  # fmt: skip
        self.sent: list[tuple[float, bytes]] = []
        self.sent_before = 0
        self.session = self.open()

    def open(self, *, beside: bool = False) -> Session:
        session = self.subscriber.open(lambda: None, beside=beside)
        session.begin()
        return session

    def send(self, payload: bytes) -> None:
        self.sent.append((self.clock.now, payload))

    def run(self, seconds: float, then: Callable[[], None] = lambda: None) -> None:
        """Let time pass, in the steps that the session asks for; `then` happens after each."""
        until = self.clock.now + seconds
        while True:
            self.session.step(self.send)
            then()
            if (at := self.session.step(self.send)) > until:
                break
            self.clock.now = max(self.clock.now, at)
        self.clock.now = until

    def step(self) -> list[bytes]:
        before = len(self.sent)
        self.session.step(self.send)
        return [payload for _, payload in self.sent[before:]]

    def grant(self) -> None:
        """Grant what was asked for since the last time."""
        asked, self.sent_before = self.sent[self.sent_before :], len(self.sent)
        for _, payload in asked:
            request = json.loads(payload)
            if request.get("cmd_id") == 22000:
                self.session.on_control(HeartbeatAck())
            else:
                self.session.on_control(Ack(request.get("seq_id", request.get("id"))))

    def commands(self) -> list[tuple[float, int]]:
        return [(at - 1_000, json.loads(payload)["cmd_id"]) for at, payload in self.sent]

    def state(self, symbol: str) -> State:
        return Subscriptions(self.body).read(self.table.lookup(symbol.encode())).state


# ---- pace ----


def test_requests_and_heartbeats_of_alltick_are_never_closer_than_it_allows() -> None:
    chance = random.Random(3)
    stage = Stage(streams=("trade", "book"))
    names = (f"{number}.HK" for number in itertools.count(1))

    def disturb() -> None:
        stage.grant()
        if chance.random() < 0.3:
            stage.subscriber.subscribe([next(names)])

    stage.table.insert = lambda key: 0  # type: ignore[method-assign]
    for _ in range(200):
        stage.run(1.5, disturb)
    times = [at for at, _ in stage.commands()]
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= 1.2 - 1e-6
    beats = [at for at, command in stage.commands() if command == 22000]
    gaps = [later - earlier for earlier, later in itertools.pairwise([0.0, *beats])]
    assert len([command for _, command in stage.commands() if command == 22004]) > 20
    assert min(gaps) >= 10 - 1e-6
    assert max(gaps) <= 10 + 4 * 1.2, "requests without end do not keep a heartbeat back"


def test_a_heartbeat_that_would_collide_waits_for_the_request() -> None:
    stage = Stage()
    stage.run(9.5, stage.grant)
    assert stage.commands() == [(0.0, 22004)]
    stage.subscriber.subscribe(["3.HK"])
    stage.run(5.0)
    assert stage.commands()[1:] == [(9.5, 22004), (pytest.approx(10.7), 22000)]


def test_a_request_that_would_collide_waits_for_the_heartbeat() -> None:
    stage = Stage()
    stage.run(10.3, stage.grant)
    stage.subscriber.subscribe(["3.HK"])
    stage.run(5.0)
    assert stage.commands()[1:] == [(10.0, 22000), (pytest.approx(11.2), 22004)]


def test_a_heartbeat_is_sent_while_a_turn_is_waited_for() -> None:
    clock = Clock()
    turns = Turns(spacing_s=3.0, clock=clock)
    stage = Stage(turns=turns, clock=clock)
    stage.run(2.0, stage.grant)
    for number in range(6):
        turns.ask(f"other {number}", 1, 1.2, 0.0)
    stage.run(2.0)
    stage.subscriber.subscribe(["3.HK"])
    stage.run(40.0, stage.grant)
    (asked,) = [at for at, command in stage.commands() if command == 22004 and at > 1]
    assert asked == pytest.approx(21.0), "three seconds after the last of the others"
    assert [at for at, command in stage.commands() if command == 22000][:2] == [10.0, pytest.approx(22.2)]


def test_two_sockets_of_a_token_keep_apart_from_connecting_on() -> None:
    clock = Clock()
    turns = Turns(spacing_s=3.0, clock=clock)
    one = Stage(turns=turns, clock=clock, streams=("trade", "book"))
    other = Stage(turns=turns, clock=clock, streams=("trade", "book"))
    assert asyncio.run(one.session.turn_s()) == 0
    wait_s = asyncio.run(other.session.turn_s())
    assert wait_s == pytest.approx(0.5 + 1.2 + 3.0)
    one.run(2.0, one.grant)
    clock.now = 1_000 + wait_s
    other.run(2.0, other.grant)
    assert [at for at, _ in one.commands()] == [0.0, pytest.approx(1.2)]
    assert [at for at, _ in other.commands()] == [pytest.approx(wait_s), pytest.approx(wait_s + 1.2)]


def test_a_turn_that_was_missed_is_taken_anew() -> None:
    clock = Clock()
    turns = Turns(spacing_s=3.0, clock=clock)
    turns.ask("other", 1, 0.0, 0.0)
    stage = Stage(turns=turns, clock=clock)
    assert stage.session.step(stage.send) == pytest.approx(1_003.0)
    # This process did not run for a while, and somebody else has a turn now.
    turns.ask("third", 1, 0.0, 1_004.0)
    clock.now = 1_005.0
    assert stage.session.step(stage.send) == pytest.approx(1_009.0)
    assert stage.sent == []


def test_batches_go_with_a_pause_where_requests_add() -> None:
    stage = Stage(
        PlainTicks, symbols=tuple(f"S{number}" for number in range(45)), subscribing=Subscribing(pause_s=0.05)
    )
    stage.run(1.0, stage.grant)
    assert [len(json.loads(payload)["symbols"]) for _, payload in stage.sent] == [20, 20, 5]
    times = [at for at, _ in stage.sent]
    assert all(later - earlier >= 0.05 - 1e-6 for earlier, later in itertools.pairwise(times))
    assert stage.block.confirmed == 45


def test_changes_within_a_pause_go_into_one_list() -> None:
    stage = Stage()
    stage.step()
    stage.grant()
    for symbol in ("3.HK", "4.HK", "5.HK"):
        stage.subscriber.subscribe([symbol])
    stage.subscriber.unsubscribe(["B"])
    stage.run(5.0, stage.grant)
    assert len(stage.sent) == 2
    codes = [each["code"] for each in json.loads(stage.sent[1][1])["data"]["symbol_list"]]
    assert codes == ["A", "3.HK", "4.HK", "5.HK"]


# ---- answers ----


def test_what_the_vendor_says_is_explained_with_what_becomes_of_it(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.step()
    with caplog.at_level(logging.WARNING):
        stage.session.on_control(Refusal(605, "too many requests", None, passing=True))
        stage.session.on_control(Refusal(401, "token invalid", 77))
        stage.session.on_control(Ack(78))
        stage.session.on_control(HeartbeatAck())
        stage.session.on_control(Notice("going down", leaving=True))
    first, second, third, fourth = (record.getMessage() for record in caplog.records)
    assert "reports error 605: 'too many requests': a request came sooner than a second" in first
    assert first.endswith("(A, B: asked again later)")
    assert "look at what token_env or token_file gives" in second and "(belongs to no request)" in second
    assert "an answer came that belongs to no request" in third
    assert "going down" in fourth
    assert stage.session.leaving
    assert stage.block.added == {"errors": 3, "acks": 2}


def test_the_words_in_shared_memory_follow_what_is_known() -> None:
    stage = Stage(symbols=("A", "B", "C"))
    assert {stage.state(symbol) for symbol in "ABC"} == {State.WANTED}
    assert (stage.block.symbols, stage.block.confirmed) == (3, 0)
    stage.step()
    assert {stage.state(symbol) for symbol in "ABC"} == {State.ASKED}
    stage.grant()
    assert {stage.state(symbol) for symbol in "ABC"} == {State.CONFIRMED}
    assert Subscriptions(stage.body).read(0).connection == 3
    assert (stage.block.confirmed, stage.block.refused) == (3, 0)
    stage.subscriber.unsubscribe(["C"])
    assert stage.state("C") is State.UNSUBSCRIBED
    assert stage.table.muted == {b"C"}
    stage.subscriber.closed(stage.session)
    assert (stage.state("A"), stage.state("C")) == (State.WANTED, State.UNSUBSCRIBED)
    assert stage.block.confirmed == 0


# ---- from one socket to the next ----


def test_a_refused_symbol_is_not_asked_for_on_the_next_socket_before_its_time(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(PlainTicks, symbols=("A", "BAD"), subscribing=Subscribing(batch=1, refused_again_s=60.0))
    stage.step()
    stage.session.on_control(Ack())
    stage.step()
    stage.session.on_control(Refusal(None, "unknown symbol BAD"))
    assert (stage.state("A"), stage.state("BAD")) == (State.CONFIRMED, State.REFUSED)
    for after, asked in ((10.0, ["A"]), (60.0, ["A", "BAD"])):
        stage.subscriber.closed(stage.session)
        stage.clock.now += after
        stage.session = stage.open()
        stage.sent.clear()
        stage.sent_before = 0
        stage.run(1.0, stage.grant)
        assert [symbol for _, payload in stage.sent for symbol in json.loads(payload)["symbols"]] == asked
    assert stage.subscriber.refusals["BAD"].message == "'unknown symbol BAD'"


def test_a_socket_beside_another_says_nothing_before_it_takes_over() -> None:
    stage = Stage(Binance)
    stage.step()
    stage.grant()
    old = stage.session
    new = stage.session = stage.open(beside=True)
    stage.step()
    assert stage.state("A") is State.CONFIRMED, "the old one has it yet"
    assert not new.granted
    stage.subscriber.subscribe(["C"])
    # Both ask for what is added meanwhile.
    stage.step()
    stage.session = old
    (again,) = stage.step()
    assert json.loads(again)["params"] == ["c@trade"]
    old.on_control(Ack(json.loads(again)["id"]))
    assert stage.state("C") is State.CONFIRMED
    stage.subscriber.switch(new)
    assert stage.state("C") is State.ASKED
    stage.subscriber.closed(old)
    assert stage.state("A") is State.ASKED, "what an old socket had is of no account"


def test_the_next_receiver_takes_up_what_was_changed(tmp_path: Path) -> None:
    desired = Desired(tmp_path / "subscriptions-0.json")
    first = Stage(PlainTicks, desired=desired)
    first.run(1.0, first.grant)
    first.subscriber.subscribe(["C", "D"])
    first.subscriber.unsubscribe(["A", "D"])
    assert desired.load() == Changes(added=("C",), removed=("A", "D"))
    assert (tmp_path / "subscriptions-0.json").stat().st_mode & 0o777 == 0o600
    second = Stage(PlainTicks, desired=desired, table=first.table, body=first.body)
    assert list(second.subscriber.wanted) == ["B", "C"]
    assert second.table.muted == {b"A", b"D"}
    assert second.state("A") is State.UNSUBSCRIBED
    second.subscriber.subscribe(["A"])
    assert second.table.muted == {b"D"}
    assert desired.load() == Changes(added=("C",), removed=("D",))


def test_the_next_receiver_leaves_alone_what_was_refused_lately(tmp_path: Path) -> None:
    desired = Desired(tmp_path / "subscriptions-0.json")
    first = Stage(PlainTicks, desired=desired, symbols=("A", "BAD"), subscribing=Subscribing(batch=1))
    first.step()
    first.session.on_control(Ack())
    first.step()
    first.session.on_control(Refusal(None, "no"))
    second = Stage(
        PlainTicks, desired=desired, table=first.table, body=first.body, symbols=("A", "BAD"),
        subscribing=Subscribing(batch=1),
    )  # fmt: skip
    second.run(1.0, second.grant)
    assert [json.loads(payload)["symbols"] for _, payload in second.sent] == [["A"]]
    assert second.state("BAD") is State.REFUSED


@pytest.mark.parametrize("text", [b"{", b"\xff", b'{"added": 5}'])
def test_a_file_of_changes_that_cannot_be_read_is_told_and_left(
    tmp_path: Path, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "subscriptions-0.json"
    path.write_bytes(text)
    assert list(Stage(PlainTicks, desired=Desired(path)).subscriber.wanted) == ["A", "B"]
    assert "the connection begins with its configuration" in caplog.text


# ---- wishes ----


def test_wishes_say_what_changed_what_was_so_and_what_cannot_be() -> None:
    stage = Stage(PlainTicks, max_streams=3)
    stage.run(1.0, stage.grant)
    replies = stage.subscriber.subscribe(["A", "C", "", "x y", "D"])
    assert [reply.outcome for reply in replies] == [
        Outcome.ALREADY, Outcome.CHANGED, Outcome.REFUSED, Outcome.REFUSED, Outcome.REFUSED,
    ]  # fmt: skip
    assert "is empty" in replies[2].why
    assert "white space" in replies[3].why
    assert "has 3 symbols, and takes 3; raise source.connections" in replies[4].why
    replies = stage.subscriber.unsubscribe(["C", "C", "X"])
    assert [reply.outcome for reply in replies] == [Outcome.CHANGED, Outcome.ALREADY, Outcome.ALREADY]


def test_a_symbol_is_the_same_however_it_is_spelled() -> None:
    stage = Stage(Binance, symbols=("btcusdt", "BTCUSDT"))
    assert stage.subscriber.keys == {"btcusdt": b"BTCUSDT"}
    assert [reply.outcome for reply in stage.subscriber.subscribe(["BtcUsdt"])] == [Outcome.ALREADY]
    assert [reply.outcome for reply in stage.subscriber.unsubscribe(["BTCUSDT"])] == [Outcome.CHANGED]


def test_a_refused_symbol_is_asked_for_again_when_somebody_asks() -> None:
    stage = Stage(PlainTicks, symbols=("A",))
    stage.step()
    stage.session.on_control(Refusal(None, "no"))
    assert stage.state("A") is State.REFUSED
    assert [reply.outcome for reply in stage.subscriber.subscribe(["A"])] == [Outcome.CHANGED]
    stage.step()
    stage.session.on_control(Ack())
    assert stage.state("A") is State.CONFIRMED


def test_waiting_for_an_outcome_ends_with_it_or_with_patience() -> None:
    async def act() -> None:
        stage = Stage(PlainTicks, symbols=("A",))
        assert not await stage.subscriber.settled(["A"], 0.01)
        stage.step()
        waiting = asyncio.create_task(stage.subscriber.settled(["A"], 5.0))
        await asyncio.sleep(0)
        stage.session.on_control(Ack())
        assert await waiting
        stage.subscriber.unsubscribe(["A"])
        stage.step()
        assert not await stage.subscriber.settled(["A"], 0.01)
        stage.session.on_control(Ack())
        assert await stage.subscriber.settled(["A"], 0.01)
        stage.subscriber.closed(stage.session)
        stage.subscriber.subscribe(["A"])
        assert not await stage.subscriber.settled(["A"], math.inf), "without a socket there is nothing to wait for"

    asyncio.run(act())


def test_a_silent_symbol_is_asked_for_alone_or_with_the_whole_list() -> None:
    alone = Stage(PlainTicks)
    alone.run(1.0, alone.grant)
    alone.subscriber.resubscribe(["B", "X"])
    assert [json.loads(payload)["symbols"] for payload in alone.step()] == [["B"]]
    assert alone.block.added["retries"] == 1
    listed = Stage()
    listed.run(2.0, listed.grant)
    listed.subscriber.resubscribe(["B"])
    (payload,) = listed.step()
    assert [each["code"] for each in json.loads(payload)["data"]["symbol_list"]] == ["A", "B"]
