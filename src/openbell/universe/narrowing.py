"""Which symbols of a list are wanted: filters, spelling, and each once; and why the others were left out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from openbell.config.checks import symbol_fault
from openbell.config.universe import BY_CODE, Universe
from openbell.errors import ConfigError
from openbell.universe.boards import board
from openbell.universe.leftout import LeftOut
from openbell.universe.paths import ABSENT, choices
from openbell.universe.reading import Entry
from openbell.universe.spelling import spell


@dataclass(frozen=True, slots=True)
class Selection:
    """What became of a list.

    Attributes
    ----------
    symbols : tuple of str
        What is wanted, in order, each once.
    entries : int
        How many entries the list had.
    left_out : dict of str to LeftOut
        By reason. Repetitions are not among them.
    repeated : LeftOut
        Entries that came to a symbol that was there already.
    """

    symbols: tuple[str, ...]
    entries: int
    left_out: dict[str, LeftOut]
    repeated: LeftOut

    @property
    def reasons(self) -> str:
        """Why something was left out, in one line; empty if nothing was."""
        return "; ".join(
            f"{each.count:,} {reason}" + (f" ({each})" if each.examples else "")
            for reason, each in self.left_out.items()
        )


def narrow(entries: Iterable[Entry], universe: Universe, prefix: str = "") -> Selection:
    """Return the symbols that are wanted of a list.

    In this order: entries without a code; `keep` and `leave_out`, where an entry has fields; the spelling; `boards`,
    `match` and `exclude`, of the symbol as it is spelled; with `faulty` ``"leave_out"``, what is no symbol behind
    `prefix`; repetitions.

    Raises
    ------
    ConfigError
        A field by which is filtered is in no entry that has fields.
    """
    entries = list(entries)
    _check_fields(entries, universe)
    found: dict[str, None] = {}
    left_out: dict[str, LeftOut] = {}
    repeated = LeftOut()
    match = None if universe.match is None else re.compile(universe.match)
    exclude = None if universe.exclude is None else re.compile(universe.exclude)
    keep = {name: _folded(values) for name, values in universe.keep.items()}
    leave_out = {name: _folded(values) for name, values in universe.leave_out.items()}
    for entry in entries:
        symbol = spell(entry.code, universe.suffix, universe.hk_digits) if entry.code else None
        if not entry.code:
            reason = "without a code"
        elif unwanted := _unwanted(entry, keep, leave_out):
            reason = unwanted
        elif symbol is None:
            reason = f"whose exchange their code does not say (suffix = {BY_CODE!r})"
        elif universe.boards and board(symbol) not in universe.boards:
            reason = "on no board of `boards`"
        elif match is not None and not match.search(symbol):
            reason = "that `match` does not match"
        elif exclude is not None and exclude.search(symbol):
            reason = "that `exclude` matches"
        elif universe.faulty == "leave_out" and (fault := symbol_fault(symbol, prefix)):
            reason = f"that {fault}"
        elif symbol in found:
            repeated.add(symbol)
            continue
        else:
            found[symbol] = None
            continue
        left_out.setdefault(reason, LeftOut()).add(symbol or entry.code)
    return Selection(tuple(found), len(entries), left_out, repeated)


def _check_fields(entries: list[Entry], universe: Universe) -> None:
    """Refuse filters by a field that is nowhere: a misspelt one would let everything through, or nothing."""
    withs = [entry for entry in entries if entry.lookup is not None]
    for key, names in (("keep", universe.keep), ("leave_out", universe.leave_out)):
        for name in names:
            if not withs:
                raise ConfigError(
                    f"source.universe.{key}: the list has no fields to choose by; take {name!r} out, or name a list in "
                    "JSON, or in CSV with titles (and say the code's in source.universe.field)"
                )
            if all(_value(entry, name) is ABSENT for entry in withs):
                raise ConfigError(
                    f"source.universe.{key}: no entry of the list has {name!r}; {choices(name, list(withs[0].names))}"
                )


def _unwanted(entry: Entry, keep: Mapping[str, frozenset[str]], leave_out: Mapping[str, frozenset[str]]) -> str | None:
    """Return by which field an entry is unwanted, or None."""
    if entry.lookup is None:
        return None
    for name, values in leave_out.items():
        if hit := values & _texts(_value(entry, name)):
            return f"whose {name} is {min(hit)!r} (leave_out)"
    for name, values in keep.items():
        if not values & _texts(_value(entry, name)):
            return f"whose {name} is none of those in `keep`"
    return None


def _value(entry: Entry, name: str) -> Any:
    assert entry.lookup is not None
    return entry.lookup(name)


def _folded(values: Iterable[object]) -> frozenset[str]:
    return frozenset().union(*(_texts(value) for value in values))


def _texts(value: object) -> frozenset[str]:
    """Return what a value reads as, for comparing: lists choose with others by any of their parts."""
    if value is ABSENT:
        return frozenset()
    if value is None:
        return frozenset({"null"})
    if isinstance(value, bool):
        return frozenset({str(value).lower()})
    if isinstance(value, list | tuple):
        return frozenset().union(*(_texts(each) for each in value))
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return frozenset({str(value).strip().casefold()})
