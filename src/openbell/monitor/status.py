"""The state of a feed as one value: read from shared memory, at no cost to those who wrote it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from openbell.core import ring, words
from openbell.memory.names import ring_name
from openbell.memory.segment import Kind
from openbell.monitor.books import feed_rows
from openbell.monitor.consumers import ConsumersStatus, read_consumers
from openbell.monitor.control import CONNECTIONS_MAX, ConnectionState, Control, FeedState, ProcessState
from openbell.monitor.histogram import Histogram
from openbell.reasons import Reason, is_ignored, is_invalid

if TYPE_CHECKING:
    from openbell.core.snapshot import SnapshotReader
    from openbell.memory.generation import Generation

_COUNTS = (
    *("retries", "confirmed", "refused", "unconfirmed", "silent", "kept", "missed_pongs", "gaps", "switches"),
    *("holes", "missing", "repairs", "messages", "queue_bytes", "queue_peak_bytes"),
)

SILENT_NS = 1_000_000_000
"""Without a heartbeat for so long, a process is dead, stopped or stuck; hearts beat five times a second or more."""


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One process. Ages are in ns; `exit_status` is that of its predecessor, negative for the signal that killed it."""

    name: str
    pid: int
    state: ProcessState
    heartbeat_age_ns: int
    uptime_ns: int
    restarts: int
    exit_status: int

    @property
    def healthy(self) -> bool:
        """Whether it runs, and its heart beats."""
        return self.state == ProcessState.RUNNING and self.heartbeat_age_ns < SILENT_NS


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """One connection to a vendor, run by `receiver`. Ages are in ns, None for never.

    Attributes
    ----------
    connects, disconnects : int
        Sockets that were opened, and those that ended by themselves or were given up.
    last_frame_age_ns, last_pong_age_ns, last_ack_age_ns : int or None
        Since when nothing came at all, no answer to a ping, no answer to a request.
    acks, errors, retries : int
        Requests that were granted, errors of any kind, requests that were asked again.
    symbols, confirmed, refused, unconfirmed, silent : int
        Symbols that are wanted; of those, granted, refused, asked for in vain; and granted without anything coming
        where something should.
    kept : int
        How many of the granted symbols the vendor seems to have kept, which says nothing of the others; 0: all.
    missed_pongs, gaps, switches, repairs : int
        Pings without an answer, interruptions that were told, replacements without one, prices that were asked for
        after gaps.
    holes, missing : int
        Where the vendor numbers events without a break: how often some were left out while the connection was up, and
        how many numbers never came, those of interruptions included.
    messages : int
        Messages that came over its present socket.
    queue_bytes, queue_peak_bytes : int
        What the kernel has received for it and we have not read, and the most that ever was (Linux; elsewhere 0).
    """

    index: int
    receiver: int
    label: str
    state: ConnectionState
    connects: int
    disconnects: int
    last_frame_age_ns: int | None
    last_ack_age_ns: int | None
    acks: int
    errors: int
    symbols: int
    last_pong_age_ns: int | None = None
    retries: int = 0
    confirmed: int = 0
    refused: int = 0
    unconfirmed: int = 0
    silent: int = 0
    kept: int = 0
    missed_pongs: int = 0
    gaps: int = 0
    switches: int = 0
    holes: int = 0
    missing: int = 0
    repairs: int = 0
    messages: int = 0
    queue_bytes: int = 0
    queue_peak_bytes: int = 0


@dataclass(frozen=True, slots=True)
class RingStatus:
    """One ring, in records: `published` and `applied` since the feed began, the difference is its `backlog`."""

    receiver: int
    worker: int
    capacity: int
    published: int
    applied: int

    @property
    def backlog(self) -> int:
        """Records published and not yet applied."""
        return self.published - self.applied


@dataclass(frozen=True, slots=True)
class Status:
    """A feed at one moment.

    Attributes
    ----------
    frames, bytes : int
        WebSocket frames and their payload bytes received.
    events : int
        Events decoded: `published` + `invalid` + `ignored` + `lost`, and what is decoded and not yet published: in a
        read that still goes on, in a side queue beside a full ring, or with a receiver that was killed.
    published, applied : int
        Market-data records given to the workers, and those in the snapshot: from the positions of the rings, which no
        crash can bend. (A record that tells a gap or a session, and every record of an order book or of merged trades
        but its first, counts as published until it is applied.)
    lost, dropped, conflated : int
        Valid events for which there was no room: lost for good, `dropped` of them by policy; and those that went into
        the snapshot as a part of a newer event of their symbol.
    gaps : int
        Interruptions told by the receivers, each counted once for every worker that it was told to.
    reasons : dict of Reason to int
        Why events were not published.
    last_batch_ns : int
        When a worker last put something into the snapshot, ns since the epoch; 0: not yet.
    backlog_peak : int
        The most records that ever waited for one worker.
    paused_ns : int
        How long reading was paused because the workers were behind, added up over the connections.
    loop_lag_ns, loop_lag_peak_ns : int
        How late a receiver's event loop came back to itself when it last looked, and the latest it ever did: the worst
        of all receivers. Whatever waits for a receiver waits that long.
    latency : Histogram
        Receive to snapshot, ns, over all workers since the feed began.
    exchange_latency : Histogram
        The vendor's time of an event to snapshot, ns, signed: clocks differ. Empty unless the feed keeps it.
    consumers : ConsumersStatus
        The readers that may hold the receivers up for a bounded time, and how long they have.
    """

    feed: str
    generation: int
    state: FeedState
    uptime_ns: int
    symbols: int
    processes: tuple[ProcessStatus, ...]
    connections: tuple[ConnectionStatus, ...]
    rings: tuple[RingStatus, ...]
    frames: int
    bytes: int
    events: int
    published: int
    applied: int
    invalid: int
    ignored: int
    lost: int
    conflated: int
    dropped: int
    gaps: int
    reasons: dict[Reason, int]
    last_batch_ns: int
    backlog_peak: int
    paused_ns: int
    side_queue_peak: int
    latency: Histogram
    exchange_latency: Histogram
    loop_lag_ns: int = 0
    loop_lag_peak_ns: int = 0
    consumers: ConsumersStatus = field(default_factory=ConsumersStatus)

    @property
    def backlog(self) -> int:
        """Records published and not yet applied, over all rings."""
        return sum(each.backlog for each in self.rings)

    @property
    def restarts(self) -> int:
        """How often processes had to be started again."""
        return sum(process.restarts for process in self.processes)


