"""What a demonstration comes to."""

from __future__ import annotations

from dataclasses import dataclass, field

from openbell.config import Overflow
from openbell.demo.exchange import Event
from openbell.monitor.status import Status
from openbell.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Result:
    """The figures and the verdict.

    Attributes
    ----------
    market : str
        What was played.
    symbols : int
        Symbols of the market.
    sent : int
        Events that left the simulator.
    status : Status
        What became of them in the feed, once it was drained.
    verdict : Verdict
        The snapshot against the oracle.
    seconds : float
        From the start of sending until the last event was applied.
    interrupted : bool
        Whether it was ended before the market was.
    start_ns : int
        When the market opened, ns since the epoch, as the simulator says.
    statement : Event
        What the simulator says at the end.
    overflow : str
        What the feed did when a ring was full.
    peak_rss_mb : dict of str to float
        The most memory that the simulator and each process of the feed ever had resident, the shared memory it touched
        included; empty where the system does not tell.
    """

    market: str
    symbols: int
    sent: int
    status: Status
    verdict: Verdict
    seconds: float
    interrupted: bool
    start_ns: int = 0
    statement: Event = field(default_factory=lambda: Event("done"))
    overflow: Overflow = "block"
    peak_rss_mb: dict[str, float] = field(default_factory=dict)

    @property
    def lost(self) -> int:
        """Valid events sent that never came to the snapshot; negative if something was applied or counted twice."""
        return self.sent - self.status.applied - self.status.conflated - self.status.invalid - self.status.ignored

    @property
    def unaccounted(self) -> int:
        """Those of the lost events that were not dropped by policy and counted so."""
        return self.lost - self.status.dropped

    @property
    def ok(self) -> bool:
        """Whether something was sent, all of it is accounted for, and the snapshot is what it must be."""
        return self.sent > 0 and not self.broken

    @property
    def broken(self) -> bool:
        """Whether something is not accounted for, or the snapshot is not what it must be.

        Where events were dropped by policy, rows must tell it and lack no more trades than that, and all others must be
        what the oracle says.
        """
        at, verdict = self.status, self.verdict
        if at.dropped and (self.overflow != "drop" or not verdict.excused or verdict.missing_trades > at.dropped):
            return True
        return self.unaccounted != 0 or not verdict.matches

    def to_json(self) -> dict[str, object]:
        """Return the result for a program."""
        at = self.status
        return {
            "universe": self.market,
            "symbols": self.symbols,
            "connections": len(at.connections),
            "receivers": sum(process.name.startswith("receiver") for process in at.processes),
            "workers": sum(process.name.startswith("worker") for process in at.processes),
            "overflow": self.overflow,
            "sent": self.sent,
            "received": at.events,
            "applied": at.applied,
            "invalid": at.invalid,
            "ignored": at.ignored,
            "conflated": at.conflated,
            "dropped": at.dropped,
            "lost": self.lost,
            "unaccounted": self.unaccounted,
            "rows_with_gaps": self.verdict.excused,
            "snapshot_matches": self.verdict.matches,
            "seconds": round(self.seconds, 3),
            "ticks_per_second": round(at.applied / self.seconds) if self.seconds > 0 else 0,
            "receive_to_snapshot_ns": at.latency.summary(),
            "paused_seconds": round(at.paused_ns / 1e9, 3),
            "peak_backlog": at.backlog_peak,
            "peak_waiting": at.side_queue_peak,
            "peak_rss_mb": self.peak_rss_mb,
            "ok": self.ok,
        }

    def lines(self) -> list[str]:
        """Return the result for people, the verdict last."""
        at, verdict = self.status, self.verdict
        latency = {name: value / 1000 for name, value in at.latency.summary().items()}
        told = [
            f"sent {self.sent:,} events of {self.symbols:,} symbols in {self.seconds:.2f} s",
            f"received {at.events:,}, applied {at.applied:,}, invalid {at.invalid:,}, ignored {at.ignored:,}",
            *(f"  {count:,} x {reason.description}" for reason, count in at.reasons.items()),
            f"receive to snapshot: p50 {latency['p50']:,.1f} µs, p99 {latency['p99']:,.1f} µs, "
            f"p99.9 {latency['p999']:,.1f} µs, max {latency['max']:,.1f} µs",
        ]
        if at.paused_ns:
            over = f" (added up over {len(at.connections)} connections)" if len(at.connections) > 1 else ""
            told.append(f"reading was paused for {at.paused_ns / 1e9:.3f} s{over} because a ring was full")
        told.append(f"at most {at.backlog_peak:,} records waited for a worker, {at.side_queue_peak:,} for a ring")
        if self.peak_rss_mb:
            told.append("peak memory: " + ", ".join(f"{name} {size:.1f} MB" for name, size in self.peak_rss_mb.items()))
        if verdict.excused:
            told.append(
                f"snapshot: {verdict.excused:,} rows tell a gap and are not compared; they lack "
                f"{verdict.missing_trades:,} trades"
            )
        if verdict.matches and verdict.excused:
            told.append(
                f"snapshot: the other {verdict.rows:,} rows x {verdict.columns} columns are what the oracle says"
            )
        elif verdict.matches:
            told.append(f"snapshot: all {verdict.rows:,} rows x {verdict.columns} columns are what the oracle says")
        else:
            told.append(f"snapshot: {verdict.wrong:,} values are not what the oracle says; the first:")
            told += [f"  {difference}" for difference in verdict.first]
        unaccounted = f", of which {self.unaccounted:,} nobody has counted" if at.dropped else ""
        told.append(f"lost: {self.lost:,}{unaccounted}")
        if self.interrupted and not self.sent and not self.broken:
            told.append("no verdict: it was interrupted before anything was sent")
        else:
            told.append(("OK" if self.ok else "NOT OK") + (" (so far: it was interrupted)" if self.interrupted else ""))
        return told
