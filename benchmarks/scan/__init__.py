"""A consistent copy and a scan of a whole market, against memcpy, numpy on private arrays, and a dict of objects."""

from benchmarks.scan.run import run

__all__ = ["run"]
