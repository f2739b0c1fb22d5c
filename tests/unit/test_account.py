"""The account of a market with faults: what it lets pass, and what it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from openbell.demo.account import Account, Gap, settle
from openbell.demo.numbers import Hole
from openbell.demo.resources import JUDGED_S, WARM_UP_S, trend
from openbell.monitor.history import EndReason
from openbell.reasons import Reason
from openbell.simulator import SimulatorOptions
from openbell.simulator.faults.journal import (
    CONTROL,
    LEFT_OUT,
    LEVELS_AT,
    WITHHELD,
    JournalError,
    JournalWriter,
    Sent,
    read_journal,
    reason_of,
    refused,
)
from openbell.simulator.faults.replay import Replay

S = 10**9
OFFSET_NS = 1_000_000 * S


@dataclass(frozen=True)
class Fake:
    """A life; moments in seconds."""

    messages: int
    began: float = 0.0
    ended: float | None = 10.0
    local_port: int = 4000
    why: EndReason = EndReason.CUT

    @property
    def began_ns(self) -> int:
        return round(self.began * S)

    @property
    def ended_ns(self) -> int | None:
        return None if self.ended is None else round(self.ended * S)


def event(number: int) -> int:
    return number | 1 << LEVELS_AT


def sent(*entries: int, port: int = 4000, opened: float = 0.0, every: float = 1.0) -> Sent:
    """Return what a connection was sent, an entry every so many seconds."""
    times = OFFSET_NS + np.round((opened + every * np.arange(1, len(entries) + 1)) * S).astype(np.int64)
    return Sent(port, OFFSET_NS + round(opened * S), 0, np.array(entries, dtype=np.int64), times)


def gap(first: float, last: float) -> Gap:
    return Gap(OFFSET_NS + round(first * S), OFFSET_NS + round(last * S))


def account(journal: Sequence[Sent], lives: Sequence[Fake], gaps: Sequence[Gap] = ()) -> Account:
    replay = Replay(SimulatorOptions(symbols=5, rate=100.0))
    return settle(journal, [("feed", lives)], [gaps], OFFSET_NS, replay, 0, [[]])


def test_a_first_part_is_what_was_received_and_the_rest_must_lie_in_a_gap() -> None:
    journal = [sent(CONTROL, event(0), refused(Reason.NOT_UTF8), event(1), event(2), event(3))]
    found = account(journal, [Fake(4)], [gap(4.5, 20)])
    assert found.problems == [] and found.events == 3
    assert found.reasons == {Reason.NOT_UTF8: 1}
    assert [each.tolist() for each in found.received] == [[event(0), event(1)]]
    (settled,) = found.connections
    assert (settled.sent, settled.received, settled.missing, settled.untold) == (6, 4, 2, 0)
    assert account(journal, [Fake(6)]).connections[0].missing == 0


@pytest.mark.parametrize("gaps", [[], [gap(5.5, 20)], [gap(0, 4.5)], [gap(0, 4.5), gap(5.5, 20)]])
def test_a_loss_outside_of_what_was_told_is_a_problem(gaps: list[Gap]) -> None:
    found = account([sent(*(event(n) for n in range(5)))], [Fake(4)], gaps)
    assert found.connections[0].untold == 1
    assert found.problems == ["feed: 1 events are missing, and no gap was told of them"]


def test_what_a_mute_vendor_withheld_must_be_told_also_where_the_connection_went_on() -> None:
    journal = [sent(event(0), event(1) | WITHHELD, event(2) | WITHHELD, event(3))]
    assert account(journal, [Fake(2)]).connections[0].untold == 2
    found = account(journal, [Fake(2)], [gap(1, 3)])
    assert found.problems == [] and found.connections[0].withheld == found.connections[0].missing == 2
    assert found.received[0].tolist() == [event(0), event(3)]
    # A vendor that is half open goes on withholding from a client that is gone.
    found = account(journal, [Fake(1, ended=2.5)], [gap(1, 9)])
    assert (found.connections[0].withheld, found.connections[0].missing) == (1, 2)


def test_nobody_receives_more_than_was_sent_or_from_nobody() -> None:
    assert account([sent(event(0))], [Fake(2)]).problems == [
        "feed: 2 messages received from port 4000, and 1 were sent"
    ]
    assert account([], [Fake(2)]).problems == ["feed: nobody served the connection from port 4000"]


def test_a_port_that_is_used_again_is_told_apart_by_time() -> None:
    journal = [sent(event(0), event(1)), sent(event(2), opened=100.0)]
    found = account(journal, [Fake(2, 0.1), Fake(1, 100.1, 110.0)])
    assert [each.tolist() for each in found.received] == [[event(0), event(1)], [event(2)]]


def test_a_message_without_end_is_counted_though_it_never_was_one() -> None:
    journal = [sent(event(0), refused(Reason.TOO_LARGE))]
    for messages in (1, 2):
        found = account(journal, [Fake(messages, why=EndReason.TOO_LARGE)])
        assert found.reasons == {Reason.TOO_LARGE: 1} and found.events == 2
    assert account(journal, [Fake(1)]).reasons == {}


def test_what_two_connections_brought_counts_once() -> None:
    journal = [sent(event(0), event(1), event(2)), sent(CONTROL, event(1), event(2), event(3), port=4001, opened=2.0)]
    # The second began before the first had ended.
    found = account(journal, [Fake(3, why=EndReason.REPLACED), Fake(4, 2.0, 20.0, 4001)])
    assert found.reasons == {Reason.IGNORED_TWICE: 2} and found.events == 6
    assert [each.tolist() for each in found.received] == [[event(0), event(1), event(2)], [event(3)]]


def test_a_journal_says_what_was_written_and_is_not_read_in_part(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "journal"
    writer = JournalWriter(path)
    first, second = writer.open(4000), writer.open(4001)
    writer.note(first, np.array([CONTROL, event(7)]))
    writer.note(second, np.array([refused(Reason.NOT_JSON)]))
    writer.over(first)
    writer.note(second, np.array([event(8)]))
    writer.close()
    one, other = read_journal(path)
    assert (one.port, one.entries.tolist()) == (4000, [CONTROL, event(7)]) and one.closed_ns >= one.times_ns[-1]
    assert (other.port, other.entries.tolist(), other.closed_ns) == (4001, [refused(Reason.NOT_JSON), event(8)], 0)
    assert [reason_of(entry) for entry in (CONTROL, event(0), refused(Reason.NOT_UTF8))] == [None, None, 0]
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(JournalError, match="cannot be written: File exists"):
        JournalWriter(path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(JournalError, match="cut off or broken"):
        read_journal(path)


def test_processes_are_judged_by_their_trend_after_they_are_warm() -> None:
    long_s = round(2 * JUDGED_S)

    def run(grow: float, descriptors: float = 0.0, seconds: int = long_s) -> bool:
        samples = [
            # Filling its buffers takes it 20 MB in the first minute, and a connection more or less is there.
            (float(at), int(min(at, WARM_UP_S) * 300_000 + grow * at), 20 + at % 2 + int(descriptors * at))
            for at in range(seconds)
        ]
        return trend(samples).flat

    assert run(0) and run(1_000) and run(-1_000)
    # A leak of eight bytes an event at 2,000 a second; a descriptor every 20 s.
    assert not run(16_000) and not run(0, 0.05)
    # What is too short says nothing.
    assert run(1_000_000, seconds=30)


def numbered() -> tuple[Replay, list[int], list[int]]:
    """Return a market that numbers its trades, and of the first symbol that trades often: its trades, their numbers."""
    replay = Replay(SimulatorOptions(symbols=5, rate=100.0, dialect="binance", universe="crypto", books=True))
    events = np.array([event(number) for number in range(200)], dtype=np.int64)
    symbols = replay.symbol(events)
    mine = events[symbols == np.bincount(symbols).argmax()]
    return replay, mine.tolist(), replay.sequence(mine).tolist()


def test_numbers_that_did_not_come_must_be_told_exactly() -> None:
    replay, trades, numbers = numbered()
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "trades are numbered without a break"
    assert len(trades) > 8
    symbol = replay.symbols[int(replay.symbol(np.array(trades[:1]))[0])]
    entries = [each | WITHHELD | LEFT_OUT if at in (2, 3, 6) else each for at, each in enumerate(trades[:8])]
    # The last one is left out, too: no number shows it.
    entries.append(trades[8] | WITHHELD | LEFT_OUT)
    right = [Hole(symbol, numbers[2], numbers[3], 2, False), Hole(symbol, numbers[6], numbers[6], 1, False)]

    def found(holes: list[Hole]) -> list[str]:
        return settle([sent(*entries)], [("feed", [Fake(5)])], [[]], OFFSET_NS, replay, 0, [holes]).problems

    assert found(right) == []
    assert found(right[1:]) == [
        "feed: 2 events are missing, and no gap was told of them",
        f"feed: no hole was told of {symbol} {numbers[2]} to {numbers[3]}",
    ]
    assert found([*right, right[0]]) == [f"feed: a hole was told of {symbol} {numbers[2]} to {numbers[3]}"]
    assert "says 7" in found([replace(right[0], count=7), right[1]])[0]
