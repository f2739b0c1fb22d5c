"""Following the ticks of a running feed."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from command_line import environment, run, started
from feed_driver import configure
from tick_feed import Tape

import openbell
from openbell.core import ring
from openbell.core.watch import Watch
from openbell.errors import FeedError, FeedGone, InvalidArgument, ReaderCut, UnknownSymbol
from openbell.market import Tick
from openbell.market.ticks import Ticks
from openbell.memory.consumers import Consumers
from openbell.memory.names import CONSUMERS
from openbell.record import GapReason, Kind, Side, dtype
from openbell.supervisor import Supervisor

pytestmark = pytest.mark.timeout(60)

CAPACITY = 1024
WORKERS = 2


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Supervisor, Tape]]:
    """Run a feed once, for all tests that only write into it and read."""
    runtime = tmp_path_factory.mktemp("ticks") / "runtime"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENBELL_RUNTIME_DIR", str(runtime))
        config = configure(f"ticks-{uuid.uuid4().hex[:12]}", workers=WORKERS, ring_capacity=CAPACITY)
        with Supervisor(config, receivers=False) as supervisor:
            supervisor.start()
            yield runtime, supervisor, Tape(supervisor, max_hold_ms=20)
    assert [path for path in runtime.rglob("*") if path.name[:5] != "pace-"] == []


@pytest.fixture
def supervisor(shared: tuple[Path, Supervisor, Tape], monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    """Look for feeds where the shared one is."""
    monkeypatch.setenv("OPENBELL_RUNTIME_DIR", str(shared[0]))
    return shared[1]


@pytest.fixture
def tape(shared: tuple[Path, Supervisor, Tape], supervisor: Supervisor) -> Tape:
    """Return what writes into the shared feed."""
    supervisor.poll(0.0)
    return shared[2]


@pytest.fixture
def market(supervisor: Supervisor) -> Iterator[openbell.Market]:
    """Return the shared feed's market."""
    with openbell.attach(supervisor.config.feed.name) as attached:
        yield attached


def everything(ticks: Ticks) -> list[Tick]:
    """Return all ticks that are there now."""
    found = []
    while (tick := ticks.take(0)) is not None:
        found.append(tick)
    return found


def test_every_trade_comes_as_a_tick_in_the_order_of_receipt(market: openbell.Market, tape: Tape) -> None:
    with market.ticks() as ticks:
        first = tape.count
        tape.write(500)
        found = list(itertools.islice(ticks, 500))
    assert [tick.receive_ns for tick in found] == sorted(tick.receive_ns for tick in found)
    assert sorted(tick.sequence for tick in found) == list(range(first + 1, first + 501))
    tick = found[0]
    assert tick.symbol in tape.symbols
    assert tick.row == market.row(tick.symbol)
    assert (tick.kind, tick.price, tick.size) == (Kind.TRADE, 1.0 + tape.symbols.index(tick.symbol), 1.0)
    assert (tick.aggressor, tick.turnover, tick.bid, tick.gap, tick.session) == (Side.BUY, None, None, None, None)
    assert (ticks.delivered, ticks.skipped, ticks.lost, ticks.gaps) == (500, 0, 0, 0)


def test_breaking_out_of_a_loop_loses_nothing_whatever_comes_next(market: openbell.Market, tape: Tape) -> None:
    with market.ticks() as ticks:
        first = tape.count
        tape.write(300)
        seen = []
        for tick in ticks:
            seen.append(tick.sequence)
            if len(seen) == 10:
                break
        seen += ticks.read(100)["sequence"].tolist()
        seen += [tick.sequence for tick in itertools.islice(ticks, 5)]
        for batch in ticks.batches(50, timeout=0):
            seen += batch.records["sequence"].tolist()
    assert sorted(seen) == list(range(first + 1, first + 301))


def test_a_read_is_an_array_of_ones_own(market: openbell.Market, tape: Tape) -> None:
    with market.ticks() as ticks:
        tape.write(10)
        records = ticks.read()
        assert records.dtype == dtype()
        kept = records.copy()
        tape.write(10)
        ticks.read()
        assert (records == kept).all()
        assert records.flags.writeable
        assert {ticks.symbol(row) for row in records["row"]} <= set(tape.symbols)
        assert len(ticks.read(timeout=0)) == 0
        assert ticks.take(timeout=0.01) is None


