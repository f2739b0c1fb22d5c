"""The doorbell as programs. There are no time-outs here: a wake-up that is lost leaves the waiter asleep for ever.

The futex is modelled as the kernel has it: compare the word and go to sleep in one atomic action; `asleep` is the
kernel's queue, and a wake-up empties it.
"""

from __future__ import annotations

from .explorer import Scenario
from .machine import Process
from .program import Memory, Program, Step, full_fence, jump, kernel, let, load, only, store, swap, unless


def futex_wait(bell: str, seen: str, asleep: str) -> list[Step | str]:
    """Sleep unless the word has moved on from what the register ``seen`` holds."""

    def sleep(memory: Memory, value: int) -> Memory:
        return {asleep: 1} if memory[bell] == value else {}

    return [
        kernel(f"futex_wait({bell})", sleep, seen),
        kernel("is woken", lambda memory: {} if memory[asleep] == 0 else None),
    ]


def futex_wake(asleep: str) -> Step:
    """Wake who sleeps."""
    return kernel("futex_wake", lambda _memory: {asleep: 0})


def ring_bell(name: str, *, label: str, broken: str = "") -> list[Step | str]:
    """Wake the consumer ``name`` if it waits; what it waits for is already published."""
    call = futex_wake(f"{name}.asleep")
    late = broken == "the bell moves after the wake-up"
    move: list[Step | str] = [swap("_", f"{name}.bell", lambda old: old + 1)]
    if broken == "the bell is moved by a load and a store":
        move = [load("moved", f"{name}.bell"), store(f"{name}.bell", lambda moved: moved + 1)]
    return [
        *unless(broken == "no fence before the waiting flag is read", full_fence()),  # SYNC POINT: bell-ring
        load("waiting", f"{name}.waiting"),
        jump(label, lambda waiting: waiting == 0),
        swap("waiting", f"{name}.waiting", 0),
        jump(label, lambda waiting: waiting == 0),
        *only(late, call),
        *unless(broken == "the bell does not move", *move),
        *unless(late or broken == "nobody is woken", call),
        label,
    ]


def ring_always(name: str) -> list[Step | str]:
    """Wake the consumer ``name`` without asking whether it waits."""
    return [swap("_", f"{name}.bell", lambda old: old + 1), futex_wake(f"{name}.asleep")]


def wait_for_bell(name: str, recheck: list[Step | str], *, woken: str, broken: str = "") -> list[Step | str]:
    """Sleep until rung; ``recheck`` jumps to the label ``woken`` if there is something to do after all."""
    flag: list[Step | str] = [store(f"{name}.waiting", 1)]
    late_bell = broken == "the bell is read after the re-check"
    late_flag = broken == "the flag is set after the re-check"
    # Acquire: the flag must not be seen before the bell is read, or a ring in between would go unnoticed.
    seen: list[Step | str] = [load("bell", f"{name}.bell", acquire=broken != "the bell is a plain load")]
    return [
        *unless(late_bell, *seen),
        *unless(late_flag, *flag),
        *unless(broken == "no fence after the waiting flag is set", full_fence()),  # SYNC POINT: bell-wait
        *unless(broken == "nothing is checked again", *recheck),
        *only(late_flag, *flag, full_fence()),
        *only(late_bell, *seen),
        *futex_wait(f"{name}.bell", "bell", f"{name}.asleep"),
        woken,
        store(f"{name}.waiting", 0),
    ]


def bell_words(name: str) -> Memory:
    """Return the words of one doorbell, and the kernel's queue behind it."""
    return {f"{name}.bell": 0, f"{name}.waiting": 0, f"{name}.asleep": 0}


def _writer(word: str, total: int, broken: str) -> Program:
    return Program([step for value in range(1, total + 1) for step in _publish_and_ring(word, value, broken)])


def _publish_and_ring(word: str, value: int, broken: str) -> list[Step | str]:
    ring = ring_bell("worker", label=f"rung {value}", broken=broken)
    head: list[Step | str] = [store(word, value, release=True)]
    return [*ring, *head] if broken == "the bell is rung before the head moves" else [*head, *ring]


