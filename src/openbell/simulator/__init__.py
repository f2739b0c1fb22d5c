"""An exchange in a box: serves a made-up market or a capture over WebSocket, and states what must come of it."""

from openbell.simulator.options import DIALECTS, PROFILES, SimulatorError, SimulatorOptions, parse_speed
from openbell.simulator.oracle import EMPTY_ROW
from openbell.simulator.server import Simulator, print_report, serve
from openbell.simulator.universe import DEFAULT_SYMBOLS, MAX_SYMBOLS, UNIVERSES, a_shares

__all__ = [
    "DEFAULT_SYMBOLS",
    "DIALECTS",
    "EMPTY_ROW",
    "MAX_SYMBOLS",
    "PROFILES",
    "UNIVERSES",
    "Simulator",
    "SimulatorError",
    "SimulatorOptions",
    "a_shares",
    "parse_speed",
    "print_report",
    "serve",
]
