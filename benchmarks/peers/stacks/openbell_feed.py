"""OpenBell: a feed as ``openbell run`` runs it, with the receiver and the worker as processes of their own."""

from __future__ import annotations

import select
import sys
import uuid

import openbell
from benchmarks.generator import SYMBOLS
from benchmarks.peers.stacks.common import RECEIVE_BUFFER, arguments, say
from openbell.config import Config, Feed, Liveness, Source
from openbell.errors import FeedError
from openbell.monitor.control import ConnectionState
from openbell.signals import StopSignals
from openbell.supervisor import Supervisor

VENDORS = {"single": "alltick", "batch": "ticks"}


def main() -> None:
    """Run the feed until stdin closes, or a stop signal comes."""
    url, shape, _ = arguments()
    name = f"peers-{uuid.uuid4().hex[:12]}"
    source = Source(
        vendor=VENDORS[shape],
        url=url,
        symbols=tuple(SYMBOLS),
        receive_buffer_bytes=RECEIVE_BUFFER,
        # While the others have their turns nothing comes, which is no fault.
        liveness=Liveness(silence_s=3600, symbol_silence_s=3600),
    )
    # No other stack keeps bars.
    config = Config(feed=Feed(name=name, workers=1, bars=0), sources=(source,))
    with StopSignals() as signals, Supervisor(config, signals=signals, output=sys.stderr.fileno()) as supervisor:
        supervisor.start()
        with openbell.attach(name) as market:
            while not signals.requested:
                status = market.status()
                if status.connections[0].state == ConnectionState.LIVE:
                    break
                supervisor.poll(0.02)
            else:
                # Nobody is there to be told that it is ready.
                return
            processes = {process.name.partition("-")[0]: process.pid for process in status.processes}
        say("ready", processes=processes, feed=name)
        while not signals.requested and not select.select([sys.stdin], [], [], 0)[0]:
            supervisor.poll(0.1)
        if lost := supervisor.drain():
            raise FeedError(f"{lost} records were received and not applied")


if __name__ == "__main__":
    main()
