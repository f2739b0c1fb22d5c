"""How long the stress tests go on."""

from __future__ import annotations

import os

import pytest

READS = 10_000_000
SOAK_S = 6.0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--reads",
        type=int,
        default=None,
        help=f"rows to read in the torn-read test ({READS:,} by default); the other stress tests grow with it",
    )
    parser.addoption(
        "--soak",
        type=float,
        default=None,
        help=f"seconds of the soak with a misbehaving vendor ({SOAK_S:g} by default; 600 judges what processes hold)",
    )


@pytest.fixture(scope="session")
def reads(pytestconfig: pytest.Config) -> int:
    """Return how many rows the torn-read test reads: ``--reads``, else OPENBELL_STRESS_READS, else ten million.

    The option is known only where tests/stress is named on the command line.
    """
    asked = pytestconfig.getoption("--reads", default=None)
    return int(asked or os.environ.get("OPENBELL_STRESS_READS") or READS)


@pytest.fixture(scope="session")
def scale(reads: int) -> float:
    """Return by how much the other stress tests are longer than by default."""
    return max(1.0, reads / READS)


@pytest.fixture(scope="session")
def soak_s(pytestconfig: pytest.Config) -> float:
    """Return how long the soak goes on: ``--soak``, else OPENBELL_SOAK_S, else a few seconds."""
    asked = pytestconfig.getoption("--soak", default=None)
    return float(asked or os.environ.get("OPENBELL_SOAK_S") or SOAK_S)
