"""Changing what a running feed is subscribed to, from any process of the same user."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, TypeVar

import msgspec

from openbell.assignment import Assigned, assign
from openbell.config import Config, Source
from openbell.control import address
from openbell.control.line import HungUp, Line
from openbell.control.protocol import (
    PATIENCE_MAX_S,
    Answer,
    Change,
    Changes,
    Fate,
    Find,
    Found,
    Load,
    Question,
    Refusals,
    Subscribe,
    Told,
    Unsubscribe,
    Wish,
)
from openbell.core.symbols import SymbolTable
from openbell.errors import ConfigError, FeedError, FeedGone
from openbell.memory import feeds
from openbell.memory.generation import Generation
from openbell.memory.names import CONTROL_LOCK, control_socket
from openbell.memory.segment import Kind
from openbell.monitor.subscriptions import Subscription, Subscriptions

PATIENCE_S: Final = 15.0
"""How long what was asked for is waited for."""
_RESTART_S: Final = 3.0
"""How long a receiver that is not there is waited for: one that died is started again within this."""
_SLACK_S: Final = 10.0
_POLL_S: Final = 0.02

_Kind = TypeVar("_Kind", bound=Answer)


@dataclass(frozen=True, slots=True)
class Subscribed:
    """How far the subscription of a symbol is.

    Attributes
    ----------
    symbol : str
        As the feed knows it.
    subscription : Subscription
        Its state, and the number of its connection.
    connection : str
        What people call that connection.
    why : str
        What the vendor said, where it refused.
    """

    symbol: str
    subscription: Subscription
    connection: str
    why: str = ""


class FeedControl:
    """A running feed, whose subscriptions can be changed and looked at.

    Parameters
    ----------
    feed : str
        Its name.
    generation : Generation, optional
        Of the feed, if it is attached already; by default the feed is looked for. Whoever gives one closes it.

    Raises
    ------
    FeedNotFound, LayoutMismatch, FeedError
        As :func:`openbell.memory.feeds.find`.

    Notes
    -----
    Commands of all clients take their turns. Nothing here touches a connection.
    """

    def __init__(self, feed: str, generation: Generation | None = None) -> None:
        self.feed = feed
        self._mine = generation is None
        self._generation = generation or feeds.find(feed)
        self._config = Config.from_json(self._generation.config)
        self._assigned = assign(self._config)

    def close(self) -> None:
        """Let go of the feed."""
        if self._mine:
            self._generation.close()

    def __enter__(self) -> FeedControl:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- commands ----

    def subscribe(
        self, symbols: Iterable[str], *, source: int | None = None, timeout_s: float = PATIENCE_S
    ) -> list[Change]:
        """Subscribe symbols, on the least loaded connection of their source, and wait for what comes of it.

        Parameters
        ----------
        symbols : iterable of str
            As the vendor spells them, behind the prefix of their source.
        source : int, optional
            Number of the source in the configuration, from 1; by default the one whose prefix a symbol has.
        timeout_s : float
            How long the vendor's answers are waited for.

        Returns
        -------
        list of Change
            One a symbol, in order, each once.

        Raises
        ------
        ConfigError
            There is no such source, or the time-out makes no sense.
        FeedError
            Nothing was changed, or nobody knows: the feed was stopped, a receiver does not answer, or other commands
            took all the time.
        """
        return self._change(symbols, source, timeout_s, Subscribe)

    def unsubscribe(
        self, symbols: Iterable[str], *, source: int | None = None, timeout_s: float = PATIENCE_S
    ) -> list[Change]:
        """Unsubscribe symbols, and wait for what comes of it. What the vendor sends yet is dropped and counted.

        Parameters, result and errors are those of `subscribe`.
        """
        return self._change(symbols, source, timeout_s, Unsubscribe)

    def change(self, source: int, new: Sequence[str], gone: Sequence[str]) -> Mapping[str, str]:
        """Subscribe and unsubscribe symbols of a source, given without its prefix.

        Returns
        -------
        mapping of str to str
            What was refused, and why.

        Raises
        ------
        FeedError
            Nobody knows what became of all of it.
        """
        prefix = self._source(source).prefix
        refused = {}
        for verb, symbols in ((self.unsubscribe, gone), (self.subscribe, new)):
            for each in verb([prefix + symbol for symbol in symbols], source=source) if symbols else []:
                if each.fate is Fate.REFUSED:
                    refused[each.symbol.removeprefix(prefix)] = each.why
        return refused

    def subscriptions(self) -> list[Subscribed]:
        """Return how far the subscriptions of all symbols are, in the order of the connections.

        Read from shared memory; only what a vendor said as it refused is asked of the receivers, and left out where one
        does not answer.
        """
        view = Subscriptions(self._generation.open("subscriptions", Kind.SUBSCRIPTIONS))
        table = SymbolTable(self._generation.open("symbols", Kind.SYMBOLS))
        control = self._generation.open_control()
        said: dict[str, str] = {}
        if any(control.connection(each.index).refused for each in self._assigned):
            for receiver in sorted({each.receiver for each in self._assigned}):
                try:
                    said |= self._ask(receiver, Refusals(), 1.0, Told, restart_s=0.0).said
                except FeedError:
                    # It is starting again; what shared memory says is good without its words.
                    continue
        labels = {each.index: control.connection(each.index).label for each in self._assigned}
        found = []
        for row, key in table.items():
            seen = view.read(row)
            if seen.changed_ns:
                symbol = key.decode()
                found.append(Subscribed(symbol, seen, labels.get(seen.connection, ""), said.get(symbol, "")))
        return sorted(found, key=lambda each: (each.subscription.connection, each.symbol))

    # ---- who is asked ----

    def _change(
        self, symbols: Iterable[str], source: int | None, timeout_s: float, verb: type[Subscribe | Unsubscribe]
    ) -> list[Change]:
        if not 0 <= timeout_s <= PATIENCE_MAX_S:
            raise ConfigError(f"timeout_s must be from 0 to {PATIENCE_MAX_S:g}, not {timeout_s!r}")
        if source is not None:
            self._source(source)
        wanted = list(dict.fromkeys(symbols))
        changes: dict[str, Change] = {}
        by_source: dict[int, list[str]] = {}
        for symbol in wanted:
            number = self._number(symbol) if source is None else source
            if isinstance(number, str):
                changes[symbol] = Change(symbol, Fate.REFUSED, number)
            elif not symbol.startswith(prefix := self._source(number).prefix):
                why = f"source {number} has the prefix {prefix!r}, and this symbol has not"
                changes[symbol] = Change(symbol, Fate.REFUSED, why)
            else:
                by_source.setdefault(number, []).append(symbol.removeprefix(prefix))
        with self._turn(timeout_s):
            for number, mine in by_source.items():
                for change in self._change_source(number, mine, timeout_s, verb):
                    changes[change.symbol] = change
        return [changes[symbol] for symbol in wanted]

    def _number(self, symbol: str) -> int | str:
        """Return the number of the source that a symbol is of, or why nobody knows."""
        fitting = [
            (number, each) for number, each in enumerate(self._config.sources, 1) if symbol.startswith(each.prefix)
        ]
        if not fitting:
            prefixes = ", ".join(repr(each.prefix) for each in self._config.sources)
            return f"no source has a prefix that it begins with; there are {prefixes}"
        longest = max(len(each.prefix) for _, each in fitting)
        best = [number for number, each in fitting if len(each.prefix) == longest]
        if len(best) > 1:
            told = ", ".join(f"{number} ({self._source(number).vendor})" for number in best)
            return f"it may be of several sources: {told}; say which"
        return best[0]

    def _source(self, number: int) -> Source:
        if not 1 <= number <= len(self._config.sources):
            raise ConfigError(f"feed {self.feed!r} has no source {number}; there are 1 to {len(self._config.sources)}")
        return self._config.sources[number - 1]

    def _change_source(
        self, number: int, symbols: list[str], timeout_s: float, verb: type[Subscribe | Unsubscribe]
    ) -> list[Change]:
        """Have symbols of one source changed; they come without its prefix."""
        mine = [each for each in self._assigned if each.number == number]
        owners, loads = self._find(mine, number, symbols)
        wishes: dict[int, list[Wish]] = {}
        receivers = {each.index: each.receiver for each in mine}
        for symbol in symbols:
            connection = owners.get(symbol)
            if connection is None:
                connection = min(loads, key=lambda each: (_is_full(loads[each]), loads[each].symbols, each))
                if verb is Subscribe:
                    loads[connection] = msgspec.structs.replace(
                        loads[connection], symbols=loads[connection].symbols + 1
                    )
            wishes.setdefault(receivers[connection], []).append(Wish(connection, symbol))
        answered: dict[Wish, Change] = {}
        questions = {receiver: verb(asked, timeout_s) for receiver, asked in wishes.items()}
        lines: dict[int, Line] = {}
        try:
            # All are asked before the first one has answered: each waits for its vendor.
            for receiver, question in questions.items():
                lines[receiver] = self._line(receiver, question, timeout_s)
            for receiver, question in questions.items():
                answer = self._answer(lines.pop(receiver), receiver, question, timeout_s, Changes)
                answered.update(zip(wishes[receiver], answer.changes, strict=True))
        finally:
            for line in lines.values():
                line.close()
        return [answered[wish] for asked in wishes.values() for wish in asked]

    def _find(self, mine: list[Assigned], number: int, symbols: list[str]) -> tuple[dict[str, int], dict[int, Load]]:
        owners: dict[str, int] = {}
        loads: dict[int, Load] = {}
        for receiver in sorted({each.receiver for each in mine}):
            found = self._ask(receiver, Find(number, symbols), _SLACK_S, Found)
            owners |= found.owners
            loads |= {each.connection: each for each in found.loads}
        return owners, loads

    # ---- talking ----

    @contextmanager
    def _turn(self, timeout_s: float) -> Iterator[None]:
        """Wait until no other client's command is under way."""
        path = self._generation.path / CONTROL_LOCK
        until = time.monotonic() + max(timeout_s, _RESTART_S)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileNotFoundError as error:
            raise FeedGone(f"feed {self.feed!r} was stopped") from error
        except OSError as error:
            raise FeedError(f"cannot open {path}: {error.strerror}") from error
        try:
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise FeedError(
                            f"feed {self.feed!r} has been busy with somebody else's command all the time; nothing was "
                            "changed, try again"
                        ) from None
                    time.sleep(_POLL_S)
            yield
        finally:
            os.close(fd)

    def _ask(
        self, receiver: int, question: Question, timeout_s: float, kind: type[_Kind], *, restart_s: float = _RESTART_S
    ) -> _Kind:
        line = self._line(receiver, question, timeout_s, restart_s=restart_s)
        return self._answer(line, receiver, question, timeout_s, kind, restart_s=restart_s)

    def _answer(
        self,
        line: Line,
        receiver: int,
        question: Question,
        timeout_s: float,
        kind: type[_Kind],
        *,
        restart_s: float = _RESTART_S,
    ) -> _Kind:
        """Take the answer to a question; if the receiver ends before, ask the next one."""
        until = time.monotonic() + restart_s
        while True:
            try:
                return line.answer(kind)
            except HungUp:
                self._check_running()
                if time.monotonic() > until:
                    raise
            finally:
                line.close()
            line = self._line(receiver, question, timeout_s, restart_s=restart_s)

    def _line(self, receiver: int, question: Question, timeout_s: float, *, restart_s: float = _RESTART_S) -> Line:
        """Ask a receiver something."""
        path = self._generation.path / control_socket(receiver)
        until = time.monotonic() + restart_s
        while True:
            try:
                return Line(self.feed, receiver, address.connect(path, timeout_s + _SLACK_S), question)
            except OSError as error:
                self._check_running()
                if time.monotonic() > until:
                    raise FeedError(
                        f"receiver-{receiver} of feed {self.feed!r} cannot be asked ({error.strerror or error}): it is "
                        f"just starting again, or not at all; nothing was changed there, and `openbell status "
                        f"{self.feed}` says more"
                    ) from error
            time.sleep(_POLL_S)

    def _check_running(self) -> None:
        if not self._generation.segments["control"].live or not feeds.is_running(self.feed):
            raise FeedGone(f"feed {self.feed!r} was stopped")


def _is_full(load: Load) -> bool:
    return load.limit is not None and load.symbols >= load.limit
