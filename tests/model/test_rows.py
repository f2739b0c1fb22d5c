"""The version word: a copy of a row is whole, and no copy is older than the one before."""

from __future__ import annotations

from .cases import BOTH, Case, Mutant, assert_broken, assert_holds, mutants, right
from .machine import Model
from .rows import row


@BOTH
@right([Case("two updates", row), Case("three updates", row, {"updates": 3})])
def test_no_reader_takes_a_torn_row(case: Case, model: Model) -> None:
    assert_holds(case, model)


@mutants(
    [
        Mutant("the version is never odd", row, True),
        Mutant("no fence after the odd version", row, False),
        Mutant("the data is written before the version is odd", row, True),
        Mutant("the even version is a plain store", row, False),
        Mutant("the version is a plain load", row, False),
        Mutant("an odd version is not noticed", row, True),
        Mutant("no fence before the version is read again", row, False),
        Mutant("the version is not read again", row, True),
    ]
)
def test_each_step_of_the_version_word_is_needed(mutant: Mutant) -> None:
    assert_broken(mutant)
