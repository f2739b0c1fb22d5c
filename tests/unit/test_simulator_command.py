"""The simulator's two command lines: the same options, all of them documented, and what cannot be is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click
import pytest

import openbell.cli.dialects
from openbell.cli.simulate import simulate
from openbell.errors import ConfigError
from openbell.simulator import DIALECTS, Simulator, SimulatorOptions
from openbell.simulator.__main__ import _arguments
from openbell.simulator.market import MadeMarket
from openbell.simulator.pace import PROFILES

PAGE = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text("utf-8")


def command_options() -> set[str]:
    assert isinstance(simulate, click.Command)
    return {name for option in simulate.params for name in option.opts}


def module_options() -> set[str]:
    return {name for action in _arguments()._actions for name in action.option_strings} - {"-h", "--help"}


def test_both_command_lines_have_the_same_options_but_for_those_of_their_own() -> None:
    assert command_options() - module_options() == {"--linger", "--json"}
    own = {"--open-ms", "--start-quiet", "--heartbeat-timeout", "--flush-timeout", "--no-linger", "--symbols-file"}
    assert module_options() - command_options() == own | {"--parent"}


def test_every_option_of_the_simulator_can_be_given() -> None:
    given = {action.dest for action in _arguments()._actions} - {"help"}
    assert given == {field.name for field in dataclasses.fields(SimulatorOptions)}


def test_both_command_lines_know_every_dialect() -> None:
    assert openbell.cli.dialects.DIALECTS == DIALECTS
    assert all(f"`{dialect}`" in PAGE for dialect in DIALECTS)


def test_every_option_is_documented() -> None:
    missing = [name for name in command_options() | module_options() if f"`{name}" not in PAGE]
    assert missing == []


@pytest.mark.parametrize(
    "options",
    [
        {"universe": "eu"},
        {"dialect": "fix"},
        {"dialect": "ticks", "books": True},
        {"book_levels": 3},
        {"dialect": "binance", "books": True, "book_levels": 3},
        {"books": True, "book_levels": 11},
        {"dialect": "binance", "frame_ticks": 10},
        {"dialect": "ticks", "join": 10},
        {"dialect": "symbol-array", "books": True},
        {"dialect": "command-code", "frame_ticks": 2},
        {"dialect": "symbol-text", "cumulative": True},
        {"cumulative": True},
        {"codes_limit": -1},
        {"connections_limit": -1},
        {"request_spacing_s": -0.1},
        {"connection_spacing_s": float("inf")},
        {"speed": 2.0},
        {"dialect": "binance", "profile": "open"},
        {"capture": Path("x"), "universe": "cn"},
        {"capture": Path("x"), "books": True},
        {"capture": Path("x"), "enforce": True},
        {"capture": Path("x"), "codes_limit": 5},
        {"capture": Path("x"), "stamp_ns": True},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        SimulatorOptions(**options)


def test_a_market_that_never_closes_has_no_opening() -> None:
    with pytest.raises(ConfigError, match="no opening"):
        Simulator(SimulatorOptions(dialect="binance", profile="open"))


@pytest.mark.parametrize("universe", ["cn", "hk", "us"])
@pytest.mark.parametrize("scale", [0.01, 1.0, 5.0])
def test_an_opening_says_what_its_first_second_is_to_hold(universe: str, scale: float) -> None:
    def expected(**options: Any) -> int | None:
        market = Simulator(SimulatorOptions(universe=universe, profile="open", scale=scale, **options))._market
        assert isinstance(market, MadeMarket)
        return market.expected_first_second

    figure = {"cn": 10_000, "hk": 10_000, "us": 500_000}[universe]
    assert PROFILES[universe].totals[1] == (10**9, figure)
    assert expected() == round(figure * scale)
    assert expected(seconds=0.5) is None
