"""Running the ``openbell`` command as a user does: as a process, by its arguments, signals and streams."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE_S = 30.0
REPOSITORY = Path(__file__).parents[2]


def command(*arguments: str) -> list[str]:
    """Return the command line of ``openbell`` with `arguments`."""
    return [sys.executable, "-m", "openbell", *arguments]


def environment() -> dict[str, str]:
    """Return this process's environment, with OpenBell importable from anywhere."""
    paths = [str(REPOSITORY / "src"), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "COLUMNS": "200"}


def run(*arguments: str, timeout_s: float = PATIENCE_S) -> subprocess.CompletedProcess[str]:
    """Run ``openbell`` to its end."""
    return subprocess.run(
        command(*arguments), env=environment(), capture_output=True, text=True, timeout=timeout_s, check=False
    )


def last_object(text: str) -> dict[str, Any]:
    """Return the JSON object on the last line of `text`."""
    found = json.loads(text.splitlines()[-1])
    assert isinstance(found, dict)
    return found


class Command:
    """A running ``openbell``, whose stdout and stderr are gathered in one list of lines each."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            command(*arguments), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=False
        )
        assert self.process.stdout is not None and self.process.stderr is not None
        self._selector = selectors.DefaultSelector()
        self._texts = {"out": b"", "err": b""}
        for name, stream in (("out", self.process.stdout), ("err", self.process.stderr)):
            self._selector.register(stream, selectors.EVENT_READ, name)

    @property
    def out(self) -> str:
        """What it has written to stdout by now."""
        return self._texts["out"].decode("utf-8", "replace")

    @property
    def err(self) -> str:
        """What it has written to stderr by now."""
        return self._texts["err"].decode("utf-8", "replace")

    def listen(self, timeout_s: float) -> bool:
        """Take what it writes within `timeout_s`; return whether there may be more."""
        for key, _ in self._selector.select(timeout_s):
            chunk = os.read(key.fd, 65536)
            self._texts[key.data] += chunk
            if not chunk:
                self._selector.unregister(key.fileobj)
        return bool(self._selector.get_map())

    def until(self, condition: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
        """Listen until `condition` holds; fail if it does not within `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"did not happen within {timeout_s} s:\n{self.out}\n{self.err}"
            if not self.listen(0.05) and not condition():
                raise AssertionError(f"it ended before that:\n{self.out}\n{self.err}")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self, timeout_s: float = PATIENCE_S) -> int:
        """Listen to its end and return its exit status."""
        deadline = time.monotonic() + timeout_s
        while self.listen(0.05):
            assert time.monotonic() < deadline, f"did not end within {timeout_s} s:\n{self.out}\n{self.err}"
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def close(self) -> None:
        """End it if it lives: in order, so that it leaves nothing behind, and by force if that fails."""
        self.process.terminate()
        try:
            self.end()
        finally:
            self.process.kill()
            self.process.wait()
            self._close_streams()

    def _close_streams(self) -> None:
        self._selector.close()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@contextmanager
def started(*arguments: str) -> Iterator[Command]:
    """Run ``openbell`` beside the test; it is ended with the test at the latest."""
    running = Command(*arguments)
    try:
        yield running
    finally:
        running.close()
