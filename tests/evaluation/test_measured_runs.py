"""Surfaces in the main job: rows of plain and prompted models, of `score`, filled in later; reports of them."""

import json
from collections import Counter
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch
from asked_model import CubeModel, evaluate, make_pairs, prompts, rows_of
from click.testing import CliRunner
from cohort import MODEL, ORGANS, make_cohort

from umd_engine.cli import main
from umd_engine.data.labelset import LabelSet
from umd_engine.data.once import Once
from umd_engine.errors import OptionError
from umd_engine.evaluation.conventions import convention
from umd_engine.evaluation.counting import joint_counts
from umd_engine.evaluation.filling import EARLIER, FILLED, NO_LABEL, NO_MASK, NOTHING, OTHER_COUNTS, fill
from umd_engine.evaluation.measuring import measured, measured_mask
from umd_engine.evaluation.metrics import row_score
from umd_engine.evaluation.prompts.reference import OrganLabel
from umd_engine.evaluation.report import report_run
from umd_engine.evaluation.store import Store
from umd_engine.evaluation.surfaces import EMPTY, pack
from umd_engine.evaluation.versus import versus
from umd_engine.kernels.surface import surface_distances
from umd_engine.kernels.surface.grids import ELEMENTS
from umd_engine.models.mask import Mask

SPACING = (1.5, 1.5, 2.0)


def umd(*arguments, code=0):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + result.stderr
    return result.stdout if code == 0 else result.stderr


def plainly(label, prediction, spacing=SPACING):
    """Of two masks, on the whole volume, by the reference."""
    found = [
        surface_distances(label, prediction, (1,), spacing, elements=one, backend="reference")[1] for one in ELEMENTS
    ]
    return pack(found)


def same(one, other):
    return len(one) == len(other) and np.allclose(np.frombuffer(one), np.frombuffer(other), rtol=1e-12)


def blobs(seed, ids, dtype):
    rng = np.random.default_rng(seed)
    labels = np.zeros((17, 19, 15), dtype)
    for number in ids:
        low = rng.integers(0, 10, 3)
        labels[tuple(slice(a, a + 6) for a in low)] = number
    return labels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kind", ["array", "fortran", "tensor"])
def test_unions_shared_ids_and_other_ids_are_measured_as_masks_of_their_own(dtype, kind):
    far = 200 if dtype is np.uint8 else 3000
    label, prediction = blobs(1, [1, 2, 3, 9], dtype), blobs(2, [1, 2, 4, far], dtype)
    reference = {"liver": (1,), "lung": (2, 3), "lobe": (3,), "brain": (9,), "absent": (40,), "none": (41,)}
    predicted = {"lung": (4, 2), "liver": (far,), "lobe": (4,), "brain": (77,), "absent": (1,), "more": (5,)}
    given = prediction
    if kind == "fortran":
        label, given = np.asfortranarray(label), np.asfortranarray(prediction)[::1]
    if kind == "tensor":
        given = torch.from_numpy(prediction)
    found = measured(joint_counts(label, given), predicted, reference, SPACING, Once())
    assert found.keys() == {"lung", "liver", "lobe", "brain", "absent"}
    assert found["brain"] == found["absent"] == EMPTY
    for organ in ("lung", "liver", "lobe"):
        masks = np.isin(label, reference[organ]), np.isin(prediction, predicted[organ])
        assert len(found[organ]) and same(found[organ], plainly(*masks))


def test_what_the_label_gives_is_made_once_for_all_models():
    label, ids = blobs(1, [1, 2], np.uint8), {"liver": (1,), "spleen": (2,)}
    asked = Counter()
    once = Once()

    def keep(key, make):
        return once(key, lambda: asked.update([key]) or make())

    for seed in range(3):
        measured(joint_counts(label, blobs(seed, [1, 2], np.uint8)), ids, ids, SPACING, keep)
    assert list(asked.values()) == [1]


def test_a_mask_in_its_box_is_measured_as_in_the_scan():
    full = [torch.from_numpy(blobs(seed, [1], np.uint8)) for seed in (3, 4)]
    label, mask = map(Mask.of, full)
    organ = OrganLabel(label, int(full[0].sum()))
    assert same(measured_mask(mask, organ, SPACING), plainly(*(one.numpy() == 1 for one in full)))
    assert measured_mask(Mask.empty(mask.shape), organ, SPACING) == EMPTY
    assert measured_mask(mask, OrganLabel(Mask.empty(mask.shape), 0), SPACING) == EMPTY
    assert measured_mask(Mask(torch.zeros_like(mask.voxels), mask.low, mask.shape), organ, SPACING) == EMPTY


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("pairs"), 1)


