"""Tethered readers as programs: the join without the producer's help, the gate, and the cut.

As in `ring.py` a record is two words, whole if both are its position + 1. The ring has two slots, and half of it, one
record, is claimed at a time. The worker holds nobody back here. The state of a slot is one word, ``epoch * 4 + state``.
"""

from __future__ import annotations

from collections.abc import Callable

from .explorer import Results, Scenario
from .machine import Process
from .program import (
    Memory,
    Program,
    Step,
    check,
    full_fence,
    jump,
    kernel,
    let,
    load,
    load_fence,
    only,
    store,
    store_fence,
    unless,
)

FREE, ACTIVE, CUT = 0, 2, 3
CAPACITY, HALF, CHUNK = 2, 1, 1
FAR = 1_000  # the cursor of nobody


def _words() -> Memory:
    slots = {f"slot{slot}.{word}": 0 for slot in range(CAPACITY) for word in "ab"}
    return {"claim": 0, "head": 0, "state": FREE, "cursor": 0, **slots}


def _slot(word: str) -> Callable[[int], str]:
    return lambda position: f"slot{position % CAPACITY}.{word}"


def _swap_if(word: str, expected: str, change: Callable[[int], int]) -> Step:
    """Change a word if it still is what a register holds: one atomic action, ordered with everything."""

    def swap(memory: Memory, held: int) -> Memory:
        return {word: change(held)} if memory[word] == held else {}

    return kernel(f"{word}: swap if unchanged", swap, expected)


def _look(broken: str) -> list[Step | str]:
    """See where the reader is, if it has changed its state or the room that is known of is used up."""
    return [
        load("now", "state", acquire=broken != "the producer's state is a plain load"),  # SYNC POINT: tether-join
        jump("known", lambda now, state, position, lowest: now == state and position + CHUNK <= lowest + CAPACITY),
        "look",
        let("state", lambda now: now),
        let("lowest", FAR),
        jump("known", lambda state: state % 4 != ACTIVE),
        load("lowest", "cursor", acquire=True),  # SYNC POINT: tether-gate
        "known",
    ]


def _publish_until(total: int, cuts: bool, broken: str) -> list[Step | str]:
    """Write and publish up to ``total``; a reader that leaves no room is waited for, or cut the second time."""
    cut = _swap_if("state", "state", lambda state: state | CUT)
    late_cut = broken == "the cut comes after the record"
    return [
        "next",
        let("looks", 0),
        *unless(broken == "no fence between a claim and the next look", full_fence()),  # SYNC POINT: tether-join
        *unless(broken == "the states are not looked at", *_look(broken)),
        jump("room", lambda position, lowest: position + CHUNK <= lowest + CAPACITY),
        jump("held", lambda looks: not cuts or looks == 0),
        *only(late_cut, let("lowest", FAR), jump("room")),
        cut,  # SYNC POINT: tether-cut
        "held",
        let("looks", 1),
        load("now", "state", acquire=True),
        *unless(broken == "the states are not looked at", jump("look")),
        "room",
        store("claim", lambda position: position + CHUNK),
        store_fence(),
        *(store(_slot(word), lambda position: position + 1) for word in "ab"),
        *only(late_cut, cut),
        let("position", lambda position: position + 1),
        store("head", lambda position: position, release=True),
        jump("next", lambda position: position < total),
    ]


def _producer(total: int, cuts: bool, broken: str) -> Program:
    start = [let("position", 0), let("state", FREE), let("lowest", FAR)]
    return Program([*start, *_publish_until(total, cuts, broken)])


def _restarted_producer(total: int) -> Program:
    """Pad what the dead producer had claimed, then go on: it may have been about to look at the states."""
    return Program(
        [
            load("position", "head"),
            load("claimed", "claim"),
            let("state", FREE),
            let("lowest", FAR),
            jump("padded", lambda position, claimed: position == claimed),
            *(store(_slot(word), lambda position: position + 1) for word in "ab"),
            let("position", lambda position: position + 1),
            store("head", lambda position: position, release=True),
            "padded",
            jump("end", lambda position: position >= total),
            *_publish_until(total, True, ""),
        ]
    )


