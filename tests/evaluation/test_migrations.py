"""Stores of other versions and other programs."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from umd_engine.data.content import Content, Stamp
from umd_engine.errors import StoreError
from umd_engine.evaluation.migrations import APPLICATION_ID, MIGRATIONS, statements
from umd_engine.evaluation.store import COLUMNS, Row, Store
from umd_engine.evaluation.surfaces import ELEMENTS, FIGURES

VERSION_1 = (Path(__file__).parent / "store_v1.sql").read_text()  # frozen: as released
VERSION_2 = (Path(__file__).parent / "store_v2.sql").read_text()
VERSION_3 = (Path(__file__).parent / "store_v3.sql").read_text()
VERSION_4 = (Path(__file__).parent / "store_v4.sql").read_text()
VERSION_5 = (Path(__file__).parent / "store_v5.sql").read_text()
VERSION_6 = (Path(__file__).parent / "store_v6.sql").read_text()
VALUES_1 = ("p", "petct", "s", "s_ct", "ct", "m", "liver", 0, 0, "ok", 3, 2, 1, 0.5, 1.25, "")
TWICE = (
    *MIGRATIONS,
    "ALTER TABLE results ADD COLUMN gpu TEXT NOT NULL DEFAULT 'none';\nCREATE INDEX i ON results (gpu);",
)


def version_1_store(path):
    """Made by the version-1 SQL alone, without this program's code."""
    db = sqlite3.connect(path)
    db.executescript(VERSION_1)
    db.execute(f"PRAGMA application_id = {0x554D4445}")
    db.execute("PRAGMA user_version = 1")
    db.execute(f"INSERT INTO results VALUES ({', '.join('?' * 16)})", VALUES_1)
    db.execute("INSERT INTO plans VALUES ('p', '{}')")
    db.commit()
    db.close()
    return path


def schema(path):
    with sqlite3.connect(path) as db:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        return version, db.execute("SELECT name, sql FROM sqlite_master WHERE sql NOT NULL ORDER BY name").fetchall()


def test_a_released_migration_is_never_edited(tmp_path):
    with sqlite3.connect(tmp_path / "frozen.sqlite") as db:
        db.executescript(VERSION_1)
    Store(tmp_path / "new.sqlite", migrations=MIGRATIONS[:1]).close()
    assert schema(tmp_path / "frozen.sqlite")[1] == schema(tmp_path / "new.sqlite")[1]


def test_version_2_is_as_released_and_knows_phantoms(tmp_path):
    with sqlite3.connect(tmp_path / "frozen.sqlite") as db:
        db.executescript(VERSION_2)
    path = tmp_path / "new.sqlite"
    Store(path, migrations=MIGRATIONS[:2]).close()
    assert schema(tmp_path / "frozen.sqlite")[1] == schema(path)[1]
    columns = dict(zip(COLUMNS[:16], VALUES_1, strict=True))
    with Store(path) as store:
        store.add([Row(**columns), Row(**(columns | {"organ": "spleen"}), synthetic=True)])
    with Store(path) as store:
        assert [row.synthetic for row in store.rows()] == [False, True]
        with pytest.raises(sqlite3.IntegrityError):
            store._db.execute("UPDATE results SET synthetic = 2")


def test_version_3_is_as_released_and_knows_prompts(tmp_path):
    with sqlite3.connect(tmp_path / "frozen.sqlite") as db:
        db.executescript(VERSION_3)
    path = tmp_path / "new.sqlite"
    Store(path, migrations=MIGRATIONS[:3]).close()
    assert schema(tmp_path / "frozen.sqlite")[1] == schema(path)[1]
    assert {"clicks", "plans", "results"} == {name for name, _ in schema(path)[1]}


