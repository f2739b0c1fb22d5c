"""Every error OpenBell raises on purpose, as one small family.

A message says what was wrong, where, and what to do about it. No message, attribute or
representation ever carries a secret (an API token, a URL with its query).
"""

from __future__ import annotations


class OpenBellError(Exception):
    """Base of all errors raised by OpenBell; catch this to catch them all."""


class ConfigError(OpenBellError):
    """Say that a configuration cannot be used: which file, which key, what is wrong, what to write instead."""


class FeedError(OpenBellError):
    """Base of the errors about a feed's shared memory and processes."""


class FeedNotFound(FeedError):
    """Say that no feed of this name is running for this user."""


class FeedGone(FeedError):
    """Say that the feed was stopped or restarted while it was in use; attach again."""


class ReaderCut(FeedError):
    """Say that a tethered reader was cut off: it held the writer for longer than its budget. Join again."""


class TooManyConsumers(FeedError):
    """Say that all places for tethered readers are taken; the message says by whom."""


class LayoutMismatch(FeedError):
    """Say that shared memory was written by another layout version; the message names both versions."""


class FeedAlreadyRunning(FeedError):
    """Say that a live process already runs this feed (or this role of it); the message names its pid."""


class NoSpace(FeedError):
    """Say that the shared memory cannot be reserved: bytes needed, bytes free, and how to shrink or enlarge."""


class SymbolTableFull(FeedError):
    """Say that the feed's symbol table has no free row; raise ``feed.symbols_capacity`` and restart."""


class VendorError(OpenBellError):
    """Say that a vendor's module cannot be loaded, or does not fit what a vendor must provide."""


class ReceiverError(OpenBellError):
    """Say that a receiver cannot go on: a mistake no reconnect can mend."""


class CaptureError(OpenBellError):
    """Say that a capture file cannot be read: which file, which line, what is wrong."""


class InvalidArgument(OpenBellError, ValueError):
    """Say that a call makes no sense as it was made: which argument, what is wrong with it, what it may be."""


class MissingExtra(OpenBellError, ImportError):
    """Say that an optional library is not installed, and how to install it."""


class ExpressionError(OpenBellError, ValueError):
    """Say what is wrong with an expression over the columns of a market, and where.

    Attributes
    ----------
    reason : str
        What is wrong, without the place.
    expression : str
        As given.
    start, end : int or None
        Characters of it that are meant; None: all of it.
    """

    def __init__(self, reason: str, expression: str, start: int | None = None, end: int | None = None) -> None:
        super().__init__(reason, expression, start, end)
        self.reason = reason
        self.expression = expression
        self.start = start
        self.end = start + 1 if end is None and start is not None else end

    def __str__(self) -> str:
        if self.start is None:
            return f"{self.reason}: {self.expression!r}"
        return f"{self.reason}: character {self.start + 1} of {self.expression!r}"

    def pointed(self) -> str:
        """Return the message with the expression below it, and marks under what is meant."""
        from openbell.printable import printable

        if self.start is None or self.end is None:
            return f"{printable(self.reason)}\n    {printable(self.expression)}"
        before, meant = self.expression[: self.start], self.expression[self.start : self.end]
        marks = " " * len(printable(before)) + "^" * max(len(printable(meant)), 1)
        return f"{printable(self.reason)}\n    {printable(self.expression)}\n    {marks}"


class UnknownColumn(OpenBellError, KeyError, AttributeError):
    """Say that there is no such column, which one was probably meant, and which there are.

    As columns are attributes, too, it is an AttributeError besides: `hasattr` and the like work.

    Attributes
    ----------
    column : str
        What was asked for.
    """

    def __init__(self, column: str, known: tuple[str, ...], copied: bool = False, needs: tuple[str, ...] = ()) -> None:
        super().__init__(column, known, copied, needs)
        self.column = column
        self._known = known
        self._copied = copied
        self._needs = needs

    def __str__(self) -> str:
        from openbell.market.nearby import nearby

        known = ", ".join(self._known)
        if self._needs:
            return f"column {self.column!r} needs {', '.join(self._needs)}, and only {known} were copied"
        near = nearby(self.column, self._known)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        there = "only these were copied:" if self._copied else "the columns are"
        return f"no column {self.column!r}{hint}; {there} {known}"


class UnknownSymbol(OpenBellError, KeyError):
    """Say that a feed has no such symbol, and which of its symbols were probably meant.

    Attributes
    ----------
    symbol : str
        What was asked for.
    """

    def __init__(self, symbol: str, feed: str, known: tuple[str, ...] = ()) -> None:
        super().__init__(symbol, feed)
        self.symbol = symbol
        self.feed = feed
        self._known = known

    def __str__(self) -> str:
        # The search takes milliseconds on a large market: it waits until somebody reads the message.
        from openbell.market.nearby import nearby

        near = nearby(self.symbol, self._known)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        return f"feed {self.feed!r} has no symbol {self.symbol!r} among its {len(self._known):,}{hint}"
