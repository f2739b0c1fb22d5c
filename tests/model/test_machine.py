"""The machine itself: it shows exactly the reorderings that the two processor families allow (classic litmus tests)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from .cases import BOTH
from .explorer import Results, Scenario, explore
from .follow import followed
from .machine import Model, Process
from .program import (
    Memory,
    Program,
    Step,
    Steps,
    Value,
    check,
    full_fence,
    jump,
    kernel,
    load,
    load_fence,
    store,
    store_fence,
)
from .undo import ONE_COLUMN


def outcomes(model: Model, *threads: Steps, results: Sequence[str] = ("r0", "r1")) -> set[tuple[Value, ...]]:
    """Return every combination of the result registers in which the threads can end; words are x and y."""
    seen: set[tuple[Value, ...]] = set()

    def last(_memory: Memory, kept: Results) -> None:
        registers = [kept[f"p{at}"] for at in range(len(threads))]
        seen.add(tuple(held[name] for held in registers for name in results if name in held))

    processes = [
        Process(f"p{at}", Program(steps, [name for name in results if any(_writes(step, name) for step in steps)]))
        for at, steps in enumerate(threads)
    ]
    report = explore(Scenario({"x": 0, "y": 0}, processes, last), model)
    assert report.violation is None, report
    return seen


def _writes(step: object, register: str) -> bool:
    return getattr(step, "into", "") == register


def message_passing(
    *, writer: Steps = (), reader: Steps = (), release: bool = False, acquire: bool = False
) -> list[Steps]:
    return [
        [store("x", 1), *writer, store("y", 1, release=release)],
        [load("r0", "y", acquire=acquire), *reader, load("r1", "x")],
    ]


def test_a_plain_flag_may_be_seen_before_its_message_on_arm_but_not_on_tso() -> None:
    assert (1, 0) in outcomes(Model.ARM, *message_passing())
    assert outcomes(Model.TSO, *message_passing()) == {(0, 0), (0, 1), (1, 1)}


@pytest.mark.parametrize(
    ("release", "acquire", "stale"),
    [(True, True, False), (True, False, True), (False, True, True)],
    ids=["release and acquire", "release alone", "acquire alone"],
)
def test_a_message_needs_both_release_and_acquire_on_arm(release: bool, acquire: bool, stale: bool) -> None:
    seen = outcomes(Model.ARM, *message_passing(release=release, acquire=acquire))
    assert ((1, 0) in seen) is stale
    assert (1, 1) in seen


def test_fences_do_what_release_and_acquire_do() -> None:
    assert (1, 0) not in outcomes(Model.ARM, *message_passing(writer=[store_fence()], reader=[load_fence()]))
    assert (1, 0) in outcomes(Model.ARM, *message_passing(writer=[store_fence()]))
    assert (1, 0) in outcomes(Model.ARM, *message_passing(reader=[load_fence()]))


def test_a_store_behind_a_release_store_may_overtake_it() -> None:
    threads: list[Steps] = [
        [store("x", 1, release=True), store("y", 1)],
        [load("r0", "y", acquire=True), load("r1", "x")],
    ]
    assert (1, 0) in outcomes(Model.ARM, *threads)
    assert (1, 0) not in outcomes(Model.TSO, *threads)


def test_a_jump_does_not_hold_back_a_load_but_a_store() -> None:
    guarded_load: list[Steps] = [
        [store("x", 1), store_fence(), store("y", 1)],
        [load("r0", "y"), jump("end", lambda r0: r0 == 0), load("r1", "x")],
    ]
    assert (1, 0) in outcomes(Model.ARM, *guarded_load)
    guarded_store: list[Steps] = [
        [load("r0", "x"), jump("end", lambda r0: r0 == 0), store("y", 1)],
        [load("r1", "y"), jump("end", lambda r1: r1 == 0), store("x", 1)],
    ]
    assert outcomes(Model.ARM, *guarded_store) == {(0, 0)}


@BOTH
def test_a_load_may_pass_an_older_store_until_a_full_fence(model: Model) -> None:
    def threads(*between: Step) -> list[Steps]:
        return [[store("x", 1), *between, load("r0", "y")], [store("y", 1), *between, load("r1", "x")]]

    assert (0, 0) in outcomes(model, *threads())
    assert (0, 0) in outcomes(model, *threads(store_fence(), load_fence()))
    assert outcomes(model, *threads(full_fence())) == {(0, 1), (1, 0), (1, 1)}


@pytest.mark.parametrize("release", [True, False])
def test_a_store_may_pass_an_older_load_on_arm_unless_it_releases(release: bool) -> None:
    threads: list[Steps] = [
        [load("r0", "x"), store("y", 1, release=release)],
        [load("r1", "y"), store("x", 1, release=release)],
    ]
    assert ((1, 1) in outcomes(Model.ARM, *threads)) is not release
    assert (1, 1) not in outcomes(Model.TSO, *threads)


@BOTH
def test_a_value_that_depends_on_a_load_waits_for_it(model: Model) -> None:
    threads: list[Steps] = [
        [load("r0", "x"), store("y", lambda r0: r0)],
        [load("r1", "y"), store("x", lambda r1: r1)],
    ]
    assert outcomes(model, *threads) == {(0, 0)}


@BOTH
def test_loads_of_one_word_never_go_back_in_time(model: Model) -> None:
    assert (1, 0) not in outcomes(model, [store("x", 1)], [load("r0", "x"), load("r1", "x")])


@BOTH
def test_a_thread_sees_its_own_store_early(model: Model) -> None:
    threads: list[Steps] = [
        [store("x", 1), load("r0", "x"), load("r1", "y")],
        [store("y", 1), load("r0", "y"), load("r1", "x")],
    ]
    assert (1, 0, 1, 0) in outcomes(model, *threads)


@BOTH
def test_all_threads_agree_on_the_order_of_stores(model: Model) -> None:
    readers: list[Steps] = [
        [load("r0", "x", acquire=True), load("r1", "y")],
        [load("r0", "y", acquire=True), load("r1", "x")],
    ]
    assert (1, 0, 1, 0) not in outcomes(model, [store("x", 1)], [store("y", 1)], *readers)


@BOTH
def test_a_killed_process_leaves_a_prefix_of_its_stores(model: Model) -> None:
    seen: set[tuple[Value, ...]] = set()
    restart = Program([load("r0", "x"), load("r1", "y")], ["r0", "r1"])
    writer = Process("writer", Program([store("x", 1), store("y", 1), store("x", 2)]), restart, crashes=1)

    def last(_memory: Memory, kept: Results) -> None:
        if kept["writer"]:
            seen.add((kept["writer"]["r0"], kept["writer"]["r1"]))

    explore(Scenario({"x": 0, "y": 0}, [writer], last), model)
    assert seen == {(0, 0), (1, 0), (1, 1), (2, 1)}


@BOTH
def test_the_kernel_drops_the_lock_of_a_killed_process(model: Model) -> None:
    take = kernel("lock", lambda memory: {"lock": 1} if memory["lock"] == 0 else None)
    first = Process("first", Program([take]), crashes=1, dies_holding={"lock": 1})
    assert explore(Scenario({"lock": 0}, [first]), model).violation is None
    second = Process("second", Program([take]))
    stuck = explore(Scenario({"lock": 0}, [Process("first", Program([take])), second]), model)
    assert stuck.violation is not None
    assert stuck.violation.startswith("deadlock")


def test_a_failed_check_comes_with_the_shortest_trace_to_it() -> None:
    reader = [load("r0", "y"), load("r1", "x"), check(lambda r0, r1: r0 <= r1, "stale")]
    writer = Process("writer", Program([store("x", 1), store("y", 1)]))
    report = explore(Scenario({"x": 0, "y": 0}, [writer, Process("reader", Program(reader))]), Model.ARM)
    assert report.violation == "stale"
    assert len(report.trace) == 3
    assert "ahead of" in str(report)


def test_a_process_that_writes_a_word_of_another_is_refused() -> None:
    writer = Process("writer", Program([store("x", 1)]))
    owner = Process("owner", Program([load("r0", "x")]), owns=["x"])
    with pytest.raises(RuntimeError, match="writer writes x"):
        explore(Scenario({"x": 0}, [writer, owner]), Model.ARM)


@BOTH
def test_reading_its_own_words_at_once_changes_no_outcome(model: Model) -> None:
    scenario = followed(ONE_COLUMN)
    patient = [replace(process, owns=()) for process in scenario.processes]
    quick, slow = explore(scenario, model), explore(replace(scenario, processes=patient), model)
    assert (quick.violation, quick.ends) == (slow.violation, slow.ends) == (None, 1)
    assert quick.states < slow.states
    broken = followed(ONE_COLUMN, broken="the version is not read again")
    patient = [replace(process, owns=()) for process in broken.processes]
    assert explore(replace(broken, processes=patient), model).violation == explore(broken, model).violation is not None


def test_a_run_that_can_never_end_is_a_livelock() -> None:
    spinner = Process("spinner", Program(["spin", load("r0", "x"), jump("spin", lambda r0: r0 == 0)]))
    report = explore(Scenario({"x": 0}, [spinner]), Model.TSO)
    assert report.violation is not None
    assert report.violation.startswith("livelock")
    helped = explore(Scenario({"x": 0}, [spinner, Process("writer", Program([store("x", 1)]))]), Model.ARM)
    assert helped.violation is None