def test_version_4_is_as_released_and_knows_files(tmp_path):
    with sqlite3.connect(tmp_path / "frozen.sqlite") as db:
        db.executescript(VERSION_4)
    path = tmp_path / "new.sqlite"
    Store(path, migrations=MIGRATIONS[:4]).close()
    assert schema(tmp_path / "frozen.sqlite")[1] == schema(path)[1]
    row = Row(**dict(zip(COLUMNS[:16], VALUES_1, strict=True)), inputs="0123456789abcdef")
    scan = Path("/data/scan.nii.gz")
    with Store(path) as store:
        store.replace([row], files={scan: Content("00ff", Stamp(1, 2))})
        store.replace([row], files={scan: Content("11ff", Stamp(3, 4))})
    with Store(path) as store:
        assert list(store.rows()) == [row]
        assert store.files() == {scan: Content("11ff", Stamp(3, 4))}


def test_version_5_is_as_released_and_knows_subgroups(tmp_path):
    with sqlite3.connect(tmp_path / "frozen.sqlite") as db:
        db.executescript(VERSION_5)
    path = tmp_path / "new.sqlite"
    Store(path, migrations=MIGRATIONS[:5]).close()
    assert schema(tmp_path / "frozen.sqlite")[1] == schema(path)[1]
    scan, other = ("petct", "s", "s_ct"), ("petct", "s", "s_pet")
    with Store(path) as store:
        store.group({scan: {"sex": "F", "age": "61"}, other: {}})
        store.group({scan: {"age": "62"}})
    with Store(path) as store:
        assert store.groups() == {scan: {"sex": "F", "age": "62"}}


def test_version_6_is_as_released_and_keeps_surfaces(tmp_path):
    with sqlite3.connect(tmp_path / "frozen.sqlite") as db:
        db.executescript(VERSION_6)
    path = tmp_path / "new.sqlite"
    Store(path, migrations=MIGRATIONS[:6]).close()
    assert schema(tmp_path / "frozen.sqlite")[1] == schema(path)[1]
    first = dict(zip(COLUMNS[:16], VALUES_1, strict=True))
    size = 8 * len(ELEMENTS) * len(FIGURES)
    rows = [
        Row(**(first | {"organ": organ}), surfaces=held)
        for organ, held in zip("abc", (None, b"", b"7" * size), strict=True)
    ]
    failed = Row(**(first | {"status": "bad-label", "tp": None, "fp": None, "fn": None}), surfaces=b"")
    with Store(path) as store:
        store.add(rows)
        assert list(store.rows()) == rows
        for wrong in (replace(rows[0], surfaces=b"7" * 8), failed):
            with pytest.raises(StoreError, match="CHECK"):
                store.add([wrong])


def version_2_store(path):
    """Made by the version-2 SQL alone, with a patient, a phantom and a failure."""
    db = sqlite3.connect(path)
    db.executescript(VERSION_2)
    db.execute(f"PRAGMA application_id = {0x554D4445}")
    db.execute("PRAGMA user_version = 2")
    insert = f"INSERT INTO results VALUES ({', '.join('?' * 17)})"
    failed = (*VALUES_1[:6], "colon", 1, 2, "out-of-memory", None, None, None, None, None, "too big", 0)
    db.executemany(insert, [(*VALUES_1, 0), (*VALUES_1[:6], "spleen", *VALUES_1[7:], 1), failed])
    db.commit()
    db.close()
    return path


def test_a_version_2_store_keeps_every_row_and_takes_what_is_new(tmp_path):
    path = version_2_store(tmp_path / "store.sqlite")
    first = dict(zip(COLUMNS[:16], VALUES_1, strict=True))
    with Store(path) as store:
        colon, liver, spleen = store.rows()
        assert liver == Row(**first) and spleen == Row(**(first | {"organ": "spleen"}), synthetic=True)
        assert (colon.status, colon.step, colon.repeat, colon.message) == ("out-of-memory", 1, 2, "too big")
        assert {(r.prompt, r.prompt_hash, r.uses_label, r.note) for r in (colon, liver)} == {("", "", "none", "")}
        absent = Row(**(first | {"organ": "brain", "status": "absent", "tp": 0, "fp": 0, "fn": 0}), uses_label="click")
        store.add([absent])
        assert list(store.rows(organ="brain")) == [absent] and list(store.clicks()) == []
    assert schema(path)[0] == len(MIGRATIONS)