def test_only_the_wanted_symbols_come(market: openbell.Market, tape: Tape) -> None:
    wanted = tape.symbols[3:6]
    with market.ticks(wanted) as ticks, market.ticks(wanted[0], "trade") as one, market.ticks(kinds=["quote"]) as none:
        before = {symbol: len(numbers) for symbol, numbers in tape.sent.items()}
        tape.write(800)
        found = everything(ticks)
        assert everything(none) == []
        alone = everything(one)
    for symbol in wanted:
        assert [tick.sequence for tick in found if tick.symbol == symbol] == tape.sent[symbol][before[symbol] :]
    assert {tick.symbol for tick in found} == set(wanted)
    assert [tick.sequence for tick in alone] == tape.sent[wanted[0]][before[wanted[0]] :]


def test_the_oldest_that_can_be_had_is_had(market: openbell.Market, tape: Tape) -> None:
    tape.write(200)
    with market.ticks(start="oldest") as ticks, market.ticks(start="oldest", order="shard") as shards:
        numbers = [tick.sequence for tick in everything(ticks)]
        apart = shards.read(100_000)["sequence"].tolist()
    assert sorted(numbers)[-200:] == list(range(tape.count - 199, tape.count + 1))
    assert sorted(apart) == sorted(numbers)


@pytest.mark.parametrize("wait", ["adaptive", "spin", "yield", "park"])
def test_tasks_follow_ticks_beside_other_tasks(market: openbell.Market, tape: Tape, wait: str) -> None:
    async def follow(ticks: Ticks, count: int) -> list[int]:
        found = []
        async for tick in ticks:
            found.append(tick.sequence)
            if len(found) == count:
                break
        return found

    async def write() -> None:
        for _ in range(5):
            await asyncio.sleep(0.002)
            tape.write(20)

    async def main() -> list[int]:
        with market.ticks(wait=wait) as ticks:  # type: ignore[arg-type]
            task = asyncio.create_task(follow(ticks, 80))
            await write()
            found = await asyncio.wait_for(task, 20)
            rest: list[int] = (await ticks.read_async())["sequence"].tolist()
            return found + rest

    first = tape.count
    assert sorted(asyncio.run(main())) == list(range(first + 1, first + 101))


def test_a_task_that_waits_for_ticks_can_be_cancelled_and_another_one_goes_on(
    market: openbell.Market, tape: Tape
) -> None:
    async def main(ticks: Ticks) -> int:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(aiter(ticks)), 0.02)
        assert len(await ticks.read_async(timeout=0.01)) == 0
        tape.write(1)
        tick = await asyncio.wait_for(anext(aiter(ticks)), 20)
        return tick.sequence

    with market.ticks() as ticks:
        assert asyncio.run(main(ticks)) == tape.count


def test_a_cancelled_task_does_not_take_the_news_of_the_next_one_with_it(market: openbell.Market, tape: Tape) -> None:
    class Patient:
        """A watch whose every wait lasts until something comes, however long."""

        def __init__(self, watch: Watch) -> None:
            self._watch = watch

        def wait(self, timeout_ns: int) -> bool:
            return self._watch.wait(10_000_000_000 if timeout_ns else 0)

    async def main(ticks: Ticks) -> int:
        ticks._ready().watch = cast(Watch, Patient(ticks._ready().watch))
        task = asyncio.create_task(ticks.read_async())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # Its wait goes on in the helper thread, is told of this, and tells nobody.
        waiting = asyncio.create_task(ticks.read_async(timeout=60))
        await asyncio.sleep(0.05)
        tape.write(1)
        began = time.monotonic()
        found = await waiting
        assert time.monotonic() - began < 9
        return len(found)

    with market.ticks() as ticks:
        assert asyncio.run(main(ticks)) == 1


def test_a_read_of_any_number_takes_no_more_memory_than_there_can_be_records(
    market: openbell.Market, tape: Tape
) -> None:
    with market.ticks() as ticks:
        tape.write(3)
        assert len(ticks.read(10**15, timeout=0)) == 3
        assert len(ticks._buffer) < 1 << 20
        tape.write(3)
        assert sum(len(batch.records) for batch in ticks.batches(10**30, timeout=0)) == 3
    with market.ticks(mode="tethered") as ticks:
        tape.write(3)
        found = 0
        for batch in ticks.batches(10**30, timeout=0):
            found += len(batch)
            batch.release()
        assert found == 3


