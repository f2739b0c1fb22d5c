"""Other processes for tests: programs of `corelab.programs`, ended with the block that started them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent.parent


@contextmanager
def program(name: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run ``corelab.programs.<name>`` with `arguments`; whatever happens, it is gone at the end of the block."""
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(TESTS), environment.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, "-m", f"corelab.programs.{name}", *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the next line that a program printed, as the JSON object that it is."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"the program ended without a word, status {process.wait(10)}"
    found: dict[str, Any] = json.loads(line)
    return found


def tell(process: subprocess.Popen[str], line: str = "go") -> None:
    """Send a line to a program."""
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
