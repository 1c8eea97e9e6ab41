"""Prompted models in the main job: rows and clicks of every step, repeats, resuming, what cannot be asked."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
from asked_model import (
    REACH,
    CubeModel,
    clicks_of,
    counts_of,
    evaluate,
    label_of,
    make_pairs,
    place,
    predict,
    prompts,
    rows_of,
    save,
    write_pair,
    write_scans,
)
from click.testing import CliRunner

from umd_engine.cli import main
from umd_engine.errors import OptionError
from umd_engine.evaluation.prompts.export import export_clicks
from umd_engine.models.prompts import voxel_of

ABSENT = {"brain"}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def ritm(pairs, tmp_path_factory):
    """Three clicks each, two draws."""
    run = tmp_path_factory.mktemp("run") / "run"
    assert evaluate(pairs, run, [CubeModel()], asked=prompts("random-3", repeats=2), save_masks=True) == []
    return run


def full(click, shape):
    """The cube of one click, cut to the scan."""
    mask = np.zeros(shape, bool)
    mask[tuple(slice(max(0, v - REACH), v + REACH + 1) for v in click)] = True
    return mask


def label(pairs, row):
    image = nibabel.load(pairs.parent / f"{row.scan_id}_label.nii.gz")
    return np.asanyarray(image.dataobj)


def test_every_step_of_every_repeat_is_a_row_with_the_counts_of_its_mask(pairs, ritm):
    rows, clicks = rows_of(ritm), clicks_of(ritm)
    asked = [r for r in rows if r.organ not in ABSENT]
    assert len(asked) == 4 * 5 * 3 * 2 and {r.status for r in asked} == {"ok"}
    assert {(r.step, r.repeat) for r in asked} == {(s, k) for s in range(3) for k in range(2)}
    assert {(r.prompt, r.uses_label) for r in rows} == {("random-3", "click")} and len(
        {r.prompt_hash for r in rows}
    ) == 1
    assert {(r.step, r.note) for r in asked} == {(0, "1 clicks"), (1, "2 clicks"), (2, "3 clicks")}
    ids = {"liver": (1,), "spleen": (2,), "kidney_left": (3,), "lung": (4, 5), "halves": (1, 2)}
    by_key = {}
    for click in clicks:
        by_key.setdefault((click.key.scan_id, click.key.organ, click.key.repeat), []).append(click)
    for row in asked:
        mine = by_key[row.scan_id, row.organ, row.repeat]
        assert [c.key.step for c in mine] == [0, 1, 2] and {c.number for c in mine} == {0}
        voxels = label(pairs, row)
        truth, mask = np.isin(voxels, ids[row.organ]), np.zeros(voxels.shape, bool)
        for click in mine[: row.step + 1]:
            assert bool(truth[click.given.voxel]) == click.given.positive
            assert truth[click.given.voxel] != mask[click.given.voxel]  # of the error so far
            mask = (
                mask | full(click.given.voxel, mask.shape)
                if click.given.positive
                else mask & ~full(click.given.voxel, mask.shape)
            )
        assert (row.tp, row.fp, row.fn) == ((mask & truth).sum(), (mask & ~truth).sum(), (~mask & truth).sum())


def test_an_absent_organ_is_a_finished_row(ritm):
    rows = [r for r in rows_of(ritm) if r.organ in ABSENT]
    assert {(r.status, r.tp, r.fp, r.fn, r.step) for r in rows} == {("absent", 0, 0, 0, 0)} and len(rows) == 4 * 2
    assert not any(r.failed for r in rows) and "no prompt can be drawn" in rows[0].message


def test_masks_are_the_last_steps_and_may_overlap(pairs, ritm):
    last = {(r.scan_id, r.organ, r.repeat): r for r in rows_of(ritm) if r.step == 2}
    (folder,) = ritm.glob("masks/cube/*/petct/s000/s000_pet")
    names = sorted(path.name for path in folder.iterdir())
    organs = ("halves", "kidney_left", "liver", "lung", "spleen")
    assert names == sorted(f"{o}{r}.nii.gz" for o in organs for r in ("", ".r1"))
    source = nibabel.load(pairs.parent / "s000_pet.nii.gz")
    for organ in organs:
        for repeat, tail in enumerate(("", ".r1")):
            image = nibabel.load(folder / f"{organ}{tail}.nii.gz")
            mask = np.asanyarray(image.dataobj)
            assert np.array_equal(image.affine, source.affine) and set(np.unique(mask)) <= {0, 1}
            assert mask.sum() == last["s000_pet", organ, repeat].prediction_voxels


def test_two_models_get_the_same_first_click(pairs, tmp_path):
    models = [CubeModel("a"), CubeModel("b", growth=3)]
    asked = prompts("a=paper-1pt", "b=random-2", titles=("a", "b"))
    evaluate(pairs, tmp_path / "run", models, asked=asked)
    clicks = [c for c in clicks_of(tmp_path / "run") if c.key.step == 0]
    first = {m: {(c.key.scan_id, c.key.organ): c.given for c in clicks if c.key.model == m} for m in "ab"}
    assert first["a"] == first["b"] and len(first["a"]) == 4 * 5


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, -1, 1)])
def test_both_modalities_get_the_same_point_where_labels_are_aligned(tmp_path, flips):
    manifest = make_pairs(tmp_path / "d", affine=place(flips=flips))
    evaluate(manifest, tmp_path / "run", [CubeModel()], asked=prompts(repeats=3))
    clicks = {(c.key.scan_id, c.key.organ, c.key.repeat): c.given for c in clicks_of(tmp_path / "run")}
    shared = 0
    for (scan, organ, repeat), given in clicks.items():
        if scan.endswith("_ct"):
            assert given.origin == "shared"
            other = clicks[scan.replace("ct", "pet"), organ, repeat]
            shared += other.origin == "shared"
            assert other.origin == "own" or other.world == given.world
    assert shared >= 20  # of 30; the PET is coarser, so a point near an organ's border may lie beside it
    # the choice of scans moves no point
    evaluate(manifest, tmp_path / "pet", [CubeModel()], asked=prompts(repeats=3), modality="pet")
    again = {(c.key.scan_id, c.key.organ, c.key.repeat): c.given for c in clicks_of(tmp_path / "pet")}
    assert again == {key: given for key, given in clicks.items() if key[0].endswith("pet")}
    evaluate(manifest, tmp_path / "new", [CubeModel()], asked=prompts(repeats=3, independent=True))
    anew = {(c.key.scan_id, c.key.organ, c.key.repeat): c.given for c in clicks_of(tmp_path / "new")}
    assert {given.origin for given in anew.values()} == {"own"}
    assert sum(anew[key].world != given.world for key, given in clicks.items() if key[0].endswith("ct")) > 15
    plans = [{r.plan for r in rows_of(tmp_path / name)} for name in ("run", "pet", "new")]
    assert plans[0] == plans[1] != plans[2]


def test_a_point_is_the_scans_own_where_the_labels_are_not_aligned(tmp_path):
    (tmp_path / "d").mkdir()
    moved = np.roll(label_of()[::2, ::2, ::2], 9, axis=0)
    manifest = write_scans(tmp_path / "d", write_pair(tmp_path / "d", "s", pet_label=moved))
    evaluate(manifest, tmp_path / "run", [CubeModel()])
    origins = {(c.key.modality, c.key.organ): c.given.origin for c in clicks_of(tmp_path / "run")}
    assert origins["pet", "liver"] == origins["pet", "spleen"] == "own" and origins["ct", "liver"] == "shared"
    assert all(moved[c.given.voxel] for c in clicks_of(tmp_path / "run") if c.key.modality == "pet")


def test_a_structural_label_that_cannot_be_read_fails_its_pair(tmp_path):
    manifest = make_pairs(tmp_path / "d", 2)
    (tmp_path / "d" / "s000_ct_label.nii.gz").write_text("nothing")
    errors = evaluate(manifest, tmp_path / "run", [CubeModel()])
    assert len(errors) == 2 and all("s000_ct_label" in str(error) for error in errors)
    assert {r.subject for r in rows_of(tmp_path / "run") if r.failed} == {"s000"}
    assert evaluate(manifest, tmp_path / "own", [CubeModel()], modality="pet", asked=prompts(independent=True)) == []


def test_more_repeats_later_leave_the_first_ones_as_they_are(pairs, ritm, tmp_path):
    run = tmp_path / "run"
    evaluate(pairs, run, [CubeModel()], asked=prompts("random-3"))
    before = {r.key: r for r in rows_of(run)}
    evaluate(pairs, run, [CubeModel()], asked=prompts("random-3", repeats=2))
    after = {r.key: r for r in rows_of(run)}
    assert all(after[key] == row for key, row in before.items()) and counts_of(run) == counts_of(ritm)
    with sqlite3.connect(run / "store.sqlite") as db:
        db.execute("DELETE FROM results WHERE scan_id = 's001_pet' AND organ = 'lung' AND repeat = 1 AND step = 2")
        db.execute("UPDATE results SET status = 'error', tp = NULL, fp = NULL, fn = NULL, surfaces = NULL "
                   "WHERE scan_id = 's001_pet' AND organ = 'lung' AND repeat = 1 AND step = 1")  # fmt: skip
    model = CubeModel()
    evaluate(pairs, run, [model], asked=prompts("random-3", repeats=2))
    assert {organ for organ, _ in model.asked} == {"lung"} and len(model.asked) == 3
    assert counts_of(run) == counts_of(ritm)
    assert [c.given for c in clicks_of(run)] == [c.given for c in clicks_of(ritm)]


def test_masks_asked_for_later_are_made_later(pairs, tmp_path):
    run, model = tmp_path / "run", CubeModel()
    evaluate(pairs, run, [CubeModel()])
    evaluate(pairs, run, [model], save_masks=True)
    assert len(model.asked) == 4 * 5 == len(list(run.glob("masks/**/*.nii.gz")))
    evaluate(pairs, run, [model], save_masks=True)
    assert len(model.asked) == 20


def test_an_error_of_one_organ_is_that_organs_row(pairs, tmp_path):
    errors = evaluate(pairs, tmp_path / "run", [CubeModel(fails_on="spleen")], asked=prompts("random-3"))
    assert len(errors) == 4 and all(error.status == "bad-prompt" for error in errors)
    spleen = [r for r in rows_of(tmp_path / "run") if r.organ == "spleen"]
    assert {(r.step, r.status) for r in spleen} == {(0, "ok"), (1, "bad-prompt")}
    assert {r.status for r in rows_of(tmp_path / "run") if r.organ not in ("spleen", "brain")} == {"ok"}
    # the click that led to the error is stored too, and so a replay ends alike
    assert {c.key.step for c in clicks_of(tmp_path / "run") if c.key.organ == "spleen"} == {0, 1}
    export_clicks(tmp_path / "run", tmp_path / "clicks.json")
    again = prompts(replay=tmp_path / "clicks.json")
    assert len(evaluate(pairs, tmp_path / "again", [CubeModel(fails_on="spleen")], asked=again)) == 4
    assert counts_of(tmp_path / "again") == counts_of(tmp_path / "run")
    model = CubeModel()
    assert evaluate(pairs, tmp_path / "run", [model], asked=prompts("random-3")) == []
    assert {organ for organ, _ in model.asked} == {"spleen"}
    assert {(r.step, r.status) for r in rows_of(tmp_path / "run") if r.organ == "spleen"} == {
        (s, "ok") for s in range(3)
    }


def test_a_perfect_mask_ends_the_clicks(pairs, tmp_path):
    evaluate(pairs, tmp_path / "run", [CubeModel(perfect_after=2)], asked=prompts("ritm-5"))
    rows = [r for r in rows_of(tmp_path / "run") if r.organ == "liver"]
    assert {r.step for r in rows} == {0, 1} and all(r.fp == r.fn == 0 for r in rows if r.step == 1)


def test_boxes_and_texts(pairs, tmp_path):
    for name, kinds in (
        ("box", ["box"]),
        ("text", ["text"]),
        ("text+point", ["text", "point"]),
        ("text+box", ["text", "box"]),
    ):
        evaluate(pairs, tmp_path / name, [CubeModel()], asked=prompts(name), organs=("kidney_left", "lung"))
        clicks = [c for c in clicks_of(tmp_path / name) if c.key.scan_id == "s000_ct" and c.key.organ == "lung"]
        assert [(c.number, c.given.kind) for c in clicks] == list(enumerate(kinds))
        if "box" in kinds:
            assert clicks[-1].given.voxel == (2, 18, 3) and clicks[-1].given.high == (20, 26, 20)
        uses = {"text": "none", "text+point": "click"}.get(name, "box")
        assert {r.uses_label for r in rows_of(tmp_path / name)} == {uses}
    texts = {c.given.text for c in clicks_of(tmp_path / "text")}
    assert texts == {"left kidney", "lung"}
    # a text needs no voxel of the organ
    evaluate(pairs, tmp_path / "brain", [CubeModel()], asked=prompts("text"), organs=("brain",))
    assert {r.status for r in rows_of(tmp_path / "brain")} == {"ok"} and all(r.fp for r in rows_of(tmp_path / "brain"))
    model = CubeModel()
    evaluate(pairs, tmp_path / "both", [model], asked=prompts("box+random-2"), organs=("lung",), modality="ct")
    steps = [(bool(p.box), len(p.clicks)) for _, p in model.asked]
    assert sorted(steps) == 4 * [(False, 1)] + 2 * [(True, 0)]  # two scans, whose turns mix
    assert steps[0] == (True, 0) and steps[-1] == (False, 1)
    negative = [c.given for c in clicks_of(tmp_path / "both") if c.key.step == 1]
    assert negative and not any(given.positive for given in negative)  # the box holds more than both lungs
    assert {c.origin for c in negative} == {"own"}


def test_a_label_set_without_the_organ_and_a_scan_without_a_label(tmp_path):
    (tmp_path / "d").mkdir()
    rows = [write_pair(tmp_path / "d", "a")[0], write_pair(tmp_path / "d", "b")[0].rsplit(",", 2)[0] + ",,"]
    rows[1] = rows[1].replace("b,b_ct", "b,b_ct")
    manifest = write_scans(tmp_path / "d", rows)
    errors = evaluate(manifest, tmp_path / "run", [CubeModel()], organs=("liver", "aorta"))
    (error,) = errors
    assert error.status == "bad-prompt" and "has none" in str(error) and "b_ct.nii.gz" in str(error)
    found = {(r.subject, r.organ): (r.status, r.fp) for r in rows_of(tmp_path / "run")}
    assert found["a", "aorta"] == ("no-reference", None) and found["a", "liver"][0] == "ok"
    assert found["b", "liver"] == found["b", "aorta"] == ("bad-prompt", None)
    model = CubeModel()
    evaluate(manifest, tmp_path / "run", [model], organs=("liver", "aorta"))
    assert model.asked == []  # what cannot be asked is not asked again
    assert evaluate(manifest, tmp_path / "text", [CubeModel()], organs=("liver",), asked=prompts("text")) == []
    assert {r.subject: r.status for r in rows_of(tmp_path / "text")} == {"a": "ok", "b": "no-reference"}
    assert all(r.fp for r in rows_of(tmp_path / "text") if r.subject == "b")


def test_options_that_cannot_be_met_are_refused_before_any_work(pairs, tmp_path):
    points = CubeModel(prompts=frozenset({"point"}))
    with pytest.raises(OptionError, match="cube takes no box prompts"):
        evaluate(pairs, tmp_path / "run", [points], asked=prompts("box+ritm-2"))
    with pytest.raises(OptionError, match="splen"):
        evaluate(pairs, tmp_path / "run", [points], organs=("splen",))
    with pytest.raises(OptionError, match="no model of this run"):
        prompts("other=box")
    with pytest.raises(OptionError, match="would need labels"):
        predict(pairs, tmp_path / "run", [points], asked=prompts("paper-1pt"))
    assert not (tmp_path / "run").exists()


def test_a_model_without_a_grid_of_its_own_cannot_be_asked_on_one(pairs, tmp_path):
    errors = evaluate(pairs, tmp_path / "run", [CubeModel()], asked=prompts("sam-med3d"))
    assert len(errors) == 4 and {e.status for e in errors} == {"bad-option"} and "this model has none" in str(errors[0])
    assert evaluate(pairs, tmp_path / "run2", [CubeModel(stride=3)], asked=prompts("sam-med3d-2")) == []
    kidney = [r for r in rows_of(tmp_path / "run2") if r.organ == "kidney_left" and r.modality == "ct"]
    # one voxel between those of the model's grid: an empty mask, as the official code gives
    assert {(r.status, r.tp, r.fp, r.fn, r.step) for r in kidney} == {("ok", 0, 0, 1, 0)}
    assert "no voxel of the organ is left" in kidney[0].note


def test_units_made_on_the_way_are_opened_when_they_are_called(pairs, tmp_path):
    lazy = CubeModel(lazy=True)
    assert evaluate(pairs, tmp_path / "run", [lazy], asked=prompts("random-2"), organs=("liver",)) == []
    assert sorted(lazy.made) == [1] and {r.status for r in rows_of(tmp_path / "run")} == {"ok"}


def test_a_crop_on_the_label_is_said(pairs, tmp_path):
    evaluate(
        pairs, tmp_path / "run", [CubeModel(crops_by_label=True)], asked=prompts("text"), organs=("liver", "brain")
    )
    rows = rows_of(tmp_path / "run")
    assert {r.uses_label for r in rows} == {"crop"} and {r.organ for r in rows if r.status == "absent"} == {"brain"}


def test_predict_asks_in_words(pairs, tmp_path):
    asked = prompts("text")
    errors, masks = predict(pairs, tmp_path / "run", [CubeModel()], asked=asked, organs=("liver",))
    assert errors == [] and len(masks) == 4 and all(Path(path).name == "liver.nii.gz" for path in masks)
    model = CubeModel()
    predict(pairs, tmp_path / "run", [model], asked=asked, organs=("liver",))
    assert model.asked == []


def test_the_plan_knows_the_prompt_and_only_of_prompted_models(pairs, ritm):
    (path,) = ritm.glob("plans/*.json")
    plan = json.loads(path.read_text())
    assert plan["prompt"]["name"] == "random-3" and len(plan["prompt"]["hash"]) == 16
    assert plan["prompt"]["independent"] is False and {r.plan for r in rows_of(ritm)} == {path.stem}


def test_a_model_that_cannot_be_loaded_has_a_status_for_every_organ_until_it_can(pairs, tmp_path):
    bad = tmp_path / "sam_med3d_turbo.pth"
    bad.write_text("no weights")
    command = ("evaluate", pairs, "--out", tmp_path / "run", "--model", f"sam-med3d-turbo={bad}", "--repeats", 2)
    result = CliRunner().invoke(main, [str(a) for a in command])
    assert result.exit_code == 1 and str(bad) in result.stderr and "paper-1pt" in result.stdout
    rows = rows_of(tmp_path / "run")
    assert {r.status for r in rows} == {"bad-checkpoint"} and len(rows) == 4 * 6 * 2
    # mended, its rows take the place of the failures
    model = CubeModel("sam-med3d-turbo", prompts=frozenset({"point"}))
    assert evaluate(pairs, tmp_path / "run", [model], asked=prompts(repeats=2)) == []
    assert len(rows_of(tmp_path / "run")) == 4 * 6 * 2
    assert {r.status for r in rows_of(tmp_path / "run")} == {"ok", "absent"}


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {folder!r})
from asked_model import CubeModel, evaluate, prompts
evaluate(Path(sys.argv[1]), Path(sys.argv[2]), [CubeModel()], asked=prompts("random-4", repeats=3))
"""


