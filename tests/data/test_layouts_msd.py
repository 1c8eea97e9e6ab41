"""Importing data sets of the Medical Segmentation Decathlon."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner

from umd_engine.cli import main
from umd_engine.data.check import check_manifest
from umd_engine.data.labelset import load_label_set
from umd_engine.data.layouts import Imported, ImportOptions, import_layout
from umd_engine.data.manifest import read_manifest
from umd_engine.errors import ManifestError, MissingFileError, OptionError, UmdEngineError, UnknownNameError, VoxelError

LABELS = {"0": "background", "1": "liver", "2": "cancer"}


def _pair(name: str) -> dict[str, str]:
    return {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"}


def _dataset(folder: Path, *cases: str, shape: tuple[int, ...] = (6, 5, 4), **content: object) -> Path:
    rng = np.random.default_rng(3)
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for case in cases:
        scan = rng.integers(-1000, 900, shape).astype(np.int16)
        label = rng.integers(0, 3, shape[:3]).astype(np.uint8)
        for part, voxels in (("imagesTr", scan), ("labelsTr", label)):
            nibabel.save(nibabel.Nifti1Image(voxels, np.diag([2, 2, 3, 1])), folder / part / f"{case}.nii.gz")
    training = [_pair(case) for case in cases]
    base = {"name": "Liver", "modality": {"0": "CT"}, "labels": LABELS, "numTraining": len(cases)}
    (folder / "dataset.json").write_text(json.dumps({**base, "training": training, "test": ["./x.nii.gz"], **content}))
    return folder


def _import(folder: Path, **options: str) -> Imported:
    return import_layout("msd", folder, folder.parent / "scans.csv", ImportOptions(**options))  # type: ignore[arg-type]


def test_a_task(tmp_path: Path) -> None:
    folder = _dataset(tmp_path / "Task03_Liver", "liver_0", "liver_1")
    (folder / "imagesTr" / "._liver_0.nii.gz").touch()
    found = _import(folder, cohort="msd")
    assert [(r.cohort, r.subject, r.scan_id, r.modality, r.unit) for r in found.rows] == [
        ("msd", "liver_0", "liver_0", "ct", "HU"),
        ("msd", "liver_1", "liver_1", "ct", "HU"),
    ]
    assert found.rows[0].images == (folder / "imagesTr" / "liver_0.nii.gz",)
    assert (found.left_out, found.notes) == ((), ())
    assert read_manifest(tmp_path / "scans.csv") == found.rows
    label_set = load_label_set(tmp_path / "scans.labels.json")
    assert (label_set.name, label_set.ids) == ("Liver", {"liver": (1,), "cancer": (2,)})
    assert list(check_manifest(tmp_path / "scans.csv")) == []


@pytest.mark.parametrize(
    ("word", "options", "modality", "unit"),
    [
        ("MRI", {}, "mr", "none"),
        ("T1-Gd", {}, "mr", "none"),
        ("PET", {}, "pet", "SUV"),
        ("PET", {"unit": "Bq/mL"}, "pet", "Bq/mL"),
        ("unknown", {"modality": "ct"}, "ct", "HU"),
    ],
)
def test_modalities(tmp_path: Path, word: str, options: dict[str, str], modality: str, unit: str) -> None:
    (row,) = _import(_dataset(tmp_path / "D", "a", modality={"0": word}), **options).rows
    assert (row.modality, row.unit) == (modality, unit)


def test_hidden_files_in_the_list(tmp_path: Path) -> None:
    training = [{"image": "./imagesTr/._a.nii.gz", "label": "./labelsTr/._a.nii.gz"}, _pair("a")]
    found = _import(_dataset(tmp_path / "D", "a", training=training, numTraining=2))
    assert [row.subject for row in found.rows] == ["a"]
    (note,) = found.notes
    assert note.endswith("numTraining is 2, but training lists 1 image")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ({"modality": {"0": "FLAIR", "1": "T1w"}}, "each image holds 2 volumes: FLAIR, T1w .*convert_MSD_dataset"),
        ({"modality": {"0": "endoscopy"}}, "called 'endoscopy', which names none .say --modality"),
        ({"modality": "CT"}, "modality is no object"),
        ({"labels": ["liver"]}, "labels is no object"),
        ({"labels": {"background": 0, "liver": 1}}, "labels is no object"),
        ({"labels": {"1": "liver", "2": "liver"}}, "two labels have one name"),
        ({"labels": {"0": "background"}}, "no organ is named"),
        ({"labels": {"1": "liver, left"}}, "has a comma"),
        ({"training": "all"}, "training is no list"),
        ({"training": []}, "training lists no image"),
        ({"training": ["./imagesTr/a.nii.gz"]}, "which has no image and label"),
        ({"training": [{"image": "./imagesTr/a.nii.gz"}]}, "which has no image and label"),
        ({"training": [_pair("../../a")]}, "leads out of the folder"),
        ({"training": [{"image": "/etc/a.nii.gz", "label": "a.nii.gz"}]}, "leads out of the folder"),
        ({"training": [{"image": "a.nii.gz", "label": "../a.nii.gz"}]}, "leads out of the folder"),
        ({"training": [{"image": "a.mha", "label": "a.mha"}]}, "does not end in .nii.gz"),
        ({"training": [_pair("a"), _pair("a")]}, "two cases are called a"),
        ({"channel_names": {"0": "CT"}}, "nnU-Net v2 .use --layout nnunet"),
    ],
)
def test_dataset_json_that_cannot_be_imported(tmp_path: Path, content: dict[str, object], fault: str) -> None:
    folder = _dataset(tmp_path / "D", "a", **content)
    with pytest.raises(ManifestError, match=fault) as error:
        _import(folder)
    assert error.value.where == folder / "dataset.json"
    assert [path.name for path in tmp_path.iterdir()] == ["D"]


def test_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no such folder"):
        _import(tmp_path / "D")
    (tmp_path / "D").mkdir()
    with pytest.raises(MissingFileError, match="no data set of the Medical Segmentation Decathlon"):
        _import(tmp_path / "D")
    for content, fault in (("[]", "JSON object"), ("{", "not a JSON file")):
        (tmp_path / "D" / "dataset.json").write_text(content)
        with pytest.raises(ManifestError, match=fault):
            _import(tmp_path / "D")


def test_images_of_several_volumes(tmp_path: Path) -> None:
    folder = _dataset(tmp_path / "D", "a", shape=(6, 5, 4, 2))
    with pytest.raises(VoxelError, match=r"a 4D image of 2 volumes .*nnUNetv2_convert_MSD_dataset") as error:
        _import(folder)
    assert error.value.where == folder / "imagesTr" / "a.nii.gz"


def test_one_volume_in_four_dimensions_is_a_scan(tmp_path: Path) -> None:
    _import(_dataset(tmp_path / "D", "a", shape=(6, 5, 4, 1)))
    assert list(check_manifest(tmp_path / "scans.csv")) == []


def test_a_case_that_is_not_whole_is_left_out_and_named(tmp_path: Path) -> None:
    folder = _dataset(tmp_path / "D", "a", "b", "c", "d")
    (folder / "imagesTr" / "a.nii.gz").write_bytes(b"nothing of a header")
    (folder / "imagesTr" / "b.nii.gz").unlink()
    (folder / "labelsTr" / "c.nii.gz").unlink()
    out = tmp_path / "scans.csv"
    run = CliRunner().invoke(main, ["data", "import", str(folder), "--layout", "msd", "--out", str(out)])
    assert run.exit_code == 1 and run.stdout == f"1 scan of 1 subject in {out}\n"
    assert [line.split("]")[0] for line in run.stderr.splitlines() if line.startswith("left out")] == [
        "left out: a [corrupt-file",
        "left out: b [missing-file",
        "left out: c [missing-file",
    ]
    assert f"3 left out; mend them, remove {out} and import again" in run.stderr
    assert [row.subject for row in read_manifest(out)] == ["d"] and list(check_manifest(out)) == []


def test_not_one_case_is_whole(tmp_path: Path) -> None:
    folder = _dataset(tmp_path / "D", "a")
    (folder / "imagesTr" / "a.nii.gz").rename(folder / "imagesTr" / "a_0000.nii.gz")
    with pytest.raises(ManifestError, match=r"not one case of 1 is whole, e.g. a .*nnUNetv2_convert_old"):
        _import(folder)
    assert not (tmp_path / "scans.csv").exists()


@pytest.mark.parametrize(
    ("options", "kind", "fault"),
    [
        ({"label_set": "umd13"}, OptionError, "--label-set: layout msd has no use for it"),
        ({"channels": {0: "ct"}}, OptionError, "--channel: layout msd has no use for it"),
        ({"unit": "SUV"}, OptionError, "--unit: 'SUV' for ct"),
        ({"modality": "xray"}, UnknownNameError, "modality 'xray'"),
    ],
)
def test_options(tmp_path: Path, options: dict, kind: type[UmdEngineError], fault: str) -> None:
    with pytest.raises(kind, match=fault):
        _import(_dataset(tmp_path / "D", "a"), **options)


def test_case_names_become_file_names(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="subject: 'a b'"):
        _import(_dataset(tmp_path / "D", "a b"))
