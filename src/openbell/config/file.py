"""Reading ``feed.toml``: from a file to a :class:`~openbell.config.Config`, with errors a person can act on."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec import Struct

from openbell.config.checks import is_credential, place
from openbell.config.feed import Feed
from openbell.config.generic import with_profile
from openbell.config.source import Source
from openbell.config.universe import Universe
from openbell.config.whole import Config
from openbell.errors import ConfigError, VendorError
from openbell.universe.gathering import gather
from openbell.universe.narrowing import Selection

_EXPECTED = re.compile(r"Expected `(?P<wanted>[^`]*)`(?P<bound> [<>]=? \S+)?(?:, got `(?P<got>[^`]*)`)?")
_WHERE = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text in quotes",
    "bool": "true or false",
    "array": 'a list, such as ["a", "b"]',
    "object": "a table",
    "null": "nothing",
}


@dataclass(slots=True)
class Account:
    """What reading a file gave cause to say.

    Attributes
    ----------
    notes : list of str
        For the user; no errors.
    listed : list of tuple of str
        What each source's own table lists.
    selections : list of Selection
        What became of the lists of each source.
    """

    notes: list[str] = field(default_factory=list)
    listed: list[tuple[str, ...]] = field(default_factory=list)
    selections: list[Selection] = field(default_factory=list)


def read(file: Path) -> Config:
    """Do what :func:`openbell.config.load` promises."""
    return read_with_account(file)[0]


def read_with_account(file: Path) -> tuple[Config, Account]:
    """Do the same, and say what was left out, and why."""
    account = Account()
    try:
        return _build(_parse(file), file.parent.resolve(), account), account
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def _parse(file: Path) -> dict[str, Any]:
    text = _read(file)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"this is not TOML: {error}") from None
    except RecursionError:
        raise ConfigError("this is not TOML that can be read: it is nested too deeply") from None
    except ValueError:
        # The reader lets a number through that is too long for Python.
        raise ConfigError("this is not TOML that can be read: it has a number of thousands of digits") from None


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError("there is no such file") from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or 'input/output error'}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8 text (byte {error.start})") from None
    except ValueError:
        raise ConfigError("is not the name of a file") from None


def _build(tree: dict[str, Any], directory: Path, account: Account) -> Config:
    _check_keys(tree, {"feed", "source"}, "")
    feed = tree.get("feed")
    if feed is None:
        raise ConfigError('feed: the table is missing; begin with [feed] and name = "..."')
    sources = tree.get("source")
    if sources is None:
        raise ConfigError('source: the table is missing; add [[source]] and vendor = "..."')
    tables = sources if isinstance(sources, list) else [sources]
    _check_table("feed", feed, Feed, Source)
    # The sources first: whoever misspells a vendor's key reads of that, not of receivers without a connection.
    made = [_source(table, directory, account, place(number, len(tables))) for number, table in enumerate(tables, 1)]
    return Config(
        feed=_convert(feed, Feed, "feed"),
        sources=tuple(made),
        notes=tuple(account.notes),
        listed=tuple(account.listed),
    )


def _source(table: Any, directory: Path, account: Account, where: str) -> Source:
    try:
        _check_table("source", table, Source, Feed)
        completed, selection = _complete(table, directory, account)
        source: Source = _convert(completed, Source, "source")
        # Of vendors this package knows nothing but where to ask.
        from openbell.vendors.settling import settle

        source, unknown = settle(source)
    except (ConfigError, VendorError) as error:
        raise ConfigError(f"{where}{error}") from None
    if selection is not None:
        if unknown.count:
            selection.left_out["that the vendor cannot know"] = unknown
        account.selections.append(selection)
        account.notes += [f"{where}{note}" for note in _notes(selection, len(source.symbols))]
    return source


def _notes(selection: Selection, left: int) -> Iterator[str]:
    if dropped := selection.repeated.count:
        yield f"source.symbols: {dropped} duplicate{'s' * (dropped > 1)} dropped, {left} symbols left"
    if selection.left_out:
        yield f"source.universe: of {selection.entries:,} symbols left out: {selection.reasons}"


def _check_table(name: str, table: Any, kind: type[Struct], other: type[Struct] | None = None) -> None:
    if not isinstance(table, dict):
        raise ConfigError(f"{name}: must be a table; write [{name}] on a line of its own")
    _check_keys(table, set(kind.__struct_fields__), name, set(other.__struct_fields__) if other is not None else ())
    for info in msgspec.structs.fields(kind):
        if info.name in table and (inner := _table_kind(info.type)) is not None:
            _check_table(f"{name}.{info.name}", table[info.name], inner)


def _table_kind(annotation: Any) -> type[Struct] | None:
    """Return the Struct that a key's value is, if it is a table; also of one that is optional."""
    for each in (annotation, *get_args(annotation)):
        if isinstance(each, type) and issubclass(each, Struct):
            return each
    return None


