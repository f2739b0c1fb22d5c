"""The vendors: one pure-Python file each, and how one is found by name."""

from openbell.vendors.base import Ack, Control, HeartbeatAck, Notice, Refusal, Vendor
from openbell.vendors.check import check
from openbell.vendors.plan import Field, Ignore, Op, Route
from openbell.vendors.registry import create, load
from openbell.vendors.semantics import Request, Semantics
from openbell.vendors.settling import settle

__all__ = [
    "Ack",
    "Control",
    "Field",
    "HeartbeatAck",
    "Ignore",
    "Notice",
    "Op",
    "Refusal",
    "Request",
    "Route",
    "Semantics",
    "Vendor",
    "check",
    "create",
    "load",
    "settle",
]
