"""A worker killed after each store of the apply path, a receiver after each store of the publish path.

The walk runs on one continuous load: whenever the process under test dies, it is started again with the next crash
point. In the end every trade is in the snapshot exactly once. The same walk with the undo disabled must fail.
"""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faults.shared import LEVELS, SHARDS, SYMBOLS, Shared
from faults.trades import Trade, differences, oracle, trade
from faults.walking import Walk, finished
from openbell.core import ring, snapshot

# Points of core/apply.pyx in the order of its stores, each at its first passage and deep in the load.
APPLY = [(point, passage) for point in (1, 2, 3, 4, 5, 6, 7, 8, 9, 13) for passage in (1, 77, 613)]
# A crash inside the recovery from a crash: odd version, each image, even version.
RECOVERY = [(7, 9), (10, 1), (7, 15), (11, 1), (6, 40), (11, 4), (8, 21), (11, 9), (7, 31), (12, 1), (12, 1)]
# Points of core/ring.pyx and core/listener.pyx: claim, record, commit, head, bell, padding.
PUBLISH = [(point, passage) for point in (20, 21, 22, 23, 24, 25) for passage in (1, 9, 61)] + [
    (21, 3), (30, 1), (30, 2), (22, 5), (30, 7), (20, 2), (30, 30),
]  # fmt: skip

# Points of core/symbols.pyx: announcing the insert, the slot, each word behind it.
INSERT = range(40, 48)

NAMES = [name for name, _ in snapshot.columns(LEVELS)]
FLOATS = {name for name, dtype in snapshot.columns(LEVELS) if dtype == "f8"}


def held(shared: Shared) -> tuple[dict[str, dict[str, Any]], np.ndarray[Any, Any]]:
    """Return the rows of all symbols that ever traded, and the matrix of all rows."""
    reader = snapshot.SnapshotReader(shared.maps["snapshot"])
    bits = np.zeros((len(NAMES), reader.rows), dtype=np.uint64)
    reader.copy_all(bits)
    rows = {}
    for row, key in shared.table().items():
        values = {
            name: (bits[i].view(np.float64) if name in FLOATS else bits[i].view(np.int64))[row].item()
            for i, name in enumerate(NAMES)
        }
        if values["trades"]:
            rows[key.decode()] = values
    return rows, bits


def load(count: int, shard: int, shared: Shared) -> list[Trade]:
    """Return `count` trades of symbols of one shard."""
    table = shared.table()
    own = [symbol for symbol in SYMBOLS if table.shard_of(symbol.encode()) == shard]
    return [trade(number, own[number * number % len(own)]) for number in range(1, count + 1)]


def walk_worker(walk: Walk, shared: Shared, crashes: list[tuple[int, int]]) -> list[Trade]:
    """Feed one worker while it dies at each of `crashes` in turn; return what was fed."""
    trades = load(400 + 220 * len(crashes), 0, shared)
    table, writer = shared.table(), shared.writer(0)
    writer.recover()
    reader = snapshot.SnapshotReader(shared.maps["snapshot"])
    bits = np.zeros((len(NAMES), reader.rows), dtype=np.uint64)
    pending = list(crashes)
    process = walk.start("worker_harness", 0, pending.pop(0))
    for number, one in enumerate(trades):
        while not writer.append(one.record(table.lookup(one.symbol.encode()))):
            if process.poll() is not None:
                assert finished(process) == "crashed"
                # Whoever looks now must not wait for the restart: rows caught odd come from the undo area.
                before = time.monotonic()
                reader.copy_all(bits)
                # Far more than one takes that does not wait, on however busy a machine.
                assert time.monotonic() - before < 10.0
                process = walk.start("worker_harness", 0, pending.pop(0) if pending else None)
        if number % 3 == 0:
            writer.publish()
    writer.publish()
    while True:
        if process.poll() is not None and finished(process) == "crashed":
            process = walk.start("worker_harness", 0, pending.pop(0) if pending else None)
        if ring.positions(shared.maps["ring0"])["applied"] == len(trades) and not pending:
            break
        if ring.positions(shared.maps["ring0"])["applied"] == len(trades):
            # The load is through before the list of crashes: go on with more of it.
            extra = trades[-1].number + 1
            trades.append(trade(extra, trades[-1].symbol))
            writer.append(trades[-1].record(table.lookup(trades[-1].symbol.encode())))
            writer.publish()
        time.sleep(0.001)
    shared.stop()
    while finished(process) == "crashed":
        process = walk.start("worker_harness", 0)
    return trades