def read_status(feed: str, generation: Generation, reader: SnapshotReader, symbols: int) -> Status:
    """Read the state of a feed.

    Parameters
    ----------
    feed : str
        Its name.
    generation : Generation
        Its control segment is mapped; its rings will be.
    reader : SnapshotReader
        Over its snapshot.
    symbols : int
        How many symbols it knows.

    Raises
    ------
    FeedNotFound
        The feed was stopped before its rings could be mapped.
    """
    control = generation.open_control()
    now = words.monotonic_ns()
    # Rings before feed rows before counters: each number can only be smaller than what follows from it later.
    rings = tuple(
        _ring(generation, receiver, worker)
        for receiver in range(control.receivers)
        for worker in range(control.workers)
    )
    bookkeeping, gaps = feed_rows(reader)
    counters = [control.receiver_counters(index) for index in range(control.receivers)]
    appliers = [control.worker_counters(index) for index in range(control.workers)]
    reasons: Counter[int] = Counter()
    for block in counters:
        reasons.update(block.reasons())
    return Status(
        feed=feed,
        generation=generation.number,
        state=FeedState(control.state),
        uptime_ns=now - control.started_ns,
        symbols=symbols,
        processes=_processes(control, now),
        connections=_connections(control, now),
        rings=rings,
        frames=sum(block.frames for block in counters),
        bytes=sum(block.bytes for block in counters),
        events=sum(block.events for block in counters),
        published=max(0, sum(each.published for each in rings) - bookkeeping),
        applied=max(0, sum(each.applied for each in rings) - bookkeeping),
        invalid=sum(count for reason, count in reasons.items() if is_invalid(reason)),
        ignored=sum(count for reason, count in reasons.items() if is_ignored(reason)),
        lost=sum(block.lost for block in counters),
        conflated=reasons[Reason.CONFLATED],
        dropped=reasons[Reason.DROPPED],
        gaps=gaps,
        reasons={Reason(reason): count for reason, count in sorted(reasons.items())},
        last_batch_ns=max(each.last_batch_ns for each in appliers),
        backlog_peak=max(each.backlog_max for each in appliers),
        paused_ns=sum(block.paused_ns for block in counters),
        side_queue_peak=max((block.side_queue_peak for block in counters), default=0),
        loop_lag_ns=max((block.loop_lag_ns for block in counters), default=0),
        loop_lag_peak_ns=max((block.loop_lag_peak_ns for block in counters), default=0),
        latency=Histogram.merge(Histogram.read(control.histogram(index)) for index in range(control.workers)),
        exchange_latency=Histogram.merge(
            Histogram.read(control.exchange_histogram(index)) for index in range(control.workers)
        ),
        consumers=read_consumers(generation, [each.published for each in rings]),
    )


def _ring(generation: Generation, receiver: int, worker: int) -> RingStatus:
    at = ring.positions(generation.open(ring_name(receiver, worker), Kind.RING))
    # Applied may have moved past the head that was read before it.
    return RingStatus(receiver, worker, at["capacity"], max(at["head"], at["applied"]), at["applied"])


def _processes(control: Control, now: int) -> tuple[ProcessStatus, ...]:
    return tuple(
        ProcessStatus(
            name=name,
            pid=slot.pid,
            state=ProcessState(slot.state),
            heartbeat_age_ns=max(0, now - slot.heartbeat_ns),
            uptime_ns=max(0, now - slot.started_ns),
            restarts=slot.restarts,
            exit_status=slot.exit_status,
        )
        for name, slot in control.processes()
        if slot.state != ProcessState.UNUSED
    )


def _connections(control: Control, now: int) -> tuple[ConnectionStatus, ...]:
    def age(at_ns: int) -> int | None:
        return max(0, now - at_ns) if at_ns else None

    blocks = ((index, control.connection(index)) for index in range(CONNECTIONS_MAX))
    return tuple(
        ConnectionStatus(
            index=index,
            receiver=index % control.receivers,
            label=block.label,
            state=ConnectionState(block.state),
            connects=block.connects,
            disconnects=block.disconnects,
            last_frame_age_ns=age(block.last_frame_ns),
            last_ack_age_ns=age(block.last_ack_ns),
            acks=block.acks,
            errors=block.errors,
            symbols=block.symbols,
            last_pong_age_ns=age(block.last_pong_ns),
            **{name: getattr(block, name) for name in _COUNTS},
        )
        for index, block in blocks
        if block.state != ConnectionState.UNUSED
    )
