"""Every reason for which something received is not applied to the snapshot.

A reason's value is its place in a receiver's block of counters, so values are part of the shared-memory
layout: add new ones, never renumber.

Four classes:

*invalid*
    it could not be understood or failed a guard; nothing of it is stored, the last good value stays;
*lost*
    it was valid and there was no room for it (:attr:`Reason.SIDE_QUEUE_FULL`, :attr:`Reason.DROPPED`);
*conflated*
    it was valid, and went into the snapshot as a part of a newer event (:attr:`Reason.CONFLATED`);
*ignored*
    it is valid, and by rule carries no price.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

REASONS: Final = 64
"""Size of the counter block: room for reasons still to come."""


class Reason(IntEnum):
    """Name why an event, or a whole frame, is not applied; the value is the index of its counter."""

    # A whole frame.
    NOT_UTF8 = 0
    NOT_JSON = 1
    TOO_DEEP = 2
    TOO_LARGE = 3
    UNKNOWN_MESSAGE = 4
    # One event.
    SYMBOL_MISSING = 5
    SYMBOL_EMPTY = 6
    SYMBOL_TOO_LONG = 7
    SYMBOL_NUL = 8
    SYMBOL_NOT_ASCII = 9
    SYMBOL_NOT_ASKED = 10
    TABLE_FULL = 11
    PRICE_MISSING = 12
    PRICE_WRONG_TYPE = 13
    PRICE_NOT_FINITE = 14
    PRICE_NOT_POSITIVE = 15
    SIZE_MISSING = 16
    SIZE_WRONG_TYPE = 17
    SIZE_NOT_FINITE = 18
    SIZE_NEGATIVE = 19
    AMOUNT_WRONG_TYPE = 20
    AMOUNT_NOT_FINITE = 21
    AMOUNT_NEGATIVE = 22
    TIME_WRONG_TYPE = 23
    TIME_OUT_OF_RANGE = 24
    SEQUENCE_WRONG_TYPE = 25
    SEQUENCE_OUT_OF_RANGE = 26
    SIDE_WRONG_TYPE = 27
    WRONG_SHAPE = 28
    SIDE_QUEUE_FULL = 29
    SYMBOL_WRONG_TYPE = 30
    # What becomes of valid events when a ring is full, by the policy in force.
    DROPPED = 31
    CONFLATED = 32
    # Valid, but carries no price by rule.
    IGNORED_DEPTH = 48
    IGNORED_NOT_MARKET = 49
    IGNORED_UNSUBSCRIBED = 50
    IGNORED_OTHER = 51
    IGNORED_LATE = 52
    IGNORED_TWICE = 53

    @property
    def description(self) -> str:
        """One line for people, without a full stop."""
        return _DESCRIPTIONS[self]


_DESCRIPTIONS: Final[dict[Reason, str]] = {
    Reason.NOT_UTF8: "the frame is not UTF-8 text",
    Reason.NOT_JSON: "the frame is not JSON",
    Reason.TOO_DEEP: "the frame nests too deeply to be decoded",
    Reason.TOO_LARGE: "the message is larger than max_message_bytes",
    Reason.UNKNOWN_MESSAGE: "JSON, but no message this vendor is known to send",
    Reason.SYMBOL_MISSING: "the event names no symbol",
    Reason.SYMBOL_EMPTY: "the symbol is empty",
    Reason.SYMBOL_TOO_LONG: "the symbol is longer than 31 bytes",
    Reason.SYMBOL_NUL: "the symbol contains a NUL byte",
    Reason.SYMBOL_NOT_ASCII: "the symbol is not ASCII and was not asked for",
    Reason.SYMBOL_NOT_ASKED: "the symbol was not asked for",
    Reason.TABLE_FULL: "the symbol table is full",
    Reason.PRICE_MISSING: "the price is absent",
    Reason.PRICE_WRONG_TYPE: "the price is not a number",
    Reason.PRICE_NOT_FINITE: "the price is NaN or infinite",
    Reason.PRICE_NOT_POSITIVE: "the price is zero or negative",
    Reason.SIZE_MISSING: "the size is absent",
    Reason.SIZE_WRONG_TYPE: "the size is not a number",
    Reason.SIZE_NOT_FINITE: "the size is NaN or infinite",
    Reason.SIZE_NEGATIVE: "the size is negative",
    Reason.AMOUNT_WRONG_TYPE: "the turnover is not a number",
    Reason.AMOUNT_NOT_FINITE: "the turnover is NaN or infinite",
    Reason.AMOUNT_NEGATIVE: "the turnover is negative",
    Reason.TIME_WRONG_TYPE: "the event time is not a whole number",
    Reason.TIME_OUT_OF_RANGE: "the event time is not between the years 2000 and 2100",
    Reason.SEQUENCE_WRONG_TYPE: "the sequence is not a whole number",
    Reason.SEQUENCE_OUT_OF_RANGE: "the sequence does not fit 64 bits",
    Reason.SIDE_WRONG_TYPE: "the side is none the vendor is known to send",
    Reason.WRONG_SHAPE: "the event is not an object of the expected shape",
    Reason.SIDE_QUEUE_FULL: "lost: the rings and the side queue were full",
    Reason.SYMBOL_WRONG_TYPE: "the symbol is not text",
    Reason.DROPPED: "lost: dropped because a ring was full, as the policy says",
    Reason.CONFLATED: "merged into a newer event of the same symbol because a ring was full",
    Reason.IGNORED_DEPTH: "ignored: a change of the order book",
    Reason.IGNORED_NOT_MARKET: "ignored: a trade that made no market price",
    Reason.IGNORED_UNSUBSCRIBED: "ignored: of a stream that was not asked for",
    Reason.IGNORED_OTHER: "ignored: a message that carries no price",
    Reason.IGNORED_LATE: "ignored: late, its symbol had been unsubscribed",
    Reason.IGNORED_TWICE: "ignored: the connection that this one replaces had brought it already",
}


def is_ignored(reason: int) -> bool:
    """Return whether `reason` counts events that are valid but carry no price by rule."""
    return 48 <= reason < REASONS


def is_lost(reason: int) -> bool:
    """Return whether `reason` counts valid events dropped for want of room."""
    return reason in (Reason.SIDE_QUEUE_FULL, Reason.DROPPED)


def is_invalid(reason: int) -> bool:
    """Return whether `reason` counts what could not be understood or failed a guard."""
    return 0 <= reason < 48 and not is_lost(reason) and reason != Reason.CONFLATED
