"""``openbell record``: keep what a vendor sends."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from openbell.cli.exits import FAILED, INTERRUPTED, OK
from openbell.cli.output import Output, json_option

if TYPE_CHECKING:
    from openbell.recorder import Recording


@click.command(
    short_help="Record a vendor into a capture file.",
    epilog="Example: openbell record feed.toml morning.capture.gz --seconds 60",
)
@click.argument("target", metavar="URL|FEED.toml")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="End after this long.")
@click.option("--messages", type=click.IntRange(min=1), help="End after this many messages.")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@click.option("--insecure", is_flag=True, help="Allow a ws:// address that is not on this machine.")
@json_option
def record(
    target: str,
    file: Path,
    seconds: float | None,
    messages: int | None,
    overwrite: bool,
    insecure: bool,
    as_json: bool,
) -> int:
    """Record what a vendor sends into FILE, gzipped if it ends in .gz, for `openbell demo --capture` and `simulate`.

    FEED.toml is subscribed as its feed would be; a URL is only listened to. Ends at its limits, at Ctrl-C, or when
    the other side disconnects: a recording has no gaps. Exit status 1 if it fell short of a limit or got nothing, 130
    if that was because of Ctrl-C.
    """
    from openbell.recorder import run

    output = Output(as_json)

    def progress(recording: "Recording") -> None:
        output.say(f"{recording.seconds:8.1f} s  {recording.messages:,} messages")

    recording = run(
        target, file, seconds=seconds, messages=messages, overwrite=overwrite, insecure=insecure, report=progress
    )
    for line in _lines(recording, file):
        output.say(line)
    output.result(
        {
            "file": str(file),
            "messages": recording.messages,
            "control": recording.control,
            "refused": recording.refused,
            "seconds": round(recording.seconds, 3),
            "ended": recording.ended,
        }
    )
    limited = seconds is not None or messages is not None
    if recording.ended == "stopped" and (limited or not recording.messages):
        return INTERRUPTED
    return FAILED if not recording.messages or (recording.ended == "disconnected" and limited) else OK


def _lines(recording: "Recording", file: Path) -> list[str]:
    told = [f"{file}: {recording.messages:,} messages in {recording.seconds:.1f} s; ended: {recording.ended}"]
    if recording.refused:
        told.append(f"{recording.refused:,} messages cannot stand in a capture; the first: {recording.first_refused}")
    told += [f"the vendor refused a request: {words}" for words in recording.refusals]
    return told
