"""The vendors: one pure-Python file each, and how one is found by name."""

from openbell.vendors.base import Ack, Control, HeartbeatAck, Notice, Refusal, Vendor
from openbell.vendors.check import check
from openbell.vendors.plan import Field, Ignore, Op, Route
from openbell.vendors.registry import create, load

__all__ = [
    "Ack",
    "Control",
    "Field",
    "HeartbeatAck",
    "Ignore",
    "Notice",
    "Op",
    "Refusal",
    "Route",
    "Vendor",
    "check",
    "create",
    "load",
]
