"""Eight tethered readers in processes of their own: each is given every record but those that it is told it missed."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from corelab.memory import shared, shared_before_fence
from corelab.processes import program, said, tell

from openbell.core import ring, tether

READERS = ("keeps", "keeps", "keeps", "keeps", "keeps", "comes", "comes", "stalls")
HOLD_MS = 100


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("capacity", "count"), [(64, 15_000), (1024, 60_000)])
def test_eight_readers_are_given_all_that_they_are_not_told_they_missed(
    tmp_path: Path, scale: float, capacity: int, count: int
) -> None:
    path, places = tmp_path / "ring", tmp_path / "consumers"
    body = shared_before_fence(path, ring.size(capacity))
    ring.format(body, capacity, 0)
    consumers = shared(places, tether.size(1))
    tether.format(consumers, 1, 1)
    count = int(count * scale)
    with ExitStack() as stack:
        readers = [
            stack.enter_context(program("hold_ring", path, places, capacity, slot, how, count))
            for slot, how in enumerate(READERS)
        ]
        writer = stack.enter_context(program("write_ring", path, capacity, count, 7, 0, "own", places, HOLD_MS))
        for process in (*readers, writer):
            said(process)
        tell(writer)
        assert said(writer)["written"] == count
        found = [said(process) for process in readers]
    for slot, seen in enumerate(found):
        assert seen["position"] == seen["read"] + seen["missed"] == count, seen
        assert (seen["torn"], seen["misplaced"]) == (0, 0), seen
        _, epoch, _, held_ns, cuts = tether.states(consumers, 0)[slot]
        # The writer's books and the reader's are of the same cuts. Of one in the middle of joining, a reader only sees
        # that it has to join once more; of one just before it leaves, nothing.
        assert epoch >= seen["joins"], seen
        if READERS[slot] == "comes":
            assert cuts >= seen["cuts"], seen
        else:
            assert cuts - seen["cuts"] == epoch - seen["joins"], seen
        assert held_ns >= cuts * HOLD_MS * 1_000_000, seen
        if not cuts and READERS[slot] == "keeps":
            assert seen["missed"] == 0, seen
    assert found[READERS.index("stalls")]["cuts"] >= 1, "who sleeps for ten times the budget is cut"
