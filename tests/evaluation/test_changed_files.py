"""A manifest and files that change between runs: only what is new or of other files is computed."""

import json
import os
import shutil
import sqlite3
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from asked_model import CubeModel, label_of, make_pairs, place, prompts, save
from asked_model import evaluate as evaluate_asked
from click.testing import CliRunner
from cohort import MODEL, affine, image_of, make_cohort, rows_of, write_manifest, write_scan

from umd_engine.cli import main
from umd_engine.data.content import content_of, stamp_of
from umd_engine.data.nifti import read, read_header, read_labels, write_labels
from umd_engine.evaluation.store import Store


def evaluate(manifest, run, *more, code=0, word="evaluate"):
    command = [word, str(manifest), "--out", str(run), "--model", f"nnunet={MODEL}", "--set", "nnunet.folds=0", *more]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == code, result.output + result.stderr
    return result.stderr


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    evaluate(make_cohort(folder, 3), folder / "run")
    return folder


@pytest.fixture
def cohort(evaluated, tmp_path):
    """Three evaluated scans, copied with their times and at their old paths' names."""
    folder = tmp_path / "cohort"
    shutil.copytree(evaluated, folder)
    evaluate(folder / "scans.csv", folder / "run")  # the paths are new, the files are not
    return folder


def scans(manifest):
    return [line.split(",") for line in manifest.read_text().splitlines()[1:]]


def computed(before, after):
    """The scans whose rows are others now; the wall time tells a row that was computed again."""
    return {row.scan_id for row in after if row not in before}


def relabel(path):
    image = nibabel.load(path)
    labels = np.asarray(image.dataobj).copy()
    labels[0, 0, :5] = 1
    nibabel.save(nibabel.Nifti1Image(labels, image.affine), path)


def test_a_copy_elsewhere_and_a_touched_file_are_not_computed_again(evaluated, cohort):
    run = cohort / "run"
    before = rows_of(evaluated / "run")
    assert rows_of(run) == before and all(len(row.inputs) == 16 for row in before)
    image = cohort / scans(cohort / "scans.csv")[0][4]
    os.utime(image, ns=(1, 1))
    assert "changed" not in evaluate(cohort / "scans.csv", run)
    assert rows_of(run) == before
    with Store(run / "store.sqlite") as store:
        assert store.files()[image] == content_of(image) and store.files()[image].stamp == stamp_of(image)


@pytest.mark.parametrize("column", [4, 6])
def test_a_changed_image_or_label_is_computed_again_alone(cohort, column):
    run, manifest = cohort / "run", cohort / "scans.csv"
    before, second = rows_of(run), scans(manifest)[1]
    if column == 4:
        replace_image(cohort / second[column], 99)
    else:
        relabel(cohort / second[column])
    assert "1 scan changed" in evaluate(manifest, run)
    after = rows_of(run)
    assert computed(before, after) == {second[2]} and len(after) == len(before)
    evaluate(manifest, run.with_name("clean"))
    assert counts(after) == counts(rows_of(run.with_name("clean")))
    evaluate(manifest, run)
    assert rows_of(run) == after


def replace_image(path, seed):
    nibabel.save(nibabel.Nifti1Image(image_of(seed), nibabel.load(path).affine), path)


def masks_of(run):
    return {path.name: path.read_bytes() for path in run.glob("masks/**/*.nii.gz")}


def times_of(run):
    return {path.name: path.stat().st_mtime_ns for path in run.glob("masks/**/*.nii.gz")}


def test_predict_writes_again_the_mask_of_a_changed_image_alone(cohort):
    run, manifest = cohort / "masks-run", cohort / "scans.csv"
    evaluate(manifest, run, "--readers", "2", word="predict")
    before, times = masks_of(run), times_of(run)
    os.utime(cohort / scans(manifest)[0][4], ns=(1, 1))
    relabel(cohort / scans(manifest)[0][6])
    assert "changed" not in evaluate(manifest, run, word="predict") and times_of(run) == times
    second = scans(manifest)[1]
    replace_image(cohort / second[4], 99)
    assert "1 scan changed" in evaluate(manifest, run, word="predict")
    assert {name for name in before if masks_of(run)[name] != before[name]} == {f"{second[2]}.nii.gz"}
    evaluate(manifest, run.with_name("clean"), word="predict")
    assert masks_of(run) == masks_of(run.with_name("clean"))


def test_masks_that_predict_made_of_an_older_image_are_written_again_by_evaluate(cohort):
    run, manifest = cohort / "run", cohort / "scans.csv"
    evaluate(manifest, run, word="predict")
    first = scans(manifest)[0]
    replace_image(cohort / first[4], 98)
    evaluate(manifest, run)
    older, times = masks_of(run), times_of(run)
    evaluate(manifest, run, "--save-masks")
    assert {name for name in older if masks_of(run)[name] != older[name]} == {f"{first[2]}.nii.gz"}
    assert {name for name in times if times_of(run)[name] != times[name]} == {f"{first[2]}.nii.gz"}


