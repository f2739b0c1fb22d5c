"""The control socket of a receiver: what it answers, to whom it listens, and what it does not let itself in for."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_session import Block, Table

from openbell.config import Source
from openbell.config.subscribing import Subscribing
from openbell.control import address
from openbell.control.protocol import (
    Answer,
    Change,
    Changes,
    Failure,
    Fate,
    Find,
    Found,
    Load,
    Question,
    Refusals,
    Subscribe,
    Told,
    Unsubscribe,
    Wish,
    decode_answer,
    encode,
)
from openbell.control.server import CLIENTS_MAX, Controlled, ControlServer
from openbell.errors import FeedError
from openbell.monitor import subscriptions as segment
from openbell.monitor.subscriptions import Subscriptions
from openbell.receiver.board import Board
from openbell.receiver.ratelimit import RateLimitedLog
from openbell.receiver.session import Session
from openbell.receiver.subscriber import Subscriber
from openbell.vendors import Ack, Refusal
from openbell.vendors.ticks import PlainTicks

QUICK_S = 0.3


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


class Line:
    """A connection of the plain dialect whose other side grants everything but symbols that begin with BAD."""

    def __init__(self, prefix: str = "", *, mute: bool = False, **source: object) -> None:
        asked = Subscribing(ack_s=0.1, retries=0)
        given = {"vendor": "ticks", "symbols": ("A", "B"), "url": "ws://127.0.0.1:1/", "subscribing": asked} | source
        made = Source(**given, prefix=prefix)  # type: ignore[arg-type]
        self.mute = mute
        self.asked: list[str] = []
        self.subscriber = Subscriber(
            made, PlainTicks(made), Block(), RateLimitedLog(logging.getLogger("test")),
            board=Board(Table(), Subscriptions(memoryview(bytearray(segment.size(64)))), prefix, 0),
        )  # fmt: skip
        self.session: Session

    def open(self) -> asyncio.Task[None]:
        self.session = self.subscriber.open(lambda: None)
        return asyncio.create_task(self.session.run(self._send))

    def _send(self, payload: bytes) -> None:
        request = json.loads(payload)
        self.asked += [request["action"][0] + symbol for symbol in request["symbols"]]
        bad = any(symbol.startswith("BAD") for symbol in request["symbols"])
        if not self.mute:
            answer = Refusal(None, "unknown symbol") if bad else Ack()
            asyncio.get_running_loop().call_soon(self.session.on_control, answer)


@contextmanager
def serving(path: Path, *lines: Line, up: bool = True) -> Iterator[ControlServer]:
    """Run a control server over `lines`, connections 0, 1, ... of source 1, in a thread of its own."""
    server = ControlServer(path, [Controlled(at, 1, line.subscriber) for at, line in enumerate(lines)], QUICK_S)
    ready, done = threading.Event(), threading.Event()

    async def main() -> None:
        talking = [line.open() for line in lines] if up else []
        await server.start()
        ready.set()
        while not done.is_set():
            await asyncio.sleep(0.005)
        await server.stop()
        for task in talking:
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)
        assert len(asyncio.all_tasks()) == 1, "nothing is left over"

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        assert ready.wait(5)
        yield server
    finally:
        done.set()
        thread.join(5)
    assert not thread.is_alive()
    assert not path.exists()


def ask(path: Path, question: Question | bytes, patience_s: float = 5.0) -> Answer | None:
    """Ask one question; None if the other side hung up without an answer."""
    with address.connect(path, patience_s) as connected:
        connected.sendall(question if isinstance(question, bytes) else encode(question))
        return read(connected)


def read(connected: socket.socket) -> Answer | None:
    text = b""
    while not text.endswith(b"\n"):
        some = connected.recv(65536)
        if not some:
            assert not text
            return None
        text += some
    answer: Answer = decode_answer(text)
    return answer


def fates(answer: Answer | None) -> dict[str, Fate]:
    assert isinstance(answer, Changes)
    return {change.symbol: change.fate for change in answer.changes}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "receiver-0.sock"


# ---- answers ----


def test_symbols_are_subscribed_and_the_answer_says_what_came_of_each(path: Path) -> None:
    line = Line("x:")
    with serving(path, line):
        answer = ask(path, Subscribe([Wish(0, "C"), Wish(0, "A"), Wish(0, "BAD"), Wish(0, "two words")]))
        assert fates(answer) == {
            "x:C": Fate.SUBSCRIBED, "x:A": Fate.ALREADY, "x:BAD": Fate.REFUSED, "x:two words": Fate.REFUSED,
        }  # fmt: skip
        assert isinstance(answer, Changes)
        assert "unknown symbol" in answer.changes[2].why
        assert "white space" in answer.changes[3].why
        assert answer.changes[0] == Change("x:C", Fate.SUBSCRIBED, "", 0)
        told = ask(path, Refusals())
        assert told == Told({"x:BAD": "the vendor's error: 'unknown symbol'"})
    assert "sC" in line.asked


def test_symbols_are_unsubscribed_and_what_was_not_subscribed_is_absent(path: Path) -> None:
    line = Line()
    with serving(path, line):
        answer = ask(path, Unsubscribe([Wish(0, "B"), Wish(0, "Z")]))
        assert fates(answer) == {"B": Fate.UNSUBSCRIBED, "Z": Fate.ABSENT}
        assert fates(ask(path, Unsubscribe([Wish(0, "B")]))) == {"B": Fate.ABSENT}
        assert fates(ask(path, Subscribe([Wish(0, "B")]))) == {"B": Fate.SUBSCRIBED}
    assert [each for each in line.asked if each.endswith("B")] == ["sB", "uB", "sB"]


def test_a_vendor_that_does_not_answer_is_said_to(path: Path) -> None:
    line = Line(mute=True)
    with serving(path, line):
        began = time.monotonic()
        answer = ask(path, Subscribe([Wish(0, "C")], timeout_s=0.01))
        assert fates(answer)["C"] in (Fate.UNANSWERED, Fate.WAITING)
        assert time.monotonic() - began < 30
        answer = ask(path, Subscribe([Wish(0, "C")], timeout_s=5.0))
        assert isinstance(answer, Changes)
        assert answer.changes[0].fate is Fate.UNANSWERED
        assert "however often it was asked" in answer.changes[0].why


def test_without_a_connection_a_symbol_waits_for_it_and_nobody_waits_for_that(path: Path) -> None:
    line = Line()
    with serving(path, line, up=False):
        answer = ask(path, Subscribe([Wish(0, "C")], timeout_s=60.0))
        assert isinstance(answer, Changes)
        assert answer.changes == [Change("C", Fate.WAITING, "the connection is not up; it is asked for when it is", 0)]
        assert fates(ask(path, Unsubscribe([Wish(0, "A")], timeout_s=60.0))) == {"A": Fate.UNSUBSCRIBED}
    assert list(line.subscriber.wanted) == ["B", "C"]


def test_who_has_a_symbol_and_how_full_everybody_is_can_be_asked(path: Path) -> None:
    with serving(path, Line(), Line(symbols=("C",), max_streams=5)):
        assert ask(path, Find(1, ["A", "C", "D"])) == Found({"A": 0, "C": 1}, [Load(0, 2, None), Load(1, 1, 5)])
        assert ask(path, Find(2, ["A"])) == Found({}, [])


def test_a_connection_of_another_receiver_is_not_touched(path: Path) -> None:
    with serving(path, Line()):
        answer = ask(path, Subscribe([Wish(7, "C")]))
        assert answer == Changes([Change("C", Fate.REFUSED, "its connection is another receiver's")])


def test_thousands_of_symbols_go_in_one_command(path: Path) -> None:
    line = Line()
    line.subscriber._board = None
    with serving(path, line):
        answer = ask(path, Subscribe([Wish(0, f"S{number}") for number in range(3000)], timeout_s=30.0), 30.0)
        assert set(fates(answer).values()) == {Fate.SUBSCRIBED}


def test_commands_take_their_turns(path: Path) -> None:
    line = Line()
    answers: list[dict[str, Fate]] = []
    with serving(path, line):
        wishes = [Wish(0, "C")]
        threads = [
            threading.Thread(target=lambda each=each: answers.append(fates(ask(path, each(wishes)))))
            for each in (Subscribe, Unsubscribe) * 5
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert len(answers) == 10
    settled = {Fate.SUBSCRIBED, Fate.ALREADY, Fate.UNSUBSCRIBED, Fate.ABSENT}
    assert {fate for answer in answers for fate in answer.values()} <= settled


def test_a_mistake_in_a_vendors_code_is_an_answer_and_not_the_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line()
    monkeypatch.setattr(line.subscriber.vendor, "symbol_key", lambda symbol: 1 / 0)
    with serving(path, line):
        answer = ask(path, Subscribe([Wish(0, "C")]))
        assert answer == Failure("fault", "it failed with ZeroDivisionError; the log of the feed says more")
        assert isinstance(ask(path, Refusals()), Told)


# ---- bad company ----


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\n", b"hello\n", b"\xff\xfe\n", b"[]\n", b"null\n", b'{"verb":"dance"}\n', b'{"verb":"subscribe"}\n',
        b'{"verb":"subscribe","wishes":[[0]]}\n', b'{"verb":"subscribe","wishes":[],"timeout_s":1e9}\n',
        b'{"verb":"find","source":1,"symbols":["A"],"more":1}\n', b"[" * 100_000 + b"\n", b"GET / HTTP/1.1\r\n",
    ],
    ids=range(12),
)  # fmt: skip
def test_nonsense_is_answered_and_changes_nothing(path: Path, nonsense: bytes) -> None:
    line = Line()
    with serving(path, line):
        answer = ask(path, nonsense)
        assert isinstance(answer, Failure) and answer.kind == "question"
        assert isinstance(ask(path, Refusals()), Told)
    assert list(line.subscriber.wanted) == ["A", "B"]


def test_half_a_question_and_silence_are_hung_up_on(path: Path) -> None:
    with serving(path, Line()):
        for text in (b"", b'{"verb":"sub'):
            with address.connect(path, 5.0) as connected:
                connected.sendall(text)
                assert read(connected) is None


def test_a_client_that_goes_away_in_the_middle_harms_nobody(path: Path) -> None:
    line = Line(mute=True)
    with serving(path, line):
        for _ in range(20):
            connected = address.connect(path, 5.0)
            connected.sendall(encode(Subscribe([Wish(0, "C")], timeout_s=0.05)))
            connected.close()
        assert isinstance(ask(path, Refusals()), Told)


def test_a_client_that_takes_no_answer_does_not_hold_others_up(path: Path) -> None:
    line = Line(symbols=tuple(f"S{number:020}" for number in range(4000)))
    line.subscriber._board = None
    with serving(path, line), address.connect(path, 5.0) as greedy:
        # Asked again and again, never read: its answers fill all the buffers there are.
        question = encode(Find(1, list(line.subscriber.wanted)))
        greedy.setblocking(False)
        sent = 0
        try:
            for _ in range(200):
                sent += greedy.send(question)
        except BlockingIOError:
            assert sent > 0
        assert isinstance(ask(path, Refusals()), Told)


def test_too_many_clients_are_told_so(path: Path) -> None:
    with serving(path, Line()):
        crowd = [address.connect(path, 5.0) for _ in range(CLIENTS_MAX)]
        try:
            answer = ask(path, Refusals())
            assert isinstance(answer, Failure) and answer.kind == "busy"
        finally:
            for each in crowd:
                each.close()
        deadline = time.monotonic() + 30
        while not isinstance(ask(path, Refusals()), Told):
            assert time.monotonic() < deadline


def test_a_question_without_end_is_cut_off(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openbell.control.server.LINE_BYTES_MAX", 1000)
    with serving(path, Line()), address.connect(path, 5.0) as connected:
        connected.sendall(b"x" * 5000)
        answer = read(connected)
        assert answer == Failure("question", "a question has 1000 bytes at most")


# ---- the socket itself ----


def test_the_socket_is_private_and_replaces_one_that_a_dead_receiver_left(path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    with serving(path, Line()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert isinstance(ask(path, Refusals()), Told)


def test_a_path_may_be_longer_than_an_address(tmp_path: Path) -> None:
    deep = tmp_path / ("f" * 64) / ("1" * 60)
    deep.mkdir(parents=True)
    assert len(os.fsencode(deep)) > 108
    with serving(deep / "receiver-15.sock", Line()):
        assert isinstance(ask(deep / "receiver-15.sock", Refusals()), Told)


def test_a_feed_does_without_a_socket_that_cannot_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "nowhere" / "receiver-0.sock"
    with serving(path, Line()):
        assert "subscriptions cannot be changed while the feed runs" in caplog.text
    with pytest.raises(FeedError, match="cannot make the control socket"):
        address.bind(path)
