"""aiohttp + orjson + asyncio.Queue + dict: two tasks of one process, on uvloop."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import aiohttp
import orjson
import uvloop

from benchmarks.peers.frames import TRADE, action_of, subscription
from benchmarks.peers.stacks.common import Table, answer, arguments, unconnected

QUEUE_ITEMS = 10_000


async def apply(items: asyncio.Queue[Any]) -> None:
    """Keep the snapshot: the second task."""
    rows: Table = {}
    get = items.get
    while (item := await get()) is not None:
        if type(item) is str:
            answer(item, rows, {"process": os.getpid()})
        elif type(item) is list:
            for tick in item:
                row = rows.get(tick["symbol"])
                if row is None:
                    rows[tick["symbol"]] = [tick["price"], tick["volume"], 1]
                else:
                    row[0] = tick["price"]
                    row[1] += tick["volume"]
                    row[2] += 1
        else:
            row = rows.get(item["code"])
            if row is None:
                rows[item["code"]] = [float(item["price"]), float(item["volume"]), 1]
            else:
                row[0] = float(item["price"])
                row[1] += float(item["volume"])
                row[2] += 1


async def receive(url: str, shape: str) -> None:
    """Receive, decode and hand on until the connection ends; a frame is one item."""
    items: asyncio.Queue[Any] = asyncio.Queue(QUEUE_ITEMS)
    applying = asyncio.create_task(apply(items))
    put, loads = items.put, orjson.loads
    connector = aiohttp.TCPConnector(socket_factory=lambda address: unconnected())
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        # Text as bytes: orjson takes them as they are.
        session.ws_connect(url, max_msg_size=0, decode_text=False) as connection,
    ):
        await connection.send_str(subscription(shape))
        if shape == "single":
            async for frame in connection:
                if frame.type is not aiohttp.WSMsgType.TEXT:
                    break
                message = loads(frame.data)
                if message["cmd_id"] == TRADE:
                    await put(message["data"])
                else:
                    await put(action_of(message))
        else:
            async for frame in connection:
                if frame.type is not aiohttp.WSMsgType.TEXT:
                    break
                message = loads(frame.data)
                if "ticks" in message:
                    await put(message["ticks"])
                else:
                    await put(action_of(message))
    await put(None)
    await applying


if __name__ == "__main__":
    address, kind, _ = arguments()
    uvloop.run(receive(address, kind))
