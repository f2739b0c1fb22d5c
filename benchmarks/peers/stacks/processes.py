"""websockets + orjson + multiprocessing.Queue + dict: two processes, uvloop in the first."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.queues import Queue
from typing import Any

import orjson
import uvloop
import websockets

from benchmarks.peers.frames import TRADE, action_of, subscription
from benchmarks.peers.stacks.common import Table, answer, arguments, connected

QUEUE_ITEMS = 10_000


def apply(items: Queue[Any], receiver: int) -> None:
    """Keep the snapshot: the second process."""
    rows: Table = {}
    get = items.get
    while (item := get()) is not None:
        if type(item) is str:
            answer(item, rows, {"receiver": receiver, "worker": os.getpid()})
            continue
        # One tick, or the ticks of a frame.
        for symbol, price, volume in (item,) if type(item) is tuple else item:
            row = rows.get(symbol)
            if row is None:
                rows[symbol] = [price, volume, 1]
            else:
                row[0] = price
                row[1] += volume
                row[2] += 1


async def receive(url: str, shape: str, items: Queue[Any]) -> None:
    """Receive, decode and hand on until the connection ends. A frame is one item, with no more than is needed of it."""
    put, loads = items.put, orjson.loads
    async with websockets.connect(url, sock=connected(url), compression=None, max_size=None) as connection:
        await connection.send(subscription(shape))
        recv = connection.recv
        try:
            if shape == "single":
                while True:
                    # Bytes: orjson takes them as they are, and nobody has to make text of them first.
                    message = loads(await recv(decode=False))
                    if message["cmd_id"] == TRADE:
                        tick = message["data"]
                        put((tick["code"], float(tick["price"]), float(tick["volume"])))
                    else:
                        put(action_of(message))
            while True:
                message = loads(await recv(decode=False))
                if "ticks" in message:
                    put([(tick["symbol"], tick["price"], tick["volume"]) for tick in message["ticks"]])
                else:
                    put(action_of(message))
        except websockets.ConnectionClosed:
            put(None)


def main() -> None:
    """Start the worker, and receive."""
    url, shape, _ = arguments()
    context = multiprocessing.get_context("spawn")
    items = context.Queue(QUEUE_ITEMS)
    worker = context.Process(target=apply, args=(items, os.getpid()), daemon=True)
    worker.start()
    uvloop.run(receive(url, shape, items))
    worker.join()


if __name__ == "__main__":
    main()
