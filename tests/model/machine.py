"""One thread on a weakly ordered processor: which of its pending memory accesses may happen next.

Memory is one flat array that all threads see alike (both x86-64 and ARM64 are multi-copy atomic). All weakness lies in
the order in which a thread's accesses reach it. A thread has a *window* of steps that are fetched in program order but
not performed yet; an access may be performed as soon as nothing earlier in the window holds it back. `ARM` and `TSO`
differ only in what holds back what:

======================================  =====================================  ===============================
what is still pending                   holds back on ARM                      holds back under TSO
======================================  =====================================  ===============================
load                                    loads and stores of the same word,     everything
                                        release stores
acquire load                            everything                             everything
store                                   stores of the same word, release       stores
                                        stores (a load of the word forwards)   (a load of the word forwards)
load fence, until earlier loads are in  loads                                  nothing
store fence, until earlier stores are   stores                                 nothing
full fence, swap, system call           everything                             everything
jump that waits for a load              stores (loads run ahead)               everything
======================================  =====================================  ===============================

In addition a value or an address that depends on a pending load waits for that load. A load may be performed beyond a
jump that is not decided yet: both outcomes are explored, and the wrong one is dropped when the load arrives.

A crash cuts the window anywhere behind the last store that has already been performed. What stands before the cut was
issued by the dead process, so it still reaches memory, in any order that the fences allow; what stands behind it
never happened. The restarted process begins when the window has drained (the kernel saw the death: a full barrier).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from .program import Kind, Program, Value
from .window import BARRIERS, MEMORY, WINDOW, WRITES, Held, Pending, Wait, arrive, fetched, retire

GUESSES = 3  # undecided jumps in the window
DEAD = -1  # program counter of a process that is killed and does not come back


class Model(Enum):
    """A processor family."""

    ARM = "arm"
    TSO = "tso"


@dataclass(frozen=True, slots=True)
class Process:
    """A thread of a scenario.

    Parameters
    ----------
    name : str
        Shown in traces.
    program : Program
        What it runs.
    restart : Program, optional
        What runs in its place after a crash; without it the process stays dead.
    crashes : int
        How often it may be killed.
    dies_holding : mapping of str to int
        Words that the kernel resets to 0 at its death when they hold this value: the locks it may hold.
    owns : collection of str
        Words that no other process writes (the search verifies it). When the process itself reads such a word
        matters to nobody, so the search need not try every moment.
    """

    name: str
    program: Program
    restart: Program | None = None
    crashes: int = 0
    dies_holding: Mapping[str, int] | None = None
    owns: Collection[str] = ()


class Thread(NamedTuple):
    """The private state of a process."""

    life: int  # 0: the first program, 1: restarted
    at: int  # next step to fetch
    registers: tuple[tuple[str, Held], ...]  # sorted
    window: tuple[Pending, ...]
    crashes: int
    dying: bool = False


class Access(NamedTuple):
    """An access that may be performed now: its place in the window, and the value if a pending store forwards it."""

    entry: int
    forwarded: Value | None


class Core:
    """The rules by which the threads of one process run under one memory model."""

    def __init__(self, process: Process, model: Model) -> None:
        self.process = process
        self.model = model
        self.programs = [process.program] + ([process.restart] if process.restart else [])

    def start(self) -> list[Thread]:
        """Return the states in which the process may begin."""
        return self.settle(Thread(0, 0, (), (), self.process.crashes))

    def finished(self, thread: Thread) -> bool:
        """Tell whether nothing is left to do."""
        return not thread.window and not thread.dying and self._over(thread)

    def accesses(self, thread: Thread) -> list[Access]:
        """Return what may be performed now."""
        found = []
        for index, pending in enumerate(thread.window):
            if pending.step.kind in MEMORY:
                access = self._access(thread, index, pending)
                if access:
                    found.append(access)
        return found

    def perform(self, thread: Thread, entry: int, value: Value | None) -> list[Thread]:
        """Return the states after one access; ``value`` is what it read."""
        window = list(thread.window)
        done = window.pop(entry)
        if done.step.kind in WRITES and thread.crashes:
            window[:entry] = [pending._replace(issued=True) for pending in window[:entry]]
        registers = dict(thread.registers)
        if done.result and value is not None:
            arrive(done.result, value, window, registers)
        return self.settle(thread._replace(registers=tuple(registers.items()), window=tuple(window)))

    def crashed(self, thread: Thread) -> list[Thread]:
        """Return the states after a kill now, one for each number of stores that were issued before it."""
        if not thread.crashes or thread.dying or self.finished(thread):
            return []
        issued = max((index + 1 for index, pending in enumerate(thread.window) if pending.issued), default=0)
        cuts = {issued} | {
            index + 1
            for index, pending in enumerate(thread.window)
            if index >= issued and pending.step.kind is Kind.STORE
        }
        return [
            after
            for cut in sorted(cuts)
            for after in self.settle(thread._replace(window=thread.window[:cut], dying=True))
        ]

    def reborn(self, thread: Thread) -> list[Thread]:
        """Return the states after the death of a process whose last store has reached memory."""
        if self.process.restart is None:
            return [Thread(thread.life, DEAD, (), (), 0)]
        return self.settle(Thread(1, 0, (), (), thread.crashes - 1))

    def settle(self, thread: Thread) -> list[Thread]:
        """Do all that no other thread can see: fetch, fences that are satisfied, register arithmetic, checks.

        Raises
        ------
        ProtocolViolation
            If a check of the program fails.
        """
        registers = dict(thread.registers)
        window = list(thread.window)
        at, forks = thread.at, list[Thread]()
        if not retire(window, registers):
            return []  # a guess turned out wrong
        program = self.programs[thread.life]
        while not thread.dying and at != DEAD and at < program.end and self._fetches(window):
            step, target = program.steps[at], program.targets[at]
            if any(isinstance(registers[name], Wait) for name in step.place_needs):
                break
            pending = fetched(step, registers, window)
            if step.kind is Kind.JUMP and pending.known:
                at = target if pending.value else at + 1
                continue
            if step.kind is Kind.JUMP:
                taken = (*window, pending._replace(guess=True))
                forks.append(thread._replace(at=target, registers=tuple(registers.items()), window=taken))
            elif step.into:
                registers[step.into] = pending.value if pending.result is None else pending.result
            if step.kind is not Kind.LET or pending.result:
                window.append(pending)
            at += 1
            retire(window, registers)
        live = frozenset[str]() if thread.dying else program.live[at]
        kept = tuple(sorted((name, held) for name, held in registers.items() if name in live))
        states = [thread._replace(at=0 if thread.dying else at, registers=kept, window=tuple(window))]
        for fork in forks:
            states += self.settle(fork)
        return states

    def _over(self, thread: Thread) -> bool:
        return thread.at == DEAD or thread.at >= self.programs[thread.life].end

    def _fetches(self, window: Sequence[Pending]) -> bool:
        """Tell whether anything fetched now could be performed before the window has moved on."""
        if not window:
            return True
        last = window[-1].step  # what stops everything behind it is the last that was fetched
        if last.kind in BARRIERS or (last.kind is Kind.LOAD and (last.ordered or self.model is Model.TSO)):
            return False
        return len(window) < WINDOW and sum(pending.step.kind is Kind.JUMP for pending in window) < GUESSES

    def _access(self, thread: Thread, index: int, pending: Pending) -> Access | None:
        step, earlier = pending.step, thread.window[:index]
        if step.kind in (Kind.SWAP, Kind.KERNEL):
            return None if earlier else Access(index, None)
        if step.kind is Kind.LOAD:
            return self._load(index, pending, earlier)
        if not pending.known:
            return None
        return Access(index, None) if self._may_store(pending, earlier) else None

    def _load(self, index: int, pending: Pending, earlier: Sequence[Pending]) -> Access | None:
        for before in reversed(earlier):
            if before.step.kind is Kind.LOAD_FENCE and self.model is Model.ARM:
                return None
            if before.place == pending.place and before.step.kind is Kind.LOAD:
                return None
        for before in reversed(earlier):
            if before.place == pending.place and before.step.kind is Kind.STORE:
                return Access(index, before.value) if before.known else None
        return Access(index, None)

    def _may_store(self, pending: Pending, earlier: Sequence[Pending]) -> bool:
        for before in earlier:
            kind = before.step.kind
            if kind is Kind.JUMP:
                return False
            if kind in MEMORY:
                strict = pending.step.ordered or self.model is Model.TSO
                if strict or before.place == pending.place:
                    return False
            elif kind is Kind.STORE_FENCE and self.model is Model.ARM:
                return False
        return True
