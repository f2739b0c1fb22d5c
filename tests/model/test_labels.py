"""The page that argues the order of shared words, and the code that keeps it, use the same names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LABEL = re.compile(r"SYNC POINT: ([a-z]+-[a-z]+)")


def labels(folder: Path, *suffixes: str) -> dict[str, int]:
    """Return how often each SYNC POINT label stands in the sources of a folder."""
    found: dict[str, int] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in suffixes:
            for label in LABEL.findall(path.read_text(encoding="utf-8")):
                found[label] = found.get(label, 0) + 1
    return found


CODE = labels(ROOT / "src" / "openbell", ".py", ".pyx", ".pxd")
MODEL = labels(ROOT / "tests" / "model", ".py")
PAGE = set(re.findall(r"`([a-z]+-[a-z]+)`", (ROOT / "docs" / "memory-model.md").read_text(encoding="utf-8")))


@pytest.mark.parametrize("label", sorted(CODE))
def test_a_label_of_the_code_is_argued_and_modelled(label: str) -> None:
    assert label in PAGE
    assert label in MODEL


@pytest.mark.parametrize("label", sorted(MODEL))
def test_a_label_of_the_model_is_argued_and_stands_in_the_code(label: str) -> None:
    assert label in PAGE
    assert label in CODE
