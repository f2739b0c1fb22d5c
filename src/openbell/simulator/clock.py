"""The market's own clock, as its messages tell it."""

from __future__ import annotations

from openbell.simulator.grid import Ints

MS, NS = 1_000_000, 1


class Clock:
    """Turns intended times into what a message says.

    Parameters
    ----------
    open_ns : int
        The clock's reading at the opening, ns since the epoch.
    unit_ns : int
        What a message counts in: `MS` or `NS`.

    Attributes
    ----------
    open_ns, unit_ns : int
    digits : int
        Digits of what a message says, for any moment of our time.
    """

    def __init__(self, open_ns: int, unit_ns: int) -> None:
        self.open_ns, self.unit_ns = open_ns, unit_ns
        self.digits = 13 if unit_ns == MS else 19

    def told(self, intended_ns: Ints) -> Ints:
        """Return times in units, for times in ns since the opening."""
        return (self.open_ns + intended_ns) // self.unit_ns
