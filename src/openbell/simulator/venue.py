"""What a made-up market needs to be served: a venue that speaks, and one lane for each kind of event it sends."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from picows import WSUpgradeRequest, WSUpgradeResponseWithListener

from openbell.simulator.clock import Clock
from openbell.simulator.floor import Client, Floor
from openbell.simulator.grid import Ints
from openbell.simulator.oracle import Oracle

Levels = npt.NDArray[np.int16]
"""Per symbol, or per event: 0 not wanted or not sent; else how many levels of the book (1 for what has no levels)."""


class Events(Protocol):
    """A run of events of one kind, in the order of their intended times."""

    @property
    def symbol(self) -> npt.NDArray[np.intp]:
        """Index of each event's symbol."""
        ...

    @property
    def intended_ns(self) -> Ints:
        """When each is to be sent, ns since the opening."""
        ...

    def __len__(self) -> int: ...


class Lane(Protocol):
    """One kind of event: who wants it, how it is written, what comes of it."""

    def interest(self, client: Client) -> Levels:
        """Return what a client asked for, per symbol."""
        ...

    def encode(self, events: Events, chosen: npt.NDArray[np.intp], interest: Levels) -> tuple[bytes, Ints]:
        """Return the `chosen` events as frames, and where each begins; see `Writer.frames`."""
        ...

    def apply(self, events: Events, sent: Levels) -> None:
        """Tell the oracle what was sent."""
        ...


@runtime_checkable
class Remembers(Protocol):
    """A venue that remembers what happened, also what nobody was sent."""

    def passed(self, lane: int, events: Events, first: int, end: int) -> None:
        """Take note that the time of the events `first` to `end` (exclusive) of a lane has come."""
        ...


class Venue(Protocol):
    """A made-up market in one dialect.

    Attributes
    ----------
    vendor, path : str
        Whose dialect it speaks, and the path of its address.
    symbols, streams : list of str
        What it is about, and what a client subscribes to in order to get all of it.
    clock : Clock
        What its messages tell the time by.
    lanes : tuple of Lane
        The kinds of its events.
    """

    vendor: str
    path: str
    symbols: list[str]
    streams: list[str]
    clock: Clock
    lanes: tuple[Lane, ...]

    @property
    def oracle(self) -> Oracle:
        """Return what a correct handler must hold."""
        ...

    def admit(self, request: WSUpgradeRequest, floor: Floor) -> Client | WSUpgradeResponseWithListener | None:
        """Let a connection in, or not."""
        ...

    def next_block(self) -> tuple[Events, ...]:
        """Return the next events, a run for each lane; no event is intended before one of an earlier block."""
        ...

    def expected(self, within_ns: int) -> float:
        """Return about how many events are intended before a moment."""
        ...
