"""The birth of a segment as programs: its body is formatted, then the magic word says so."""

from __future__ import annotations

from .explorer import Scenario
from .machine import Process
from .program import Program, Step, check, jump, load, only, store, unless


def opened(*, broken: str = "") -> Scenario:
    """A supervisor that makes a segment, and a reader that opens it at any moment."""
    body = [store("version", 1), store("body", 1)]
    early = broken == "the magic is stored before the body"
    magic: list[Step | str] = [store("magic", 1, release=broken != "the magic is a plain store")]
    maker = [*only(early, *magic), *body, *unless(early, *magic)]  # SYNC POINT: segment-ready
    opener = [
        load("seen", "magic", acquire=broken != "the magic is a plain load"),  # SYNC POINT: segment-ready
        *unless(broken == "the magic is not looked at", jump("end", lambda seen: seen == 0)),
        load("layout", "version"),
        load("body", "body"),
        check(lambda layout, body: layout == body == 1, "a reader took an unfinished segment for a whole one"),
    ]
    return Scenario(
        {"magic": 0, "version": 0, "body": 0},
        [Process("supervisor", Program(maker)), Process("reader", Program(opener))],
    )
