"""The ``[source.generic]`` table: the messages of a vendor that is described here.

What a profile says (:mod:`openbell.config.profiles`) is filled in while the file is read, under what the file says
itself; so a :class:`Generic` is complete, wherever it came from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

import msgspec
from msgspec import Meta, Struct

from openbell.config.checks import is_credential
from openbell.config.profiles import PROFILES
from openbell.config.shapes import AckShape, Conditions, ErrorShape, Push, Quote
from openbell.config.template import Message, Template, looks_like_a_token, text_places
from openbell.errors import ConfigError

VolumeIs = Literal["trade", "cumulative"]

_WHERE: Final = "source.generic"
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OF_THE_HANDSHAKE: Final = frozenset(
    {
        *("host", "upgrade", "connection", "content-length", "transfer-encoding"),
        # With compression, among other extensions, no message could be read.
        *("sec-websocket-key", "sec-websocket-version", "sec-websocket-accept", "sec-websocket-extensions"),
    }
)


class Generic(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The messages of a vendor that is described here.

    Attributes
    ----------
    profile : str or None
        Name of a ready description; every key below can be given beside it, and then counts instead.
    push : Push
        Where the prices are.
    quote : Quote or None
        Where best bids and offers are, if they come in messages of their own.
    volume_is : str or None
        ``"trade"``: the volume is that of one trade, and is added up; ``"cumulative"``: that of the day so far, and is
        taken as it is. Nothing tells the two apart, so it has no default where there is a volume or turnover.
    subscribe, unsubscribe : str, dict or None
        Message, with ``{symbols}``, or ``{symbol}`` for one message a symbol. None or empty: there is none.
    symbols_as : str
        What ``{symbols}`` is where it stands alone: ``"array"``, or ``"text"``, joined by `separator`.
    separator : str
        Between symbols in a text.
    wildcard : str
        What stands for all symbols there are; an ``open`` source asks for that.
    query : dict of str to str
        Added to the address, encoded: ``{token}``, ``{symbols}``, ``{only_traded}``.
    headers : dict of str to str
        Headers of the handshake: ``{token}``.
    replaces : bool
        A subscription takes the place of the one before; otherwise it adds to it.
    acknowledges : bool
        Every request is answered, and is sent again if it is not. An answer that comes is understood in any case.
    ack : AckShape or None
    error : ErrorShape or None
    heartbeat : str, dict or None
        Message that is sent every `heartbeat_s`.
    heartbeat_s : float
        In seconds; 0: never.
    heartbeat_answer : dict
        Fields of the answer to it, and what they are.
    symbol_format : str
        Regular expression of the symbols that the vendor can have.
    symbol_example : str
        One of them, for the error about any other.
    """

    profile: str | None = None
    push: Push | None = None
    quote: Quote | None = None
    volume_is: VolumeIs | None = None
    subscribe: Message | None = None
    unsubscribe: Message | None = None
    symbols_as: Literal["array", "text"] = "array"
    separator: str = ","
    wildcard: str = ""
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    replaces: bool = False
    acknowledges: bool = False
    ack: AckShape | None = None
    error: ErrorShape | None = None
    heartbeat: Message | None = None
    heartbeat_s: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    heartbeat_answer: Conditions = {}
    symbol_format: str = ""
    symbol_example: str = ""

    def __post_init__(self) -> None:
        self._check_push()
        self._check_messages()
        self._check_places()
        if self.acknowledges and self.ack is None:
            raise ConfigError(
                f"{_WHERE}.acknowledges: answers are waited for, and ack does not say what they look like"
            )
        if bool(self.heartbeat) != bool(self.heartbeat_s):
            raise ConfigError(
                f"{_WHERE}.heartbeat: it needs a message and heartbeat_s, its interval; give both, or none"
            )
        self._check_format()

    def template(self, name: str) -> Template | None:
        """Return the message of a key (``"subscribe"`` and so on), None if there is none."""
        written = getattr(self, name)
        return Template(written, f"{_WHERE}.{name}") if written else None

    @property
    def in_address(self) -> bool:
        """Whether the address says what is subscribed to: a change of it needs another connection."""
        return any(text_places(text, "") & {"symbols", "symbol"} for text in self.query.values())

    @property
    def needs_token(self) -> bool:
        """Whether the token has a place somewhere."""
        messages = filter(None, map(self.template, _MESSAGES))
        return any("token" in message.places for message in messages) or any(
            "token" in text_places(text, "") for text in (*self.query.values(), *self.headers.values())
        )

    def _check_push(self) -> None:
        if self.push is None and self.quote is None:
            raise ConfigError(
                f"{_WHERE}.push: this key is required: a table with where the prices are and what their fields are "
                f"called; or take them from a profile ({', '.join(PROFILES)})"
            )
        if self.push is not None:
            sums = [name for name in ("volume", "turnover") if getattr(self.push, name)]
            if sums and self.volume_is is None:
                raise ConfigError(
                    f'{_WHERE}.volume_is: this key is required, for there is a {sums[0]}: write "trade" if it is that '
                    'of each trade, and is to be added up, or "cumulative" if it is that of the day so far; the wrong '
                    "one falsifies every sum"
                )
            if sums and self.push.reference and self.volume_is == "trade":
                raise ConfigError(
                    f"{_WHERE}.push.reference: running figures have a reference price, and their volume is that of the "
                    f'day so far; with volume_is = "trade" leave it out: reference = ""'
                )
        if self.push is not None and self.quote is not None and self.push.events == self.quote.events:
            whens = [table.when for table in (self.push, self.quote) if table.when]
            if len(whens) < 2 or whens[0] == whens[1]:
                raise ConfigError(
                    f"{_WHERE}.quote: nothing tells its messages from those of push; give each a when, such as "
                    'when = { type = "quote" }'
                )

    def _check_messages(self) -> None:
        for name in _MESSAGES:
            message = self.template(name)
            if message is None:
                continue
            key = f"{_WHERE}.{name}"
            if name in ("subscribe", "unsubscribe"):
                if {"symbol", "symbols"} <= message.places:
                    raise ConfigError(f"{key}: {{symbols}} is all of them, {{symbol}} one a message; keep one of them")
                if name == "subscribe" and not message.places & {"symbol", "symbols"}:
                    raise ConfigError(
                        f'{key}: it says nowhere what to subscribe to; write "{{symbols}}", or "{{symbol}}" for one a '
                        "message, where they belong"
                    )
            elif message.places & {"symbol", "symbols"}:
                raise ConfigError(f"{key}: there are no symbols in it; take the place out")
        if self.in_address and (self.subscribe or self.unsubscribe):
            raise ConfigError(
                f"{_WHERE}.query: the address says what is subscribed to, and subscribe does, too; keep one of them"
            )

    def _check_places(self) -> None:
        for name, text in self.query.items():
            key = f"{_WHERE}.query.{quote(name, safe='')}"
            if wrong := text_places(text, key) & {"symbol", "id"}:
                raise ConfigError(f"{key}: there is no {{{min(wrong)}}} in an address; write {{symbols}} or {{token}}")
            _check_credential(name, text, key)
        for name, text in self.headers.items():
            key = f"{_WHERE}.headers"
            if not _HEADER_NAME.fullmatch(name):
                raise ConfigError(f"{key}: {name!r} is not the name of a header")
            key = f"{key}.{name}"
            if name.lower() in _OF_THE_HANDSHAKE:
                raise ConfigError(f"{key}: the handshake has this header already, and means something by it")
            if not text.isascii() or not text.isprintable():
                raise ConfigError(f"{key}: a header is one line of printable ASCII characters")
            if text_places(text, key) - {"token"}:
                raise ConfigError(f"{key}: a header can hold {{token}}, and nothing else")
            _check_credential(name, text, key)

    def _check_format(self) -> None:
        key = f"{_WHERE}.symbol_format"
        if bool(self.symbol_format) != bool(self.symbol_example):
            raise ConfigError(f"{key}: it needs symbol_example, an example for the error message; give both, or none")
        if not self.symbol_format:
            return
        try:
            expression = re.compile(self.symbol_format)
        except (re.error, RecursionError, OverflowError) as error:
            raise ConfigError(f"{key}: this is not a regular expression: {error}") from None
        if not expression.fullmatch(self.symbol_example):
            raise ConfigError(f"{key}: {self.symbol_example!r}, the symbol_example, is not of this format")


