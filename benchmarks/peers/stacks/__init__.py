"""The stacks that are compared: what each is made of, and what is expected of OpenBell against it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType

import openbell

OURS = "openbell"


@dataclass(frozen=True)
class Stack:
    """One stack.

    Attributes
    ----------
    name : str
        Its key in the results.
    title : str
        What it is made of.
    module : str
        What ``python -m`` runs, in this package.
    libraries : mapping of str to str
        Distribution to the module that must be importable.
    targets : mapping of str to float
        Shape to how many times cheaper, and faster, OpenBell is expected to be; empty: nothing is expected.
    options : tuple of str
        For its command line.
    """

    name: str
    title: str
    module: str
    libraries: Mapping[str, str]
    targets: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    options: tuple[str, ...] = ()

    def unavailable(self) -> str | None:
        """Return why it cannot run here, or None if it can."""
        for distribution, module in self.libraries.items():
            try:
                importlib.import_module(module)
            except ImportError as error:
                return f"{distribution} cannot be imported ({error}); install it: pip install 'openbell[bench]'"
        return None


_NATIVE = {"picows": "picows", "msgspec": "msgspec", "uvloop": "uvloop"}
_FIFO = {**_NATIVE, "faster-fifo": "faster_fifo"}

STACKS = (
    Stack(OURS, "OpenBell: receiver and worker processes, shared memory", "openbell_feed", _NATIVE),
    Stack(
        "threads",
        "(1) websocket-client + json + queue.Queue + dict, two threads",
        "threads",
        {"websocket-client": "websocket"},
        {"single": 50, "batch": 50},
    ),
    Stack(
        "threads_skip_utf8",
        "(1) the same, its skip_utf8_validation on",
        "threads",
        {"websocket-client": "websocket"},
        options=("--skip-utf8",),
    ),
    Stack(
        "processes",
        "(2) websockets + orjson + multiprocessing.Queue + dict, two processes",
        "processes",
        {"websockets": "websockets", "orjson": "orjson", "uvloop": "uvloop"},
        {"single": 15, "batch": 4},
    ),
    Stack(
        "tasks",
        "(3) aiohttp + orjson + asyncio.Queue + dict, one process",
        "tasks",
        {"aiohttp": "aiohttp", "orjson": "orjson", "uvloop": "uvloop"},
        {"single": 6, "batch": 2.5},
    ),
    Stack(
        "one_process", "(4) picows + msgspec + dict, one process", "one_process", _NATIVE, {"single": 2, "batch": 1.3}
    ),
    Stack("fifo", "(5) picows + msgspec + faster-fifo + dict, two processes", "fifo", _FIFO),
    Stack("fifo_raw", "(5) the same, raw frames handed on, decoded by the worker", "fifo_raw", _FIFO),
)


def versions() -> dict[str, str]:
    """Return the installed version of OpenBell and of every library that a stack uses."""
    names = sorted({library for stack in STACKS for library in stack.libraries})
    found = {OURS: openbell.__version__}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
