"""Run a benchmark: ``python -m benchmarks NAME [--json] [--quick]``."""

from __future__ import annotations

import importlib
import sys

import click

BENCHMARKS = {
    "ceiling": "receiver CPU per tick, socket to ring, against decode-only and raw",
    "peers": "whole feeds, socket to snapshot, against what people build with the usual libraries",
}


@click.command(
    epilog="Example: python -m benchmarks ceiling --quick --json. Benchmarks: "
    + "; ".join(f"{name}: {what}" for name, what in BENCHMARKS.items())
)
@click.argument("name", type=click.Choice(sorted(BENCHMARKS)))
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on the last line of stdout.")
@click.option("--quick", is_flag=True, help="Fewer and shorter slices: a smoke test, not a measurement.")
def main(name: str, as_json: bool, quick: bool) -> None:
    """Run benchmark NAME."""
    benchmark = importlib.import_module(f"benchmarks.{name}")
    sys.exit(benchmark.run(as_json=as_json, quick=quick))


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
