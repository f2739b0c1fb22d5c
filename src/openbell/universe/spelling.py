"""How a code is spelled: the suffix of its market, and the zeros before it."""

from __future__ import annotations

import re
from typing import Final

from openbell.config.universe import BY_CODE
from openbell.universe import boards

SUFFIXES: Final = (".HK", ".US", *boards.EXCHANGES)
"""What counts as the suffix of a market; any other point belongs to the code (BRK.B)."""

_HK: Final = re.compile(r"(?P<digits>[0-9]{1,6})(?P<suffix>\.hk)", re.IGNORECASE)


def spell(code: str, suffix: str | None = None, hk_digits: int = 0) -> str | None:
    """Return `code` as the vendor is to get it, or None: nobody can say which exchange it belongs to.

    Parameters
    ----------
    code : str
        As the list has it, such as ``"00700"``, ``"HK.00700"``, ``"sh600519"`` or ``"600519.SS"``.
    suffix : str or None
        ``".HK"``, ``".US"`` or another, put behind a code that has none; ``"by-code"``: ``.SH``, ``.SZ`` or ``.BJ``, by
        what the code says or else by its number; None: nothing is put behind it.
    hk_digits : int
        Digits of a code that ends in ``.HK``, at least; zeros before more than these are taken off. 0: as they are.
    """
    if suffix == BY_CODE:
        code = _by_code(code) or ""
    elif suffix is not None:
        code = _with(code, suffix)
    if hk_digits and (found := _HK.fullmatch(code)):
        code = found["digits"].lstrip("0").rjust(hk_digits, "0") + found["suffix"]
    return code or None


def _by_code(code: str) -> str | None:
    if (parsed := boards.parse(code)) is not None:
        digits, mark = parsed
        listed = mark or boards.exchange(digits)
        return None if listed is None else digits + listed
    # Of another market, and it says so.
    return code if code.upper().endswith(SUFFIXES) else None


def _with(code: str, suffix: str) -> str:
    if code.upper().endswith(suffix.upper()):
        return code[: -len(suffix)] + suffix
    if code.upper().endswith(SUFFIXES):
        return code
    # HK.00700, HK-1288, US.AAPL: the mark before the code; a letter alone is none.
    mark = suffix[1:].upper()
    before = re.fullmatch(rf"{mark}[.:_-](.+)" if mark != "HK" else r"HK[.:_-]?([0-9]+)", code, re.IGNORECASE)
    return (before[1] if before else code) + suffix
