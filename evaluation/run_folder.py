"""The folder of a run: on this machine, or remote with its store kept here while the run goes on.

A store needs a local disk. That of a remote run lies in the cache folder, and whole copies of it are uploaded from time
to time and at the end; masks are written to the remote folder directly.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from umd_engine.data.remote import is_remote, read_bytes, url_of, write_bytes
from umd_engine.errors import RunLockedError, StoreError, UmdEngineError
from umd_engine.evaluation.lock import only_writer
from umd_engine.evaluation.remote_lock import Claim, only_driver
from umd_engine.exporters.artifact import cache_folder

log = logging.getLogger(__name__)
STORE = "store.sqlite"
UPLOADED = "uploaded.sha256"  # of the copy that was uploaded last
EVERY_S = 60.0


def home(run: Path) -> Path:
    """Where a run's store and plans lie on this machine: the run folder itself unless that is remote."""
    if not is_remote(run):
        return run
    return cache_folder() / "runs" / hashlib.sha256(url_of(run).encode()).hexdigest()[:16]


def fetched(run: Path) -> Path:
    """`home` with the newest store: the remote one, unless it is the one uploaded from here.

    Raises:
        StoreError: the remote folder cannot be read.
    """
    here = home(run)
    if not is_remote(run):
        return here
    try:
        content: bytes | None = read_bytes(run / STORE)
    except FileNotFoundError:
        content = None
    except OSError as error:
        raise StoreError(f"cannot be read: {error.strerror}", where=run, mend="check the address and keys") from None
    here.mkdir(parents=True, exist_ok=True)
    if _sha256(content) != _noted(here):  # another machine went on, or the run was removed
        for name in (STORE, f"{STORE}-wal", f"{STORE}-shm", UPLOADED):
            (here / name).unlink(missing_ok=True)
        if content is not None:
            (here / STORE).write_bytes(content)
            (here / UPLOADED).write_text(_sha256(content))
    return here


def to_read(run: Path) -> Path:
    """`fetched` for a command that only reads: a store that a command of this machine writes to is the newest.

    Raises:
        StoreError: as `fetched`.
    """
    if not is_remote(run):
        return run
    try:
        with only_writer(home(run)):
            return fetched(run)
    except RunLockedError:
        return home(run)


@contextmanager
def uploading(
    run: Path, wait: bool = False, tell: Callable[[str], None] = lambda text: None, every_s: float = EVERY_S
) -> Iterator[Path]:
    """`fetched`; while the block runs the store of a remote run is uploaded when it has changed, and at the end.

    Args:
        wait, tell: as for `remote_lock.only_driver`.

    Raises:
        StoreError: as `fetched` and `only_driver`, or the last copy cannot be uploaded: it is safe here.
    """
    if not is_remote(run):
        yield run
        return
    with only_driver(run, home(run), wait, tell) as claim:
        here = fetched(run)
        ended = threading.Event()
        thread = threading.Thread(target=_checkpoints, args=(run, here, claim, ended, every_s), daemon=True)
        thread.start()
        try:
            yield here
        finally:
            ended.set()
            thread.join()
            _upload(run, here, claim)


def _checkpoints(run: Path, here: Path, claim: Claim, ended: threading.Event, every_s: float) -> None:
    while not ended.wait(every_s):
        try:
            _upload(run, here, claim)
        except UmdEngineError as error:
            log.error("%s", error)  # the next one may succeed


def _upload(run: Path, here: Path, claim: Claim) -> None:
    try:
        claim.renew()
        for plan in (here / "plans").glob("*.json"):
            write_bytes(run / "plans" / plan.name, plan.read_bytes())
        if (here / STORE).exists() and _sha256(content := _copy(here / STORE)) != _noted(here):
            write_bytes(run / STORE, content)
            (here / UPLOADED).write_text(_sha256(content))
    except RunLockedError:
        raise
    except (OSError, sqlite3.Error, UmdEngineError) as error:
        text = getattr(error, "strerror", None) or error
        mend = f"the rows are safe in {here / STORE}; the same command goes on"
        raise StoreError(f"the store cannot be uploaded: {text}", where=run, mend=mend) from None


def _copy(store: Path) -> bytes:
    """The file as it would be without its log, also while it is written to."""
    part = store.with_name("upload.sqlite")
    part.unlink(missing_ok=True)
    with closing(sqlite3.connect(store)) as source, closing(sqlite3.connect(part)) as target:
        source.backup(target)
    content = part.read_bytes()
    part.unlink()
    return content


def _sha256(content: bytes | None) -> str:
    return "" if content is None else hashlib.sha256(content).hexdigest()


def _noted(here: Path) -> str:
    return (here / UPLOADED).read_text() if (here / UPLOADED).exists() else ""
