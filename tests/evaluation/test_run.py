"""The main job on a small cohort: rows, masks, resuming, failures."""

import json
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from cohort import (
    MODEL,
    ORGANS,
    affine,
    command_of,
    counts_of,
    image_of,
    label_of,
    make_cohort,
    rows_of,
    write_manifest,
    write_scan,
)

from umd_engine.bench import plain_nnunet
from umd_engine.cli import main
from umd_engine.evaluation.store import Store


def umd(*arguments, code=0):
    """Run a command in this process; its standard output."""
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + result.stderr
    return result


def evaluate(manifest, run, *more, code=0):
    return umd(
        "evaluate", manifest, "--out", run, "--model", f"nnunet={MODEL}", "--set", "nnunet.folds=0", *more, code=code
    )


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return make_cohort(tmp_path_factory.mktemp("cohort"), 4)


@pytest.fixture(scope="module")
def run(cohort, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    evaluate(cohort, out, "--save-masks")
    return out


def plain_results(cohort, out):
    out.mkdir()
    names = [f"s{i:03d}" for i in range(4)]
    images = [cohort.parent / f"{n}.nii.gz" for n in names]
    labels = [cohort.parent / f"{n}_label.nii.gz" for n in names]
    return dict(zip(names, plain_nnunet.run(MODEL, images, labels, out), strict=True))


def test_counts_and_masks_equal_those_of_a_plain_script(cohort, run, tmp_path):
    expected = plain_results(cohort, tmp_path / "plain")
    counts = counts_of(run)
    assert len(counts) == 4 * 4
    for name, scores in expected.items():
        (path,) = run.glob(f"masks/nnunet/*/petct/{name}/{name}_ct.nii.gz")
        ours, plain = nibabel.load(path), nibabel.load(tmp_path / "plain" / f"{name}.nii.gz")
        source = nibabel.load(cohort.parent / f"{name}.nii.gz")
        assert np.array_equal(np.asanyarray(ours.dataobj), np.asanyarray(plain.dataobj))
        assert np.array_equal(ours.affine, source.affine) and ours.get_data_dtype() == np.uint8
        for code in ("qform_code", "sform_code", "xyzt_units"):
            assert ours.header[code] == source.header[code]
        for organ in ORGANS:
            assert counts[f"{name}_ct", organ] == ("ok", *scores[organ])
        predicted = int((np.asanyarray(plain.dataobj) == 4).sum())
        assert counts[f"{name}_ct", "kidney_right"] == ("no-reference", None, predicted, None)


def test_batch_size_and_company_do_not_change_a_row(cohort, run, tmp_path):
    evaluate(cohort, tmp_path / "run", "--batch", 5)
    assert counts_of(tmp_path / "run") == counts_of(run)


def test_a_case_larger_than_the_memory_runs_alone(cohort, run, tmp_path):
    evaluate(cohort, tmp_path / "run", "--memory", "1MB")
    assert counts_of(tmp_path / "run") == counts_of(run)


def test_memory_that_is_no_amount_is_refused_before_any_work(cohort, tmp_path):
    assert "--memory" in evaluate(cohort, tmp_path / "run", "--memory", "20TB", code=1).stderr
    assert not (tmp_path / "run").exists()


def test_onnxruntime_agrees_within_a_few_voxels_under_another_plan(cohort, run, tmp_path, monkeypatch):
    monkeypatch.setenv("UMD_ENGINE_CACHE", str(tmp_path / "cache"))
    evaluate(cohort, tmp_path / "run", "--backend", "onnxruntime", "--limit", 1)
    ours, theirs = counts_of(tmp_path / "run"), counts_of(run)
    for key, (status, tp, fp, fn) in ours.items():
        other = theirs[key]
        assert status == other[0]
        for a, b in zip((tp, fp, fn), other[1:], strict=True):
            assert a == b or abs(a - b) <= 5
    assert {r.plan for r in rows_of(tmp_path / "run")}.isdisjoint(r.plan for r in rows_of(run))


def test_int8_is_evaluated_from_the_graph_that_export_made(cohort, run, tmp_path, monkeypatch):
    monkeypatch.setenv("UMD_ENGINE_CACHE", str(tmp_path / "cache"))
    int8 = ("--precision", "int8", "--limit", 1)
    umd("export", f"nnunet={MODEL}", "--set", "nnunet.folds=0", "--calibrate", cohort, *int8)
    evaluate(cohort, tmp_path / "run", "--backend", "onnxruntime", *int8)
    with Store(tmp_path / "run" / "store.sqlite", create=False) as store:
        (plan,) = store.plans().values()
    assert json.loads(plan)["precision"].startswith("int8 ")
    exact, rows = counts_of(run), counts_of(tmp_path / "run")
    assert "ok" in {status for status, *_ in rows.values()} and rows != {key: exact[key] for key in rows}


def test_the_plan_is_frozen_and_another_precision_is_another_plan(cohort, run, tmp_path):
    (path,) = run.glob("plans/*.json")
    plan = json.loads(path.read_text())
    assert plan["precision"] == "fp32" and plan["protocol"]["variant"] == "engine" and len(plan["weights"]) == 64
    assert {r.plan for r in rows_of(run)} == {path.stem}
    evaluate(cohort, tmp_path / "run", "--precision", "bf16", "--limit", 1)
    assert {r.plan for r in rows_of(tmp_path / "run")} != {path.stem}


def test_the_same_command_does_only_what_is_missing(cohort, tmp_path):
    out = tmp_path / "run"
    evaluate(cohort, out, "--limit", 2)
    before = {r.key: r for r in rows_of(out)}
    evaluate(cohort, out)
    after = {r.key: r for r in rows_of(out)}
    assert len(after) == 16 and all(after[key] == row for key, row in before.items())
    with sqlite3.connect(out / "store.sqlite") as db:
        db.execute("DELETE FROM results WHERE scan_id = 's001_ct' AND organ = 'liver'")
    evaluate(cohort, out)
    again = {r.key: r for r in rows_of(out)}
    assert again.keys() == after.keys()
    assert [k.scan_id for k in again if again[k] != after[k]] == ["s001_ct"] * 4  # times only
    assert {k: (r.tp, r.fp, r.fn) for k, r in again.items()} == {k: (r.tp, r.fp, r.fn) for k, r in after.items()}


def test_organs_modality_and_limit_select(cohort, tmp_path):
    evaluate(cohort, tmp_path / "run", "--organs", "spleen,liver", "--limit", 1)
    assert {r.organ for r in rows_of(tmp_path / "run")} == {"spleen", "liver"}
    result = evaluate(cohort, tmp_path / "run", "--organs", "splen", code=1)
    assert "splen" in result.stderr and "spleen" in result.stderr
    assert "no scan is left" in evaluate(cohort, tmp_path / "run", "--modality", "pet", code=1).stderr


def test_predict_needs_no_labels_and_gives_the_same_masks(cohort, run, tmp_path):
    lines = cohort.read_text().splitlines()
    manifest = cohort.parent / "unlabelled.csv"
    manifest.write_text("\n".join([lines[0]] + [",".join(line.split(",")[:6]) + ",," for line in lines[1:3]]) + "\n")
    arguments = (
        "predict",
        manifest,
        "--out",
        tmp_path / "p",
        "--model",
        f"nnunet={MODEL}",
        "--set",
        "nnunet.folds=0",
        "--json",
    )
    listed = json.loads(umd(*arguments).stdout)
    assert listed["failures"] == [] and len(listed["masks"]) == 2
    for path in listed["masks"]:
        (other,) = run.glob(f"masks/nnunet/*/petct/*/{Path(path).name}")
        assert Path(path).read_bytes() == other.read_bytes()
    times = [Path(path).stat().st_mtime_ns for path in listed["masks"]]
    umd(*arguments)
    assert [Path(path).stat().st_mtime_ns for path in listed["masks"]] == times


def test_report_is_recomputed_from_the_store(run):
    table = json.loads(umd("report", run, "--json").stdout)
    assert "umd" in json.dumps(table)
    for form in ("text", "markdown", "csv"):
        assert "liver" in umd("report", run, "--format", form).stdout
    assert "nnunet" in umd("report", run, "--convention", "nnunet").stdout
    assert "did you mean" in umd("report", run, "--convention", "nnunett", code=1).stderr


def bad_rows(folder):
    """One scan for each fault of a file, and the status it must end with."""
    good = image_of(0)
    place = affine()

    def save(name, voxels, where=place, edit=None):
        image = nibabel.Nifti1Image(voxels, where)
        if edit is not None:
            edit(image.header)
        nibabel.save(image, folder / name)
        return name

    save("good_label.nii.gz", label_of(0))
    (folder / "truncated.nii.gz").write_bytes((folder / save("whole.nii.gz", good)).read_bytes()[:-500])
    (folder / "text.nii.gz").write_text("not an image")
    nan = good.astype(np.float32)
    nan[5, 5, 5] = np.nan
    infinite = good.astype(np.float32)
    infinite[5, 5, 5] = np.inf
    unknown, empty, turned = label_of(0), np.zeros_like(label_of(0)), place.copy()
    unknown[0, 0, 0] = 9
    turned[:3, 3] += 5
    # written as raw bytes: nibabel would not
    header = bytearray(nibabel.Nifti1Image(good, place).to_bytes())
    flat, holed = bytearray(header), bytearray(header)
    flat[80:84] = np.float32(0).tobytes()  # pixdim[1]
    holed[280:296] = np.zeros(4, np.float32).tobytes()  # srow_x
    holed[252:256] = np.array([0, 2], np.int16).tobytes()  # sform alone counts
    (folder / "flat.nii").write_bytes(flat)
    (folder / "holed.nii").write_bytes(holed)
    return [
        ("missing.nii.gz", "good_label.nii.gz", "missing-file"),
        ("truncated.nii.gz", "good_label.nii.gz", "corrupt-file"),
        ("text.nii.gz", "good_label.nii.gz", "corrupt-file"),
        (save("nan.nii.gz", nan), "good_label.nii.gz", "bad-voxels"),
        (save("infinite.nii.gz", infinite), "good_label.nii.gz", "bad-voxels"),
        ("flat.nii", "good_label.nii.gz", "bad-geometry"),
        ("holed.nii", "good_label.nii.gz", "bad-geometry"),
        (save("4d.nii.gz", np.stack([good, good], -1)), "good_label.nii.gz", "bad-voxels"),
        ("whole.nii.gz", save("unknown_label.nii.gz", unknown), "bad-label"),
        ("whole.nii.gz", save("turned_label.nii.gz", label_of(0), turned), "bad-geometry"),
        ("whole.nii.gz", save("small_label.nii.gz", label_of(0)[:-1]), "bad-geometry"),
        ("whole.nii.gz", save("empty_label.nii.gz", empty), "empty-label"),
        ("whole.nii.gz", "missing_label.nii.gz", "missing-file"),
    ]


def test_every_bad_file_is_a_row_with_a_status_and_stops_nobody(tmp_path):
    bad = bad_rows(tmp_path)
    rows = [
        f"petct,bad{i:02d},bad{i:02d}_ct,ct,{image},HU,{label},labels.json" for i, (image, label, _) in enumerate(bad)
    ]
    rows = [write_scan(tmp_path, "good0", 0), *rows, write_scan(tmp_path, "good1", 1)]
    manifest = write_manifest(tmp_path, rows)
    result = evaluate(manifest, tmp_path / "run", code=1)
    stored = rows_of(tmp_path / "run")
    assert len(stored) == 15 * 4
    for i, (image, label, status) in enumerate(bad):
        mine = [r for r in stored if r.subject == f"bad{i:02d}"]
        assert {r.status for r in mine} == {status}, (image, label, mine[0].message)
        at_fault = image if label in ("good_label.nii.gz",) else label
        assert all(at_fault in r.message and "(" in r.message for r in mine), mine[0].message
        assert f"bad{i:02d}_ct nnunet [{status}]" in result.stderr
    assert {r.status for r in stored if r.subject.startswith("good")} == {"ok", "no-reference"}
    assert f"{len(bad)} cases failed" in result.stderr


def test_an_error_in_scoring_or_writing_is_a_status_too(tmp_path):
    rows = [write_scan(tmp_path, "many", 0), write_scan(tmp_path, "good", 1)]
    many = np.arange(34 * 36 * 30, dtype=np.uint16).reshape(34, 36, 30) % 400  # more ids than can be counted
    nibabel.save(nibabel.Nifti1Image(many, affine()), tmp_path / "many_label.nii.gz")
    manifest = write_manifest(tmp_path, rows)
    (tmp_path / "labels.json").write_text(json.dumps({"labels": {f"organ{i}": i for i in range(1, 400)}, "name": "x"}))
    evaluate(manifest, tmp_path / "run", code=1)
    statuses = {(r.subject, r.status) for r in rows_of(tmp_path / "run")}
    assert statuses == {("many", "bad-label"), ("good", "no-reference")}
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "masks").write_text("a file where a folder should be")
    evaluate(manifest, blocked, "--save-masks", "--limit", 1, code=1)
    assert {r.status for r in rows_of(blocked)} == {"data-error"}


