"""``python -m openbell.simulator``: the entry by which other processes of OpenBell start a simulator.

Speaks JSON lines on stdout; users have ``openbell simulate``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from openbell.errors import OpenBellError
from openbell.simulator import DIALECTS, PROFILES, UNIVERSES, SimulatorOptions, parse_speed, serve


def _arguments() -> argparse.ArgumentParser:
    # No default is stated here: what is not given is left to SimulatorOptions.
    parser = argparse.ArgumentParser(
        prog="python -m openbell.simulator", argument_default=argparse.SUPPRESS, description="An exchange in a box."
    )
    parser.add_argument("--universe", choices=list(UNIVERSES))
    parser.add_argument("--dialect", choices=DIALECTS)
    parser.add_argument("--profile", choices=PROFILES)
    parser.add_argument("--scale", type=float)
    parser.add_argument("--frame-ticks", type=int)
    parser.add_argument("--join", type=int)
    parser.add_argument("--cumulative", action="store_true")
    parser.add_argument("--books", action="store_true")
    parser.add_argument("--book-levels", type=int)
    parser.add_argument("--enforce", action="store_true")
    parser.add_argument("--codes-limit", type=int)
    parser.add_argument("--connections-limit", type=int)
    parser.add_argument("--request-spacing", type=float, dest="request_spacing_s")
    parser.add_argument("--connection-spacing", type=float, dest="connection_spacing_s")
    parser.add_argument("--stamp-ns", action="store_true")
    parser.add_argument("--capture", type=Path)
    parser.add_argument("--symbols", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--speed")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--open-ms", type=int)
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--start-quiet", type=float, dest="start_quiet_s")
    parser.add_argument("--heartbeat-timeout", type=float, dest="heartbeat_timeout_s")
    parser.add_argument("--flush-timeout", type=float, dest="flush_timeout_s")
    parser.add_argument("--no-linger", action="store_false", dest="linger")
    parser.add_argument("--oracle", type=Path)
    parser.add_argument("--symbols-file", type=Path)
    parser.add_argument("--parent", type=int)
    parser.add_argument("--fault", action="append")
    parser.add_argument("--faults")
    parser.add_argument("--fault-every", type=float, dest="fault_every_s")
    parser.add_argument("--fault-clients", type=int)
    parser.add_argument("--commands", action="store_true")
    parser.add_argument("--journal", type=Path)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve; return the exit code (0 in order, 1 for an error, said on stderr)."""
    values = vars(_arguments().parse_args(arguments))
    try:
        if "speed" in values:
            values["speed"] = parse_speed(values["speed"])
        serve(SimulatorOptions(**values))
    except OpenBellError as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
