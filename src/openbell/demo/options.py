"""What a demonstration is asked to do."""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from openbell.config import Overflow
from openbell.errors import ConfigError, OpenBellError

if TYPE_CHECKING:
    from openbell.simulator import SimulatorOptions

DEFAULT_SECONDS = 20.0

_MADE_UP = ("universe", "dialect", "profile", "scale", "frame_ticks", "cumulative", "books", "book_levels")
"""What is asked of a made-up market alone, where it is not empty or 0."""


class DemoError(OpenBellError):
    """Say that a demonstration could not be carried through: the simulator ended, nobody connected."""


def default_name() -> str:
    """Return the name of this process's demonstration."""
    return f"demo-{os.getpid()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """Options of one demonstration.

    Attributes
    ----------
    universe : str
        The market to make up; empty: the dialect's own. Unused with `capture`, as are the next seven.
    dialect, profile : str
        See `SimulatorOptions`; empty: its defaults.
    scale : float
        Multiplies all rates; 0: 1.
    frame_ticks : int
        Events a frame of the dialect ``"ticks"``; 0: 1.
    cumulative : bool
        The volumes of a relay are those of the day so far.
    books : bool
        Half of the events are order books.
    book_levels : int
        Levels a side, which the snapshot keeps all; 0: as many as the market has.
    seconds : float, optional
        Length of the made-up market, or where to cut a capture; None: 20 s, or the whole capture.
    seed : int
        Same seed: same events.
    connections : int
        Connections to the simulator; the symbols are dealt out to them.
    receivers, workers : int
        Processes of each role.
    stamp : bool
        The messages of a made-up market tell when they were meant to be sent, and the feed keeps a histogram of the
        time from then to the snapshot.
    slow_worker : int
        Records a second that each worker applies at most; 0: no limit. The rings and the sockets' buffers are small
        then, so that they fill.
    overflow : str
        What happens when a ring is full, as in a configuration.
    capture : Path, optional
        Play this file instead of making a market up.
    speed : float
        Pace of a capture; ``math.inf``: as fast as the feed takes it.
    symbols : int
        See `SimulatorOptions.symbols`; 0: the universe's default, or the capture's own symbols.
    rate : float
        Events a second of the made-up market.
    faults : str
        ``"storm"``, or a schedule's file: the vendor misbehaves so; empty: it does not.
    fault_every_s : float
        Time from one fault of a storm to the next; 0: so that there is time for all of them.
    patience : float
        With `faults`, multiplies the times after which the feed gives something up: for slow machines.
    name : str
        The feed's name; its own for every process, so that two demonstrations can run at once.

    Raises
    ------
    ConfigError
        A value makes no sense; the message names it.
    """

    universe: str = ""
    dialect: str = ""
    profile: str = ""
    scale: float = 0.0
    frame_ticks: int = 0
    cumulative: bool = False
    books: bool = False
    book_levels: int = 0
    seconds: float | None = None
    seed: int = 1
    connections: int = 1
    receivers: int = 1
    workers: int = 2
    stamp: bool = False
    slow_worker: int = 0
    overflow: Overflow = "block"
    capture: Path | None = None
    speed: float = 1.0
    symbols: int = 0
    rate: float = 20_000.0
    faults: str = ""
    fault_every_s: float = 0.0
    patience: float = 1.0
    name: str = field(default_factory=default_name)

    def __post_init__(self) -> None:
        # Checked by the simulator's own rules, here, so that a mistake is an error of usage and starts no process.
        from openbell.simulator import UNIVERSES

        made_up = self.made_up()
        if self.faults:
            self._check_faults(made_up)
        if self.capture is None:
            market = UNIVERSES[made_up.universe]
            if self.symbols > market.max_symbols:
                raise ConfigError(
                    f"the {market.name} universe has at most {market.max_symbols} symbols, not {self.symbols}"
                )
        if self.capture is not None and self.connections > 1:
            raise ConfigError(
                "connections: a capture is played over one connection: some of its messages may name no stream, go to "
                "everybody, and would come several times"
            )
        if self.dialect == "symbol-wildcard" and self.connections > 1:
            raise ConfigError("connections: whoever asks for everything gets it over one; leave the option out")
        if self.receivers > self.connections:
            raise ConfigError(
                f"receivers: {self.receivers} receivers need as many connections, and there "
                f"{'is 1' if self.connections == 1 else f'are {self.connections}'}; add --connections {self.receivers}"
            )

    def _check_faults(self, made_up: SimulatorOptions) -> None:
        if not 0.5 <= self.patience <= 100:
            raise ConfigError(f"patience: {self.patience:g}, but it must be 0.5 to 100")
        for name in ("capture", "stamp", "slow_worker"):
            if getattr(self, name):
                raise ConfigError(f"{name}: leave it out, or faults: both at once show neither")
        if self.overflow != "block":
            raise ConfigError(f"overflow: with faults nothing may be merged or dropped; leave out {self.overflow!r}")
        # What the simulator would refuse is refused now.
        dataclasses.replace(made_up, faults=self.faults, fault_every_s=self.fault_every_s or 1.0)

    def made_up(self) -> SimulatorOptions:
        """Return what the simulator is asked for, files and processes aside.

        Raises
        ------
        ConfigError
            It refuses that.
        """
        from openbell.simulator import SimulatorOptions

        given = {name: getattr(self, name) for name in _MADE_UP if getattr(self, name)}
        return SimulatorOptions(
            capture=self.capture,
            symbols=self.symbols,
            seed=self.seed,
            rate=self.rate,
            speed=self.speed,
            seconds=self.length_s,
            **given,
        )

    @property
    def market(self) -> str:
        """What is played, for people and for the result."""
        return self.made_up().universe if self.capture is None else "capture"

    @property
    def kept_levels(self) -> int:
        """Levels of the order book, where there are books, that the feed keeps: all that may come."""
        from openbell.simulator import UNIVERSES
        from openbell.simulator.options import MAX_LEVELS

        if self.capture is not None:
            return MAX_LEVELS
        made_up = self.made_up()
        # Best bids and offers are no books.
        return (self.book_levels or UNIVERSES[made_up.universe].book_levels) if made_up.dialect == "alltick" else 0

    @property
    def length_s(self) -> float | None:
        """How long the market lasts; None: to the capture's end."""
        return DEFAULT_SECONDS if self.seconds is None and self.capture is None else self.seconds

    @property
    def fault_every(self) -> float:
        """Time from one fault of a storm to the next, in seconds."""
        from openbell.simulator.faults import KINDS

        kinds = sum(kind.fits(self.made_up().dialect) for kind in KINDS.values())
        return self.fault_every_s or min(5.0, max(1.0, round((self.length_s or 0.0) / (kinds + 2), 2)))

    def simulator_arguments(self, oracle: Path, symbols_file: Path, journal: Path | None = None) -> list[str]:
        """Return the command line for a simulator that writes its statements to the given files."""
        given: dict[str, object] = {
            "--symbols": self.symbols,
            "--oracle": oracle,
            "--symbols-file": symbols_file,
            "--parent": os.getpid(),
        }
        if self.capture is None:
            given |= {"--seed": self.seed, "--rate": self.rate}
            if self.stamp:
                given["--stamp-ns"] = True
            if journal is not None:
                del given["--oracle"]
                given |= {"--journal": journal, "--faults": self.faults, "--fault-every": self.fault_every}
                given["--fault-clients"] = self.connections
            given |= {f"--{name.replace('_', '-')}": getattr(self, name) for name in _MADE_UP if getattr(self, name)}
        else:
            given |= {"--capture": self.capture, "--speed": "max" if math.isinf(self.speed) else self.speed}
        if self.length_s is not None:
            given["--seconds"] = self.length_s
        return [text for name, value in given.items() for text in ((name,) if value is True else (name, str(value)))]