def test_rows_of_a_version_1_store_are_of_patients_and_can_be_marked(tmp_path):
    with Store(version_1_store(tmp_path / "store.sqlite")) as store:
        assert [row.synthetic for row in store.rows()] == [False]
        store.mark_synthetic([("petct", "s", "another"), ("petmri", "s", "s_ct")])
        assert [row.synthetic for row in store.rows()] == [False]
        store.mark_synthetic([("petct", "s", "s_ct")])
        store.mark_synthetic([])
        assert [row.synthetic for row in store.rows()] == [True]


def test_a_version_1_store_opens_in_the_current_program(tmp_path):
    path = version_1_store(tmp_path / "store.sqlite")
    with Store(path, create=False) as store:
        assert list(store.rows()) == [Row(**dict(zip(COLUMNS[:16], VALUES_1, strict=True)))]
        assert store.plans() == {"p": "{}"} and len(store.keys("p")) == 1
    assert schema(path)[0] == len(MIGRATIONS)


def test_an_older_store_is_migrated_and_keeps_its_rows(tmp_path):
    path = version_1_store(tmp_path / "store.sqlite")
    for _ in range(2):
        with Store(path, migrations=TWICE) as store:
            (row,) = store.rows()
            assert row.tp == 3
            assert store._db.execute("SELECT gpu FROM results").fetchall() == [("none",)]
    assert schema(path)[0] == len(TWICE)
    assert [name for name, _ in schema(path)[1]] == ["clicks", "files", "groups", "i", "plans", "results"]


def test_a_failing_migration_changes_nothing(tmp_path):
    path = version_1_store(tmp_path / "store.sqlite")
    before = schema(path)
    broken = (*MIGRATIONS, "CREATE TABLE extra (a INTEGER);\nDROP TABLE plans;\nDROP TABLE absent;")
    with pytest.raises(StoreError, match="absent"):
        Store(path, migrations=broken)
    assert schema(path) == before
    with Store(path) as store:
        assert len(list(store.rows())) == 1


def test_a_newer_store_is_refused_untouched(tmp_path):
    path = tmp_path / "store.sqlite"
    Store(path, migrations=TWICE).close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=rf"schema version {len(MIGRATIONS) + 1}.*newer umd-engine"):
        Store(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("owner", [0, 77])
def test_another_programs_database_is_refused_untouched(tmp_path, owner):
    path = tmp_path / "store.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE results (a INTEGER)")
        db.execute(f"PRAGMA application_id = {owner}")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not a result store"):
        Store(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_untouched(tmp_path):
    path = tmp_path / "store.sqlite"
    path.write_text("organ,dice\nliver,0.9\n" * 100)
    with pytest.raises(StoreError, match=r"store\.sqlite.*not a store"):
        Store(path)
    assert path.read_text().startswith("organ,dice")


def test_an_empty_file_becomes_a_store(tmp_path):
    path = tmp_path / "store.sqlite"
    path.touch()
    with Store(path) as store:
        assert list(store.rows()) == []
        assert store._db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)


def test_statements_keep_triggers_and_strings_whole():
    trigger = "CREATE TRIGGER t AFTER DELETE ON a BEGIN DELETE FROM b; DELETE FROM c; END;"
    assert list(statements(f"CREATE TABLE a (x TEXT DEFAULT ';');\n{trigger}\n")) == [
        "CREATE TABLE a (x TEXT DEFAULT ';');",
        trigger,
    ]
    with pytest.raises(AssertionError, match="incomplete"):
        list(statements("CREATE TABLE a (x TEXT);\nDROP TABLE b"))
