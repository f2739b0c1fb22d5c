"""A market's day as the moments at which something changes, and the clock that tells of them."""

from __future__ import annotations

import asyncio
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell.config import Change
from openbell.receiver.clock import MarketClock
from openbell.record import MarketStatus
from openbell.sessions import Session, changes, from_now_on

MINUTE = 60 * 10**9
HOUR = 60 * MINUTE
DAY = 24 * HOUR
CLOSED, PRE_OPEN, OPEN, BREAK = (
    MarketStatus.CLOSED, MarketStatus.PRE_OPEN, MarketStatus.OPEN, MarketStatus.BREAK,
)  # fmt: skip
START = 1_767_571_200 * 10**9


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


def session(date: int, begins: int, length: int = 6 * HOUR, lunch: bool = True) -> Session:
    pause = (begins + 2 * HOUR, begins + 3 * HOUR) if lunch else (None, None)
    return Session(date, begins, begins + length, *pause)


def told(found: tuple[Change, ...]) -> list[tuple[int, int, int]]:
    return [(change.at_ns - START, change.session, change.status) for change in found]


# ---- the moments ----


def test_a_day_with_a_lunch_break_has_five_moments() -> None:
    assert told(changes([session(20260105, START + HOUR)], 45)) == [
        (15 * MINUTE, 20260105, PRE_OPEN),
        (1 * HOUR, 20260105, OPEN),
        (3 * HOUR, 20260105, BREAK),
        (4 * HOUR, 20260105, OPEN),
        (7 * HOUR, 20260105, CLOSED),
    ]


def test_without_a_lunch_break_there_are_three() -> None:
    found = changes([session(20260105, START, lunch=False)], 30)
    assert [change.status for change in found] == [PRE_OPEN, OPEN, CLOSED]


def test_a_roll_at_the_open_leaves_the_open() -> None:
    assert [change.status for change in changes([session(20260105, START, lunch=False)], 0)] == [OPEN, CLOSED]


def test_a_market_that_never_closes_only_rolls() -> None:
    days = [session(20260105 + day, START + day * DAY, DAY, lunch=False) for day in range(3)]
    assert told(changes(days, 45)) == [
        (-45 * MINUTE, 20260105, PRE_OPEN),
        (0, 20260105, OPEN),
        (DAY, 20260106, OPEN),
        (2 * DAY, 20260107, OPEN),
        (3 * DAY, 20260107, CLOSED),
    ]


@given(
    st.lists(st.tuples(st.integers(0, 3 * DAY), st.integers(4 * HOUR, DAY), st.booleans()), min_size=1, max_size=8),
    st.integers(0, 1440),
)
def test_moments_are_in_order_and_sessions_never_go_back(days: list[tuple[int, int, bool]], roll: int) -> None:
    sessions, at = [], START
    for number, (night, length, lunch) in enumerate(days):
        sessions.append(session(20260101 + number, at + night, length, lunch))
        at += night + length
    found = changes(sessions, roll)
    moments = [change.at_ns for change in found]
    assert moments == sorted(set(moments))
    assert [change.session for change in found] == sorted(change.session for change in found)
    assert {change.session for change in found if change.status == OPEN} == {each.date for each in sessions}


def test_a_schedule_begins_with_what_holds_now() -> None:
    whole = changes([session(20260105, START), session(20260106, START + DAY)], 45)
    for now, first in ((START, OPEN), (START + 2 * HOUR, BREAK), (START + 7 * HOUR, CLOSED)):
        left = from_now_on(whole, now)
        assert left[0].status == first and left[0].at_ns <= now < left[1].at_ns
    assert from_now_on(whole, START - DAY) == whole
    assert from_now_on(whole, START + 9 * DAY) == whole[-1:]
    assert from_now_on((), START) == ()


# ---- the clock ----


