"""A session roll: whatever kills the worker in the middle of it, each row is rolled once, and no reader sees half."""

from __future__ import annotations

from .cases import BOTH, Case, Mutant, assert_broken, assert_holds, mutants, right
from .machine import Model
from .roll import NEITHER, rolled, watched


@BOTH
@right(
    [
        Case("worker killed twice", rolled),
        Case("worker killed for good, reader", watched),
    ]
)
def test_a_roll_is_done_once_and_is_never_seen_by_halves(case: Case, model: Model) -> None:
    assert_holds(case, model)


@mutants(
    [
        Mutant("the undo stays armed between two rows", rolled, True),
        Mutant("a row that has the session is rolled again", rolled, True),
        Mutant("the record is counted before the rows", rolled, True),
        Mutant("the restart begins with the first ring", rolled, True),
        Mutant(NEITHER, rolled, True),
        Mutant("no fence before the images", watched, False),
        Mutant("no fence after the images are read", watched, False),
        Mutant("the version is not read again", watched, True),
    ]
)
def test_each_step_of_a_roll_is_needed(mutant: Mutant) -> None:
    assert_broken(mutant)


@BOTH
@right([Case("the restart leaves the undo armed", rolled, {"broken": "the restart leaves the undo armed"})])
def test_a_word_left_armed_does_no_harm_while_its_record_comes_first(case: Case, model: Model) -> None:
    """Each of the two is enough for the images. The order is needed for what other rings tell; the word is cheap."""
    assert_holds(case, model)
