"""The vocabulary in which a protocol is written down for the checker: atomic steps, registers, labels.

A program is a list of steps and labels (plain strings). A step names what it computes with by the *parameter names* of
a function: ``store("head", lambda position: position + 1)`` stores one more than the register ``position``. That one
convention gives the machine the data, address and control dependencies of the program, which is all that orders plain
accesses on a weakly ordered processor.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TypeAlias

Value: TypeAlias = int | tuple[int, ...]
Given: TypeAlias = Value | Callable[..., Value]
Place: TypeAlias = str | Callable[..., str]
Memory: TypeAlias = Mapping[str, Value]
Action: TypeAlias = Callable[..., Memory | None]  # of the memory and the values of registers


class Kind(Enum):
    """What a step does."""

    LOAD = auto()
    STORE = auto()
    SWAP = auto()  # atomic read-modify-write, sequentially consistent
    KERNEL = auto()  # a system call: one atomic action on any words, ordered with everything
    LOAD_FENCE = auto()  # earlier loads before later loads (the half of an acquire fence that the protocols use)
    STORE_FENCE = auto()  # earlier stores before later stores (the half of a release fence that the protocols use)
    FULL_FENCE = auto()
    LET = auto()
    JUMP = auto()
    CHECK = auto()


@dataclass(frozen=True, eq=False, slots=True)
class Step:
    """One atomic step; compared by identity, so that a step of a program is its own name."""

    kind: Kind
    text: str
    place: Place = ""
    value: Given = 0
    into: str = ""
    ordered: bool = False  # a load that acquires, a store that releases
    target: str = ""
    action: Action | None = None
    needs: tuple[str, ...] = field(default=(), kw_only=True)  # registers of the value
    place_needs: tuple[str, ...] = field(default=(), kw_only=True)


def load(into: str, place: Place, *, acquire: bool = False) -> Step:
    """Read a word into a register."""
    text = f"{into} = {'acquire ' if acquire else ''}{{place}}"
    return Step(Kind.LOAD, text, place, into=into, ordered=acquire, place_needs=_parameters(place))


def store(place: Place, value: Given, *, release: bool = False) -> Step:
    """Write a word."""
    text = f"{{place}} := {{value}}{' (release)' if release else ''}"
    return Step(
        Kind.STORE, text, place, value, ordered=release, needs=_parameters(value), place_needs=_parameters(place)
    )


def swap(into: str, place: str, value: Given) -> Step:
    """Replace a word atomically, by a constant or a function of its old value, which goes into a register."""
    return Step(Kind.SWAP, f"{into} = swap {{place}}", place, value, into)


def kernel(text: str, action: Action, *needs: str) -> Step:
    """Enter the kernel: ``action(memory, *needs)`` returns the words that change, or None while it must block."""
    return Step(Kind.KERNEL, text, action=action, needs=needs)


def load_fence() -> Step:
    """Order earlier loads before later loads."""
    return Step(Kind.LOAD_FENCE, "load fence")


def store_fence() -> Step:
    """Order earlier stores before later stores."""
    return Step(Kind.STORE_FENCE, "store fence")


def full_fence() -> Step:
    """Order everything before it with everything after it."""
    return Step(Kind.FULL_FENCE, "full fence")


def let(into: str, value: Given) -> Step:
    """Compute a register; no memory is touched."""
    return Step(Kind.LET, f"let {into}", value=value, into=into, needs=_parameters(value))


def jump(target: str, when: Given = True) -> Step:
    """Go to a label if ``when`` is true; a processor may guess the answer and load ahead, but never store ahead."""
    return Step(Kind.JUMP, f"jump {target}", value=when, target=target, needs=_parameters(when))


def check(holds: Given, message: str) -> Step:
    """State what must be true of the registers here; the checker reports a run in which it is not."""
    return Step(Kind.CHECK, message, value=holds, needs=_parameters(holds))


def unless(broken: bool, *steps: Step | str) -> list[Step | str]:
    """Leave steps out of a mutant: the whole list, or nothing if ``broken``."""
    return [] if broken else list(steps)


def only(wanted: bool, *steps: Step | str) -> list[Step | str]:
    """Put steps into a mutant alone: nothing, or the whole list if ``wanted``."""
    return list(steps) if wanted else []


Steps: TypeAlias = Iterable[Step | str]


class Program:
    """Steps with their labels resolved and, for each step, the registers still of use (so that states merge).

    Parameters
    ----------
    steps : iterable of Step or str
        The program; a string is a label.
    results : sequence of str
        Registers kept after the end, for the scenario's last check.
    """

    def __init__(self, steps: Steps, results: Sequence[str] = ()) -> None:
        self.steps: list[Step] = []
        labels: dict[str, int] = {}
        for step in steps:
            if isinstance(step, Step):
                self.steps.append(step)
            elif step in labels:
                raise ValueError(f"label {step!r} stands twice in one program")
            else:
                labels[step] = len(self.steps)
        self.end = len(self.steps)
        labels.setdefault("end", self.end)
        self.targets = [labels[step.target] if step.target else -1 for step in self.steps]
        self.results = frozenset(results)
        self.live = self._live_registers()

    def _live_registers(self) -> list[frozenset[str]]:
        live: list[frozenset[str]] = [frozenset()] * self.end + [self.results]
        changed = True
        while changed:
            changed = False
            for at in reversed(range(self.end)):
                step = self.steps[at]
                after = live[at + 1]
                if self.targets[at] >= 0:
                    after = after | live[self.targets[at]]
                before = (after - {step.into}) | set(step.needs) | set(step.place_needs)
                if before != live[at]:
                    live[at] = before
                    changed = True
        return live


def _parameters(given: Given | Place) -> tuple[str, ...]:
    return tuple(inspect.signature(given).parameters) if callable(given) else ()
