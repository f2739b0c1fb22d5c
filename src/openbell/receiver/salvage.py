"""A route as the slow path sees it: which documents are its own, and what exactly is wrong with a bad event.

Where the compiled listener decodes a whole frame in one go, this takes it apart: the frame only down to its events,
an event only down to its fields, each kept as :class:`msgspec.Raw` until it is decoded alone. So one bad event does
not cost its neighbours, and the field to blame is found by trying, not by reading an error's text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, UNSET, Raw, UnsetType

from openbell.reasons import Reason
from openbell.vendors.plan import Field, Op, Route

# A frame that goes on for thousands of levels ends a decoder by recursion, not by a msgspec error.
UNDECODABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_NUMBER = re.compile(rb'"?(-?[0-9]+)(\.[0-9]+)?([eE][+-]?[0-9]+)?"?')

_MISSING: Final = {
    Op.SYMBOL: Reason.SYMBOL_MISSING,
    Op.PRICE: Reason.PRICE_MISSING,
    Op.SIZE: Reason.SIZE_MISSING,
    Op.AMOUNT: Reason.AMOUNT_WRONG_TYPE,
    Op.SEQUENCE: Reason.SEQUENCE_WRONG_TYPE,
    Op.TIME: Reason.TIME_WRONG_TYPE,
    Op.SIDE_CODE: Reason.SIDE_WRONG_TYPE,
    Op.SIDE_BUYER_MAKER: Reason.SIDE_WRONG_TYPE,
    Op.EXPECT: Reason.UNKNOWN_MESSAGE,
    Op.KEEP_IF: Reason.UNKNOWN_MESSAGE,
    Op.BIDS: Reason.WRONG_SHAPE,
    Op.ASKS: Reason.WRONG_SHAPE,
}
_WRONG_TYPE: Final = {
    **_MISSING,
    Op.SYMBOL: Reason.SYMBOL_WRONG_TYPE,
    Op.PRICE: Reason.PRICE_WRONG_TYPE,
    Op.SIZE: Reason.SIZE_WRONG_TYPE,
}
_NOT_FINITE: Final = {
    Op.PRICE: Reason.PRICE_NOT_FINITE,
    Op.SIZE: Reason.SIZE_NOT_FINITE,
    Op.AMOUNT: Reason.AMOUNT_NOT_FINITE,
}
_OUT_OF_RANGE: Final = {Op.SEQUENCE: Reason.SEQUENCE_OUT_OF_RANGE, Op.TIME: Reason.TIME_OUT_OF_RANGE}


class Fit(IntEnum):
    """How well an event fits a route, judged by its discriminating fields alone."""

    NO = 0
    MAYBE = 1
    YES = 2


@dataclass(frozen=True, slots=True)
class _Member:
    """One attribute of a Struct: its probe's attribute is the same, its decoder takes the value alone."""

    name: str
    decoder: msgspec.json.Decoder[Any]
    required: bool
    nullable: bool
    default: Any
    levels: tuple[tuple[Op, _Member], ...] = ()
    level_probe: msgspec.json.Decoder[Any] | None = None

    def decode(self, raw: Raw | UnsetType) -> Any:
        return self.default if raw is UNSET else self.decoder.decode(raw)


class SlowRoute:
    """One route of a plan, prepared for taking frames apart.

    Parameters
    ----------
    index : int
        Place of the route in the plan.
    route : Route
        The declaration.
    """

    def __init__(self, index: int, route: Route) -> None:
        self.index = index
        self.route = route
        expected = {route.frame_expect[0]} if route.frame_expect else set()
        # Such a frame is given to us element by element.
        self.array = get_origin(route.frame) is list
        frame = route.event if self.array else route.frame
        self._frame_members = _members(frame, expected)
        self._frame_probe = _probe(frame, expected | ({route.path} if route.path else set()))
        self._event = msgspec.json.Decoder(route.event, strict=False)
        self._members = _members(route.event, {field.source for field in route.fields})
        for field in route.fields:
            if field.op in (Op.BIDS, Op.ASKS):
                self._members[field.source] = _with_levels(self._members[field.source], route.event, field)
        self._event_probe = _probe(route.event, set(self._members))
        self._discriminators = [field for field in route.fields if field.op is Op.EXPECT]

    def events(self, document: Raw | bytes) -> list[Raw | bytes] | None:
        """Return the undecoded events of a document, or None if it is not of this route.

        A list where one event was declared, or one event where a list was, is taken as it is: the vendor means it.
        """
        try:
            frame = self._frame_probe.decode(document)
        except UNDECODABLE:
            return None
        if self.route.frame_expect is not None:
            name, value = self.route.frame_expect
            try:
                if self._frame_members[name].decode(getattr(frame, name)) != value:
                    return None
            except UNDECODABLE:
                return None
        if not self.route.path:
            return [document]
        raw = getattr(frame, self.route.path)
        if raw is UNSET:
            return None
        return elements(raw) if bytes(raw).lstrip().startswith(b"[") else [raw]

    def hinted(self, text: bytes) -> bool:
        """Return whether a document has the marker of this route, wherever it is."""
        return bool(self.route.marker) and self.route.marker in text

    def fit(self, event: Raw | bytes, *, hinted: bool) -> Fit:
        """Judge whether `event` is of this route.

        Parameters
        ----------
        event : bytes-like
            One undecoded event.
        hinted : bool
            Whether the document around it has the route's marker.

        Returns
        -------
        Fit
            YES if a field or the marker says so, MAYBE by its general shape, NO if a field denies it.
        """
        said = hinted or self.route.frame_expect is not None
        probe = self._probed(event)
        if probe is None:
            # No object at all: whose it is was said by the frame, if by anything.
            return Fit.YES if said else Fit.NO
        for field in self._discriminators:
            raw = getattr(probe, field.source)
            if raw is UNSET and hinted:
                continue
            try:
                if self._members[field.source].decode(raw) != field.expect:
                    return Fit.NO
            except UNDECODABLE:
                return Fit.NO
            said = said or raw is not UNSET
        if said:
            return Fit.YES
        present = sum(getattr(probe, name) is not UNSET for name in self._members)
        return Fit.MAYBE if 2 * present >= len(self._members) else Fit.NO

    def decode(self, event: Raw | bytes) -> msgspec.Struct | Reason:
        """Return `event` decoded, or the exact reason why it cannot be."""
        try:
            decoded: msgspec.Struct = self._event.decode(event)
        except UNDECODABLE as error:
            return self._blame(event, error)
        return decoded

    def _probed(self, event: Raw | bytes) -> Any:
        try:
            return self._event_probe.decode(event)
        except UNDECODABLE:
            return None

    def _blame(self, event: Raw | bytes, error: Exception) -> Reason:
        """Find the first field, in the plan's order, that cannot be decoded."""
        if isinstance(error, RecursionError):
            return Reason.TOO_DEEP
        probe = self._probed(event)
        if probe is not None:
            for field in self.route.fields:
                reason = _fault(field.op, self._members[field.source], getattr(probe, field.source))
                if reason is not None:
                    return reason
        return Reason.NOT_UTF8 if isinstance(error, UnicodeDecodeError) else Reason.WRONG_SHAPE


