"""What a demonstration is asked to do."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path

from openbell.errors import ConfigError, OpenBellError

DEFAULT_SECONDS = 20.0


class DemoError(OpenBellError):
    """Say that a demonstration could not be carried through: the simulator ended, nobody connected."""


def _default_name() -> str:
    return f"demo-{os.getpid()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """Options of one demonstration.

    Attributes
    ----------
    universe : str
        The market to make up. Unused with `capture`.
    seconds : float, optional
        Length of the made-up market, or where to cut a capture; None: 20 s, or the whole capture.
    seed : int
        Same seed: same trades.
    connections : int
        Connections to the simulator; the symbols are dealt out to them.
    receivers, workers : int
        Processes of each role.
    capture : Path, optional
        Play this file instead of making a market up.
    speed : float
        Pace of a capture; ``math.inf``: as fast as the feed takes it.
    symbols : int
        See `SimulatorOptions.symbols`; 0: the universe's default, or the capture's own symbols.
    rate : float
        Trades a second of the made-up market.
    name : str
        The feed's name; its own for every process, so that two demonstrations can run at once.

    Raises
    ------
    ConfigError
        A value makes no sense; the message names it.
    """

    universe: str = "cn"
    seconds: float | None = None
    seed: int = 1
    connections: int = 1
    receivers: int = 1
    workers: int = 2
    capture: Path | None = None
    speed: float = 1.0
    symbols: int = 0
    rate: float = 20_000.0
    name: str = field(default_factory=_default_name)

    def __post_init__(self) -> None:
        # Checked by the simulator's own rules, here, so that a mistake is an error of usage and starts no process.
        from openbell.simulator import MAX_SYMBOLS, SimulatorOptions

        SimulatorOptions(
            universe=self.universe,
            capture=self.capture,
            symbols=self.symbols,
            seed=self.seed,
            rate=self.rate,
            speed=self.speed,
            seconds=self.seconds,
        )
        if self.capture is None and self.symbols > MAX_SYMBOLS:
            raise ConfigError(f"the {self.universe} universe has at most {MAX_SYMBOLS} symbols, not {self.symbols}")
        if self.capture is None and self.speed != 1.0:
            raise ConfigError("speed: a made-up market has its own pace; give --rate, or a --capture to speed up")

        if self.capture is not None and self.connections > 1:
            raise ConfigError(
                "connections: a capture is played over one connection: some of its messages may name no stream, go to "
                "everybody, and would come several times"
            )
        if self.receivers > self.connections:
            raise ConfigError(
                f"receivers: {self.receivers} receivers need as many connections, and there "
                f"{'is 1' if self.connections == 1 else f'are {self.connections}'}; add --connections {self.receivers}"
            )

    @property
    def market(self) -> str:
        """What is played, for people and for the result."""
        return self.universe if self.capture is None else "capture"

    @property
    def length_s(self) -> float | None:
        """How long the market lasts; None: to the capture's end."""
        return DEFAULT_SECONDS if self.seconds is None and self.capture is None else self.seconds

    def simulator_arguments(self, oracle: Path, symbols_file: Path) -> list[str]:
        """Return the command line for a simulator that writes its statements to the given files."""
        given: dict[str, object] = {
            "--symbols": self.symbols,
            "--oracle": oracle,
            "--symbols-file": symbols_file,
            "--parent": os.getpid(),
        }
        if self.capture is None:
            given |= {"--universe": self.universe, "--seed": self.seed, "--rate": self.rate}
        else:
            given |= {"--capture": self.capture, "--speed": "max" if math.isinf(self.speed) else self.speed}
        if self.length_s is not None:
            given["--seconds"] = self.length_s
        return [text for name, value in given.items() for text in (name, str(value))]
