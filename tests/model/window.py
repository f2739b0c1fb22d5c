"""The window of a thread: steps that are fetched in program order and not performed yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from .program import Kind, Step, Value

WINDOW = 16  # fetched and not performed; longer than any run of accesses between two barriers of the protocols

MEMORY = (Kind.LOAD, Kind.STORE, Kind.SWAP, Kind.KERNEL)
READS = (Kind.LOAD, Kind.SWAP, Kind.KERNEL)
WRITES = (Kind.STORE, Kind.SWAP, Kind.KERNEL)
BARRIERS = (Kind.SWAP, Kind.KERNEL, Kind.FULL_FENCE)


class ProtocolViolation(Exception):
    """A ``check`` of a program does not hold."""


class Wait(NamedTuple):
    """Stands in a register for the value of a pending load; the number tells two of one register apart."""

    register: str
    number: int


Held: TypeAlias = Value | Wait


class Pending(NamedTuple):
    """A fetched step that has not happened yet."""

    step: Step
    place: str = ""
    given: tuple[Held, ...] = ()  # the registers that its value depends on, as they were when it was fetched
    result: Wait | None = None
    guess: bool = False  # the outcome that was assumed for an undecided jump
    issued: bool = False  # a later store was already performed, so no crash can undo this one

    @property
    def known(self) -> bool:
        """Whether every input has arrived."""
        return not any(isinstance(held, Wait) for held in self.given)

    @property
    def value(self) -> Value:
        """What the step computes from its inputs."""
        return self.step.value(*self.given) if callable(self.step.value) else self.step.value

    def __str__(self) -> str:
        """Return the step in words."""
        stored = self.value if self.step.kind is Kind.STORE and self.known else "?"
        return self.step.text.format(place=self.place, value=stored)


def retire(window: list[Pending], registers: dict[str, Held]) -> bool:
    """Remove what is settled from a window; return False if a guessed jump went the other way."""
    reads = writes = guesses = False  # what stands before and is still pending
    index = 0
    while index < len(window):
        pending = window[index]
        kind = pending.step.kind
        if kind is Kind.LOAD_FENCE:
            done = not reads
        elif kind is Kind.STORE_FENCE:
            done = not writes
        elif kind is Kind.FULL_FENCE:
            done = not (reads or writes)
        elif kind in MEMORY or not pending.known:
            done = False
        elif kind is Kind.JUMP and bool(pending.value) is not pending.guess:
            return False
        elif kind is Kind.CHECK and not guesses and not pending.value:
            raise ProtocolViolation(pending.step.text)
        else:
            done = kind is not Kind.CHECK or not guesses
        if done:
            del window[index]
            if pending.result:
                arrive(pending.result, pending.value, window, registers)
            continue
        reads = reads or kind in READS
        writes = writes or kind in WRITES
        guesses = guesses or kind is Kind.JUMP
        index += 1
    return True


def arrive(result: Wait, value: Value, window: list[Pending], registers: dict[str, Held]) -> None:
    """Put a value where it is waited for."""
    for at, pending in enumerate(window):
        if result in pending.given:
            given = tuple(value if held == result else held for held in pending.given)
            window[at] = pending._replace(given=given)
    for name, held in registers.items():
        if held == result:
            registers[name] = value


def fetched(step: Step, registers: Mapping[str, Held], window: Sequence[Pending]) -> Pending:
    """Return a step as it enters the window: with the registers of now, and a name for what it will read."""
    place = step.place(*(registers[name] for name in step.place_needs)) if callable(step.place) else step.place
    pending = Pending(step, place, tuple(registers[name] for name in step.needs))
    if not step.into or (step.kind is Kind.LET and pending.known):
        return pending
    taken = {before.result for before in window}
    free = (wait for wait in (Wait(step.into, at) for at in range(WINDOW + 1)) if wait not in taken)
    return pending._replace(result=next(free))
