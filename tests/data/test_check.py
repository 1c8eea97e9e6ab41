"""Every fault of every row: each bad input gives its typed status, and hides no other."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from umd_engine.data.check import check_manifest, check_row
from umd_engine.data.layouts import ImportOptions, import_layout
from umd_engine.data.manifest import read_manifest
from umd_engine.errors import MissingFileError

DATA = Path(__file__).parents[2].parent / "shared" / "data"
HEADER = "cohort,subject,scan_id,modality,image,unit,label,label_set"
SHAPE = (9, 8, 7)
AFFINE = np.diag([1.5, 1.5, 3.0, 1.0])


def _image(seed: int = 0) -> np.ndarray:
    voxels = np.random.default_rng(seed).normal(0, 100, SHAPE)
    voxels[0] = -1000
    return voxels.astype(np.float32)


def _label(*ids: int) -> np.ndarray:
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[2, 2, 2 : 2 + len(ids)] = ids
    return voxels


def _save(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE, edit: Callable | None = None) -> None:
    image = nibabel.Nifti1Image(voxels, affine)
    content = bytearray(image.to_bytes())
    if edit is not None:
        header = nibabel.Nifti1Header(bytes(content[:348]), check=False)
        edit(header)
        content[:348] = header.binaryblock
    path.write_bytes(gzip.compress(bytes(content), 1) if path.suffix == ".gz" else bytes(content))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    _save(tmp_path / "ct.nii.gz", _image())
    _save(tmp_path / "label.nii.gz", _label(1, 2))
    (tmp_path / "set.json").write_text('{"liver": 1, "spleen": 2}')
    return tmp_path


def _manifest(folder: Path, *rows: str) -> Path:
    path = folder / "scans.csv"
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


def _row(name: str = "a", image: str = "ct.nii.gz", label: str = "label.nii.gz", unit: str = "HU") -> str:
    modality = {"HU": "ct", "SUV": "pet", "Bq/mL": "pet"}.get(unit, "mr")
    return f"petct,P1,{name},{modality},{image},{unit},{label},set.json"


def _statuses(folder: Path, *rows: str, deep: bool = True) -> list[tuple[int, str]]:
    return [(fault.line, fault.status) for fault in check_manifest(_manifest(folder, *rows), deep)]


def test_sound_rows_have_no_fault(folder: Path) -> None:
    assert _statuses(folder, _row("a"), _row("b", label=""), _row("c", image="ct.nii.gz;ct.nii.gz")) == []


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _no_nifti(path: Path) -> None:
    path.write_bytes(gzip.compress(b"patient,age\n" * 100))


def _nan(path: Path) -> None:
    voxels = _image()
    voxels[1, 2, 3] = np.nan
    _save(path, voxels)


def _infinite(path: Path) -> None:
    voxels = _image()
    voxels[1, 2, 3] = np.inf
    _save(path, voxels)


def _zero_spacing(path: Path) -> None:
    def edit(header: nibabel.Nifti1Header) -> None:
        header["pixdim"][2] = 0

    _save(path, _image(), edit=edit)


def _negative_spacing(path: Path) -> None:
    def edit(header: nibabel.Nifti1Header) -> None:
        header["pixdim"][3] = -3

    _save(path, _image(), edit=edit)


def _singular(path: Path) -> None:
    def edit(header: nibabel.Nifti1Header) -> None:
        header["srow_y"] = header["srow_x"]

    _save(path, _image(), edit=edit)


def _four_dimensions(path: Path) -> None:
    _save(path, np.stack([_image(), _image()], axis=-1))


IMAGES = [
    (Path.unlink, "missing-file", True),
    (_truncate, "corrupt-file", False),
    (_no_nifti, "corrupt-file", True),
    (_nan, "bad-voxels", False),
    (_infinite, "bad-voxels", False),
    (_four_dimensions, "bad-voxels", True),
    (_zero_spacing, "bad-geometry", True),
    (_negative_spacing, "bad-geometry", True),
    (_singular, "bad-geometry", True),
]


@pytest.mark.parametrize(("spoil", "status", "in_header"), IMAGES)
def test_a_bad_image(folder: Path, spoil: Callable[[Path], None], status: str, in_header: bool) -> None:
    _save(folder / "bad.nii.gz", _image())
    spoil(folder / "bad.nii.gz")
    rows = [_row("a"), _row("b", image="bad.nii.gz"), _row("c")]
    (fault,) = check_manifest(_manifest(folder, *rows))
    assert (fault.line, fault.scan_id, fault.status) == (3, "b", status)
    assert "bad.nii.gz" in fault.message
    assert len(list(check_manifest(_manifest(folder, *rows), deep=False))) == int(in_header)


LABELS = [
    (lambda path: _save(path, _label(1, 3)), "bad-label", False),
    (lambda path: _save(path, _label()), "empty-label", False),
    (lambda path: _save(path, _label(1)[:-1]), "bad-geometry", True),
    (lambda path: _save(path, _label(1), np.diag([1.5, 1.5, 2.5, 1])), "bad-geometry", True),
    (lambda path: _save(path, _label(1).astype(np.float32) / 2), "bad-label", False),
    (lambda path: None, "missing-file", True),
]


@pytest.mark.parametrize(("make", "status", "in_header"), LABELS)
def test_a_bad_label(folder: Path, make: Callable[[Path], None], status: str, in_header: bool) -> None:
    make(folder / "bad.nii.gz")
    rows = [_row("a", label="bad.nii.gz"), _row("b")]
    assert _statuses(folder, *rows) == [(2, status)]
    assert _statuses(folder, *rows, deep=False) == [(2, status)] * in_header


@pytest.mark.parametrize(
    ("content", "status"), [(None, "missing-file"), ("{", "bad-manifest"), ('{"liver": 1}', "bad-label")]
)
def test_a_bad_label_set(folder: Path, content: str | None, status: str) -> None:
    (folder / "set.json").unlink()
    if content is not None:
        (folder / "set.json").write_text(content)
    assert _statuses(folder, _row()) == [(2, status)]


def test_channels_on_another_grid(folder: Path) -> None:
    _save(folder / "moved.nii.gz", _image(1), AFFINE + np.eye(4, k=3) * 5)
    assert _statuses(folder, _row(image="ct.nii.gz;moved.nii.gz;ct.nii.gz")) == [(2, "bad-geometry")]
    (fault,) = check_manifest(_manifest(folder, _row(image="ct.nii.gz;moved.nii.gz")))
    assert "resample it onto the first image's grid" in fault.message and "label" not in fault.message


def test_the_unit(folder: Path) -> None:
    _save(folder / "mr.nii.gz", np.abs(_image()))
    assert _statuses(folder, _row(image="mr.nii.gz"), _row("b", "mr.nii.gz", unit="none")) == [(2, "bad-voxels")]
    assert _statuses(folder, _row(image="mr.nii.gz"), deep=False) == []


def test_one_fault_hides_no_other(folder: Path) -> None:
    _save(folder / "moved.nii.gz", np.full(SHAPE, np.nan, np.float32), AFFINE + np.eye(4, k=3) * 5)
    _save(folder / "wrong.nii.gz", _label(7)[:-2])
    rows = [
        _row("a", image="none.nii.gz;ct.nii.gz;moved.nii.gz", label="wrong.nii.gz"),
        _row("a"),
        _row("b", unit="none").replace(",none,", ",HU,"),
        _row("c", label="gone.nii.gz"),
    ]
    assert sorted(_statuses(folder, *rows)) == [
        (2, "bad-geometry"),  # the label
        (2, "bad-geometry"),  # the third channel
        (2, "bad-label"),
        (2, "bad-voxels"),
        (2, "missing-file"),
        (3, "bad-manifest"),  # the same scan_id
        (4, "bad-manifest"),  # mr in HU
        (5, "missing-file"),
    ]


def test_faults_as_text_and_as_json(folder: Path) -> None:
    (fault,) = check_manifest(_manifest(folder, _row("x", image="gone.nii.gz")))
    assert str(fault).startswith("line 2, x [missing-file] ") and "gone.nii.gz" in str(fault)
    assert json.loads(json.dumps(fault.as_dict())) == {
        "line": 2, "scan_id": "x", "status": "missing-file", "message": fault.message,
    }  # fmt: skip


def test_a_fault_of_the_columns(folder: Path) -> None:
    path = folder / "scans.csv"
    path.write_text("cohort,subject\nx,y\n")
    (fault,) = check_manifest(path)
    assert (fault.line, fault.status) == (0, "bad-manifest") and str(fault).startswith("table [bad-manifest] columns")
    with pytest.raises(MissingFileError):
        list(check_manifest(folder / "none.csv"))


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no {DATA}")
def test_real_scans_are_sound(tmp_path: Path) -> None:
    channels = {0: "ct", 1: "pet", 2: "mr"}
    import_layout("nnunet", DATA / "sts_pet_ct_mr", tmp_path / "sts.csv", ImportOptions(channels=channels))
    assert list(check_manifest(tmp_path / "sts.csv")) == []
    abdomen, pet = DATA / "ct_abdomen", DATA / "pet_wholebody"
    (tmp_path / "pet.json").write_text('{"tumour": 1, "oedema": 2}')
    rows = [
        f"x,a,13,ct,{abdomen}/CT.nii.gz,HU,{abdomen}/organs13.nii.gz,umd13",
        f"x,a,104,ct,{abdomen}/CT.nii.gz,HU,{abdomen}/labels_v1_104classes.nii.gz,totalsegmentator-v1-104",
        f"x,a,117,ct,{abdomen}/CT.nii.gz,HU,{abdomen}/labels_v2_117classes_fastmodel.nii.gz,totalsegmentator-v2-117",
        f"x,b,mr,mr,{abdomen}/example_mr_sm.nii.gz,none,{abdomen}/example_seg_mr.nii.gz,totalsegmentator-mr-50",
        f"x,c,pet,pet,{pet}/PET_SUV.nii.gz,SUV,{pet}/PET_labels.nii.gz,pet.json",
        f"x,d,ct,ct,{DATA}/ct_large/CT.nii.gz,HU,,",
    ]
    assert [str(fault) for fault in check_manifest(_manifest(tmp_path, *rows))] == []


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no {DATA}")
def test_real_scans_of_different_patients_do_not_fit(tmp_path: Path) -> None:
    channels = {0: "ct", 1: "pet"}
    import_layout("nnunet", DATA / "sts_pet_ct_mr", tmp_path / "sts.csv", ImportOptions(channels=channels))
    rows = read_manifest(tmp_path / "sts.csv")
    other = rows[0].model_copy(update={"label": rows[2].label})
    assert [fault.status for fault in check_row(other, deep=False)] == ["bad-geometry"]
    as_suv = rows[0].model_copy(update={"unit": "SUV"})
    assert [fault.status for fault in check_row(as_suv)] == ["bad-voxels"]
