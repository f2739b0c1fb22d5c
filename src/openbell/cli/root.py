"""The ``openbell`` command: its verbs, and what its exit status means.

Every verb imports what it needs inside its own function, so that ``openbell --help`` and a typing
mistake cost no numpy, no rich and no socket library.
"""

import contextlib
import os
import sys
from collections.abc import Sequence

import click

from openbell.cli.bars import bars
from openbell.cli.book import book
from openbell.cli.demo import demo
from openbell.cli.exits import FAILED, INTERRUPTED, OK, USAGE
from openbell.cli.record import record
from openbell.cli.run import run
from openbell.cli.scan import scan
from openbell.cli.simulate import simulate
from openbell.cli.snapshot import snapshot
from openbell.cli.status import status
from openbell.cli.subscribe import subscribe, unsubscribe
from openbell.cli.symbols import symbols
from openbell.cli.tail import tail
from openbell.errors import ConfigError, OpenBellError
from openbell.printable import printable


def _show_version(context: click.Context, option: click.Parameter, asked: bool) -> None:
    if asked:
        import openbell

        click.echo(f"openbell {openbell.__version__}")
        context.exit()


class _Root(click.Group):
    """The verbs. Whoever has enough of their output (`openbell tail cn | head`) is no fault of theirs: status 0."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the verb that was asked for."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Left to click it would be status 1.
            _give_up_stdout()
            return OK


@click.group(cls=_Root, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def root() -> None:
    """A market-data feed handler: one vendor's push feed in, a live shared-memory snapshot out.

    \b
    See it work, with an exchange in a box and a verdict at the end:
        openbell demo
    """


for verb in (demo, run, symbols, snapshot, scan, bars, book, tail, status, simulate, record, subscribe, unsubscribe):
    root.add_command(verb)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line without the program's name; ``sys.argv[1:]`` by default.

    Returns
    -------
    int
        0 done, 1 the work or the check failed, 2 wrong usage or configuration, 130 interrupted.
    """
    try:
        outcome = root.main(args=arguments, prog_name="openbell", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        click.echo("openbell: interrupted", err=True)
        return INTERRUPTED
    except ConfigError as error:
        return _complain(error, USAGE)
    except BrokenPipeError:
        # Of the flush above: what was printed was little enough to wait for it.
        _give_up_stdout()
        return OK
    except (OpenBellError, OSError) as error:
        return _complain(error, FAILED)
    return outcome if isinstance(outcome, int) else OK


def _give_up_stdout() -> None:
    # The interpreter would flush once more at exit and complain: give it somewhere to flush to.
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(error: Exception, status: int) -> int:
    # Names that others chose are in it, and may have been chosen for what a terminal makes of them.
    click.echo(f"openbell: {printable(str(error))}", err=True)
    return status
