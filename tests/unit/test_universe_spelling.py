"""How codes are spelled, and on which exchange and board they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell.simulator.codes import cn_codes, hk_codes, us_codes
from openbell.universe.boards import board, exchange
from openbell.universe.spelling import spell


@pytest.fixture(autouse=True)
def runtime_dir() -> None:
    """Leave out the search for leftovers that other tests get: there are no processes and no shared memory here."""


@pytest.mark.parametrize(
    ("code", "suffix", "hk_digits", "spelled"),
    [
        ("00700", ".HK", 1, "700.HK"),
        ("00700", ".HK", 5, "00700.HK"),
        ("700", ".HK", 5, "00700.HK"),
        ("00700", ".HK", 0, "00700.HK"),
        ("00700.HK", None, 1, "700.HK"),
        ("700.HK", None, 5, "00700.HK"),
        ("HK.00700", ".HK", 1, "700.HK"),
        ("HK-1288", ".HK", 1, "1288.HK"),
        ("hk00700", ".HK", 1, "700.HK"),
        ("9988.hk", ".HK", 1, "9988.HK"),
        ("80700", ".HK", 1, "80700.HK"),
        ("AAPL", ".US", 1, "AAPL.US"),
        ("AAPL.US", ".US", 0, "AAPL.US"),
        ("aapl.us", ".US", 0, "aapl.US"),
        ("US.AAPL", ".US", 0, "AAPL.US"),
        ("BRK.B", ".US", 0, "BRK.B.US"),
        ("USB", ".US", 0, "USB.US"),
        ("HKIT", ".US", 0, "HKIT.US"),
        ("700.HK", ".US", 0, "700.HK"),
        ("600519", "by-code", 0, "600519.SH"),
        ("000001", "by-code", 0, "000001.SZ"),
        ("1", "by-code", 0, "000001.SZ"),
        ("300750", "by-code", 0, "300750.SZ"),
        ("688981", "by-code", 0, "688981.SH"),
        ("920002", "by-code", 0, "920002.BJ"),
        ("830799", "by-code", 0, "830799.BJ"),
        ("900901", "by-code", 0, "900901.SH"),
        ("510300", "by-code", 0, "510300.SH"),
        ("159915", "by-code", 0, "159915.SZ"),
        ("113050", "by-code", 0, "113050.SH"),
        ("123001", "by-code", 0, "123001.SZ"),
        ("sh600519", "by-code", 0, "600519.SH"),
        ("sz.000001", "by-code", 0, "000001.SZ"),
        ("600519.SS", "by-code", 0, "600519.SH"),
        ("000001.XSHE", "by-code", 0, "000001.SZ"),
        # What a code says of itself counts more than its number: this is Shanghai's index.
        ("000001.SH", "by-code", 0, "000001.SH"),
        ("000001.XSHG", "by-code", 0, "000001.SH"),
        ("00700.HK", "by-code", 1, "700.HK"),
        ("000001.SZ", "by-code", 1, "000001.SZ"),
        ("700001", "by-code", 0, None),
        ("HSI", "by-code", 0, None),
        ("600519.TW", "by-code", 0, None),
        ("SSE:600519", "by-code", 0, "600519.SH"),
        ("SZSE:000001", "by-code", 0, "000001.SZ"),
        ("BSE:920002", "by-code", 0, "920002.BJ"),
        # Nobody cut these short: they are Hong Kong's, and 000700.SZ is another company.
        ("00700", "by-code", 0, None),
        ("09988", "by-code", 0, None),
        ("sz.00700", "by-code", 0, "000700.SZ"),
        ("700", "by-code", 0, "000700.SZ"),
        # Bonds and repurchases of Shanghai, between the shares of Shenzhen.
        ("019547", "by-code", 0, "019547.SH"),
        ("020001", "by-code", 0, "020001.SH"),
        ("204001", "by-code", 0, "204001.SH"),
        ("200012", "by-code", 0, "200012.SZ"),
        ("131810", "by-code", 0, "131810.SZ"),
        ("BTCUSDT", None, 1, "BTCUSDT"),
    ],
)
def test_a_code_gets_the_suffix_and_the_zeros_of_its_market(
    code: str, suffix: str | None, hk_digits: int, spelled: str | None
) -> None:
    assert spell(code, suffix, hk_digits) == spelled


@given(st.integers(1, 99_999))
def test_zeros_come_and_go_without_changing_which_stock_it_is(number: int) -> None:
    short, long = f"{number}.HK", f"{number:05d}.HK"
    for code in (str(number), f"{number:05d}", short, long):
        assert spell(code, ".HK", 1) == short
        assert spell(code, ".HK", 5) == long


@given(st.sampled_from(cn_codes()))
def test_an_a_share_is_found_by_its_digits_alone(code: str) -> None:
    digits, _, market = code.partition(".")
    assert spell(digits, "by-code") == code
    assert spell(f"{market.lower()}{digits}", "by-code") == code
    assert exchange(digits) == f".{market}"
    assert board(code) is not None


@given(
    st.text("0123456789ABCXYZabcxyz.:-_HKSUhksu", min_size=1, max_size=12),
    st.sampled_from([None, ".HK", ".US", ".SH", ".L", "by-code"]),
    st.integers(0, 6),
)
def test_what_is_spelled_stays_so_when_it_is_read_again(code: str, suffix: str | None, hk_digits: int) -> None:
    spelled = spell(code, suffix, hk_digits)
    if spelled is not None:
        assert spell(spelled, suffix, hk_digits) == spelled


@pytest.mark.parametrize("codes", [hk_codes(), us_codes()])
def test_other_markets_codes_are_on_no_board_of_the_a_shares(codes: list[str]) -> None:
    assert not [code for code in codes if board(code)]
    assert [spell(code, "by-code") for code in codes] == codes


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("600519.SH", "sh-main"),
        ("601318.SH", "sh-main"),
        ("603259.SH", "sh-main"),
        ("605117.SH", "sh-main"),
        ("688981.SH", "star"),
        ("689009.SH", "star"),
        ("000001.SZ", "sz-main"),
        ("001979.SZ", "sz-main"),
        ("002594.SZ", "sz-main"),
        ("003816.SZ", "sz-main"),
        ("300750.SZ", "chinext"),
        ("301269.SZ", "chinext"),
        ("302132.SZ", "chinext"),
        ("920002.BJ", "bj"),
        ("430047.BJ", "bj"),
        ("830799.BJ", "bj"),
        ("871981.BJ", "bj"),
        ("sh688981", "star"),
        ("300750", "chinext"),
        ("000001.SH", None),
        ("900901.SH", None),
        ("200002.SZ", None),
        ("510300.SH", None),
        ("399001.SZ", None),
        ("700.HK", None),
        ("AAPL.US", None),
        ("123456789", None),
        ("700001", None),
    ],
)
def test_a_board_goes_by_exchange_and_code(symbol: str, expected: str | None) -> None:
    assert board(symbol) == expected
