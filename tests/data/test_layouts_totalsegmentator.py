"""Importing TotalSegmentator data sets: masks become one label map a scan."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from umd_engine.cli import main
from umd_engine.data.check import check_manifest
from umd_engine.data.labelset import load_label_set
from umd_engine.data.layouts import Imported, ImportOptions, import_layout
from umd_engine.data.layouts.masks import merge_masks
from umd_engine.data.manifest import read_manifest
from umd_engine.data.nifti import read_header, read_labels
from umd_engine.errors import DataError, LabelError, ManifestError, MissingFileError, OptionError

DATA = Path(__file__).parents[2].parent / "shared" / "data"
SHAPE = (7, 6, 5)
LPS = np.array([[-1.5, 0, 0, 9], [0, -1.5, 0, 8], [0, 0, 1.5, -7], [0, 0, 0, 1]])
META = (
    "image_id;age;gender;institute;study_type;split;manufacturer;scanner_model;kvp;pathology\n"
    "s0000;63;m;A;ct thorax;train;siemens;Somatom;120.0;tumor\ns0001;;f;B;ct;test;;;;\ns0009;nan;nan;;;;;;;\n"
)


def _save(path: Path, voxels: np.ndarray, affine: np.ndarray = LPS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)


def _block(*corner: int) -> np.ndarray:
    voxels = np.zeros(SHAPE, np.uint8)
    x, y, z = corner
    voxels[x : x + 2, y : y + 2, z : z + 2] = 1
    return voxels


MASKS = {"liver": _block(0, 0, 0), "spleen": _block(3, 3, 2), "brain": np.zeros(SHAPE, np.uint8)}


def _subject(folder: Path, masks: dict[str, np.ndarray] = MASKS, image: str = "ct.nii.gz") -> Path:
    rng = np.random.default_rng(len(folder.name))
    _save(folder / image, rng.integers(-1000, 900, SHAPE).astype(np.int16))
    for name, voxels in masks.items():
        _save(folder / "segmentations" / f"{name}.nii.gz", voxels)
    return folder


def _dataset(folder: Path, *names: str) -> Path:
    for name in names:
        _subject(folder / name)
    return folder


def _import(folder: Path, **options: object) -> Imported:
    chosen = ImportOptions(**options)  # type: ignore[arg-type]
    return import_layout("totalsegmentator", folder, folder.parent / "ts.csv", chosen)


def _cli(folder: Path) -> Result:
    out = str(folder.parent / "ts.csv")
    return CliRunner().invoke(main, ["data", "import", str(folder), "--layout", "totalsegmentator", "--out", out])


def test_a_data_set(tmp_path: Path) -> None:
    folder = _dataset(tmp_path / "D", "s0000", "s0001")
    (folder / "meta.csv").write_text(META, encoding="utf-8-sig")
    before = sorted(folder.rglob("*"))
    found = _import(folder, cohort="ts")
    assert [(r.cohort, r.subject, r.scan_id, r.modality, r.unit, r.label_set) for r in found.rows] == [
        ("ts", "s0000", "s0000", "ct", "HU", "totalsegmentator-v2-117"),
        ("ts", "s0001", "s0001", "ct", "HU", "totalsegmentator-v2-117"),
    ]
    assert [(r.sex, r.age, r.site, r.scanner) for r in found.rows] == [
        ("M", 63, "A", "siemens Somatom"),
        ("F", None, "B", None),
    ]
    assert (found.left_out, found.notes) == ((), ())
    assert read_manifest(tmp_path / "ts.csv") == found.rows
    assert list(check_manifest(tmp_path / "ts.csv")) == []
    assert sorted(folder.rglob("*")) == before  # nothing is written into the data set
    merged = nibabel.load(tmp_path / "ts.labels" / "s0000.nii.gz")
    assert merged.get_data_dtype() == np.uint8 and np.array_equal(merged.affine, LPS)
    ids = load_label_set("totalsegmentator-v2-117").ids
    expected = MASKS["liver"] * ids["liver"][0] + MASKS["spleen"] * ids["spleen"][0]
    assert np.array_equal(np.asarray(merged.dataobj), expected)


@pytest.mark.parametrize(
    ("image", "masks", "label_set", "modality"),
    [
        ("ct.nii.gz", ("lung_upper_lobe_left", "heart"), "totalsegmentator-v2-117", "ct"),
        ("ct.nii.gz", ("heart_atrium_left", "liver"), "totalsegmentator-v1-104", "ct"),
        ("mri.nii.gz", ("lung_left", "liver"), "totalsegmentator-mr-50", "mr"),
    ],
)
def test_label_sets(tmp_path: Path, image: str, masks: tuple[str, ...], label_set: str, modality: str) -> None:
    _subject(tmp_path / "D" / "s0000", {name: _block(n, n, n) for n, name in enumerate(masks)}, image)
    (row,) = _import(tmp_path / "D").rows
    assert (row.label_set, row.modality, row.unit) == (label_set, modality, "HU" if modality == "ct" else "none")
    assert row.label is not None
    ids = load_label_set(label_set).ids
    assert set(np.unique(read_labels(row.label).voxels)) == {0, *(ids[name][0] for name in masks)}


def test_classes_of_no_label_set(tmp_path: Path) -> None:
    _subject(tmp_path / "D" / "s0000", {**MASKS, "gizzard": _block(0, 0, 0), "lung": _block(0, 0, 0)})
    with pytest.raises(ManifestError, match="masks of gizzard, lung, which totalsegmentator-v2-117 does not know"):
        _import(tmp_path / "D")
    assert [path.name for path in tmp_path.iterdir()] == ["D"]


def test_scans_without_masks_can_be_predicted(tmp_path: Path) -> None:
    for name in ("s0000", "s0001"):
        _subject(tmp_path / "D" / name, {})
    assert [(row.label, row.label_set) for row in _import(tmp_path / "D").rows] == [(None, None)] * 2
    assert not (tmp_path / "ts.labels").exists() and list(check_manifest(tmp_path / "ts.csv")) == []


def test_overlaps_are_counted_and_the_highest_id_has_them(tmp_path: Path) -> None:
    _subject(tmp_path / "D" / "s0000", {"spleen": _block(0, 0, 0), "liver": _block(1, 1, 1)})
    found = _import(tmp_path / "D")
    assert found.notes == ("masks overlap in 1 voxel of 1 scan, e.g. s0000: the class with the highest id has them",)
    assert nibabel.load(tmp_path / "ts.labels" / "s0000.nii.gz").dataobj[1, 1, 1] == 5  # liver


def _spoil_truncate(folder: Path) -> None:
    path = folder / "segmentations" / "liver.nii.gz"
    path.write_bytes(path.read_bytes()[:-9])


def _spoil_grid(folder: Path) -> None:
    _save(folder / "segmentations" / "liver.nii.gz", MASKS["liver"], LPS + np.eye(4, k=3))


def _spoil_values(folder: Path) -> None:
    _save(folder / "segmentations" / "liver.nii.gz", MASKS["liver"] * 255)


def _spoil_all_empty(folder: Path) -> None:
    for name in ("liver", "spleen"):
        _save(folder / "segmentations" / f"{name}.nii.gz", MASKS["brain"])


def _spoil_twice(folder: Path) -> None:
    (folder / "segmentations" / "liver.nii").touch()


def _spoil_both(folder: Path) -> None:
    (folder / "mri.nii.gz").touch()


def _spoil_no_masks(folder: Path) -> None:
    for path in (folder / "segmentations").iterdir():
        path.unlink()


SPOILS = [
    (_spoil_truncate, "corrupt-file", "liver.nii.gz"),
    (_spoil_grid, "bad-geometry", "liver.nii.gz"),
    (_spoil_values, "bad-label", "a mask with the value 255"),
    (_spoil_all_empty, "empty-label", "not one of its masks has a voxel"),
    (_spoil_twice, "bad-manifest", "two files of case liver"),
    (_spoil_both, "bad-manifest", "both ct.nii.gz and mri.nii.gz"),
    (_spoil_no_masks, "missing-file", "no mask of any class"),
    (lambda folder: (folder / "segmentations" / "liver.nii.gz").unlink(), "missing-file", "no mask of liver"),
    (lambda folder: (folder / "ct.nii.gz").unlink(), "missing-file", "neither ct.nii.gz nor mri.nii.gz"),
    (lambda folder: (folder / "ct.nii.gz").write_bytes(b""), "corrupt-file", "the file is empty"),
]


@pytest.mark.parametrize(("spoil", "status", "fault"), SPOILS)
def test_a_damaged_subject_stops_no_other(
    tmp_path: Path, spoil: Callable[[Path], object], status: str, fault: str
) -> None:
    folder = _dataset(tmp_path / "D", "s0000", "s0001", "s0002")
    spoil(folder / "s0001")
    run = _cli(folder)
    out = tmp_path / "ts.csv"
    assert run.exit_code == 1 and run.stdout == f"2 scans of 2 subjects in {out}\n"
    (line,) = (line for line in run.stderr.splitlines() if line.startswith("left out"))
    assert line.startswith(f"left out: s0001 [{status}]") and fault in line
    assert [row.subject for row in read_manifest(out)] == ["s0000", "s0002"]
    assert list(check_manifest(out)) == []
    assert not (tmp_path / "ts.labels" / "s0001.nii.gz").exists()


def test_mended_and_imported_again_only_what_is_missing_is_made(tmp_path: Path) -> None:
    folder = _dataset(tmp_path / "D", "s0000", "s0001")
    liver = folder / "s0001" / "segmentations" / "liver.nii.gz"
    content = liver.read_bytes()
    liver.write_bytes(gzip.compress(b"nothing"))
    assert _cli(folder).exit_code == 1
    kept = (tmp_path / "ts.labels" / "s0000.nii.gz").stat()
    liver.write_bytes(content)
    (tmp_path / "ts.csv").unlink()
    assert _cli(folder).exit_code == 0 and list(check_manifest(tmp_path / "ts.csv")) == []
    again = (tmp_path / "ts.labels" / "s0000.nii.gz").stat()
    assert (again.st_ino, again.st_mtime_ns) == (kept.st_ino, kept.st_mtime_ns)


def test_a_label_map_older_than_its_masks_or_damaged_is_made_again(tmp_path: Path) -> None:
    folder = _dataset(tmp_path / "D", "s0000", "s0001")
    _import(folder)
    merged = tmp_path / "ts.labels" / "s0000.nii.gz"
    _save(folder / "s0000" / "segmentations" / "liver.nii.gz", _block(4, 4, 3))
    later = merged.stat().st_mtime_ns + 10**9
    os.utime(folder / "s0000" / "segmentations" / "liver.nii.gz", ns=(later, later))
    (tmp_path / "ts.labels" / "s0001.nii.gz").write_bytes(b"")
    (tmp_path / "ts.csv").unlink()
    _import(folder)
    assert nibabel.load(merged).dataobj[4, 4, 3] == 5
    assert list(check_manifest(tmp_path / "ts.csv")) == []


def test_label_maps_of_another_data_set_are_not_taken(tmp_path: Path) -> None:
    _import(_dataset(tmp_path / "D", "s0000"))
    (tmp_path / "ts.csv").unlink()
    with pytest.raises(OptionError, match=r"ts.labels: its label maps were made from another data set"):
        _import(_dataset(tmp_path / "E", "s0000"))
    (tmp_path / "ts.labels" / "made_from.json").unlink()
    with pytest.raises(OptionError, match=r"ts.labels: it exists and is no import's"):
        _import(tmp_path / "E")


def test_what_the_label_maps_are_made_from(tmp_path: Path) -> None:
    _import(_dataset(tmp_path / "D", "s0000"))
    assert json.loads((tmp_path / "ts.labels" / "made_from.json").read_text()) == {
        "folder": str(tmp_path / "D"),
        "label_set": "totalsegmentator-v2-117",
        "classes": ["brain", "liver", "spleen"],
    }


def test_progress(tmp_path: Path) -> None:
    folder, seen = _dataset(tmp_path / "D", "s0000", "s0001"), []
    import_layout("totalsegmentator", folder, tmp_path / "a.csv", watch=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def test_folders_that_are_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no such folder"):
        _import(tmp_path / "D")
    (tmp_path / "D" / "notes").mkdir(parents=True)
    with pytest.raises(MissingFileError, match=r"no folder in it holds ct.nii.gz or mri.nii.gz"):
        _import(tmp_path / "D")
    _subject(tmp_path / "D" / "s0", {"liver": MASKS["brain"]})
    with pytest.raises(ManifestError, match=r"not one subject is whole, e.g. notes"):
        _import(tmp_path / "D")
    assert not (tmp_path / "ts.csv").exists()


def test_no_option_but_the_cohort(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"--modality: layout totalsegmentator has no use for it .*none but --cohort"):
        _import(_dataset(tmp_path / "D", "s0000"), modality="ct")


def test_names_become_file_names(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="subject: 's 1'"):
        _import(_dataset(tmp_path / "D", "s 1"))


@pytest.mark.parametrize(
    ("meta", "fault"),
    [
        (b"image_id,age\ns0000,63\n", "no column image_id .its columns are separated by semicolons"),
        (b"image_id;age\ns0000;63\ns0000;64\n", "line 3 names s0000 again"),
        (b"image_id;age\ns0000;old\n", "age: .*'old'"),
        (b"\xff\xfe\xfa", "not UTF-8"),
    ],
)
def test_a_bad_subject_table(tmp_path: Path, meta: bytes, fault: str) -> None:
    (_dataset(tmp_path / "D", "s0000") / "meta.csv").write_bytes(meta)
    with pytest.raises(ManifestError, match=fault):
        _import(tmp_path / "D")
    assert not (tmp_path / "ts.labels").exists()


def test_a_target_that_cannot_be_written_to_stops_the_import(tmp_path: Path) -> None:
    folder = _dataset(tmp_path / "D", "s0000")
    (tmp_path / "ts.labels").write_text("a file")
    with pytest.raises(OptionError, match="it exists and is no import's"):
        _import(folder)
    (tmp_path / "ts.labels").unlink()
    (tmp_path / "ts.labels" / "s0000.nii.gz").mkdir(parents=True)  # in the way of the label map
    made_from = {"folder": str(folder), "label_set": "totalsegmentator-v2-117", "classes": ["brain", "liver", "spleen"]}
    (tmp_path / "ts.labels" / "made_from.json").write_text(json.dumps(made_from))
    with pytest.raises(DataError, match="cannot write"):
        _import(folder)
    assert not (tmp_path / "ts.csv").exists()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), turned=st.booleans())
def test_a_label_map_taken_apart_is_merged_again(tmp_path: Path, seed: int, turned: bool) -> None:
    """Masks in any axis order: they lie on the image's grid all the same."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, SHAPE).astype(np.uint8)
    labels[0, 0, 0] = 1
    _save(tmp_path / "ct.nii.gz", rng.normal(0, 100, SHAPE).astype(np.float32))
    masks = {}
    for number in range(1, 5):
        mask = (labels == number).astype(rng.choice(["u1", "i2", "f4"]))
        masks[number] = tmp_path / f"{number}.nii"
        flip = np.array([[-1.0, 0, 0, SHAPE[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
        _save(masks[number], mask[::-1] if turned else mask, LPS @ flip if turned else LPS)
    header = read_header(tmp_path / "ct.nii.gz")
    merged, shared = merge_masks(header, masks)
    assert shared == 0 and np.array_equal(header.grid.to_file_order(merged), labels)


def test_masks_are_zeros_and_ones(tmp_path: Path) -> None:
    _save(tmp_path / "ct.nii.gz", np.zeros(SHAPE, np.int16))
    _save(tmp_path / "1.nii.gz", _block(0, 0, 0) * 2)
    with pytest.raises(LabelError, match="a mask with the value 2"):
        merge_masks(read_header(tmp_path / "ct.nii.gz"), {1: tmp_path / "1.nii.gz"})


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no {DATA}")
def test_a_real_label_map_taken_apart(tmp_path: Path) -> None:
    """117 masks of a real scan become the label map that they were taken from."""
    abdomen = DATA / "ct_abdomen"
    label = nibabel.load(abdomen / "labels_v2_117classes_fastmodel.nii.gz")
    voxels = np.asarray(label.dataobj)
    subject = tmp_path / "D" / "s0000"
    (subject / "segmentations").mkdir(parents=True)
    (subject / "ct.nii.gz").symlink_to(abdomen / "CT.nii.gz")
    names = {name: ids[0] for name, ids in load_label_set("totalsegmentator-v2-117").ids.items() if len(ids) == 1}
    for name, number in names.items():
        mask = nibabel.Nifti1Image((voxels == number).astype(np.uint8), label.affine)
        nibabel.save(mask, subject / "segmentations" / f"{name}.nii.gz")
    (row,) = _import(tmp_path / "D").rows
    assert row.label is not None
    assert np.array_equal(read_labels(row.label).voxels, read_labels(Path(label.get_filename())).voxels)
    assert list(check_manifest(tmp_path / "ts.csv")) == []
