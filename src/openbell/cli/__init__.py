"""The command line: one thin file a verb."""

from openbell.cli.root import main

__all__ = ["main"]