@pytest.mark.parametrize("timeout", [-1.0, float("nan")])
def test_a_time_that_is_none_is_refused(market: openbell.Market, timeout: float) -> None:
    with market.ticks() as ticks:
        for wait in (ticks.take, lambda t: ticks.read(1, t), lambda t: next(ticks.batches(1, t))):
            with pytest.raises(InvalidArgument, match="timeout must be a number of seconds"):
                wait(timeout)


# ---- tethered readers ----


def test_a_tethered_readers_batches_are_the_rings_own_memory_until_they_are_released(
    market: openbell.Market, tape: Tape
) -> None:
    with market.ticks(mode="tethered") as ticks:
        first = tape.count
        tape.write(100)
        numbers: list[int] = []
        arrays = []
        for batch in ticks.batches(timeout=0):
            assert batch.borrowed
            assert batch.records.base is not None
            with pytest.raises(ValueError, match="read-only"):
                batch.records["a"][0] = 1.0
            arrays.append(batch.records)
            numbers += batch.records["sequence"].tolist()
            for borrowed_already in (lambda: ticks.read(timeout=0), lambda: ticks.take(0), lambda: next(iter(ticks))):
                with pytest.raises(FeedError, match="release the last batch first"):
                    borrowed_already()
            batch.release()
            batch.release()
            with pytest.raises(FeedError, match="was released"):
                _ = batch.records
        assert sorted(numbers) == list(range(first + 1, first + 101))
        before = [array.tobytes() for array in arrays]
        # What was let go is written over: an array that was kept shows it.
        tape.write(3 * WORKERS * CAPACITY)
        assert [array.tobytes() for array in arrays] != before
        ticks.close()
        with pytest.raises(FeedError, match="is closed"):
            ticks.read()


