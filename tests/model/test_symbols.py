"""The symbol table: two symbols never share a row, and none is lost, whoever dies while inserting."""

from __future__ import annotations

from .cases import BOTH, Case, Mutant, assert_broken, assert_holds, mutants, right
from .machine import Model
from .symbols import inserted, looked_up


@BOTH
@right(
    [
        Case("two symbols, each inserter killed", inserted),
        Case("one symbol twice, each inserter killed", inserted, {"keys": (1, 1)}),
        Case("looked up while its inserter is killed", looked_up),
        Case("listed while its inserter is killed", looked_up, {"listing": True}),
    ]
)
def test_a_symbol_has_one_row_and_keeps_it(case: Case, model: Model) -> None:
    assert_holds(case, model)


@mutants(
    [
        Mutant("no lock", inserted, True, {"crashes": 0}),
        Mutant("no repair", inserted, True),
        Mutant("the intent is stored after the slot is published", inserted, True),
        Mutant("the intent is cleared before used moves", looked_up, True),
        Mutant("used moves before the slot is published", looked_up, True),
        Mutant("the repair counts the row once more", looked_up, True),
        Mutant("the key is not compared", inserted, True),
        Mutant("row_slot is written after the slot is published", looked_up, True),
        Mutant("the slot is published before its fields", looked_up, True),
        Mutant("the hash is a plain store", looked_up, False),
        Mutant("the hash is a plain load", looked_up, False),
        Mutant("the hash is a plain store", looked_up, False, {"listing": True}),
        Mutant("the hash is a plain load", looked_up, False, {"listing": True}),
    ]
)
def test_each_step_of_the_symbol_table_is_needed(mutant: Mutant) -> None:
    assert_broken(mutant)