def test_a_mended_file_is_tried_again(tmp_path):
    rows = [write_scan(tmp_path, "a", 0), "petct,b,b_ct,ct,b.nii.gz,HU,b_label.nii.gz,labels.json"]
    manifest = write_manifest(tmp_path, rows)
    evaluate(manifest, tmp_path / "run", code=1)
    write_scan(tmp_path, "b", 1)
    evaluate(manifest, tmp_path / "run")
    assert {r.status for r in rows_of(tmp_path / "run")} == {"ok", "no-reference"}


def test_a_duplicate_row_is_refused_before_any_work(tmp_path):
    row = write_scan(tmp_path, "a", 0)
    manifest = write_manifest(tmp_path, [row, row])
    result = evaluate(manifest, tmp_path / "run", code=1)
    assert "scans.csv" in result.stderr and "a_ct" in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_model_that_cannot_load_is_refused_before_any_work(cohort, tmp_path):
    result = umd("evaluate", cohort, "--out", tmp_path / "run", "--model", "nnunet=/nowhere/model", code=1)
    assert "/nowhere/model" in result.stderr
    result = umd("evaluate", cohort, "--out", tmp_path / "run", "--model", f"nnunett={MODEL}", code=1)
    assert "did you mean nnunet" in result.stderr
    if not torch.cuda.is_available():
        assert "CUDA" in evaluate(cohort, tmp_path / "run", "--device", "cuda", code=1).stderr
    assert "backend" in evaluate(cohort, tmp_path / "run", "--backend", "tensorflow", code=1).stderr
    assert not (tmp_path / "run" / "store.sqlite").exists()