def test_masks_of_an_older_version_stay_and_damaged_ones_are_written_again(cohort):
    run, manifest = cohort / "masks-run", cohort / "scans.csv"
    evaluate(manifest, run, word="predict")
    unmarked, damaged, _ = sorted(run.glob("masks/**/*.nii.gz"))
    mask = read_labels(unmarked)
    write_labels(unmarked, mask.voxels, mask)
    damaged.write_bytes(b"half a mask")
    times = times_of(run)
    replace_image(cohort / scans(manifest)[0][4], 97)
    evaluate(manifest, run, word="predict")
    assert {name for name in times if times_of(run)[name] != times[name]} == {damaged.name}
    assert read_header(damaged).mask_of and not read_header(unmarked).mask_of


def counts(rows):
    return {(r.scan_id, r.organ): (r.status, r.tp, r.fp, r.fn, r.inputs) for r in rows}


def test_new_rows_labels_and_label_sets_of_the_manifest(cohort):
    run, manifest = cohort / "run", cohort / "scans.csv"
    before, lines = rows_of(run), manifest.read_text().splitlines()
    new = write_scan(cohort, "new", 7)
    write_manifest(cohort, [*lines[1:3], lines[3].replace("labels.json", "other.json"), new])
    (cohort / "other.json").write_text((cohort / "labels.json").read_text())
    evaluate(manifest, run)
    assert computed(before, rows_of(run)) == {"new_ct"}  # another name of the same ids changes nothing
    before = rows_of(run)
    ids = {"liver": 2, "spleen": 1, "kidney_left": 3}
    (cohort / "other.json").write_text(json.dumps({"name": "cohort", "labels": ids}))
    evaluate(manifest, run)
    assert computed(before, rows_of(run)) == {scans(manifest)[2][2]}
    before = rows_of(run)
    write_manifest(cohort, [*manifest.read_text().splitlines()[1:4], new.replace("new_label.nii.gz,labels.json", ",")])
    evaluate(manifest, run)
    assert computed(before, rows_of(run)) == {"new_ct"}
    assert {row.status for row in rows_of(run) if row.scan_id == "new_ct"} == {"no-reference"}


def test_an_older_store_keeps_its_rows_and_learns_what_they_are_of(cohort):
    run, manifest = cohort / "run", cohort / "scans.csv"
    before = [replace(row, surfaces=None) for row in rows_of(run)]  # which older stores have none of
    with sqlite3.connect(run / "store.sqlite") as db:
        db.execute("DROP TABLE files")
        db.execute("DROP TABLE groups")
        db.execute("ALTER TABLE results DROP COLUMN surfaces")
        db.execute("ALTER TABLE results DROP COLUMN inputs")
        db.execute("PRAGMA user_version = 3")
    evaluate(manifest, run)
    assert rows_of(run) == before  # the time of none is another, and the inputs are back
    relabel(cohort / scans(manifest)[0][6])
    evaluate(manifest, run)
    assert computed(before, rows_of(run)) == {scans(manifest)[0][2]}


def test_a_file_that_is_gone_leaves_its_rows(cohort):
    run, manifest = cohort / "run", cohort / "scans.csv"
    before = rows_of(run)
    (cohort / scans(manifest)[0][4]).unlink()
    evaluate(manifest, run)
    assert rows_of(run) == before


def test_a_label_that_a_shared_click_is_drawn_in_counts_for_the_other_scans_of_the_subject(tmp_path):
    manifest, run, one = make_pairs(tmp_path / "d", 2), tmp_path / "run", prompts()
    evaluate_asked(manifest, run, [CubeModel()], asked=one)
    evaluate_asked(manifest, run, [CubeModel()], asked=prompts(independent=True))
    before = rows_of(run)
    label = label_of()
    label[0, 0, 0] = 1
    save(tmp_path / "d" / "s000_ct_label.nii.gz", label, place())
    evaluate_asked(manifest, run, [CubeModel()], asked=one)
    assert computed(before, rows_of(run)) == {"s000_ct", "s000_pet"}
    before = rows_of(run)
    evaluate_asked(manifest, run, [CubeModel()], asked=prompts(independent=True))
    assert computed(before, rows_of(run)) == {"s000_ct"}


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nii"])
def test_the_hash_of_a_read_is_that_of_the_file(tmp_path, name):
    path = tmp_path / name
    nibabel.save(nibabel.Nifti1Image(image_of(0, (70, 80, 90)), affine()), path)
    with path.open("ab") as file:
        file.write(bytes(300_000))  # padding behind the voxels is part of the file
    assert read(path, hashed=True).content == content_of(path) and read(path).content is None
