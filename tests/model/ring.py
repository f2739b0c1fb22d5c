"""The ring as programs: publish, gate, tap, and the restart of a killed producer.

A record is two words, so that a torn one shows; the record of position p is whole if both words are p + 1, or both are
`PAD`. Rings have two or four slots and are claimed one or two at a time: the smallest sizes in which a lap, a full ring
and a claim ahead of the head all happen.
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
    jump,
    let,
    load,
    load_fence,
    only,
    store,
    store_fence,
    unless,
)

PAD = 99
OPEN = 1_000  # an `applied` so far ahead that the gate never holds the producer back


def _words(capacity: int) -> Memory:
    slots = {f"slot{slot}.{word}": 0 for slot in range(capacity) for word in "ab"}
    return {"claim": 0, "head": 0, "applied": 0, **slots}


def _slot(capacity: int, word: str) -> Callable[[int], str]:
    return lambda position: f"slot{position % capacity}.{word}"


def _write(capacity: int, value: Callable[[int], int]) -> list[Step | str]:
    return [store(_slot(capacity, word), lambda position: value(position)) for word in "ab"]


def _read(capacity: int, message: str) -> tuple[list[Step | str], Step]:
    """Return the loads of a record, and the check that it is whole."""
    loads: list[Step | str] = [load(word, _slot(capacity, word)) for word in "ab"]
    return loads, check(lambda a, b, position: a == b and a in (position + 1, PAD), message)


def _publish_until(total: int, capacity: int, chunk: int, batch: int, broken: str) -> list[Step | str]:
    """Write and publish up to position ``total``; the head moves every ``batch`` records and whenever room runs out."""
    early_head = broken == "the head moves before the records are written"
    late_claim = broken == "the claim moves after the records are written"
    claim: list[Step | str] = [store("claim", lambda claimed: claimed)]
    head: list[Step | str] = [
        jump("later", lambda position: (position + 1) % batch != 0 and position + 1 != total),
        store("head", lambda position: position + 1, release=broken != "the head is a plain store"),
        "later",
    ]
    return [
        "next",
        jump("end", lambda position: position >= total),
        jump("claimed", lambda position, claimed: position < claimed),
        # Publish what is written before asking for room, or a worker that waits for it could never make any.
        *unless(broken == "a full ring is not published", store("head", lambda position: position, release=True)),
        jump("room", lambda position, gate: position + chunk <= gate + capacity),
        "full",
        load("gate", "applied", acquire=broken != "the gate is a plain load"),  # SYNC POINT: ring-gate
        jump("full", lambda position, gate: position >= gate + capacity),
        "room",
        let("claimed", lambda position, gate: min(position + chunk, gate + capacity)),
        *unless(late_claim, *claim),
        *unless(broken == "no fence after the claim", store_fence()),  # SYNC POINT: ring-claim
        "claimed",
        *only(early_head, *head),
        *_write(capacity, lambda position: position + 1),
        *only(late_claim, store_fence(), *claim),
        *unless(early_head, *head),  # SYNC POINT: ring-head
        let("position", lambda position: position + 1),
        jump("next"),
    ]


def _producer(total: int, capacity: int, chunk: int, batch: int, gate: int, broken: str = "") -> Program:
    gate = OPEN if broken == "the gate is not looked at" else gate
    start = [let("position", 0), let("claimed", 0), let("gate", gate)]
    return Program([*start, *_publish_until(total, capacity, chunk, batch, broken)])


def _restarted_producer(total: int, capacity: int, chunk: int, gate: int, broken: str) -> Program:
    """Make what the dead producer had claimed harmless, then go on publishing."""
    head = store("head", lambda claimed: claimed, release=True)
    early = broken == "the head moves before the padding is written"
    mend: list[Step | str] = [
        *only(early, head),
        "pad",
        jump("padded", lambda position, claimed: position >= claimed),
        *_write(capacity, lambda _position: PAD),
        let("position", lambda position: position + 1),
        jump("pad"),
        "padded",
        *unless(early, head),
    ]
    if broken == "the claim is taken back at restart":
        mend = [let("claimed", lambda position: position), store("claim", lambda claimed: claimed)]
    elif broken == "no padding at restart":
        mend = [let("position", lambda claimed: claimed), head]
    elif broken == "the claim is kept and written again from the head":  # no mutant: it is right as well
        mend = []
    start: list[Step | str] = [load("position", "head"), load("claimed", "claim"), let("gate", gate)]
    return Program([*start, *mend, *_publish_until(total, capacity, chunk, 1, "")])


def _worker(total: int, capacity: int, broken: str = "") -> Program:
    early_gate = broken == "applied moves before the record is read"
    applied = store("applied", lambda position: position + 1, release=broken != "applied is a plain store")
    loads, whole = _read(capacity, "the worker read a torn or foreign record")
    return Program(
        [
            let("position", 0),
            "wait",
            load("head", "head", acquire=broken != "the worker's head is a plain load"),  # SYNC POINT: ring-head
            jump("wait", lambda position, head: head <= position),
            "record",
            *only(early_gate, applied),
            *loads,
            whole,
            *unless(early_gate, applied),  # SYNC POINT: ring-gate
            let("position", lambda position: position + 1),
            jump("end", lambda position: position == total),
            jump("record", lambda position, head: position < head),
            jump("wait"),
        ]
    )


def _tap(rounds: int, capacity: int, broken: str = "") -> Program:
    """Look ``rounds`` times for the next record; count exactly what was missed."""
    slack = 1 if broken == "a lap is noticed one position too late" else 0
    again: list[Step | str] = [
        *unless(broken == "no fence before the claim is read again", load_fence()),
        load("claim", "claim", acquire=broken != "the claim is a plain load"),  # SYNC POINT: ring-claim
        jump("lapped", lambda claim, position: claim > position + capacity + slack),
    ]
    loads, whole = _read(capacity, "the tap handed out a torn or foreign record")
    return Program(
        [
            let("position", 0),
            let("seen", ()),
            let("skipped", 0),
            let("rounds", rounds),
            "again",
            jump("end", lambda rounds: rounds == 0),
            let("rounds", lambda rounds: rounds - 1),
            load("head", "head", acquire=broken != "the tap's head is a plain load"),  # SYNC POINT: ring-head
            check(lambda head, position: head >= position, "the head is behind the tap: head - position wraps around"),
            jump("again", lambda head, position: head <= position),
            jump("lapped", lambda head, position: head > position + capacity),
            *loads,
            *unless(broken == "the claim is not read again", *again),
            whole,
            let("seen", lambda seen, position: (*seen, position)),
            let("position", lambda position: position + 1),
            jump("again"),
            "lapped",
            load("head", "head", acquire=True),
            check(lambda head: head >= capacity // 2, "the head is stale: head - capacity/2 wraps around"),
            let("resume", lambda head, position: max(position + 1, head - capacity // 2)),
            let("skipped", lambda skipped, position, resume: skipped + resume - position),
            let("position", lambda resume: resume),
            jump("again"),
        ],
        results=("position", "seen", "skipped"),
    )


def _nothing_uncounted(_memory: Memory, results: Results) -> str | None:
    kept = results["tap"]
    seen, skipped, position = kept["seen"], kept["skipped"], kept["position"]
    assert isinstance(seen, tuple)
    assert isinstance(skipped, int)
    if list(seen) != sorted(set(seen)):
        return f"the tap was given {seen}: not in order"
    if len(seen) + skipped != position:
        return f"the tap was given {seen} and told of {skipped} skipped before {position}"
    return None


def gated(total: int = 4, *, chunk: int = 2, batch: int = 3, broken: str = "") -> Scenario:
    """Producer and worker on two slots: every record once, in order, whole."""
    producer = _producer(total, 2, chunk, batch, 0, broken)
    return Scenario(
        _words(2),
        [Process("producer", producer), Process("worker", _worker(total, 2, broken))],
        lambda memory, _: None if memory["applied"] == total else "not all records were applied",
    )


def tapped(
    total: int = 4, *, capacity: int = 2, chunk: int = 1, batch: int = 1, rounds: int = 3, broken: str = ""
) -> Scenario:
    """Producer and tap, the gate wide open: what the tap is given is whole, what it is not given is counted."""
    producer = _producer(total, capacity, chunk, batch, OPEN, broken)
    return Scenario(
        _words(capacity),
        [Process("producer", producer), Process("tap", _tap(rounds, capacity, broken))],
        _nothing_uncounted,
    )


def gated_restart(total: int = 3, *, crashes: int = 2, broken: str = "") -> Scenario:
    """A producer that is killed anywhere, twice, and its worker: padding or record, every position once."""
    first = _producer(total, 2, 2, 2, 0)
    again = _restarted_producer(total, 2, 2, 0, broken)
    return Scenario(
        _words(2),
        [Process("producer", first, again, crashes), Process("worker", _worker(total, 2))],
        lambda memory, _: None if memory["applied"] == total else "not all records were applied",
    )


def tapped_restart(total: int = 4, *, rounds: int = 2, broken: str = "") -> Scenario:
    """A producer that is killed anywhere and a tap: no torn record passes for a whole one."""
    first = _producer(total, 2, 2, 2, OPEN)
    again = _restarted_producer(total, 2, 2, OPEN, broken)
    return Scenario(
        _words(2), [Process("producer", first, again, 1), Process("tap", _tap(rounds, 2))], _nothing_uncounted
    )
