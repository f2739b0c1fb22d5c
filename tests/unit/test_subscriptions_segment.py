"""The subscriptions segment: what is said about a row is read back as it was said, and about no other."""

from __future__ import annotations

import pytest

from openbell.monitor import subscriptions as module
from openbell.monitor.subscriptions import Subscription, Subscriptions, SubscriptionState


def fresh(rows: int = 4) -> memoryview:
    return memoryview(bytearray(module.size(rows)))


def test_a_row_says_what_was_written_and_its_neighbours_nothing() -> None:
    body = fresh()
    view = Subscriptions(body)
    assert view.rows == 4
    assert list(view.items()) == []
    view.write(2, SubscriptionState.REFUSED, 63, code=-604, at_ns=17)
    seen = Subscription(2, SubscriptionState.REFUSED, 63, False, 17, -604)
    assert list(Subscriptions(body.toreadonly()).items()) == [seen]
    assert view.read(1).state is view.read(3).state is SubscriptionState.NONE


def test_a_silent_row_is_flagged_until_something_new_is_said_about_it() -> None:
    view = Subscriptions(fresh())
    view.write(0, SubscriptionState.CONFIRMED, 1, at_ns=5)
    assert view.flag_silent(0, True)
    assert not view.flag_silent(0, True), "it is no news any more"
    assert view.read(0) == Subscription(0, SubscriptionState.CONFIRMED, 1, True, 5, 0)
    assert view.flag_silent(0, False)
    view.flag_silent(0, True)
    view.write(0, SubscriptionState.WANTED, 1)
    assert not view.read(0).silent
    assert view.read(0).changed_ns > 5


def test_a_row_that_is_not_there_is_an_error() -> None:
    view = Subscriptions(fresh(2))
    for row in (-1, 2):
        with pytest.raises(IndexError, match=f"row {row} of 2"):
            view.read(row)


@pytest.mark.parametrize("state", SubscriptionState)
def test_every_state_has_words_for_people(state: SubscriptionState) -> None:
    assert state.description
    assert not state.description.endswith(".")
