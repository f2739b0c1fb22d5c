"""Breadth-first search through every interleaving of a scenario, and the shortest trace to what goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from .lane import Broken, Lane, Move
from .machine import Core, Model, Process
from .program import Kind, Memory, Value
from .window import Wait

Results: TypeAlias = Mapping[str, Mapping[str, Value]]
LastCheck: TypeAlias = Callable[[Memory, Results], str | None]
Words: TypeAlias = tuple[Value, ...]
State: TypeAlias = tuple[int, ...]  # the number of a memory, then of each process's private state

STATES = 1_000_000  # a scenario beyond this is too large for a test, not a finding


@dataclass(frozen=True, slots=True)
class Scenario:
    """Processes over a few shared words, and what must be true at the end.

    Parameters
    ----------
    words : mapping of str to Value
        Every shared word with its first value.
    processes : sequence of Process
        Who runs.
    last : callable, optional
        Given the words and the result registers of each process, returns what is wrong at the end, or None.
    """

    words: Memory
    processes: Sequence[Process]
    last: LastCheck | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a search found.

    Parameters
    ----------
    states : int
        Distinct states seen.
    ends : int
        Distinct states in which every process had finished.
    violation : str or None
        What went wrong first, None if nothing can.
    trace : tuple of str
        The shortest run that ends in the violation, one access a line.
    """

    states: int
    ends: int
    violation: str | None
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the report as text for a person."""
        head = f"{self.violation or 'no violation'} ({self.states} states, {self.ends} ends)"
        return "\n".join([head, *self.trace])


def explore(scenario: Scenario, model: Model) -> Report:
    """Search a scenario exhaustively.

    Raises
    ------
    RuntimeError
        If there are more than `STATES` states, or a process writes a word that another one owns.
    """
    return _Search(scenario, model).run()


class _Step(NamedTuple):
    """How a state was first reached."""

    before: int
    slot: int
    move: Move
    value: Value | None


class _Search:
    def __init__(self, scenario: Scenario, model: Model) -> None:
        self.scenario = scenario
        self.names = list(scenario.words)
        self.index = {name: at for at, name in enumerate(self.names)}
        alone = len(scenario.processes) == 1
        self.lanes = [Lane(Core(process, model), self.index, alone) for process in scenario.processes]
        owned = [(word, slot) for slot, process in enumerate(scenario.processes) for word in process.owns]
        self.owner = {self.index[word]: slot for word, slot in owned}
        self.memories: list[Words] = []
        self.memory_numbers: dict[Words, int] = {}
        self.states: list[State] = []
        self.numbers: dict[State, int] = {}
        self.first: list[_Step | None] = []
        self.before: list[list[int]] = []  # every way to get to a state, kills apart

    def run(self) -> Report:
        starts: list[State] = [(self._remember(tuple(self.scenario.words.values())),)]
        for lane in self.lanes:
            starts = [(*start, number) for start in starts for number in lane.number(lane.core.start())]
        for start in starts:
            self._reach(start, None)
        ends, wrong_guesses = list[int](), list[int]()
        at = 0
        while at < len(self.states):  # breadth first: a state's number is its place in the queue
            state = self.states[at]
            stuck = True
            for slot, move in self._choices(state):
                outcome = self._outcome(state, slot, move)
                if outcome is None:
                    continue  # it must wait in the kernel
                memory, value = outcome
                step = _Step(at, slot, move, value)
                after = self.lanes[slot].do(state[slot + 1], move, value)
                if isinstance(after, Broken):
                    return self._report(after.message, len(ends), step)
                stuck = stuck and move.crash  # a kill must not be needed to get on
                if not after:
                    wrong_guesses.append(at)  # the run with the right one goes on
                for number in after:
                    follows = self._reach((memory, *state[1 : slot + 1], number, *state[slot + 2 :]), step)
                    if not move.crash:
                        self.before[follows].append(at)
            if stuck:
                ends.append(at)
                wrong = self._wrong_at_end(state)
                if wrong:
                    return self._report(wrong, len(ends), self.first[at])
            if len(self.states) > STATES:
                raise RuntimeError(f"more than {STATES} states: make the scenario smaller")
            at += 1
        lost = self._without_end([*ends, *wrong_guesses])
        if lost is not None:
            return self._report("livelock: the end cannot be reached any more", len(ends), self.first[lost])
        return Report(len(self.states), len(ends), None)

    def _remember(self, words: Words) -> int:
        number = self.memory_numbers.setdefault(words, len(self.memories))
        if number == len(self.memories):
            self.memories.append(words)
        return number

    def _reach(self, state: State, step: _Step | None) -> int:
        number = self.numbers.setdefault(state, len(self.states))
        if number == len(self.states):
            self.states.append(state)
            self.first.append(step)
            self.before.append([])
        return number

    def _choices(self, state: State) -> list[tuple[int, Move]]:
        """Return what can happen next; only what one process does if nobody else could tell when."""
        choices = []
        for slot, lane in enumerate(self.lanes):
            private, moves = lane.moves_of(state[slot + 1])
            if private:
                return [(slot, move) for move in moves]
            for move in moves:
                choices.append((slot, move))
        return choices

    def _outcome(self, state: State, slot: int, move: Move) -> tuple[int, Value | None] | None:
        """Return memory after a move, and the value that it read; None if it must block."""
        memory = self.memories[state[0]]
        word = move.word
        if move.kind is Kind.LOAD:
            return state[0], memory[word] if move.value is None else move.value
        if move.kind is Kind.STORE and move.value is not None:
            self._check_owner(word, slot)
            return self._remember((*memory[:word], move.value, *memory[word + 1 :])), None
        process = self.lanes[slot].core.process
        changes: Memory | None = {}
        value: Value | None = None
        if move.access:
            pending = self.lanes[slot].threads[state[slot + 1]].window[move.access.entry]
            if pending.step.action:
                changes = pending.step.action(dict(zip(self.names, memory, strict=True)), *pending.given)
            else:
                new, value = pending.step.value, memory[word]
                changes = {pending.place: new(value) if callable(new) else new}
        elif not move.crash and process.dies_holding:
            changes = {name: 0 for name, owner in process.dies_holding.items() if memory[self.index[name]] == owner}
        if changes is None:
            return None
        for name in changes:
            self._check_owner(self.index[name], slot)
        words = tuple(changes.get(name, held) for name, held in zip(self.names, memory, strict=True))
        return self._remember(words), value

    def _check_owner(self, word: int, slot: int) -> None:
        if self.owner.get(word, slot) != slot:
            raise RuntimeError(
                f"{self.scenario.processes[slot].name} writes {self.names[word]}, owned by another process"
            )

    def _wrong_at_end(self, state: State) -> str | None:
        lanes = list(zip(self.lanes, state[1:], strict=True))
        waiting = [lane.core.process.name for lane, number in lanes if not lane.over[number]]
        if waiting:
            return f"deadlock: {' and '.join(waiting)} wait for ever"
        if not self.scenario.last:
            return None
        results = {
            lane.core.process.name: {
                name: held for name, held in lane.threads[number].registers if not isinstance(held, Wait)
            }
            for lane, number in lanes
        }
        return self.scenario.last(dict(zip(self.names, self.memories[state[0]], strict=True)), results)

    def _without_end(self, ends: list[int]) -> int | None:
        """Return a state from which nobody can get to an end any more, though all of them keep running."""
        hopeful = set(ends)
        queue = [*hopeful]
        while queue:
            for number in self.before[queue.pop()]:
                if number not in hopeful:
                    hopeful.add(number)
                    queue.append(number)
        return next((number for number in range(len(self.states)) if number not in hopeful), None)

    def _report(self, violation: str, ends: int, step: _Step | None) -> Report:
        trace = []
        while step:
            read = "" if step.value is None else f" -> {step.value}"
            trace.append(f"{self.scenario.processes[step.slot].name:>10}  {step.move.label}{read}")
            step = self.first[step.before]
        return Report(len(self.states), ends, violation, tuple(reversed(trace)))