@pytest.fixture
def broken(tmp_path):
    """A model folder whose weights are of another network."""
    folder = Path(shutil.copytree(MODEL, tmp_path / "broken"))
    path = folder / "plans.json"
    path.write_text(path.read_text().replace("[8, 16, 32, 32]", "[8, 16, 32, 64]"))
    return folder


def test_a_broken_model_is_a_status_and_the_other_model_goes_on(cohort, tmp_path, broken):
    run, limit = tmp_path / "run", ("--limit", 2, "--set", "nnunet.folds=0")
    both = ("--model", f"nnunet={MODEL}", "--model", f"nnunet@broken={broken}")
    result = umd("evaluate", cohort, "--out", run, *both, *limit, code=1)
    rows = rows_of(run)
    assert {(r.model, r.status) for r in rows} == {
        ("nnunet", "ok"), ("nnunet", "no-reference"), ("nnunet@broken", "bad-checkpoint")
    }  # fmt: skip
    assert len(rows) == 2 * 8
    (message,) = {r.message for r in rows if r.model == "nnunet@broken"}
    assert str(broken) in message and "do not match" in message and "plans" in message
    assert result.stderr.count("do not match") == 1 and "2 cases failed" in result.stderr
    # mended, its rows take the place of the failures
    shutil.copy(MODEL / "plans.json", broken / "plans.json")
    umd("evaluate", cohort, "--out", run, *both, *limit, "--set", "nnunet@broken.folds=0")
    rows = rows_of(run)
    assert len(rows) == 2 * 8 and {r.status for r in rows} == {"ok", "no-reference"}


