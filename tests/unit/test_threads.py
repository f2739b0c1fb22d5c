"""Several threads of a user's process that turn to feeds at the same time, before anybody else did."""

from __future__ import annotations

import subprocess
import sys

import pytest

from openbell.config import Config, Feed, Source

TOGETHER = """
import sys, threading
{imports}
config = {config!r}
together = threading.Barrier(16)
failed = []
def begin():
    together.wait()
    try:
        {act}
    except BaseException as error:
        failed.append(repr(error))
sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=begin) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit("; ".join(failed) or None)
"""


@pytest.mark.parametrize(
    ("imports", "act"),
    [
        ("from openbell.config import Config", "Config.from_json(config)"),
        ("from openbell.market.traded import Asked", "Asked(config)"),
    ],
)
def test_threads_that_attach_at_once_do_not_crash_the_process(imports: str, act: str) -> None:
    config = Config(
        feed=Feed(name="threads"), sources=(Source(vendor="ticks", symbols=("A",), url="ws://127.0.0.1:1/"),)
    )
    program = TOGETHER.format(imports=imports, act=act, config=config.to_json())
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr}"
