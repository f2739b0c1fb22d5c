"""A market's schedule from its trading calendar: holidays, half days and lunch breaks, for about a year ahead.

The calendars are those of the library ``exchange_calendars``, which brings pandas with it: hundreds of modules that no
process on a tick's path should load. So ``python -m openbell.calendars NAME`` is a process of its own, which lives for
a second; what it says travels in the configuration.
"""

from __future__ import annotations

import difflib
import logging
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from msgspec import Struct

from openbell.config import Config
from openbell.errors import ConfigError
from openbell.sessions import Session, changes, from_now_on

log = logging.getLogger("openbell.calendars")

CHILD_S: Final = 60.0
"""How long the child may take; it is a second, but for the first time on a slow disk."""
_BEFORE: Final = timedelta(days=30)
"""How far back it begins: longer than any market stays closed, so that the present session is there."""
_AHEAD: Final = timedelta(days=370)
_SOON_NS: Final = 30 * 86_400 * 10**9


class _Answer(Struct):
    """What the child says: the sessions, or why there are none."""

    sessions: list[Session] = []
    error: str = ""


def with_schedule(config: Config) -> Config:
    """Return `config` with the schedule of its calendar; as it is if it has none, or has its schedule already.

    Raises
    ------
    ConfigError
        There is no such calendar, or the library is not installed.
    """
    if not config.feed.calendar or config.schedule:
        return config
    now_ns = time.time_ns()
    schedule = changes(ask(config.feed.calendar), config.feed.roll_minutes_before_open)
    if schedule[-1].at_ns - now_ns < _SOON_NS:
        log.warning(
            "feed.calendar: %s is known until %d only; update exchange_calendars, or sessions will not roll after that",
            config.feed.calendar,
            schedule[-1].session,
        )
    return msgspec.structs.replace(config, schedule=from_now_on(schedule, now_ns))


def ask(calendar: str) -> list[Session]:
    """Return the sessions of a calendar from a month ago to a year ahead, found out by a process of its own.

    Raises
    ------
    ConfigError
        There is no such calendar, or the library is not installed.
    """
    command = [sys.executable, "-P", "-m", "openbell.calendars", calendar]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=CHILD_S, check=False, process_group=0
        )
        answer = msgspec.json.decode(done.stdout, type=_Answer)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"feed.calendar: the calendar cannot be looked up: {error}") from None
    except msgspec.MsgspecError:
        said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise ConfigError(
            f"feed.calendar: looking {calendar!r} up failed with exit status {done.returncode}: {said}"
        ) from None
    if answer.error:
        raise ConfigError(f"feed.calendar: {answer.error}")
    if not answer.sessions:
        raise ConfigError(
            f"feed.calendar: {calendar!r} knows no session between a month ago and a year ahead; update "
            "exchange_calendars"
        )
    return answer.sessions


def sessions(calendar: str, first: datetime, last: datetime) -> list[Session]:
    """Return the sessions of a calendar from `first` to `last`, as far as it goes. Loads the library.

    Raises
    ------
    ConfigError
        There is no such calendar, or the library is not installed.
    """
    try:
        import exchange_calendars
    except ImportError:
        raise ConfigError(
            f"{calendar!r} needs the library exchange_calendars, which is not installed; run: pip install "
            "'openbell[calendars]'"
        ) from None
    known = exchange_calendars.get_calendar_names(include_aliases=True)
    if calendar not in known:
        near = difflib.get_close_matches(calendar.upper(), known, n=3)
        others = 'write one such as "XSHG", "XHKG", "XNYS" or "24/7"'
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else others
        raise ConfigError(f"exchange_calendars has no calendar {calendar!r}; {hint}")
    # Only the beginning is given: beyond its last known holidays a calendar refuses an end.
    found = exchange_calendars.get_calendar(calendar, start=first.date())
    table = found.schedule
    rows = zip(table.index, table["open"], table["close"], table["break_start"], table["break_end"], strict=True)
    return [
        Session(int(day.strftime("%Y%m%d")), *(_nanoseconds(moment) for moment in moments))  # type: ignore[arg-type]
        for day, *moments in rows
        if day.date() <= last.date()
    ]


def _nanoseconds(moment: datetime) -> int | None:
    """Return a time in ns since the epoch; None for pandas' "not a time", which does not equal itself."""
    return round(moment.timestamp()) * 10**9 if moment == moment else None


def main(argv: Sequence[str]) -> int:
    """Print the sessions of the calendar that is named, or why there are none, as JSON."""
    (calendar,) = argv
    now = datetime.now(UTC)
    try:
        answer = _Answer(sessions=sessions(calendar, now - _BEFORE, now + _AHEAD))
    except ConfigError as error:
        answer = _Answer(error=str(error))
    sys.stdout.buffer.write(msgspec.json.encode(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