def _check_keys(table: Mapping[str, Any], known: set[str], where: str, elsewhere: Iterable[str] = ()) -> None:
    """Refuse keys nobody reads, and say which one was probably meant."""
    for key in table:
        if key in known:
            continue
        named = f"{where}.{key}" if where else key
        if where.startswith("source") and is_credential(key):
            raise ConfigError(
                f"{named}: a token does not belong in this file; put it into an environment variable and name that "
                'here: token_env = "MY_TOKEN" (or keep it in a file of its own: token_file = "...")'
            )
        if key in elsewhere:
            other = "source" if where == "feed" else "feed"
            raise ConfigError(f"{named}: this key belongs in the [{other}] table")
        near = difflib.get_close_matches(key.lower(), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(sorted(known))}"
        raise ConfigError(f"{named}: there is no such key; {hint}")


def _complete(table: dict[str, Any], directory: Path, account: Account) -> tuple[dict[str, Any], Selection | None]:
    """Resolve what the table refers to: files beside the configuration, and the symbols in them and at addresses."""
    source = dict(table)
    if isinstance(described := source.get("generic"), dict):
        source["generic"] = with_profile(described)
    for key in ("token_file", "symbols_file"):
        if isinstance(file := source.get(key), str):
            source[key] = str(_beside(directory, file, key))
    if source.get("connections") == "auto":
        source["connections"] = 0
    for name, key in (("universe", "token_file"), ("network", "ca_file")):
        if isinstance(file := source.get(name, {}).get(key), str):
            source[name] = source[name] | {key: str(_beside(directory, file, f"{name}.{key}"))}
    symbols, named = source.get("symbols", []), (source.get("symbols_file"), source.get("symbols_url"))
    lists = isinstance(symbols, list) and all(isinstance(symbol, str) for symbol in symbols)
    if not lists or not all(isinstance(text, str | None) for text in (*named, source.get("prefix"))):
        # The conversion says it better, and with the place.
        return source, None
    universe = _convert(source.get("universe", {}), Universe, "source.universe")
    account.listed.append(tuple(symbols))
    selection = gather(symbols, *named, universe, source.get("prefix", ""))
    return source | {"symbols": selection.symbols}, selection


def _beside(directory: Path, name: str, key: str) -> Path:
    """Return the path of a file named by the configuration in `directory`."""
    if "\x00" in name:
        raise ConfigError(f"source.{key}: {name!r} contains a NUL character and names no file")
    try:
        return directory / Path(name).expanduser()
    except RuntimeError:
        raise ConfigError(f"source.{key}: {name!r}: there is no such user, or no home directory") from None


def _convert(table: dict[str, Any], kind: Any, name: str) -> Any:
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(str(error), name, kind)) from None


def _explain(message: str, name: str, kind: Any) -> str:
    """Turn msgspec's message into one for the author of the file; it never contains a value of theirs but a choice."""
    where = name
    if place := _WHERE.search(message):
        path = re.sub(r"^\[\.\.\.\]|\.$", "", place["path"])
        where = f"{name}.{path}"
        message = message[: place.start()]
    if missing := re.match(r"Object missing required field `([^`]*)`", message):
        return f"{where}.{missing[1]}: this key is required"
    if expected := _EXPECTED.match(message):
        kinds = [_WORDS.get(kind.strip(), kind.strip()) for kind in expected["wanted"].split("|")]
        wanted = " or ".join(word for word in kinds if word != "nothing" or len(kinds) == 1)
        if expected["bound"]:
            return f"{where}: must be {wanted}{expected['bound']}"
        got = _WORDS.get(expected["got"] or "", expected["got"] or "something else")
        return f"{where}: must be {wanted}, not {got}"
    if choice := re.match(r"Invalid enum value '(.*)'$", message):
        choices = _choices(_annotation(kind, re.sub(r"\[[^]]*\]", "", where.removeprefix(name)).strip(".").split(".")))
        near = difflib.get_close_matches(choice[1].lower(), choices, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{where}: {choice[1]!r} is none of {', '.join(map(repr, choices))}{hint}"
    return f"{where}: {message}"


def _annotation(kind: Any, path: list[str]) -> Any:
    """Return the type of what a path of keys leads to, through the tables within a table."""
    for key in path:
        within = _table_kind(kind)
        if within is None:
            return kind
        kind = next((info.type for info in msgspec.structs.fields(within) if info.name == key), None)
    return kind


def _choices(kind: Any) -> list[str]:
    """Return the texts of a Literal, also of one that is optional."""
    return [
        each
        for part in get_args(kind)
        for each in ((part,) if isinstance(part, str) else get_args(part))
        if isinstance(each, str)
    ]
