"""The page on the architecture: what it says about the tree is true."""

from __future__ import annotations

import re
from pathlib import Path

import openbell

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"


def test_the_folders_are_those_that_are_there() -> None:
    block = PAGE.read_text().partition("src/openbell/\n")[2].partition("```")[0]
    named = re.findall(r"^[├└]── (\S+) +\S", block, flags=re.MULTILINE)
    package = Path(openbell.__file__).parent
    there = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in package.iterdir()
        if path.is_dir() or path.suffix == ".py"
    }
    assert sorted(named) == sorted(there - {"__init__.py", "__main__.py", "__pycache__/"})
