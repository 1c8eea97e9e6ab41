"""Stores that are only read: also from folders that nothing can be written to, and never changed."""

import shutil
import sqlite3
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from umd_engine.errors import MissingFileError, StoreError
from umd_engine.evaluation.migrations import MIGRATIONS
from umd_engine.evaluation.store import Row, Store

ROW = Row(
    plan="p", cohort="petct", subject="s", scan_id="s_ct", modality="ct", model="m", organ="liver", status="ok",
    tp=3, fp=2, fn=1,
)  # fmt: skip
NEXT = (*MIGRATIONS, "CREATE TABLE extra (a INTEGER);")
NOBODY = 65534
READER = f"""
import os, sys
from pathlib import Path
from umd_engine.errors import UmdEngineError
from umd_engine.evaluation.conventions import convention
from umd_engine.evaluation.report import report_run
if os.geteuid() == 0:
    os.seteuid({NOBODY})  # root may write anywhere
run = Path(sys.argv[1])
try:
    (run / "probe").touch()
except PermissionError:
    print("not writable")
try:
    print(report_run(run, convention("umd"), "csv"))
except UmdEngineError as error:
    print(error)
"""


@pytest.fixture
def run():
    """A folder that other users may reach, unlike pytest's."""
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)
        folder = Path(parent) / "run 1?#%20"
        folder.mkdir()
        yield folder
        folder.chmod(0o755)


def read_without_rights(run):
    """What a process prints that may read `run` and not write to it."""
    for path in run.iterdir():
        path.chmod(0o444)
    run.chmod(0o555)
    before = sorted(path.name for path in run.iterdir())
    done = subprocess.run([sys.executable, "-c", READER, str(run)], capture_output=True, text=True, check=True)
    assert sorted(path.name for path in run.iterdir()) == before
    first, _, said = done.stdout.partition("\n")
    assert first == "not writable"
    return said


def test_a_report_of_a_folder_that_is_not_writable(run):
    with Store(run / "store.sqlite") as store:
        store.add([ROW])
    assert "petct,liver,ct,m,p,dice,umd,0.66666" in read_without_rights(run)


def test_what_an_earlier_reader_left_does_not_matter(run):
    with Store(run / "store.sqlite") as store:
        store.add([ROW])
    with Store(run / "store.sqlite", read_only=True) as store:
        assert list(store.rows()) == [ROW]
    (run / "store.sqlite-wal").touch()
    assert "petct,liver,ct,m,p,dice,umd,0.66666" in read_without_rights(run)


def test_rows_in_a_log_are_read_or_the_report_says_why_not(run):
    with Store(run / "store.sqlite") as store:
        store.add([ROW])
        copy = run.with_name("copy")
        copy.mkdir()
        for name in ("store.sqlite", "store.sqlite-wal"):
            shutil.copy(run / name, copy / name)
        assert "0.66666" in read_without_rights(run)
    said = read_without_rights(copy)
    copy.chmod(0o755)
    assert "store.sqlite: rows lie in store.sqlite-wal" in said and "copy the folder" in said


def test_a_file_that_may_not_be_read(run):
    Store(run / "store.sqlite").close()
    (run / "store.sqlite").chmod(0)
    done = subprocess.run([sys.executable, "-c", READER, str(run)], capture_output=True, text=True, check=True)
    assert "unable to open database file (check that the folder exists and that you may open the file)" in done.stdout


def test_nothing_is_changed(run):
    path = run / "store.sqlite"
    with Store(path) as store:
        store.add([ROW])
    before = path.read_bytes()
    with Store(path, read_only=True) as store:
        with pytest.raises(StoreError, match="readonly"):
            store.add([replace(ROW, organ="spleen")])
        assert list(store.rows()) == [ROW] and store.plans() == {}
    assert path.read_bytes() == before


def test_a_reader_sees_what_a_writer_adds_meanwhile(run):
    with Store(run / "store.sqlite") as writer, Store(run / "store.sqlite", read_only=True) as reader:
        writer.add([ROW])
        assert list(reader.rows()) == [ROW]


def test_an_older_store_is_read_as_a_copy_and_left_as_it_is(run):
    path = run / "store.sqlite"
    with Store(path) as store:
        store.add([ROW])
    before = path.read_bytes()
    with Store(path, read_only=True, migrations=NEXT) as store:
        assert list(store.rows()) == [ROW]
        with pytest.raises(StoreError, match="readonly"):
            store.add([replace(ROW, organ="spleen")])
    assert path.read_bytes() == before
    assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


def test_a_newer_store_is_refused(run):
    path = run / "store.sqlite"
    Store(path, migrations=NEXT).close()
    with pytest.raises(StoreError, match=rf"schema version {len(NEXT)}.*newer umd-engine"):
        Store(path, read_only=True)


def test_other_files_and_none(run):
    with pytest.raises(MissingFileError, match="no result store"):
        Store(run / "store.sqlite", read_only=True)
    (run / "store.sqlite").write_text("organ,dice\n" * 200)
    with pytest.raises(StoreError, match="not a store"):
        Store(run / "store.sqlite", read_only=True)
    db = sqlite3.connect(run / "other.sqlite")
    db.execute("CREATE TABLE a (b INTEGER)")
    db.close()
    with pytest.raises(StoreError, match="not a result store"):
        Store(run / "other.sqlite", read_only=True)