@pytest.fixture(scope="module")
def asked_run(pairs, tmp_path_factory):
    run = tmp_path_factory.mktemp("run") / "run"
    assert evaluate(pairs, run, [CubeModel()], asked=prompts("random-3"), save_masks=True) == []
    return run


def test_every_step_of_a_prompted_model_has_its_surfaces(pairs, asked_run):
    rows = rows_of(asked_run)
    assert {row.step for row in rows if row.status == "ok"} == {0, 1, 2}
    assert all((row.surfaces is None) == (row.status not in ("ok", "absent")) for row in rows)
    last = [row for row in rows if row.step == 2]
    assert {row.organ for row in last} >= {"liver", "halves"}
    for row in last:
        folder = asked_run / "masks" / row.model / row.plan / row.cohort / row.subject / row.scan_id
        mask = np.asanyarray(nibabel.load(folder / f"{row.organ}.nii.gz").dataobj) == 1
        image = nibabel.load(pairs.parent / f"{row.scan_id}_label.nii.gz")
        ids = {"liver": [1], "spleen": [2], "kidney_left": [3], "lung": [4, 5], "halves": [1, 2]}[row.organ]
        spacing = tuple(map(float, image.header.get_zooms()))
        assert same(row.surfaces, plainly(np.isin(np.asanyarray(image.dataobj), ids), mask, spacing))


def test_without_surface_nothing_is_measured_and_masks_fill_it_in_later(pairs, asked_run, tmp_path):
    run = tmp_path / "run"
    asked = prompts("random-3")
    evaluate(pairs, run, [CubeModel()], asked=asked, save_masks=True, metrics=("dice",))
    rows = rows_of(run)
    assert all(row.surfaces is None for row in rows)
    assert "not-computed" in report_run(run, convention("umd"), "text", "nsd")
    earlier = sum(row.status == "ok" and row.step < 2 and min(row.tp + row.fn, row.tp + row.fp) > 0 for row in rows)
    absent = sum(row.status == "absent" for row in rows)
    lines = umd("score", run, pairs).splitlines()
    filled = {row.key: row for row in rows_of(run) if row.surfaces is not None}
    measured_rows = f"{len(filled) - absent} rows measured on saved masks"
    assert absent and lines == [measured_rows, f"{absent} rows not: {NOTHING}", f"{earlier} rows not: {EARLIER}"]
    whole = {row.key: row for row in rows_of(asked_run)}
    assert filled and all(same(row.surfaces, whole[key].surfaces) for key, row in filled.items())
    assert all(replace(row, surfaces=None) in rows for row in filled.values())
    assert json.loads(umd("score", run, pairs, "--json")) == {EARLIER: earlier}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return make_cohort(tmp_path_factory.mktemp("cohort"), 2)


@pytest.fixture(scope="module")
def runs(cohort, tmp_path_factory):
    """The same evaluation with and without surfaces."""
    made = []
    for metrics in ("dice,surface", "dice"):
        run = tmp_path_factory.mktemp("run") / "run"
        more = ["--model", f"nnunet={MODEL}", "--set", "nnunet.folds=0", "--metrics", metrics, "--save-masks"]
        umd("evaluate", cohort, "--out", run, *more)
        made.append(run)
    return made


def model_ids():
    labels = json.loads((MODEL / "dataset.json").read_text())["labels"]
    return LabelSet("model", {organ: (number,) for organ, number in labels.items() if number})


def test_evaluate_measures_and_score_fills_in_and_scores_alike(cohort, runs, tmp_path):
    whole, less = (rows_of(run) for run in runs)
    assert any(row.surfaces for row in whole) and all(row.surfaces is None for row in less)
    ids = tmp_path / "ids.json"
    ids.write_text(json.dumps({"name": "model", "labels": {o: i for o, (i,) in model_ids().ids.items()}}))
    umd("score", runs[1], cohort, "--pred-map", ids)
    assert [row.surfaces for row in rows_of(runs[1])] == [row.surfaces for row in whole]
    one = next(row for row in whole if row.surfaces)
    mask = runs[0] / "masks" / one.model / one.plan / one.cohort / one.subject / f"{one.scan_id}.nii.gz"
    label = cohort.parent / f"{one.subject}_label.nii.gz"
    options = ("--pred-map", ids, "--label-map", cohort.parent / "labels.json", "--json")
    found = {item["organ"]: item for item in json.loads(umd("score", mask, label, *options))}
    assert found.keys() == ORGANS.keys()
    for name in ("nsd", "hd", "hd95", "assd", "masd", "volume"):
        assert found[one.organ][name] == row_score(one, convention("umd"), name)
    plain = json.loads(umd("score", mask, label, *options, "--metrics", "dice"))
    assert all(item["nsd"] is None and item["tp"] == found[item["organ"]]["tp"] for item in plain)
    assert "did you mean dice" in umd("score", mask, label, "--metrics", "dise", code=1)