class Hall:
    """A wall clock that moves when somebody sleeps, and rings that take what is published."""

    def __init__(self, now_ns: int, waiting: int = 0) -> None:
        self.now_ns = now_ns
        self.waiting = waiting
        self.published: list[tuple[int, int, int]] = []
        self.slept: list[float] = []
        self.steps: dict[int, int] = {}
        self.comes_ns: list[int] = []
        self.passed_ns = 0

    def known(self) -> int:
        return sum(at_ns <= self.now_ns for at_ns in self.comes_ns)

    def held_up(self) -> bool:
        return self.now_ns < self.passed_ns

    def wall_ns(self) -> int:
        return self.now_ns

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_ns += round(seconds * 1e9) + self.steps.pop(len(self.slept), 0)
        await asyncio.sleep(0)

    def publish_status(self, session: int, status: int) -> None:
        self.published.append((self.now_ns, session, status))

    def drain(self) -> int:
        self.waiting = max(0, self.waiting - 1)
        return self.waiting

    def run(self, schedule: tuple[Change, ...]) -> list[tuple[int, int, int]]:
        asyncio.run(MarketClock(schedule, self, self.known, self.held_up, self.wall_ns, self.sleep).run())
        return self.published


SCHEDULE = (
    Change(START, 20260105, PRE_OPEN),
    Change(START + 50 * 10**9, 20260105, OPEN),
    Change(START + 80 * 10**9, 20260105, CLOSED),
)


def test_the_clock_tells_each_change_once_and_when_it_is_due() -> None:
    assert Hall(START - 7 * 10**9).run(SCHEDULE) == [tuple_of(change) for change in SCHEDULE]


def test_the_clock_begins_with_what_holds_and_leaves_out_what_is_over() -> None:
    now = START + 60 * 10**9
    assert Hall(now).run(SCHEDULE) == [(now, 20260105, OPEN), tuple_of(SCHEDULE[2])]


def test_symbols_that_come_later_are_told_what_holds() -> None:
    hall = Hall(START)
    second = 10**9
    hall.comes_ns = [START - second, START, START + 3 * second, START + 70 * second, START + 80 * second]
    assert hall.run(SCHEDULE) == [
        (START, 20260105, PRE_OPEN),
        (START + 3 * second, 20260105, PRE_OPEN),
        (START + 50 * second, 20260105, OPEN),
        (START + 70 * second, 20260105, OPEN),
        (START + 80 * second, 20260105, CLOSED),
    ]


NEXT = (*SCHEDULE, Change(START + 100 * 10**9, 20260106, PRE_OPEN), Change(START + 200 * 10**9, 20260106, OPEN))


def test_a_session_begins_when_what_came_before_it_has_passed() -> None:
    hall = Hall(START)
    hall.passed_ns = START + 101 * 10**9
    assert hall.run(NEXT) == [
        *(tuple_of(change) for change in SCHEDULE),
        (hall.passed_ns, 20260106, PRE_OPEN),
        tuple_of(NEXT[-1]),
    ]


def test_a_session_does_not_wait_for_ever_for_workers_that_never_catch_up(caplog: pytest.LogCaptureFixture) -> None:
    hall = Hall(START)
    hall.passed_ns = START + 10**15
    assert [(session, status) for _, session, status in hall.run(NEXT)][-2:] == [(20260106, PRE_OPEN), (20260106, OPEN)]
    assert "the workers are behind" in caplog.text


def test_before_the_first_change_nothing_holds_that_could_be_told() -> None:
    hall = Hall(START - 7 * 10**9)
    hall.comes_ns = [START - 3 * 10**9]
    assert hall.run(SCHEDULE) == [tuple_of(change) for change in SCHEDULE]


def test_a_clock_that_is_set_back_tells_nothing_twice() -> None:
    hall = Hall(START)
    hall.steps = {2: -3_600 * 10**9}
    assert [status for _, _, status in hall.run(SCHEDULE)] == [PRE_OPEN, OPEN, CLOSED]
    assert max(hall.slept) <= 10.0, "a step is noticed"


def test_a_machine_that_slept_over_a_change_tells_the_last_one_alone() -> None:
    hall = Hall(START)
    hall.steps = {1: 3_600 * 10**9}
    assert [status for _, _, status in hall.run(SCHEDULE)] == [PRE_OPEN, CLOSED]


def test_a_full_ring_is_waited_for() -> None:
    hall = Hall(START + 90 * 10**9, waiting=5)
    hall.run(SCHEDULE)
    assert hall.waiting == 0


def test_the_end_of_a_schedule_is_said_and_an_empty_one_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    Hall(START).run(())
    assert caplog.text == ""
    Hall(START).run(SCHEDULE)
    assert "the schedule ends with session 20260105" in caplog.text


def tuple_of(change: Change) -> tuple[int, int, int]:
    return (change.at_ns, change.session, change.status)
