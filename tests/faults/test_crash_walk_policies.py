"""A receiver killed after each store of the publish path while its rings are full, under each policy, with groups."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from corelab.oracle import Copy, Row
from corelab.records import LEVEL, Record, trade

from faults.policy_harness import event
from faults.shared import LEVELS, SHARDS, SYMBOLS, Shared
from faults.walking import Walk, finished
from openbell.core import ring, snapshot

# Points of core/ring.pyx and core/listener.pyx: claim, record of a group, commit, head, bell, padding, and what moves
# from a queue into a ring. Deep enough in the load for the rings to be full.
PUBLISH = [(20, 10), (21, 300), (21, 301), (30, 1), (23, 10), (24, 11), (30, 2)]
WAITING = {
    "block": [(26, 1), (26, 22), (30, 1), (26, 61)],
    "conflate": [(26, 1), (26, 22), (30, 1), (26, 61), (26, 62), (26, 63)],
    "drop": [(26, 1), (26, 2), (27, 1)],
}
COUNT = 9_000


def book(body: dict[str, list[dict[str, float]]]) -> list[Record]:
    """Return the group of a book."""
    bids, asks = body["bids"], body["asks"]
    found = []
    for level in range(max(len(bids), len(asks))):
        bid, ask = bids[level : level + 1], asks[level : level + 1]
        values = [bid[0]["p"], bid[0]["v"]] if bid else [0.0, 0.0]
        values += [ask[0]["p"], ask[0]["v"]] if ask else [0.0, 0.0]
        found.append(Record(0, LEVEL, level + 1, 3 * bool(bid) + 12 * bool(ask), 0, 0, 0, *values))
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("overflow", WAITING)
def test_a_receiver_killed_in_the_middle_of_a_group_shows_no_half_of_it(
    core: Path, tmp_path: Path, processes: list[subprocess.Popen[str]], overflow: str
) -> None:
    shared = Shared(tmp_path, create=True)
    walk = Walk(core, tmp_path, processes)
    workers = [walk.start("worker_harness", f"{shard}slow") for shard in range(SHARDS)]
    crashes = [*WAITING[overflow], *PUBLISH]
    lives: list[subprocess.Popen[str]] = []
    for crash in [*crashes, None]:
        lives.append(walk.start("policy_harness", f"{overflow}:{COUNT}", crash))
        finished(lives[-1])
    shared.stop()
    assert [finished(worker) for worker in workers] == ["done"] * SHARDS
    reached = [crash for crash, life in zip(crashes, lives, strict=False) if life.returncode == -signal.SIGKILL]
    assert reached == crashes
    assert lives[-1].returncode == 0
    reader = snapshot.SnapshotReader(shared.maps["snapshot"])
    copy = Copy.all(reader)
    table = shared.table()
    model: dict[str, Row] = {symbol: Row() for symbol in SYMBOLS}
    books: dict[int, list[Record]] = {}
    for number in range(1, COUNT + 1):
        kind, body = event(number)
        if kind == "trade":
            model[body["s"]].trade(trade(0, body["p"], float(body["q"]), sequence=number))
        else:
            books[number] = book(body)
            model[body["s"]].book([record._replace(sequence=number) for record in books[number]])
    for symbol, row in ((symbol, table.lookup(symbol.encode())) for symbol in SYMBOLS):
        # Whichever book it is: every level of it, and no level of another.
        shown = int(copy["quote_sequence"][row])
        held = Row()
        held.book(books[shown])
        for part, values in held.levels.items():
            absent = 0.0 if "size" in part else np.nan
            found = [copy[f"book_{part}_{level + 1}"][row] for level in range(LEVELS)]
            np.testing.assert_array_equal(
                found, [*values, *[absent] * (LEVELS - len(values))], err_msg=f"{symbol} {part}"
            )
        if overflow == "drop":
            assert copy["trades"][row] <= model[symbol].trades
            continue
        wanted = model[symbol]
        for name in ("last", "size", "open", "high", "low", "trades", "trade_sequence", "quote_sequence", "bid", "ask"):
            np.testing.assert_array_equal(copy[name][row], getattr(wanted, name), err_msg=f"{symbol} {name}")
        for name in ("volume", "turnover"):
            np.testing.assert_allclose(copy[name][row], getattr(wanted, name), rtol=1e-9, err_msg=f"{symbol} {name}")
    # Every record is accounted for: a padded one in the feed row, the others in theirs.
    for shard in range(SHARDS):
        positions = ring.positions(shared.maps[f"ring{shard}"])
        assert positions["applied"] == positions["head"]
