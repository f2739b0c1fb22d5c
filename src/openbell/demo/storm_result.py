"""What a demonstration with faults comes to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from openbell.demo.account import Account
from openbell.demo.resources import Trend
from openbell.monitor.status import Status
from openbell.reasons import Reason
from openbell.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """One fault, and what came of it.

    Attributes
    ----------
    kind, fault : str
        What went wrong, and as it was written.
    at_s : float
        When, in seconds since the market opened.
    connections : tuple of str
        Whom it happened to.
    states : tuple of str
        What those connections were doing from then until the next fault.
    ended : tuple of str
        Why their sockets ended, if they did.
    noticed_s : float or None
        How long after the fault the first of them ended; None: none did.
    recovered_s : float or None
        How long after the fault all of them were live again; 0: they were all the time; None: not all of them are.
    gaps : int
        Gaps that were told in its time.
    counted : dict of str to int
        What the feed counted in its time.
    """

    kind: str
    fault: str
    at_s: float
    connections: tuple[str, ...]
    states: tuple[str, ...]
    ended: tuple[str, ...]
    noticed_s: float | None
    recovered_s: float | None
    gaps: int
    counted: dict[str, int]

    def to_json(self) -> dict[str, object]:
        """Return it for a program."""
        return {
            "kind": self.kind,
            "fault": self.fault,
            "at_s": round(self.at_s, 3),
            "connections": list(self.connections),
            "states": list(self.states),
            "ended": list(self.ended),
            "noticed_s": None if self.noticed_s is None else round(self.noticed_s, 3),
            "recovered_s": None if self.recovered_s is None else round(self.recovered_s, 3),
            "gaps": self.gaps,
            "counted": self.counted,
        }


@dataclass(frozen=True, slots=True)
class StormResult:
    """The figures and the verdict.

    Attributes
    ----------
    market, symbols, seed
        What was played.
    status : Status
        What became of it in the feed, once it was drained.
    verdict : Verdict
        The snapshot against what follows from what was received.
    account : Account
        What was sent and received.
    outcomes : tuple of Outcome
        Fault by fault.
    trends : dict of str to Trend
        What the processes needed.
    seconds : float
        From the start of sending until the last event was applied.
    lapped : int
        Records that this demonstration's own look at the rings missed: gaps may have been among them.
    interrupted : bool
        Whether it was ended before the market was.
    """

    market: str
    symbols: int
    seed: int
    status: Status
    verdict: Verdict
    account: Account
    outcomes: tuple[Outcome, ...]
    trends: dict[str, Trend]
    seconds: float
    lapped: int = 0
    interrupted: bool = False
    problems: tuple[str, ...] = field(default=())

    @property
    def broken(self) -> bool:
        """Whether something is not accounted for, not recovered from, or not flat."""
        return bool(self.faults_found())

    @property
    def ok(self) -> bool:
        """Whether something was received, everything is accounted for, and every connection came back."""
        return self.status.applied > 0 and not self.broken

    def faults_found(self) -> list[str]:
        """Return what is wrong, a line each."""
        at, account = self.status, self.account
        found = [*self.problems, *account.problems]
        if self.lapped:
            found.append(f"{self.lapped} records were not seen by the demonstration itself; gaps may be among them")
        if at.events != account.events:
            found.append(f"{account.events:,} events were received, and {at.events:,} counted")
        counted = Counter({Reason(reason): count for reason, count in at.reasons.items() if count})
        for reason in sorted({*counted, *account.reasons}):
            if counted[reason] != account.reasons[reason]:
                found.append(f"{Reason(reason).name}: counted {counted[reason]:,}, must be {account.reasons[reason]:,}")
        good = sum(len(entries) for entries in account.received)
        if at.applied != good:
            found.append(f"{good:,} good events were received, and {at.applied:,} applied")
        found += [str(difference) for difference in self.verdict.first]
        found += [
            f"{each.kind} at {each.at_s:.1f} s: not recovered" for each in self.outcomes if each.recovered_s is None
        ]
        found += [
            f"{name}: grows by {trend.growth_bytes / 1e6:.1f} MB and {trend.growth_descriptors:.1f} descriptors"
            for name, trend in self.trends.items()
            if not trend.flat
        ]
        return found

    def to_json(self) -> dict[str, object]:
        """Return the result for a program."""
        at = self.status
        return {
            "universe": self.market,
            "symbols": self.symbols,
            "seed": self.seed,
            "received": at.events,
            "applied": at.applied,
            "invalid": at.invalid,
            "ignored": at.ignored,
            "reasons": {Reason(reason).name: count for reason, count in at.reasons.items() if count},
            "connections": [
                {
                    "connection": each.label,
                    "sent": each.sent,
                    "received": each.received,
                    "withheld": each.withheld,
                    "missing": each.missing,
                    "untold": each.untold,
                    "lives": each.lives,
                    "gaps": each.gaps,
                    "holes": each.holes,
                    "numbers_missing": each.numbers,
                }
                for each in self.account.connections
            ],
            "faults": [each.to_json() for each in self.outcomes],
            "rows": self.verdict.rows,
            "columns": self.verdict.columns,
            "snapshot_matches": self.verdict.matches,
            "seconds": round(self.seconds, 3),
            "receive_to_snapshot_ns": at.latency.summary(),
            "resources": {name: trend.to_json() for name, trend in self.trends.items()},
            "wrong": self.faults_found(),
            "ok": self.ok,
        }

    def lines(self) -> list[str]:
        """Return the result for people, the verdict last."""
        at, verdict = self.status, self.verdict
        told = [f"{'fault':24} {'at':>7}  {'ended':24} {'noticed':>8} {'back':>8} gaps  counted"]
        for each in self.outcomes:
            noticed = "" if each.noticed_s is None else f"{each.noticed_s:.2f} s"
            back = "never" if each.recovered_s is None else f"{each.recovered_s:.2f} s" if each.recovered_s else ""
            counted = ", ".join(f"{count:,} {name}" for name, count in each.counted.items() if name not in _OBVIOUS)
            told.append(
                f"{each.fault.partition('@')[0]:24} {each.at_s:6.1f}s  {','.join(each.ended):24} {noticed:>8} {back:>8}"
                f" {each.gaps:4}  {counted}"
            )
        for settled in self.account.connections:
            told.append(
                f"{settled.label}: sent {settled.sent:,} messages and received {settled.received:,} over "
                f"{settled.lives} lives; {settled.missing:,} events are missing ({settled.withheld:,} were withheld), "
                f"{settled.untold:,} of them in none of the {settled.gaps} gaps that were told"
                + (f" and {settled.holes:,} holes in the vendor's numbers" if settled.holes else "")
            )
        told.append(
            f"received {at.events:,} events, applied {at.applied:,}, invalid {at.invalid:,}, ignored {at.ignored:,}"
        )
        told += [f"  {count:,} x {Reason(reason).description}" for reason, count in at.reasons.items() if count]
        if verdict.matches:
            told.append(
                f"snapshot: all {verdict.rows:,} rows x {verdict.columns} columns follow from what was received"
            )
        for name, trend in self.trends.items():
            told.append(
                f"{name}: {trend.first_bytes / 1e6:.1f} to {trend.last_bytes / 1e6:.1f} MB private, "
                f"{trend.first_descriptors} to {trend.last_descriptors} files, {trend.bytes_per_s / 1000:+.2f} kB/s"
            )
        told += [f"WRONG: {line}" for line in self.faults_found()]
        told.append(("OK" if self.ok else "NOT OK") + (" (so far: it was interrupted)" if self.interrupted else ""))
        return told


_OBVIOUS = frozenset({"connects", "disconnects", "gaps"})
