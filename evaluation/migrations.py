"""The store's schema as a list of migrations, and the code that brings an older store up to date.

A store's version (`PRAGMA user_version`) is the number of migrations it has had. A migration that was released
is never edited: a change of the schema is a new entry at the end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from umd_engine.errors import StoreError

APPLICATION_ID = 0x554D4445  # "UMDE", in the SQLite header: whose file this is

VERSION_1 = """
CREATE TABLE plans (
    hash TEXT PRIMARY KEY,
    json TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE results (
    plan TEXT NOT NULL,
    cohort TEXT NOT NULL,
    subject TEXT NOT NULL,
    scan_id TEXT NOT NULL,
    modality TEXT NOT NULL,
    model TEXT NOT NULL,
    organ TEXT NOT NULL,
    step INTEGER NOT NULL,
    repeat INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status <> ''),
    tp INTEGER CHECK (tp IS NULL OR typeof(tp) = 'integer' AND tp >= 0),
    fp INTEGER CHECK (fp IS NULL OR typeof(fp) = 'integer' AND fp >= 0),
    fn INTEGER CHECK (fn IS NULL OR typeof(fn) = 'integer' AND fn >= 0),
    voxel_ml REAL,
    seconds REAL,
    message TEXT NOT NULL,
    PRIMARY KEY (plan, cohort, subject, scan_id, modality, model, organ, step, repeat),
    CHECK (
        CASE status
            WHEN 'ok' THEN tp IS NOT NULL AND fp IS NOT NULL AND fn IS NOT NULL
            WHEN 'no-reference' THEN tp IS NULL AND fn IS NULL
            ELSE tp IS NULL AND fp IS NULL AND fn IS NULL
        END
    )
) WITHOUT ROWID;
"""

VERSION_2 = """
ALTER TABLE results ADD COLUMN synthetic INTEGER NOT NULL DEFAULT 0 CHECK (synthetic IN (0, 1));
"""

# SQLite cannot change a CHECK: the table is made anew for the status "absent"
VERSION_3 = """
CREATE TABLE results_3 (
    plan TEXT NOT NULL,
    cohort TEXT NOT NULL,
    subject TEXT NOT NULL,
    scan_id TEXT NOT NULL,
    modality TEXT NOT NULL,
    model TEXT NOT NULL,
    organ TEXT NOT NULL,
    step INTEGER NOT NULL,
    repeat INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status <> ''),
    tp INTEGER CHECK (tp IS NULL OR typeof(tp) = 'integer' AND tp >= 0),
    fp INTEGER CHECK (fp IS NULL OR typeof(fp) = 'integer' AND fp >= 0),
    fn INTEGER CHECK (fn IS NULL OR typeof(fn) = 'integer' AND fn >= 0),
    voxel_ml REAL,
    seconds REAL,
    message TEXT NOT NULL,
    synthetic INTEGER NOT NULL DEFAULT 0 CHECK (synthetic IN (0, 1)),
    prompt TEXT NOT NULL DEFAULT '',
    prompt_hash TEXT NOT NULL DEFAULT '',
    uses_label TEXT NOT NULL DEFAULT 'none' CHECK (uses_label IN ('none', 'click', 'box', 'crop')),
    note TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (plan, cohort, subject, scan_id, modality, model, organ, step, repeat),
    CHECK (
        CASE status
            WHEN 'ok' THEN tp IS NOT NULL AND fp IS NOT NULL AND fn IS NOT NULL
            WHEN 'no-reference' THEN tp IS NULL AND fn IS NULL
            WHEN 'absent' THEN tp IS 0 AND fp IS 0 AND fn IS 0
            ELSE tp IS NULL AND fp IS NULL AND fn IS NULL
        END
    )
) WITHOUT ROWID;

INSERT INTO results_3 (
    plan, cohort, subject, scan_id, modality, model, organ, step, repeat, status, tp, fp, fn, voxel_ml, seconds,
    message, synthetic
) SELECT
    plan, cohort, subject, scan_id, modality, model, organ, step, repeat, status, tp, fp, fn, voxel_ml, seconds,
    message, synthetic
FROM results;

DROP TABLE results;

ALTER TABLE results_3 RENAME TO results;

