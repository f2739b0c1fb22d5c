"""Logging that a flood of bad input cannot turn into a flood of lines."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

LINES_A_SECOND: Final = 10


class RateLimitedLog:
    """Write at most a number of lines a second, and say how many were left out.

    Parameters
    ----------
    logger : logging.Logger
        Where lines go.
    lines_a_second : int
        Most lines in any window of a second, the line about what was left out included; at least 2.
    clock : callable
        Monotonic seconds; for tests.
    """

    def __init__(
        self,
        logger: logging.Logger,
        lines_a_second: int = LINES_A_SECOND,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if lines_a_second < 2:
            raise ValueError(f"lines_a_second must be at least 2, not {lines_a_second}")
        self._logger = logger
        self._most = lines_a_second
        self._clock = clock
        self._window = clock()
        self._written = 0
        self.suppressed = 0

    def admits(self) -> bool:
        """Return whether a line would be written now; if not, it is counted as suppressed.

        For lines that cost something to make.
        """
        self.flush()
        if self._written < self._most:
            return True
        self.suppressed += 1
        return False

    def log(self, level: int, message: str, *arguments: object) -> None:
        """Log as ``logging.Logger.log`` does, or count the line as suppressed."""
        if self.admits():
            self._written += 1
            self._logger.log(level, message, *arguments)

    def flush(self) -> None:
        """Begin a new window if a second has passed, and report what the last one left out.

        Call it now and then: after the last line of a flood nobody else comes to report it.
        """
        now = self._clock()
        if now - self._window < 1.0:
            return
        self._window = now
        self._written = 0
        if self.suppressed:
            self._logger.warning("%d more log lines were suppressed", self.suppressed)
            self.suppressed = 0
            self._written = 1
