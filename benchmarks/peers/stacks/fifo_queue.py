"""The queue and the worker process of the two stacks on faster-fifo."""

from __future__ import annotations

import multiprocessing
import os
import queue
from collections.abc import Callable, Iterator
from typing import Any

import faster_fifo
import faster_fifo_reduction  # noqa: F401 - makes its queues fit to be handed to a process
import uvloop
from picows import WSListener

from benchmarks.peers.stacks.native import receive

QUEUE_BYTES = 4 << 20
ITEM_TICKS = 2000
"""Most ticks (or frames) of one item: a socket read may bring tens of thousands."""
PATIENCE_S = 600.0
END = b""
"""The last item."""

Apply = Callable[[Any, dict[str, int], str], None]


def put(items: Any, item: bytes) -> None:
    """Put an item; wait for room as long as it takes."""
    items.put(item, timeout=PATIENCE_S)


def received(items: Any) -> Iterator[bytes]:
    """Yield items until the last."""
    while True:
        try:
            some = items.get_many(timeout=PATIENCE_S)
        except queue.Empty:
            continue
        for item in some:
            if item == END:
                return
            yield item


def run(url: str, shape: str, make_listener: Callable[[str, Any], WSListener], apply: Apply) -> None:
    """Start the worker process, which runs `apply`, and receive until the connection ends."""
    context = multiprocessing.get_context("spawn")
    # Items are bytes already: to pickle them would only cost the rival.
    items = faster_fifo.Queue(max_size_bytes=QUEUE_BYTES, loads=_same, dumps=_same)
    worker = context.Process(target=_work, args=(apply, items, os.getpid(), shape), daemon=True)
    worker.start()
    uvloop.run(receive(url, shape, lambda: make_listener(shape, items)))
    put(items, END)
    worker.join()


def _work(apply: Apply, items: Any, receiver: int, shape: str) -> None:
    apply(items, {"receiver": receiver, "worker": os.getpid()}, shape)


def _same(item: bytes) -> bytes:
    return bytes(item)