def elements(array: Raw | bytes) -> list[Raw | bytes] | None:
    """Return the undecoded elements of a JSON array, or None if it is none."""
    try:
        return list(_ARRAY.decode(array))
    except UNDECODABLE:
        return None


def _fault(op: Op, member: _Member, raw: Raw | UnsetType) -> Reason | None:
    if raw is UNSET:
        return _MISSING[op] if member.required else None
    text = bytes(raw).strip()
    if text == b"null":
        return None if member.nullable else _MISSING[op]
    if member.level_probe is not None:
        return _book_fault(member, text)
    try:
        member.decoder.decode(text)
    except UnicodeDecodeError:
        return Reason.NOT_UTF8
    except UNDECODABLE:
        number = _NUMBER.fullmatch(text)
        if number is not None and (reason := _NOT_FINITE.get(op)) is not None:
            # A decimal number that no float can hold.
            return reason
        if number is not None and (reason := _OUT_OF_RANGE.get(op)) is not None and not number[2]:
            return reason
        return _WRONG_TYPE[op]
    return None


def _book_fault(member: _Member, text: bytes) -> Reason | None:
    """Find the first value of the first level that cannot be decoded."""
    levels = elements(text)
    if levels is None:
        return Reason.WRONG_SHAPE
    assert member.level_probe is not None
    for level in levels:
        try:
            probe = member.level_probe.decode(level)
        except UNDECODABLE:
            return Reason.WRONG_SHAPE
        for op, value in member.levels:
            if (reason := _fault(op, value, getattr(probe, value.name))) is not None:
                return reason
    return None


def _with_levels(member: _Member, event: type[msgspec.Struct], field: Field) -> _Member:
    """Return a member that is one side of a book, with what its levels hold."""
    (declared,) = (info.type for info in msgspec.structs.fields(event) if info.name == field.source)
    (side,) = (each for each in (declared, *get_args(declared)) if get_origin(each) is list)
    (level,) = get_args(side)
    found = _members(level, set(field.level))
    price, size = field.level
    values = ((Op.PRICE, found[price]), (Op.SIZE, found[size]))
    return replace(member, levels=values, level_probe=_probe(level, set(field.level)))


def _members(kind: type[msgspec.Struct], names: set[str]) -> dict[str, _Member]:
    found = {}
    for info in msgspec.structs.fields(kind):
        if info.name not in names:
            continue
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(info.type, strict=False)
        default = None if info.default is NODEFAULT else info.default
        try:
            # Only the JSON null counts: a lax decoder would take the text "null" too.
            msgspec.json.Decoder(info.type).decode(b"null")
            nullable = True
        except msgspec.ValidationError:
            nullable = False
        found[info.name] = _Member(info.name, decoder, info.required, nullable, default)
    return found


def _probe(kind: type[msgspec.Struct], names: set[str]) -> msgspec.json.Decoder[Any]:
    """Return a decoder to a Struct with the same keys, each value left undecoded and optional."""
    fields = [
        (info.name, Raw | UnsetType, msgspec.field(default=UNSET, name=info.encode_name))
        for info in msgspec.structs.fields(kind)
        if info.name in names
    ]
    return msgspec.json.Decoder(msgspec.defstruct(f"{kind.__name__}Probe", fields))


_ARRAY: Final = msgspec.json.Decoder(list[Raw])
