"""A receiver's end of the control socket: it changes what its connections are subscribed to, and says what came of it.

Everything happens in the receiver's own loop, beside the connections and without touching them. Whoever asks has little
time and little room: a client that sends half a question, or takes no answer, is hung up on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from openbell.control import address
from openbell.control.protocol import (
    LINE_BYTES_MAX,
    Answer,
    Change,
    Changes,
    Failure,
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
    decode_question,
    encode,
)
from openbell.errors import FeedError
from openbell.monitor.subscriptions import SubscriptionState
from openbell.receiver.subscriber import Outcome, Reply, Subscriber

log = logging.getLogger("openbell.receiver")

CLIENTS_MAX: Final = 32
QUESTION_S: Final = 10.0
"""A client has so long for a question, and between two; and for taking an answer."""
_AT_ONCE: Final = 500
"""Symbols after which the connections have their turn again."""


@dataclass(frozen=True, slots=True)
class Controlled:
    """One connection of this receiver: its number, that of its source, and what it is subscribed to."""

    connection: int
    source: int
    subscriber: Subscriber


class ControlServer:
    """Answers at the control socket of one receiver.

    Parameters
    ----------
    path : Path
        Of the socket; its directory is private.
    connections : collection of Controlled
    question_s : float
        Time for a question; for tests.
    """

    def __init__(self, path: Path, connections: Collection[Controlled], question_s: float = QUESTION_S) -> None:
        self._path = path
        self._connections: Mapping[int, Controlled] = {each.connection: each for each in connections}
        self._question_s = question_s
        self._server: asyncio.Server | None = None
        self._one_by_one = asyncio.Lock()
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to listen. What goes wrong is told: the feed does without."""
        try:
            listening = address.bind(self._path)
        except FeedError as error:
            log.error("%s; subscriptions cannot be changed while the feed runs", error)
            return
        self._server = await asyncio.start_unix_server(self._welcome, sock=listening, limit=LINE_BYTES_MAX)

    async def stop(self) -> None:
        """Hang up on everybody, and listen no more."""
        if self._server is not None:
            self._server.close()
            # Gone with the receiver: a client that comes now is told that nobody is there.
            self._path.unlink(missing_ok=True)
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._guarded(reader, writer))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _guarded(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if len(self._clients) > CLIENTS_MAX:
                busy = Failure("busy", f"{CLIENTS_MAX} clients are connected already; try again in a moment")
                await self._say(writer, busy)
                return
            await self._talk(reader, writer)
        except (TimeoutError, OSError):
            log.debug("a client of the control socket went away, or took too long")
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                async with asyncio.timeout(self._question_s):
                    line = await reader.readuntil(b"\n")
            except asyncio.IncompleteReadError:
                return
            except asyncio.LimitOverrunError:
                await self._say(writer, Failure("question", f"a question has {LINE_BYTES_MAX} bytes at most"))
                return
            try:
                question = decode_question(line)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                await self._say(writer, Failure("question", f"this is no question: {type(error).__name__}"))
                return
            await self._say(writer, await self._answer(question))

    async def _say(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        writer.write(encode(answer))
        async with asyncio.timeout(self._question_s):
            await writer.drain()

    # ---- answers ----

    async def _answer(self, question: Question) -> Answer:
        try:
            match question:
                case Find(source, symbols):
                    return self._find(source, symbols)
                case Refusals():
                    return Told(self._refusals())
                case Subscribe(wishes, timeout_s):
                    async with self._one_by_one:
                        return Changes(await self._subscribe(wishes, timeout_s))
                case Unsubscribe(wishes, timeout_s):
                    async with self._one_by_one:
                        return Changes(await self._unsubscribe(wishes, timeout_s))
        except Exception as error:  # noqa: BLE001 - whatever a vendor's module does to a command, the feed goes on
            # Not its words: they may quote what it choked on.
            log.error("a command failed with %s", type(error).__name__)
            return Failure("fault", f"it failed with {type(error).__name__}; the log of the feed says more")

    def _find(self, source: int, symbols: list[str]) -> Found:
        owners: dict[str, int] = {}
        loads = []
        for each in self._connections.values():
            if each.source == source:
                subscriber = each.subscriber
                loads.append(Load(each.connection, len(subscriber.wanted), subscriber.manner.limit))
                owners.update(dict.fromkeys(filter(subscriber.knows, symbols), each.connection))
        return Found(owners, loads)

    def _refusals(self) -> dict[str, str]:
        return {
            each.subscriber.source.prefix + key: each.subscriber.why_refused(key)
            for each in self._connections.values()
            for key in each.subscriber.refusals
        }

    async def _subscribe(self, wishes: list[Wish], timeout_s: float) -> list[Change]:
        replies = await self._wish(wishes, unsubscribe=False)
        await self._settled(replies, timeout_s)
        return [self._subscribed(connection, reply) for connection, reply in replies]

    async def _unsubscribe(self, wishes: list[Wish], timeout_s: float) -> list[Change]:
        replies = await self._wish(wishes, unsubscribe=True)
        await self._settled(replies, timeout_s)
        return [self._unsubscribed(connection, reply) for connection, reply in replies]

    async def _wish(self, wishes: list[Wish], *, unsubscribe: bool) -> list[tuple[int, Reply]]:
        """Pass wishes on to the connections they name; the replies are in the order of the wishes."""
        found: dict[Wish, Reply] = {}
        by_connection: dict[int, list[Wish]] = {}
        for wish in wishes:
            by_connection.setdefault(wish.connection, []).append(wish)
        for connection, mine in by_connection.items():
            controlled = self._connections.get(connection)
            for start in range(0, len(mine), _AT_ONCE):
                part = mine[start : start + _AT_ONCE]
                names = [wish.symbol for wish in part]
                if controlled is None:
                    why = "its connection is another receiver's"
                    replies = [Reply(name, name, Outcome.REFUSED, why) for name in names]
                elif unsubscribe:
                    replies = controlled.subscriber.unsubscribe(names)
                else:
                    replies = controlled.subscriber.subscribe(names)
                for wish, reply in zip(part, replies, strict=True):
                    # One that is there twice keeps its first reply: the second says that it is so already.
                    found.setdefault(wish, reply)
                await asyncio.sleep(0)
        return [(wish.connection, found[wish]) for wish in wishes]

    async def _settled(self, replies: list[tuple[int, Reply]], timeout_s: float) -> None:
        # Also what was asked for before: it may be under way yet.
        open_: dict[int, list[str]] = {}
        for connection, reply in replies:
            if reply.outcome is not Outcome.REFUSED:
                open_.setdefault(connection, []).append(reply.key)
        await asyncio.gather(
            *(self._connections[number].subscriber.settled(keys, timeout_s) for number, keys in open_.items())
        )

    def _subscribed(self, connection: int, reply: Reply) -> Change:
        controlled = self._connections.get(connection)
        if controlled is None:
            return Change(reply.symbol, Fate.REFUSED, reply.why)
        subscriber = controlled.subscriber
        symbol = subscriber.source.prefix + reply.symbol
        if reply.outcome is Outcome.REFUSED:
            return Change(symbol, Fate.REFUSED, reply.why, connection)
        state = subscriber.state(reply.key)
        fate, why = Fate.WAITING, "the connection is not up; it is asked for when it is"
        if state is SubscriptionState.CONFIRMED:
            fate, why = Fate.ALREADY if reply.outcome is Outcome.ALREADY else Fate.SUBSCRIBED, ""
        elif state is SubscriptionState.REFUSED:
            fate, why = Fate.REFUSED, subscriber.why_refused(reply.key)
        elif state is SubscriptionState.UNCONFIRMED:
            fate, why = Fate.UNANSWERED, subscriber.why_in_vain(reply.key)
        elif state is SubscriptionState.ASKED:
            if subscriber.manner.acknowledges:
                fate, why = Fate.UNANSWERED, "the vendor has not answered yet"
            else:
                fate, why = Fate.ALREADY if reply.outcome is Outcome.ALREADY else Fate.ASKED, ""
        elif subscriber.session is not None and subscriber.session.begun:
            why = "the vendor's rules do not let it be asked for yet"
        elif reply.outcome is Outcome.ALREADY:
            fate, why = Fate.ALREADY, why
        return Change(symbol, fate, why, connection)

    def _unsubscribed(self, connection: int, reply: Reply) -> Change:
        controlled = self._connections.get(connection)
        if controlled is None:
            return Change(reply.symbol, Fate.REFUSED, reply.why)
        subscriber = controlled.subscriber
        symbol = subscriber.source.prefix + reply.symbol
        if reply.outcome is Outcome.ALREADY:
            return Change(symbol, Fate.ABSENT, "", connection)
        why = ""
        if not subscriber.is_settled(reply.key):
            why = "the vendor has not answered yet; what it sends is dropped"
        elif subscriber.manner.cancels == "never":
            why = "this vendor cancels nothing; what it sends is dropped"
        return Change(symbol, Fate.UNSUBSCRIBED, why, connection)
