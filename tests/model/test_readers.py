"""The readers' bell: whoever of them sleeps is woken, though all share one flag and nobody clears it for himself."""

from __future__ import annotations

from .cases import BOTH, Case, Mutant, assert_broken, assert_holds, mutants, right
from .machine import Model
from .readers import feed_ends, one_writer, two_readers, two_writers, writer_restarts


@BOTH
@right(
    [
        Case("one reader", one_writer),
        Case("two readers", two_readers),
        Case("two receivers", two_writers),
        Case("the generation ends", feed_ends),
        Case("a receiver is killed and comes back", writer_restarts),
    ]
)
def test_no_reader_is_left_asleep(case: Case, model: Model) -> None:
    assert_holds(case, model)


@mutants(
    [
        Mutant("no fence before the flag is read", one_writer, True),
        Mutant("no fence after the flag is set", one_writer, True),
        Mutant("nothing is checked again", one_writer, True),
        Mutant("the bell is a plain load", one_writer, False),
        Mutant("the bell is read after the re-check", one_writer, True),
        Mutant("the flag is set after the re-check", one_writer, True),
        Mutant("the bell is rung before the head moves", one_writer, True),
        Mutant("the bell moves after the wake-up", one_writer, True),
        Mutant("the bell does not move", one_writer, True),
        Mutant("nobody is woken", one_writer, True),
        Mutant("only one reader is woken", two_readers, True),
        Mutant("a reader takes the announcement back", two_readers, True),
        Mutant("the bell is rung before the end is said", feed_ends, True),
        Mutant("the bell does not move at the end", feed_ends, True),
        Mutant("nothing is checked again", feed_ends, True),
        Mutant("the restarted receiver does not ring", writer_restarts, True),
    ]
)
def test_each_step_of_the_readers_bell_is_needed(mutant: Mutant) -> None:
    assert_broken(mutant)
