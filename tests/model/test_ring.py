"""The ring: every record reaches the worker once and whole, a tap is never given a torn one, and a gap is counted."""

from __future__ import annotations

from .cases import BOTH, Case, Mutant, assert_broken, assert_holds, mutants, right
from .machine import Model
from .ring import gated, gated_restart, tapped, tapped_restart

LAPPED = {"total": 5, "capacity": 4, "rounds": 2}


@BOTH
@right(
    [
        Case("publish each record", gated, {"batch": 1}),
        Case("publish by twos", gated, {"batch": 2}),
        Case("publish more than the ring holds", gated, {"total": 5, "batch": 3}),
        Case("tap", tapped),
        Case("tap of a claim ahead of the head", tapped, {"chunk": 2, "batch": 2}),
        Case("tap lapped in a larger ring", tapped, {"total": 7, "capacity": 4}),
        Case("producer killed twice", gated_restart),
        Case("producer killed, tap", tapped_restart),
    ]
)
def test_no_record_is_lost_torn_or_uncounted(case: Case, model: Model) -> None:
    assert_holds(case, model)


@mutants(
    [
        Mutant("the head moves before the records are written", gated, True),
        Mutant("the head is a plain store", gated, False),
        Mutant("the worker's head is a plain load", gated, False),
        Mutant("the gate is not looked at", gated, True),
        Mutant("applied moves before the record is read", gated, True),
        Mutant("applied is a plain store", gated, False),
        Mutant("a full ring is not published", gated, True),
        Mutant("the head moves before the records are written", tapped, True),
        Mutant("the head is a plain store", tapped, False),
        Mutant("the tap's head is a plain load", tapped, False),
        Mutant("no fence after the claim", tapped, False),
        Mutant("the claim moves after the records are written", tapped, True),
        Mutant("no fence before the claim is read again", tapped, False),
        Mutant("the claim is not read again", tapped, True),
        Mutant("a lap is noticed one position too late", tapped, True),
        Mutant("the claim is a plain load", tapped, False, LAPPED),
        Mutant("the head moves before the padding is written", gated_restart, True),
        Mutant("no padding at restart", gated_restart, True),
        Mutant("no padding at restart", tapped_restart, True),
        Mutant("the claim is taken back at restart", tapped_restart, True),
    ]
)
def test_each_step_of_the_ring_is_needed(mutant: Mutant) -> None:
    assert_broken(mutant)


@BOTH
@right([Case("the gate is a plain load", gated, {"broken": "the gate is a plain load"})])
def test_a_store_never_overtakes_the_jump_that_asked_the_gate(case: Case, model: Model) -> None:
    """The acquire of the gate is there for the compiler: both processors keep the order by the jump alone."""
    assert_holds(case, model)
