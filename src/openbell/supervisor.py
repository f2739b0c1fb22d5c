"""Who starts whom: the process that makes a feed's shared memory, and starts, watches, restarts and stops the others.

Order of a start: the feed's lock, what dead runs left behind, all shared memory, the workers, the receivers. Order of
a stop: receivers (stop reading, publish what they have), workers (apply all that is published), DEAD, files, lock.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from types import TracebackType
from typing import IO, TYPE_CHECKING

from openbell.assignment import assign
from openbell.calendars import with_schedule
from openbell.core import ring
from openbell.errors import FeedError
from openbell.lifeline import EXIT_REFUSED
from openbell.memory import consumers, runtime
from openbell.memory import generation as generations
from openbell.memory.generation import Generation
from openbell.memory.locks import RoleLock
from openbell.memory.names import ring_name
from openbell.memory.shape import Shape
from openbell.memory.space import mebibytes
from openbell.monitor import books
from openbell.monitor.control import FeedState, ProcessState, refresh_clock_offset
from openbell.reasons import Reason
from openbell.role import Backoff, Role, describe_exit
from openbell.signals import StopSignals, wait_readable
from openbell.spawn import Process, arguments
from openbell.vendors.check import create_all, symbol_keys

if TYPE_CHECKING:
    from openbell.config import Config
    from openbell.universe.refreshing import Refresher

log = logging.getLogger("openbell.supervisor")

READY_S = 30.0
"""How long a start waits for all processes to be running."""
RECEIVERS_STOP_S = 5.0
WORKERS_STOP_S = 6.0
STOP_S = 7.5
"""How long after a stop began the receivers, the workers, and the last try to apply what they left are killed."""
STUCK_S = 2.0
"""A worker whose heart is silent for so long must not hold up a stop. Hearts beat five times a second or more."""
_HEARTBEAT_S = 0.1
_CLOCK_S = 1.0
_REAP_S = 0.2
_STOP_LOOK_S = 0.02


class Supervisor:
    """Run one feed.

    Parameters
    ----------
    config : Config
        What to run. It goes to the receivers in a private file beside the shared memory; it holds no secret.
    signals : StopSignals, optional
        Entered by the caller, who wants to know of stop signals himself. Without it, `run` handles them.
    receivers : bool
        False: start no receiver; records are written by somebody else (tests, replays).
    output : file or int, optional
        Where the processes' stdout and stderr go; by default where ours go.

    Notes
    -----
    Use it from one thread that lives as long as the feed. As a context manager it stops the feed on the way out.

    ::

        with StopSignals() as signals, Supervisor(config, signals=signals) as supervisor:
            supervisor.start()
            while not signals.requested:
                supervisor.poll(0.1)
            supervisor.drain()      # the snapshot is complete now, and still attached

    Attributes
    ----------
    killed : tuple of str
        After a stop: receivers that had to be killed, or died, while they were connected. What they had read and not
        decoded nobody knows; what they had decoded is in the number that `drain` returns.
    """

    def __init__(
        self,
        config: Config,
        *,
        signals: StopSignals | None = None,
        receivers: bool = True,
        output: int | IO[bytes] | None = None,
    ) -> None:
        self.config = config
        feed = config.feed
        self.shape = Shape.of(feed, config.connections)
        self._with_receivers = receivers
        self._output = output
        self._signals = signals or StopSignals()
        self._owns_signals = signals is None
        self._lock: RoleLock | None = None
        self._generation: Generation | None = None
        self._receivers: list[Role] = []
        self._workers: list[Role] = []
        self._beat_due = 0.0
        self._clock_due = 0.0
        self._reap_due = 0.0
        self._vanished = 0
        self._refresher: Refresher | None = None
        self.killed: tuple[str, ...] = ()

    # ---- start ----

    def start(self) -> None:
        """Make the shared memory, start all processes, and wait until they run.

        Returns early, with what is started by then, if a stop signal comes. On any failure nothing is left behind.

        Raises
        ------
        ConfigError
            The calendar that the feed goes by is not known.
        FeedAlreadyRunning
            A live feed has this name; the message names its pid.
        NoSpace
            The shared memory does not fit.
        OpenBellError
            A process says that it cannot work; the message is its own.
        """
        if self._lock is not None:
            raise FeedError(f"feed {self.config.feed.name!r} is started already")
        self._vanished, self.killed = 0, ()
        self.config = with_schedule(self.config)
        try:
            self._make_memory()
            self._make_roles()
            for role in (*self._workers, *self._receivers):
                if self._signals.requested:
                    return
                role.start()
            self._await_ready()
            self.generation.open_control().state = FeedState.RUNNING
            self._refresh_lists()
        except BaseException:
            self.kill()
            raise

    def _make_memory(self) -> None:
        name = self.config.feed.name
        self._lock = generations.claim(name)
        directory = self._lock.path.parent
        if removed := generations.reclaim(self._lock):
            log.warning("feed %s: removed what %d killed run(s) left behind", name, removed)
        if names := generations.reclaim_one_time_feeds():
            log.info("removed what killed demonstrations left behind: %s", ", ".join(names))
        # Nobody who looks early is to take a part of the connections for all.
        labels = [each.label(each.source.vendor) for each in assign(self.config)] if self._with_receivers else []
        self._generation = Generation.create(directory, self.shape, self.config.to_json(), self._keys(), labels)
        control = self._generation.open_control(writable=True)
        control.supervisor.begin(os.getpid())
        control.supervisor.state = ProcessState.RUNNING
        refresh_clock_offset(control)
        spinners, processors = self.shape.workers, os.cpu_count() or 1
        if self.config.feed.wait in ("spin", "yield") and spinners >= processors:
            log.warning(
                'wait = "%s" keeps a processor busy for each of %d workers, and this machine has %d: receivers will '
                'starve; use "adaptive", or fewer workers',
                self.config.feed.wait,
                spinners,
                processors,
            )
        log.info("feed %s: %s of shared memory in %s", name, mebibytes(self.shape.total_bytes), directory)

    def _keys(self) -> list[bytes]:
        """Return the symbols that were asked for as they are known in the feed: a reader finds them from the start."""
        if not self._with_receivers:
            return []
        return [key.encode() for key in symbol_keys(self.config, create_all(self.config))]

    def _make_roles(self) -> None:
        generation, feed = self.generation, self.config.feed
        control = generation.open_control()

        def starter(module: str, index: int, *rest: str) -> Callable[[str], Process]:
            def start(mode: str) -> Process:
                line = arguments(generation.directory, generation.number, index, *rest, mode)
                return Process(module, line, self._output)

            return start

        for index in range(self.shape.workers):
            start = starter(
                "openbell.worker", index, feed.wait, str(feed.worker_rate_limit), str(int(feed.exchange_latency))
            )
            self._workers.append(Role(f"worker-{index}", control.worker(index), start))
        assigned = assign(self.config)
        for index in range(self.shape.receivers if self._with_receivers else 0):
            start = starter("openbell.receiver", index, str(log.getEffectiveLevel()))
            connections = [control.connection(each.index) for each in assigned if each.receiver == index]
            self._receivers.append(Role(f"receiver-{index}", control.receiver(index), start, connections))

    def _refresh_lists(self) -> None:
        """Begin to read lists of symbols again, if that is asked for."""
        config = self.config
        if self._with_receivers and config.listed and any(source.refreshes for source in config.sources):
            # Imported where it is wanted: most feeds have a list for good.
            from openbell.universe.refreshing import Refresher, RunningFeed

            self._refresher = Refresher(config, RunningFeed(config.feed.name))
            self._refresher.start()

    def _end_refreshing(self) -> None:
        refresher, self._refresher = self._refresher, None
        if refresher is not None:
            refresher.stop()

    def _await_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        roles = (*self._workers, *self._receivers)
        while not self._signals.requested:
            waiting = [role.name for role in roles if not role.running]
            if not waiting:
                return
            if time.monotonic() > deadline:
                raise FeedError(
                    f"{', '.join(waiting)} of feed {self.config.feed.name!r} did not come up within {READY_S:.0f} s"
                )
            # Short: a process says that it is ready by a word in shared memory, which nobody can sleep on.
            self.poll(0.005)

    # ---- run ----

    @property
    def generation(self) -> Generation:
        """The feed's shared memory.

        Raises
        ------
        FeedError
            The feed is not started.
        """
        if self._generation is None:
            raise FeedError(f"feed {self.config.feed.name!r} is not started")
        return self._generation

    def run(self) -> None:
        """Run the feed until SIGINT, SIGTERM or SIGHUP, then stop it in order.

        Raises
        ------
        OpenBellError
            It cannot start, or a process cannot work any more, or records were lost while it stopped. Nothing is left
            behind.
        """
        with self._signals if self._owns_signals else nullcontext(), self:
            self.start()
            while not self._signals.requested:
                self.poll(_HEARTBEAT_S)
            missing = self.stop()
        short = [f"{missing:,} records that it had received are not in its last snapshot"] if missing else []
        short += [f"{name} was killed, and what it had read and not decoded is unknown" for name in self.killed]
        if short:
            raise FeedError(f"feed {self.config.feed.name!r} is stopped, but {'; '.join(short)}; the log says why")

    def poll(self, timeout_s: float) -> None:
        """Do what is due, and wait for something to happen, for `timeout_s` at most. Call it at least every 0.1 s.

        Raises
        ------
        OpenBellError
            A process says that it cannot work; the feed should be stopped.
        """
        roles = (*self._workers, *self._receivers)
        descriptors = [role.process.fileno() for role in roles if role.process is not None]
        if not self._signals.requested:
            descriptors.append(self._signals.fileno())
        wait_readable(descriptors, timeout_s)
        self._beat()
        self._tend(roles)

    def _tend(self, roles: Iterable[Role]) -> None:
        """Start again what ended unasked, once it is due."""
        now = time.monotonic()
        for role in roles:
            if role.process is not None and role.process.ended() is not None:
                self._mourn(role, now)
            if role.process is None and role.due <= now:
                self._start_again(role)

    def _start_again(self, role: Role, mode: str = "run") -> None:
        """Start a process in the place of one that ended; later, if the system has no room for one now."""
        # Before the start: a receiver sees by it that there was one before.
        role.slot.restarts += 1
        try:
            role.start(mode)
        except FeedError as error:
            role.slot.restarts -= 1
            delay = max(role.backoff.delay(0.0), Backoff.FIRST_S)
            role.due = time.monotonic() + delay
            log.error("%s is not started again: %s; the next attempt is in %.1f s", role.name, error, delay)

    def _beat(self) -> None:
        now = time.monotonic()
        if now >= self._beat_due and self._generation is not None:
            control = self._generation.open_control()
            control.supervisor.beat()
            self._beat_due = now + _HEARTBEAT_S
            if now >= self._clock_due:
                self._clock_due = now + _CLOCK_S
                if refresh_clock_offset(control):
                    log.warning("the wall clock was stepped; latencies across the step are not counted")
            if now >= self._reap_due:
                self._reap_due = now + _REAP_S
                for slot, pid, label in consumers.reap(self._generation):
                    log.warning("tethered reader %d (pid %d, %r) is dead; it holds nobody any more", slot, pid, label)

    def _mourn(self, role: Role, now: float) -> None:
        """Deal with a process that ended though nobody asked it to."""
        assert role.process is not None
        refusal = role.process.refusal()
        status = role.bury()
        if role.connections:
            # What it takes with it is lost now, and must not be counted once more by a stop.
            self._vanished = books.unpublished(self.generation)
        if status == EXIT_REFUSED and refusal is not None:
            raise refusal
        if status > 0 and not role.proven:
            raise FeedError(f"{role.name} of feed {self.config.feed.name!r} could not start ({describe_exit(status)})")
        delay = role.backoff.delay(now - role.started)
        role.due = now + delay
        later = f" in {delay:.1f} s" if delay else ""
        log.error("%s ended unasked (%s); starting it again%s", role.name, describe_exit(status), later)

    # ---- stop ----

    def drain(self) -> int:
        """Stop the receivers, then the workers once all that was published is applied. The snapshot stays.

        Takes `STOP_S` at most.

        Returns
        -------
        int
            Market-data records decoded and not applied: 0 unless a second stop signal came, or a process could not go
            on. What the policy ``drop`` dropped is not among them. See also `killed`.
        """
        if self._generation is None:
            return 0
        self._end_refreshing()
        began, lost_before = time.monotonic(), self._lost()
        if self._vanished:
            # Where one of several receivers died, the others may have been about to publish something.
            self._vanished = min(self._vanished, books.unpublished(self._generation))
        self._generation.open_control().state = FeedState.STOPPING
        # A receiver may need room in its rings for what it still has: the workers are looked after meanwhile.
        ended_badly = self._end(self._receivers, began + RECEIVERS_STOP_S, tend_workers=True)
        self._end(self._workers, began + WORKERS_STOP_S)
        late = [role for worker, role in enumerate(self._workers) if self._backlog(worker) and not self._hurried]
        for role in late:
            log.warning("%s is gone with records left; starting it once more to apply them", role.name)
            self._start_again(role, "drain")
        self._await_end(late, began + STOP_S)
        lost = self._lost() - lost_before
        if ended_badly:
            # Nobody was left to say what those held: it is what they counted and never showed.
            lost += books.unpublished(self._generation) - self._vanished
        left = books.unapplied(self._generation)
        if lost or left:
            log.error(
                "feed %s: %d records were received and not published, %d published and not applied",
                self.config.feed.name,
                lost,
                left,
            )
        for name in self.killed:
            log.error("%s was killed while it was connected; what it had read and not decoded is unknown", name)
        return lost + left

    def stop(self) -> int:
        """Stop all in order (`drain`), then remove the shared memory. May be called again, or without a start.

        Stop signals that come meanwhile hurry it; whatever happens, no process and no shared memory is left.

        Returns
        -------
        int
            Records that were received and not applied, as `drain`.
        """
        # Handlers of our own, so that Ctrl-C in the middle cannot leave half of it.
        own = self._signals.fileno() < 0
        with self._signals if own else nullcontext():
            try:
                return self.drain()
            finally:
                self.kill()

    def kill(self) -> None:
        """Kill what still runs and remove the shared memory, in no order and at once."""
        try:
            self._end_refreshing()
            for role in (*self._receivers, *self._workers):
                if role.process is not None:
                    role.bury()
        finally:
            self._receivers.clear()
            self._workers.clear()
            self._remove_memory()

    def _remove_memory(self) -> None:
        generation, self._generation = self._generation, None
        lock, self._lock = self._lock, None
        try:
            if generation is not None:
                generation.mark_dead()
                generation.unlink()
                generation.close()
        finally:
            if lock is not None:
                for path in lock.path.parent.glob("*-*.lock"):
                    path.unlink()
                lock.release(remove=True)
                runtime.remove_if_empty(lock.path.parent)

    @property
    def _hurried(self) -> bool:
        return self._signals.count > 1

    def _lost(self) -> int:
        """Return how many records were lost for want of room, but for those that a policy drops: that is no failure."""
        control = self.generation.open_control()
        counters = map(control.receiver_counters, range(self.shape.receivers))
        return sum(each.reason(Reason.SIDE_QUEUE_FULL) for each in counters)

    def _positions(self, worker: int) -> list[dict[str, int]]:
        rings = [ring_name(receiver, worker) for receiver in range(self.shape.receivers)]
        return [ring.positions(self.generation.body(name)) for name in rings]

    def _backlog(self, worker: int) -> int:
        return sum(at["head"] - at["applied"] for at in self._positions(worker))

    def _unblock(self) -> None:
        """Kill each worker that is stuck with a full ring, which holds a receiver up; it is started again at once."""
        for worker, role in enumerate(self._workers):
            if role.process is None or role.silent_s < STUCK_S:
                continue
            if any(at["head"] - at["applied"] >= at["capacity"] for at in self._positions(worker)):
                log.error("%s is stuck with a full ring, silent for %.1f s; replacing it", role.name, role.silent_s)
                role.bury()
                role.due = 0.0

    def _end(self, roles: Iterable[Role], until: float, *, tend_workers: bool = False) -> bool:
        """Ask processes to stop, and wait for them as `_await_end`."""
        roles = [role for role in roles if role.process is not None]
        for role in roles:
            assert role.process is not None
            role.process.send(signal.SIGTERM)
        return self._await_end(roles, until, tend_workers=tend_workers)

    def _await_end(self, roles: Iterable[Role], until: float, *, tend_workers: bool = False) -> bool:
        """Wait for processes to end, and kill those that have not by `until`; return whether any did not end well.

        With `tend_workers` the workers go on meanwhile. Without, it is they who end, and one that is stuck is not
        waited for: what it leaves, another can apply.
        """
        began, badly = time.monotonic(), False
        left = [role for role in roles if role.process is not None]
        while left and time.monotonic() < until and not self._hurried:
            wait_readable([role.process.fileno() for role in left if role.process is not None], _STOP_LOOK_S)
            self._beat()
            if tend_workers:
                self._unblock()
                self._tend(self._workers)
            for role in left:
                assert role.process is not None
                if role.process.ended() is not None:
                    connected, status = role.connected, role.bury()
                    # SIGTERM itself: it had not even come to saying what it does with it, so it has done nothing.
                    if status not in (0, -signal.SIGTERM):
                        badly = True
                        self.killed += (role.name,) if connected else ()
                        log.error("%s ended badly while stopping (%s)", role.name, describe_exit(status))
                elif not tend_workers and role.silent_s > STUCK_S:
                    badly = True
                    log.error("%s is stuck, silent for %.1f s; killing it", role.name, role.silent_s)
                    role.bury()
            left = [role for role in left if role.process is not None]
        for role in left:
            badly = True
            waited = "" if self._hurried else f" within {time.monotonic() - began:.1f} s"
            # Who asks twice knows that what is under way is dropped; what was decoded is in the books all the same.
            self.killed += (role.name,) if role.connected and not self._hurried else ()
            log.error("%s did not stop%s; killing it", role.name, waited)
            role.bury()
        return badly

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
