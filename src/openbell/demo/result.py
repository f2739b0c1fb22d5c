"""What a demonstration comes to."""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    market: str
    symbols: int
    sent: int
    status: Status
    verdict: Verdict
    seconds: float
    interrupted: bool

    @property
    def lost(self) -> int:
        """Events sent that nobody can account for; negative if something was applied or counted twice."""
        return self.sent - self.status.applied - self.status.invalid - self.status.ignored

    @property
    def ok(self) -> bool:
        """Whether something was sent, nothing was lost, and the snapshot is what it must be."""
        return self.sent > 0 and not self.broken

    @property
    def broken(self) -> bool:
        """Whether something was lost or counted twice, or the snapshot is not what it must be."""
        return self.lost != 0 or not self.verdict.matches

    def to_json(self) -> dict[str, object]:
        """Return the result for a program."""
        at = self.status
        return {
            "universe": self.market,
            "symbols": self.symbols,
            "connections": len(at.connections),
            "receivers": sum(process.name.startswith("receiver") for process in at.processes),
            "sent": self.sent,
            "received": at.events,
            "applied": at.applied,
            "invalid": at.invalid,
            "ignored": at.ignored,
            "lost": self.lost,
            "snapshot_matches": self.verdict.matches,
            "seconds": round(self.seconds, 3),
            "ticks_per_second": round(at.applied / self.seconds) if self.seconds > 0 else 0,
            "receive_to_snapshot_ns": at.latency.summary(),
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
            told.append(f"reading was paused for {at.paused_ns / 1e9:.3f} s because a ring was full")
        if verdict.matches:
            told.append(f"snapshot: all {verdict.rows:,} rows x {verdict.columns} columns are what the oracle says")
        else:
            told.append(f"snapshot: {verdict.wrong:,} values are not what the oracle says; the first:")
            told += [f"  {difference}" for difference in verdict.first]
        told.append(f"lost: {self.lost:,}")
        if self.interrupted and not self.sent and not self.broken:
            told.append("no verdict: it was interrupted before anything was sent")
        else:
            told.append(("OK" if self.ok else "NOT OK") + (" (so far: it was interrupted)" if self.interrupted else ""))
        return told
