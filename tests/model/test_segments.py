"""A segment is opened finished or not at all."""

from __future__ import annotations

from .cases import BOTH, Case, Mutant, assert_broken, assert_holds, mutants, right
from .machine import Model
from .segments import opened


@BOTH
@right([Case("opened at any moment", opened)])
def test_nobody_opens_an_unfinished_segment(case: Case, model: Model) -> None:
    assert_holds(case, model)


@mutants(
    [
        Mutant("the magic is stored before the body", opened, True),
        Mutant("the magic is a plain store", opened, False),
        Mutant("the magic is a plain load", opened, False),
        Mutant("the magic is not looked at", opened, True),
    ]
)
def test_each_step_of_a_segments_birth_is_needed(mutant: Mutant) -> None:
    assert_broken(mutant)
