"""Texts and messages with places in them: ``{symbols}``, ``{token}``, and what else is only known when they are sent.

A message is written as a TOML table, or as JSON, which is the same; what is neither is sent as it stands, places filled
in. A place that is a whole text of a message becomes what is put there (a list, a number, true or false); within a
longer text it becomes text. Nothing that is put in can break out of its text: messages are encoded after it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from openbell.config.checks import is_credential
from openbell.errors import ConfigError
from openbell.secret import Secret

PLACES: Final = ("symbols", "symbol", "token", "id", "only_traded")
"""What can stand in braces."""

_PLACE: Final = re.compile(r"\{([A-Za-z_]+)\}")

# What is no JSON may have one, too: "login token=...".
_ASSIGNED: Final = re.compile(r"([A-Za-z][\w-]*)\s*[=:]\s*([^\s,;&]+)")

# A message may well have a key "key" or "auth" with a word behind it.
_SHORTEST_TOKEN: Final = 8

Message = str | dict[str, Any]
"""A message as the configuration writes it."""


class Template:
    """A message with places in it.

    Parameters
    ----------
    written : str or dict
        As the configuration has it.
    key : str
        The key that has it, for errors.

    Attributes
    ----------
    places : frozenset of str
        Those of :data:`PLACES` that are in it.

    Raises
    ------
    ConfigError
        It has a place that nobody fills, or one that holds a token in plain sight; it begins like JSON and is none.
    """

    def __init__(self, written: Message, key: str) -> None:
        self._tree: object = written
        self.plain = False
        if isinstance(written, str):
            if written.lstrip().startswith(("{", "[")) and not _PLACE.match(written.lstrip()):
                self._tree = _parse(written, key)
            else:
                self.plain = True
        found: set[str] = set()
        for text in _texts(self._tree):
            found |= _places(text, key)
        self.places = frozenset(found)
        _refuse_credentials(self._tree, key)

    def render(self, values: Mapping[str, object]) -> bytes:
        """Return the message with `values` at its places.

        Parameters
        ----------
        values : mapping
            A value for each of `places`; a :class:`Secret` is revealed.
        """
        if self.plain:
            return fill(str(self._tree), values).encode()
        return msgspec.json.encode(_filled(self._tree, values))


def text_places(text: str, key: str) -> frozenset[str]:
    """Return the places of a text that is no message.

    Raises
    ------
    ConfigError
        It has one that nobody fills.
    """
    return frozenset(_places(text, key))


def fill(text: str, values: Mapping[str, object], encode: Callable[[str], str] = str) -> str:
    """Return `text` with values at its places, each passed through `encode`."""
    return _PLACE.sub(lambda found: encode(_text(values[found[1]])), text)


def _parse(written: str, key: str) -> object:
    try:
        return msgspec.json.decode(written)
    except (msgspec.MsgspecError, RecursionError) as error:
        # Its words tell a place, never what is there.
        raise ConfigError(
            f"{key}: this begins like JSON and is none: {error}; a place within it is a text, too: "
            '{"symbols": "{symbols}"}'
        ) from None


def _texts(tree: object) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from _texts(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _texts(value)


def _places(text: str, key: str) -> set[str]:
    found = set(_PLACE.findall(text))
    if unknown := sorted(found - set(PLACES)):
        known = ", ".join(f"{{{name}}}" for name in PLACES)
        raise ConfigError(f"{key}: nobody fills {{{unknown[0]}}} in; there are {known}")
    return found


def _refuse_credentials(tree: object, key: str) -> None:
    """Refuse a token that stands where its place should."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            if is_credential(name) and isinstance(value, str) and looks_like_a_token(value):
                raise ConfigError(
                    f"{key}: {name!r} holds something else than {{token}}; a token does not belong in this file: put "
                    'it into an environment variable, name that as token_env, and write "{token}" here'
                )
            _refuse_credentials(value, key)
    elif isinstance(tree, list):
        for value in tree:
            _refuse_credentials(value, key)
    elif isinstance(tree, str):
        for name, value in _ASSIGNED.findall(tree):
            _refuse_credentials({name: value}, key)


def looks_like_a_token(value: str) -> bool:
    """Return whether `value`, under a name that tells of one, may be a token itself."""
    return len(value) >= _SHORTEST_TOKEN and not _PLACE.search(value)


def _filled(tree: object, values: Mapping[str, object]) -> object:
    if isinstance(tree, str):
        whole = _PLACE.fullmatch(tree)
        if whole is None:
            return fill(tree, values)
        value = values[whole[1]]
        return value.reveal() if isinstance(value, Secret) else value
    if isinstance(tree, dict):
        return {name: _filled(value, values) for name, value in tree.items()}
    if isinstance(tree, list):
        return [_filled(value, values) for value in tree]
    return tree


def _text(value: object) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value)
