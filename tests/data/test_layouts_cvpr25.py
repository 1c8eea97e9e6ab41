"""Importing NPZ files of the CVPR25 challenge: converted whole, once, and never unpickled."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest

from umd_engine.data.check import check_manifest
from umd_engine.data.labelset import load_label_set
from umd_engine.data.layouts import Imported, ImportOptions, import_layout
from umd_engine.data.npz import read_array
from umd_engine.errors import CorruptFileError, ManifestError, OptionError, VoxelError

CLASSES = {
    "CT_AMOS": {"1": ["Spleen", "spleen in CT"], "2": ["Right kidney"], "instance_label": 0},
    "CT_Lesion": {"1": ["Liver lesion, any"], "instance_label": 1},
}


def _npz(path: Path, seed: int = 0, **content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    arrays = {
        "imgs": rng.integers(0, 256, (3, 4, 5)).astype(np.uint8),  # [Z, Y, X]
        "gts": rng.integers(0, 3, (3, 4, 5)).astype(np.uint8),
        "spacing": np.array([0.8, 0.9, 2.5]),
        "text_prompts": np.array({"1": "spleen", "instance_label": 0}, object),  # a pickle, as in the challenge
        **content,
    }
    np.savez_compressed(path, **{name: array for name, array in arrays.items() if array is not None})  # type: ignore[arg-type]


def _folder(folder: Path) -> Path:
    _npz(folder / "CT" / "CT_AMOS" / "CT_AMOS_amos_0018.npz", 1)
    _npz(folder / "CT" / "CT_Lesion" / "CT_Lesion_7.npz", 2, gts=np.full((3, 4, 5), 9, np.uint16))
    (folder / "CVPR25_TextSegFMData_with_class.json").write_text(json.dumps(CLASSES))
    return folder


def _import(folder: Path, **options: object) -> Imported:
    return import_layout("cvpr25", folder, folder.parent / "scans.csv", ImportOptions(**options))  # type: ignore[arg-type]


def test_a_folder(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "D")
    found = _import(folder)
    made = tmp_path / "scans.converted"
    assert [(r.subject, r.modality, r.unit, r.images[0], r.label) for r in found.rows] == [
        (name, "ct", "none", made / f"{name}.nii.gz", made / f"{name}_label.nii.gz")
        for name in ("CT_AMOS_amos_0018", "CT_Lesion_7")
    ]
    with np.load(folder / "CT" / "CT_AMOS" / "CT_AMOS_amos_0018.npz") as arrays:
        image, label = (nibabel.load(path) for path in (found.rows[0].images[0], found.rows[0].label))
        assert np.array_equal(np.asarray(image.dataobj), arrays["imgs"].T)
        assert np.array_equal(np.asarray(label.dataobj), arrays["gts"].T)
        assert np.allclose(image.affine, np.diag([-0.8, -0.9, 2.5, 1]))
    assert load_label_set(found.rows[0].label_set or "").ids == {"spleen": (1,), "kidney_right": (2,)}
    assert load_label_set(found.rows[1].label_set or "").ids == {"liver_lesion_any": (1,)}
    assert np.asarray(nibabel.load(found.rows[1].label).dataobj).max() == 1  # instances are one class
    assert found.left_out == () and list(check_manifest(tmp_path / "scans.csv")) == []


def test_only_what_is_missing_or_older_is_made_again(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "D")
    rows = _import(folder).rows
    stamps = {path: path.stat().st_mtime_ns for row in rows for path in (*row.images, row.label) if path}
    rows[0].images[0].write_bytes(b"half a file")
    (tmp_path / "scans.csv").unlink()
    _import(folder)
    changed = [path for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp]
    assert changed == [rows[0].images[0]] and list(check_manifest(tmp_path / "scans.csv")) == []
    (tmp_path / "scans.csv").unlink()
    with pytest.raises(OptionError, match="made from another data set"):
        _import(_folder(tmp_path / "E"), converted=tmp_path / "scans.converted")


def test_labels_in_a_file_of_their_own(tmp_path: Path) -> None:
    _npz(tmp_path / "D" / "3D_val_npz" / "CT_AMOS_1.npz", gts=None)
    _npz(tmp_path / "D" / "3D_val_gt" / "CT_AMOS_1.npz", imgs=None, spacing=None)
    found = _import(tmp_path / "D", label_set="amos22")
    assert [(row.subject, row.label_set) for row in found.rows] == [("CT_AMOS_1", "amos22")]
    (tmp_path / "scans.csv").unlink()
    with pytest.raises(OptionError, match=r"nothing in .* says what the labels mean"):
        _import(tmp_path / "D")


def test_what_is_left_out(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "D")
    _npz(folder / "US_1.npz")
    _npz(folder / "CT_Other_1.npz")
    _npz(folder / "CT_AMOS_2.npz", gts=np.zeros((2, 2, 2), np.uint8))
    _npz(folder / "CT_AMOS_3.npz", spacing=np.array([1.0, 0.0, 1.0]))
    _npz(folder / "CT_AMOS_4.npz", imgs=np.zeros((3, 4, 5, 3), np.uint8))
    _npz(folder / "CT_AMOS_5.npz", imgs=np.array({"a": 1}, object))
    _npz(folder / "CT_AMOS_6.npz", gts=np.full((3, 4, 5), -1))
    _npz(folder / "CT_AMOS_7.npz", imgs=None)
    _npz(folder / "more" / "CT_AMOS_amos_0018.npz")
    (folder / "CT_AMOS_8.npz").write_bytes(b"no zip")
    found = _import(folder)
    assert {left.case: left.error.status for left in found.left_out} == {
        "US_1": "bad-manifest",
        "CT_Other_1": "bad-manifest",
        "CT_AMOS_2": "bad-geometry",
        "CT_AMOS_3": "bad-geometry",
        "CT_AMOS_4": "bad-voxels",
        "CT_AMOS_5": "bad-voxels",
        "CT_AMOS_6": "bad-label",
        "CT_AMOS_7": "missing-file",
        "CT_AMOS_8": "corrupt-file",
        "CT_AMOS_amos_0018": "bad-manifest",
    }
    assert [row.subject for row in found.rows] == ["CT_Lesion_7"]


def _member(path: Path, header: dict[str, object], body: bytes) -> None:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, header)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("imgs.npy", head.getvalue() + body)


@pytest.mark.parametrize(
    ("shape", "descr", "kind"),
    [
        ((10**4, 10**4, 10**4), "|u1", VoxelError),  # 10^12 bytes are promised
        ((10, 10, 10), "|u1", CorruptFileError),  # 1000 of which 10 are there
        ((10,), "|O", VoxelError),  # a pickle
    ],
)
def test_arrays_that_promise_what_they_have_not(
    tmp_path: Path, shape: tuple[int, ...], descr: str, kind: type[Exception]
) -> None:
    _member(tmp_path / "a.npz", {"shape": shape, "fortran_order": False, "descr": descr}, bytes(10))
    with pytest.raises(kind):
        read_array(tmp_path / "a.npz", "imgs")


def test_names_in_a_file_lead_nowhere(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "D")
    evil = {
        "CT_AMOS": CLASSES["CT_AMOS"],
        "../../CT_Lesion": {"1": "x"},
        "CT_Lesion": {"1": ["a"], "instance_label": 1},
    }
    (folder / "CVPR25_TextSegFMData_with_class.json").write_text(json.dumps(evil))
    with zipfile.ZipFile(folder / "CT" / "CT_Lesion" / "CT_Lesion_7.npz", "a") as file:
        file.writestr("../../outside.npy", b"no array")
    before = set(tmp_path.rglob("*"))
    _import(folder)
    new = set(tmp_path.rglob("*")) - before
    assert all(path.is_relative_to(tmp_path / "scans.converted") or path.name == "scans.csv" for path in new)
    (folder / "b_with_class.json").write_text("{}")
    (tmp_path / "scans.csv").unlink()
    with pytest.raises(ManifestError, match="2 class files"):
        _import(folder)
