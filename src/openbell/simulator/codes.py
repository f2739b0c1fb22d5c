"""The codes of the simulated universes: of the real numbering or form, some real, most made up.

Every list is the same on every machine, and its beginning is well known, so that the examples in documents exist in
every universe, however small.
"""

from __future__ import annotations

# A prime step visits every number once in an order that mixes the ranges, the same on every machine.
_STEP = 3_571

_CN_KNOWN = ("600519.SH", "000001.SZ", "300750.SZ", "601318.SH", "002594.SZ", "600036.SH", "000858.SZ", "601398.SH")
# The main boards of Shanghai (600, 601, 603, 605) and Shenzhen (000, 002), and ChiNext (300, 301).
_CN_RANGES = (
    (600_000, 602_000, "SH"),
    (603_000, 604_000, "SH"),
    (605_000, 606_000, "SH"),
    (1, 1_000, "SZ"),
    (2_001, 3_000, "SZ"),
    (300_001, 301_700, "SZ"),
)

HK_LOTS = {
    "700": 100,
    "9988": 100,
    "5": 400,
    "3690": 100,
    "1299": 200,
    "941": 500,
    "388": 100,
    "1810": 200,
    "2318": 500,
    "939": 1_000,
    "1398": 1_000,
    "1": 500,
}
"""Well-known Hong Kong codes with their board lots, which the issuer sets; the others' are drawn."""
# The main board's ordinary shares, its newer numbers, and GEM.
_HK_RANGES = ((1, 4_000), (6_000, 6_200), (6_600, 7_000), (8_001, 8_700), (9_600, 10_000))

_US_KNOWN = ("AAPL", "MSFT", "NVDA", "AMZN", "GOOGL", "META", "TSLA", "AMD", "NFLX", "JPM", "UNH", "XOM", "F", "T", "V")
# Without vowels no made-up code is a word.
_US_LETTERS = "BCDFGHJKLMNPQRSTVWXYZ"
_US_THREE, _US_FOUR = len(_US_LETTERS) ** 3, len(_US_LETTERS) ** 4

_COINS = ("BTC", "ETH", "SOL", "BNB", "XRP", "DOGE", "ADA", "TRX", "AVAX", "LINK", "LTC", "DOT")


def cn_codes() -> list[str]:
    """Return all A-share codes of the simulator (nine characters each), well-known ones first."""
    codes = [f"{number:06d}.{exchange}" for low, high, exchange in _CN_RANGES for number in range(low, high)]
    mixed = [codes[index * _STEP % len(codes)] for index in range(len(codes))]
    return list(dict.fromkeys((*_CN_KNOWN, *mixed)))


def hk_codes() -> list[str]:
    """Return all Hong Kong codes of the simulator, without leading zeros as the vendor writes them."""
    numbers = [number for low, high in _HK_RANGES for number in range(low, high)]
    mixed = (str(numbers[index * _STEP % len(numbers)]) for index in range(len(numbers)))
    return [f"{number}.HK" for number in dict.fromkeys((*HK_LOTS, *mixed))]


def us_codes() -> list[str]:
    """Return all US codes of the simulator: the shape of real tickers, three letters or four."""
    three = (_letters(index * _STEP % _US_THREE, 3) for index in range(3_000))
    four = (_letters(index * _STEP % _US_FOUR, 4) for index in range(13_000))
    return [f"{ticker}.US" for ticker in dict.fromkeys((*_US_KNOWN, *three, *four))]


def crypto_codes() -> list[str]:
    """Return all pairs of the simulator, against USDT; a made-up coin has three letters."""
    coins = (_letters(index * _STEP % _US_THREE, 3) for index in range(3_000))
    return [f"{coin}USDT" for coin in dict.fromkeys((*_COINS, *coins))]


def _letters(number: int, count: int) -> str:
    text = ""
    for _ in range(count):
        number, letter = divmod(number, len(_US_LETTERS))
        text += _US_LETTERS[letter]
    return text
