"""The store: round trips, whole transactions, several processes, errors with a mend."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umd_engine.errors import MissingFileError, StoreError
from umd_engine.evaluation.store import Key, Row, Store

ROW = Row(
    plan="p", cohort="petct", subject="s", scan_id="s_ct", modality="ct", model="m", organ="liver", status="ok",
    tp=3, fp=2, fn=1, voxel_ml=0.5, seconds=1.25,
)  # fmt: skip


def open_store(tmp_path, **options):
    return Store(tmp_path / "store.sqlite", **options)


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
counts = st.integers(0, 2**40)
outcomes = st.one_of(
    st.tuples(st.just("ok"), counts, counts, counts),
    st.tuples(st.just("no-reference"), st.none(), st.one_of(st.none(), counts), st.none()),
    st.tuples(st.just("absent"), st.just(0), st.just(0), st.just(0)),
    st.tuples(st.sampled_from(["corrupt-file", "out-of-memory"]), st.none(), st.none(), st.none()),
)
uses = st.sampled_from(["none", "click", "box", "crop"])
floats = st.one_of(st.none(), st.floats(0, 1e6))


@st.composite
def some_rows(draw):
    keys = draw(st.sets(st.builds(Key, *[names] * 7, st.integers(0, 99), st.integers(0, 99)), max_size=6))
    rows = []
    for key in keys:
        status, tp, fp, fn = draw(outcomes)
        figures = {"tp": tp, "fp": fp, "fn": fn, "voxel_ml": draw(floats), "seconds": draw(floats)}
        asked = {"prompt": draw(names), "prompt_hash": draw(names), "uses_label": draw(uses), "note": draw(names)}
        rows.append(Row(**vars(key), status=status, **figures, message=draw(names), **asked))
    return rows


@settings(max_examples=25, deadline=None)
@given(some_rows())
def test_what_is_added_comes_back_in_the_order_of_keys(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("store") / "s.sqlite"
    with Store(path) as store:
        store.add(rows)
    with Store(path, create=False) as store:
        back = list(store.rows())
        finished = store.keys()
    assert sorted(back, key=lambda r: r.key) == sorted(rows, key=lambda r: r.key)
    assert [r.key for r in back] == sorted((r.key for r in rows), key=lambda k: [_utf8(v) for v in vars(k).values()])
    assert finished == {r.key for r in rows if r.status in ("ok", "no-reference", "absent")}


def _utf8(value):
    return value.encode() if isinstance(value, str) else value


def test_a_row_knows_its_volumes():
    assert (ROW.label_voxels, ROW.prediction_voxels, ROW.failed) == (4, 5, False)
    unlabelled = replace(ROW, status="no-reference", tp=None, fn=None)
    assert (unlabelled.label_voxels, unlabelled.prediction_voxels, unlabelled.failed) == (None, 2, False)
    assert replace(ROW, status="bad-label", tp=None, fp=None, fn=None).failed


def test_numpy_counts_are_stored_as_integers(tmp_path):
    counted = replace(ROW, tp=np.int64(3), fp=np.uint8(2), fn=np.int32(1), voxel_ml=np.float32(0.5))
    with open_store(tmp_path) as store:
        store.add([counted])
        assert list(store.rows()) == [ROW]


def test_the_same_key_is_replaced(tmp_path):
    failed = replace(ROW, status="out-of-memory", tp=None, fp=None, fn=None, message="too big")
    with open_store(tmp_path) as store:
        store.add([failed])
        assert store.keys("p") == set() and [r.message for r in store.rows()] == ["too big"]
        store.add([ROW])
        assert store.keys("p") == {ROW.key} and list(store.rows()) == [ROW]
        store.add([replace(ROW, step=1), replace(ROW, repeat=1)])
        assert len(list(store.rows())) == 3


def test_filters(tmp_path):
    rows = [replace(ROW, organ=o, modality=m, plan=p) for o in ("liver", "spleen") for m in ("ct", "pet") for p in "pq"]
    with open_store(tmp_path) as store:
        store.add(rows)
        assert {(r.organ, r.modality) for r in store.rows(plan="p", organ="liver")} == {
            ("liver", "ct"),
            ("liver", "pet"),
        }
        assert len(list(store.rows(organ=["liver", "spleen"], modality="ct"))) == 4
        assert list(store.rows(status="no-reference")) == [] == list(store.rows(organ=[]))
        assert store.keys("q") == {r.key for r in rows if r.plan == "q"}


@pytest.mark.parametrize(
    "bad",
    [
        {"tp": -1},
        {"tp": None},
        {"status": "no-reference"},
        {"status": "bad-label"},
        {"status": "absent"},
        {"uses_label": "all"},
        {"status": ""},
        {"organ": None},
    ],
)
def test_a_failing_add_leaves_nothing_of_its_call(tmp_path, bad):
    with open_store(tmp_path) as store:
        store.add([ROW])
        with pytest.raises(StoreError, match="nothing of this call was stored"):
            store.add([replace(ROW, tp=9), replace(ROW, organ="spleen"), replace(ROW, **{"organ": "colon", **bad})])
        assert list(store.rows()) == [ROW]
        store.add([replace(ROW, organ="spleen")])
        assert len(list(store.rows())) == 2


def test_a_full_disk_is_an_error_with_a_mend_and_leaves_nothing(tmp_path):
    with open_store(tmp_path) as store:
        store.add([ROW])
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreError, match="disk space"):
            store.add([replace(ROW, organ=f"organ{i}", message="x" * 1000) for i in range(50)])
        assert list(store.rows()) == [ROW]


def test_another_writer_is_waited_for_and_then_named(tmp_path):
    with open_store(tmp_path) as first, open_store(tmp_path, timeout_s=0.05) as second:
        first._db.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another process"):
            second.add([ROW])
        first._db.execute("ROLLBACK")
        second.add([ROW])
        assert list(first.rows()) == [ROW]


def test_a_reader_sees_whole_transactions_while_a_writer_writes(tmp_path):
    with open_store(tmp_path) as writer, open_store(tmp_path) as reader:
        writer.add([replace(ROW, organ=f"{i:02d}") for i in range(13)])
        reading = reader.rows()
        seen = [next(reading)]
        writer.add([replace(ROW, subject="t", organ=f"{i:02d}") for i in range(13)])
        seen += reading
        assert len(seen) == 13 and len(list(reader.rows())) == 26


def test_plans(tmp_path):
    with open_store(tmp_path) as store:
        store.add_plan("p", '{"model": "m"}')
        store.add_plan("p", '{"model": "m"}')
        with pytest.raises(StoreError, match="another text"):
            store.add_plan("p", '{"model": "n"}')
        assert store.plans() == {"p": '{"model": "m"}'}


def test_a_report_does_not_make_a_store(tmp_path):
    with pytest.raises(MissingFileError, match="no result store"):
        open_store(tmp_path, create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist_is_a_store_error(tmp_path):
    with pytest.raises(StoreError, match="folder exists"):
        Store(tmp_path / "absent" / "store.sqlite")


def test_a_damaged_store_is_a_store_error(tmp_path):
    with open_store(tmp_path) as store:
        store.add([replace(ROW, organ=f"organ{i:04d}", message="x" * 200) for i in range(400)])
    path = tmp_path / "store.sqlite"
    content = bytearray(path.read_bytes())
    content[4096:] = random.Random(0).randbytes(len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"store\.sqlite: .*damaged"), open_store(tmp_path) as store:
        list(store.rows())


def test_threads_that_open_a_new_store_at_once(tmp_path):
    errors = []

    def work(number):
        try:
            with open_store(tmp_path) as store:
                store.add([replace(ROW, subject=f"{number}-{i}") for i in range(5)])
        except StoreError as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open_store(tmp_path) as store:
        assert errors == [] and len(store.keys()) == 30


WRITER = """
import sys
from umd_engine.evaluation.store import Row, Store
with Store(sys.argv[1]) as store:
    for scan in range(100000):
        store.add([Row(plan="p", cohort="c", subject=str(scan), scan_id=str(scan), modality="ct", model="m",
                       organ=f"organ{organ}", status="ok", tp=scan, fp=1, fn=1) for organ in range(13)])
        print(scan, flush=True)
"""


@pytest.mark.faults
@pytest.mark.parametrize("kills", [3, 40])
def test_kill_9_loses_nothing_committed_and_leaves_no_part_of_a_scan(tmp_path, kills):
    path = tmp_path / "store.sqlite"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        committed = [int(writer.stdout.readline()) for _ in range(kills)]
        os.kill(writer.pid, signal.SIGKILL)
        committed += [int(line) for line in writer.stdout.read().split("\n")[:-1]]
    finally:
        writer.kill()
        writer.wait()
    assert writer.returncode == -signal.SIGKILL
    with Store(path, create=False) as store:
        organs = {}
        for row in store.rows():
            organs.setdefault(int(row.subject), []).append((row.organ, row.tp))
        assert set(committed) <= organs.keys() and max(organs) <= committed[-1] + 1
        assert all(sorted(found) == sorted((f"organ{i}", scan) for i in range(13)) for scan, found in organs.items())
        store.add([ROW])
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
