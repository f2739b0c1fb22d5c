"""One question to one receiver over its control socket, and the answer to it."""

from __future__ import annotations

import socket
from typing import TypeVar

import msgspec

from openbell.control.protocol import LINE_BYTES_MAX, Answer, Failure, Question, decode_answer, encode
from openbell.errors import FeedError

_Kind = TypeVar("_Kind", bound=Answer)


class HungUp(FeedError):
    """Say that a receiver ended before it answered. What was asked for may be asked again: no question adds up."""


class Line:
    """One question to one receiver, and the answer to come.

    Parameters
    ----------
    feed : str
    receiver : int
        Whom is asked, for messages.
    connected : socket
        To its control socket; it is closed where the question cannot be sent.
    question : Question

    Raises
    ------
    OSError
        It hung up.
    """

    def __init__(self, feed: str, receiver: int, connected: socket.socket, question: Question) -> None:
        self._who = f"receiver-{receiver} of feed {feed!r}"
        self._connected = connected
        try:
            connected.sendall(encode(question))
        except BaseException:
            connected.close()
            raise

    def answer(self, kind: type[_Kind]) -> _Kind:
        """Return the answer.

        Raises
        ------
        FeedError
            There is none, or none of this kind.
        """
        found = self._decoded()
        if isinstance(found, Failure):
            raise FeedError(f"{self._who} did nothing: {found.why}")
        if not isinstance(found, kind):
            raise FeedError(f"{self._who} answered something else; run the same OpenBell version on both sides")
        return found

    def _decoded(self) -> Answer:
        text = bytearray()
        try:
            while not text.endswith(b"\n"):
                some = self._connected.recv(1 << 16)
                if not some:
                    raise HungUp(f"{self._who} ended before it answered; what became of it is to be looked up")
                text += some
                if len(text) > LINE_BYTES_MAX:
                    raise FeedError(f"{self._who} answered without end")
        except TimeoutError:
            raise FeedError(f"{self._who} does not answer; it may be stuck, or the change may come yet") from None
        except OSError as error:
            raise HungUp(f"{self._who} hung up: {error.strerror or error}") from error
        try:
            answer: Answer = decode_answer(text)
            return answer
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise FeedError(
                f"{self._who} gave an answer that cannot be read; run the same OpenBell version on both sides"
            ) from error

    def close(self) -> None:
        """Hang up."""
        self._connected.close()