def _join(name: str, back: int, broken: str) -> list[Step | str]:
    """Join ``back`` records behind the head."""
    state = store("state", lambda mine: mine, release=broken != "the reader's state is a plain store")
    cursor = store("cursor", lambda position: position)
    slack = HALF if broken == "a claim of more than half a ring ahead is accepted" else 0
    epoch = 0 if broken == "the epoch stays the same" else 1
    return [
        load("head", "head", acquire=True),
        load("before", "state"),
        let("position", lambda head: max(0, head - back)),
        let("mine", lambda before: (before // 4 + epoch) * 4 + ACTIVE),
        cursor,
        state,
        *unless(broken == "no fence after joining", full_fence()),  # SYNC POINT: tether-join
        f"{name} look",
        *unless(
            broken == "the claim is not looked at",
            load("claim", "claim", acquire=True),
            jump(f"{name} in", lambda claim, position: claim <= position + HALF + slack),
            load("head", "head", acquire=True),
            let("position", lambda head: head),
            store("cursor", lambda position: position, release=True),
            jump(f"{name} look"),
        ),
        f"{name} in",
    ]


def _read(name: str, total: int, count: int, broken: str) -> list[Step | str]:
    """Read ``count`` records, fewer if the feed has no more; go to ``cut`` when cut off."""
    early = broken == "a record is let go before it is read"
    unlooked = broken == "the state is not looked at after reading"
    advance = store("cursor", lambda position: position + 1, release=broken != "the cursor is a plain store")
    judge: list[Step | str] = [
        *unless(broken == "no fence before the state is looked at", load_fence()),  # SYNC POINT: tether-cut
        load("now", "state"),
        jump("cut", lambda now, mine: now != mine),
    ]
    return [
        let("left", count),
        f"{name} wait",
        jump(f"{name} done", lambda left, position: left == 0 or position >= total),
        load("head", "head", acquire=True),  # SYNC POINT: ring-head
        jump(f"{name} wait", lambda head, position: head <= position),
        *only(early, advance),
        *(load(word, _slot(word)) for word in "ab"),
        *unless(unlooked, *judge),
        check(lambda a, b, position: a == b == position + 1, "the reader believed a torn or foreign record"),
        *unless(early, advance),  # SYNC POINT: tether-gate
        let("read", lambda read: read + 1),
        let("position", lambda position: position + 1),
        let("left", lambda left: left - 1),
        jump(f"{name} wait"),
        f"{name} done",
    ]


def _leave() -> Step:
    return _swap_if("state", "mine", lambda mine: mine - mine % 4)


def _reader(total: int, count: int, *, again: bool, broken: str) -> Program:
    """Join and read; with ``again`` leave, and join once more, one record back."""
    more = [_leave(), *_join("second", 1, broken), *_read("second", total, count, broken)]
    return Program(
        [
            let("read", 0),
            *_join("first", 0, broken),
            *_read("first", total, count, broken),
            *only(again, *more),
            "cut",
            _leave(),
        ],
        results=("read",),
    )


def _all_published(total: int) -> Callable[[Memory, Results], str | None]:
    return lambda memory, _: None if memory["head"] == total else "the reader held the producer for ever"


def tethered(total: int = 4, *, count: int = 2, broken: str = "") -> Scenario:
    """A producer that waits for its reader as long as it takes, and one that joins at any moment and leaves."""
    return Scenario(
        _words(),
        [
            Process("producer", _producer(total, False, broken)),
            Process("reader", _reader(total, count, again=False, broken=broken)),
        ],
        _all_published(total),
    )


def cut_off(total: int = 4, *, count: int = 2, broken: str = "") -> Scenario:
    """A producer that cuts its reader the second time it finds it in the way."""
    return Scenario(
        _words(),
        [
            Process("producer", _producer(total, True, broken)),
            Process("reader", _reader(total, count, again=False, broken=broken)),
        ],
        _all_published(total),
    )


def comes_back(total: int = 4, *, broken: str = "") -> Scenario:
    """A reader that leaves and joins again, further back than it was."""
    return Scenario(
        _words(),
        [
            Process("producer", _producer(total, False, broken)),
            Process("reader", _reader(total, 1, again=True, broken=broken)),
        ],
        _all_published(total),
    )


def producer_restarts(total: int = 3, *, broken: str = "") -> Scenario:
    """A producer that is killed anywhere, and its reader: padding is a record like any other."""
    return Scenario(
        _words(),
        [
            Process("producer", _producer(total, True, ""), _restarted_producer(total), 1),
            Process("reader", _reader(total, 2, again=False, broken=broken)),
        ],
        _all_published(total),
    )
