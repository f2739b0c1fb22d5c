"""One process of a search: its private states, by number, and what it can do in each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from .machine import Access, Core, Thread
from .program import Kind, Value
from .window import ProtocolViolation


class Broken(NamedTuple):
    """A check that failed."""

    message: str


@dataclass(slots=True, eq=False)
class Move:
    """One thing a process can do next: an access, a crash, or (`access` None as well) its end after one."""

    label: str
    access: Access | None = None
    kind: Kind | None = None
    word: int = -1
    value: Value | None = None  # what is stored, or forwarded to a load
    crash: bool = False
    after: dict[Value | None, list[int] | Broken] = field(default_factory=dict)


@dataclass(slots=True)
class Lane:
    """One process of the search: its rules, and its private states by number."""

    core: Core
    words: Mapping[str, int]
    alone: bool
    threads: list[Thread] = field(default_factory=list)
    numbers: dict[Thread, int] = field(default_factory=dict)
    over: list[bool] = field(default_factory=list)
    moves: dict[int, tuple[bool, list[Move]]] = field(default_factory=dict)

    def number(self, threads: list[Thread]) -> list[int]:
        """Return the numbers of private states, new ones included."""
        found = []
        for thread in threads:
            if thread not in self.numbers:
                self.numbers[thread] = len(self.threads)
                self.threads.append(thread)
                self.over.append(self.core.finished(thread))
            found.append(self.numbers[thread])
        return found

    def moves_of(self, number: int) -> tuple[bool, list[Move]]:
        """Return what the process can do next, and whether nobody else can tell when it does it.

        In that case its moves are tried at once and the others' after them: any other order ends in the same states.
        """
        known = self.moves.get(number)
        if known is None:
            thread = self.threads[number]
            accesses = self.core.accesses(thread)
            private = next((access for access in accesses if self._is_private(thread, access)), None)
            moves = [self._move(thread, access) for access in ([private] if private else accesses)]
            if thread.dying and not thread.window:
                moves.append(Move("is gone, and its last store has reached memory"))
            elif self.core.crashed(thread):
                moves.append(Move("is killed", crash=True))
            known = self.moves[number] = private is not None, moves
        return known

    def _is_private(self, thread: Thread, access: Access) -> bool:
        pending = thread.window[access.entry]
        if pending.step.kind is Kind.LOAD:
            return self.alone or pending.place in self.core.process.owns
        return self.alone and pending.step.kind is Kind.STORE

    def _move(self, thread: Thread, access: Access) -> Move:
        pending = thread.window[access.entry]
        kind = pending.step.kind
        before = thread.window[: access.entry]
        earlier = [str(passed) for passed in before if passed.step.kind in (Kind.LOAD, Kind.STORE)]
        label = f"{pending}   [ahead of: {'; '.join(earlier)}]" if earlier else str(pending)
        value = pending.value if kind is Kind.STORE else access.forwarded
        return Move(label, access, kind, -1 if kind is Kind.KERNEL else self.words[pending.place], value)

    def do(self, number: int, move: Move, value: Value | None) -> list[int] | Broken:
        """Return the private states after a move."""
        if value not in move.after:
            thread = self.threads[number]
            try:
                if move.access:
                    states = self.core.perform(thread, move.access.entry, value)
                else:
                    states = self.core.crashed(thread) if move.crash else self.core.reborn(thread)
                move.after[value] = self.number(states)
            except ProtocolViolation as broken:
                move.after[value] = Broken(str(broken))
        return move.after[value]
