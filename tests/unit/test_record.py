"""The record's layout and the numbers that are part of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from openbell import reasons, record
from openbell.reasons import Reason


def test_the_dtype_is_one_cache_line_with_every_field_at_its_offset() -> None:
    dtype = record.dtype()
    assert dtype.itemsize == record.RECORD_SIZE == 64
    assert dtype.names == tuple(name for name, _, _ in record.FIELDS)
    for name, kind, offset in record.FIELDS:
        assert dtype.fields is not None
        assert (dtype.fields[name][0].str.replace("|", "<"), dtype.fields[name][1]) == (kind, offset)


def test_fields_fill_the_record_without_holes_or_overlap() -> None:
    end = 0
    for _, kind, offset in record.FIELDS:
        assert offset == end
        end = offset + int(kind[2:])
    assert end == record.RECORD_SIZE


def test_the_dtype_is_made_once() -> None:
    assert record.dtype() is record.dtype()


def test_the_numbers_of_the_vocabulary_do_not_change() -> None:
    assert [(kind.name, int(kind)) for kind in record.Kind] == [
        ("PAD", 0), ("TRADE", 1), ("QUOTE", 2), ("TICKER", 3), ("LEVEL", 4), ("BAR", 5), ("STATUS", 6), ("GAP", 7),
        ("TRADES", 8), ("REPAIR", 9),
    ]  # fmt: skip
    assert [int(flag) for flag in record.Flag] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert [int(side) for side in record.Side] == [0, 1, 2]
    assert [int(reason) for reason in record.GapReason] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("module", ["openbell.record", "openbell.config", "openbell.vendors", "openbell.reasons"])
def test_what_a_receiver_imports_first_brings_no_numpy(module: str) -> None:
    code = f"import sys, {module}; assert not {{'numpy', 'rich', 'click', 'picows'}} & set(sys.modules), 'slow import'"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_every_reason_fits_its_counter_block_and_describes_itself() -> None:
    for reason in Reason:
        assert 0 <= reason < reasons.REASONS
        assert reason.description
        assert "\n" not in reason.description


def test_every_reason_is_of_exactly_one_class() -> None:
    for reason in Reason:
        merged = reason == Reason.CONFLATED
        classes = [reasons.is_invalid(reason), reasons.is_ignored(reason), reasons.is_lost(reason), merged]
        assert classes.count(True) == 1, reason
    assert {reason for reason in Reason if reasons.is_ignored(reason)} == {
        reason for reason in Reason if reason.name.startswith("IGNORED")
    }
