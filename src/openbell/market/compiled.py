"""Conditions for the stack machine of the core: those over float columns, with the operators that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from openbell.core.evaluate import Program

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from openbell.market.terms import Frame, Term


class Compiled:
    """A condition that takes one call, however many operators it has.

    Parameters
    ----------
    program : Program
    names : tuple of str
        The columns that it picks, in the order of its numbers for them.
    """

    def __init__(self, program: Program, names: tuple[str, ...]) -> None:
        self._program = program
        self._names = names

    def places(self, frame: Frame) -> NDArray[np.intp] | None:
        """Return the rows of `frame` where it holds; None if a column is not one of floats, for numpy to see to it."""
        columns = [frame.column(name) for name in self._names]
        for column in columns:
            # Whole numbers of 64 bits are more than a float holds.
            if column.dtype != np.float64 or not column.flags.c_contiguous:
                return None
        found = np.empty(frame.rows, np.intp)
        count = self._program.run(columns, frame.rows, found)
        # A copy, so that a few places do not keep the memory of all.
        return found[:count].copy()


def compiled(term: Term) -> Compiled | None:
    """Return a condition for the core; None if it has more, or other steps than that can do."""
    if term.steps is None:
        return None
    names: list[str] = []
    steps: list[tuple[str, float]] = []
    for step, operand in term.steps:
        if isinstance(operand, str):
            # Only a column has a name; the core knows it by its number.
            if operand not in names:
                names.append(operand)
            operand = names.index(operand)
        steps.append((step, operand))
    try:
        return Compiled(Program(steps, len(names)), tuple(names))
    except ValueError:
        # Too long or too deep: numpy has no such bounds.
        return None
