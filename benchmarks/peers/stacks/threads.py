"""websocket-client + json + queue.Queue + dict: what the tutorials write, in two threads of one process.

With ``--skip-utf8`` websocket-client is told not to validate text, which it does in Python, byte by byte.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import threading
from typing import Any

import websocket

from benchmarks.peers.frames import TRADE, action_of, subscription
from benchmarks.peers.stacks.common import RECEIVE_BUFFER, Table, answer, arguments

QUEUE_ITEMS = 10_000
"""Bounded, so that a slow consumer holds the producer back instead of filling the memory."""


def apply(items: queue.Queue[Any]) -> None:
    """Keep the snapshot: the second thread."""
    rows: Table = {}
    get = items.get
    while (item := get()) is not None:
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


def main() -> None:
    """Receive in this thread, apply in another, until the connection ends."""
    url, shape, options = arguments()
    items: queue.Queue[Any] = queue.Queue(QUEUE_ITEMS)

    def on_open(app: websocket.WebSocketApp) -> None:
        app.send(subscription(shape))

    def on_single(app: websocket.WebSocketApp, text: str) -> None:
        message = json.loads(text)
        if message["cmd_id"] == TRADE:
            items.put(message["data"])
        else:
            items.put(action_of(message))

    def on_batch(app: websocket.WebSocketApp, text: str) -> None:
        message = json.loads(text)
        if "ticks" in message:
            items.put(message["ticks"])
        else:
            items.put(action_of(message))

    thread = threading.Thread(target=apply, args=(items,))
    thread.start()
    app = websocket.WebSocketApp(url, on_open=on_open, on_message=on_single if shape == "single" else on_batch)
    app.run_forever(
        sockopt=[(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)],
        skip_utf8_validation="--skip-utf8" in options,
    )
    items.put(None)
    thread.join()


if __name__ == "__main__":
    main()
