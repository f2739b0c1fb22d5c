"""How vendors write their codes, and what somebody who wrote one otherwise probably meant.

A vendor that gets a code it does not know may refuse the whole request, or say nothing and never send that symbol: what
can be seen of a code itself is looked at before anything is sent.
"""

from __future__ import annotations

import re
from typing import Final

from openbell.universe.boards import EXCHANGES, exchange, parse

# AllTick's product lists: Hong Kong without leading zeros, A-shares with six digits, US tickers with their points and
# dashes; indices as letters (HSI.HK) or with a point before them (.DJI.US).
_STOCKS: Final = re.compile(r"[1-9][0-9]{0,4}\.HK|[A-Z][A-Z0-9]*\.HK|[0-9]{6}\.(SH|SZ|BJ)|\.?[A-Z][A-Z0-9./-]*\.US")
# Forex, metals, crypto: the list has its own mixture of cases (USDJPY, BTCUSDT, GOLD).
_PAIRS: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*|[0-9][A-Z0-9]*[A-Z]")
_HONG_KONG: Final = re.compile(r"(?:HK|HKEX|SEHK)?[.:_-]?0*([1-9][0-9]{0,4})(?:[.:$](?:HK|HKEX|XHKG))?", re.IGNORECASE)
_US: Final = re.compile(
    r"(?:(?:NASDAQ|NYSE|AMEX|ARCA|BATS|US)[.:_-])?([A-Z]{1,5}(?:[.-][A-C])?)(?:[.:$](?:US|O|OQ|N|NASDAQ|NYSE))?",
    re.IGNORECASE,
)
_MONEY: Final = ("USDT", "USDC", "USD", "EUR", "JPY", "GBP", "CNH")

# Letters and digits of any script; futures that expire have their day behind them.
_BINANCE: Final = re.compile(r"[^\W_]+(_[0-9]{6})?")


def alltick_stock(code: str) -> str | None:
    """Return how AllTick writes the stock that `code` names otherwise; ``""``: nobody can say; None: as it stands."""
    if _STOCKS.fullmatch(code):
        return None
    parsed = parse(code)
    # Fewer than six digits, and no word of mainland China: those are Hong Kong's.
    if parsed is not None and (parsed[1] is not None or len(code) == 6):
        digits, mark = parsed
        return digits + (mark or exchange(digits) or "") if mark or exchange(digits) else ""
    if found := _HONG_KONG.fullmatch(code):
        return f"{found[1]}.HK"
    if found := _US.fullmatch(code):
        return f"{found[1].upper()}.US"
    return code.upper() if _STOCKS.fullmatch(code.upper()) else ""


def alltick_pair(code: str) -> str | None:
    """Return how AllTick writes the pair, metal or coin that `code` names otherwise; as `alltick_stock`."""
    if _PAIRS.fullmatch(code) and not code.islower():
        return None
    plain = re.sub(r"^.*:|[-/_.: ]", "", code)
    return plain.upper() if _PAIRS.fullmatch(plain) else ""


def is_stock(code: str) -> bool:
    """Return whether a code names the exchange of a stock."""
    return code.upper().endswith((".HK", ".US", *EXCHANGES))


def is_pair(code: str) -> bool:
    """Return whether a code is one of forex, metals or crypto: six letters or more that end in money."""
    plain = re.sub(r"[-/_]", "", code).upper()
    return len(plain) >= 6 and plain.isalnum() and plain.endswith(_MONEY)


def binance_pair(symbol: str) -> str | None:
    """Return how Binance writes the pair that `symbol` names otherwise; as `alltick_stock`."""
    if _BINANCE.fullmatch(symbol):
        return None
    # BINANCE:BTCUSDT, BTC-USDT, BTC/USDT, BTC_USDT, BTC-USDT-SWAP, BTCUSDT.P
    plain = re.sub(r"^[A-Za-z]+:|[-_]SWAP$|[-_]PERP$|\.P$", "", symbol, flags=re.IGNORECASE)
    plain = re.sub(r"[-/_]", "", plain)
    return plain if _BINANCE.fullmatch(plain) else ""
