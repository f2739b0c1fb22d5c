"""The simulator of a demonstration: a process of its own, told what to do by signals, heard by its lines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import msgspec

from openbell.demo.options import DemoError

_EXIT_S = 3.0


class Event(msgspec.Struct, frozen=True):
    """One line of the simulator; of its fields, those that a demonstration needs."""

    event: str
    url: str = ""
    vendor: str = ""
    start_ns: int = 0
    sent: int = 0
    offered_first_second: int = 0
    expected_first_second: int | None = None
    late_ns: dict[str, int] | None = None
    kind: str = ""
    fault: str = ""
    at_ns: int = 0
    ports: list[int] = []
    cpu_seconds: float = 0.0


class Lists(msgspec.Struct, frozen=True):
    """The symbols of the market, and the streams that a client must subscribe to in order to get all of it."""

    symbols: list[str]
    streams: list[str]


class Exchange:
    """A simulator and the line to it. Leave its context to end it, whatever state it is in.

    Parameters
    ----------
    arguments : sequence of str
        The simulator's command line.
    log : file
        Where its stderr goes; also read, to say why it ended.
    """

    def __init__(self, arguments: Sequence[str], log: IO[bytes]) -> None:
        self._log = log
        # Its own process group: Ctrl-C in a terminal is for the demonstration, which ends the market in order.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "openbell.simulator", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            process_group=0,
        )
        assert self._process.stdout is not None
        self._stdout = self._process.stdout
        os.set_blocking(self._stdout.fileno(), False)
        self._rest = b""

    @property
    def pid(self) -> int:
        """Its pid."""
        return self._process.pid

    def fileno(self) -> int:
        """Return a descriptor that is readable once there are events, or the simulator is gone."""
        return self._stdout.fileno()

    def events(self) -> list[Event]:
        """Return what it has said since the last call.

        Raises
        ------
        DemoError
            It is gone, and there is nothing more to hear.
        """
        chunk = self._stdout.read()
        if chunk == b"":
            status = self._process.wait()
            raise DemoError(f"the simulator ended with exit status {status}{self._last_words()}")
        lines = (self._rest + (chunk or b"")).split(b"\n")
        self._rest = lines.pop()
        try:
            return [msgspec.json.decode(line, type=Event) for line in lines]
        except msgspec.MsgspecError as error:
            raise DemoError(f"the simulator says what cannot be understood: {error}") from error

    def end_market(self) -> None:
        """Tell it to end the market and to state what it has sent; connections stay. Not before it is ready."""
        self._process.send_signal(signal.SIGUSR1)

    def _last_words(self) -> str:
        self._log.flush()
        text = Path(self._log.name).read_text("utf-8", "replace")
        said = [line for line in text.splitlines() if line.startswith("simulator: ")]
        return f": {said[-1].removeprefix('simulator: ')}" if said else ""

    def __enter__(self) -> Exchange:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # In order only after a run in order: who is in a hurry does not wait for close frames.
        if kind is None:
            self._process.terminate()
            try:
                self._process.wait(_EXIT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        else:
            self._process.kill()
        self._process.wait()
        self._stdout.close()


def read_lists(path: Path) -> Lists:
    """Read the lists that the simulator wrote before it said that it is ready."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Lists)
    except (OSError, msgspec.MsgspecError) as error:
        raise DemoError(f"{path}: the simulator's lists cannot be read: {error}") from error
