"""``openbell run``: run a feed until it is told to stop."""

from pathlib import Path

import click

from openbell.cli.exits import OK


@click.command(short_help="Run the feed of a configuration file.", epilog="Example: openbell run feed.toml")
@click.argument("config_file", metavar="FEED.toml", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--check", is_flag=True, help="Only check the configuration, and say what it comes to.")
@click.option("--quiet", "-q", is_flag=True, help="Log warnings and errors only.")
def run(config_file: Path, check: bool, quiet: bool) -> int:
    """Run the feed of a configuration file, in the foreground, until SIGINT (Ctrl-C) or SIGTERM.

    Logs to stderr. Look at it from elsewhere with `openbell status` and `openbell snapshot`. Stopped by a signal it
    applies all that it received, leaves nothing behind, and exits with status 0: that is its normal end. Exit status 1
    if the feed had to end by itself, or if records were lost, or a receiver had to be killed, while it stopped.
    """
    import logging

    from openbell.calendars import with_schedule
    from openbell.config import load
    from openbell.errors import ConfigError
    from openbell.memory.shape import Shape
    from openbell.memory.space import mebibytes
    from openbell.supervisor import Supervisor
    from openbell.vendors import check as check_vendor

    config = load(config_file)
    feed = config.feed
    for note in config.notes:
        click.echo(f"openbell: note: {config_file}: {note}", err=True)
    # Made here only to be refused here: a mistake is to be found before any process starts.
    vendors = check_vendor(config, config_file)
    try:
        config = with_schedule(config)
    except ConfigError as error:
        raise ConfigError(f"{config_file}: {error}") from None
    shape = Shape.of(feed, config.connections)
    symbols = sum(len(source.symbols) for source in config.sources)
    addresses = ", ".join(dict.fromkeys(vendor.display_url() for vendor in vendors))
    summary = (
        f"feed {feed.name}: {symbols:,} symbols from {addresses}, {_count(config.connections, 'connection')}, "
        f"{_count(feed.receivers, 'receiver')}, {_count(feed.workers, 'worker')}, "
        f"{mebibytes(shape.total_bytes)} of shared memory"
    )
    if check:
        click.echo(f"{config_file} is right; {summary}")
        return OK
    logging.basicConfig(
        level=logging.WARNING if quiet else logging.INFO, format="%(asctime)s %(levelname)s supervisor: %(message)s"
    )
    if not quiet:
        click.echo(summary, err=True)
    Supervisor(config).run()
    return OK


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
