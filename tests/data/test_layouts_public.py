"""Importing public data sets by their own file names: AMOS22, FLARE22, autoPET I to IV, ENHANCE.PET 1.6k, BIDS."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from umd_engine.data.check import check_manifest
from umd_engine.data.labelset import load_label_set
from umd_engine.data.layouts import Imported, ImportOptions, import_layout
from umd_engine.data.manifest import read_manifest
from umd_engine.data.organ_names import organ_ids, organ_name
from umd_engine.errors import ManifestError, MissingFileError, OptionError

SHAPE = (5, 4, 3)
GRID = np.diag([2.0, 2.0, 3.0, 1.0])
COARSE = np.diag([4.0, 4.0, 3.0, 1.0])


def _save(path: Path, voxels: np.ndarray, affine: np.ndarray = GRID) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)


def _scan(path: Path, affine: np.ndarray = GRID, shape: tuple[int, ...] = SHAPE) -> None:
    _save(path, (np.arange(np.prod(shape)).reshape(shape) % 7 * 100 - 200).astype(np.int16), affine)


def _label(path: Path, *ids: int) -> None:
    voxels = np.zeros(SHAPE, np.uint8)
    for number, one in enumerate(ids):
        voxels[number, :2] = one
    _save(path, voxels)


def _import(layout: str, folder: Path, **options: object) -> Imported:
    out = folder.parent / "scans.csv"
    found = import_layout(layout, folder, out, ImportOptions(**options))  # type: ignore[arg-type]
    assert read_manifest(out) == found.rows
    return found


def _brief(found: Imported) -> list[tuple[object, ...]]:
    return [(r.subject, r.scan_id, r.modality, r.unit, r.label.name if r.label else None) for r in found.rows]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Left Kidney", "kidney_left"),
        ("Kidney_R", "kidney_right"),
        ("Lungs", "lung"),
        ("lung_upper_lobe_left", "lung_upper_lobe_left"),
        ("Bladder", "urinary_bladder"),
        ("Oesophagus", "esophagus"),
        ("A_Aorta", "aorta"),
        ("GTV 1", "gtv_1"),
        ("L", "l"),
        ("left right shunt", "left_right_shunt"),
    ],
)
def test_names_of_organs(text: str, name: str) -> None:
    assert organ_name(text) == name


def test_parts_make_a_whole_unless_it_is_named() -> None:
    lobes = [("lung_left", 3), ("lung upper lobe right", 1), ("Heart_Myocardium", 5), ("heart_ventricle_left", 4)]
    ids = organ_ids(lobes)
    assert (ids["lung"], ids["heart"], ids["lung_left"]) == ((1, 3), (4, 5), (3,))
    assert organ_ids([("Lung", 9), ("lung_left", 3)])["lung"] == (9,)
    assert organ_ids([("Liver", 1), ("liver", 2)]) == {"liver": (1, 2)}


def _amos(folder: Path) -> Path:
    for split, name in (("Tr", "amos_0001"), ("Tr", "amos_0507"), ("Va", "amos_0500")):
        _scan(folder / f"images{split}" / f"{name}.nii.gz")
        _label(folder / f"labels{split}" / f"{name}.nii.gz", 1, 15)
    _scan(folder / "imagesTs" / "amos_0600.nii.gz")
    (folder / "imagesTr" / "._amos_0001.nii.gz").touch()
    return folder


def test_amos(tmp_path: Path) -> None:
    found = _import("amos22", _amos(tmp_path / "amos22"), cohort="amos")
    assert _brief(found) == [
        ("amos_0001", "amos_0001_ct", "ct", "HU", "amos_0001.nii.gz"),
        ("amos_0500", "amos_0500_ct", "ct", "HU", "amos_0500.nii.gz"),
        ("amos_0507", "amos_0507_mr", "mr", "none", "amos_0507.nii.gz"),
        ("amos_0600", "amos_0600_mr", "mr", "none", None),
    ]
    assert found.left_out == ()
    assert found.notes == ("without a label, to be predicted but not scored: 1 scan, e.g. amos_0600_mr",)
    assert found.rows[0].label_set == "amos22"
    assert {"kidney_left", "esophagus", "urinary_bladder"} <= set(load_label_set("amos22").ids)


def test_what_belongs_to_no_scan_is_listed(tmp_path: Path) -> None:
    folder = _amos(tmp_path / "amos22")
    _label(folder / "labelsTs" / "amos_0599.nii.gz", 1)
    _scan(folder / "imagesTr" / "extra.nii.gz")
    _scan(folder / "imagesVa" / "amos_0001.nii.gz")
    (folder / "labelsTr" / "amos_0507.nii.gz").write_bytes(b"")
    _save(folder / "labelsVa" / "amos_0500.nii.gz", np.ones(SHAPE, np.uint8), COARSE)
    found = _import("amos22", folder)
    assert [row.subject for row in found.rows] == ["amos_0600"]
    assert {(left.case, left.error.status) for left in found.left_out} == {
        ("amos_0599", "missing-file"),
        ("imagesTr/extra", "bad-manifest"),
        ("amos_0001", "bad-manifest"),
        ("amos_0507 mr", "corrupt-file"),
        ("amos_0500 ct", "bad-geometry"),
    }


def test_no_scan_of_the_layout(tmp_path: Path) -> None:
    (tmp_path / "D").mkdir()
    for layout in ("amos22", "flare22", "autopet", "enhance-pet", "bids", "cvpr25"):
        with pytest.raises(MissingFileError):
            _import(layout, tmp_path / "D")
        with pytest.raises(MissingFileError, match="no such folder"):
            _import(layout, tmp_path / "E")
    _scan(tmp_path / "D" / "imagesTr" / "amos_0001.nii.gz")
    (tmp_path / "D" / "imagesTr" / "amos_0001.nii.gz").write_bytes(b"")
    with pytest.raises(ManifestError, match=r"not one scan is whole, e\.g\. amos_0001 ct"):
        _import("amos22", tmp_path / "D")
    assert not (tmp_path / "scans.csv").exists()


def test_flare(tmp_path: Path) -> None:
    folder = tmp_path / "FLARE22"
    train = folder / "Training" / "FLARE22_LabeledCase50"
    _scan(train / "images" / "FLARE22_Tr_0001_0000.nii.gz")
    _label(train / "labels" / "FLARE22_Tr_0001.nii.gz", 1, 13)
    _scan(folder / "Training" / "FLARE22_UnlabeledCase1-500" / "Case_00001_0000.nii.gz")
    _label(folder / "Validation" / "labels" / "FLARETs_0001.nii.gz", 1)
    found = _import("flare22", folder)
    assert _brief(found) == [
        ("Case_00001", "Case_00001_ct", "ct", "HU", None),
        ("FLARE22_Tr_0001", "FLARE22_Tr_0001_ct", "ct", "HU", "FLARE22_Tr_0001.nii.gz"),
    ]
    assert [(left.case, left.error.fault) for left in found.left_out] == [("FLARETs_0001", "a label without image")]
    assert load_label_set(found.rows[1].label_set or "").ids["kidney_left"] == (13,)


STUDIES = ("03-23-2003-NA-PET-CT Ganzkoerper  primaer mit KM-10445", "12-01-2003-NA-PET-CT Ganzkoerper-98765")


def test_autopet_1_and_2(tmp_path: Path) -> None:
    for study in STUDIES:
        inner = tmp_path / "FDG-PET-CT-Lesions" / "PETCT_0011f3deaf" / study
        for name in ("CT", "CTres", "PET", "SUV"):
            _scan(inner / f"{name}.nii.gz", GRID if name in ("CTres", "SUV") else COARSE)
        _label(inner / "SEG.nii.gz", 1)
    _scan(tmp_path / "FDG-PET-CT-Lesions" / "notes" / "other.nii.gz")
    found = _import("autopet", tmp_path / "FDG-PET-CT-Lesions")
    first = "PETCT_0011f3deaf_03-23-2003-NA-PET-CT-Ganzkoerper-primaer-mit-KM-10445"
    assert _brief(found)[:2] == [
        ("PETCT_0011f3deaf", f"{first}_ct", "ct", "HU", "SEG.nii.gz"),
        ("PETCT_0011f3deaf", f"{first}_pet", "pet", "SUV", "SEG.nii.gz"),
    ]
    assert len(found.rows) == 4 and {row.subject for row in found.rows} == {"PETCT_0011f3deaf"}
    assert [row.images[0].name for row in found.rows[:2]] == ["CTres.nii.gz", "SUV.nii.gz"]
    assert [left.case for left in found.left_out] == ["notes/other"]
    assert found.notes[0].startswith("not imported: 4 files CT.nii.gz and PET.nii.gz")
    assert load_label_set(tmp_path / "scans.labels.json").ids == {"lesion": (1,)}


def test_autopet_3(tmp_path: Path) -> None:
    folder = tmp_path / "D"
    cases = ("psma_95b833d65be26d9f_2018-04-23", f"fdg_0011f3deaf_{STUDIES[0]}")
    for case in cases:
        for channel in ("0000", "0001"):
            _scan(folder / "imagesTr" / f"{case}_{channel}.nii.gz")
        _label(folder / "labelsTr" / f"{case}.nii.gz", 1)
    found = _import("autopet", folder)
    assert [(row.subject, row.modality) for row in found.rows] == [
        ("fdg_0011f3deaf", "ct"),
        ("fdg_0011f3deaf", "pet"),
        ("psma_95b833d65be26d9f", "ct"),
        ("psma_95b833d65be26d9f", "pet"),
    ]
    assert found.rows[3].scan_id == "psma_95b833d65be26d9f_2018-04-23_pet"
    assert all(row.label for row in found.rows) and (found.left_out, found.notes) == ((), ())


@pytest.mark.parametrize("between", ["", "_{visit}_img"])
def test_autopet_4_longitudinal(tmp_path: Path, between: str) -> None:
    folder = tmp_path / "D"
    for visit, labels in (("BL", "inputsTr"), ("FU", "targetsTr")):
        more = between.format(visit=visit)
        _scan(folder / "inputsTr" / f"c6f057b865_{visit}_img{more}_00.nii.gz")
        _label(folder / labels / f"c6f057b865_{visit}_mask{more}_00.nii.gz", 1, 2, 3)
    _scan(folder / "inputsTr" / f"c6f057b865_FU_img{between.format(visit='FU')}_01.nii.gz")
    found = _import("autopet", folder)
    assert [(row.subject, row.scan_id, row.label is not None) for row in found.rows] == [
        ("c6f057b865", "c6f057b865_BL_00_ct", True),
        ("c6f057b865", "c6f057b865_FU_00_ct", True),
        ("c6f057b865", "c6f057b865_FU_01_ct", False),
    ]
    assert found.left_out == () and list(check_manifest(tmp_path / "scans.csv")) == []


MOOSE = {
    "clin_ct_organs": {"6": "kidney_left", "8": "liver", "9": "lung_lower_lobe_left", "12": "lung_upper_lobe_left"},
    "clin_ct_cardiac": {"1": "heart_myocardium", "2": "heart_atrium_left", "6": "aorta"},
}


def _enhance(root: Path) -> Path:
    inner = root / "imaging-data"
    (inner / "images").mkdir(parents=True)
    (root / "labels.json").write_text(json.dumps(MOOSE))
    _scan(inner / "images" / "CT_0001-1000" / "0001.nii.gz")
    _scan(inner / "images" / "PT_0001-1683" / "0001.nii.gz", COARSE, (3, 2, 3))
    _scan(inner / "images" / "CT_1001-1683" / "1001.nii.gz")
    for group in ("Organs", "Cardiac", "Muscles"):
        _label(inner / "ground-truth" / group / "0001.nii.gz", *((8, 9) if group == "Organs" else (1, 6, 2)))
    return root


def test_enhance_pet(tmp_path: Path) -> None:
    root = _enhance(tmp_path / "ENHANCE-PET_1.6k")
    found = _import("enhance-pet", root, converted=tmp_path / "made")
    assert _brief(found) == [
        ("0001", "0001_ct", "ct", "HU", "0001_ct.nii.gz"),
        ("0001", "0001_pet", "pet", "SUV", "0001_pet.nii.gz"),
        ("1001", "1001_ct", "ct", "HU", None),
    ]
    ids = load_label_set(tmp_path / "scans.labels.json").ids
    assert (ids["liver"], ids["lung"], ids["heart"], ids["aorta"]) == ((8,), (9, 12), (101, 102), (106,))
    made = nibabel.load(tmp_path / "made" / "0001_ct.nii.gz")
    expected = np.zeros(SHAPE, int)
    expected[0, :2], expected[1, :2], expected[2, :2] = 8, 9, 102  # organs have the voxels that the heart claims too
    assert np.array_equal(np.asarray(made.dataobj), expected)
    coarse = nibabel.load(tmp_path / "made" / "0001_pet.nii.gz")
    assert np.array_equal(np.asarray(coarse.dataobj), expected[::2, ::2]) and np.array_equal(coarse.affine, COARSE)
    assert found.left_out == () and any("the labels of 1 scan, e.g. 0001," in note for note in found.notes)


def test_enhance_pet_without_a_group_or_its_names(tmp_path: Path) -> None:
    root = _enhance(tmp_path / "D")
    (root / "imaging-data" / "ground-truth" / "Cardiac" / "0001.nii.gz").unlink()
    found = _import("enhance-pet", root)
    assert [(left.case, left.error.fault) for left in found.left_out] == [
        ("0001_ct", "no such label map"),
        ("0001_pet", "no such label map"),
    ]
    (tmp_path / "scans.csv").unlink()
    (root / "labels.json").write_text('{"organs": {"1": "liver"}}')
    with pytest.raises(ManifestError, match="no group Cardiac"):
        _import("enhance-pet", root)
    (root / "labels.json").unlink()
    with pytest.raises(MissingFileError, match=r"no labels\.json"):
        _import("enhance-pet", root)


def _bids(folder: Path) -> Path:
    _scan(folder / "sub-01" / "ses-1" / "anat" / "sub-01_ses-1_T1w.nii.gz")
    _scan(folder / "sub-01" / "ses-1" / "anat" / "sub-01_ses-1_T2w.nii.gz", COARSE)
    _scan(folder / "sub-01" / "ses-1" / "pet" / "sub-01_ses-1_trc-FDG_pet.nii.gz")
    (folder / "sub-01" / "ses-1" / "pet" / "sub-01_ses-1_trc-FDG_pet.json").write_text('{"Units": "Bq/mL"}')
    _scan(folder / "sub-01" / "ses-1" / "func" / "sub-01_ses-1_task-rest_bold.nii.gz")
    _scan(folder / "sub-02" / "ct" / "sub-02_ct.nii.gz")
    inner = folder / "derivatives" / "manual"
    _label(inner / "sub-01" / "ses-1" / "anat" / "sub-01_ses-1_space-orig_dseg.nii.gz", 3, 10)
    _label(inner / "sub-02" / "ct" / "sub-02_dseg.nii.gz", 3)
    (inner / "dseg.tsv").write_text("index\tname\n0\tBackground\n3\tLeft-Kidney\n10\tLiver\n")
    (folder / "participants.tsv").write_text("participant_id\tage\tsex\nsub-01\t54\tmale\nsub-02\tn/a\tF\n")
    return folder


def test_bids(tmp_path: Path) -> None:
    found = _import("bids", _bids(tmp_path / "study"))
    assert _brief(found) == [
        ("sub-01", "sub-01_ses-1_T1w", "mr", "none", "sub-01_ses-1_space-orig_dseg.nii.gz"),
        ("sub-01", "sub-01_ses-1_T2w", "mr", "none", None),
        ("sub-01", "sub-01_ses-1_trc-FDG_pet", "pet", "Bq/mL", None),
        ("sub-02", "sub-02_ct", "ct", "HU", "sub-02_dseg.nii.gz"),
    ]
    assert [(row.sex, row.age) for row in found.rows[2:]] == [("M", 54), ("F", None)]
    assert found.left_out == () and found.notes[0].startswith("not imported: 1 NIfTI file, e.g. sub-01/ses-1/func/")
    assert load_label_set(tmp_path / "scans.labels.json").ids == {"kidney_left": (3,), "liver": (10,)}


def test_bids_that_is_ambiguous_or_lacks_something(tmp_path: Path) -> None:
    folder = _bids(tmp_path / "study")
    inner = folder / "derivatives" / "manual"
    _label(inner / "sub-02" / "ct" / "sub-02_desc-b_dseg.nii.gz", 3)
    _label(inner / "sub-09" / "ct" / "sub-09_dseg.nii.gz", 3)
    (folder / "sub-01" / "ses-1" / "pet" / "sub-01_ses-1_trc-FDG_pet.json").unlink()
    _scan(folder / "sub-03" / "pet" / "sub-03_pet.nii.gz", GRID, (*SHAPE, 2))
    found = _import("bids", folder)
    assert {(left.case, left.error.status) for left in found.left_out} == {
        ("sub-01_ses-1_trc-FDG_pet", "bad-manifest"),  # no Units
        ("sub-02_ct", "bad-manifest"),  # two label maps
        ("sub-02_dseg", "missing-file"),
        ("sub-02_desc-b_dseg", "missing-file"),
        ("sub-03_pet", "bad-voxels"),  # several volumes
        ("sub-09_dseg", "missing-file"),
    }
    assert [row.scan_id for row in found.rows] == ["sub-01_ses-1_T1w", "sub-01_ses-1_T2w"]


def test_bids_labels_need_names(tmp_path: Path) -> None:
    folder = _bids(tmp_path / "study")
    table = folder / "derivatives" / "manual" / "dseg.tsv"
    table.with_name("own.tsv").write_text("")
    own = folder / "derivatives" / "manual" / "sub-02" / "ct" / "sub-02_dseg.tsv"
    own.write_text("index\tname\n3\tSpleen\n")
    with pytest.raises(ManifestError, match="names other ids than"):
        _import("bids", folder)
    own.unlink()
    table.write_text("id\tname\n")
    with pytest.raises(ManifestError, match="no column index"):
        _import("bids", folder)
    table.unlink()
    with pytest.raises(OptionError, match="nothing says what the ids"):
        _import("bids", folder)
    rows = _import("bids", folder, label_set="umd13", unit="SUV").rows
    assert [row.label_set for row in rows] == ["umd13", None, None, "umd13"] and rows[2].unit == "SUV"
