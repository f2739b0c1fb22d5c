"""What a vendor is told to do wrong, and when: faults as text, schedules in files, and storms drawn by chance."""

from __future__ import annotations

import math
import random
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from openbell.errors import ConfigError
from openbell.simulator.faults.kinds import KINDS, Kind

_TEXT = re.compile(
    r"(?P<kind>[a-z0-9-]+)(=(?P<value>[^#@+\s]+))?(#(?P<client>[0-9]+))?(@(?P<at>[0-9.]+)s?)?(\+(?P<length>[0-9.]+)s?)?"
)
_EXAMPLE = "'mute@5s+3s', 'malformed=0.5@10s+2s' or 'close=1013#1@7s'"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes
    ----------
    kind : Kind
        What.
    at_s : float
        When, in seconds since the market opened; what is to happen at 0 is so already before that, from the first
        connection on.
    length_s : float
        For how long; ``math.inf``: as long as the connection lasts that it happens to.
    value : float
        How much, as the kind says.
    client : int or None
        To whom: the number of a client among those that are connected, from 0; None: to all of them.
    """

    kind: Kind
    at_s: float = 0.0
    length_s: float = math.inf
    value: float = 0.0
    client: int | None = None

    def __str__(self) -> str:
        value = f"={self.value:g}" if self.kind.value_name else ""
        client = "" if self.client is None else f"#{self.client}"
        length = "" if math.isinf(self.length_s) else f"+{self.length_s:g}s"
        return f"{self.kind.name}{value}{client}@{self.at_s:g}s{length}"


def parse_fault(text: str, now_s: float = 0.0) -> Fault:
    """Read ``KIND[=VALUE][#CLIENT][@AT][+LENGTH]``, times in seconds.

    Parameters
    ----------
    text : str
    now_s : float
        What stands for a time that is not given.

    Raises
    ------
    ConfigError
        It is no fault; the message says why.
    """
    found = _TEXT.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f"fault {text!r}: write KIND[=VALUE][#CLIENT][@AT][+LENGTH], as {_EXAMPLE}")
    return _fault(
        found["kind"],
        now_s if found["at"] is None else _number(text, "time", found["at"]),
        None if found["length"] is None else _number(text, "length", found["length"]),
        None if found["value"] is None else _number(text, "value", found["value"]),
        None if found["client"] is None else int(found["client"]),
    )


def _number(text: str, what: str, number: str) -> float:
    try:
        return float(number)
    except ValueError:
        raise ConfigError(f"fault {text!r}: the {what} {number!r} is not a number; write it as {_EXAMPLE}") from None


def _fault(name: str, at_s: float, length_s: float | None, value: float | None, client: int | None) -> Fault:
    kind = KINDS.get(name)
    if kind is None:
        raise ConfigError(f"no fault {name!r}; there are {', '.join(KINDS)}")
    if value is not None and not kind.value_name:
        raise ConfigError(f"fault {name!r} has no value; leave ={value:g} out")
    number = kind.value if value is None else value
    if not kind.lowest <= number <= kind.highest:
        raise ConfigError(
            f"fault {name!r}: its value is {kind.value_name}, from {kind.lowest:g} to {kind.highest:g}, not {number:g}"
        )
    length = kind.length_s if length_s is None else length_s
    if not 0 <= at_s < math.inf or not length > 0:
        raise ConfigError(f"fault {name!r}: it begins at 0 s or later, and has a length")
    return Fault(kind, at_s, length, number, client)


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    kind: str
    at: float = 0.0
    length: float | None = None
    value: float | None = None
    client: int | None = None


class _Script(msgspec.Struct, forbid_unknown_fields=True):
    fault: list[_Entry | str]


def read_script(path: Path) -> tuple[Fault, ...]:
    """Read a schedule: TOML or JSON with a list ``fault`` of texts or of tables (kind, at, length, value, client).

    Raises
    ------
    ConfigError
        The file cannot be read, or is no schedule.
    """
    try:
        content = path.read_bytes()
        found: Any = tomllib.loads(content.decode()) if path.suffix.lower() == ".toml" else msgspec.json.decode(content)
        script = msgspec.convert(found, _Script)
    except OSError as error:
        raise ConfigError(f"{path}: the schedule of faults cannot be read: {error.strerror or error}") from None
    except (msgspec.MsgspecError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: this is no schedule of faults: {error}") from None
    try:
        return ordered(
            parse_fault(entry)
            if isinstance(entry, str)
            else _fault(entry.kind, entry.at, entry.length, entry.value, entry.client)
            for entry in script.fault
        )
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def ordered(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Return faults by the time they begin."""
    return tuple(sorted(faults, key=lambda fault: fault.at_s))


def storm(
    dialect: str, seconds: float, every_s: float, seed: int, clients: int = 1, kinds: Sequence[str] = ()
) -> tuple[Fault, ...]:
    """Draw a schedule: every kind that the dialect knows in turn, in another order each time round.

    Parameters
    ----------
    dialect : str
        What the market speaks.
    seconds : float
        Nothing begins in its last `every_s`: what begins is to be recovered from.
    every_s : float
        Time from one fault to the next.
    seed : int
        Same seed: same storm.
    clients : int
        A fault happens to one of so many.
    kinds : sequence of str
        Names to draw from; empty: all.
    """
    random_ = random.Random(seed)
    known = [kind for kind in KINDS.values() if kind.fits(dialect) and (not kinds or kind.name in kinds)]
    drawn: list[Kind] = []
    faults = []
    at_s = every_s
    while known and at_s <= seconds - every_s:
        if not drawn:
            drawn = known.copy()
            random_.shuffle(drawn)
        kind = drawn.pop()
        # What would go on for ever ends with its connection; what has a length is over before the next begins.
        fault = Fault(kind, round(at_s, 3), kind.length_s, kind.value)
        if not math.isinf(kind.length_s):
            fault = replace(fault, length_s=round(min(kind.length_s, every_s * 0.6), 3))
        if clients > 1:
            fault = replace(fault, client=random_.randrange(clients))
        faults.append(fault)
        at_s += every_s
    return tuple(faults)


STORM = "storm"
DEFAULT_EVERY_S = 5.0
_ENDLESS_S = 3600.0


def choose(
    single: Sequence[str],
    several: str,
    dialect: str,
    seconds: float | None,
    every_s: float,
    seed: int,
    *,
    clients: int = 1,
) -> tuple[Fault, ...]:
    """Return the schedule that a command line asks for.

    Parameters
    ----------
    single : sequence of str
        Faults, one by one.
    several : str
        ``"storm"``, or the path of a schedule; empty: neither.
    dialect : str
        What the market speaks.
    seconds : float or None
        How long the market lasts; a storm over one without an end is an hour long.
    every_s, seed, clients
        Of a storm; see `storm`.

    Raises
    ------
    ConfigError
        A fault or the file is wrong.
    """
    faults = [parse_fault(text) for text in single]
    if several == STORM:
        faults += storm(dialect, seconds or _ENDLESS_S, every_s, seed, clients)
    elif several:
        faults += read_script(Path(several))
    return ordered(faults)
