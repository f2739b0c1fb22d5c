"""When silence is remarkable, and when it is not: on clocks that the tests move themselves."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import pytest

from openbell.config import Change
from openbell.receiver.hours import Hours
from openbell.receiver.symbolwatch import Findings, SymbolWatch
from openbell.receiver.watchdog import Pings, Rate, Silence, Step
from openbell.record import MarketStatus
from openbell.sessions import Session, changes

LOOK = 0.25


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


def steps(silence: Silence, seconds: float, per_look: int = 0, *, answered: bool = True) -> list[Step]:
    """Let time pass, with data or without; return what was to be done."""
    taken = [silence.look(LOOK, per_look, answered=answered) for _ in range(round(seconds / LOOK))]
    return [step for step in taken if step is not Step.NOTHING]


def lively(seconds: float = 30, per_look: int = 100) -> Silence:
    """Return the watch of a connection over which data has come for a while."""
    silence = Silence(Rate(15, 20))
    assert steps(silence, seconds, per_look) == []
    return silence


# ---- a connection ----


def test_data_that_stops_is_asked_about_then_asked_for_again_then_given_up() -> None:
    silence = lively()
    assert steps(silence, 14.5) == []
    assert steps(silence, 1.0) == [Step.ASK, Step.RESUBSCRIBE]
    assert silence.stale
    assert steps(silence, 14) == []
    assert steps(silence, 2)[0] is Step.GIVE_UP


def test_nothing_is_asked_for_again_before_the_other_side_gave_a_sign_of_life() -> None:
    silence = lively()
    assert steps(silence, 40, answered=False) == [Step.ASK]
    assert steps(silence, LOOK) == [Step.RESUBSCRIBE]


def test_data_that_comes_again_ends_the_alarm() -> None:
    silence = lively()
    assert steps(silence, 16) == [Step.ASK, Step.RESUBSCRIBE]
    assert steps(silence, LOOK, 5) == [Step.WELL]
    assert not silence.stale
    assert steps(silence, 14, 5) == []
    assert silence.rate.limit_s == 15, "a silence that was an alarm is no measure of the next one"


def test_what_never_had_a_rate_raises_no_alarm() -> None:
    silence = Silence(Rate(15, 20))
    assert steps(silence, 3600) == []
    assert silence.rate.limit_s == math.inf


def test_a_greeting_with_all_there_is_is_no_rate() -> None:
    silence = Silence(Rate(15, 20))
    assert steps(silence, 5, 1000) == []
    assert steps(silence, 3600) == [], "outside trading hours a vendor sends what it has, and then nothing"


def test_a_slow_connection_is_judged_by_its_own_rate() -> None:
    silence = Silence(Rate(15, 20))
    for _ in range(20):
        assert steps(silence, 29.75) == []
        assert steps(silence, LOOK, 1) == []
    assert silence.rate.limit_s == pytest.approx(20 * 30, rel=0.1)
    assert steps(silence, 500) == []
    assert steps(silence, 200) == [Step.ASK, Step.RESUBSCRIBE]


def test_silences_as_long_as_it_had_before_are_its_way() -> None:
    silence = Silence(Rate(1, 20))
    for _ in range(10):
        steps(silence, 30, 50)
        silence.rate.look(0.8, 0)
    # In one piece, so that the alarm does not see it: a vendor that pauses like that now and then.
    for _ in range(5):
        silence.rate.look(20, 1)
    assert steps(silence, 38) == []
    assert steps(silence, 4)[0] is Step.ASK


def test_random_arrivals_raise_no_alarm_in_a_month() -> None:
    chance = random.Random(11)
    rate = Rate(15, 20)
    silence = Silence(rate)
    for _ in range(200_000):
        # One message in 2 s on average, looked at every quarter of one.
        arrived = sum(chance.random() < LOOK / 2 / 4 for _ in range(4))
        assert silence.look(LOOK, arrived, answered=True) is Step.NOTHING


def test_time_in_which_we_held_reading_back_does_not_count() -> None:
    silence = lively()
    for _ in range(1000):
        assert silence.look(0.0, 0, answered=False) is Step.NOTHING
    assert steps(silence, 14) == []


# ---- pings ----


def ping(pings: Pings, seconds: float, frames: int = 0) -> tuple[int, float | None]:
    """Let time pass; return how many pings were sent, and when the connection was dead."""
    sent = 0
    for look in range(round(seconds / LOOK)):
        send, dead = pings.look(LOOK, frames)
        sent += send
        if dead:
            return sent, look * LOOK
    return sent, None


def test_a_connection_that_answers_is_asked_every_so_often() -> None:
    pings = Pings(30, 10, 2)
    for _ in range(5):
        assert ping(pings, 30) == (1, None)
        pings.pong()
    assert pings.missed == 0


def test_two_pings_without_an_answer_end_a_silent_connection_soon() -> None:
    pings = Pings(30, 10, 2)
    sent, dead = ping(pings, 200)
    assert (sent, pings.missed) == (2, 2)
    assert dead == pytest.approx(50, abs=1), "30 s, and 10 s for each answer"


def test_where_data_comes_an_answer_may_take_until_the_next_ping() -> None:
    pings = Pings(30, 10, 2)
    sent, dead = ping(pings, 200, frames=3)
    assert (sent, pings.missed) == (2, 2)
    assert dead == pytest.approx(90, abs=1)


def test_an_answer_starts_the_count_anew() -> None:
    pings = Pings(30, 10, 2)
    for _ in range(10):
        assert ping(pings, 60, frames=1)[1] is None
        pings.pong()
    assert pings.missed == 10


def test_a_vendor_that_knows_no_pings_is_left_alone_while_its_data_comes() -> None:
    pings = Pings(30, 10, 2, tolerant=True)
    assert ping(pings, 1000, frames=1)[1] is None
    assert pings.mute
    # Silence is another matter.
    assert ping(pings, 200)[1] is not None


def test_one_that_answered_once_is_held_to_it() -> None:
    pings = Pings(30, 10, 2, tolerant=True)
    ping(pings, 31, frames=1)
    pings.pong()
    assert not pings.mute
    assert ping(pings, 200, frames=1)[1] is not None


def test_a_ping_that_silence_gave_cause_for_is_decisive() -> None:
    pings = Pings(30, 10, 2)
    assert pings.ask()
    assert not pings.heard
    sent, dead = ping(pings, 60)
    assert sent == 0
    assert dead == pytest.approx(10, abs=1)


def test_it_is_not_decisive_where_anything_else_comes() -> None:
    pings = Pings(30, 10, 2)
    assert pings.ask()
    ping(pings, 5)
    assert ping(pings, 20, frames=1)[1] is None
    assert pings.heard


def test_no_second_ping_is_sent_while_one_is_on_its_way() -> None:
    pings = Pings(30, 10, 2)
    assert ping(pings, 30.0)[0] == 1
    assert not pings.ask()
    assert ping(pings, 12)[1] is not None


def test_without_an_interval_only_silence_asks() -> None:
    pings = Pings(0, 10, 2)
    assert ping(pings, 1000) == (0, None)
    assert pings.ask()
    assert ping(pings, 30)[1] is not None
    pings = Pings(0, 10, 2)
    assert pings.ask()
    assert ping(pings, 300, frames=1) == (0, None), "data is an answer, too"


def test_time_that_stands_still_kills_nobody() -> None:
    pings = Pings(30, 10, 2)
    ping(pings, 31)
    assert all(pings.look(0.0, 0) == (False, False) for _ in range(1000))


# ---- hours ----

HOUR = 3600 * 10**9


def hours_at(at_ns: int) -> Hours:
    # A session from 2 to 7 o'clock with an hour's break at 4, one two days later; a holiday between.
    days = [Session(20260105, 2 * HOUR, 7 * HOUR, 4 * HOUR, 5 * HOUR), Session(20260107, 50 * HOUR, 55 * HOUR)]
    return Hours(changes(days, 30), lambda: at_ns)


@pytest.mark.parametrize(
    ("hour", "is_open"),
    [(0, False), (1.9, False), (2, True), (3.99, True), (4, False), (4.5, False), (5, True), (7, False), (30, False)],
    ids=["night", "before the open", "open", "morning", "break", "lunch", "afternoon", "close", "holiday"],
)
def test_a_market_is_open_between_its_open_and_its_close_but_for_the_break(hour: float, is_open: bool) -> None:
    assert hours_at(int(hour * HOUR)).open is is_open


def test_nobody_is_missed_after_the_schedules_end_and_without_one_everything_is_open() -> None:
    assert not hours_at(1000 * HOUR).open
    assert Hours().open
    assert not Hours().known
    assert Hours((Change(0, 20260105, int(MarketStatus.OPEN)),)).known


def test_a_lunch_break_and_a_holiday_raise_no_alarm() -> None:
    now = 2 * HOUR
    hours = Hours(changes([Session(1, 2 * HOUR, 7 * HOUR, 4 * HOUR, 5 * HOUR), Session(2, 50 * HOUR, 55 * HOUR)], 30),
                  lambda: now)  # fmt: skip
    silence = Silence(Rate(15, 20))
    look_s = 5
    while now < 53 * HOUR:
        trades = hours.open
        assert silence.look(look_s if trades else 0.0, 100 * trades, answered=True) is Step.NOTHING
        now += look_s * 10**9
    # The same silence while it trades is one.
    asked = [silence.look(look_s, 0, answered=True) for _ in range(10)]
    assert Step.ASK in asked


# ---- symbols ----


class Board:
    """The stamps of some symbols, on which ticks are marked."""

    def __init__(self, names: str, watch: SymbolWatch | None = None) -> None:
        self.watch = watch or SymbolWatch(300, 20)
        self.names = tuple(names)
        self.watch.watch(self.names)
        self.stamps = dict.fromkeys(names, 0)
        self.watch.sample(list(self.stamps.values()))

    def play(self, seconds: float, every: dict[str, float], sample_s: float = 5.0) -> Findings:
        """Let symbols tick at their intervals; return the last judgement that changed anything."""
        found = Findings()
        due = dict(every)
        for number in range(round(seconds / sample_s)):
            now = (number + 1) * sample_s
            self.watch.pass_time(sample_s)
            for name, interval in every.items():
                while due[name] <= now:
                    self.stamps[name] += 1
                    due[name] += interval
            self.watch.sample(list(self.stamps.values()))
            judged = self.watch.judge()
            found = judged if judged != Findings() else found
        return found


def test_a_symbol_that_stops_ticking_while_the_others_go_on_is_listed_and_asked_for_once() -> None:
    board = Board("ABC")
    assert board.play(400, {"A": 1, "B": 7, "C": 3}) == Findings()
    assert board.play(295, {"A": 1, "C": 3}) == Findings()
    assert board.play(20, {"A": 1, "C": 3}) == Findings(("B",), ("B",))
    assert len(board.watch.silent) == 1
    assert board.play(900, {"A": 1, "C": 3}) == Findings(), "it is known by now"
    assert board.play(10, {"A": 1, "B": 5, "C": 3}) == Findings(back=("B",))
    assert not board.watch.silent


def test_a_quiet_symbol_is_judged_by_its_own_rate() -> None:
    board = Board("AQ")
    assert board.play(10_000, {"A": 1, "Q": 200}) == Findings(), "one trade in 200 s is its way"
    assert board.play(3900, {"A": 1}) == Findings()
    assert board.play(200, {"A": 1}) == Findings(("Q",), ("Q",))


def test_random_quiet_symbols_are_never_overdue() -> None:
    chance = random.Random(5)
    names = tuple(f"S{number}" for number in range(50))
    watch = SymbolWatch(300, 20)
    watch.watch(names)
    stamps = [0] * len(names)
    mean_s = [chance.uniform(2, 600) for _ in names]
    for _ in range(20_000):
        watch.pass_time(5)
        stamps = [stamp + (chance.random() < 5 / mean) for stamp, mean in zip(stamps, mean_s, strict=True)]
        watch.sample(stamps)
        assert watch.judge().overdue == ()


def test_one_that_ticked_a_few_times_is_no_fault_and_one_that_never_did_is_listed_but_no_alarm() -> None:
    board = Board("ANQ")
    assert board.play(290, {"A": 1, "Q": 100}) == Findings()
    assert board.play(2000, {"A": 1}) == Findings(("N",), ())
    assert len(board.watch.silent) == 1


def test_nobody_is_silent_while_the_clock_stands_still() -> None:
    board = Board("AB")
    board.play(100, {"A": 1, "B": 1})
    for _ in range(1000):
        board.watch.sample(list(board.stamps.values()))
        assert board.watch.judge() == Findings()


def test_a_new_connection_starts_every_silence_anew_and_keeps_the_rates() -> None:
    board = Board("AB")
    board.play(400, {"A": 1, "B": 1})
    board.play(290, {"A": 1})
    board.watch.restart()
    assert board.play(290, {"A": 1}) == Findings()
    assert board.play(20, {"A": 1}) == Findings(("B",), ("B",))


def test_symbols_come_and_go_and_the_others_keep_what_is_known() -> None:
    board = Board("AB")
    board.play(400, {"A": 1, "B": 1})
    later = Board("BCD", board.watch)
    assert later.play(320, {"B": 1, "C": 1}) == Findings(("D",), ())
    assert board.watch.names == ("B", "C", "D")
    board.watch.watch(("B", "C"))
    assert not board.watch.silent


def tail(total: int, kept: int, quiet: Iterator[int] | tuple[int, ...] = ()) -> int | None:
    """Return what is said of a request of `total` symbols whose first `kept` tick, but for some quiet ones."""
    watch = SymbolWatch(10, 20)
    watch.watch(tuple(f"S{number}" for number in range(total)))
    watch.sample([0] * total)
    silent = set(quiet)
    watch.pass_time(11)
    watch.sample([int(number < kept and number not in silent) for number in range(total)])
    return watch.kept()


def test_a_request_whose_end_never_ticks_was_cut_off() -> None:
    assert tail(5200, 3000) == 3000
    assert tail(10, 5) == 5
    assert tail(5200, 3000, tuple(range(0, 3000, 3))) == 3000, "a third of the others is quiet, too"


def test_quiet_symbols_here_and_there_are_no_cut() -> None:
    assert tail(100, 100, tuple(range(0, 100, 7))) is None
    assert tail(100, 99) is None, "one at the end may be quiet"
    assert tail(5, 3) is None
    assert tail(100, 0) is None, "a vendor that sends nothing at all keeps nothing back"
    # Sorted by turnover: livelier at the front, and not one of the last forty.
    chance = random.Random(3)
    quiet = tuple(number for number in range(1000) if chance.random() < number / 1000)
    assert tail(1000, 960, quiet) is None


def test_nobody_says_so_before_everybody_had_the_time() -> None:
    watch = SymbolWatch(10, 20)
    watch.watch(tuple("ABCDEFGHIJKL"))
    watch.sample([0] * 12)
    watch.pass_time(5)
    watch.sample([1] * 5 + [0] * 7)
    assert watch.kept() is None