def _waiter(total: int, broken: str) -> Program:
    """Wait until the two heads together have reached ``total``, sleeping whenever neither has moved."""
    recheck = [
        load("again0", "head0", acquire=True),
        load("again1", "head1", acquire=True),
        jump("woken", lambda again0, again1, seen: again0 + again1 > seen),
    ]
    return Program(
        [
            "look",
            load("now0", "head0", acquire=True),
            load("now1", "head1", acquire=True),
            let("seen", lambda now0, now1: now0 + now1),
            jump("end", lambda seen: seen == total),
            *wait_for_bell("worker", [*recheck], woken="woken", broken=broken),
            jump("look"),
        ]
    )


def one_writer(total: int = 3, *, broken: str = "") -> Scenario:
    """One producer, one worker that sleeps whenever it has nothing to do."""
    return Scenario(
        {"head0": 0, "head1": 0, **bell_words("worker")},
        [Process("producer", _writer("head0", total, broken)), Process("worker", _waiter(total, broken))],
    )


def two_writers(*, broken: str = "") -> Scenario:
    """Two producers ring one bell."""
    return Scenario(
        {"head0": 0, "head1": 0, **bell_words("worker")},
        [
            Process("producer0", _writer("head0", 2, broken)),
            Process("producer1", _writer("head1", 1, broken)),
            Process("worker", _waiter(3, broken)),
        ],
    )


def feed_dies(*, broken: str = "") -> Scenario:
    """A supervisor declares the feed dead, then moves the bell and wakes, whether or not anybody waits."""
    state = store("head1", 1, release=True)
    late = broken == "the bell is rung before the state is stored"
    supervisor = [*unless(late, state), *ring_always("worker"), *only(late, state)]
    return Scenario(
        {"head0": 0, "head1": 0, **bell_words("worker")},
        [
            Process("producer", _writer("head0", 1, "")),
            Process("supervisor", Program(supervisor)),
            Process("worker", _waiter(2, broken)),
        ],
    )


def writer_restarts(*, crashes: int = 2, broken: str = "") -> Scenario:
    """A producer that is killed between its head and its bell; its successor rings whether or not anybody waits."""
    again = [
        *unless(broken == "the restarted producer does not ring", *ring_always("worker")),
        load("head", "head0"),
        jump("end", lambda head: head == 2),
        jump("second", lambda head: head == 1),
        *_publish_and_ring("head0", 1, ""),
        "second",
        *_publish_and_ring("head0", 2, ""),
    ]
    return Scenario(
        {"head0": 0, "head1": 0, **bell_words("worker")},
        [
            Process("producer", _writer("head0", 2, ""), Program(again), crashes),
            Process("worker", _waiter(2, broken)),
        ],
    )


def both_ways(total: int = 3, *, capacity: int = 1, broken: str = "") -> Scenario:
    """A producer that sleeps while the ring is full and a worker that sleeps while it is empty."""
    unrung = broken == "the worker does not ring"
    producer = [
        let("position", 0),
        "next",
        jump("end", lambda position: position == total),
        "full",
        load("gate", "applied", acquire=True),  # SYNC POINT: ring-gate
        jump("room", lambda position, gate: position < gate + capacity),
        *wait_for_bell(
            "producer",
            [load("again", "applied", acquire=True), jump("woken", lambda again, gate: again > gate)],
            woken="woken",
            broken=broken,
        ),
        jump("full"),
        "room",
        let("position", lambda position: position + 1),
        store("head", lambda position: position, release=True),  # SYNC POINT: ring-head
        *ring_bell("worker", label="rung", broken=broken),
        jump("next"),
    ]
    worker = [
        let("position", 0),
        "next",
        jump("end", lambda position: position == total),
        "empty",
        load("head", "head", acquire=True),
        jump("work", lambda position, head: position < head),
        *wait_for_bell(
            "worker",
            [load("again", "head", acquire=True), jump("woken", lambda again, position: again > position)],
            woken="woken",
            broken=broken,
        ),
        jump("empty"),
        "work",
        let("position", lambda position: position + 1),
        store("applied", lambda position: position, release=True),
        *unless(unrung, *ring_bell("producer", label="rung", broken=broken)),
        jump("next"),
    ]
    return Scenario(
        {"head": 0, "applied": 0, **bell_words("worker"), **bell_words("producer")},
        [Process("producer", Program(producer)), Process("worker", Program(worker))],
    )
