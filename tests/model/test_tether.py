"""Tethered readers: what one believes is whole, wherever it joins and whenever it is cut; it holds nobody for ever."""

from __future__ import annotations

from .cases import BOTH, Case, Mutant, assert_broken, assert_holds, mutants, right
from .machine import Model
from .tether import comes_back, cut_off, producer_restarts, tethered


@BOTH
@right(
    [
        Case("the producer waits", tethered),
        Case("the producer cuts", cut_off),
        Case("the reader comes back", comes_back),
        Case("the producer is killed", producer_restarts),
    ]
)
def test_what_a_tethered_reader_believes_is_whole(case: Case, model: Model) -> None:
    assert_holds(case, model)


@mutants(
    [
        Mutant("no fence between a claim and the next look", tethered, True),
        Mutant("no fence after joining", tethered, True),
        Mutant("the claim is not looked at", tethered, True),
        Mutant("a claim of more than half a ring ahead is accepted", tethered, True),
        Mutant("the states are not looked at", tethered, True),
        Mutant("a record is let go before it is read", tethered, True),
        Mutant("the state is not looked at after reading", cut_off, True),
        Mutant("no fence before the state is looked at", cut_off, False),
        Mutant("the cut comes after the record", cut_off, True),
        Mutant("the epoch stays the same", comes_back, True),
        Mutant("the reader's state is a plain store", comes_back, False),
        Mutant("the producer's state is a plain load", comes_back, False),
    ]
)
def test_each_step_of_a_tether_is_needed(mutant: Mutant) -> None:
    assert_broken(mutant)


@BOTH
@right(
    [
        Case("the cursor is a plain store", tethered, {"broken": "the cursor is a plain store"}),
        Case("the cursor is a plain store, cut", cut_off, {"broken": "the cursor is a plain store"}),
    ]
)
def test_a_cursor_never_overtakes_the_jump_that_asked_the_state(case: Case, model: Model) -> None:
    """Its release is there for the compiler, and for who lets go without asking: the loads came before that jump."""
    assert_holds(case, model)
