"""What expressions are made of: functions from the columns of a market to one value a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from openbell.market.derived import FORMULAS

if TYPE_CHECKING:
    from numpy.typing import NDArray

Steps = tuple[tuple[str, float | str], ...]

_FEW = 4
"""Once at most one row in so many is left, the rest of an ``and`` looks only at those that are."""


class Kind(Enum):
    """What a term is: a number, a condition that holds or not, or a text."""

    NUMBER = auto()
    CONDITION = auto()
    TEXT = auto()


class Table(Protocol):
    """The columns of a market."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbol of each row."""

    def column(self, name: str) -> NDArray[Any]:
        """Return a column by its name."""

    def is_computed(self, name: str) -> bool:
        """Say whether the column costs nothing any more."""

    def keep(self, name: str, column: NDArray[Any]) -> None:
        """Take a derived column that was computed from the others."""


class _NoRows:
    symbols: tuple[str, ...] = ()

    def column(self, name: str) -> NDArray[Any]:
        raise KeyError(name)

    def is_computed(self, name: str) -> bool:
        return False

    def keep(self, name: str, column: NDArray[Any]) -> None:
        raise KeyError(name)


class Frame:
    """Some rows of a table.

    Parameters
    ----------
    table : Table
    places : array of intp, optional
        Which ones; all by default.
    """

    def __init__(self, table: Table, places: NDArray[np.intp] | None = None) -> None:
        self._table = table
        self._places = places
        self.rows = len(table.symbols) if places is None else len(places)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols of the whole table."""
        return self._table.symbols

    def column(self, name: str) -> NDArray[Any]:
        """Return these rows of a column."""
        if name not in FORMULAS or self._table.is_computed(name):
            return self.rows_of(self._table.column(name))
        # Of some rows only these are computed. What is computed of all is kept for whoever asks next.
        formula = FORMULAS[name]
        found = formula.compute(*map(self.column, formula.needs))
        if self._places is None:
            self._table.keep(name, found)
        return found

    def rows_of(self, column: NDArray[Any]) -> NDArray[Any]:
        """Return these rows of what is there for the whole table."""
        return column if self._places is None else column[self._places]

    def take(self, places: NDArray[np.intp]) -> Frame:
        """Return some of these rows."""
        return Frame(self._table, places if self._places is None else self._places[places])


@dataclass(frozen=True, slots=True)
class Term:
    """A part of an expression.

    Attributes
    ----------
    kind : Kind
    names : frozenset of str
        Columns that it looks at.
    evaluate : callable
        From a `Frame` to one value a row, or to a single one if it `is_constant`.
    is_constant : bool
        Whether it is the same for all rows.
    text : str, optional
        What it is, if it is a text in quotes.
    places : callable, optional
        From a `Frame` to the rows where it holds, for a condition that knows them without asking all rows.
    steps : tuple of (str, operand), optional
        The same for `openbell.core.evaluate`, with the names of columns to ``pick``; for what that can do.
    """

    kind: Kind
    names: frozenset[str]
    evaluate: Callable[[Frame], Any]
    is_constant: bool
    text: str | None = None
    places: Callable[[Frame], NDArray[np.intp]] | None = None
    steps: Steps | None = None


def constant(value: np.int64 | np.float64) -> Term:
    """Return a number as a term."""
    steps: Steps = (("constant", float(value)),)
    return Term(Kind.NUMBER, frozenset(), lambda _: value, is_constant=True, steps=steps)


def pick(name: str) -> Term:
    """Return a column as a term."""
    steps: Steps = (("pick", name),)
    if name in FORMULAS:
        steps = tuple(map(_step, FORMULAS[name].steps.split()))
    return Term(Kind.NUMBER, frozenset((name,)), lambda frame: frame.column(name), is_constant=False, steps=steps)


_OPERATORS = {"+": "add", "-": "sub", "*": "mul", "/": "div"}


def _step(word: str) -> tuple[str, float | str]:
    if word in _OPERATORS:
        return _OPERATORS[word], 0
    return ("pick", word) if word.isidentifier() else ("constant", float(word))


_STEP_OF = {
    np.add: "add",
    np.subtract: "sub",
    np.multiply: "mul",
    np.true_divide: "div",
    np.minimum: "min",
    np.maximum: "max",
    np.negative: "neg",
    np.abs: "abs",
    np.sqrt: "sqrt",
    np.greater: "gt",
    np.greater_equal: "ge",
    np.less: "lt",
    np.less_equal: "le",
    np.equal: "eq",
    np.not_equal: "ne",
    np.isnan: "isnan",
}


def _joined(terms: Sequence[Term], *then: tuple[str, float | str]) -> Steps | None:
    """Return the steps of `terms`, one behind the other, and then those given; None if one of them has none."""
    found: list[tuple[str, float | str]] = []
    for term in terms:
        if term.steps is None:
            return None
        found += term.steps
    return (*found, *then)


def combine(function: Callable[..., Any], terms: Sequence[Term], kind: Kind = Kind.NUMBER) -> Term:
    """Return a numpy function of numbers as a term.

    Whole numbers are made floats where they could overflow: only sums and differences of them stay whole.
    """
    is_constant = all(each.is_constant for each in terms)
    # Of two constants nobody knows how large they are.
    exact = kind is Kind.CONDITION or (function in _EXACT and not (is_constant and len(terms) > 1))
    parts = [each.evaluate if exact else _as_float(each) for each in terms]
    names = _names(terms)
    steps = _joined(terms, (_STEP_OF[function], 0)) if function in _STEP_OF else None
    if len(parts) == 1:
        (only,) = parts
        return Term(kind, names, lambda frame: function(only(frame)), is_constant, steps=steps)
    left, right = parts
    return Term(kind, names, lambda frame: function(left(frame), right(frame)), is_constant, steps=steps)


# What constants are made of.
_NOWHERE = Frame(_NoRows())
_EXACT = (np.add, np.subtract, np.negative, np.abs, np.minimum, np.maximum)


def _as_float(term: Term) -> Callable[[Frame], Any]:
    evaluate = term.evaluate
    if term.is_constant:
        # 9**9**9 is infinite, and no reason to warn anybody.
        with np.errstate(all="ignore"):
            value = np.float64(evaluate(_NOWHERE))
        return lambda _: value

    def evaluated(frame: Frame) -> Any:
        found = evaluate(frame)
        return found if found.dtype == np.float64 else found.astype(np.float64)

    return evaluated


def both(terms: Sequence[Term]) -> Term:
    """Return the condition that all of `terms` hold. Those behind look only at what those before have left."""

    def places_of(frame: Frame) -> NDArray[np.intp]:
        held: NDArray[np.bool_] = terms[0].evaluate(frame)
        at = 1
        while at < len(terms) and np.count_nonzero(held) * _FEW > len(held):
            held = held & terms[at].evaluate(frame)
            at += 1
        (places,) = held.nonzero()
        for term in terms[at:]:
            places = places[term.evaluate(frame.take(places))]
        return places

    def evaluate(frame: Frame) -> NDArray[np.bool_]:
        held = np.zeros(frame.rows, np.bool_)
        held[places_of(frame)] = True
        return held

    steps = terms[0].steps
    for term in terms[1:]:
        if steps is None or term.steps is None:
            steps = None
            break
        steps = (*steps, ("skip", len(term.steps) + 1), *term.steps, ("and", 0))
    return Term(Kind.CONDITION, _names(terms), evaluate, is_constant=False, places=places_of, steps=steps)


def either(terms: Sequence[Term]) -> Term:
    """Return the condition that any of `terms` holds."""

    def evaluate(frame: Frame) -> NDArray[np.bool_]:
        held: NDArray[np.bool_] = terms[0].evaluate(frame)
        for term in terms[1:]:
            held = held | term.evaluate(frame)
        return held

    steps = terms[0].steps
    for term in terms[1:]:
        steps = None if steps is None or term.steps is None else (*steps, *term.steps, ("or", 0))
    return Term(Kind.CONDITION, _names(terms), evaluate, is_constant=False, steps=steps)


def negate(term: Term) -> Term:
    """Return the condition that `term` does not hold."""
    steps = _joined([term], ("not", 0))
    return Term(Kind.CONDITION, term.names, lambda frame: ~term.evaluate(frame), is_constant=False, steps=steps)


def symbols_where(test: Callable[[str], bool]) -> Term:
    """Return the condition that a test holds of the symbol."""
    # The symbols of a market are the same tuple until another one comes: each is asked once, not once a scan.
    kept: tuple[tuple[str, ...], NDArray[np.bool_]] = ((), np.empty(0, np.bool_))

    def evaluate(frame: Frame) -> NDArray[Any]:
        nonlocal kept
        symbols, held = kept
        if symbols is not frame.symbols:
            symbols = frame.symbols
            held = np.fromiter(map(test, symbols), np.bool_, len(symbols))
            kept = symbols, held
        return frame.rows_of(held)

    return Term(Kind.CONDITION, frozenset(), evaluate, is_constant=False)


def _names(terms: Sequence[Term]) -> frozenset[str]:
    return frozenset[str]().union(*(each.names for each in terms))
