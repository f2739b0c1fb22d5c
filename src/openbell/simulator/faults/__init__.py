"""What a vendor may do wrong: mute sockets, broken messages, storms of disconnects, and a journal of all of it."""

from openbell.simulator.faults.kinds import KINDS, Kind, Where
from openbell.simulator.faults.script import Fault, parse_fault, read_script, storm

__all__ = ["KINDS", "Fault", "Kind", "Where", "parse_fault", "read_script", "storm"]
