"""The real trading calendars: lunch breaks, holidays and half days, and a process of its own that knows them."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from openbell import calendars
from openbell.config import Change, Config, Feed, Source
from openbell.errors import ConfigError
from openbell.record import MarketStatus
from openbell.sessions import Session, changes

# The library's, about its own dependencies.
pytestmark = pytest.mark.filterwarnings("ignore::Warning:exchange_calendars")


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * 10**9


def days(calendar: str, first: str, last: str) -> dict[int, Session]:
    first_day, last_day = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (first, last))
    return {session.date: session for session in calendars.sessions(calendar, first_day, last_day)}


def test_shanghai_has_a_lunch_break_and_no_session_on_new_years_day() -> None:
    found = days("XSHG", "2025-12-30", "2026-01-06")
    # 1 to 3 January are the holiday, the 4th is a Sunday.
    assert list(found) == [20251230, 20251231, 20260105, 20260106]
    monday = found[20260105]
    assert monday == Session(
        20260105,
        at("2026-01-05T09:30+08:00"),
        at("2026-01-05T15:00+08:00"),
        at("2026-01-05T11:30+08:00"),
        at("2026-01-05T13:00+08:00"),
    )
    assert changes([monday], 45)[0] == Change(at("2026-01-05T08:45+08:00"), 20260105, MarketStatus.PRE_OPEN)


def test_hong_kong_closes_at_noon_on_christmas_eve_without_a_lunch_break() -> None:
    found = days("XHKG", "2025-12-23", "2025-12-29")
    assert list(found) == [20251223, 20251224, 20251229]
    assert found[20251223].break_ns == at("2025-12-23T12:00+08:00")
    assert found[20251224] == Session(20251224, at("2025-12-24T09:30+08:00"), at("2025-12-24T12:00+08:00"))


def test_new_york_closes_early_after_thanksgiving_and_follows_daylight_saving_time() -> None:
    found = days("XNYS", "2025-10-31", "2025-11-28")
    assert 20251127 not in found
    assert found[20251128].close_ns == at("2025-11-28T13:00-05:00")
    assert found[20251031].open_ns == at("2025-10-31T09:30-04:00")
    assert found[20251103].open_ns == at("2025-11-03T09:30-05:00")


def test_a_market_that_never_closes_has_a_session_each_day() -> None:
    assert len(days("24/7", "2026-02-01", "2026-02-28")) == 28


def config_of(**feed: object) -> Config:
    return Config(feed=Feed(name="x", **feed), sources=(Source(vendor="binance", symbols=("A",)),))  # type: ignore[arg-type]


def test_the_schedule_is_found_out_by_another_process_and_holds_the_present() -> None:
    with_one = calendars.with_schedule(config_of(calendar="XNYS"))
    now = datetime.now(UTC).timestamp() * 1e9
    first, second = with_one.schedule[:2]
    assert first.at_ns <= now < second.at_ns
    assert len(with_one.schedule) > 500, "about a year ahead"
    assert calendars.with_schedule(with_one) is with_one
    assert Config.from_json(with_one.to_json()) == with_one


def test_without_a_calendar_there_is_no_schedule() -> None:
    config = config_of()
    assert calendars.with_schedule(config) is config


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("XSHH", "feed.calendar: exchange_calendars has no calendar 'XSHH'; did you mean 'XSHG'"),
        ("123456789", "feed.calendar: exchange_calendars has no calendar '123456789'; write one such as"),
    ],
)
def test_a_calendar_that_does_not_exist_is_refused(name: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        calendars.with_schedule(config_of(calendar=name))
    assert str(caught.value).startswith(said)


def test_a_missing_library_is_said_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "exchange_calendars", None)
    with pytest.raises(ConfigError, match=r"which is not installed; run: pip install 'openbell\[calendars\]'"):
        days("XSHG", "2026-01-01", "2026-01-02")


def test_a_child_that_fails_is_no_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    run = subprocess.run

    def broken(command: list[str], **options: object) -> object:
        return run([command[0], "-c", "raise SystemExit('out of order')"], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", broken)
    with pytest.raises(ConfigError, match="failed with exit status 1: out of order"):
        calendars.ask("XSHG")


def test_nobody_who_asks_for_a_schedule_loads_the_library() -> None:
    program = (
        "import sys; from openbell import calendars, supervisor; calendars.ask('XSHG'); "
        "sys.exit(any(name in sys.modules for name in ('pandas', 'exchange_calendars', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
