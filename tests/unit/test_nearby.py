"""What somebody probably meant."""

from __future__ import annotations

import pytest

from openbell.market.nearby import nearby

KNOWN = [f"{600_000 + index}.SH" for index in range(100)] + ["usdm:BTCUSDT", "BTCUSDT", "ETHUSDT"]


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ("600007.sh", "600007.SH"),
        ("600007", "600007.SH"),
        ("6O0007.SH", "600007.SH"),
        ("btcusdt", "BTCUSDT"),
        ("BTC", "BTCUSDT"),
        ("spot:ethusdt", "ETHUSDT"),
    ],
)
def test_the_likeliest_symbol_comes_first(asked: str, first: str) -> None:
    assert nearby(asked, KNOWN)[0] == first


@pytest.mark.parametrize("asked", ["", "ZZZZZZZZ", "汉字"])
def test_what_is_like_nothing_has_no_suggestion(asked: str) -> None:
    assert nearby(asked, KNOWN) == []


def test_no_more_are_named_than_asked_for() -> None:
    assert len(nearby("6000", KNOWN)) == 3
    assert len(nearby("6000", KNOWN, most=1)) == 1
