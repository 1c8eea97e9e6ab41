"""A store's file opened without writing anything: for reports, also from media that take no writes."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from umd_engine.errors import StoreError

UNWRITABLE = ("SQLITE_CANTOPEN", "SQLITE_READONLY")


def connect_read_only(path: Path, timeout_s: float) -> sqlite3.Connection:
    """A connection that changes no row.

    Readers of a write-ahead log share an index of it, a file beside it. Where that file can be neither found nor
    made, an empty log holds nothing, and the store's file alone is read.

    Raises:
        StoreError: rows lie in a log that cannot be read here. sqlite3.Error: what else keeps it from opening.
    """
    try:
        return _connect(path, "mode=ro", timeout_s)
    except sqlite3.OperationalError as error:
        if not error.sqlite_errorname.startswith(UNWRITABLE):
            raise
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise StoreError(
            f"rows lie in {log.name}, which cannot be read where nothing can be written",
            where=path,
            mend="copy the folder to where you may write",
        )
    return _connect(path, "mode=ro&immutable=1", timeout_s)


def _connect(path: Path, how: str, timeout_s: float) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=timeout_s, isolation_level=None)
    try:
        db.execute("PRAGMA schema_version").fetchone()  # only the first access opens the log
    except BaseException:
        db.close()
        raise
    return db
