"""The names of files in a feed's directories, in one place."""

import re

SUPERVISOR_LOCK = "lock"
CURRENT = "current"
CONFIG = "config.json"
SYMBOLS_LOCK = "symbols.lock"
CONTROL_LOCK = "control.lock"
CONSUMERS = "consumers"

ONE_TIME_FEED = re.compile("demo-[0-9]+")
"""Feeds named after a process: no later start takes such a name, to clear up after a killed one, but by chance."""


def receiver_lock(index: int) -> str:
    """Return the name of the lock file of receiver `index`."""
    return f"receiver-{index}.lock"


def worker_lock(index: int) -> str:
    """Return the name of the lock file of worker `index`."""
    return f"worker-{index}.lock"


def consumer_lock(slot: int) -> str:
    """Return the name of the lock file of the consumer in `slot`. In a generation's directory: it ends with that."""
    return f"consumer-{slot}.lock"


def desired_name(connection: int) -> str:
    """Return the name of the file of what was subscribed and unsubscribed since the configuration was read."""
    return f"subscriptions-{connection}.json"


def control_socket(receiver: int) -> str:
    """Return the name of the control socket of a receiver."""
    return f"receiver-{receiver}.sock"


def ring_name(receiver: int, worker: int) -> str:
    """Return the name of the segment of the ring from `receiver` to `worker`."""
    return f"ring-{receiver}-{worker}"
