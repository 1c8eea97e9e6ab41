"""The bench of whole jobs: on one small pair every row of ours is measured, its masks and counts compared first."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from umd_engine.bench.floor.measure import measure
from umd_engine.bench.floor.repetition import Timing
from umd_engine.bench.floor.report import Row
from umd_engine.bench.pipeline import ONCE, benches, nnunet, ours, spread
from umd_engine.bench.pipeline.clock import Seconds, Told, cpu_by_process
from umd_engine.bench.pipeline.cohort import Cohort, case_of, make_cohort
from umd_engine.bench.pipeline.entries import (
    DICE,
    JOB,
    ONE_WORKER,
    STUDY,
    SURFACES,
    TWO_WORKERS,
    Held,
    entries,
)
from umd_engine.bench.pipeline.summary import summarize
from umd_engine.data.nifti import read_labels, write_labels
from umd_engine.engine.host_memory import SETTINGS
from umd_engine.engine.trace import Trace
from umd_engine.errors import BackendError, OptionError
from umd_engine.evaluation.cases import MEASURES

COPY = {"cpu": 20.0, "cuda": None}


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline") / "scans"
    make_cohort(folder, folder.parent, 1, "small")
    return folder


@pytest.fixture
def cohort(scans, tmp_path) -> Cohort:
    return make_cohort(scans, tmp_path, 1, "small")


def masks_of(cohort: Cohort, moved: int) -> Path:
    """The labels themselves, moved by voxels of the first axis."""
    folder = cohort.folder / f"moved-{moved}"
    folder.mkdir()
    for row in cohort.rows:
        label = read_labels(row.label)
        write_labels(folder / f"{case_of(row)}.nii.gz", np.roll(label.voxels, moved, 0), label)
    return folder


def test_every_row_on_one_small_pair(scans) -> None:
    rows = {(row.op, row.implementation): row for row in (measure(e, ONCE, COPY) for e in entries_of(scans))}
    missing = {key for key, row in rows.items() if row.timing is None}
    assert {(JOB, "peer:nnunetv2"), (DICE, "peer:nnUNetv2_evaluate_folder")} <= missing
    assert missing <= {key for key, row in rows.items() if row.status == "not measured"}, rows
    assert {(JOB, "official"), (JOB, "engine"), (STUDY, "engine"), (DICE, "score")}.isdisjoint(missing)
    assert "pip install" in rows[JOB, "peer:nnunetv2"].reason
    workers = {rows[STUDY, name] for name in (ONE_WORKER, TWO_WORKERS)}
    if find_spec("ray") is None:
        assert all(row.reason.startswith("no module ray (pip install") for row in workers)
    else:
        assert all(row.timing and "Ray's own processes" in row.counted for row in workers)
    engine = rows[JOB, "engine"].counted
    assert engine.startswith("CPU ") and " s a scan, " in engine and engine.endswith("voxels of organs differ")
    assert "a batch in flight " in rows[STUDY, "engine"].counted
    assert any("with a batch in flight" in line for line in summarize(list(rows.values())).lines)


def test_cpu_seconds_of_processes_below_the_children_of_this_one() -> None:
    burn = "import time\nwhile time.process_time() < 0.5: pass\nprint('done', flush=True); time.sleep(60)"
    started = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', sys.argv[1]]).pid, flush=True)"
    child = subprocess.Popen(
        [sys.executable, "-c", f"{started}; sys.stdin.read()", burn],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    grandchild = int(child.stdout.readline())
    try:
        assert child.stdout.readline() == "done\n"
        used = cpu_by_process()
        assert used[grandchild] >= 0.4 and {os.getpid(), child.pid} <= used.keys() and os.getppid() not in used
    finally:
        os.kill(grandchild, signal.SIGKILL)
        child.communicate("")


def test_an_interpreter_without_ray(cohort) -> None:
    with pytest.raises(BackendError, match="--ray-python"):
        spread.evaluate_all(cohort, str(cohort.folder / "no-python"), 2)
    if find_spec("ray") is None:
        with pytest.raises(BackendError, match="Ray is not installed"):
            spread.evaluate_all(cohort, sys.executable, 2)


def entries_of(scans: Path):
    (bench,) = benches(1, "small", None, 1, scans)
    assert bench.environment == SETTINGS
    return entries(*bench.arguments)


def test_masks_that_differ_have_no_time(cohort) -> None:
    held = Held(cohort, SimpleNamespace())
    same = Told(Seconds(1, 2), masks_of(cohort, 0), {"a": {"liver": (1, 2, 3)}})
    held.like(0.0, True, same)
    moved = Told(Seconds(1, 2), masks_of(cohort, 1), same.counts)
    with pytest.raises(AssertionError, match="voxels of organs differ"):
        held.like(1e-3, False, moved)
    held.like(1.0, True, moved)
    assert held.words(moved).startswith("CPU 1 s a scan, ") and "differ" in held.words(moved)
    with pytest.raises(AssertionError, match="TP, FP or FN"):
        held.like(1.0, True, Told(Seconds(), moved.masks, {"a": {"liver": (1, 2, 4)}}))


def test_a_study_with_other_counts_has_no_time(cohort) -> None:
    held = Held(cohort, SimpleNamespace())
    counts = {f"{case} {model}": {"liver": (1, 2, 3)} for case in "ab" for model in ("nnunet@ct", "nnunet@pet")}
    held.study(Told(Seconds(), counts=counts))
    held.study(Told(Seconds(), counts={**counts}))
    with pytest.raises(AssertionError, match="other TP, FP or FN"):
        held.study(Told(Seconds(), counts={**counts, "a nnunet@ct": {"liver": (1, 2, 4)}}))
    with pytest.raises(AssertionError, match="3 cases"):
        held.study(Told(Seconds(), counts=dict(list(counts.items())[:3])))


def test_scores_of_masks_that_are_the_labels(cohort) -> None:
    told = ours.score(cohort, masks_of(cohort, 0), MEASURES)
    assert told.counts == ours.score(cohort, cohort.labels).counts and len(told.counts) == 2
    found = int(told.note.removeprefix("NSD, HD, HD95, ASSD of ").removesuffix(" organs"))
    assert found == sum(tp > 0 for case in told.counts.values() for tp, _, _ in case.values())


def test_an_interpreter_without_nnunetv2(cohort) -> None:
    with pytest.raises(BackendError, match="pip install"):
        nnunet.predict(cohort, str(cohort.folder / "no-python"), 1)
    if not (Path(sys.prefix) / "lib/python3.11/site-packages/nnunetv2").exists():
        with pytest.raises(BackendError, match="nnunetv2"):
            nnunet.score(cohort, cohort.labels, sys.executable, 1)


def test_a_folder_with_too_few_scans(scans, tmp_path) -> None:
    with pytest.raises(OptionError, match="holds 1 subjects"):
        make_cohort(scans, tmp_path, 2, "small")


def test_the_share_in_flight_is_that_of_the_trace(tmp_path) -> None:
    trace = Trace(keep=True)
    for stage in ("forward", "collect", "forward"):
        with trace.span(stage):
            sum(range(10000))
    trace.write(tmp_path / "trace.json")
    assert ours.share_in_flight(tmp_path / "trace.json") == pytest.approx(trace.busy(), rel=1e-6)
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


def test_targets_across_rows() -> None:
    def row(op: str, name: str, seconds: float, counted: str = "") -> Row:
        timing = Timing(seconds, seconds, seconds, 1, 1, False)
        return Row(op, name, "x", "unstable", peer=name.startswith("peer:"), timing=timing, counted=counted)

    started = "CPU 1 s a scan, 2.5 s of it start its workers"
    rows = [row(DICE, "peer:a", 9.0, started), row(DICE, "score", 1.0), row(SURFACES, "score and surfaces", 3.0)]
    rows.append(row(STUDY, "engine", 1.0, "CPU 1 s a scan, a batch in flight 88.5% of the time"))
    said = summarize(rows)
    assert [line.rsplit(": ", 1)[1] for line in said.lines] == ["6.5", "3, target 1", "0.885, target 0.9"]
    assert said.below == said.lines[2:]
    assert summarize(rows[1:3]).lines == []
    rows = [row(STUDY, ONE_WORKER, 9.0, "CPU 4 s a scan"), row(STUDY, TWO_WORKERS, 6.0, "CPU 5 s a scan, 1 s of it")]
    assert [line.rsplit(": ", 1)[1] for line in summarize(rows).lines] == ["1.5", "1.25"]
