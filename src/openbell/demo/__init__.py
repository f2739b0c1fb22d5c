"""The demonstration: an exchange in a box, a whole feed, a live table, and a verdict."""

from openbell.demo.options import DemoError, DemoOptions
from openbell.demo.result import Result
from openbell.demo.run import Aborted, View, run_demo

__all__ = ["Aborted", "DemoError", "DemoOptions", "Result", "View", "run_demo"]
