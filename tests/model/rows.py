"""The version word of a row as programs: one writer, readers that retry.

A row is two columns, a and b; after the n-th update both hold n and the version is 2 n, so a copy is consistent if
both columns are half the version that was read with them.
"""

from __future__ import annotations

from .explorer import Scenario
from .machine import Process
from .program import Program, Step, check, jump, let, load, load_fence, only, store, store_fence, unless


def _update(value: int, broken: str) -> list[Step | str]:
    data: list[Step | str] = [store("a", value), store("b", value)]
    early = broken == "the data is written before the version is odd"
    odd = store("version", 2 * value - 1)
    return [
        *only(early, *data),
        *unless(broken == "the version is never odd", odd),
        *unless(broken == "no fence after the odd version", store_fence()),  # SYNC POINT: row-odd
        *unless(early, *data),
        store("version", 2 * value, release=broken != "the even version is a plain store"),  # SYNC POINT: row-even
    ]


def _reader(reads: int, broken: str) -> Program:
    again: list[Step | str] = [
        *unless(broken == "no fence before the version is read again", load_fence()),  # SYNC POINT: row-odd
        load("after", "version"),
        jump("retry", lambda before, after: before != after),
    ]
    return Program(
        [
            let("reads", reads),
            let("newest", 0),
            "retry",
            load("before", "version", acquire=broken != "the version is a plain load"),  # SYNC POINT: row-even
            *unless(broken == "an odd version is not noticed", jump("retry", lambda before: before % 2 == 1)),
            load("x", "a"),
            load("y", "b"),
            *unless(broken == "the version is not read again", *again),
            check(lambda x, y, before: x == y == before // 2, "the reader took a torn row"),
            check(lambda before, newest: before >= newest, "the row went back in time"),
            let("newest", lambda before: before),
            let("reads", lambda reads: reads - 1),
            jump("retry", lambda reads: reads > 0),
        ]
    )


def row(updates: int = 2, *, reads: int = 2, broken: str = "") -> Scenario:
    """One writer, one reader: every copy is whole, and none older than the one before."""
    writer = [step for value in range(1, updates + 1) for step in _update(value, broken)]
    return Scenario(
        {"version": 0, "a": 0, "b": 0},
        [Process("worker", Program(writer)), Process("reader", _reader(reads, broken))],
        lambda memory, _: None if memory["a"] == memory["b"] == updates else "the last update is missing",
    )
