"""The lives of connections in shared memory: who came, how it ended, and when it was well again."""

from __future__ import annotations

import pytest

from openbell.monitor import history as module
from openbell.monitor.history import LIVES, EndReason, History


def fresh(connections: int = 2) -> memoryview:
    body = memoryview(bytearray(module.size(connections)))
    module.format(body, connections)
    return body


def test_a_life_is_read_as_it_was_written_and_touches_no_other_connection() -> None:
    body = fresh()
    first, second = History(body, 0), History(body, 1)
    assert list(first.lives()) == []
    line = first.begin(local_port=4711, attempts=3)
    line.live_ns = line.began_ns + 5
    line.messages, line.records = 10, 9
    line.ended_ns, line.why, line.close_code, line.told = line.began_ns + 20, EndReason.CLOSED, 1013, 1
    line.next_live_ns = line.began_ns + 50
    (life,) = first.lives()
    assert (life.number, life.local_port, life.attempts) == (1, 4711, 3)
    assert (life.messages, life.records, life.why, life.close_code) == (10, 9, EndReason.CLOSED, 1013)
    assert life.gap_ns == 30
    assert second.count == 0


def test_what_has_not_happened_is_none() -> None:
    history = History(fresh(), 1)
    history.begin()
    (life,) = history.lives()
    assert (life.live_ns, life.ended_ns, life.next_live_ns, life.close_code, life.gap_ns) == (None,) * 5
    assert life.why is EndReason.OPEN
    assert not life.told


def test_the_oldest_lives_make_room_for_new_ones() -> None:
    history = History(fresh(), 0)
    for port in range(LIVES + 5):
        history.begin(local_port=port)
    lives = list(history.lives())
    assert [life.number for life in lives] == list(range(6, LIVES + 6))
    assert [life.local_port for life in lives] == list(range(5, LIVES + 5))


def test_a_life_that_is_being_written_over_is_left_out() -> None:
    history = History(fresh(), 0)
    for _ in range(3):
        history.begin()
    line = history.last()
    assert line is not None
    line.number = 0
    assert [life.number for life in history.lives()] == [1, 2]


def test_a_life_that_its_receiver_left_open_is_ended_by_the_next_one() -> None:
    history = History(fresh(), 0)
    assert not history.recover(), "there was none"
    line = history.begin()
    assert not history.recover(), "it never was live: nothing is missing"
    line = history.begin()
    line.live_ns = line.began_ns
    assert history.recover()
    assert not history.recover(), "once is enough"
    assert [(life.why, life.told) for life in history.lives()] == [
        (EndReason.RECEIVER_GONE, False),
        (EndReason.RECEIVER_GONE, True),
    ]


def test_a_connection_that_the_feed_does_not_have_is_refused() -> None:
    with pytest.raises(IndexError):
        History(fresh(2), 2)
    with pytest.raises(ValueError, match="takes"):
        module.format(memoryview(bytearray(8)), 1)


def test_every_reason_has_words_for_people() -> None:
    assert all(reason.description for reason in EndReason)
