"""What the tests of this folder share: a scenario by name, and the two assertions about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pytest

from .explorer import Scenario, explore
from .machine import Model

BOTH = pytest.mark.parametrize("model", list(Model), ids=lambda model: model.value)


class Case(NamedTuple):
    """A scenario with its arguments, under a name for a test's id."""

    name: str
    build: Callable[..., Scenario]
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed


class Mutant(NamedTuple):
    """A protocol with one thing removed or moved, and the scenario that must show the damage.

    Parameters
    ----------
    broken : str
        What is wrong with it; the programs know it by this name.
    build : callable
        The scenario.
    tso : bool
        Whether it breaks under total store order (x86-64) as well, or on ARM64 alone.
    options : dict
        Further arguments of the scenario.
    """

    broken: str
    build: Callable[..., Scenario]
    tso: bool
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed

    def scenario(self) -> Scenario:
        """Return the broken scenario."""
        return self.build(broken=self.broken, **self.options)

    def __str__(self) -> str:
        """Return the test's id."""
        where = "on both" if self.tso else "on arm alone"
        return f"{self.broken} - {self.build.__name__} - {where}"


def right(cases: Iterable[Case]) -> pytest.MarkDecorator:
    """Parametrise a test by right protocols."""
    return pytest.mark.parametrize("case", list(cases), ids=lambda case: case.name)


def mutants(cases: Iterable[Mutant]) -> pytest.MarkDecorator:
    """Parametrise a test by broken protocols."""
    return pytest.mark.parametrize("mutant", list(cases), ids=str)


def assert_holds(case: Case, model: Model) -> None:
    """Assert that no run of a scenario breaks it, and that it can end."""
    report = explore(case.build(**case.options), model)
    assert report.violation is None, report
    assert report.ends > 0


def assert_broken(mutant: Mutant) -> None:
    """Assert that the checker finds what is wrong on ARM64, and on x86-64 if and only if the mutant says so."""
    weak = explore(mutant.scenario(), Model.ARM)
    assert weak.violation is not None, f"not found on ARM64 in {weak.states} states: {mutant.broken}"
    print(weak)
    strong = explore(mutant.scenario(), Model.TSO)
    assert (strong.violation is not None) is mutant.tso, strong
