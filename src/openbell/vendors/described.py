"""From a description of messages to the Structs they are decoded as, and the plan that makes records of them.

What comes of it is what a vendor's file would declare by hand; the compiled listener sees no difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec
from msgspec import Struct

from openbell.config.generic import Generic
from openbell.config.shapes import Push, Quote
from openbell.record import Kind
from openbell.vendors.plan import Field, Op, Route

_OPTIONAL_NUMBER: Final[Any] = float | None
_OPTIONAL_WHOLE: Final[Any] = int | None
_OPTIONAL_FLAG: Final[Any] = bool | None


def routes(described: Generic) -> tuple[Route, ...]:
    """Return the routes of the messages that a ``[source.generic]`` table describes."""
    found: list[Route] = []
    if described.push is not None:
        found.append(_push(described.push, running(described)))
    if described.quote is not None:
        found.append(_quote(described.quote))
    marked = [spelling for route in found if route.marker for spelling in _spellings(route)]
    if len(found) == 1:
        # A server may write its keys escaped, or begin with long ones. Where there is nothing to be told apart, a
        # message without the marker is tried as well; the marker is still what makes a bad event known as one.
        marked.append(replace(found[0], name=f"{found[0].name}, unmarked", marker=b""))
    else:
        marked += [route for route in found if not route.marker]
    return tuple(marked)


def running(described: Generic) -> bool:
    """Return whether pushes are running figures of a day, and not trades: their sums are taken as they are."""
    return described.volume_is == "cumulative" or bool(described.push is not None and described.push.reference)


def _push(push: Push, figures: bool) -> Route:
    volume = Field("volume", Op.AMOUNT, target="c") if figures else Field("volume", Op.SIZE, target="b")
    side = Op.SIDE_CODE if push.side_is == "code" else Op.SIDE_BUYER_MAKER
    fields = (
        (push.symbol, str, Field("symbol", Op.SYMBOL)),
        (push.price, float, Field("price", Op.PRICE, target="a")),
        (push.reference, _OPTIONAL_NUMBER, Field("reference", Op.PRICE, target="b")),
        (push.volume, _OPTIONAL_NUMBER, volume),
        (push.turnover, _OPTIONAL_NUMBER, Field("turnover", Op.AMOUNT, target="d" if figures else "c")),
        (push.time, _OPTIONAL_WHOLE, Field("time", Op.TIME, unit=push.time_unit)),
        (push.sequence, _OPTIONAL_WHOLE, Field("sequence", Op.SEQUENCE)),
        (push.side, _OPTIONAL_WHOLE if side is Op.SIDE_CODE else _OPTIONAL_FLAG, Field("side", side)),
    )
    return _route("push", Kind.TICKER if figures else Kind.TRADE, push, fields)


def _quote(quote: Quote) -> Route:
    fields = (
        (quote.symbol, str, Field("symbol", Op.SYMBOL)),
        (quote.bid, _OPTIONAL_NUMBER, Field("bid", Op.PRICE, target="a")),
        (quote.bid_size, _OPTIONAL_NUMBER, Field("bid_size", Op.SIZE, target="b")),
        (quote.ask, _OPTIONAL_NUMBER, Field("ask", Op.PRICE, target="c")),
        (quote.ask_size, _OPTIONAL_NUMBER, Field("ask_size", Op.SIZE, target="d")),
        (quote.time, _OPTIONAL_WHOLE, Field("time", Op.TIME, unit=quote.time_unit)),
        (quote.sequence, _OPTIONAL_WHOLE, Field("sequence", Op.SEQUENCE)),
    )
    return _route("quote", Kind.QUOTE, quote, fields)


def _route(name: str, kind: Kind, table: Push | Quote, fields: Sequence[tuple[str, Any, Field]]) -> Route:
    path, many = table.at()
    used = [(key, annotation, field) for key, annotation, field in fields if key]
    members = [(field.source, annotation, _member(key, annotation)) for key, annotation, field in used]
    # Of the message that has the events, or of the event, where the message is one.
    conditions = [
        (f"when_{number}", type(value), msgspec.field(name=key))
        for number, (key, value) in enumerate(table.when.items())
    ]
    expected = tuple(
        Field(attribute, Op.EXPECT, expect=value)
        for (attribute, _, _), value in zip(conditions, table.when.values(), strict=True)
    )
    event: type[Struct] = msgspec.defstruct(
        f"{name.title()}Event", _required_first([*members, *([] if path else conditions)]), gc=False
    )
    plan = (*(() if path else expected), *(field for _, _, field in used))
    route = Route(name, kind, event, event, "", False, plan)
    if path:
        held: Any = list[event] if many else event  # type: ignore[valid-type]
        members = [("events", held, msgspec.field(name=path)), *conditions]
        frame = msgspec.defstruct(f"{name.title()}Frame", members, gc=False)
        said = (expected[0].source, next(iter(table.when.values()))) if expected else None
        route = replace(route, frame=frame, path="events", many=many, frame_expect=said)
    elif many:
        route = replace(route, frame=list[event], many=True)  # type: ignore[valid-type]
    return replace(route, marker=_marker(table, path))


def _member(key: str, annotation: Any) -> Any:
    required = annotation in (str, float)
    return msgspec.field(name=key) if required else msgspec.field(name=key, default=None)


def _required_first(members: list[tuple[str, Any, Any]]) -> list[tuple[str, Any, Any]]:
    return sorted(members, key=lambda member: member[2].default is not msgspec.NODEFAULT)


def _marker(table: Push | Quote, path: str) -> bytes:
    """Return what only these messages have: the condition that tells them apart, else the key of their events."""
    for key, value in table.when.items():
        return msgspec.json.encode(key) + b":" + msgspec.json.encode(value)
    return msgspec.json.encode(path) + b":" if path else b""


def _spellings(route: Route) -> list[Route]:
    """Return the route, and where a value is in its marker, the same for servers that write a space before it."""
    head, colon, value = route.marker.partition(b":")
    if not value:
        return [route]
    return [route, replace(route, name=f"{route.name}, spaced", marker=head + colon + b" " + value)]
