"""What a list of symbols says: text, CSV or JSON, from a file or an address."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from openbell.config.universe import Universe
from openbell.errors import ConfigError
from openbell.printable import word
from openbell.universe.paths import ABSENT, Path, choices, dig, kind_of

# The usual titles of a symbol column; a first cell that is one of them is no symbol.
_TITLES: Final = frozenset({"symbol", "symbols", "code", "codes", "ticker", "ts_code", "instrument", "name"})
_FORMATS: Final = {
    **{".json": "json", ".csv": "csv", ".txt": "text", ".lst": "text"},
    **{"application/json": "json", "text/json": "json", "text/csv": "csv", "application/csv": "csv"},
}
_SEPARATORS: Final = ",\t;|"
# What begins JSON, or a web page, and no code.
_NO_LIST: Final = ("{", "[", "<")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line, row or object of a list.

    Attributes
    ----------
    code : str
        The code, as the list has it; empty: the entry has none.
    lookup : callable or None
        Returns what the entry holds under a name (`ABSENT`: nothing); None: it has no fields.
    names : tuple of str
        Names of its fields, for messages.
    """

    code: str
    lookup: Callable[[str], Any] | None = None
    names: tuple[str, ...] = ()


def read(body: bytes, name: str, universe: Universe, content_type: str = "", charset: str = "") -> list[Entry]:
    """Return the entries of a list.

    Parameters
    ----------
    body : bytes
        What the file or the address holds.
    name : str
        Its path or address; its ending says what it is where nothing else does.
    universe : Universe
        What the configuration says: `format`, `field`, `encoding`.
    content_type, charset : str
        What the server says; empty: nothing.

    Raises
    ------
    ConfigError
        It cannot be read like that; the message says what was found, and what to do.
    """
    kind = universe.format if universe.format != "auto" else _kind(name, content_type)
    if kind == "json":
        return _json(body, universe.field)
    # What somebody wrote down counts: many a server says utf-8 of everything.
    encoding = universe.encoding if universe.encoding != "auto" else charset or "utf-8"
    try:
        # A byte order mark is no part of the first code.
        text = body.decode(encoding).removeprefix("\ufeff")
    except (ValueError, LookupError):
        raise ConfigError(
            f'this is not {word(encoding)} text; say what it is, such as source.universe.encoding = "gb18030"'
        ) from None
    if kind == "csv":
        return _csv(text, universe)
    return _text(text)


def _kind(name: str, content_type: str) -> str:
    """Return what a list without a `format` is: by the server's word, else by the ending of its name, else text."""
    if content_type in _FORMATS:
        return _FORMATS[content_type]
    if content_type in ("text/html", "application/xhtml+xml"):
        raise ConfigError("a web page came, not a list: a sign-in, or an error page? Look at the address in a browser")
    path = urlsplit(name).path if "://" in name else name
    return _FORMATS.get(PurePosixPath(path).suffix.lower(), "text")


def _text(text: str) -> list[Entry]:
    if text.lstrip()[:1] in _NO_LIST:
        raise ConfigError(
            f"it begins with {text.lstrip()[0]!r} and is no text with a code a line; say what it is: "
            'source.universe.format = "json" or "csv"'
        )
    codes = (line.partition("#")[0].strip() for line in text.splitlines())
    return [Entry(code) for code in codes if code]


def _csv(text: str, universe: Universe) -> list[Entry]:
    if text.lstrip()[:1] in _NO_LIST:
        raise ConfigError(
            f"it begins with {text.lstrip()[0]!r} and is no CSV; look at it, and at source.universe.format"
        )
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    # Spreadsheets separate by what their country does not need for numbers.
    separator = max(_SEPARATORS, key=first.count)
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=separator) if row]
    except csv.Error as error:
        raise ConfigError(f"this is not CSV: {error}") from None
    if not rows:
        return []
    titles, column = rows[0], 0
    if universe.field is not None:
        folded = [title.casefold() for title in titles]
        if universe.field.casefold() not in folded:
            raise ConfigError(
                f"no column has the title {universe.field!r}; {choices(universe.field, titles)}; correct "
                "source.universe.field"
            )
        column = folded.index(universe.field.casefold())
    elif titles[0].casefold() not in _TITLES:
        # Without a title nothing has a name: it is a bare list.
        return [Entry(row[0]) for row in rows if row[0] and not row[0].startswith("#")]
    return [_row(row, column, titles) for row in rows[1:] if any(row) and not row[0].startswith("#")]


def _row(row: list[str], column: int, titles: list[str]) -> Entry:
    cells = dict(zip(titles, row, strict=False))
    code = row[column] if column < len(row) else ""
    return Entry(code, lambda name: cells.get(name, ABSENT), tuple(titles))


def _json(body: bytes, field: str | None) -> list[Entry]:
    try:
        document = msgspec.json.decode(body.removeprefix(codecs.BOM_UTF8))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"this is not JSON: {error}") from None
    except RecursionError:
        raise ConfigError("this is not JSON that can be read: it is nested too deeply") from None
    plain = isinstance(document, list) and not any(isinstance(each, Mapping | list) for each in document)
    if field is None and not plain:
        raise ConfigError(
            f"it is {kind_of(document)}{_inside(document)}; say where the codes are, such as source.universe.field "
            '= "data.list[].code"'
        )
    path = Path(field or "[]")
    entries = [_object(path, entry, number) for number, entry in enumerate(path.entries(document))]
    if entries and not any(entry.code for entry in entries):
        names = list(entries[0].names)
        raise ConfigError(
            f"no entry of the list has {path.name!r}; {choices(path.name, names)}; correct source.universe.field"
        )
    return entries


def _object(path: Path, entry: Any, number: int) -> Entry:
    code = path.code(entry)
    if code is ABSENT or code is None:
        code = ""
    if isinstance(code, int) and not isinstance(code, bool):
        code = str(code)
    if not isinstance(code, str):
        raise ConfigError(
            f"entry {number} of the list: {path.name or 'it'} is {kind_of(code)}, not a code; correct "
            "source.universe.field"
        )
    if not isinstance(entry, Mapping):
        return Entry(code.strip())
    return Entry(code.strip(), lambda name: dig(entry, name.split(".")), tuple(entry))


def _inside(document: Any) -> str:
    if isinstance(document, Mapping):
        return f" with {', '.join(map(repr, list(document)[:8]))}"
    if isinstance(document, list) and document and isinstance(document[0], Mapping):
        return f" of objects with {', '.join(map(repr, list(document[0])[:8]))}"
    return ""