def test_a_lone_broken_model_has_rows_of_the_label_sets_organs(cohort, tmp_path, broken):
    umd("evaluate", cohort, "--out", tmp_path / "run", "--model", f"nnunet={broken}", code=1)
    rows = rows_of(tmp_path / "run")
    assert len(rows) == 4 * len(ORGANS) and {r.status for r in rows} == {"bad-checkpoint"}


@pytest.mark.faults
def test_kill_9_in_the_middle_then_the_same_command(tmp_path):
    manifest = make_cohort(tmp_path / "cohort", 6)
    run = tmp_path / "run"
    command = command_of(manifest, run)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if (run / "store.sqlite").exists() and len(rows_of(run)) >= 8:
                break
            time.sleep(0.05)
        assert process.poll() is None, "it ended before it could be killed"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    kept = {r.key: r for r in rows_of(run)}
    assert 8 <= len(kept) < 24 and len(kept) % 4 == 0  # whole scans only
    subprocess.run(command, check=True, capture_output=True)
    rows = rows_of(run)
    assert len(rows) == 24 and len({r.key for r in rows}) == 24
    assert all(row in rows for row in kept.values())  # none was computed again
    evaluate(manifest, tmp_path / "clean")
    assert counts_of(run) == counts_of(tmp_path / "clean")
