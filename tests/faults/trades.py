"""Trades that are a function of their number, and the snapshot that a correct handler holds after them."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

from openbell.record import Flag, Kind, Side

EPOCH_MS = 1_763_688_600_000


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade: as numbers, as the vendor's push, as a record."""

    number: int
    symbol: str
    cents: int
    size: int

    @property
    def push(self) -> bytes:
        turnover = self.cents * self.size
        return (
            f'{{"cmd_id":22998,"data":{{"code":"{self.symbol}","seq":{self.number},'
            f'"tick_time":{EPOCH_MS + self.number},"price":"{self.cents // 100}.{self.cents % 100:02d}",'
            f'"volume":"{self.size}","turnover":"{turnover // 100}.{turnover % 100:02d}","trade_direction":1}}}}'
        ).encode()

    def record(self, row: int) -> bytes:
        flags = Flag.HAS_A | Flag.HAS_B | Flag.HAS_C
        return struct.pack(
            "<IBBHqqqdddd",
            row,
            Kind.TRADE,
            Side.BUY,
            flags,
            (EPOCH_MS + self.number) * 1_000_000,
            0,
            self.number,
            self.cents / 100,
            float(self.size),
            self.cents * self.size / 100,
            0.0,
        )


def trade(number: int, symbol: str) -> Trade:
    """Return trade `number`, of `symbol`."""
    return Trade(number, symbol, 1000 + number * 7919 % 5000, 100 * (1 + number % 13))


def oracle(trades: list[Trade]) -> dict[str, dict[str, Any]]:
    """Return what the snapshot must hold after `trades`, one after the other, in plain Python."""
    rows: dict[str, dict[str, Any]] = {}
    for one in trades:
        price = one.cents / 100
        row = rows.setdefault(
            one.symbol,
            {"open": price, "high": price, "low": price, "volume": 0.0, "turnover": 0.0, "trades": 0},
        )
        row.update(
            last=price,
            size=float(one.size),
            high=max(row["high"], price),
            low=min(row["low"], price),
            volume=row["volume"] + one.size,
            turnover=row["turnover"] + one.cents * one.size / 100,
            trades=row["trades"] + 1,
            trade_sequence=one.number,
            trade_exchange_ns=(EPOCH_MS + one.number) * 1_000_000,
        )
    return rows


def differences(held: dict[str, dict[str, Any]], wanted: dict[str, dict[str, Any]]) -> list[str]:
    """Return where `held` differs from `wanted`: sums by 1e-9 relative, all else at all."""
    found = []
    for symbol in sorted(held.keys() | wanted.keys()):
        for column, value in wanted.get(symbol, {"trades": 0}).items():
            got = held.get(symbol, {}).get(column)
            if column in ("volume", "turnover"):
                same = got is not None and math.isclose(got, value, rel_tol=1e-9)
            else:
                same = got == value
            if not same:
                found.append(f"{symbol}.{column}: {got} instead of {value}")
    return found
