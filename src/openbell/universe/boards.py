"""Where an A-share is listed, by its six digits.

Sources: the code allocation rules of the Shanghai, Shenzhen and Beijing exchanges. A number says the exchange only
among shares: 000001 is a bank in Shenzhen and, with ``.SH`` behind it, Shanghai's index. What a code says of itself
counts more than its number.
"""

from __future__ import annotations

import re
from typing import Final

EXCHANGES: Final = (".SH", ".SZ", ".BJ")

# Other people's marks of the three exchanges, behind the code (Yahoo, ISO 10383) or before it (Sina, BaoStock,
# TradingView).
_BEHIND: Final = {
    **{"sh": ".SH", "ss": ".SH", "sse": ".SH", "shse": ".SH", "xshg": ".SH"},
    **{"sz": ".SZ", "szse": ".SZ", "xshe": ".SZ"},
    **{"bj": ".BJ", "bse": ".BJ", "xbse": ".BJ"},
}
_CODE: Final = re.compile(
    r"(?:(?P<before>shse|sse|sh|szse|sz|bse|bj)[.:_-]?)?(?P<digits>[0-9]{1,6})(?:\.(?P<behind>[a-z]{2,4}))?",
    re.IGNORECASE,
)
# By the first digits, the longest that fits: shares, then funds and bonds. Shanghai's bonds begin with 01 and 02, and
# its repurchases with 204, where Shenzhen has its shares.
_BY_CODE: Final = {
    **dict.fromkeys(("6", "900", "5", "110", "111", "113", "118", "01", "02", "204"), ".SH"),
    **dict.fromkeys(("0", "2", "3", "15", "16", "18", "12", "131"), ".SZ"),
    **dict.fromkeys(("4", "8", "92"), ".BJ"),
}
_BOARDS: Final = {
    **{(".SH", digits): "sh-main" for digits in ("600", "601", "603", "605")},
    **{(".SH", digits): "star" for digits in ("688", "689")},
    **{(".SZ", digits): "sz-main" for digits in ("000", "001", "002", "003")},
    **{(".SZ", digits): "chinext" for digits in ("300", "301", "302")},
    **{(".BJ", digits): "bj" for digits in ("43", "83", "87", "88", "92")},
}


def parse(text: str) -> tuple[str, str | None] | None:
    """Return the six digits that `text` says, and its exchange (``".SH"``, ...) or None; None if it is no such code.

    Digits that a spreadsheet took for a number, and cut the zeros off, get them back. Fewer than six that begin with a
    zero were cut by nobody: without an exchange they are another market's (00700 is Hong Kong's), and no such code.
    """
    found = _CODE.fullmatch(text)
    if found is None:
        return None
    mark = found["behind"] or found["before"]
    if mark is not None and mark.lower() not in _BEHIND:
        return None
    if mark is None and len(found["digits"]) < 6 and found["digits"].startswith("0"):
        return None
    return found["digits"].zfill(6), None if mark is None else _BEHIND[mark.lower()]


def exchange(digits: str) -> str | None:
    """Return the exchange of a six-digit code as its suffix, or None where the number does not say it."""
    return next((_BY_CODE[digits[:size]] for size in (3, 2, 1) if digits[:size] in _BY_CODE), None)


def board(symbol: str) -> str | None:
    """Return the board on which a share is listed, or None: it is no A-share.

    Returns
    -------
    str or None
        ``"sh-main"``, ``"star"``, ``"sz-main"``, ``"chinext"`` or ``"bj"``.
    """
    parsed = parse(symbol)
    if parsed is None:
        return None
    digits, mark = parsed
    listed = mark or exchange(digits) or ""
    return _BOARDS.get((listed, digits[:3])) or _BOARDS.get((listed, digits[:2]))
