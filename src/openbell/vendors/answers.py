"""Reading a described vendor's answers: acknowledgements, errors, heartbeats; by their fields, wherever they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from openbell.config.generic import Generic
from openbell.config.shapes import ErrorShape, Push, Value
from openbell.vendors.base import Ack, Control, HeartbeatAck, Refusal

_ABSENT: Final = object()
_WHOLE: Final = re.compile("-?[0-9]{1,18}")
_decode = msgspec.json.Decoder().decode


class Answers:
    """Reads what a description calls an answer.

    Parameters
    ----------
    described : Generic
    """

    def __init__(self, described: Generic) -> None:
        self._ack, self._error = described.ack, described.error
        self._heartbeat = described.heartbeat_answer
        self._separator = described.separator
        self._tables = [table for table in (described.push, described.quote) if table is not None]

    def read(self, payload: bytes) -> Control | None:
        """Return what `payload` says about the connection, None if nothing. Never raises."""
        try:
            message = _decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        if not isinstance(message, dict) or self._is_market_data(message):
            return None
        if self._heartbeat and _holds(message, self._heartbeat):
            return HeartbeatAck()
        # An error first: some servers answer both with the same command, and another code.
        if (error := self._error) is not None and _is_error(message, error):
            code = _at(message, error.code)
            said = _at(message, error.message)
            return Refusal(
                _number(code),
                said if isinstance(said, str) else "" if said is _ABSENT else str(said),
                _number(_at(message, error.id)),
                self._symbols(message, error.symbols),
            )
        if (ack := self._ack) is not None and _holds(message, ack.when):
            there = _at(message, ack.refused)
            if there is not _ABSENT and there:
                # Whatever it lists them as: what is not understood is nothing that was granted.
                refused = self._symbols(message, ack.refused)
                return Refusal(None, "left out of what it granted", _number(_at(message, ack.id)), refused)
            return Ack(_number(_at(message, ack.id)), self._symbols(message, ack.symbols))
        return None

    def _is_market_data(self, message: dict[str, Any]) -> bool:
        """Whether there are prices in it: it is none of ours then, whatever else it looks like."""
        for table in self._tables:
            path, _ = table.at()
            events = message.get(path) if path else message
            event = events[0] if isinstance(events, list) and events else events
            names = {table.symbol, table.price if isinstance(table, Push) else table.bid}
            if isinstance(event, dict) and names <= event.keys() and _holds(message, table.when):
                return True
        return False

    def _symbols(self, message: dict[str, Any], path: str) -> tuple[str, ...] | None:
        """Return the symbols that a field lists, in an array or a text; None: it is not there, or lists none."""
        value = _at(message, path)
        if isinstance(value, str):
            value = value.split(self._separator) if value else []
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            return tuple(value)
        return None


def _is_error(message: dict[str, Any], shape: ErrorShape) -> bool:
    if shape.when and not _holds(message, shape.when):
        return False
    found = ((_at(message, path), value) for path, value in shape.unless.items())
    return all(there is not _ABSENT and not _is(there, value) for there, value in found)


def _holds(message: dict[str, Any], conditions: Mapping[str, Value]) -> bool:
    return all(_is(_at(message, path), value) for path, value in conditions.items())


def _is(found: object, wanted: Value) -> bool:
    if isinstance(wanted, list):
        return any(_is(found, each) for each in wanted)
    if isinstance(found, bool) or isinstance(wanted, bool):
        # True is not 1.
        return found is wanted
    # A number in quotes is a number, here as in prices.
    return found == wanted or (isinstance(wanted, int) and found == str(wanted))


def _at(message: dict[str, Any], path: str) -> Any:
    """Return the value at a path such as ``"data.code"``; a key with a point in it is found, too."""
    if not path:
        return _ABSENT
    if path in message:
        return message[path]
    value: Any = message
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return _ABSENT
        value = value[key]
    return value


def _number(value: object) -> int | None:
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
