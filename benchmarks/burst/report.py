"""What was found, as figures and as a text."""

from __future__ import annotations

from typing import Any, TextIO

from benchmarks.burst.drain import Drain
from benchmarks.burst.meter import Meter
from benchmarks.burst.options import DRAIN_RATIO, GENERATOR_LATE_P99_NS, BurstOptions
from openbell.demo import Result


def figures(options: BurstOptions, result: Result, meter: Meter) -> dict[str, Any]:
    """Return the figures of an opening.

    ``ok``: nothing was lost, the snapshot is what the oracle says, the market sent in its first second what the profile
    says, and its generator kept to its times (99 % of the events at most 5 ms late).
    """
    at, said = result.status, result.statement
    late = said.late_ns
    ring = max(ring.capacity for ring in at.rings)
    return {
        "profile": options.profile,
        "scale": options.scale,
        "symbols": result.symbols,
        "frame_ticks": options.frame_ticks,
        "overflow": options.overflow,
        "seconds": options.seconds,
        "offered": result.sent,
        "offered_first_second": said.offered_first_second,
        "expected_first_second": said.expected_first_second,
        "applied": at.applied,
        "conflated": at.conflated,
        "dropped": at.dropped,
        "lost": result.lost,
        "snapshot_matches": result.verdict.matches,
        "generator_late_ns": late,
        "receive_to_snapshot_ns": at.latency.summary(),
        "intended_to_snapshot_ns": at.exchange_latency.summary(),
        "cpu_seconds": {
            "generator": said.cpu_seconds,
            **{name: round(ns / 1e9, 3) for name, ns in meter.cpu_ns.items()},
        },
        "peak_ring_fill": round(at.backlog_peak / ring, 4),
        "side_queue_peak": at.side_queue_peak,
        "reading_paused_ns": at.paused_ns,
        "rss_mb": {{"simulator": "generator"}.get(name, name): mb for name, mb in result.peak_rss_mb.items()},
        "histograms": {
            "receive_to_snapshot_ns": at.latency.nonempty(),
            "intended_to_snapshot_ns": at.exchange_latency.nonempty(),
        },
        "ok": (
            result.ok
            and result.lost == 0
            and said.offered_first_second == said.expected_first_second
            and late is not None
            and late["p99"] <= GENERATOR_LATE_P99_NS
        ),
    }


def flush(drain: Drain) -> dict[str, Any]:
    """Return the figures of the first flush."""
    return {
        "first_flush_events": drain.events,
        "first_flush_drain_ns": drain.feed_ns,
        "decode_only_drain_ns": drain.decode_only_ns,
        "first_flush_ratio": drain.ratio,
    }


def table(found: dict[str, Any], out: TextIO) -> None:
    """Print the result for people."""

    def say(text: str) -> None:
        print(text, file=out)

    say(
        f"{found['profile']} x {found['scale']:g}: {found['symbols']:,} symbols, {found['frame_ticks']} events a "
        f"frame, {found['seconds']:g} s, overflow {found['overflow']}"
    )
    say(
        f"offered {found['offered']:,}, in the first second {found['offered_first_second']:,} "
        f"(the profile says {found['expected_first_second']:,})"
    )
    named = "".join(f", {name} {found[name]:,}" for name in ("conflated", "dropped") if found[name])
    matches = "is what it must be" if found["snapshot_matches"] else "IS WRONG"
    say(f"applied {found['applied']:,}{named}, lost {found['lost']:,}; the snapshot {matches}")
    for name, key in (
        ("generator late", "generator_late_ns"),
        ("receive to snapshot", "receive_to_snapshot_ns"),
        ("intended to snapshot", "intended_to_snapshot_ns"),
    ):
        say(f"{name}: " + ", ".join(f"{at} {ns / 1e6:,.3f} ms" for at, ns in (found[key] or {}).items()))
    say("CPU: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in found["cpu_seconds"].items()))
    say("most memory: " + ", ".join(f"{name} {size:,.0f} MB" for name, size in found["rss_mb"].items()))
    say(
        f"fullest ring {found['peak_ring_fill']:.1%}, longest side queue {found['side_queue_peak']:,}, reading paused "
        f"for {found['reading_paused_ns'] / 1e9:.3f} s"
    )
    say(
        f"first flush of {found['first_flush_events']:,}: in the snapshot after "
        f"{found['first_flush_drain_ns'] / 1e6:,.1f} ms, only decoded after "
        f"{found['decode_only_drain_ns'] / 1e6:,.1f} ms: {found['first_flush_ratio']:.2f} x (at most {DRAIN_RATIO} x)"
    )
    if "limit_scale" in found:
        say(f"highest scale sustained: {found['limit_scale']:g}")
    say("OK" if found["ok"] else "NOT OK")
