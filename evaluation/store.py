"""The result store: a SQLite file of rows under their keys, safe against kill -9 and power loss.

Voxel counts are stored, not scores: every table can be made again under another convention without inference.
"""

from __future__ import annotations

import json
import operator
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Self

from umd_engine.data.content import Content, Stamp
from umd_engine.errors import MissingFileError, StoreError
from umd_engine.evaluation.click_rows import ADD_CLICK, ALL_CLICKS, ClickRow, click_row, click_values
from umd_engine.evaluation.migrations import MIGRATIONS, check_owner, for_reading, migrate
from umd_engine.evaluation.read_only import connect_read_only
from umd_engine.evaluation.rows import ABSENT, FINISHED, NO_REFERENCE, OK, Key, Row

__all__ = ["ABSENT", "FINISHED", "NO_REFERENCE", "OK", "Key", "Row", "Store"]

KEY_COLUMNS = tuple(field.name for field in fields(Key))
COLUMNS = tuple(field.name for field in fields(Row))
ADD = f"INSERT OR REPLACE INTO results ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
TARGET = tuple(column for column in KEY_COLUMNS if column != "step")
CLEAR = f"WHERE {' AND '.join(f'{column} = ?' for column in TARGET)}"
# with max() SQLite takes the other columns from the row that holds the maximum
SETTLED = f"SELECT {', '.join(TARGET)}, status, fp, inputs, max(step) FROM results GROUP BY {', '.join(TARGET)}"
MARK = """
    UPDATE results SET synthetic = 1 WHERE synthetic = 0 AND (cohort, subject, scan_id) IN
    (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]') FROM json_each(?))
"""

REMEMBER = "INSERT OR REPLACE INTO files (path, size, mtime_ns, sha256) VALUES (?, ?, ?, ?)"
GROUP = "INSERT OR REPLACE INTO groups (cohort, subject, scan_id, name, value) VALUES (?, ?, ?, ?, ?)"
LEARN = """
    UPDATE results SET inputs = ? WHERE inputs = '' AND plan = ? AND cohort = ? AND subject = ? AND scan_id = ?
"""

MENDS = {
    "SQLITE_FULL": "free some disk space and run the same command again: what was committed is safe",
    "SQLITE_BUSY": "another process is writing to this store: wait for it or end it, then run the command again",
    "SQLITE_LOCKED": "another process is writing to this store: wait for it or end it, then run the command again",
    "SQLITE_CORRUPT": "the file is damaged: restore a copy, or start a new run folder",
    "SQLITE_NOTADB": "the file is not a store: name another run folder",
    "SQLITE_READONLY": "make the file and its folder writable",
    "SQLITE_CANTOPEN": "check that the folder exists and that you may open the file",
    "SQLITE_IOERR": "check the disk, then run the same command again",
    "SQLITE_CONSTRAINT": "counts, status and key of the row do not fit together: nothing of this call was stored",
}


def _mend(error: sqlite3.Error) -> str:
    name = getattr(error, "sqlite_errorname", "")  # e.g. SQLITE_IOERR_WRITE
    return next((mend for prefix, mend in MENDS.items() if name.startswith(prefix)), "")


def _as_int(value: int | None) -> int | None:
    return None if value is None else operator.index(value)  # a NumPy integer would be stored as a blob


def _as_float(value: float | None) -> float | None:
    return None if value is None else float(value)


def _values(row: Row) -> tuple[object, ...]:
    counts = _as_int(row.tp), _as_int(row.fp), _as_int(row.fn)
    key = (*astuple(row.key)[:-2], _as_int(row.step), _as_int(row.repeat))
    figures = *counts, _as_float(row.voxel_ml), _as_float(row.seconds)
    prompt = row.prompt, row.prompt_hash, row.uses_label, row.note, row.inputs
    return (*key, row.status, *figures, row.message, int(row.synthetic), *prompt, row.surfaces)


def _target(key: Key) -> tuple[object, ...]:
    return tuple(getattr(key, column) for column in TARGET)


ScanKey = tuple[str, str, str]  # cohort, subject, scan_id
Filter = str | Collection[str] | None