def test_only_what_a_row_was_scored_by_fills_it(cohort, runs, tmp_path):
    run = tmp_path / "run"
    (run / "plans").mkdir(parents=True)
    rows = [replace(row, surfaces=None) for row in rows_of(runs[0])]
    with Store(run / "store.sqlite") as store:
        store.add(rows)
    ok = sum(bool(row.surfaces) for row in rows_of(runs[0]))
    empty = sum(row.surfaces == EMPTY for row in rows_of(runs[0]))
    assert +fill(run, cohort, model_ids()) == Counter({NO_MASK: ok, NOTHING: empty})
    (run / "masks").symlink_to(runs[0] / "masks")
    with Store(run / "store.sqlite") as store:
        store.add([replace(row, tp=row.tp + 1) for row in rows if row.status == "ok" and row.subject == "s000"])
    per_scan = ok // 2
    assert fill(run, cohort, model_ids()) == {OTHER_COUNTS: per_scan, FILLED: ok - per_scan}
    fewer = cohort.parent / "fewer.csv"
    fewer.write_text("\n".join(cohort.read_text().splitlines()[:1] + cohort.read_text().splitlines()[2:]) + "\n")
    assert fill(run, fewer, model_ids()) == {NO_LABEL: per_scan}


def test_reports_of_every_metric(runs):
    for name in ("dsc", "iou", "nsd", "hd", "hd95", "assd", "masd", "volume", "fp-volume", "fn-volume"):
        text = umd("report", runs[0], "--metric", name)
        assert "n=" in text and "Convention umd" in text
    assert umd("report", runs[0], "--metric", "dsc") == umd("report", runs[0])
    assert umd("report", runs[0], "--metric", "hd95").startswith("HD95 (mm), cohort")
    tolerances = " ".join(umd("report", runs[0], "--metric", "nsd").split())
    assert "tolerance (adrenal_gland_left 2;" in tolerances and "others 3 mm)" in tolerances
    assert "states no NSD: that is ours" in tolerances
    rows = umd("report", runs[0], "--format", "rows").splitlines()
    assert "nsd,hd,hd95,assd,masd,volume,fp-volume,fn-volume" in rows[0]


def test_a_picture_goes_from_0_to_1(runs, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "p.png"
    assert "from 0 to 1" in umd("report", runs[0], "--metric", "hd95", "--picture", picture, code=1)
    umd("report", runs[0], "--metric", "nsd", "--picture", picture)
    assert picture.stat().st_size


def test_versus_says_where_and_why(runs):
    rows = [row for row in rows_of(runs[0]) if row.status == "ok"]
    rows.append(replace(rows[0], subject="x", scan_id="x_ct", tp=0, fp=0, fn=0, surfaces=EMPTY))
    found = json.loads(versus(rows, convention("umd"), convention("nnunet"), "dice", "json"))["differ"]
    changed = next(cell for cell in found if cell["organ"] == rows[0].organ)
    assert changed["n_one"] == changed["n_other"] + 1
    assert changed["why"][0] == "1 both-empty: 1 / not counted" and "SD by n / n - 1" in changed["why"]
    found = json.loads(versus(rows, convention("flare"), convention("sat"), "nsd", "json"))["differ"]
    assert found[-1]["organ"] == "Avg" and found[-1]["why"] == ["tolerances of organs"]
    assert all(cell["why"][0].startswith("tolerance") for cell in found[:-1])
    found = json.loads(versus(rows, convention("nnunet"), convention("monai"), "hd95", "json"))["differ"]
    assert all(cell["why"] == ["surfaces of surfels / voxels"] for cell in found) and found
    assert "0 of" in versus(rows, convention("nnunet"), convention("nnunet"), "dice", "text")
    text = " ".join(versus(rows, convention("umd"), convention("nnunet"), "dice", "text").split())
    assert "cells differ" in text and "Convention nnunet" in text
    with pytest.raises(OptionError, match="no format csv"):
        versus(rows, convention("umd"), convention("nnunet"), "dice", "csv")
