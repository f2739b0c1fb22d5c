"""Paths into a JSON document: ``data.list[].code``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from openbell.errors import ConfigError

_STEP: Final = re.compile(r"(?P<key>[^\[\].]*)(?P<lists>(?:\[\])*)")
_SHOWN: Final = 8

ABSENT: Final = object()
"""What `dig` returns where there is nothing."""


class Path:
    """A path to the codes of a list.

    Parameters
    ----------
    text : str
        Keys with points between them; ``[]`` stands behind what is a list. A path that has none leads to the list
        itself. ``[].code`` begins in a list.

    Raises
    ------
    ConfigError
        It is no such path.
    """

    def __init__(self, text: str) -> None:
        text = text.removeprefix("$").removeprefix(".")
        steps = text.split(".") if text else [""]
        found = [_STEP.fullmatch(step) for step in steps]
        if not all(found) or any(not step for step in steps[1:]):
            raise ConfigError(
                f'source.universe.field: {text!r} is no path; write one such as "data.list[].code", with [] behind '
                "what is a list"
            )
        parsed: list[str] = []
        for each in found:
            assert each is not None
            parsed += [each["key"]] if each["key"] else []
            parsed += ["[]"] * (len(each["lists"]) // 2)
        if "[]" not in parsed:
            parsed.append("[]")
        last = len(parsed) - 1 - parsed[::-1].index("[]")
        self._to_entries = parsed[: last + 1]
        self._to_code = parsed[last + 1 :]
        self.name = ".".join(self._to_code)

    def entries(self, document: Any) -> list[Any]:
        """Return the entries of the list, or lists, that the path leads through.

        Raises
        ------
        ConfigError
            The path leads nowhere; the message says how far it goes, and what there is.
        """
        return list(_expand(document, self._to_entries, ""))

    def code(self, entry: Any) -> Any:
        """Return what the path finds in one entry, `ABSENT` if nothing."""
        return dig(entry, self._to_code)


def dig(value: Any, keys: list[str]) -> Any:
    """Return what is in `value` under `keys`, one in the other; `ABSENT` if nothing."""
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            return ABSENT
        value = value[key]
    return value


def kind_of(value: Any) -> str:
    """Return what a value is, in JSON's words."""
    if value is None:
        return "null"
    for kind, word in ((bool, "true or false"), (str, "a text"), (int | float, "a number"), (list, "a list")):
        if isinstance(value, kind):
            return word
    return "an object"


def choices(wanted: str, there: list[str]) -> str:
    """Return a hint: the one of `there` that was probably meant, or what there is."""
    if near := difflib.get_close_matches(wanted.casefold(), [each.casefold() for each in there], n=1, cutoff=0.6):
        return f"did you mean {next(each for each in there if each.casefold() == near[0])!r}?"
    more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
    return f"there are {', '.join(map(repr, there[:_SHOWN]))}{more}" if there else "there is nothing"


def _expand(value: Any, steps: list[str], at: str) -> Iterator[Any]:
    if not steps:
        yield value
        return
    step, rest = steps[0], steps[1:]
    here = at or "the document"
    if step == "[]":
        if not isinstance(value, list):
            hint = f"; {choices('list', list(value))}" if isinstance(value, Mapping) else ""
            raise ConfigError(f"{here} is {kind_of(value)}, not a list{hint}; correct source.universe.field")
        for number, each in enumerate(value):
            yield from _expand(each, rest, f"{at}[{number}]")
        return
    if not isinstance(value, Mapping):
        hint = f"; write {at}[].{step}" if isinstance(value, list) else ""
        raise ConfigError(f"{here} is {kind_of(value)}, and has no {step!r}{hint}; correct source.universe.field")
    if step not in value:
        raise ConfigError(f"{here} has no {step!r}; {choices(step, list(value))}; correct source.universe.field")
    yield from _expand(value[step], rest, f"{at}.{step}" if at else step)
