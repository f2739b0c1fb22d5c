"""Which rows of a table an expression holds for, and in which order."""

from __future__ import annotations

import operator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np

from openbell.errors import InvalidArgument
from openbell.market.expression import Expression
from openbell.market.terms import Frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from openbell.market.terms import Table


@lru_cache(64)
def understand(text: str, known: tuple[str, ...]) -> Expression:
    """Return `text` as an expression over the columns `known`; the same one for the same text, while it is in use.

    Raises
    ------
    ExpressionError
        It cannot be understood.
    """
    return Expression(text, known)


def scan(
    table: Table,
    known: tuple[str, ...],
    expression: str | Expression,
    sort: str | Expression | None,
    top: int | None,
    descending: bool,
) -> NDArray[np.intp]:
    """Return the places of the rows for which `expression` holds.

    Parameters
    ----------
    table : Table
        Has the columns.
    known : tuple of str
        Their names.
    expression, sort, top, descending
        As in `Snapshot.scan`.

    Raises
    ------
    ExpressionError, InvalidArgument
        As in `Snapshot.scan`.
    """
    if top is not None and (not isinstance(top, SupportsIndex) or operator.index(top) < 0):
        raise InvalidArgument(f"top must be a whole number from 0, not {top!r}")
    held = understand(expression, known) if isinstance(expression, str) else expression
    places = held.places(Frame(table))
    if sort is None:
        return places[:top]
    return places[_order(_keys(table, known, sort, places), top, descending)]


def _keys(table: Table, known: tuple[str, ...], sort: str | Expression, places: NDArray[np.intp]) -> NDArray[Any]:
    if sort == "symbol":
        return np.unique([table.symbols[place] for place in places.tolist()], return_inverse=True)[1]
    by = understand(sort, known) if isinstance(sort, str) else sort
    return by.number(Frame(table, places))


def _order(keys: NDArray[Any], top: int | None, descending: bool) -> NDArray[np.intp]:
    """Return the order by `keys`: NaN last, equal ones as they come."""
    there = np.flatnonzero(keys == keys)
    ranked = keys[there]
    if descending:
        ranked = ~ranked if ranked.dtype.kind in "iub" else -ranked
    if top is not None and 4 * top < len(ranked):
        # Sorting all to show a few is most of the work: leave out what is surely behind them, ties kept.
        near = np.flatnonzero(ranked <= np.partition(ranked, top)[top])
        there, ranked = there[near], ranked[near]
    order = there[np.argsort(ranked, kind="stable")]
    if top is None or len(order) < top:
        order = np.concatenate((order, np.flatnonzero(keys != keys)))
    return order[:top]
