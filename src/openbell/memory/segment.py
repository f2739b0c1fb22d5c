"""One segment: a file of shared memory with a 4,096-byte header, reserved in full before anybody writes to it.

The header's words, little-endian u64, keep their places in every layout version:

======  =========================================================================
offset  word
======  =========================================================================
0       magic, stored last (release): whoever sees it sees a finished segment
8       layout version
16      size of the file in bytes
24      generation
32, 40  pid and start ticks of the creator
48      state: 1 LIVE, 2 DEAD
56      kind of segment
======  =========================================================================
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
from enum import IntEnum
from pathlib import Path
from types import TracebackType

from openbell.core import words
from openbell.errors import FeedError, FeedNotFound, LayoutMismatch, NoSpace
from openbell.memory.locks import start_ticks

LAYOUT_VERSION = 4
HEADER_BYTES = 4096
_MAGIC = int.from_bytes(b"OPENBELL", "little")
_AT_MAGIC, _AT_VERSION, _AT_SIZE, _AT_GENERATION, _AT_PID, _AT_TICKS, _AT_STATE, _AT_KIND = range(0, 64, 8)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM)


class Kind(IntEnum):
    """What a segment holds."""

    CONTROL = 1
    SYMBOLS = 2
    RING = 3
    SNAPSHOT = 4
    CONSUMERS = 5
    SUBSCRIPTIONS = 6
    HISTORY = 7
    BARS = 8


class State(IntEnum):
    """Whether the generation of a segment is in use. It never comes back from DEAD."""

    LIVE = 1
    DEAD = 2


class Segment:
    """A mapped segment. Make one with `create` or `open`; close it, or use it as a context manager.

    Attributes
    ----------
    path : Path
        The file; it may be unlinked while the segment is mapped, which does not disturb anybody who has it mapped.
    buffer : memoryview
        The whole mapping, header included.
    body : memoryview
        What comes after the header. Borrowed from the mapping: valid until `close`.
    writable : bool
        Whether this mapping may be written. A read-only one faults, it cannot corrupt.
    """

    def __init__(self, path: Path, mapping: mmap.mmap, writable: bool) -> None:
        self.path = path
        self.writable = writable
        self._mapping = mapping
        self.buffer = memoryview(mapping)
        self.body = self.buffer[HEADER_BYTES:]

    @classmethod
    def create(cls, path: Path, kind: Kind, body_bytes: int, generation: int) -> Segment:
        """Reserve and map a new segment. Nobody else takes it for one before `publish`.

        Parameters
        ----------
        path : Path
            Must not exist.
        kind : Kind
        body_bytes : int
            Bytes behind the header.
        generation : int

        Raises
        ------
        NoSpace
            The memory is not there. Nothing is left behind.
        FeedError
            The file cannot be made: something of that name exists, or the system refuses.
        """
        size = HEADER_BYTES + body_bytes
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise FeedError(f"cannot make the segment {path}: {error.strerror}") from error
        try:
            os.fchmod(fd, 0o600)
            _reserve(fd, size)
            mapping = mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        except BaseException as error:
            path.unlink()
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                raise NoSpace(f"cannot reserve {size:,} bytes for {path}: {error.strerror}") from error
            if isinstance(error, OSError):
                raise FeedError(f"cannot reserve {size:,} bytes for {path}: {error.strerror}") from error
            raise
        finally:
            os.close(fd)
        segment = cls(path, mapping, True)
        pid = os.getpid()
        fields = {
            _AT_VERSION: LAYOUT_VERSION,
            _AT_SIZE: size,
            _AT_GENERATION: generation,
            _AT_PID: pid,
            _AT_TICKS: start_ticks(pid),
            _AT_STATE: State.LIVE,
            _AT_KIND: kind,
        }
        for offset, value in fields.items():
            words.store(segment.buffer, offset, value)
        return segment

    def publish(self) -> None:
        """Store the magic: from now on the segment may be opened. Its body must be formatted."""
        words.store(self.buffer, _AT_MAGIC, _MAGIC)  # SYNC POINT: segment-ready

    @classmethod
    def open(cls, path: Path, kind: Kind, generation: int, *, writable: bool = False) -> Segment:
        """Map a segment that somebody else made.

        Parameters
        ----------
        path : Path
        kind : Kind
            What it must hold.
        generation : int
            Which generation it must belong to.
        writable : bool
            Map it for writing, with its pages present; otherwise read-only.

        Raises
        ------
        FeedNotFound
            There is no such segment, or it is not finished.
        LayoutMismatch
            Another layout version wrote it.
        FeedError
            It is no segment, or another one than asked for, or belongs to another user.
        """
        try:
            fd = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise FeedNotFound(f"there is no segment {path}: the feed was stopped") from error
        except OSError as error:
            what = "it is a symbolic link" if path.is_symlink() else error.strerror
            raise FeedError(f"cannot open the segment {path}: {what}") from error
        try:
            seen = os.fstat(fd)
            if not stat.S_ISREG(seen.st_mode) or seen.st_uid != os.geteuid():
                raise FeedError(f"{path} is no file of uid {os.geteuid()}; it cannot be a segment of this user's feed")
            if seen.st_size < HEADER_BYTES:
                raise FeedNotFound(f"{path} is not a finished segment; try again in a moment")
            mapping = _map(fd, seen.st_size, writable)
        finally:
            os.close(fd)
        segment = cls(path, mapping, writable)
        try:
            segment._check(kind, generation, seen.st_size)
        except BaseException:
            segment.close()
            raise
        return segment

    def _check(self, kind: Kind, generation: int, size: int) -> None:
        magic = words.load(self.buffer, _AT_MAGIC)  # SYNC POINT: segment-ready
        if magic == 0:
            raise FeedNotFound(f"{self.path} is not a finished segment; try again in a moment")
        if magic != _MAGIC:
            raise FeedError(f"{self.path} is not an OpenBell segment")
        version = words.load(self.buffer, _AT_VERSION)
        if version != LAYOUT_VERSION:
            raise LayoutMismatch(
                f"{self.path} has layout version {version}, this OpenBell reads layout version {LAYOUT_VERSION}; "
                "run the same OpenBell version on both sides"
            )
        for name, offset, wanted in (
            ("size", _AT_SIZE, size),
            ("kind", _AT_KIND, kind),
            ("generation", _AT_GENERATION, generation),
        ):
            found = words.load(self.buffer, offset)
            if found != wanted:
                raise FeedError(f"{self.path} is not the segment it should be: its {name} is {found}, not {wanted}")

    @property
    def state(self) -> State:
        """Whether the generation is in use."""
        return State(words.load(self.buffer, _AT_STATE))

    @property
    def live(self) -> bool:
        """Whether the generation is in use: `state`, for those who ask often."""
        return words.load(self.buffer, _AT_STATE) == 1

    @property
    def generation(self) -> int:
        """The generation this segment belongs to."""
        return words.load(self.buffer, _AT_GENERATION)

    @property
    def creator_pid(self) -> int:
        """The pid of the supervisor that made it."""
        return words.load(self.buffer, _AT_PID)

    def mark_dead(self) -> None:
        """Tell everybody who has it mapped that the generation is over."""
        words.store(self.buffer, _AT_STATE, State.DEAD)

    def close(self) -> bool:
        """Let the mapping go.

        Returns
        -------
        bool
            False if somebody (a numpy array, say) still borrows from it: the memory then stays mapped, and usable,
            until the last borrower is gone.
        """
        try:
            self.body.release()
            self.buffer.release()
            self._mapping.close()
        except BufferError:
            return False
        return True

    def __enter__(self) -> Segment:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def mark_file_dead(path: Path) -> memoryview | None:
    """Mark the segment in a file DEAD, whatever layout version wrote it, and return its whole mapping.

    Returns
    -------
    memoryview or None
        None if the file is no segment.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        # A symbolic link, a directory: no segment of ours.
        return None
    try:
        seen = os.fstat(fd)
        if not stat.S_ISREG(seen.st_mode) or seen.st_size < HEADER_BYTES:
            return None
        whole = memoryview(_map(fd, seen.st_size, writable=True, present=False))
    finally:
        os.close(fd)
    if words.load(whole, _AT_MAGIC) != _MAGIC:
        return None
    words.store(whole, _AT_STATE, State.DEAD)
    return whole


def layout_version(whole: memoryview) -> int:
    """Return the layout version that a whole mapping names."""
    return words.load(whole, _AT_VERSION)


def _map(fd: int, size: int, writable: bool, *, present: bool = True) -> mmap.mmap:
    if not writable:
        return mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ)
    # A worker that was restarted in a burst should not take a page fault for each page of its rings.
    populate = getattr(mmap, "MAP_POPULATE", 0) if present else 0
    return mmap.mmap(fd, size, mmap.MAP_SHARED | populate, mmap.PROT_READ | mmap.PROT_WRITE)


def _reserve(fd: int, size: int) -> None:
    """Take the memory now. A sparse file would be granted, and the hot path would die of SIGBUS on first touch."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size)
        return
    zeros = bytes(1 << 20)
    left = size
    while left:
        left -= os.write(fd, zeros[: min(left, len(zeros))])
