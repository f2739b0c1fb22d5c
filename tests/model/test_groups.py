"""Groups: whoever reads a ring, and whatever kills its producer, a group is there as a whole or not at all."""

from __future__ import annotations

from .cases import BOTH, Case, Mutant, assert_broken, assert_holds, mutants, right
from .groups import groups, groups_restart, groups_tapped
from .machine import Model


@BOTH
@right(
    [
        Case("publish groups", groups),
        Case("producer killed twice", groups_restart),
        Case("tap", groups_tapped),
    ]
)
def test_a_group_is_whole_wherever_it_is_seen(case: Case, model: Model) -> None:
    assert_holds(case, model)


@mutants(
    [
        Mutant("each record of a group is claimed for itself", groups, True),
        Mutant("the head moves within a group", groups, True),
        Mutant("the head is a plain store", groups, False),
        Mutant("applied passes a group before all of it is read", groups, True),
        Mutant("each record of a group is claimed for itself", groups_restart, True),
        Mutant("the head moves within a group", groups_restart, True),
        Mutant("no padding at restart", groups_restart, True),
        Mutant("no fence after the claim", groups_tapped, False),
        Mutant("no fence before the claim is read again", groups_tapped, False),
        Mutant("a lap is noticed one group too late", groups_tapped, True),
    ]
)
def test_each_step_that_keeps_a_group_together_is_needed(mutant: Mutant) -> None:
    assert_broken(mutant)