CREATE TABLE clicks (
    plan TEXT NOT NULL,
    cohort TEXT NOT NULL,
    subject TEXT NOT NULL,
    scan_id TEXT NOT NULL,
    modality TEXT NOT NULL,
    model TEXT NOT NULL,
    organ TEXT NOT NULL,
    step INTEGER NOT NULL,
    repeat INTEGER NOT NULL,
    number INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('point', 'box', 'text')),
    origin TEXT NOT NULL CHECK (origin IN ('shared', 'own', 'replayed')),
    positive INTEGER NOT NULL CHECK (positive IN (0, 1)),
    voxel_x INTEGER, voxel_y INTEGER, voxel_z INTEGER,
    world_x REAL, world_y REAL, world_z REAL,
    high_x INTEGER, high_y INTEGER, high_z INTEGER,
    world_high_x REAL, world_high_y REAL, world_high_z REAL,
    text TEXT NOT NULL,
    PRIMARY KEY (plan, cohort, subject, scan_id, modality, model, organ, step, repeat, number),
    CHECK ((world_x IS NULL) = (kind = 'text') AND (world_high_x IS NULL) = (kind <> 'box'))
) WITHOUT ROWID;
"""

VERSION_4 = """
ALTER TABLE results ADD COLUMN inputs TEXT NOT NULL DEFAULT '';

CREATE TABLE files (
    path TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    sha256 TEXT NOT NULL
) WITHOUT ROWID;
"""

VERSION_5 = """
CREATE TABLE groups (
    cohort TEXT NOT NULL,
    subject TEXT NOT NULL,
    scan_id TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL CHECK (value <> ''),
    PRIMARY KEY (cohort, subject, scan_id, name)
) WITHOUT ROWID;
"""

# 46 float64 (evaluation/surfaces.py), or none where a side is empty
VERSION_6 = """
ALTER TABLE results ADD COLUMN surfaces BLOB CHECK (
    surfaces IS NULL OR typeof(surfaces) = 'blob' AND length(surfaces) IN (0, 368) AND status IN ('ok', 'absent')
);
"""

MIGRATIONS: tuple[str, ...] = (VERSION_1, VERSION_2, VERSION_3, VERSION_4, VERSION_5, VERSION_6)


def statements(sql: str) -> Iterator[str]:
    """The single statements of a script; `executescript` would end the transaction it is called in."""
    pending = ""
    *pieces, rest = sql.split(";")
    for piece in pieces:
        pending += piece + ";"
        if sqlite3.complete_statement(pending):
            yield pending.strip()
            pending = ""
    assert not (pending + rest).strip(), f"a migration ends in an incomplete statement: {pending}{rest}"


def check_owner(db: sqlite3.Connection, path: Path) -> None:
    """Raise StoreError unless the file is empty or a store; writes nothing."""
    db.execute("BEGIN")  # both figures of one moment: another process may be making the store
    owner = db.execute("PRAGMA application_id").fetchone()[0]
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    db.execute("COMMIT")
    if owner == APPLICATION_ID or (owner == 0 and not tables):
        return
    raise StoreError(
        "this SQLite file is not a result store",
        where=path,
        mend="name another run folder; it was left as it is",
    )


def version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def migrate(db: sqlite3.Connection, path: Path, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Bring the store to version `len(migrations)` in one transaction, all or nothing.

    Raises:
        StoreError: the store is newer than this program.
        sqlite3.Error: a statement failed; the store is as it was.
    """
    if version(db) == len(migrations):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        _apply(db, path, migrations)
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def for_reading(db: sqlite3.Connection, path: Path, migrations: Sequence[str] = MIGRATIONS) -> sqlite3.Connection:
    """The store in its newest version: `db`, or, of an older one, a migrated copy in memory in the place of `db`.

    Raises:
        StoreError: the store is newer than this program.
    """
    have = version(db)
    _refuse_newer(have, path, migrations)
    if have == len(migrations):
        return db
    copy = sqlite3.connect(":memory:", isolation_level=None)
    db.backup(copy)
    db.close()
    migrate(copy, path, migrations)
    copy.execute("PRAGMA query_only = ON")
    return copy


def _refuse_newer(have: int, path: Path, migrations: Sequence[str]) -> None:
    if have > len(migrations):
        raise StoreError(
            f"the store has schema version {have}, this program knows up to {len(migrations)}",
            where=path,
            mend="use the newer umd-engine that wrote it",
        )


def _apply(db: sqlite3.Connection, path: Path, migrations: Sequence[str]) -> None:
    have = version(db)  # read again under the lock: another process may have migrated meanwhile
    _refuse_newer(have, path, migrations)
    for sql in migrations[have:]:
        for statement in statements(sql):
            db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {len(migrations)}")
