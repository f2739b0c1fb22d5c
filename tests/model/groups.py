"""Groups of records in a ring: published as a whole, and never half there after a crash of the producer.

A group is two records. A record is one word here, for that none is torn is shown for the ring as such: its position
+ 1, plus `BEGINS` or `ENDS`; or `PAD`. Claims are for two slots, because that is what a group needs.
"""

from __future__ import annotations

from .explorer import LastCheck, Scenario
from .machine import Process
from .program import Memory, Program, Step, check, jump, let, load, load_fence, only, store, store_fence, unless

CAPACITY = 4
BEGINS, ENDS, PAD = 10, 20, 99


def _words() -> Memory:
    return {"claim": 0, "head": 0, "applied": 0, **{f"slot{slot}": 0 for slot in range(CAPACITY)}}


def _slot(position: int) -> str:
    return f"slot{position % CAPACITY}"


def _next_slot(position: int) -> str:
    return _slot(position + 1)


def _room(name: str, need: int, broken: str) -> list[Step | str]:
    """Claim `need` slots from `position` on, unless they are claimed; publish first what is written."""
    head = store("head", lambda position: position, release=True)
    return [
        jump(f"claimed {name}", lambda position, claimed: position + need <= claimed),
        head,
        f"full {name}",
        load("gate", "applied", acquire=True),  # SYNC POINT: ring-gate
        jump(f"full {name}", lambda position, gate: position + need > gate + CAPACITY),
        let("claimed", lambda position, gate, claimed: max(claimed, min(position + need, gate + CAPACITY))),
        store("claim", lambda claimed: claimed),
        *unless(broken == "no fence after the claim", store_fence()),  # SYNC POINT: ring-claim
        f"claimed {name}",
    ]


def _publish_groups(total: int, broken: str) -> list[Step | str]:
    """Publish groups up to position ``total``."""
    apart = broken == "each record of a group is claimed for itself"
    early = broken == "the head moves within a group"
    head = store("head", lambda position: position, release=broken != "the head is a plain store")
    first = store(_slot, lambda position: position + 1 + BEGINS)
    second = store(_slot, lambda position: position + 1 + ENDS)
    advance = let("position", lambda position: position + 1)
    return [
        "next",
        jump("end", lambda position: position >= total),
        *_room("group", 1 if apart else 2, broken),
        first,
        advance,
        *only(early, store("head", lambda position: position, release=True)),
        *only(apart, *_room("second", 1, broken)),
        second,
        advance,
        head,  # SYNC POINT: ring-head
        jump("next"),
    ]


def _producer(total: int, gate: int, broken: str) -> Program:
    return Program([let("position", 0), let("claimed", 0), let("gate", gate), *_publish_groups(total, broken)])


def _restarted_producer(total: int, gate: int, broken: str) -> Program:
    """Fill with padding what was claimed and not published; then go on with whole groups."""
    padding: list[Step | str] = [
        "pad",
        jump("padded", lambda position, claimed: position >= claimed),
        store(_slot, PAD),
        let("position", lambda position: position + 1),
        jump("pad"),
        "padded",
    ]
    return Program(
        [
            load("position", "head"),
            load("claimed", "claim"),
            let("gate", gate),
            *unless(broken == "no padding at restart", *padding),
            *only(broken == "no padding at restart", let("position", lambda claimed: claimed)),
            store("head", lambda claimed: claimed, release=True),  # SYNC POINT: ring-head
            *_publish_groups(total, broken),
        ]
    )


def _worker(total: int, broken: str) -> Program:
    """Take unit by unit: padding, or a group that is whole and shown as a whole."""
    early = broken == "applied passes a group before all of it is read"
    passed = store("applied", lambda position: position + 2, release=True)
    return Program(
        [
            let("position", 0),
            "next",
            jump("end", lambda position: position >= total),
            "empty",
            load("head", "head", acquire=True),  # SYNC POINT: ring-head
            jump("empty", lambda position, head: head <= position),
            load("a", _slot),
            jump("padding", lambda a: a == PAD),
            check(lambda a, position: a == position + 1 + BEGINS, "what stands here begins no group"),
            check(lambda position, head: position + 2 <= head, "half a group is shown"),
            *only(early, passed),
            load("b", _next_slot),
            check(lambda b, position: b == position + 2 + ENDS, "a group without its end"),
            let("position", lambda position: position + 1),
            "padding",
            let("position", lambda position: position + 1),
            store("applied", lambda position: position, release=True),  # SYNC POINT: ring-gate
            jump("next"),
        ]
    )


def _done(total: int) -> LastCheck:
    return lambda memory, _: None if int(str(memory["applied"])) >= total else "not all records were applied"


def groups(total: int = 6, *, broken: str = "") -> Scenario:
    """Groups through a ring that has room for two of them: the worker meets none in part."""
    processes = [Process("producer", _producer(total, 0, broken)), Process("worker", _worker(total, broken))]
    return Scenario(_words(), processes, _done(total))


def groups_restart(total: int = 4, *, crashes: int = 2, broken: str = "") -> Scenario:
    """A producer that is killed anywhere, in the middle of a group as well, and its worker."""
    producer = Process("producer", _producer(total, 0, broken), _restarted_producer(total, 0, broken), crashes)
    return Scenario(_words(), [producer, Process("worker", _worker(total, broken))], _done(total))


def _tap(broken: str) -> Program:
    """Copy a group from a position that is the beginning of one, and judge both of its records at once."""
    late = 2 if broken == "a lap is noticed one group too late" else 0
    return Program(
        [
            let("position", 0),
            load("head", "head", acquire=True),  # SYNC POINT: ring-head
            jump("end", lambda head: head < 2),
            load("a", _slot),
            load("b", _next_slot),
            *unless(broken == "no fence before the claim is read again", load_fence()),  # SYNC POINT: ring-claim
            load("claim", "claim", acquire=True),
            jump("end", lambda claim, position: claim > position + late + CAPACITY),
            check(lambda a: a == 1 + BEGINS, "a group of which the first record was overwritten"),
            check(lambda b: b == 2 + ENDS, "a group of which the second record was overwritten"),
        ]
    )


def groups_tapped(total: int = 6, *, broken: str = "") -> Scenario:
    """A producer that nothing holds back, and a tap that reads the first group."""
    processes = [Process("producer", _producer(total, 1_000, broken)), Process("tap", _tap(broken))]
    return Scenario({**_words(), "applied": 1_000}, processes)
