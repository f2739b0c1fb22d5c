"""What a simulator is asked to do."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from openbell.errors import ConfigError, OpenBellError
from openbell.simulator import pace
from openbell.simulator.faults.script import DEFAULT_EVERY_S, Fault, choose
from openbell.simulator.relays import RELAYS
from openbell.simulator.rules import NO_RULES, PUBLISHED, Rules
from openbell.simulator.trading import DEFAULT_OPEN_MS
from openbell.simulator.universe import UNIVERSES

DIALECTS = ("alltick", "ticks", "binance", *RELAYS)
FAULTY = ("alltick", "ticks", "binance")
"""Dialects in which things can go wrong."""
PROFILES = ("steady", "open")
_MADE_UP = (
    *("universe", "dialect", "profile", "scale", "frame_ticks", "join", "books", "book_levels", "enforce"),
    *("codes_limit", "connections_limit", "request_spacing_s", "connection_spacing_s", "stamp_ns", "cumulative"),
    *("fault", "faults", "fault_every_s", "fault_clients", "commands", "journal"),
)
"""What is asked of a made-up market alone."""
MAX_GROUP = 1_000
"""Events a frame, at most."""
MAX_LEVELS = 10
"""Levels of a side of an order book, at most."""


class SimulatorError(OpenBellError):
    """Say that the simulator cannot serve: the port is taken, a result file cannot be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorOptions:
    """Options of one run of the simulator.

    Attributes
    ----------
    universe : str
        The market to make up: ``"cn"``, ``"hk"``, ``"us"`` or ``"crypto"``; empty: ``"crypto"`` with Binance's dialect,
        a relay's own, else ``"cn"``. Unused with `capture`.
    dialect : str
        What the made-up market speaks: ``"alltick"``, ``"binance"``, ``"ticks"`` (see `openbell.simulator.ticks`) or
        one of `openbell.simulator.relays`.
    profile : str
        ``"steady"``: one trade a symbol, then `rate`; ``"open"``: the universe's opening (`openbell.simulator.pace`).
    scale : float
        Multiplies all rates, at least 0.001.
    frame_ticks : int
        With ``"ticks"``, and relays that send lists, how many consecutive events share a frame, at most 1,000.
    join : int
        With ``"alltick"``, how many consecutive pushes share a frame, joined by newlines; at most 1,000.
    cumulative : bool
        With a relay that sends volumes: they are those of the day so far, not of each trade.
    books : bool
        Half of the events are order books (AllTick), or best bids and offers (Binance).
    book_levels : int
        Levels a side of AllTick's order books, 1 to 10, not more than its market has; 0: as many as that has.
    enforce : bool
        Keep clients to the limits that the venue publishes (`openbell.simulator.rules.PUBLISHED`); the ones given
        below take their places.
    codes_limit, connections_limit : int, optional
        `Rules.codes` and `Rules.connections`.
    request_spacing_s, connection_spacing_s : float, optional
        `Rules.request_spacing_s` and `Rules.connection_spacing_s`.
    stamp_ns : bool
        The time in a message is its intended send time on this machine's wall clock, in ns.
    capture : Path, optional
        Serve the messages of this file instead, as their venue would; nothing above can be asked of it.
    symbols : int
        The number of symbols of the universe (0: its default); with `capture`, the number of generated symbols its
        messages are dealt out to (0: the symbols as they are).
    seed : int
        Same seed, symbols and pace: same events.
    rate : float
        Events a second of the steady profile.
    speed : float
        Pace of a capture relative to its receive times; ``math.inf`` is as fast as the clients take it.
    seconds : float, optional
        End the market this long after its start, counted in the market's own time, so that the events are the same
        in every run; without it the market goes on until stopped, or to the capture's end.
    open_ms : int
        The clock of the made-up market at its opening, ms since the epoch; 0: the machine's clock at the start.
    host, port
        Where to listen; loopback only, port 0 takes a free one.
    start_quiet_s : float
        Start once everything is subscribed, or this long after the last request of a subscription.
    heartbeat_timeout_s : float
        AllTick closes a connection without heartbeat after this time (documented: 30 s); 0 never.
    flush_timeout_s : float
        At the end, wait at most this long for clients to take what was written.
    linger : bool
        Keep the connections open after the end until asked to stop; otherwise close them at once.
    oracle : Path, optional
        Where to write the snapshot a correct handler must hold at the end.
    symbols_file : Path, optional
        Where to write the lists of symbols and streams, instead of into the ``ready`` line.
    parent : int, optional
        Exit when the parent process is no longer this one.
    fault : sequence of str
        What goes wrong, and when: `openbell.simulator.faults.parse_fault`.
    faults : str
        ``"storm"`` (all kinds of faults in turn), or a file with a schedule; empty: none.
    fault_every_s : float
        Time from one fault of a storm to the next.
    fault_clients : int
        A fault of a storm happens to one of so many clients; 1: to all.
    commands : bool
        More of that may be asked for while it runs.
    journal : Path, optional
        Where to write what every connection was sent.

    Raises
    ------
    ConfigError
        A value makes no sense; the message names it.
    """

    universe: str = ""
    dialect: str = "alltick"
    profile: str = "steady"
    scale: float = 1.0
    frame_ticks: int = 1
    join: int = 1
    cumulative: bool = False
    books: bool = False
    book_levels: int = 0
    enforce: bool = False
    codes_limit: int | None = None
    connections_limit: int | None = None
    request_spacing_s: float | None = None
    connection_spacing_s: float | None = None
    stamp_ns: bool = False
    capture: Path | None = None
    symbols: int = 0
    seed: int = 1
    rate: float = 20_000.0
    speed: float = 1.0
    seconds: float | None = None
    open_ms: int = DEFAULT_OPEN_MS
    host: str = "127.0.0.1"
    port: int = 0
    start_quiet_s: float = 2.0
    heartbeat_timeout_s: float = 30.0
    flush_timeout_s: float = 10.0
    linger: bool = True
    oracle: Path | None = None
    symbols_file: Path | None = None
    parent: int | None = None
    fault: Sequence[str] = ()
    faults: str = ""
    fault_every_s: float = DEFAULT_EVERY_S
    fault_clients: int = 1
    commands: bool = False
    journal: Path | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        if self.capture is not None:
            self._refuse_what_is_made_up()
        if not self.universe:
            # Frozen means: for everybody else.
            object.__setattr__(self, "universe", own_universe(self.dialect))
        for name, value, known in (
            ("universe", self.universe, tuple(UNIVERSES)),
            ("dialect", self.dialect, DIALECTS),
            ("profile", self.profile, PROFILES),
        ):
            if value not in known:
                raise ConfigError(f"no simulated {name} {value!r}; there are {', '.join(known)}")
        if self.profile == "open" and self.universe not in pace.PROFILES:
            raise ConfigError(f"the {self.universe} universe trades around the clock and has no opening; write steady")
        if self.capture is None and self.speed != 1.0:
            raise ConfigError("speed: a made-up market has its own pace; give a rate, or a capture to speed up")
        relay = RELAYS.get(self.dialect)
        listed = relay.listed if relay is not None else self.dialect == "ticks"
        if self.frame_ticks != 1 and not listed:
            raise ConfigError(f"frame_ticks is for the dialect 'ticks', not {self.dialect!r}; AllTick has join")
        if self.cumulative and (relay is None or not relay.sends("volume")):
            raise ConfigError(
                f"cumulative is for a relay that sends volumes, and {self.dialect!r} is none; write symbol-array"
            )
        if self.join != 1 and self.dialect != "alltick":
            raise ConfigError(f"join is for the dialect 'alltick', not {self.dialect!r}")
        if relay is not None and self.faulty:
            raise ConfigError(f"faults: relays such as {self.dialect!r} have none; write alltick, ticks or binance")
        if self.books and self.dialect not in ("alltick", "binance"):
            raise ConfigError(f"books: the dialect {self.dialect!r} has trades alone; write alltick or binance")
        if self.book_levels and not (self.books and self.dialect == "alltick"):
            raise ConfigError("book_levels is for the order books of the dialect 'alltick'; add books")
        if not _is_loopback(self.host):
            raise ConfigError(f"the simulator listens on loopback only, not on {self.host!r}")
        for name, wrong, rule in (
            ("symbols", self.symbols < 0, "0 or more"),
            ("seed", self.seed < 0, "0 or more"),
            ("rate", not 0 < self.rate < math.inf, "above 0"),
            ("scale", not 0.001 <= self.scale < math.inf, "0.001 or more"),
            ("frame_ticks", not 1 <= self.frame_ticks <= MAX_GROUP, f"1 to {MAX_GROUP}"),
            ("join", not 1 <= self.join <= MAX_GROUP, f"1 to {MAX_GROUP}"),
            ("book_levels", not 0 <= self.book_levels <= MAX_LEVELS, f"0 to {MAX_LEVELS}"),
            ("codes_limit", (self.codes_limit or 0) < 0, "0 or more"),
            ("connections_limit", (self.connections_limit or 0) < 0, "0 or more"),
            ("request_spacing_s", not 0 <= (self.request_spacing_s or 0) < math.inf, "0 or more"),
            ("connection_spacing_s", not 0 <= (self.connection_spacing_s or 0) < math.inf, "0 or more"),
            ("speed", not self.speed > 0, "above 0, or 'max'"),
            ("seconds", self.seconds is not None and not 0 < self.seconds < math.inf, "above 0"),
            # Thirteen digits, as any time of this century has.
            ("open_ms", self.open_ms != 0 and not 10**12 <= self.open_ms < 9 * 10**12, "0, or ms since the epoch"),
            ("port", not 0 <= self.port < 65536, "0 to 65535"),
            ("start_quiet_s", not 0 <= self.start_quiet_s < math.inf, "0 or more"),
            ("heartbeat_timeout_s", not 0 <= self.heartbeat_timeout_s < math.inf, "0 or more"),
            ("fault_every_s", not 0 < self.fault_every_s < math.inf, "above 0"),
            ("fault_clients", self.fault_clients < 1, "1 or more"),
            ("flush_timeout_s", not 0 < self.flush_timeout_s < math.inf, "above 0"),
        ):
            if wrong:
                raise ConfigError(f"simulator: {name} = {getattr(self, name)!r}, but it must be {rule}")
        if self.faulty:
            self._refuse_what_cannot_go_wrong()

    def _refuse_what_is_made_up(self) -> None:
        for each in fields(self):
            if each.name in _MADE_UP and getattr(self, each.name) != each.default:
                raise ConfigError(f"{each.name}: a capture is played as it was recorded; leave the option out")

    def _refuse_what_cannot_go_wrong(self) -> None:
        for name, given, why in (
            ("dialect", self.dialect not in FAULTY, f"it is for {', '.join(FAULTY)}"),
            ("frame_ticks", self.frame_ticks != 1, "every message is one event"),
            ("join", self.join != 1, "every message is one event"),
            ("stamp_ns", self.stamp_ns, "the market is made once more from its options, and must come out the same"),
            ("oracle", self.oracle is not None, "it depends on what reached whom; ask for the journal"),
        ):
            if given:
                raise ConfigError(f"{name} goes with no faults: {why}; leave it out")
        for fault in self.schedule:
            if not fault.kind.fits(self.dialect):
                raise ConfigError(
                    f"fault {fault.kind.name!r}: there is no such thing in the dialect {self.dialect!r}, only in "
                    f"{', '.join(fault.kind.dialects)}"
                )

    @property
    def faulty(self) -> bool:
        """Whether something goes wrong, or may: every connection's messages are journalled then."""
        return bool(self.fault or self.faults) or self.commands or self.journal is not None

    @property
    def schedule(self) -> tuple[Fault, ...]:
        """What goes wrong, by the time it begins.

        Raises
        ------
        ConfigError
            A fault, or the file of them, is wrong.
        """
        return choose(
            self.fault,
            self.faults,
            self.dialect,
            self.seconds,
            self.fault_every_s,
            self.seed,
            clients=self.fault_clients,
        )

    @property
    def rules(self) -> Rules:
        """What a made-up market enforces."""
        return (PUBLISHED.get(self.dialect, NO_RULES) if self.enforce else NO_RULES).overridden(
            codes=self.codes_limit,
            connections=self.connections_limit,
            request_spacing_s=self.request_spacing_s,
            connection_spacing_s=self.connection_spacing_s,
        )


def own_universe(dialect: str) -> str:
    """Return the market that a dialect makes up unless another one is asked for."""
    relay = RELAYS.get(dialect)
    return relay.universe if relay is not None else "crypto" if dialect == "binance" else "cn"


def parse_speed(text: str) -> float:
    """Turn ``"1"``, ``"2.5"`` or ``"max"`` into a speed.

    Raises
    ------
    ConfigError
        The text is neither a number above 0 nor ``max``.
    """
    if text == "max":
        return math.inf
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not 0 < speed < math.inf:
        raise ConfigError(f"speed {text!r}: write a number above 0 (1 is the recorded pace) or 'max'")
    return speed


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
