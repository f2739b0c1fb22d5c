"""The capture file: market-data messages as they came, one a line, each with the time it was received.

A line is ``<receive time, ns since the epoch> <message>\\n``; the message is one JSON document in UTF-8 without a raw
newline. A file may be gzipped: readers look at its first bytes, writers at its suffix (``.gz``). Both sides stream, so
a capture of any size takes the memory of its longest line.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Self, cast

import msgspec

from openbell.errors import CaptureError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_LINE_BYTES = 16 * 1024 * 1024
"""A longer line is refused: no vendor sends such a message, and a file without newlines must not fill the memory."""

_GZIP_MAGIC = b"\x1f\x8b"
# Level 1 of zlib costs a third of the default level and loses about a fifth of the size: a recorder shares its core
# with the socket it reads.
_GZIP_LEVEL = 1


class CapturedMessage(NamedTuple):
    """One line of a capture.

    Attributes
    ----------
    line : int
        Number of the line in the file, from 1.
    receive_ns : int
        When the message was received, ns since the epoch, by the recording machine's clock.
    message : bytes
        The message, as it came.
    """

    line: int
    receive_ns: int
    message: bytes


def message_fault(message: bytes) -> str | None:
    """Say why a message cannot stand in a capture, or None if it can."""
    if b"\n" in message:
        return "the message contains a newline"
    try:
        message.decode("utf-8")
        msgspec.json.decode(message, type=msgspec.Raw)
    except UnicodeDecodeError as error:
        return f"the message is not UTF-8 ({error.reason} at byte {error.start})"
    except (msgspec.MsgspecError, RecursionError) as error:
        return f"the message is not one JSON document ({error})"
    return None


def read_capture(path: str | os.PathLike[str], *, check: bool = True) -> Iterator[CapturedMessage]:
    """Read a capture line by line, in constant memory.

    Parameters
    ----------
    path : path-like
        The file, gzipped or not.
    check : bool
        Check that every message is one UTF-8 JSON document. A second pass over a checked file may leave it out.

    Yields
    ------
    CapturedMessage
        The lines, in the file's order.

    Raises
    ------
    CaptureError
        The file cannot be opened, or a line is not ``<receive ns> <message>``; names file and line.
    """
    number = 0
    try:
        with _open_for_reading(path) as lines:
            while line := lines.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > MAX_LINE_BYTES:
                    raise CaptureError(f"{path}, line {number}: longer than {MAX_LINE_BYTES} bytes; not a capture")
                stamp, separator, message = line.rstrip(b"\n").partition(b" ")
                if not separator or not message or not stamp.isdigit() or len(stamp) > 19:
                    raise CaptureError(
                        f"{path}, line {number}: expected '<receive ns> <message>', found {_excerpt(line)!r}"
                    )
                if check and (fault := message_fault(message)):
                    raise CaptureError(f"{path}, line {number}: {fault}; found {_excerpt(message)!r}")
                yield CapturedMessage(number, int(stamp), message)
    except EOFError as error:
        raise CaptureError(
            f"{path}, after line {number}: the gzip stream ends too early; the file was cut short, copy it again "
            "or keep the lines before it"
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise CaptureError(f"{path}, after line {number}: not a readable gzip stream ({error})") from error
    except OSError as error:
        raise CaptureError(f"{path}: cannot read the capture: {error.strerror or error}") from error


class CaptureWriter:
    """Write a capture; the file appears under its name only when it is finished.

    While it is written, and after a failure, the lines stand in ``<path>.part``, a readable capture of its own: it is
    closed properly (gzip trailer included) whatever happened.

    Parameters
    ----------
    path : path-like
        The file to write; a name that ends in ``.gz`` is gzipped.
    overwrite : bool
        Replace an existing file of this name when finished.

    Raises
    ------
    CaptureError
        The file (or the ``.part`` of an earlier recording) exists, or the disk refuses a write.

    Notes
    -----
    Use it as a context manager: leaving the block normally finishes the file, an exception leaves ``.part``.
    """

    def __init__(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self.part = self.path.with_name(self.path.name + ".part")
        self.written = 0
        self.compacted = 0
        self.refused = 0
        self.first_refusal: str | None = None
        self._closed = False
        if self.path.exists() and not overwrite:
            raise CaptureError(f"{self.path}: already exists; choose another name or ask to overwrite it")
        try:
            # Exclusive: a part file may be what is left of a crashed recording, or belong to one that runs now.
            self._file = self.part.open("xb")
        except FileExistsError as error:
            raise CaptureError(
                f"{self.part}: an unfinished recording of this name exists; it is a readable capture, "
                "move or remove it first"
            ) from error
        except OSError as error:
            raise CaptureError(f"{self.part}: cannot create the capture: {error.strerror or error}") from error
        self._lines: BinaryIO | gzip.GzipFile = self._file
        if self.path.suffix == ".gz":
            self._lines = gzip.GzipFile(fileobj=self._file, mode="wb", compresslevel=_GZIP_LEVEL, filename="")

    def write(self, receive_ns: int, message: bytes) -> bool:
        """Append a message; return False if it was refused.

        A newline between the tokens of a JSON document is white space, so such a message is stored without its white
        space (counted in `compacted`). What is not one UTF-8 JSON document, for instance several documents joined by
        newlines, is refused (counted in `refused`, the first reason kept): a capture holds only what can be replayed.
        """
        if b"\n" in message:
            with contextlib.suppress(msgspec.MsgspecError):
                message = msgspec.json.format(message, indent=-1)
                self.compacted += b"\n" not in message
        if fault := message_fault(message):
            self.refused += 1
            self.first_refusal = self.first_refusal or fault
            return False
        try:
            self._lines.write(b"%d %b\n" % (receive_ns, message))
        except OSError as error:
            raise self._disk_error(error) from error
        self.written += 1
        return True

    def flush(self) -> None:
        """Hand all lines so far to the operating system, so that a crash of this process loses none of them."""
        try:
            self._lines.flush()
            self._file.flush()
        except OSError as error:
            raise self._disk_error(error) from error

    def finish(self) -> None:
        """Close the file, put it on the disk and give it its name; nothing on a closed writer."""
        if self._closed:
            return
        try:
            self._close_lines()
            with self.part.open("rb+") as part:
                os.fsync(part.fileno())
            self.part.replace(self.path)
        except OSError as error:
            raise self._disk_error(error) from error

    def abandon(self) -> None:
        """Close the file but leave it as ``.part``, readable up to the last line the disk took; an empty one goes."""
        # The error that made us give up is the one to report, not that the trailer found no room either.
        with contextlib.suppress(OSError):
            self._close_lines()
        if not self.written:
            self.part.unlink(missing_ok=True)

    def _close_lines(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            if self._lines is not self._file:
                self._lines.close()
        finally:
            self._file.close()

    def _disk_error(self, error: OSError) -> CaptureError:
        what = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error.strerror or error)
        return CaptureError(f"{self.part}: {what} after {self.written} messages; they are kept in this file")

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Finish the file, or abandon it if the block failed."""
        if kind is None:
            self.finish()
        else:
            self.abandon()


def _open_for_reading(path: str | os.PathLike[str]) -> BinaryIO:
    with Path(path).open("rb") as file:
        gzipped = file.read(2) == _GZIP_MAGIC
    return cast(BinaryIO, io.BufferedReader(_Unzipped(path), 256 * 1024)) if gzipped else Path(path).open("rb")


class _Unzipped(io.RawIOBase):
    """A gzip stream for a BufferedReader, whose readline is C where that of GzipFile is Python.

    It gives out whatever is there, so that a stream that ends too early ends after its last readable line.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = gzip.GzipFile(path, "rb")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        data = self._file.read1(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _excerpt(line: bytes) -> str:
    text = line.rstrip(b"\n").decode("utf-8", "backslashreplace")
    return text if len(text) <= 60 else text[:57] + "..."
