"""Scores of existing masks against plain counts, on made and on real label maps."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from umd_engine.data.labelset import LabelSet, load_label_set
from umd_engine.errors import (
    GeometryError,
    LabelError,
    ManifestError,
    MissingFileError,
    OptionError,
    UmdEngineError,
    UnknownNameError,
)
from umd_engine.evaluation.score import score_command, score_pair
from umd_engine.evaluation.store import Store

ABDOMEN = Path(__file__).parents[2].parent / "shared" / "data" / "ct_abdomen"
AFFINE = np.diag([2.0, 3.0, 4.0, 1.0])
OURS = LabelSet("ours", {"liver": (1,), "lung": (2, 3), "lobe": (3,), "colon": (5,)})
THEIRS = LabelSet("theirs", {"lung": (9,), "liver": (4,), "brain": (6,), "lobe": (2,)})


def save(path, voxels, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return path


def a_map(seed, ids, dtype=np.uint8, shape=(7, 8, 9)):
    return np.random.default_rng(seed).choice(np.array([0, *ids], dtype), shape)


def plain_counts(prediction, label, prediction_ids, label_ids):
    p, t = np.isin(prediction, prediction_ids), np.isin(label, label_ids)
    return int((p & t).sum()), int((p & ~t).sum()), int((t & ~p).sum())


@pytest.fixture
def pair(tmp_path):
    prediction, label = a_map(0, [1, 2, 3, 5]), a_map(1, [2, 4, 6, 9])
    return save(tmp_path / "p.nii.gz", prediction), save(tmp_path / "t.nii.gz", label), prediction, label


def test_organs_are_joined_by_name_and_counted_as_plainly(pair):
    prediction, label, p, t = pair
    scores = score_pair(prediction, label, OURS, THEIRS)
    assert [s.organ for s in scores] == ["lung", "liver", "lobe"]
    for s in scores:
        assert (s.tp, s.fp, s.fn) == plain_counts(p, t, OURS.ids[s.organ], THEIRS.ids[s.organ])
        assert (s.case, s.status, s.message) == ("p", "ok", "") and s.voxel_ml == pytest.approx(0.024)


def test_an_organ_without_a_reference_has_its_predicted_voxels(pair):
    prediction, label, p, _ = pair
    colon, liver = score_pair(prediction, label, OURS, THEIRS, ["colon", "liver"])
    assert (colon.status, colon.tp, colon.fp, colon.fn) == ("no-reference", None, int((p == 5).sum()), None)
    assert liver.status == "ok"


def test_files_in_other_axis_orders_are_the_same_voxels(pair, tmp_path):
    prediction, label, _, t = pair
    turned = AFFINE[:, [2, 0, 1, 3]] @ np.diag([1.0, -1, 1, 1])
    turned[0, 3] = AFFINE[0, 0] * (t.shape[0] - 1)
    other = save(tmp_path / "turned.nii.gz", np.ascontiguousarray(t.transpose(2, 0, 1)[:, ::-1]), turned)
    assert score_pair(prediction, other, OURS, THEIRS) == score_pair(prediction, label, OURS, THEIRS)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.float32])
def test_ids_beyond_255(tmp_path, dtype):
    big = LabelSet("big", {"liver": (1000,), "lung": (300, 7)})
    p, t = a_map(2, [1, 2, 3]), a_map(3, [7, 300, 1000], dtype)
    files = save(tmp_path / "p.nii.gz", p), save(tmp_path / "t.nii.gz", t)
    for s in score_pair(*files, OURS, big):
        assert (s.tp, s.fp, s.fn) == plain_counts(p, t, OURS.ids[s.organ], big.ids[s.organ])


def test_empty_maps_and_absent_ids(tmp_path):
    empty = save(tmp_path / "empty.nii.gz", np.zeros((7, 8, 9), np.uint8))
    label = save(tmp_path / "t.nii.gz", a_map(1, [4]))
    counts = {s.organ: (s.tp, s.fp, s.fn) for s in score_pair(empty, label, OURS, THEIRS)}
    assert counts["lung"] == (0, 0, 0) and counts["liver"][:2] == (0, 0) and counts["liver"][2] > 0
    assert all((s.tp, s.fp, s.fn) == (0, 0, 0) for s in score_pair(empty, empty, OURS, THEIRS))


def test_faults_of_two_files_are_typed_and_name_the_file(pair, tmp_path):
    prediction, label, p, t = pair
    faults = [
        (
            save(tmp_path / "small.nii.gz", p[1:]),
            label,
            GeometryError,
            r"small.*different grids.*the label has.*t\.nii",
        ),
        (save(tmp_path / "moved.nii.gz", p, AFFINE + np.eye(4, k=3)), label, GeometryError, "moved.*different grids"),
        (save(tmp_path / "ids.nii.gz", p + 6), label, LabelError, "ids.nii.*6, 7, 8.* not in label set 'ours'"),
        (prediction, save(tmp_path / "ids2.nii.gz", t.astype(np.uint16) * 99), LabelError, "ids2.*'theirs'"),
        (prediction, tmp_path / "absent.nii.gz", MissingFileError, "absent"),
        (prediction, tmp_path, OptionError, "file and a folder"),
    ]
    for mask, reference, error, words in faults:
        with pytest.raises(error, match=words) as caught:
            score_pair(mask, reference, OURS, THEIRS)
        assert caught.value.mend and "the image" not in str(caught.value)


def test_faults_of_the_names(pair):
    prediction, label, *_ = pair
    with pytest.raises(UnknownNameError, match=r"ours.*did you mean liver"):
        score_pair(prediction, label, OURS, THEIRS, ["livre"])
    with pytest.raises(LabelError, match="no organ is also in label set 'brains'"):
        score_pair(prediction, label, OURS, LabelSet("brains", {"brain": (1,)}))


@pytest.fixture
def folders(tmp_path):
    """a: fine; b: no prediction; c: no label; d: truncated prediction; e: grids differ; f: .nii and .nii.gz."""
    p, t = tmp_path / "p", tmp_path / "t"
    for i, case in enumerate("abcde"):
        save(p / f"{case}.nii.gz", a_map(i, [1, 2, 3]))
        save(t / f"{case}.nii.gz", a_map(i + 50, [2, 4, 9]))
    (p / "b.nii.gz").unlink()
    (t / "c.nii.gz").unlink()
    (p / "d.nii.gz").write_bytes((p / "d.nii.gz").read_bytes()[:-30])
    save(p / "e.nii.gz", a_map(4, [1], shape=(7, 8, 8)))
    save(p / "f.nii", a_map(5, [1, 2]))
    save(t / "f.nii.gz", a_map(6, [4, 9]))
    (p / "notes.txt").write_text("not a mask")
    (t / "._a.nii.gz").write_text("not a mask either")
    return p, t


def test_every_case_of_two_folders_has_its_rows(folders):
    scores = score_pair(*folders, OURS, THEIRS)
    assert [s.case for s in scores] == [case for case in "abcdef" for _ in range(3)]
    found = {s.case: s for s in scores}
    statuses = {case: s.status for case, s in found.items()}
    assert statuses == {
        "a": "ok",
        "b": "missing-file",
        "c": "no-reference",
        "d": "corrupt-file",
        "e": "bad-geometry",
        "f": "ok",
    }
    assert "b.nii.gz" in found["b"].message and "no prediction" in found["b"].message
    assert found["c"].fp is not None and found["c"].tp is None and found["d"].fp is None


def test_folders_that_do_not_hold_together(folders, tmp_path):
    predictions, labels = folders
    (tmp_path / "none").mkdir()
    with pytest.raises(MissingFileError, match="none"):
        score_pair(tmp_path / "none", labels, OURS, THEIRS)
    save(labels / "a.nii", a_map(0, [4]))
    with pytest.raises(ManifestError, match="two files of case a"):
        score_pair(predictions, labels, OURS, THEIRS)


@pytest.fixture
def maps(tmp_path):
    for name, labels in (
        ("ours", {"liver": 1, "lung": [2, 3], "lobe": 3, "colon": 5}),
        ("theirs", {"lung": 9, "liver": 4, "brain": 6, "lobe": 2}),
    ):
        (tmp_path / f"{name}.json").write_text(json.dumps({"name": name, "labels": labels}))
    return {"pred_map": str(tmp_path / "ours.json"), "label_map": str(tmp_path / "theirs.json")}


def test_json_has_one_object_an_organ(pair, maps):
    prediction, label, p, t = pair
    text, failed = score_command(prediction, label, as_json=True, organs="liver, colon", **maps)
    liver, colon = json.loads(text)
    tp, fp, fn = plain_counts(p, t, [1], [4])
    assert not failed and (liver["organ"], liver["tp"], liver["fp"], liver["fn"]) == ("liver", tp, fp, fn)
    assert liver["dice"] == 2 * tp / (2 * tp + fp + fn) and liver["iou"] == tp / (tp + fp + fn)
    assert liver["label_ml"] == pytest.approx((tp + fn) * 0.024) and liver["convention"] == "umd"
    assert colon["dice"] is None and colon["status"] == "no-reference" and colon["label_ml"] is None


def test_scores_go_into_a_run_once_and_under_a_plan(folders, maps, tmp_path):
    run = tmp_path / "run"
    texts = [score_command(*folders, run=run, model="theirs-v2", cohort="petct", **maps) for _ in range(2)]
    assert texts[0] == texts[1] and texts[0][1] is True
    assert "failed: b [missing-file]" in texts[0][0] and "n=2 failed=3 no-reference=1" in texts[0][0]
    with Store(run / "store.sqlite", create=False) as store:
        rows, plans = list(store.rows()), store.plans()
    assert len(rows) == 18 and {(r.cohort, r.modality, r.model) for r in rows} == {("petct", "ct", "theirs-v2")}
    ((plan, text),) = plans.items()
    assert {r.plan for r in rows} == {plan} and json.loads(text)["label_sets"]["label"]["ids"]["lung"] == [9]


def phantom(path, voxels):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(voxels, AFFINE)
    image.header["descrip"] = b"synthetic phantom"
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("side", ["p", "t"])
def test_masks_of_phantoms_say_so_in_every_form(maps, tmp_path, side):
    files = [tmp_path / "p" / "a.nii.gz", tmp_path / "t" / "a.nii.gz"]
    for path, ids, seed in zip(files, ([1, 2], [4, 9]), (0, 1), strict=True):
        (phantom if path.parent.name == side else save)(path, a_map(seed, ids))
    text, _ = score_command(*files, **maps)
    assert text.startswith("SYNTHETIC DATA: computer-made phantoms, no patients.")
    assert all(item["synthetic"] is True for item in json.loads(score_command(*files, as_json=True, **maps)[0]))
    for folder in ("p", "t"):
        save(tmp_path / folder / "b.nii.gz", a_map(2, [2]))
    broken = phantom(tmp_path / side / "c.nii.gz", a_map(2, [2]))
    text, failed = score_command(tmp_path / "p", tmp_path / "t", run=tmp_path / "run", model="m", **maps)
    assert text.startswith("SYNTHETIC DATA: 2 of 3 scans are synthetic (computer-made phantoms, no patients).")
    assert failed == (side == "t") and ("failed: c (synthetic) [missing-file]" in text) == failed and broken.exists()
    with Store(tmp_path / "run" / "store.sqlite") as store:
        assert {(row.subject, row.synthetic) for row in store.rows()} == {("a", True), ("b", False), ("c", True)}


def test_masks_of_patients_say_nothing_of_phantoms(pair, maps):
    text, _ = score_command(*pair[:2], **maps)
    assert "SYNTHETIC" not in text
    assert all(item["synthetic"] is False for item in json.loads(score_command(*pair[:2], as_json=True, **maps)[0]))


def test_into_and_as_belong_together(pair, maps, tmp_path):
    for options in ({"run": tmp_path / "run"}, {"model": "m"}):
        with pytest.raises(OptionError, match="belong together"):
            score_command(*pair[:2], **options, **maps)


def test_a_file_in_the_way_of_the_run_is_a_typed_error(pair, maps, tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(UmdEngineError, match="run"):
        score_command(*pair[:2], run=tmp_path / "run", model="m", **maps)


def test_real_label_maps_equal_a_plain_count():
    """104-class labels against 117-class labels of one CT, over the organs both have."""
    if not ABDOMEN.is_dir():
        pytest.skip("the real volumes are not at ../shared/data")
    files = ABDOMEN / "labels_v1_104classes.nii.gz", ABDOMEN / "labels_v2_117classes_fastmodel.nii.gz"
    names = json.loads((ABDOMEN / "class_maps.json").read_text())
    v1, v2 = ({n: int(i) for i, n in names[k].items()} for k in ("labels_v1_104classes", "labels_v2_117classes"))
    common = [name for name in v1 if name in v2]
    sets = load_label_set("totalsegmentator-v1-104"), load_label_set("totalsegmentator-v2-117")
    scores = {s.organ: s for s in score_pair(*files, *sets)}
    assert len(common) > 80 and set(common) <= scores.keys()
    prediction, label = (np.asanyarray(nibabel.load(file).dataobj).astype(np.uint8) for file in files)
    for organ in common:
        s = scores[organ]
        assert (s.status, s.tp, s.fp, s.fn) == ("ok", *plain_counts(prediction, label, [v1[organ]], [v2[organ]])), organ
    lobes = [organ for organ in common if organ.startswith("lung_")]
    plain = plain_counts(prediction, label, [v1[o] for o in lobes], [v2[o] for o in lobes])
    assert len(lobes) == 5 and (scores["lung"].tp, scores["lung"].fp, scores["lung"].fn) == plain
    assert sum(s.tp > 0 for s in scores.values()) > 30
