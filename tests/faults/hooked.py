"""A build of the core with crash points in it, made once per source state and kept in the system's temporary files."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

_UNUSED_S = 12 * 3600.0
"""A build that nobody has asked for in so long is removed."""
ROOT = Path(__file__).resolve().parents[2]
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
_EXTENSION = "[[tool.setuptools.ext-modules]]"
_WITHOUT_HOOKS = ("core.follow", "core.pingpong", "core.evaluate", "core.baseline", "simulator.writer")
"""Extension modules that no process here imports, and that need not be compiled again."""


def _state() -> str:
    """Return a digest of everything that the build depends on."""
    digest = hashlib.sha256(f"{sys.version}{SUFFIX}".encode())
    core = ROOT / "src/openbell/core"
    for path in [ROOT / "pyproject.toml", *sorted(core.glob("*.pyx")), *sorted(core.glob("*.pxd"))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def hooked_core() -> Path:
    """Return a directory to put first on PYTHONPATH: the package, its core compiled with crash points.

    The compiled part is cached by the state of its sources; the Python part is copied anew each time.
    """
    cache = Path(tempfile.gettempdir()) / f"openbell-hooked-{os.getuid()}"
    cache.mkdir(mode=0o700, exist_ok=True)
    if cache.stat().st_uid != os.getuid():
        raise RuntimeError(f"{cache} belongs to somebody else")
    target = cache / _state()
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (target / "complete").exists():
            # What is there and not complete was interrupted: whoever builds has the lock.
            shutil.rmtree(target, ignore_errors=True)
            for old in filter(Path.is_dir, cache.iterdir()):
                if time.time() - old.stat().st_mtime > _UNUSED_S:
                    shutil.rmtree(old)
            _build(target)
        # Another checkout, or another run of this one, may have a build of its own in use.
        os.utime(target)
    return target


def _needed(project: str) -> str:
    """Return the text of pyproject.toml without the extension modules that are not needed."""
    head, *extensions = project.split(_EXTENSION)
    left = [each for each in extensions if not any(f'"openbell.{name}"' in each for name in _WITHOUT_HOOKS)]
    if len(left) != len(extensions) - len(_WITHOUT_HOOKS):
        raise RuntimeError("an extension module that is not needed here has another name now")
    return _EXTENSION.join([head, *left])


def _build(target: Path) -> None:
    """Compile the core into `target`."""
    tree = target / "tree"
    tree.mkdir(parents=True)
    (tree / "pyproject.toml").write_text(_needed((ROOT / "pyproject.toml").read_text()))
    for name in ("README.md", "LICENSE"):
        shutil.copy2(ROOT / name, tree)
    # Generated C that is newer than its source is used again (copy2 keeps the times): it has the hooks as macros.
    shutil.copytree(ROOT / "src", tree / "src", ignore=shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info"))
    done = subprocess.run(
        [sys.executable, "-c", "from setuptools import setup; setup()", "build_ext", "--inplace", "-j", "2"],
        cwd=tree,
        env={**os.environ, "CFLAGS": "-O1 -g0 -DOPENBELL_CRASH_HOOKS"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the build with crash points failed:\n{done.stdout[-4000:]}")
    (target / "src").symlink_to(tree / "src")
    (target / "complete").touch()
