"""The stack machine for conditions: what it finds, and that it refuses steps that would reach beyond its stacks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from openbell.core.evaluate import STEPS, Program

A = np.array([1.0, -4.0, math.nan, 9.0, 0.0])
B = np.array([1.0, 2.0, 3.0, math.nan, -0.0])
Step = tuple[str, float]


def found(*steps: Step, columns: tuple[np.ndarray, ...] = (A, B)) -> list[int]:
    places = np.empty(len(columns[0]), np.intp)
    count = Program(steps, len(columns)).run(columns, len(columns[0]), places)
    rows: list[int] = places[:count].tolist()
    return rows


def pick(column: int) -> Step:
    return ("pick", column)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("gt", []),
        ("ge", [0, 4]),
        ("lt", [1]),
        ("le", [0, 1, 4]),
        ("eq", [0, 4]),
        ("ne", [1, 2, 3]),
    ],
)
def test_a_comparison_holds_where_it_should(step: str, expected: list[int]) -> None:
    assert found(pick(0), pick(1), (step, 0)) == expected


@pytest.mark.parametrize(
    ("steps", "result"),
    [
        ((pick(0), pick(1), ("add", 0)), A + B),
        ((pick(0), pick(1), ("sub", 0)), A - B),
        ((pick(0), pick(1), ("mul", 0)), A * B),
        ((pick(1), pick(0), ("div", 0), ("abs", 0)), [1, 0.5, math.nan, math.nan, math.nan]),
        ((pick(0), pick(1), ("min", 0)), np.minimum(A, B)),
        ((pick(0), pick(1), ("max", 0)), np.maximum(A, B)),
        ((pick(0), ("neg", 0), ("neg", 0), ("neg", 0)), -A),
        ((pick(0), ("abs", 0), ("sqrt", 0)), np.sqrt(np.abs(A))),
        ((pick(0), ("constant", 2.5), ("mul", 0)), A * 2.5),
    ],
)
def test_arithmetic_is_that_of_numpy(steps: tuple[Step, ...], result: np.ndarray) -> None:
    for place, value in enumerate(np.asarray(result, float).tolist()):
        if math.isnan(value):
            assert place in found(*steps, ("isnan", 0))
        else:
            assert place in found(*steps, ("constant", value), ("eq", 0))


def test_the_rest_is_left_out_where_nothing_is_left() -> None:
    rows = 1000
    number = np.arange(rows, dtype=float)
    steps = [pick(0), ("constant", 600.0), ("ge", 0), ("skip", 4), pick(0), ("constant", 700.0), ("lt", 0), ("and", 0)]
    assert found(*steps, columns=(number,)) == list(range(600, 700))
    assert found(*steps, ("not", 0), columns=(number,)) == [*range(600), *range(700, rows)]
    assert found(pick(0), ("isnan", 0), pick(0), ("constant", 5.0), ("lt", 0), ("or", 0), columns=(number,)) == [
        *range(5)
    ]


@pytest.mark.parametrize("rows", [0, 1, 255, 256, 257, 511, 512, 513])
def test_markets_of_every_size_are_searched_to_their_end(rows: int) -> None:
    number = np.arange(rows, dtype=float)
    assert found(pick(0), ("constant", -1.0), ("gt", 0), columns=(number,)) == list(range(rows))
    assert found(pick(0), ("constant", rows - 1.0), ("ge", 0), columns=(number,)) == list(range(max(rows - 1, 0), rows))


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ((), "do not leave one condition"),
        ((pick(0),), "do not leave one condition"),
        ((pick(0), ("isnan", 0), pick(0), ("isnan", 0)), "do not leave one condition"),
        ((("add", 0),), "lacks what it works on"),
        ((pick(0), ("gt", 0)), "lacks what it works on"),
        ((("and", 0),), "lacks what it works on"),
        ((("not", 0),), "lacks what it works on"),
        ((pick(2), ("isnan", 0)), "column 2 of 2"),
        ((pick(-1), ("isnan", 0)), "column -1 of 2"),
        ((pick(0),) * 13, "too much is held"),
        ((pick(0), ("isnan", 0)) * 13, "too much is held"),
        ((("constant", 1.0),) * 33, "too m"),
        ((pick(0), ("isnan", 0), *[("not", 0)] * 300), "too many"),
        ((pick(0), ("isnan", 0), ("skip", 9)), "not there"),
        ((pick(0), ("isnan", 0), ("skip", -1)), "not there"),
        ((pick(0), ("isnan", 0), ("skip", 1), pick(0), ("isnan", 0), ("and", 0)), "lacks what was left out"),
        ((pick(0), ("isnan", 0), ("skip", 2), pick(0), ("isnan", 0)), "do not leave one condition"),
    ],
)
def test_steps_that_do_not_fit_together_are_refused(steps: tuple[Step, ...], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Program(steps, 2)


def test_a_step_that_is_not_known_is_refused() -> None:
    assert "pick" in STEPS
    with pytest.raises(KeyError):
        Program((("jump", 3),), 1)


def test_columns_that_are_too_short_or_too_few_are_refused() -> None:
    program = Program((pick(0), pick(1), ("gt", 0)), 2)
    places = np.empty(5, np.intp)
    with pytest.raises(ValueError, match="2 are needed"):
        program.run((A,), 5, places)
    with pytest.raises(ValueError, match="are needed"):
        program.run((A, B[:4]), 5, places)
    with pytest.raises(ValueError, match="are needed"):
        program.run((A, B), 5, places[:4])
    with pytest.raises(ValueError, match="not negative"):
        program.run((A, B), -1, places)
