"""The bell that any number of readers share, as programs. As with the doorbell, a wake-up that is lost is for ever.

What sets it apart: nobody takes an announcement back, because the flag may be another reader's announcement by then.
"""

from __future__ import annotations

from .doorbell import futex_wait
from .explorer import Scenario
from .machine import Process
from .program import Memory, Program, Step, full_fence, jump, kernel, let, load, only, store, swap, unless

READERS = ("first", "second")


def _wake(*, one: bool = False) -> Step:
    def wake(memory: Memory) -> Memory:
        asleep = [name for name in READERS if memory[f"{name}.asleep"]]
        return {f"{name}.asleep": 0 for name in (asleep[:1] if one else asleep)}

    return kernel("futex_wake", wake)


def _ring(label: str, broken: str) -> list[Step | str]:
    call = _wake(one=broken == "only one reader is woken")
    late = broken == "the bell moves after the wake-up"
    move = swap("_", "bell", lambda old: old + 1)
    return [
        *unless(broken == "no fence before the flag is read", full_fence()),  # SYNC POINT: readers-ring
        load("waiting", "waiting"),
        jump(label, lambda waiting: waiting == 0),
        swap("waiting", "waiting", 0),
        jump(label, lambda waiting: waiting == 0),
        *only(late, call),
        *unless(broken == "the bell does not move", move),
        *unless(late or broken == "nobody is woken", call),
        label,
    ]


def _ring_always(broken: str = "") -> list[Step | str]:
    move = swap("_", "bell", lambda old: old + 1)
    return [*unless(broken == "the bell does not move at the end", move), _wake()]


def _publish(word: str, value: int, broken: str) -> list[Step | str]:
    head: list[Step | str] = [store(word, value, release=True)]
    ring = _ring(f"rung {value}", broken)
    return [*ring, *head] if broken == "the bell is rung before the head moves" else [*head, *ring]


def _writer(word: str, total: int, broken: str) -> Program:
    return Program([step for value in range(1, total + 1) for step in _publish(word, value, broken)])


def _reader(name: str, total: int, broken: str) -> Program:
    """Wait until the heads together have reached ``total``, or the feed is over."""
    look: list[Step | str] = [
        load("again0", "head0", acquire=True),
        load("again1", "head1", acquire=True),
        load("over", "over", acquire=True),
    ]
    taken_back = broken == "a reader takes the announcement back"
    late_flag = broken == "the flag is set after the re-check"
    late_bell = broken == "the bell is read after the re-check"
    flag: list[Step | str] = [store("waiting", 1)]
    seen: list[Step | str] = [load("bell", "bell", acquire=broken != "the bell is a plain load")]
    return Program(
        [
            "look",
            load("now0", "head0", acquire=True),
            load("now1", "head1", acquire=True),
            load("over", "over", acquire=True),
            let("seen", lambda now0, now1: now0 + now1),
            jump("end", lambda seen, over: seen == total or over),
            *unless(late_bell, *seen),
            *unless(late_flag, *flag),
            *unless(broken == "no fence after the flag is set", full_fence()),  # SYNC POINT: readers-wait
            *unless(
                broken == "nothing is checked again",
                *look,
                jump("news", lambda again0, again1, seen, over: again0 + again1 > seen or over),
            ),
            *only(late_flag, *flag, full_fence()),
            *only(late_bell, *seen),
            *futex_wait("bell", "bell", f"{name}.asleep"),
            jump("look"),
            "news",
            *only(taken_back, store("waiting", 0)),
            jump("look"),
        ]
    )


def _words() -> Memory:
    return {"head0": 0, "head1": 0, "over": 0, "bell": 0, "waiting": 0, **{f"{name}.asleep": 0 for name in READERS}}


def one_writer(total: int = 2, *, broken: str = "") -> Scenario:
    """One receiver, one reader."""
    return Scenario(
        _words(),
        [Process("receiver", _writer("head0", total, broken)), Process("first", _reader("first", total, broken))],
    )


def two_readers(total: int = 1, *, broken: str = "") -> Scenario:
    """One receiver, two readers that sleep on the same bell."""
    return Scenario(
        _words(),
        [
            Process("receiver", _writer("head0", total, broken)),
            *(Process(name, _reader(name, total, broken)) for name in READERS),
        ],
    )


def two_writers(*, broken: str = "") -> Scenario:
    """Two receivers ring the bell of one reader."""
    return Scenario(
        _words(),
        [
            Process("receiver0", _writer("head0", 1, broken)),
            Process("receiver1", _writer("head1", 1, broken)),
            Process("first", _reader("first", 2, broken)),
        ],
    )


def feed_ends(*, broken: str = "") -> Scenario:
    """The supervisor says that the generation is over, and wakes all, whether or not one has announced itself."""
    over = store("over", 1, release=True)
    late = broken == "the bell is rung before the end is said"
    supervisor = [*unless(late, over), *_ring_always(broken), *only(late, over)]
    return Scenario(
        _words(),
        [Process("supervisor", Program(supervisor)), *(Process(name, _reader(name, 1, broken)) for name in READERS)],
    )


def writer_restarts(*, broken: str = "") -> Scenario:
    """A receiver that is killed between its head and its bell; its successor rings without asking for the flag."""
    again = [
        *unless(broken == "the restarted receiver does not ring", *_ring_always()),
        load("head", "head0"),
        jump("end", lambda head: head == 1),
        *_publish("head0", 1, ""),
    ]
    return Scenario(
        _words(),
        [
            Process("receiver", _writer("head0", 1, ""), Program(again), 1),
            *(Process(name, _reader(name, 1, broken)) for name in READERS),
        ],
    )
