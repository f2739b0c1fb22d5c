"""Processes that kill themselves at a crash point, one after the other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from faults.hooked import ROOT


class Walk:
    """Starts harness processes with crash points."""

    def __init__(self, core: Path, directory: Path, processes: list[subprocess.Popen[str]], undo: bool = True) -> None:
        self.environment = {**os.environ, "PYTHONPATH": f"{core / 'src'}:{ROOT / 'tests'}"}
        if not undo:
            self.environment["OPENBELL_NO_UNDO"] = "1"
        self.directory = directory
        self.processes = processes

    def start(self, harness: str, argument: object, crash: tuple[int, int] | None = None) -> subprocess.Popen[str]:
        environment = dict(self.environment)
        if crash is not None:
            environment["OPENBELL_CRASH"] = f"{crash[0]}:{crash[1]}"
        process = subprocess.Popen(
            [sys.executable, "-m", f"faults.{harness}", str(self.directory), str(argument)],
            env=environment,
            cwd=ROOT,
            stdout=subprocess.PIPE if harness == "inserter_harness" else None,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process


def finished(process: subprocess.Popen[str]) -> str:
    """Return "crashed" or "done"; anything else is an error of the harness."""
    code = process.wait()
    assert process.stderr is not None
    error = process.stderr.read()
    if code == -signal.SIGKILL:
        return "crashed"
    assert code == 0, error
    return "done"
