"""The books of one socket: what was asked for, what was granted, and what is asked for again."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from openbell.config import Source
from openbell.config.subscribing import Subscribing
from openbell.monitor.subscriptions import SubscriptionState as State
from openbell.receiver.ledger import SPLITS_MAX, Answer, Ledger
from openbell.secret import Secret
from openbell.vendors import Ack, Control, Ignore, Refusal, Request, Route, Semantics, Vendor


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


class Toy(Vendor):
    """Numbered requests for symbols that arrive in upper case."""

    name = "toy"
    kinds = 1
    numbered = True

    def __init__(self, source: Source, semantics: Semantics) -> None:
        super().__init__(source)
        self.semantics = semantics
        self.number = 0

    def plan(self) -> tuple[Route | Ignore, ...]:
        return ()

    def url(self) -> Secret:
        return Secret("ws://127.0.0.1:1/")

    def _request(self, what: str, symbols: Sequence[str]) -> Request:
        self.number += 1
        return Request(what.encode(), tuple(symbols), self.number if self.numbered else None)

    def subscribe(self, symbols: Sequence[str]) -> list[Request]:
        if not symbols:
            return [self._request("market", ())] if self.source.open else []
        return [self._request(f"+{kind} {' '.join(symbols)}", symbols) for kind in range(self.kinds)]

    def unsubscribe(self, symbols: Sequence[str]) -> list[Request]:
        return [self._request(f"- {' '.join(symbols)}", symbols)]

    def unsubscribe_all(self) -> list[Request]:
        return [self._request("- all", ())]

    def control(self, payload: bytes) -> Control | None:
        return None

    def symbol_key(self, symbol: str) -> str:
        return symbol.upper()


class Books:
    """A ledger, and what was sent by it."""

    def __init__(
        self, *symbols: str, adds: bool = True, kinds: int = 1, numbered: bool = True, opened: bool = False,
        asked: Subscribing | None = None, **semantics: object,
    ) -> None:  # fmt: skip
        self.asked = asked or Subscribing(ack_s=5.0, retries=2, retry_s=1.0, retry_longest_s=1.5)
        source = Source(vendor="toy", symbols=symbols or ("none",), open=opened, subscribing=self.asked)
        made = Semantics(adds=adds, **({"cancels": "symbols" if adds else "all"} | semantics))  # type: ignore[arg-type]
        self.vendor = Toy(source, made)
        self.vendor.kinds, self.vendor.numbered = kinds, numbered
        self.states: dict[str, State] = {}
        self.codes: dict[str, int] = {}
        self.now = 100.0
        self.ledger = Ledger(self.vendor, self.asked, self.note)
        for symbol in symbols:
            self.want(symbol)

    def note(self, key: str, state: State, code: int) -> None:
        self.states[key], self.codes[key] = state, code

    def want(self, symbol: str) -> None:
        self.ledger.want(symbol.upper(), symbol)

    def send(self) -> list[Request]:
        """Send all that is due."""
        found: list[Request] = []
        while (due := self.ledger.due()) is not None and due <= self.now:
            for request in self.ledger.take(self.now):
                self.ledger.sent(request, self.now)
                found.append(request)
        return found

    def words(self) -> list[str]:
        return [request.payload.decode() for request in self.send()]

    def ack(self, request: Request | None = None, symbols: tuple[str, ...] | None = None) -> Answer:
        return self.ledger.acked(Ack(None if request is None else request.number, symbols), self.now).answer

    def refuse(self, request: Request | None, code: int = 7, **more: object) -> Answer:
        number = None if request is None else request.number
        return self.ledger.refused(Refusal(code, "no", number, **more), self.now).answer  # type: ignore[arg-type]

    def wait(self, seconds: float) -> list[Answer]:
        self.now += seconds
        return [verdict.answer for verdict in self.ledger.expire(self.now)]

    def at(self, state: State) -> set[str]:
        return {key for key, each in self.states.items() if each is state}


def test_nothing_is_left_to_be_granted_where_nothing_is_wanted() -> None:
    assert Books().ledger.granted and Books(adds=False).ledger.granted
    assert not Books(opened=True).ledger.granted


# ---- a vendor whose requests add ----


def test_symbols_are_asked_for_in_batches_and_confirmed_by_the_answers_to_them() -> None:
    books = Books("a", "b", "c", batch=2)
    assert books.at(State.WANTED) == {"A", "B", "C"}
    first, second = books.send()
    assert (first.payload, second.payload) == (b"+0 a b", b"+0 c")
    assert books.at(State.ASKED) == {"A", "B", "C"}
    assert books.ledger.all_sent and not books.ledger.granted
    assert books.ack(second) is Answer.GRANTED
    assert books.at(State.CONFIRMED) == {"C"}
    assert books.ack(first) is Answer.GRANTED
    assert books.at(State.CONFIRMED) == {"A", "B", "C"}
    assert books.ledger.granted and books.ledger.complete
    assert books.ledger.counts[State.CONFIRMED] == 3


def test_where_answers_have_no_number_each_is_waited_for() -> None:
    books = Books("a", "b", batch=1, numbered=False)
    assert books.words() == ["+0 a"]
    books.ack()
    assert books.at(State.CONFIRMED) == {"A"}
    assert books.words() == ["+0 b"]
    assert books.refuse(None) is Answer.REFUSED
    assert (books.states["B"], books.codes["B"]) == (State.REFUSED, 7)
    assert books.ack() is books.refuse(None) is Answer.NOBODY


def test_an_answer_that_names_no_request_belongs_to_the_oldest_one() -> None:
    books = Books("a", "b", batch=1)
    _, second = books.send()
    assert books.refuse(None) is Answer.REFUSED
    assert books.at(State.REFUSED) == {"A"}
    books.ack(second)
    assert books.ledger.granted and not books.ledger.complete


def test_an_answer_that_names_symbols_is_about_them_alone() -> None:
    books = Books("a", "b", "c", batch=2, numbered=False)
    books.send()
    books.ack(symbols=("B",))
    assert books.at(State.CONFIRMED) == {"B"}
    assert not books.ledger.settled, "A is not answered yet"
    books.ack(symbols=("a",))
    books.send()
    books.ack(symbols=("C",))
    assert books.ledger.complete
    assert books.ack(symbols=("X",)) is Answer.NOBODY


def test_a_symbol_is_confirmed_when_all_requests_about_it_are_granted() -> None:
    books = Books("a", "b", kinds=2)
    trades, books_ = books.send()
    books.ack(trades)
    assert books.at(State.CONFIRMED) == set()
    books.ack(books_)
    assert books.at(State.CONFIRMED) == {"A", "B"}


def test_what_is_not_answered_is_asked_again_later_each_time_and_then_unconfirmed() -> None:
    books = Books("a", "b", batch=2)
    assert len(books.send()) == 1
    assert books.ledger.next_expiry() == 105.0
    assert books.wait(4.9) == []
    assert books.wait(0.1) == [Answer.AGAIN]
    assert books.send() == [], "after a pause of 1 s"
    books.now += 1
    assert books.words() == ["+0 a b"]
    assert books.wait(5) == [Answer.AGAIN]
    books.now += 1.4
    assert books.send() == [], "the second pause is longer, up to the longest"
    books.now += 0.1
    assert books.words() == ["+0 a b"]
    assert books.wait(5) == [Answer.NOBODY]
    assert books.at(State.UNCONFIRMED) == {"A", "B"}
    books.now += 1000
    assert books.send() == []
    assert books.ledger.retries == 2
    assert books.ledger.settled and not books.ledger.granted


def test_an_answer_that_comes_late_is_as_good_and_spares_the_repetition() -> None:
    books = Books("a")
    (request,) = books.send()
    books.wait(5)
    assert books.ack(request) is Answer.LATE
    assert books.at(State.CONFIRMED) == {"A"}
    books.now += 10
    assert books.send() == []
    assert books.ledger.complete


def test_a_late_answer_is_as_good_even_when_it_was_given_up() -> None:
    books = Books("a", asked=Subscribing(retries=0))
    (request,) = books.send()
    assert books.wait(5) == [Answer.NOBODY]
    assert books.ack(request) is Answer.LATE
    assert books.ledger.complete


def test_a_refused_batch_is_asked_for_in_halves_until_the_fault_has_a_name() -> None:
    symbols = [f"s{number}" for number in range(16)]
    books = Books(*symbols)
    bad = {"S3", "S11"}
    asked = 0
    while requests := books.send():
        for request in requests:
            asked += 1
            if bad.isdisjoint(map(str.upper, request.symbols)):
                books.ack(request)
            else:
                books.refuse(request, 600)
    assert books.at(State.REFUSED) == bad
    assert books.at(State.CONFIRMED) == {symbol.upper() for symbol in symbols} - bad
    assert asked <= 2 * 2 * 4 + 1
    assert books.ledger.granted and not books.ledger.complete


def test_a_refusal_that_names_its_symbols_costs_only_those() -> None:
    books = Books("a", "b", "c")
    (request,) = books.send()
    assert books.refuse(request, 604, symbols=("B",)) is Answer.REST
    assert books.at(State.REFUSED) == {"B"}
    assert books.words() == ["+0 a c"]


def test_a_refusal_that_holds_for_any_symbol_is_not_asked_about_again() -> None:
    books = Books("a", "b", "c")
    (request,) = books.send()
    assert books.refuse(request, 401, final=True) is Answer.REFUSED
    assert books.at(State.REFUSED) == {"A", "B", "C"}
    assert books.send() == []


def test_a_request_that_came_too_soon_is_repeated_a_few_times() -> None:
    books = Books("a", "b")
    for expected in (Answer.AGAIN, Answer.AGAIN, Answer.IN_VAIN):
        assert not books.ledger.in_vain
        (request,) = books.send()
        assert books.refuse(request, 429, passing=True) is expected
        assert books.send() == [], "not at once"
        books.now += 1.5
    # It may be granted later, so it is not refused.
    assert books.at(State.UNCONFIRMED) == {"A", "B"} and set(books.codes.values()) == {429}
    assert books.ledger.in_vain


def test_a_list_that_lost_a_symbol_and_came_too_soon_leaves_the_others_what_they_have() -> None:
    books = Books("a", "b", adds=False)
    books.ack(books.send()[0])
    books.ledger.drop("B")
    for _ in range(3):
        (request,) = books.send()
        books.refuse(request, 429, passing=True)
        books.now += 1.5
    assert books.states["A"] is State.CONFIRMED
    assert not books.ledger.in_vain


def test_a_vendor_that_refuses_everything_is_not_asked_for_ever() -> None:
    books = Books(*(f"s{number}" for number in range(5000)))
    asked = 0
    while requests := books.send():
        asked += len(requests)
        for request in requests:
            books.refuse(request)
    assert asked <= 2 * SPLITS_MAX + 1
    assert books.ledger.counts[State.REFUSED] == 5000


def test_more_symbols_are_asked_for_alone_and_fewer_are_cancelled() -> None:
    books = Books("a", "b")
    books.ack(books.send()[0])
    books.want("c")
    (request,) = books.send()
    assert request.payload == b"+0 c"
    books.ack(request)
    books.ledger.drop("A")
    assert books.ledger.leaves("A") and not books.ledger.settled
    (request,) = books.send()
    assert request.payload == b"- a", "as it was spelled"
    books.ack(request)
    assert not books.ledger.leaves("A")
    assert books.ledger.state("A") is State.NONE
    assert books.ledger.complete


def test_what_is_wanted_again_before_it_was_cancelled_costs_no_message() -> None:
    books = Books("a", "b")
    books.ack(books.send()[0])
    books.ledger.drop("A")
    books.want("a")
    assert books.send() == []
    assert books.states["A"] is State.CONFIRMED


def test_what_is_wanted_again_after_it_was_cancelled_is_asked_for_again() -> None:
    books = Books("a")
    books.ack(books.send()[0])
    books.ledger.drop("A")
    (cancel,) = books.send()
    books.want("a")
    (again,) = books.send()
    assert again.payload == b"+0 a"
    books.ack(cancel)
    assert books.ledger.state("A") is State.ASKED
    books.ack(again)
    assert books.ledger.complete


def test_a_cancellation_that_is_not_answered_is_repeated_and_then_let_be() -> None:
    books = Books("a")
    books.ack(books.send()[0])
    books.ledger.drop("A")
    assert books.words() == ["- a"]
    for _ in range(2):
        books.wait(5)
        books.now += 1.5
        assert books.words() == ["- a"]
    books.wait(5)
    assert not books.ledger.leaves("A")


def test_where_nothing_can_be_cancelled_nothing_is_sent() -> None:
    books = Books("a", cancels="never")
    books.ack(books.send()[0])
    books.ledger.drop("A")
    assert books.send() == []
    assert not books.ledger.leaves("A")


def test_what_was_not_asked_for_yet_is_dropped_without_a_word() -> None:
    books = Books("a", "b")
    books.ledger.drop("B")
    assert books.words() == ["+0 a"]


def test_a_symbol_that_went_silent_is_asked_for_alone() -> None:
    books = Books("a", "b")
    books.ack(books.send()[0])
    books.ledger.again(["B", "X"])
    assert books.states["B"] is State.WANTED
    assert books.words() == ["+0 b"]
    assert books.ledger.retries == 1


def test_a_refused_symbol_is_held_until_it_is_wanted_anew() -> None:
    books = Books("a")
    books.ledger.hold("B", "b", 600)
    assert (books.states["B"], books.codes["B"]) == (State.REFUSED, 600)
    assert books.words() == ["+0 a"]
    books.want("b")
    assert books.words() == ["+0 b"]


def test_a_vendor_that_never_answers_leaves_symbols_asked_for() -> None:
    books = Books("a", "b", batch=1, acknowledges=False)
    books.send()
    assert books.at(State.ASKED) == {"A", "B"}
    assert books.ledger.next_expiry() is None
    assert books.ledger.granted and books.ledger.complete
    books.ledger.drop("A")
    assert books.ledger.leaves("A")
    assert books.words() == ["- a"]
    assert not books.ledger.leaves("A")


def test_an_error_that_names_its_symbols_is_about_them_though_nothing_waits_for_an_answer() -> None:
    books = Books("a", "b", acknowledges=False)
    books.send()
    assert books.refuse(None, 600, symbols=("A", "X")) is Answer.REFUSED
    assert (books.states["A"], books.codes["A"], books.states["B"]) == (State.REFUSED, 600, State.ASKED)
    assert books.refuse(None, 600) is Answer.NOBODY
    assert books.words() == []


# ---- a whole market ----


def test_a_whole_market_is_asked_for_before_single_symbols() -> None:
    books = Books("a", opened=True)
    market, single = books.send()
    assert (market.payload, single.payload) == (b"market", b"+0 a")
    books.ack(single)
    assert not books.ledger.granted
    books.ack(market)
    assert books.ledger.complete


def test_symbols_that_come_with_the_market_share_its_fate(monkeypatch: pytest.MonkeyPatch) -> None:
    for granted in (True, False):
        books = Books(opened=True)
        monkeypatch.setattr(
            books.vendor, "subscribe", lambda symbols, v=books.vendor: [] if symbols else [v._request("market", ())]
        )
        books.want("a")
        (market,) = books.send()
        assert books.states["A"] is State.ASKED
        if granted:
            books.ack(market)
        else:
            books.refuse(market, 9, final=True)
        assert books.states["A"] is (State.CONFIRMED if granted else State.REFUSED)
        assert books.ledger.granted is granted


# ---- a vendor whose requests replace one another ----


def test_one_list_carries_everything_and_grows_with_what_is_added() -> None:
    books = Books("a", "b", adds=False, kinds=2)
    trades, depths = books.send()
    assert [trades.payload, depths.payload] == [b"+0 a b", b"+1 a b"]
    books.want("c")
    assert books.send() == [], "one list at a time"
    books.ack(trades)
    assert books.send() == []
    books.ack(depths)
    assert books.at(State.CONFIRMED) == {"A", "B"}
    trades, depths = books.send()
    assert trades.payload == b"+0 a b c"
    assert books.at(State.CONFIRMED) == {"A", "B"}, "they are in both lists"
    books.ack(trades)
    books.ack(depths)
    assert books.ledger.complete


def test_a_shorter_list_is_sent_and_the_last_symbol_is_cancelled_with_its_kind() -> None:
    books = Books("a", "b", adds=False)
    books.ack(books.send()[0])
    books.ledger.drop("B")
    (request,) = books.send()
    assert request.payload == b"+0 a"
    assert books.ledger.leaves("B")
    books.ack(request)
    assert not books.ledger.leaves("B")
    books.ledger.drop("A")
    (request,) = books.send()
    assert request.payload == b"- all", "an empty list is never sent"
    books.ack(request)
    assert not books.ledger.leaves("A")
    books.want("a")
    assert books.words() == ["+0 a"]


def test_an_empty_list_is_never_sent_even_where_nothing_can_be_cancelled() -> None:
    books = Books("a", adds=False, cancels="never")
    books.ack(books.send()[0])
    books.ledger.drop("A")
    assert books.send() == []
    assert not books.ledger.leaves("A")


def test_a_new_symbol_that_is_refused_does_not_cost_the_others() -> None:
    books = Books("a", "b", adds=False)
    books.ack(books.send()[0])
    books.want("bad")
    (request,) = books.send()
    assert books.refuse(request, 600) is Answer.REFUSED
    assert books.at(State.CONFIRMED) == {"A", "B"}
    assert books.at(State.REFUSED) == {"BAD"}
    (request,) = books.send()
    assert request.payload == b"+0 a b", "whether the list before it still holds is not known"
    books.ack(request)
    books.now += 100
    assert books.send() == []
    assert books.ledger.granted


def test_a_first_list_with_a_bad_symbol_is_narrowed_down() -> None:
    symbols = [f"s{number}" for number in range(32)]
    books = Books(*symbols, adds=False)
    asked = 0
    while requests := books.send():
        (request,) = requests
        asked += 1
        if "s13" in request.symbols:
            books.refuse(request, 600)
        else:
            books.ack(request)
    assert books.at(State.REFUSED) == {"S13"}
    assert books.at(State.CONFIRMED) == {symbol.upper() for symbol in symbols} - {"S13"}
    assert asked <= 2 * 5 + 2
    assert request.symbols == tuple(symbol for symbol in symbols if symbol != "s13")


def test_a_list_without_an_answer_leaves_what_was_granted_and_gives_up_on_what_is_new() -> None:
    books = Books("a", adds=False)
    books.ack(books.send()[0])
    books.want("b")
    for _ in range(3):
        assert books.words() == ["+0 a b"]
        books.wait(5)
        books.now += 1.5
    assert books.states == {"A": State.CONFIRMED, "B": State.UNCONFIRMED}
    books.want("c")
    assert books.words() == ["+0 a b c"], "it may have been taken, and must not be dropped by the next list"


def test_a_list_that_was_granted_before_and_is_refused_now_is_repeated_and_then_given_up() -> None:
    books = Books("a", adds=False)
    books.ack(books.send()[0])
    books.ledger.again(["A"])
    for _ in range(2):
        (request,) = books.send()
        books.refuse(request, 605, passing=True)
        books.now += 1.5
    (request,) = books.send()
    books.refuse(request, 605, passing=True)
    assert books.at(State.UNCONFIRMED) == {"A"}
    books.now += 1000
    assert books.send() == []


def test_an_error_without_a_number_is_about_the_list_under_way() -> None:
    books = Books("a", "b", adds=False, kinds=2)
    books.send()
    assert books.refuse(None, 605, passing=True) is Answer.AGAIN
    books.now += 1
    assert books.words() == ["+0 a b", "+1 a b"]


# ---- whatever happens ----


@pytest.mark.parametrize("adds", [True, False])
@pytest.mark.parametrize("seed", range(25))
def test_whatever_a_vendor_answers_it_ends_with_what_is_wanted_and_possible(seed: int, adds: bool) -> None:
    chance = random.Random(seed)
    names = [f"s{number}" for number in range(24)]
    bad = set(chance.sample(names, 3))
    books = Books(*names[:12], adds=adds, batch=5 if adds else 0, numbered=chance.random() < 0.5)
    wanted = set(names[:12])
    # What the vendor has: it takes requests in order, and loses some of its answers, or of our requests.
    there: set[str] = set()

    def serve(request: Request, kind: str) -> None:
        if kind == "lost":
            return
        text, symbols = request.payload.decode(), set(request.symbols)
        if text == "- all":
            there.clear()
        elif text.startswith("-"):
            there.difference_update(symbols)
        elif symbols & bad:
            books.refuse(request if request.number else None, 600)
            return
        else:
            if not adds:
                there.clear()
            there.update(symbols)
        if kind == "answered":
            books.ack(request if request.number else None)

    for _ in range(30):
        name = chance.choice(names)
        if name in wanted:
            wanted.discard(name)
            books.ledger.drop(name.upper())
        else:
            wanted.add(name)
            books.want(name)
        for request in books.send():
            # Where answers have no number, one that is lost moves all behind it: those vendors lose whole requests.
            kind = chance.choices(["answered", "lost", "mute"], [8, 1, 1 if request.number else 0])[0]
            serve(request, kind)
        books.wait(chance.choice([0.0, 1.0, 6.0]))
    for _ in range(200):
        for request in books.send():
            serve(request, "answered")
        books.wait(2.0)
    assert books.ledger.settled
    for key in sorted(books.states):
        if books.ledger.state(key) is State.UNCONFIRMED:
            books.ledger.again([key])
    for _ in range(200):
        for request in books.send():
            serve(request, "answered")
        books.wait(2.0)
    good = {name for name in wanted if name not in bad}
    confirmed = {key.lower() for key in books.states if books.ledger.state(key) is State.CONFIRMED}
    assert confirmed == good
    assert good <= there
    assert there - good <= set(names) - bad, "a cancellation that got lost is dropped at our end"
    assert sum(books.ledger.counts.values()) == len(wanted)
