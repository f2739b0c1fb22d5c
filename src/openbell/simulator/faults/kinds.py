"""The kinds of faults there are: what each does, for how long, how much of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum


class Where(Enum):
    """What a fault gets hold of."""

    SOCKET = "socket"
    """A connection as a whole."""
    DOOR = "door"
    """New connections and their subscriptions. It begins by closing those that are there, so that it is met."""
    MESSAGES = "messages"
    """Single messages, the given part of them."""
    ONCE = "once"
    """A connection, in a moment."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault.

    Attributes
    ----------
    name : str
    where : Where
    does : str
        What happens, for people, without a full stop.
    length_s : float
        How long it goes on if nobody says; ``math.inf``: as long as the connection.
    value_name : str
        What its value means; empty: it has none.
    value, lowest, highest : float
        Its value if nobody says, and the limits of it.
    dialects : tuple of str
        In which dialects there is such a thing; empty: in all.
    """

    name: str
    where: Where
    does: str
    length_s: float = math.inf
    value_name: str = ""
    value: float = 0.0
    lowest: float = -math.inf
    highest: float = math.inf
    dialects: tuple[str, ...] = ()

    def fits(self, dialect: str) -> bool:
        """Return whether a market in `dialect` can do this."""
        return not self.dialects or dialect in self.dialects


_PART = "the part of the messages"
_SHORT_S, _DOOR_S = 2.0, 1.0
HUGE_BYTES = 64 * 1024 * 1024
"""What a vendor that has lost its senses sends as one message."""


def _messages(name: str, does: str, part: float) -> Kind:
    return Kind(name, Where.MESSAGES, does, _SHORT_S, _PART, part, 0.0, 1.0)


_ALL = (
    Kind("mute", Where.SOCKET, "stays connected and answers pings, but sends no data any more"),
    Kind("half-open", Where.SOCKET, "neither reads nor writes any more, and does not close"),
    Kind("never-pong", Where.SOCKET, "sends data, but answers no ping"),
    Kind("no-upgrade", Where.DOOR, "takes connections and does not say a word", _DOOR_S),
    Kind(
        "http-429", Where.DOOR, "refuses the handshake: 429 with Retry-After", _DOOR_S, "Retry-After in s", 1, 0, 3600
    ),
    Kind(
        "flap",
        Where.DOOR,
        "ends every connection soon after it has subscribed, by reset and by close in turn",
        _SHORT_S,
    ),
    Kind("slow-ack", Where.DOOR, "acknowledges subscriptions late", _DOOR_S, "seconds", 0.5, 0, 3600),
    Kind("no-ack", Where.DOOR, "does what it is asked and does not say so", _DOOR_S),
    Kind(
        "error-ack", Where.DOOR, "refuses subscriptions with an error", _DOOR_S, "the error's code", 600, -99999, 99999
    ),
    Kind(
        *("truncate", Where.DOOR, "acknowledges everything and sends the first part of it", _DOOR_S),
        *("the part of the symbols that is sent", 0.5, 0.0, 1.0),
    ),
    Kind("reset", Where.ONCE, "resets the connection (RST)"),
    Kind("close", Where.ONCE, "closes with a CLOSE frame", math.inf, "its code", 1001, 1000, 4999),
    Kind(
        *("error-close", Where.ONCE, "reports an error and closes", math.inf, "the error's code", 606, 1, 99999),
        ("alltick",),
    ),
    Kind(
        *("shutdown", Where.SOCKET, "announces serverShutdown and closes when the time is over", 1.0, "", 0.0),
        *(-math.inf, math.inf, ("binance",)),
    ),
    Kind("error", Where.ONCE, "sends an error that names no request (cmd_id 0)", math.inf, "its code", 201, 1, 99999),
    Kind("huge-frame", Where.ONCE, "sends one frame of 64 MiB"),
    Kind("huge-fragments", Where.ONCE, "sends a message of 64 MiB in fragments of one byte"),
    _messages("duplicate", "sends messages twice", 0.2),
    _messages("reorder", "sends messages up to eight places late", 0.2),
    _messages("backward", "tells times that lie a minute back", 0.2),
    replace(_messages("hole", "leaves trades out", 0.05), dialects=("binance",)),
    _messages("malformed", "sends what is no JSON", 0.5),
    _messages("bad-utf8", "sends bytes that are no UTF-8 in a name", 0.2),
    _messages("unknown-fields", "adds fields that nobody knows", 0.5),
    _messages("unknown-enums", "says kinds and sides that nobody knows", 0.2),
    _messages("fragments", "sends messages in fragments, pings between them", 0.5),
    _messages("bytes", "sends messages byte by byte, each in a TCP segment of its own", 0.02),
)

KINDS = {kind.name: kind for kind in _ALL}
"""By name, in the order in which documents list them."""