_MESSAGES: Final = ("subscribe", "unsubscribe", "heartbeat")
_TABLES: Final = ("push", "quote", "ack", "error")


def with_profile(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a ``[source.generic]`` table with what its profile says filled in.

    Parameters
    ----------
    table : mapping
        As it was read. Its own keys count; of a table within it (``push``, ``ack``, ...), key by key.

    Raises
    ------
    ConfigError
        There is no such profile.
    """
    name = table.get("profile")
    if not isinstance(name, str):
        # Missing, or of a type that the conversion has a message for.
        return dict(table)
    if name not in PROFILES:
        raise ConfigError(f"{_WHERE}.profile: there is no profile {name!r}; there are {', '.join(PROFILES)}")
    whole = dict(PROFILES[name])
    for key, value in table.items():
        ready = whole.get(key)
        merge = key in _TABLES and isinstance(value, dict) and isinstance(ready, dict)
        whole[key] = {**ready, **value} if merge and ready is not None else value
    return whole


def generic(profile: str, **keys: Any) -> Generic:
    """Return a profile with some keys of one's own: what ``[source.generic]`` says in a file.

    Raises
    ------
    ConfigError
        There is no such profile, or the keys do not go together.
    """
    return msgspec.convert(with_profile({"profile": profile, **keys}), Generic)


def _check_credential(name: str, text: str, key: str) -> None:
    if is_credential(name) and looks_like_a_token(text):
        raise ConfigError(
            f"{key}: a token does not belong in this file; put it into an environment variable, name that as "
            'token_env, and write "{token}" here'
        )
