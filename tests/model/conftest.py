"""Nothing in this folder starts a process or maps shared memory."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Spare these tests the runtime directory, and the look around after each, that all others get."""