@pytest.mark.faults
def test_kill_9_in_the_middle_of_repeats_then_the_same_command(tmp_path):
    manifest, run = make_pairs(tmp_path / "d", 12), tmp_path / "run"
    code = KILLED.format(folder=str(Path(__file__).parent))
    command = [sys.executable, "-c", code, str(manifest), str(run)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if (run / "store.sqlite").exists() and len(rows_of(run)) >= 100:
                break
            time.sleep(0.01)
        assert process.poll() is None, "it ended before it could be killed"
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    whole = (5 * 4 + 1) * 3  # rows of a scan: five organs in four steps, an absent one, three draws
    kept = rows_of(run)
    assert whole <= len(kept) < 24 * whole and len(kept) % whole == 0
    subprocess.run(command, check=True, capture_output=True)
    assert all(row in rows_of(run) for row in kept)  # none was computed again
    evaluate(manifest, tmp_path / "clean", [CubeModel()], asked=prompts("random-4", repeats=3))
    assert counts_of(run) == counts_of(tmp_path / "clean")
    assert [c.given for c in clicks_of(run)] == [c.given for c in clicks_of(tmp_path / "clean")]


def test_an_organ_at_the_scans_border(tmp_path):
    (tmp_path / "d").mkdir()
    label = np.zeros((9, 8, 7), np.uint8)
    label[6:, 5:, 4:] = 1
    save(tmp_path / "d" / "a.nii.gz", label.astype(np.int16), place())
    save(tmp_path / "d" / "a_label.nii.gz", label, place())
    manifest = write_scans(tmp_path / "d", ["petct,a,a,ct,a.nii.gz,HU,a_label.nii.gz,labels.json"])
    evaluate(manifest, tmp_path / "run", [CubeModel()], asked=prompts("ritm-4"), organs=("liver",))
    rows, clicks = rows_of(tmp_path / "run"), clicks_of(tmp_path / "run")
    assert len(rows) == len(clicks) >= 2 and rows[0].label_voxels == 27
    assert voxel_of(clicks[0].given.world, place()) == clicks[0].given.voxel
