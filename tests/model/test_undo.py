"""Exactly once: whatever kills the worker, and its successors, every record is applied once to its row."""

from __future__ import annotations

from .cases import BOTH, Case, Mutant, assert_broken, assert_holds, mutants, right
from .machine import Model
from .undo import TWO_RINGS, TWO_ROWS, worker


@BOTH
@right(
    [
        Case("one row, killed twice", worker),
        Case("two rows, killed twice", worker, {"records": TWO_ROWS}),
        Case("two rings, killed twice", worker, {"records": TWO_RINGS}),
    ]
)
def test_a_worker_killed_anywhere_applies_each_record_once(case: Case, model: Model) -> None:
    assert_holds(case, model)


@mutants(
    [
        Mutant("the undo word is stored before the images", worker, True),
        Mutant("the undo word is stored after the odd version", worker, True),
        Mutant("applied moves before the row is written", worker, True),
        Mutant("applied moves before the version is even", worker, True),
        Mutant("the restart does not put the images back", worker, True),
        Mutant("the restart leaves the version odd", worker, True),
        Mutant("the restart does not compare the undo word", worker, True),
        Mutant("the restart does not compare the ring", worker, True, {"records": TWO_RINGS}),
    ]
)
def test_each_step_of_the_undo_is_needed(mutant: Mutant) -> None:
    assert_broken(mutant)