@pytest.mark.timeout(300)
@pytest.mark.parametrize("crashes", [APPLY, RECOVERY], ids=["apply", "recovery"])
def test_a_worker_killed_after_any_store_applies_every_trade_exactly_once(
    core: Path, tmp_path: Path, processes: list[subprocess.Popen[str]], crashes: list[tuple[int, int]]
) -> None:
    shared = Shared(tmp_path, create=True)
    trades = walk_worker(Walk(core, tmp_path, processes), shared, list(crashes))
    killed = sum(process.returncode == -signal.SIGKILL for process in processes)
    assert killed == len(crashes), f"only {killed} of {len(crashes)} crash points were reached"
    rows, bits = held(shared)
    assert differences(rows, oracle(trades)) == []
    assert not (bits[NAMES.index("version")] & 1).any()


@pytest.mark.timeout(300)
def test_the_same_walk_fails_when_the_undo_is_disabled(
    core: Path, tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    shared = Shared(tmp_path, create=True)
    trades = walk_worker(Walk(core, tmp_path, processes, undo=False), shared, [(9, 50), (7, 300), (8, 200)])
    rows, _ = held(shared)
    assert differences(rows, oracle(trades)) != []


@pytest.mark.timeout(300)
def test_a_receiver_killed_after_any_store_publishes_every_trade_once_and_none_torn(
    core: Path, tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    shared = Shared(tmp_path, create=True)
    walk = Walk(core, tmp_path, processes)
    workers = [walk.start("worker_harness", shard) for shard in range(SHARDS)]
    count = 500 + 130 * len(PUBLISH)
    crashed = 0
    for crash in [*PUBLISH, None]:
        if finished(walk.start("receiver_harness", count, crash)) == "crashed":
            crashed += 1
    shared.stop()
    assert [finished(worker) for worker in workers] == ["done"] * SHARDS
    assert crashed == len(PUBLISH), f"only {crashed} of {len(PUBLISH)} crash points were reached"
    trades = [trade(number, SYMBOLS[number * 7 % len(SYMBOLS)]) for number in range(1, count + 1)]
    rows, bits = held(shared)
    assert differences(rows, oracle(trades)) == []
    # Padding went to the feed rows, counted: data and padding together are what the rings carried.
    reader = snapshot.SnapshotReader(shared.maps["snapshot"])
    for shard in range(SHARDS):
        padded = int(bits[NAMES.index("trades")][snapshot.feed_row(reader.data_rows, shard)])
        own = sum(row["trades"] for symbol, row in rows.items() if shared.table().shard_of(symbol.encode()) == shard)
        assert own + padded == ring.positions(shared.maps[f"ring{shard}"])["head"]


@pytest.mark.timeout(120)
def test_an_insert_killed_after_any_store_loses_no_symbol_and_merges_none(
    core: Path, tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    shared = Shared(tmp_path, create=True)
    walk = Walk(core, tmp_path, processes)
    promised: dict[str, int] = {}
    for point in INSERT:
        process = walk.start("inserter_harness", f"P{point}-", (point, 4))
        assert process.stdout is not None
        for line in process.stdout:
            key, row = line.split()
            promised[key] = int(row)
        assert finished(process) == "crashed"
    table = shared.table()
    # The next inserter mends what the last one left; the interrupted symbols can be inserted as if for the first time.
    for point in INSERT:
        for number in range(6):
            table.insert(f"P{point}-{number}".encode())
    assert len(promised) == 3 * len(INSERT)
    assert {key: table.lookup(key.encode()) for key in promised} == promised
    rows = [row for row, _ in table.items()]
    keys = [key for _, key in table.items()]
    assert len(rows) == len(set(rows)) == table.count == len(SYMBOLS) + 6 * len(INSERT)
    assert len(set(keys)) == len(keys)
    assert all(table.lookup(key) == row for row, key in table.items())
