"""The ``[source.universe]`` table: where the list of symbols comes from, and what is left out of it."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from openbell.config.checks import check_list_url, check_token_places, is_loopback, read_token
from openbell.errors import ConfigError
from openbell.secret import Secret

Format = Literal["auto", "text", "csv", "json"]
Board = Literal["sh-main", "star", "sz-main", "chinext", "bj"]
Wanted = dict[str, tuple[str | int | float | bool, ...]]

BY_CODE: Final = "by-code"
"""The ``suffix`` that depends on the code: ``.SH``, ``.SZ`` or ``.BJ``."""

_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OF_HTTP: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})
_SECOND_MINUTES: Final = 1 / 60


class Universe(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the list of symbols comes from, and what is left out of it.

    Attributes
    ----------
    format : str
        What the file or the address holds: ``"text"``, ``"csv"`` or ``"json"``; ``"auto"``: by the content type of the
        answer, or the ending of the name.
    field : str or None
        Where the codes are: a path in the JSON, such as ``"data.list[].code"``, or the title of the CSV column.
    encoding : str
        Of text and CSV; ``"auto"``: as the server says, else UTF-8.
    token_env, token_file : str or None
        Where the token is that the address wants; the vendor's own is never sent there.
    token_header, token_format : str
        Which header carries it, and how: ``{token}`` stands for it.
    insecure : bool
        Allow ``http://`` to another machine.
    timeout_s : float
        Most time for fetching the list, in seconds, from looking up the host's name to the last byte.
    max_bytes : int
        A larger list is refused.
    refresh_minutes : float
        How often the list is read again while the feed runs; 0: never.
    max_shrink : float
        Share of the symbols that may vanish at one refresh, 0 to 1; a list that loses more is not believed.
    keep, leave_out : dict of str to tuple
        Fields of an entry, and values of them: entries with none of the first, or any of the second, are left out.
    match, exclude : str or None
        Regular expressions, found anywhere in a symbol: the first must be, the second must not.
    boards : tuple of str
        Boards of the A-share market that are wanted, by code; none: all there are.
    suffix : str or None
        Put behind codes that have none, such as ``".HK"``; ``"by-code"``: ``.SH``, ``.SZ`` or ``.BJ``.
    hk_digits : int
        Digits of a Hong Kong code at least: 1: ``700.HK``; 5: ``00700.HK``; 0: as it comes.
    faulty : str
        What becomes of a symbol that the vendor cannot know: ``"refuse"`` the list, ``"leave_out"`` the symbol, or
        ``"ask"`` for it all the same.
    """

    format: Format = "auto"
    field: str | None = None
    encoding: str = "auto"
    token_env: str | None = None
    token_file: str | None = None
    token_header: str = "Authorization"
    token_format: str = "Bearer {token}"
    insecure: bool = False
    timeout_s: Annotated[float, Meta(gt=0, le=600)] = 20.0
    max_bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] = 16 << 20
    refresh_minutes: Annotated[float, Meta(ge=0, le=10080)] = 0.0
    max_shrink: Annotated[float, Meta(ge=0, le=1)] = 0.5
    keep: Wanted = msgspec.field(default_factory=dict)
    leave_out: Wanted = msgspec.field(default_factory=dict)
    match: str | None = None
    exclude: str | None = None
    boards: tuple[Board, ...] = ()
    suffix: str | None = None
    hk_digits: Annotated[int, Meta(ge=0, le=6)] = 0
    faulty: Literal["refuse", "leave_out", "ask"] = "refuse"

    def __post_init__(self) -> None:
        for key, pattern in (("match", self.match), ("exclude", self.exclude)):
            try:
                re.compile(pattern or "")
            except re.error as error:
                raise ConfigError(f"source.universe.{key}: {pattern!r} is not a regular expression: {error}") from None
        if self.suffix is not None and self.suffix != BY_CODE and not _SUFFIX.fullmatch(self.suffix):
            raise ConfigError(
                f'source.universe.suffix: {self.suffix!r} is no suffix; write one such as ".HK" or ".US", or '
                f'"{BY_CODE}" for ".SH", ".SZ" and ".BJ"'
            )
        try:
            known = self.encoding == "auto" or "".encode(self.encoding) is not None
        except (LookupError, ValueError):
            known = False
        if not known:
            raise ConfigError(
                f'source.universe.encoding: {self.encoding!r} is no encoding; write one such as "utf-8" or "gb18030"'
            )
        if self.field is not None and not self.field.strip():
            raise ConfigError(
                'source.universe.field: it is empty; write a path such as "data.list[].code", or the title of a column'
            )
        check_token_places("source.universe", self.token_env, self.token_file)
        if not _HEADER_NAME.fullmatch(self.token_header):
            raise ConfigError(f"source.universe.token_header: {self.token_header!r} is not the name of a header")
        if self.token_header.lower() in _OF_HTTP:
            raise ConfigError(
                f"source.universe.token_header: {self.token_header!r} has a meaning of its own; name the header in "
                'which the address wants its token, such as "X-Api-Key"'
            )
        whole = self.token_format.isascii() and self.token_format.isprintable()
        if self.token_format.count("{token}") != 1 or not whole:
            # Not shown: a token is sometimes written here by mistake.
            raise ConfigError(
                'source.universe.token_format: {token} must stand in it once, as in "Bearer {token}", among printable '
                "ASCII; the token itself never does"
            )

    def check_url(self, url: str) -> None:
        """Refuse an address of a list that cannot be used.

        Raises
        ------
        ConfigError
            It is none, carries a credential, would send a token in the clear, or is asked for all the time.
        """
        check_list_url(url, self.insecure)
        if 0 < self.refresh_minutes < _SECOND_MINUTES * 10 and not is_loopback(urlsplit(url).hostname):
            raise ConfigError(
                "source.universe.refresh_minutes: somebody else's address is not asked more often than every 10 s; "
                "write 0.2 or more"
            )

    def token(self) -> Secret | None:
        """Read the token of the list's address from where the configuration says it is; None if it wants none.

        Raises
        ------
        ConfigError
            The variable is not set, the file cannot be read, or it holds no token.
        """
        return read_token("source.universe", self.token_env, self.token_file)