def _where(filters: dict[str, Filter]) -> tuple[str, list[str]]:
    clauses, values = [], []
    for column, wanted in filters.items():
        if wanted is None:
            continue
        names = [wanted] if isinstance(wanted, str) else list(wanted)
        clauses.append(f"{column} IN ({', '.join('?' * len(names))})")
        values += names
    return (f" WHERE {' AND '.join(clauses)}" if clauses else ""), values


@dataclass(frozen=True)
class Settled:
    """A finished result: whether a mask was made, and of which inputs."""

    made: bool
    inputs: str


class Store:
    """A store file, opened; made where it does not exist, migrated where it is older.

    A Store belongs to the thread that opened it; other threads and processes open their own. Readers see whole
    transactions only and never block the writer. The file needs a local disk (it keeps a write-ahead log).

    Args:
        path: the file, by custom `RUN/store.sqlite`.
        create: False to refuse a file that does not exist.
        read_only: change nothing (reports): the file must exist, and may lie where nothing can be written; an older
            one is read as a migrated copy in memory. `add`, `add_plan` and `forget` raise.
        timeout_s: how long to wait for another writer.

    Raises:
        MissingFileError: the file does not exist and may not be made.
        StoreError: another program's file, a newer schema, a damaged file, a file that cannot be opened. So do all
            methods when the disk is full, the store is locked or damaged.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        create: bool = True,
        read_only: bool = False,
        timeout_s: float = 30.0,
        migrations: Sequence[str] = MIGRATIONS,
    ):
        self.path = Path(path)
        if (read_only or not create) and not self._exists():
            raise MissingFileError("there is no result store", where=self.path, mend="name the folder of a run")
        with self._typed():
            if read_only:
                self._db = connect_read_only(self.path, timeout_s)
            else:
                self._db = sqlite3.connect(self.path, timeout=timeout_s, isolation_level=None)
            try:
                check_owner(self._db, self.path)
                if read_only:
                    self._db = for_reading(self._db, self.path, migrations)
                else:
                    self._prepare(migrations)
            except BaseException:
                self._db.close()
                raise

    def _exists(self) -> bool:
        try:
            return self.path.is_file()
        except OSError as error:
            fault = f"cannot be opened: {error.strerror}"
            raise StoreError(fault, where=self.path, mend="check the permissions of its folder") from None

    def _prepare(self, migrations: Sequence[str]) -> None:
        mode = self._db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise StoreError(
                "this file system cannot hold a write-ahead log",
                where=self.path,
                mend="put the run folder on a local disk",
            )
        self._db.execute("PRAGMA synchronous = FULL")
        migrate(self._db, self.path, migrations)

    @contextmanager
    def _typed(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"SQLite says: {error}", where=self.path, mend=_mend(error)) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._typed():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def add(self, rows: Sequence[Row]) -> None:
        """Store `rows` in one transaction: all of them or, after an error, none. A row replaces the one of its key."""
        values = [_values(row) for row in rows]
        with self._transaction():
            self._db.executemany(ADD, values)

    def replace(
        self, rows: Sequence[Row], clicks: Sequence[ClickRow] = (), files: Mapping[Path, Content] | None = None
    ) -> None:
        """Store `rows` and `clicks` in one transaction, in the place of all steps of the same organs and repeats, and
        remember `files`."""
        targets = {_target(row.key) for row in rows}
        with self._transaction():
            for table in ("results", "clicks"):
                self._db.executemany(f"DELETE FROM {table} {CLEAR}", targets)
            self._db.executemany(ADD, [_values(row) for row in rows])
            self._db.executemany(ADD_CLICK, [click_values(click) for click in clicks])
            self._remember(files or {})

    def files(self) -> dict[Path, Content]:
        """What is remembered of the files that were read."""
        with self._typed():
            found = self._db.execute("SELECT path, size, mtime_ns, sha256 FROM files")
            return {Path(path): Content(sha256, Stamp(size, mtime_ns)) for path, size, mtime_ns, sha256 in found}

    def learn(self, inputs: Mapping[tuple[str, str, str, str], str], files: Mapping[Path, Content]) -> None:
        """Remember `files`, and the inputs of rows that have none, by (plan, cohort, subject, scan_id)."""
        with self._transaction():
            self._db.executemany(LEARN, [(known, *scan) for scan, known in inputs.items()])
            self._remember(files)

    def _remember(self, files: Mapping[Path, Content]) -> None:
        values = [(str(p), c.stamp.size, c.stamp.mtime_ns, c.sha256) for p, c in files.items()]
        self._db.executemany(REMEMBER, values)

    def clicks(self) -> Iterator[ClickRow]:
        """The prompts in the order of their keys."""
        with self._typed():
            for values in self._db.execute(ALL_CLICKS):
                yield click_row(values)

    def rows(
        self,
        *,
        plan: Filter = None,
        cohort: Filter = None,
        subject: Filter = None,
        scan_id: Filter = None,
        modality: Filter = None,
        model: Filter = None,
        organ: Filter = None,
        status: Filter = None,
    ) -> Iterator[Row]:
        """The rows in the order of their keys; a filter is a value, several values, or None for all.

        Read it to its end before adding to the same Store.
        """
        where, values = _where(
            {
                "plan": plan,
                "cohort": cohort,
                "subject": subject,
                "scan_id": scan_id,
                "modality": modality,
                "model": model,
                "organ": organ,
                "status": status,
            }
        )
        sql = f"SELECT {', '.join(COLUMNS)} FROM results{where} ORDER BY {', '.join(KEY_COLUMNS)}"
        with self._typed():
            for values_of_row in self._db.execute(sql, values):
                found = dict(zip(COLUMNS, values_of_row, strict=True))
                yield Row(**(found | {"synthetic": bool(found["synthetic"])}))

    def mark_synthetic(self, scans: Iterable[tuple[str, str, str]]) -> None:
        """Mark the rows of these scans, (cohort, subject, scan_id) each; no mark is ever taken away."""
        with self._transaction():
            self._db.execute(MARK, (json.dumps(list(scans)),))

    def group(self, scans: Mapping[ScanKey, Mapping[str, str]]) -> None:
        """Keep what subgroups scans belong to, e.g. {"sex": "F"}; a value takes the place of an older one."""
        with self._transaction():
            values = [(*scan, name, value) for scan, named in scans.items() for name, value in named.items()]
            self._db.executemany(GROUP, values)

    def groups(self) -> dict[ScanKey, dict[str, str]]:
        """(cohort, subject, scan_id) -> its subgroups."""
        found: dict[ScanKey, dict[str, str]] = {}
        with self._typed():
            for *scan, name, value in self._db.execute("SELECT * FROM groups"):
                found.setdefault((scan[0], scan[1], scan[2]), {})[name] = value
        return found

    def settled(self) -> dict[Key, Settled]:
        """The keys, at step 0, whose last step is finished."""
        found = {}
        with self._typed():
            for *target, status, fp, inputs, _ in self._db.execute(SETTLED):
                if status in FINISHED:
                    made = status != ABSENT and fp is not None
                    found[Key(**dict(zip(TARGET, target, strict=True)))] = Settled(made, inputs)
        return found

    def keys(self, plan: str | None = None) -> set[Key]:
        """The keys of finished rows, of one plan or all; failed ones are to be tried again."""
        return {row.key for row in self.rows(plan=plan, status=FINISHED)}

    def add_plan(self, plan_hash: str, plan_json: str) -> None:
        """Keep the plan behind a hash.

        Raises:
            StoreError: the hash is known with another text.
        """
        with self._transaction():
            self._db.execute("INSERT OR IGNORE INTO plans (hash, json) VALUES (?, ?)", (plan_hash, plan_json))
            (known,) = self._db.execute("SELECT json FROM plans WHERE hash = ?", (plan_hash,)).fetchone()
            if known != plan_json:
                raise StoreError(
                    f"the store knows plan {plan_hash} with another text",
                    where=self.path,
                    mend="start a new run folder",
                )

    def forget(self, plan_hash: str) -> None:
        """Remove a plan and its rows."""
        with self._transaction():
            self._db.execute("DELETE FROM results WHERE plan = ?", (plan_hash,))
            self._db.execute("DELETE FROM clicks WHERE plan = ?", (plan_hash,))
            self._db.execute("DELETE FROM plans WHERE hash = ?", (plan_hash,))

    def plans(self) -> dict[str, str]:
        """Plan hash -> the plan's JSON."""
        with self._typed():
            return dict(self._db.execute("SELECT hash, json FROM plans ORDER BY hash"))

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
