"""The words in which a vendor says how its messages become records.

A vendor declares msgspec Structs for its hot messages and a tuple of :class:`Route` and :class:`Ignore`. The
compiled frame listener reads that declaration once, resolves every ``source`` to the member's offset in its
Struct, and then runs it for each frame without calling Python:

1. for each entry in order: is ``marker`` within the first :data:`MARKER_WINDOW` bytes of the frame?
2. the first :class:`Ignore` that hits is counted, and the frame is done;
3. the first :class:`Route` that hits decodes the whole frame as ``route.frame`` (lax: quoted numbers are numbers),
   checks ``frame_expect``, and runs ``route.fields`` over each event;
4. a frame that no entry claims, or that does not decode, goes to the slow path as bytes.

A marker is only a fast path. A message whose keys come in another order misses its marker and is still understood by
the slow path, which decodes first and asks afterwards; nothing may depend on a marker for being right.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from openbell.reasons import Reason

if TYPE_CHECKING:
    from msgspec import Struct

    from openbell.record import Kind

MARKER_WINDOW: Final = 96
"""Bytes at the beginning of a frame in which markers are looked for."""


class Op(IntEnum):
    """Say what one attribute of an event becomes, and so which guard it must pass.

    ================= ============================================================================
    SYMBOL            str: the row; refused when empty, over 31 bytes, with NUL, or not asked for
    PRICE             float: finite and > 0 → ``target``; of a TICKER, a reference price of 0 is absent
    SIZE              float: finite and >= 0 → ``target``
    AMOUNT            float: finite and >= 0 → ``target`` (turnover)
    SEQUENCE          int: fits 64 bits → ``sequence``
    TIME              int: between 2000 and 2100 once scaled by ``unit``, 0 or None: absent → ``exchange_ns``
    SIDE_CODE         int: 0, 1, 2 as :class:`openbell.record.Side` → ``side``
    SIDE_BUYER_MAKER  bool: True means the seller was the aggressor → ``side``
    EXPECT            the event is of this route only if the value equals ``expect``
    KEEP_IF           the event is counted as ``reason`` unless the value is None or equals ``expect``
    BIDS, ASKS        list of a Struct, best first, or None: one side of an order book; ``level`` names price and size
    ================= ============================================================================
    """

    SYMBOL = 1
    PRICE = 2
    SIZE = 3
    AMOUNT = 4
    SEQUENCE = 5
    TIME = 6
    SIDE_CODE = 7
    SIDE_BUYER_MAKER = 8
    EXPECT = 9
    KEEP_IF = 10
    BIDS = 11
    ASKS = 12


@dataclass(frozen=True, slots=True)
class Field:
    """Map one attribute of an event's Struct.

    Attributes
    ----------
    source : str
        Attribute of the event Struct (the Python name, not the renamed JSON key).
    op : Op
        What it becomes.
    target : str
        Record field, ``"a"`` to ``"d"``, for PRICE, SIZE and AMOUNT.
    unit : str
        For TIME: ``"s"``, ``"ms"``, ``"us"``, ``"ns"``, or ``"auto"``, by magnitude: below 1e11 seconds, below 1e14
        milliseconds, below 1e17 microseconds, else nanoseconds.
    expect : int, str or None
        For EXPECT and KEEP_IF: the value compared with.
    reason : Reason
        For KEEP_IF: what an event with another value is counted as.
    level : (str, str)
        For BIDS and ASKS: the attributes of a level's Struct that hold its price (guarded as PRICE) and its size (as
        SIZE; None: absent). One bad level refuses the whole book.
    """

    source: str
    op: Op
    target: str = ""
    unit: str = "auto"
    expect: int | str | None = None
    reason: Reason = Reason.UNKNOWN_MESSAGE
    level: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Route:
    """Map one kind of message to one kind of record.

    Attributes
    ----------
    name : str
        For logs and tests.
    kind : Kind
        Kind of the record.
    frame : type of Struct, or list of one
        What a whole frame is decoded as. ``list[Event]``: the frame is an array of events, with `many` and no `path`.
    event : type of Struct
        What `fields` refer to; the type of `frame` itself (or of its elements) where `path` is empty.
    path : str
        Attribute of `frame` that holds the event or the events; ``""``: the frame is the event.
    many : bool
        Whether the attribute at `path` is a list of events.
    fields : tuple of Field
        Run in this order; the first guard that fails gives the reason.
    marker : bytes
        Fast path: only frames with these bytes near their beginning are tried; ``b""``: all are.
    frame_expect : (str, int or str) or None
        Attribute of `frame` and the value it must have, such as ``("cmd_id", 22998)``.
    consecutive : bool
        The vendor numbers these events of each symbol without a break (the SEQUENCE field): a number left out is an
        event lost, and is told as a gap. Declare it only where the vendor says so, or its data shows it: a number that
        merely grows would be nothing but false alarms.
    """

    name: str
    kind: Kind
    frame: Any
    event: type[Struct]
    path: str
    many: bool
    fields: tuple[Field, ...]
    marker: bytes = b""
    frame_expect: tuple[str, int | str] | None = None
    consecutive: bool = False


@dataclass(frozen=True, slots=True)
class Ignore:
    """Count frames with `marker` near their beginning under `reason`, without decoding them.

    Attributes
    ----------
    marker : bytes
        Bytes that only such frames have.
    reason : Reason
        One of the ``IGNORED_*`` reasons.
    """

    marker: bytes
    reason: Reason


class Why(IntEnum):
    """Tell the slow path why it was given a frame. A hint: the slow path finds out for itself."""

    NO_ROUTE = 0
    NOT_DECODED = 1
    FRAME_DIFFERS = 2
