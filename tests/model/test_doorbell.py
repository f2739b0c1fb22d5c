"""The doorbell: whoever sleeps is woken, without any time-out."""

from __future__ import annotations

from .cases import BOTH, Case, Mutant, assert_broken, assert_holds, mutants, right
from .doorbell import both_ways, feed_dies, one_writer, two_writers, writer_restarts
from .machine import Model


@BOTH
@right(
    [
        Case("one producer", one_writer),
        Case("two producers", two_writers),
        Case("producer and worker sleep in turn", both_ways),
        Case("ring of two", both_ways, {"capacity": 2, "total": 4}),
        Case("the feed is declared dead", feed_dies),
        Case("a producer is killed and comes back", writer_restarts),
    ]
)
def test_no_wake_up_is_lost(case: Case, model: Model) -> None:
    assert_holds(case, model)


@mutants(
    [
        Mutant("no fence before the waiting flag is read", one_writer, True),
        Mutant("no fence after the waiting flag is set", one_writer, True),
        Mutant("no fence before the waiting flag is read", both_ways, True),
        Mutant("no fence after the waiting flag is set", both_ways, True),
        Mutant("nothing is checked again", one_writer, True),
        Mutant("the bell is a plain load", one_writer, False),
        Mutant("the bell is read after the re-check", one_writer, True),
        Mutant("the flag is set after the re-check", one_writer, True),
        Mutant("the bell is rung before the head moves", one_writer, True),
        Mutant("the bell moves after the wake-up", one_writer, True),
        Mutant("the bell does not move", one_writer, True),
        Mutant("nobody is woken", one_writer, True),
        Mutant("the bell is moved by a load and a store", two_writers, True),
        Mutant("the worker does not ring", both_ways, True),
        Mutant("the bell is rung before the state is stored", feed_dies, True),
        Mutant("nothing is checked again", feed_dies, True),
        Mutant("the restarted producer does not ring", writer_restarts, True),
    ]
)
def test_each_step_of_the_doorbell_is_needed(mutant: Mutant) -> None:
    assert_broken(mutant)
