"""One run of a feed's supervisor: all its segments, from the first reserved byte to the last unlinked file.

A generation changes only with the supervisor. A restarted worker or receiver maps the segments of the same one and
goes on where its predecessor was.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from openbell.core import bars, ring, snapshot, symbols, tether
from openbell.errors import FeedError, FeedNotFound, NoSpace
from openbell.memory import consumers, runtime
from openbell.memory.locks import RoleLock, is_held
from openbell.memory.names import CONFIG, CONSUMERS, ONE_TIME_FEED, SUPERVISOR_LOCK, SYMBOLS_LOCK, ring_name
from openbell.memory.segment import HEADER_BYTES, LAYOUT_VERSION, NO_ROOM, Kind, Segment, layout_version, mark_file_dead
from openbell.memory.space import free_bytes
from openbell.monitor import control, history
from openbell.monitor.control import Control

if TYPE_CHECKING:
    from openbell.memory.shape import Shape

log = logging.getLogger("openbell.memory")

SURVIVOR_PATIENCE_S = 3.0
"""How long a start waits for processes of a killed supervisor, which notice within 2 s."""


def claim(feed: str) -> RoleLock:
    """Become the one supervisor of `feed`: its directory exists, and its lock is held by this process.

    Raises
    ------
    FeedAlreadyRunning
        A live supervisor has it; the message names its pid.
    FeedError
        The directory or the lock cannot be trusted or made.
    """
    while True:
        lock = RoleLock(runtime.make_feed_directory(feed) / SUPERVISOR_LOCK)
        try:
            lock.acquire()
        except FileNotFoundError:
            # A feed that stopped in this instant took its directory along; make it anew.
            continue
        return lock


def reclaim(lock: RoleLock, patience_s: float = SURVIVOR_PATIENCE_S) -> int:
    """Remove what dead runs of a feed left behind. The feed's `lock` is held.

    Waits `patience_s` for processes that outlive their killed supervisor. What they have mapped is marked DEAD and its
    waiters are woken before it is unlinked.

    Returns
    -------
    int
        How many generations were removed.

    Raises
    ------
    FeedAlreadyRunning
        A process of an earlier run is still alive after that; the message names its pid.
    FeedError
        Something is in the way that no feed has put there.
    """
    directory = lock.path.parent
    deadline = time.monotonic() + patience_s
    for path in sorted(directory.glob("*.lock")):
        role = RoleLock(path)
        role.acquire(max(0.0, deadline - time.monotonic()))
        role.release(remove=True)
    runtime.remove_current(directory)
    numbers = runtime.generations(directory)
    for number in numbers:
        _remove(directory / str(number))
    return len(numbers)


def reclaim_one_time_feeds() -> list[str]:
    """Remove what killed feeds of this user left behind whose names nobody will use again; return these names.

    Waits for nobody: one that still has a process alive is left to the next call, and so is what cannot be removed.
    """
    removed = []
    for directory in runtime.root().iterdir():
        if not ONE_TIME_FEED.fullmatch(directory.name):
            continue
        lock = RoleLock(directory / SUPERVISOR_LOCK)
        try:
            runtime.check_private(directory)
            if is_held(lock.path):
                continue
            # Taken, not only looked at: a start of that very name, or another clearing up, waits for the end of this.
            lock.acquire(0.0)
            reclaim(lock, 0.0)
            removed.append(directory.name)
        except (FeedError, FileNotFoundError) as error:
            # Somebody else's, alive after all, or gone in this instant.
            log.debug("%s is left as it is: %s", directory, error)
        finally:
            if lock.held:
                lock.release(remove=True)
                runtime.remove_if_empty(directory)
    return removed


class Generation:
    """The segments of one run of a feed, mapped by one process.

    Attributes
    ----------
    directory : Path
        The feed's directory.
    number : int
        What names the generation: the wall clock in ns when it was made.
    segments : dict of str to Segment
        Those that this process has mapped, by name.
    """

    def __init__(self, directory: Path, number: int) -> None:
        self.directory = directory
        self.number = number
        self.segments: dict[str, Segment] = {}
        self._control: Control | None = None

    @classmethod
    def create(
        cls, directory: Path, shape: Shape, config: bytes, keys: Iterable[bytes] = (), labels: Iterable[str] = ()
    ) -> Generation:
        """Reserve, map and format all segments of a feed, before any process of it starts.

        Parameters
        ----------
        directory : Path
            The feed's directory; its lock is held by this process.
        shape : Shape
        config : bytes
            The feed's configuration as JSON, kept beside the segments for the processes; it holds no secret.
        keys : iterable of bytes
            Symbols that have a row before any reader can attach.
        labels : iterable of str
            What people call the connections, in order: all are there before any reader can attach.

        Raises
        ------
        NoSpace
            They do not all fit: what is needed, what is free, what to do. Nothing is left behind.
        SymbolTableFull
            There are more `keys` than the shape has room for. Nothing is left behind.
        FeedError
            The system refuses for another reason. Nothing is left behind.
        """
        if shape.total_bytes > free_bytes(directory):
            # The reservation below decides; this only spares the machine the attempt.
            raise NoSpace(shape.no_space(directory, "not tried"))
        number = max(time.time_ns(), 1 + max(runtime.generations(directory), default=0))
        made = cls(directory, number)
        try:
            made.path.mkdir(mode=0o700)
            made.path.chmod(0o700)
            for name, (kind, body_bytes) in shape.bodies().items():
                made.segments[name] = Segment.create(made.path / name, kind, body_bytes, number)
            made._format(shape)
            consumers.make_locks(made.path)
            made._insert(keys)
            made._announce(labels)
            _write(made.path / CONFIG, config)
            for segment in made.segments.values():
                segment.publish()
            runtime.write_current(directory, number)
        except BaseException as error:
            made.unlink()
            made.close()
            if isinstance(error, NoSpace):
                reason = error.__cause__.strerror if isinstance(error.__cause__, OSError) else str(error)
                raise NoSpace(shape.no_space(directory, reason or "refused")) from error
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                raise NoSpace(shape.no_space(directory, error.strerror or "refused")) from error
            if isinstance(error, OSError):
                raise FeedError(f"cannot make the shared memory of the feed in {made.path}: {error}") from error
            raise
        return made

    def _format(self, shape: Shape) -> None:
        control.format(self.body("control"), shape.receivers, shape.workers)
        symbols.format(self.body("symbols"), shape.symbols_capacity, shape.workers)
        snapshot.format(self.body("snapshot"), shape.rows, shape.workers, shape.book_levels)
        if shape.bars:
            bars.format(self.body("bars"), shape.rows, shape.bars)
        history.format(self.body("history"), shape.connections)
        consumers.format(self.body(CONSUMERS), shape.receivers, shape.workers)
        for receiver in range(shape.receivers):
            for worker in range(shape.workers):
                # Distinct within a worker is what its undo word needs; distinct within the feed is easier to read.
                number = receiver * shape.workers + worker
                ring.format(self.body(ring_name(receiver, worker)), shape.ring_capacity, number)

    def _insert(self, keys: Iterable[bytes]) -> None:
        table = symbols.SymbolTable(self.body("symbols"), self.symbols_lock)
        for key in keys:
            table.insert(key)

    def _announce(self, labels: Iterable[str]) -> None:
        board = Control(self.body("control"))
        for index, label in enumerate(labels):
            block = board.connection(index)
            block.label = label
            block.set_state(control.ConnectionState.CONNECTING)

    @property
    def path(self) -> Path:
        """The directory of this generation."""
        return self.directory / str(self.number)

    @property
    def config(self) -> bytes:
        """The feed's configuration, as JSON."""
        try:
            return (self.path / CONFIG).read_bytes()
        except FileNotFoundError as error:
            raise FeedNotFound(f"there is no {self.path / CONFIG}: the feed was stopped") from error

    @property
    def symbols_lock(self) -> str:
        """The file that serialises inserts into the symbol table."""
        return str(self.path / SYMBOLS_LOCK)

    def open(self, name: str, kind: Kind, *, writable: bool = False) -> memoryview:
        """Map a segment, unless it is, and return its body.

        One that is mapped read-only and wanted writable is mapped anew; who borrows the old body keeps it.

        Raises
        ------
        FeedNotFound, LayoutMismatch, FeedError
            As `Segment.open`.
        """
        found = self.segments.get(name)
        if found is None or (writable and not found.writable):
            self.segments[name] = Segment.open(self.path / name, kind, self.number, writable=writable)
        return self.segments[name].body

    def has(self, name: str) -> bool:
        """Return whether there is such a segment: some are there only if the configuration asks for what is in them."""
        return name in self.segments or (self.path / name).exists()

    def body(self, name: str) -> memoryview:
        """Return the body of a segment that is mapped."""
        return self.segments[name].body

    def open_control(self, *, writable: bool = False) -> Control:
        """Map the control segment, unless it is, and return its accessor."""
        if self._control is None:
            self._control = Control(self.open("control", Kind.CONTROL, writable=writable))
        return self._control

    def mark_dead(self) -> None:
        """Tell every process that has a segment mapped that this generation is over, and wake all who wait."""
        for segment in self.segments.values():
            segment.mark_dead()
        if "control" in self.segments:
            control.wake_all(self.body("control"))
        if CONSUMERS in self.segments and self.segments[CONSUMERS].writable:
            tether.end(self.body(CONSUMERS))

    def unlink(self) -> None:
        """Remove the files. Who has them mapped keeps the memory until he lets go of it."""
        current = runtime.read_current(self.directory) if self.directory.is_dir() else None
        if current == self.number:
            runtime.remove_current(self.directory)
        _remove(self.path)

    def close(self) -> None:
        """Let all mappings go."""
        for segment in self.segments.values():
            segment.close()
        self.segments.clear()
        self._control = None


def _write(path: Path, contents: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(contents)


def _remove(directory: Path) -> None:
    """Mark what is in a generation's directory DEAD, wake its waiters, and remove it."""
    try:
        entries = sorted(directory.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise FeedError(f"cannot clear {directory}: {error.strerror}; remove it") from error
    for entry in entries:
        whole = mark_file_dead(entry)
        if whole is None or layout_version(whole) != LAYOUT_VERSION:
            continue
        if entry.name == "control":
            control.wake_all(whole[HEADER_BYTES:])
        elif entry.name == CONSUMERS:
            tether.end(whole[HEADER_BYTES:])
    for entry in entries:
        try:
            entry.unlink()
        except OSError as error:
            raise FeedError(f"cannot remove {entry}: {error.strerror}; no feed has put it there, remove it") from error
    directory.rmdir()