def test_what_a_tethered_reader_has_not_let_go_is_not_written_over(market: openbell.Market, tape: Tape) -> None:
    with market.ticks(mode="tethered") as ticks:
        tape.write(400)
        batch = next(ticks.batches())
        kept = batch.records.copy()
        # Less than there is room for.
        tape.write(CAPACITY // 2)
        assert (batch.records == kept).all()
        batch.release()
        while len(ticks.read(timeout=0)):
            pass
        assert (ticks.cuts, ticks.skipped) == (0, 0)
        assert ticks.lag == 0


def test_a_release_raises_if_the_reader_was_cut_meanwhile_and_the_next_batch_says_how_much_is_missed(
    market: openbell.Market, tape: Tape
) -> None:
    symbol = tape.symbols[0]
    with market.ticks(mode="tethered") as ticks:
        tape.write(10, symbol)
        first = tape.count - 10
        batch = next(ticks.batches())
        assert batch.records["sequence"].tolist() == list(range(first + 1, first + 11))
        # Held for longer than it may be: the writer waits for its 20 ms, and goes on.
        tape.write(2 * CAPACITY, symbol)
        with pytest.raises(ReaderCut, match="cut off while it held 10 records"):
            batch.release()
        told = next(ticks.batches())
        values = told.records.view(np.int64).reshape(-1, 8)[0, 4:]
        assert (told.records["kind"].tolist(), values[0]) == ([Kind.GAP], GapReason.CUT)
        told.release()
        rest: list[int] = []
        for each in ticks.batches(timeout=0):
            rest += each.records["sequence"].tolist()
            each.release()
        assert rest == list(range(tape.count - len(rest) + 1, tape.count + 1))
        assert values[1] == ticks.skipped == 10 + 2 * CAPACITY - len(rest)
        assert ticks.cuts == 1


def test_a_slow_tethered_reader_holds_the_writer_for_its_budget_is_cut_told_and_counted(
    market: openbell.Market, tape: Tape, supervisor: Supervisor
) -> None:
    symbol = tape.symbols[0]
    with market.ticks([symbol], mode="tethered", label="slow") as slow, market.ticks([symbol]) as quick:
        seen = []
        first = tape.count
        for _ in range(8):
            tape.write(CAPACITY // 2, symbol)
            seen += quick.read(100_000, timeout=0)["sequence"].tolist()
        assert seen == list(range(first + 1, tape.count + 1)), "a reader beside it misses nothing"
        found = everything(slow)
        gap = found[0].gap
        assert gap is not None and gap.reason is GapReason.CUT
        assert gap.count == slow.skipped == 8 * (CAPACITY // 2) - (len(found) - 1)
        assert gap.first is not None and gap.last == gap.first + gap.count - 1
        assert [tick.sequence for tick in found[1:]] == list(range(tape.count - len(found) + 2, tape.count + 1))
        assert (slow.cuts, slow.gaps, slow.lost) == (1, 1, 0)
        consumers = Consumers(supervisor.generation.body(CONSUMERS))
        cuts = [consumers.counted(index) for index in range(16) if consumers.slot(index).label == "slow"]
        assert [count for count, _ in cuts] == [1 + consumers.slot(0).cuts_before]


def test_a_pathologically_slow_tap_costs_nobody_a_record_and_loses_an_exactly_known_number(
    market: openbell.Market, tape: Tape
) -> None:
    with (
        market.ticks() as slow,
        market.ticks() as quick,
        market.ticks(mode="tethered") as tethered,
    ):
        first = tape.count
        positions = [ring.positions(body)["head"] for body in market._session().rings()]
        # It sleeps in its handler while everybody else goes on.
        handled = [tape.count for tick in itertools.islice(_after(slow, tape), 1)]
        assert len(handled) == 1
        quickly: list[int] = []
        held: list[int] = []
        for _ in range(40):
            tape.write(200)
            quickly += quick.read(100_000, timeout=0)["sequence"].tolist()
            held += tethered.read(100_000, timeout=0)["sequence"].tolist()
        everybody = list(range(first + 1, tape.count + 1))
        assert sorted(quickly) == sorted(held) == everybody
        assert (quick.skipped, tethered.skipped, tethered.cuts) == (0, 0, 0)
        found = everything(slow)
        gaps = [tick.gap for tick in found if tick.gap is not None]
        assert {gap.reason for gap in gaps} == {GapReason.LAP}
        assert len(gaps) == slow.gaps == WORKERS
        missed = sum(gap.count or 0 for gap in gaps)
        written = sum(ring.positions(body)["head"] for body in market._session().rings()) - sum(positions)
        assert missed == slow.skipped == written - (1 + len(found) - len(gaps))
        assert written == len(everybody)


def _after(ticks: Ticks, tape: Tape) -> Iterator[Tick]:
    """Yield the ticks, once there is one."""
    tape.write(1)
    yield from ticks


# ---- mistakes ----


def test_wrong_words_are_refused(market: openbell.Market, tape: Tape) -> None:
    with pytest.raises(UnknownSymbol, match=r"did you mean 600003\.SH"):
        market.ticks(["600003"])
    for options, said in (
        ({"mode": "tied"}, "mode must be one of tap, tethered, not 'tied'"),
        ({"start": "then"}, "start must be 'now' or 'oldest', not 'then'"),
        ({"order": "size"}, "order must be one of receive, shard, not 'size'"),
        ({"wait": "sleep"}, "wait must be one of"),
        ({"kinds": ["trade", "news"]}, "'news' is no kind of record; the kinds are trade, quote"),
        ({"kinds": []}, "kinds is empty"),
        ({"symbols": []}, "symbols is empty"),
    ):
        with pytest.raises(InvalidArgument, match=said):
            market.ticks(**options)
    with market.ticks() as ticks:
        for wrong in (lambda: ticks.read(0), lambda: next(ticks.batches(-1))):
            with pytest.raises(InvalidArgument, match="max_records must be at least 1"):
                wrong()
    for call in (ticks.take, ticks.read, lambda: next(iter(ticks)), lambda: ticks.symbol(1)):
        with pytest.raises(FeedError, match="is closed"):
            call()
    ticks.close()
    assert "closed" in repr(ticks)


def test_a_forked_child_has_no_stream_and_the_parents_goes_on(market: openbell.Market, tape: Tape) -> None:
    with market.ticks(mode="tethered") as ticks:
        tape.write(5)
        child = os.fork()
        if child == 0:
            try:
                ticks.take(0)
            except FeedError as error:
                os._exit(0 if "forked" in str(error) else 2)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert len(ticks.read()) == 5


# ---- restarts ----


def test_what_was_published_last_is_still_given_when_a_feed_stops_and_then_it_is_gone(feed_name: str) -> None:
    with Supervisor(configure(feed_name), receivers=False) as supervisor:
        supervisor.start()
        tape = Tape(supervisor)
        market = openbell.attach(feed_name)
        ticks, tethered = market.ticks(), market.ticks(mode="tethered")
        tape.write(100)
    for each in (ticks, tethered):
        found = []
        with pytest.raises(FeedGone):
            for tick in each:
                found.append(tick.sequence)
        assert sorted(found) == list(range(1, 101))
        each.close()
    market.close()


@pytest.mark.parametrize("mode", ["tap", "tethered"])
def test_a_stream_goes_on_with_the_next_run_of_the_feed_behind_a_gap(feed_name: str, mode: str) -> None:
    with Supervisor(configure(feed_name), receivers=False) as supervisor:
        supervisor.start()
        tape = Tape(supervisor)
        market = openbell.attach(feed_name, reattach=True)
        ticks = market.ticks(tape.symbols[:5], mode=mode)  # type: ignore[arg-type]
        tape.write(300)
    expected = sorted(number for symbol in tape.symbols[:5] for number in tape.sent[symbol])
    assert sorted(ticks.read(100_000)["sequence"].tolist()) == expected
    assert len(ticks.read(timeout=0.01)) == 0, "nothing comes while the feed does not run"
    with Supervisor(configure(feed_name), receivers=False) as supervisor:
        supervisor.start()
        # Other symbols come first, so that rows are others than they were.
        table = Tape(supervisor, symbols=80)
        table.write(300)
        gap = ticks.take()
        assert gap is not None and gap.gap is not None
        assert (gap.gap.reason, gap.gap.count, gap.symbol) == (GapReason.FEED_RESTART, None, None)
        found = everything(ticks)
        assert {tick.symbol for tick in found} == {symbol for symbol in tape.symbols[:5] if table.sent[symbol]}
        assert sorted(tick.sequence for tick in found) == sorted(
            number for symbol in tape.symbols[:5] for number in table.sent[symbol]
        )
        assert ticks.delivered == len(expected) + 1 + len(found)
        ticks.close()
        market.close()


# ---- openbell tail ----


def test_tail_prints_an_object_a_record_and_ends_with_what_there_was(market: openbell.Market, tape: Tape) -> None:
    tape.write(50)
    symbol = next(symbol for symbol in tape.symbols if tape.sent[symbol])
    done = run("tail", market.feed, symbol, "--oldest", "--count", "1", "--kinds", "trade", "--json")
    assert done.returncode == 0, done.stderr
    first, summary = (json.loads(line) for line in done.stdout.splitlines())
    assert (first["symbol"], first["kind"], first["price"]) == (symbol, "trade", 1.0 + tape.symbols.index(symbol))
    assert first["sequence"] in tape.sent[symbol]
    assert first["side"] == "buy"
    assert summary == {"feed": market.feed, "records": 1, "skipped": 0, "lost": 0, "gaps": 0}


def test_tail_ends_in_time_and_by_ctrl_c(market: openbell.Market, tape: Tape) -> None:
    tape.write(10)
    with started("tail", market.feed, "--oldest") as endless:
        endless.until(lambda: endless.out.count("\n") > 3)
        endless.send(signal.SIGINT)
        assert endless.end() == 0
        assert "trade" in endless.out and "price" in endless.out
        assert endless.err == ""
    done = run("tail", market.feed, "--seconds", "0.2", "--json")
    assert (done.returncode, json.loads(done.stdout)["records"]) == (0, 0)
    with started("tail", market.feed, "--oldest", "--seconds", "60") as bounded:
        bounded.until(lambda: "\n" in bounded.out)
        bounded.send(signal.SIGINT)
        assert bounded.end() == 130


def test_a_reader_who_has_enough_of_tail_is_no_error(market: openbell.Market, tape: Tape) -> None:
    # More than a pipe holds: the command is in the middle of it when its reader goes.
    tape.write(3_000)
    command = f"{sys.executable} -m openbell tail {market.feed} --oldest | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 1, "")


def test_tail_says_what_is_wrong(market: openbell.Market) -> None:
    for arguments, status, said in (
        (("nobody", "--count", "1"), 1, "has no symbol 'nobody'"),
        (("--kinds", "news"), 2, "'news' is no kind of record"),
    ):
        done = run("tail", market.feed, *arguments)
        assert done.returncode == status
        assert said in done.stderr and "Traceback" not in done.stderr
