"""Ctrl-C, or a SIGTERM, before a command has anything to end in order, and after it has ended."""

import os
import signal
from types import FrameType

from openbell.cli.exits import INTERRUPTED


def leave_at_once() -> None:
    """Let SIGINT and SIGTERM end this process quietly, until a command takes them over.

    A `KeyboardInterrupt` would not do: raised while modules are being imported it may be swallowed, or printed with
    a traceback, by whatever it happens to hit. Commands that make something take both over before they do.
    """
    # Otherwise it is ignored, as in a background job of a shell: then that stays so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _leave)


def leave_in_peace() -> None:
    """Have both ignored: the command is done, and its exit status is not to be lost while the interpreter ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)
