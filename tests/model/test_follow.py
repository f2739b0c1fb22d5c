"""Reading past a dead or stalled worker, and following from a copy: no record is missing, none comes twice."""

from __future__ import annotations

from .cases import BOTH, Case, Mutant, assert_broken, assert_holds, mutants, right
from .follow import abandoned, followed
from .machine import Model
from .undo import OTHER_COLUMN, OTHER_ROW


@BOTH
@right(
    [
        Case("live or stalled worker", followed),
        Case("worker killed and restarted", followed, {"crashes": 1}),
        Case("worker killed for good", abandoned),
        Case("live worker, a column that is not touched", followed, {"records": OTHER_COLUMN}),
        Case("worker killed for good, in another row", abandoned, {"records": OTHER_ROW}),
    ]
)
def test_a_copy_and_the_records_after_it_make_the_whole(case: Case, model: Model) -> None:
    assert_holds(case, model)


@mutants(
    [
        Mutant("no fence before the images", followed, False),
        Mutant("the odd version is a plain store", followed, False),
        Mutant("no fence before the images", abandoned, False),
        Mutant("the odd version is a plain store", abandoned, False),
        Mutant("no fence after the images are read", followed, False),
        Mutant("the version is not read again", followed, True),
        Mutant("applied is read after the row", followed, True),
        Mutant("updated is stored after the even version", followed, True),
        Mutant("the undo is not read", abandoned, True),
        Mutant("the restart does not make the version odd", followed, True, {"crashes": 1}),
        Mutant("the version goes back at restart", followed, True, {"crashes": 1}),
    ]
)
def test_each_step_of_the_seam_is_needed(mutant: Mutant) -> None:
    assert_broken(mutant)


@BOTH
@right(
    [
        Case("the undo word is a plain store", followed, {"broken": "the undo word is a plain store"}),
        Case("the undo word is not looked at", followed, {"broken": "the undo word is not looked at"}),
        Case("the undo word is not looked at, worker dead", abandoned, {"broken": "the undo word is not looked at"}),
        Case("applied is a plain load", followed, {"broken": "applied is a plain load"}),
    ]
)
def test_a_reader_of_an_odd_row_is_right_by_the_version_alone(case: Case, model: Model) -> None:
    """The undo word is for the restart; images belong to the odd version between whose two readings they are copied."""
    assert_holds(case, model)
