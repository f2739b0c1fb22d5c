"""The CPU time of other processes, exact to the ns, with all their threads and the kernel's work for them."""

from __future__ import annotations

import ctypes
import os
import time
from functools import cache

from openbell.errors import OpenBellError


class BenchmarkError(OpenBellError):
    """Say why a comparison could not be made, or why its figures would mean nothing."""


@cache
def clock_of(pid: int) -> int:
    """Return the clock, for `time.clock_gettime_ns`, that counts the CPU time of a process.

    Raises
    ------
    BenchmarkError
        The system has no such clocks, or there is no such process.
    """
    try:
        find = ctypes.CDLL(None).clock_getcpuclockid
    except AttributeError:
        raise BenchmarkError("this system has no CPU clocks of other processes (clock_getcpuclockid)") from None
    clock = ctypes.c_int()
    if error := find(pid, ctypes.byref(clock)):
        raise BenchmarkError(f"no CPU clock of process {pid}: {os.strerror(error)}")
    return clock.value


def cpu_ns(pid: int) -> int:
    """Return how much CPU time process `pid` has taken, in ns.

    Raises
    ------
    BenchmarkError
        The process is gone, or its clock cannot be read.
    """
    try:
        return time.clock_gettime_ns(clock_of(pid))
    except OSError as error:
        raise BenchmarkError(f"the CPU clock of process {pid} cannot be read: {error.strerror}") from error
