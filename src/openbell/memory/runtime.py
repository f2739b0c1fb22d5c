"""The runtime directory: one private folder per user, one folder per feed in it.

::

    /dev/shm/openbell-<uid>/            the root, mode 0700
        <feed>/                         one feed, mode 0700
            lock                        held by the supervisor for as long as it lives
            receiver-<r>.lock           held by receiver r
            worker-<w>.lock             held by worker w
            current                     the number of the generation in use
            <generation>/               the segments of one run of the supervisor

``OPENBELL_RUNTIME_DIR`` puts the root elsewhere. Without it, and where there is no ``/dev/shm``, the root is in
``$XDG_RUNTIME_DIR``, else in the temporary directory.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from openbell.errors import ConfigError, FeedError
from openbell.memory.names import CURRENT

ENVIRONMENT_KEY = "OPENBELL_RUNTIME_DIR"
SHARED_MEMORY = Path("/dev/shm")
_FEED_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def root() -> Path:
    """Return where feeds of this user live; the directory need not exist."""
    chosen = os.environ.get(ENVIRONMENT_KEY)
    if chosen:
        return Path(chosen)
    if SHARED_MEMORY.is_dir():
        return SHARED_MEMORY / f"openbell-{os.geteuid()}"
    session = os.environ.get("XDG_RUNTIME_DIR")
    if session:
        return Path(session) / "openbell"
    # Half the standard library, for a place that no Linux needs.
    import tempfile

    return Path(tempfile.gettempdir()) / f"openbell-{os.geteuid()}"


def check_feed_name(feed: str) -> str:
    """Return `feed` if it can name a feed (and so a directory).

    Raises
    ------
    ConfigError
        It has other characters than letters, digits, ``.``, ``_`` and ``-``, begins with a mark, or has over 64.
    """
    if not _FEED_NAME.fullmatch(feed):
        raise ConfigError(
            f"feed name {feed!r}: use 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit"
        )
    return feed


def feed_directory(feed: str) -> Path:
    """Return the directory of `feed`; it need not exist."""
    return root() / check_feed_name(feed)


def make_private(directory: Path) -> None:
    """Make `directory` unless it is there, and see to it that nobody else can reach into it.

    Raises
    ------
    FileNotFoundError
        Its parent does not exist.
    FeedError
        There is something else in its place, or it belongs to somebody else, or others may enter it.
    """
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        check_private(directory)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise FeedError(f"cannot make the runtime directory {directory}: {error.strerror}") from error
    else:
        # The umask may have taken bits away, never added any.
        directory.chmod(0o700)


def check_private(directory: Path) -> None:
    """Refuse a directory that somebody else could have planted or could write to.

    Raises
    ------
    FileNotFoundError
        There is no such directory.
    FeedError
        It is a symbolic link or no directory, belongs to somebody else, or others may enter it.
    """
    seen = directory.lstat()
    if stat.S_ISLNK(seen.st_mode):
        raise FeedError(f"{directory} is a symbolic link; a runtime directory must be a directory. Remove the link")
    if not stat.S_ISDIR(seen.st_mode):
        raise FeedError(f"{directory} is not a directory; remove it, or set {ENVIRONMENT_KEY} to another place")
    if seen.st_uid != os.geteuid():
        raise FeedError(
            f"{directory} belongs to uid {seen.st_uid}, not to uid {os.geteuid()}; set {ENVIRONMENT_KEY} to a "
            "directory of your own"
        )
    if stat.S_IMODE(seen.st_mode) & 0o077:
        raise FeedError(
            f"{directory} has mode {stat.S_IMODE(seen.st_mode):04o}: others may enter it. Run: chmod 700 {directory}"
        )


def make_feed_directory(feed: str) -> Path:
    """Make the root and the directory of `feed`, both mode 0700, and return the latter.

    Raises
    ------
    FeedError
        As `make_private`.
    """
    directory = feed_directory(feed)
    base = directory.parent
    while True:
        try:
            make_private(base)
            make_private(directory)
        except FileNotFoundError as error:
            # Either the path leads nowhere, or a feed that stopped in this instant took its empty directory along.
            if not base.parent.is_dir():
                raise FeedError(f"cannot make the runtime directory {base}: {base.parent} does not exist") from error
        else:
            return directory


def remove_if_empty(directory: Path) -> None:
    """Remove the directory of a feed, and the root too, as far as they are empty.

    A root that the user chose stays: it may be a mount point, or somebody's temporary directory.
    """
    try:
        directory.rmdir()
        if not os.environ.get(ENVIRONMENT_KEY):
            directory.parent.rmdir()
    except OSError:
        # Not empty: another feed, or another start of this one, is at home there.
        return


def read_current(directory: Path) -> int | None:
    """Return the number of the generation in use in a feed's directory, or None."""
    try:
        fd = os.open(directory / CURRENT, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FeedError(f"cannot read {directory / CURRENT}: {error.strerror}; remove it") from error
    with os.fdopen(fd, "rb") as file:
        text = file.read(64).decode("ascii", "replace").strip()
    if not text.isdecimal():
        raise FeedError(f"{directory / CURRENT} holds {text!r}, not the number of a generation; remove it")
    return int(text)


def write_current(directory: Path, number: int) -> None:
    """Name generation `number` as the one in use: readers see the old name or the new one, never half of it."""
    fresh = directory / f"{CURRENT}.new"
    fresh.unlink(missing_ok=True)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(b"%d\n" % number)
    fresh.rename(directory / CURRENT)


def remove_current(directory: Path) -> None:
    """Say that no generation is in use."""
    (directory / f"{CURRENT}.new").unlink(missing_ok=True)
    (directory / CURRENT).unlink(missing_ok=True)


def generations(directory: Path) -> list[int]:
    """Return the numbers of the generations that have a directory, oldest first."""
    return sorted(int(entry.name) for entry in directory.iterdir() if entry.name.isdecimal())
