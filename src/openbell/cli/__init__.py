"""The command line: one thin file a verb.

Importing this package imports nothing more, so that `main` is in charge of Ctrl-C before anything slow begins.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: "Sequence[str] | None" = None) -> int:
    """Run one command and return its exit status; see `openbell.cli.root.main`.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line without the program's name; ``sys.argv[1:]``, as the program itself, by default.
    """
    try:
        if arguments is None:
            from openbell.cli.interrupt import leave_at_once

            leave_at_once()
        from openbell.cli.root import main as run
    except KeyboardInterrupt:
        # Before `leave_at_once` was in charge.
        return 130
    try:
        return run(arguments)
    finally:
        if arguments is None:
            from openbell.cli.interrupt import leave_in_peace

            leave_in_peace()
