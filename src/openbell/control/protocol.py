"""What goes over a receiver's control socket: one JSON document a line, a question and its answer.

A client that says anything else is told so, and nothing is done.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

LINE_BYTES_MAX: Final = 8 << 20
"""A question or an answer has so many bytes at most: 100,000 symbols fit."""
PATIENCE_MAX_S: Final = 600.0


class Fate(Enum):
    """What became of a wish for a symbol."""

    SUBSCRIBED = "subscribed"
    """The vendor granted it."""
    ASKED = "asked"
    """It was asked for, and this vendor answers nothing."""
    ALREADY = "already"
    """It was subscribed before."""
    UNSUBSCRIBED = "unsubscribed"
    """It was cancelled, or what comes of it is dropped where nothing can be cancelled."""
    ABSENT = "absent"
    """It was not subscribed anyway."""
    REFUSED = "refused"
    """It cannot be asked for, or the vendor refused it."""
    UNANSWERED = "unanswered"
    """It is asked for, and the vendor has not answered yet, or never will."""
    WAITING = "waiting"
    """It is asked for as soon as the connection is up, or the vendor's rules allow."""

    @property
    def good(self) -> bool:
        """Whether it is as asked now."""
        return self not in (Fate.REFUSED, Fate.UNANSWERED, Fate.WAITING)


class Change(Struct, frozen=True):
    """What became of the wish for one symbol.

    Attributes
    ----------
    symbol : str
        As it was asked for, with the source's prefix.
    fate : Fate
    why : str
        What there is to say about it, if anything.
    connection : int or None
        The number of the connection that it is on.
    """

    symbol: str
    fate: Fate
    why: str = ""
    connection: int | None = None


class Wish(Struct, frozen=True, array_like=True):
    """A symbol, without its source's prefix, and the connection that is to have it."""

    connection: int
    symbol: str


class Subscribe(Struct, frozen=True, tag_field="verb", tag="subscribe", forbid_unknown_fields=True):
    """Subscribe symbols, and wait for what comes of it."""

    wishes: list[Wish]
    timeout_s: Annotated[float, Meta(ge=0, le=PATIENCE_MAX_S)] = 15.0


class Unsubscribe(Struct, frozen=True, tag_field="verb", tag="unsubscribe", forbid_unknown_fields=True):
    """Unsubscribe symbols, and wait for what comes of it."""

    wishes: list[Wish]
    timeout_s: Annotated[float, Meta(ge=0, le=PATIENCE_MAX_S)] = 15.0


class Find(Struct, frozen=True, tag_field="verb", tag="find", forbid_unknown_fields=True):
    """Say which of the symbols (without prefix) the connections of source number `source` have or had, and how full
    they are."""

    source: int
    symbols: list[str]


class Refusals(Struct, frozen=True, tag_field="verb", tag="refusals", forbid_unknown_fields=True):
    """Say what vendors said as they refused symbols."""


Question = Subscribe | Unsubscribe | Find | Refusals


class Changes(Struct, frozen=True, tag_field="answer", tag="changes"):
    """The answer to `Subscribe` and `Unsubscribe`: one a wish, in order."""

    changes: list[Change]


class Load(Struct, frozen=True, array_like=True):
    """How full a connection is: its number, its symbols, and how many it takes."""

    connection: int
    symbols: int
    limit: int | None


class Found(Struct, frozen=True, tag_field="answer", tag="found"):
    """The answer to `Find`: the connection of each symbol that is known, and how full all of them are."""

    owners: dict[str, int]
    loads: list[Load]


class Told(Struct, frozen=True, tag_field="answer", tag="refusals"):
    """The answer to `Refusals`: by the symbol's key in the feed, what was said."""

    said: dict[str, str]


class Failure(Struct, frozen=True, tag_field="answer", tag="failure"):
    """Nothing was done, and why."""

    kind: Literal["question", "busy", "fault"]
    why: str


Answer = Changes | Found | Told | Failure

decode_question: Final = msgspec.json.Decoder(Question).decode
decode_answer: Final = msgspec.json.Decoder(Answer).decode


def encode(message: Question | Answer) -> bytes:
    """Return one line."""
    return msgspec.json.encode(message) + b"\n"
