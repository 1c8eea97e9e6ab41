"""What a file held when it was read, to see later whether it still does."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from umd_engine.data import remote
from umd_engine.errors import DataError


@dataclass(frozen=True)
class Stamp:
    """Size in bytes and time of the last change in ns: while both stay, the content is taken to stay.

    Of a remote file the second number stands for its ETag, or whatever its file system changes with the content.
    """

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> Stamp:
        return cls(found.st_size, found.st_mtime_ns)


@dataclass(frozen=True)
class Content:
    """SHA-256 of a file's bytes as they lie on the disk, and the stamp it had before they were read."""

    sha256: str
    stamp: Stamp


def stamp_of(path: Path) -> Stamp:
    """The file's stamp now.

    Raises:
        DataError: it cannot be reached.
    """
    try:
        return _remote_stamp(path) if remote.is_remote(path) else Stamp.of(path.stat())
    except OSError as error:
        raise _unreadable(error, path) from None


def content_of(path: Path) -> Content:
    """The file's content now, read for nothing else.

    Raises:
        DataError: it cannot be read.
    """
    try:
        if remote.is_remote(path):
            stamp = _remote_stamp(path)
            with remote.open_remote(path) as far:
                return Content(hashlib.file_digest(far, "sha256").hexdigest(), stamp)
        with path.open("rb") as file:
            stamp = Stamp.of(os.fstat(file.fileno()))
            return Content(hashlib.file_digest(file, "sha256").hexdigest(), stamp)
    except OSError as error:
        raise _unreadable(error, path) from None


def _remote_stamp(path: Path) -> Stamp:
    size, version = remote.size_and_version(path)
    if version is None:
        return Stamp(size, time.time_ns())  # none that will be met again: its bytes must tell
    digest = hashlib.sha256(version.encode()).digest()
    return Stamp(size, int.from_bytes(digest[:8]) >> 1)  # the store's integers have 63 bits and a sign


def _unreadable(error: OSError, path: Path) -> DataError:
    return DataError(f"cannot be read: {error.strerror}", where=path, mend="check the path and its permissions")
