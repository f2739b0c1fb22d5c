"""Faults as text and as files, and storms."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from openbell.errors import ConfigError
from openbell.simulator import SimulatorOptions
from openbell.simulator.faults import KINDS, parse_fault, read_script, storm
from openbell.simulator.faults.script import choose


@pytest.mark.parametrize(
    ("text", "kind", "at_s", "length_s", "value", "client"),
    [
        ("mute@5s+3s", "mute", 5, 3, 0, None),
        ("mute", "mute", 0, math.inf, 0, None),
        ("malformed=0.25@1.5+2", "malformed", 1.5, 2, 0.25, None),
        ("malformed@1", "malformed", 1, 2, 0.5, None),
        ("close=1013#1@7s", "close", 7, math.inf, 1013, 1),
        ("error-ack=-1121@0+1s", "error-ack", 0, 1, -1121, None),
    ],
)
def test_a_fault_is_written_in_a_word(
    text: str, kind: str, at_s: float, length_s: float, value: float, client: int | None
) -> None:
    fault = parse_fault(text)
    assert (fault.kind.name, fault.at_s, fault.length_s, fault.value, fault.client) == (
        kind,
        at_s,
        length_s,
        value,
        client,
    )
    assert parse_fault(str(fault)) == fault


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "write KIND"),
        ("mute at 5", "write KIND"),
        ("silence@5s", "no fault 'silence'; there are mute"),
        ("mute=3@5s", "has no value"),
        ("malformed=1.5", "from 0 to 1, not 1.5"),
        ("mute@5.5.5s", "'5.5.5' is not a number"),
        ("mute@5s+0s", "has a length"),
    ],
)
def test_what_is_no_fault_is_said_with_what_to_write(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_fault(text)


def test_a_schedule_is_read_from_toml_and_json_alike(tmp_path: Path) -> None:
    toml, text = tmp_path / "faults.toml", tmp_path / "faults.json"
    toml.write_text('[[fault]]\nkind = "mute"\nat = 5\nlength = 3\n[[fault]]\nkind = "close"\nvalue = 1013\nat = 1\n')
    text.write_text(json.dumps({"fault": ["mute@5s+3s", {"kind": "close", "value": 1013, "at": 1}]}))
    faults = read_script(toml)
    assert faults == read_script(text)
    assert [str(fault) for fault in faults] == ["close=1013@1s", "mute@5s+3s"]


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "no schedule"), ('{"fault":[{"king":"mute"}]}', "king"), ('{"fault":["silence"]}', "no fault 'silence'")],
)
def test_a_broken_schedule_is_said_with_its_name(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "faults.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=said) as raised:
        read_script(path)
    assert str(path) in str(raised.value)
    with pytest.raises(ConfigError, match=r"none.json: the schedule of faults cannot be read"):
        read_script(tmp_path / "none.json")


@pytest.mark.parametrize("dialect", ["alltick", "binance", "ticks"])
def test_a_storm_has_every_fault_of_its_dialect_before_it_repeats_one(dialect: str) -> None:
    kinds = [kind.name for kind in KINDS.values() if kind.fits(dialect)]
    faults = storm(dialect, 200.0, 2.0, seed=7)
    assert sorted(fault.kind.name for fault in faults[: len(kinds)]) == sorted(kinds)
    assert [fault.at_s for fault in faults] == [2.0 * (n + 1) for n in range(99)]
    assert all(fault.length_s < 2.0 for fault in faults if not math.isinf(fault.length_s))
    assert faults == storm(dialect, 200.0, 2.0, seed=7) != storm(dialect, 200.0, 2.0, seed=8)
    assert {fault.client for fault in storm(dialect, 200.0, 2.0, seed=7, clients=3)} == {0, 1, 2}


def test_a_command_line_puts_single_faults_and_a_storm_together() -> None:
    faults = choose(["mute@3s"], "storm", "alltick", 10.0, 2.0, 1)
    assert [fault.at_s for fault in faults] == [2.0, 3.0, 4.0, 6.0, 8.0]
    with pytest.raises(ConfigError, match="fault_every_s"):
        SimulatorOptions(faults="storm", fault_every_s=0.0)


def test_what_cannot_go_wrong_together_is_refused() -> None:
    with pytest.raises(ConfigError, match="only in binance"):
        SimulatorOptions(fault=["shutdown@1s"])
    assert len(SimulatorOptions(dialect="binance", fault=["shutdown@1s"]).schedule) == 1
    for name, value in (("oracle", Path("x")), ("join", 2), ("stamp_ns", True)):
        with pytest.raises(ConfigError, match=name):
            SimulatorOptions(commands=True, **{name: value})  # type: ignore[arg-type]


def test_every_kind_of_fault_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text("utf-8")
    table = page[page.index("| fault | value | lasts | |") : page.index("Faults of the door")]
    assert [name for name in KINDS if f"`{name}`" not in table] == []
