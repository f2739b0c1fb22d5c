"""What messages look like, as ``[source.generic]`` says it: the tables within it."""

from __future__ import annotations

import re
from typing import Final, Literal

from msgspec import Struct

from openbell.errors import ConfigError

Value = bool | int | str | list[int | str]
"""What a field of an answer must be: a number, a text, true or false, or one of several."""
Conditions = dict[str, Value]

_WHERE: Final = "source.generic"
_EVENTS: Final = re.compile(r"(?P<path>[^\[\].]*)(?P<many>\[\])?")
# What would have to be escaped in a message; the decoder looks for names as they are.
_NO_NAME: Final = re.compile(r'[\\"\x00-\x1f]')


class Push(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the prices are: a message with one event, or with a list of them, and the names of their fields.

    Attributes
    ----------
    events : str
        Where they are in a message: ``""``, the message is one; ``"data"``, the object there is one; ``"ticks[]"``, the
        list there has them; ``"[]"``, the message is such a list.
    when : dict
        What a message (an event, where the message is one) must have to be one of these: field and value.
    symbol, price : str
        Names of the fields.
    volume, turnover : str
        Names of the fields; see ``volume_is``. Empty, here and below: there is none, or it is not used.
    time : str
        Whole number since the epoch, UTC.
    time_unit : str
        Its unit; ``"auto"``: by its magnitude.
    sequence : str
        Whole number, passed on as it is.
    side : str
        Who was the aggressor.
    side_is : str
        ``"code"``: 1 the buyer, 2 the seller, 0 unknown; ``"buyer_is_maker"``: true if the seller was the aggressor.
    reference : str
        Price to compare with (the close before, the price of 24 hours ago); it becomes ``prev_close``.
    """

    symbol: str
    price: str
    events: str = ""
    when: dict[str, int | str] = {}
    volume: str = ""
    turnover: str = ""
    time: str = ""
    time_unit: Literal["auto", "s", "ms", "us", "ns"] = "auto"
    sequence: str = ""
    side: str = ""
    side_is: Literal["code", "buyer_is_maker"] = "code"
    reference: str = ""

    def __post_init__(self) -> None:
        names = ("symbol", "price", "volume", "turnover", "time", "sequence", "side", "reference")
        _check_fields(self, f"{_WHERE}.push", names, required=("symbol", "price"))

    def at(self) -> tuple[str, bool]:
        """Return the field that holds the events (``""``: the message itself), and whether it is a list of them."""
        return _at(self.events, f"{_WHERE}.push.events")


class Quote(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where best bids and offers are, in messages of their own; as :class:`Push`.

    Attributes
    ----------
    events, when, symbol, time, time_unit, sequence
        As of a `Push`.
    bid, bid_size, ask, ask_size : str
        Names of the fields; the sizes may be empty.
    """

    symbol: str
    bid: str
    ask: str
    events: str = ""
    when: dict[str, int | str] = {}
    bid_size: str = ""
    ask_size: str = ""
    time: str = ""
    time_unit: Literal["auto", "s", "ms", "us", "ns"] = "auto"
    sequence: str = ""

    def __post_init__(self) -> None:
        names = ("symbol", "bid", "bid_size", "ask", "ask_size", "time", "sequence")
        _check_fields(self, f"{_WHERE}.quote", names, required=("symbol", "bid", "ask"))

    def at(self) -> tuple[str, bool]:
        """See `Push.at`."""
        return _at(self.events, f"{_WHERE}.quote.events")


class AckShape(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a request is granted.

    Attributes
    ----------
    when : dict
        Fields of such an answer, and what they are; a field within an object is written with a point.
    id : str
        Field that repeats the request's ``{id}``. Empty: answers come in the order of the requests.
    symbols : str
        Field that lists the symbols it is about. Empty: those of the request.
    refused : str
        Field that lists symbols that were left out.
    """

    when: Conditions
    id: str = ""
    symbols: str = ""
    refused: str = ""

    def __post_init__(self) -> None:
        if not self.when:
            raise ConfigError(
                f'{_WHERE}.ack.when: say how an answer is known, such as when = {{ action = "subscribed" }}'
            )


class ErrorShape(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a request is refused.

    Attributes
    ----------
    when : dict
        As of an `AckShape`.
    unless : dict
        Fields that such an answer has, with any other value than these.
    code, message, id, symbols : str
        Fields with the vendor's number and words for it, the request's ``{id}``, and the symbols that it is about.
    """

    when: Conditions = {}
    unless: Conditions = {}
    code: str = ""
    message: str = ""
    id: str = ""
    symbols: str = ""

    def __post_init__(self) -> None:
        if not self.when and not self.unless:
            raise ConfigError(
                f'{_WHERE}.error.when: say how an error is known, such as when = {{ action = "error" }}, or '
                "unless = { code = 200 }"
            )


def _at(events: str, key: str) -> tuple[str, bool]:
    found = _EVENTS.fullmatch(events)
    if found is None:
        raise ConfigError(
            f'{key}: {events!r} is no place in a message; write "data" for the object there, "data[]" for the list '
            'there, "[]" if the message is a list, or "" if it is the event itself'
        )
    return found["path"], found["many"] is not None


def _check_fields(table: Push | Quote, key: str, names: tuple[str, ...], required: tuple[str, ...]) -> None:
    path, _ = table.at()
    owners: dict[str, str] = {}
    for name in names:
        field = getattr(table, name)
        if not field:
            if name in required:
                raise ConfigError(f"{key}.{name}: this key is required: the name of the field")
            continue
        if _NO_NAME.search(field):
            raise ConfigError(f"{key}.{name}: {field!r} has a quote, a backslash or a control character in it")
        if field in owners:
            raise ConfigError(f"{key}.{name}: {field!r} is the {owners[field]} already; a field is one thing")
        owners[field] = name
    if len(table.when) > 1 and path:
        raise ConfigError(f"{key}.when: one field tells messages with {path!r} apart; keep one")
    for field in (path, *table.when):
        if _NO_NAME.search(field):
            raise ConfigError(f"{key}: {field!r} has a quote, a backslash or a control character in it")
    for field in table.when:
        if field in owners or field == path:
            raise ConfigError(f"{key}.when: {field!r} is the {owners.get(field, 'events')} already")
