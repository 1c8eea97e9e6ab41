"""One writer a run folder: a lock that the kernel lets go of when its process ends, however it ends."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

from umd_engine.data.remote import is_remote
from umd_engine.errors import OptionError, RunLockedError, StoreError

LOCK = "lock"


@contextmanager
def only_writer(run: Path, wait: bool = False, tell: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """Make the run folder and write to it alone; reports read meanwhile.

    What is left of the lock is removed at the end, and so is a folder that nothing was written to. A file left by
    a process that was killed locks nothing.

    Args:
        wait: for another writer to end, instead of refusing.
        tell: told whom it waits for.

    Raises:
        RunLockedError: another process writes to the run; it is named. StoreError: a folder that cannot be written
            to, or a file system without locks. OptionError: a remote folder; of a remote run lock its `home`.
    """
    if is_remote(run):
        raise OptionError("this command writes to a folder of this machine alone", where=run, mend="name one")
    made = not run.exists()
    try:
        file = _locked(run / LOCK, wait, tell)
    except OSError as error:
        mend = "name a folder you may write, on a file system with locks and some free space"
        raise StoreError(f"the run cannot be locked: {error.strerror}", where=run, mend=mend) from None
    try:
        yield
    finally:
        (run / LOCK).unlink(missing_ok=True)
        file.close()
        if made:
            with suppress(OSError):  # it is in use
                run.rmdir()


def _locked(path: Path, wait: bool, tell: Callable[[str], None]) -> FileIO:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # a writer that ended took the folder away
            file = path.open("ab+", buffering=0)
            try:
                _lock(file, path, wait, tell)
                if os.fstat(file.fileno()).st_ino == path.stat().st_ino:  # else its last owner removed it
                    _sign(file)
                    return file
                file.close()
            except BaseException:
                file.close()
                raise


def _lock(file: FileIO, path: Path, wait: bool, tell: Callable[[str], None]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        writer = _writer(file)
        if not wait:
            mend = "wait until it ends, or give --wait"
            raise RunLockedError(f"{writer} is writing to it", where=path.parent, mend=mend) from None
        tell(f"{path.parent}: waiting for {writer}")
        fcntl.flock(file, fcntl.LOCK_EX)


def _sign(file: FileIO) -> None:
    file.truncate(0)
    file.write(json.dumps(signature()).encode())


def signature() -> dict[str, Any]:
    """What a lock says of this process."""
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since}


def named(signed: Mapping[str, Any]) -> str:
    """A process by its signature."""
    return "process {pid} on {host} since {since}".format(**signed)


def _writer(file: FileIO) -> str:
    """Who signed the lock; a process may have taken it and not signed yet."""
    file.seek(0)
    try:
        return named(json.loads(file.read()))
    except (ValueError, KeyError):
        return "another process"
