"""Ctrl-C before a command has anything to end in order, and after it has ended."""

import os
import signal
from types import FrameType

from openbell.cli.exits import INTERRUPTED


def leave_at_once() -> None:
    """Let SIGINT end this process quietly, until a command takes the signal over.

    A `KeyboardInterrupt` would not do: raised while modules are being imported it may be swallowed, or printed with
    a traceback, by whatever it happens to hit. Commands that make something take SIGINT over before they do.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Otherwise it is ignored, as in a background job of a shell: then that stays so.
        signal.signal(signal.SIGINT, _leave)


def leave_in_peace() -> None:
    """Have SIGINT ignored: the command is done, and its exit status is not to be lost while the interpreter ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)
