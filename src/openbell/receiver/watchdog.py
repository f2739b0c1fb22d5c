"""When is a connection dead, and when is it alive but mute? Judged by its own rate; no sockets, no clock of its own.

Two watches look at one connection. `Pings` asks the other side now and then whether it is there at all. `Silence` asks
whether the market data still comes that used to come: a vendor may answer every ping and send nothing.

Time is counted by whoever calls: it stands still while we ourselves hold reading back, or did not run, and for
`Silence` also while the market is closed.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Final

_MEMORY_S: Final = 300.0
"""Time over which a mean is taken, about."""
_ARRIVALS: Final = 5
"""So many looks must have found something before there is a rate to speak of."""
_FADES: Final = 1 - 1 / 1024
"""What is left of the longest silence with every look that finds something."""


class Rate:
    """How often something comes, and how long it was ever silent.

    Parameters
    ----------
    shortest_s : float
        No shorter silence is ever remarkable; and what came within one such time is no rate: vendors greet a subscriber
        with all they have.
    times : float
        A remarkable silence is so many times the mean time between two.
    """

    def __init__(self, shortest_s: float, times: float) -> None:
        self._shortest_s = shortest_s
        self._times = times
        self.forget()

    def forget(self) -> None:
        """Begin anew, as what never had a rate."""
        self._arrivals = 0
        self._time_s = 0.0
        self._count = 0.0
        self._longest_s = 0.0
        self._spread_s = 0.0
        self._silence_s = 0.0
        self._began = False

    def pause(self) -> None:
        """Count the silence from now: it was broken, or there was a reason for it. What is known stays known."""
        self._silence_s = 0.0

    def look(self, elapsed_s: float, count: int) -> None:
        """Take note of `count` arrivals within the last `elapsed_s`."""
        self._silence_s += elapsed_s
        if not count:
            return
        if self._began:
            fade = math.exp(-self._silence_s / _MEMORY_S)
            self._time_s = self._time_s * fade + self._silence_s
            self._count = self._count * fade + count
            self._longest_s = max(self._longest_s * _FADES, self._silence_s)
            self._spread_s += self._silence_s
            self._arrivals += 1
        self._began = True
        self._silence_s = 0.0

    @property
    def known(self) -> bool:
        """Whether there is a rate to speak of."""
        return self._arrivals >= _ARRIVALS and self._spread_s >= self._shortest_s

    @property
    def silence_s(self) -> float:
        """How long nothing has come."""
        return self._silence_s

    @property
    def limit_s(self) -> float:
        """From which silence on something is wrong; infinite where there is no rate."""
        if not self.known:
            return math.inf
        return max(self._shortest_s, self._times * self._time_s / self._count, 2 * self._longest_s)


class Step(Enum):
    """What is to be done about silence."""

    NOTHING = 0
    ASK = 1
    """The data stopped: the connection is stale. Send a ping."""
    RESUBSCRIBE = 2
    """The other side is there, and sends no data: ask for it once more."""
    GIVE_UP = 3
    """It did not help: connect anew."""
    WELL = 4
    """Data comes again."""


class Silence:
    """Whether the market data of a connection still comes.

    Parameters
    ----------
    rate : Rate
        That of its data, kept from one life of a connection to the next.
    """

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._asked = False
        self._resubscribed_s: float | None = None
        rate.pause()

    @property
    def stale(self) -> bool:
        """Whether data is overdue."""
        return self._asked

    def look(self, elapsed_s: float, data: int, *, answered: bool) -> Step:
        """Say what is to be done.

        Parameters
        ----------
        elapsed_s : float
            Time since the last look in which data could have come.
        data : int
            Messages of market data that came in it.
        answered : bool
            Whether the other side gave any sign of life since the ping that `Step.ASK` asked for.
        """
        rate = self.rate
        limit_s = rate.limit_s
        if data:
            if self._asked:
                # What it took until somebody asked says nothing about its own ways.
                rate.pause()
            rate.look(elapsed_s, data)
            was, self._asked, self._resubscribed_s = self._asked, False, None
            return Step.WELL if was else Step.NOTHING
        rate.look(elapsed_s, 0)
        if not self._asked:
            if rate.silence_s < limit_s:
                return Step.NOTHING
            self._asked = True
            return Step.ASK
        if self._resubscribed_s is None:
            if not answered:
                return Step.NOTHING
            self._resubscribed_s = rate.silence_s
            return Step.RESUBSCRIBE
        return Step.GIVE_UP if rate.silence_s - self._resubscribed_s >= limit_s else Step.NOTHING


class Pings:
    """Whether the other side is there.

    Parameters
    ----------
    every_s : float
        Time between two pings; 0: none but those that `ask` is called for.
    answer_s : float
        Most time for an answer where nothing else comes either. Where something does, a ping has until the next one:
        its answer may stand behind data in somebody's buffers.
    missed_most : int
        After so many without an answer the connection is dead.
    answers : bool
        Whether the other side has ever answered one, in an earlier life of the connection.
    tolerant : bool
        It was dropped before for answering none while its data came, and never answered any: it does not know pings,
        and their lack proves nothing while anything else comes.
    """

    def __init__(
        self, every_s: float, answer_s: float, missed_most: int, *, answers: bool = False, tolerant: bool = False
    ) -> None:
        self._every_s = every_s
        self._answer_s = min(answer_s, every_s) if every_s else answer_s
        self._missed_most = missed_most
        self._tolerant = tolerant
        self._since_s = 0.0
        self._waiting = False
        self._heard = False
        self._urgent = False
        self._in_a_row = 0
        self.answers = answers
        self.missed = 0

    @property
    def heard(self) -> bool:
        """Whether any sign of life came since the last ping."""
        return self._heard or not self._waiting

    @property
    def mute(self) -> bool:
        """Whether the other side answers no ping, though it is there."""
        return self._heard and not self.answers

    def pong(self) -> None:
        """Take note of an answer."""
        self.answers = self._heard = True
        self._waiting = self._urgent = self._tolerant = False
        self._in_a_row = 0

    def ask(self) -> bool:
        """Return whether a ping is to be sent at once; not if one is on its way already."""
        if self._waiting and not self._heard:
            self._urgent = True
            return False
        self._send()
        self._urgent = True
        return True

    def look(self, elapsed_s: float, frames: int) -> tuple[bool, bool]:
        """Take note of `frames` that came within the last `elapsed_s`.

        Returns
        -------
        (bool, bool)
            Whether a ping is to be sent now, and whether the connection is dead.
        """
        self._since_s += elapsed_s
        if frames:
            self._heard = True
            self._urgent = False
        if self._waiting:
            patience = self._every_s if self._heard and self._every_s else self._answer_s
            if self._since_s < patience:
                return False, False
            if self._heard and (self._tolerant or not self._every_s):
                self._waiting = False
                return self._due(), False
            self.missed += 1
            self._in_a_row += 1
            if self._urgent or self._in_a_row >= self._missed_most:
                return False, True
            self._send()
            return True, False
        return self._due(), False

    def _due(self) -> bool:
        if not self._every_s or self._since_s < self._every_s:
            return False
        self._send()
        return True

    def _send(self) -> None:
        self._since_s = 0.0
        self._waiting, self._heard = True, False
