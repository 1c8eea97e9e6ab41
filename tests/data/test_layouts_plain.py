"""Importing a plain folder: its forms, pairs of two folders, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from umd_engine.cli import main
from umd_engine.data.check import check_manifest
from umd_engine.data.layouts import ImportOptions, import_layout
from umd_engine.data.manifest import read_manifest
from umd_engine.errors import ManifestError, MissingFileError, OptionError, UmdEngineError, UnknownNameError

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def _touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def _import(folder: Path, **options: object) -> list:
    chosen = ImportOptions(**{"modality": "ct", **options})  # type: ignore[arg-type]
    return import_layout("plain", folder, folder.parent / "scans.csv", chosen).rows


def _cli(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["data", *map(str, arguments)])


def _save(path: Path, seed: int, label: bool) -> None:
    path.parent.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    voxels = rng.integers(1, 14, (6, 5, 4)).astype(np.uint8) if label else rng.integers(-1000, 900, (6, 5, 4))
    nibabel.save(nibabel.Nifti1Image(voxels.astype(np.uint8 if label else np.int16), np.diag([2, 2, 3, 1])), path)


def test_images_with_labels(tmp_path: Path) -> None:
    folder = _touch(tmp_path / "D", "images/P1.nii.gz", "images/P2.nii", "labels/P1.nii.gz", "labels/P2.nii.gz")
    rows = _import(folder, label_set="umd13", cohort="mine")
    assert [(r.cohort, r.subject, r.scan_id, r.modality, r.unit, r.label_set) for r in rows] == [
        ("mine", "P1", "P1_ct", "ct", "HU", "umd13"),
        ("mine", "P2", "P2_ct", "ct", "HU", "umd13"),
    ]
    assert rows[1].images == (folder / "images" / "P2.nii",) and rows[1].label == folder / "labels" / "P2.nii.gz"
    assert read_manifest(tmp_path / "scans.csv") == rows
    assert not (tmp_path / "scans.labels.json").exists()  # the rows name a set that exists


@pytest.mark.parametrize("below", ["images/", ""])
def test_images_alone(tmp_path: Path, below: str) -> None:
    folder = _touch(tmp_path / "D", f"{below}a.nii.gz", f"{below}b.nii.gz", f"{below}._a.nii.gz", f"{below}notes.txt")
    rows = _import(folder, modality="pet")
    assert [(r.subject, r.scan_id, r.unit, r.label, r.label_set) for r in rows] == [
        ("a", "a_pet", "SUV", None, None),
        ("b", "b_pet", "SUV", None, None),
    ]


def test_units(tmp_path: Path) -> None:
    folder = _touch(tmp_path / "D", "a.nii.gz")
    assert _import(folder, modality="pet", unit="Bq/mL")[0].unit == "Bq/mL"
    (tmp_path / "scans.csv").unlink()
    assert _import(folder, modality="mr")[0].unit == "none"
    (tmp_path / "scans.csv").unlink()
    with pytest.raises(OptionError, match=r"--unit: 'SUV' for ct .ct has HU or none"):
        _import(folder, unit="SUV")


def test_a_label_set_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _touch(tmp_path / "D", "images/a.nii.gz", "labels/a.nii.gz")
    (tmp_path / "set.json").write_text('{"liver": 1}')
    monkeypatch.chdir(tmp_path)
    assert _import(folder, label_set="set.json")[0].label_set == str(tmp_path / "set.json")
    assert (
        "set.json" in (tmp_path / "scans.csv").read_text() and str(tmp_path) not in (tmp_path / "scans.csv").read_text()
    )


@pytest.mark.parametrize(
    ("names", "options", "kind", "fault"),
    [
        ("images/a.nii.gz labels/a.nii.gz labels/b.nii.gz", {}, MissingFileError, r"labels/b.nii.gz: a label without"),
        ("images/a.nii.gz images/b.nii labels/a.nii.gz", {}, MissingFileError, "images/b.nii: an image without label"),
        ("images/a.nii.gz images/a.nii", {}, ManifestError, "two files of case a: a.nii and a.nii.gz"),
        ("images/a.nii.gz labels/a.nii.gz labels/a.nii", {}, ManifestError, "two files of case a"),
        ("a.nii.gz images/b.nii.gz", {}, ManifestError, "both in images/ and beside it"),
        ("a.nii.gz a_seg.nii.gz", {}, ManifestError, r"a_seg.nii.gz: its name says that it is a label of a.nii.gz"),
        ("a.nii.gz labels/a.nii.gz", {}, ManifestError, "labels/ but no images/"),
        ("my scan.nii.gz", {"label_set": None}, ManifestError, "subject: 'my scan' is not made of"),
        ("images/notes.txt", {}, MissingFileError, "no NIfTI file"),
        ("notes.txt", {}, MissingFileError, "neither images/ nor a NIfTI file in it .put images into"),
        ("dataset.json imagesTr/a.nii.gz", {}, MissingFileError, "try --layout nnunet or msd"),
        ("s0000/segmentations/a.nii.gz", {}, MissingFileError, "try --layout totalsegmentator"),
        ("a.nii.gz", {"modality": None}, OptionError, "--modality: the layout plain needs it"),
        ("a.nii.gz", {"modality": "xray"}, UnknownNameError, "modality 'xray'"),
        ("a.nii.gz", {"channels": {0: "ct"}}, OptionError, "--channel: layout plain has no use .*--label-set"),
        ("a.nii.gz", {"label_set": "umd13"}, OptionError, "--label-set: .* has no labels/"),
        ("images/a.nii labels/a.nii", {"label_set": None}, OptionError, "--label-set: .* holds labels"),
        ("images/a.nii labels/a.nii", {"label_set": "umd31"}, UnknownNameError, "did you mean umd13"),
        ("images/a.nii labels/a.nii", {"label_set": "none.json"}, MissingFileError, "no such file"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, names: str, options: dict[str, object], kind: type[UmdEngineError], fault: str
) -> None:
    folder = _touch(tmp_path / "D", *names.split() if "my scan" not in names else [names])
    if "label_set" not in options and "labels/" in names:
        options = {**options, "label_set": "umd13"}
    with pytest.raises(kind, match=fault):
        _import(folder, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["D"]


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no such folder"):
        _import(tmp_path / "none")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.sets(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}x", fullmatch=True), min_size=1, max_size=5),
    data=st.data(),
)
def test_what_lies_in_the_folder_is_what_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, names: set[str], data: st.DataObject
) -> None:
    home = tmp_path_factory.mktemp("plain")
    files = {name: name + data.draw(st.sampled_from([".nii", ".nii.gz"])) for name in names}
    _touch(home / "D", *(f"{part}/{file}" for part in ("images", "labels") for file in files.values()))
    _import(home / "D", label_set="umd13")
    rows = read_manifest(home / "scans.csv")
    assert {row.subject: row.images[0].name for row in rows} == files
    assert {row.subject: row.label.name for row in rows if row.label} == files


def test_two_folders_make_pairs_that_data_check_accepts(tmp_path: Path) -> None:
    for number, case in enumerate(("P1", "P2")):
        _save(tmp_path / "ct" / f"{case}.nii.gz", number, label=False)
    (tmp_path / "pet" / "images").mkdir(parents=True)
    for case in ("P1", "P2"):
        scan = nibabel.load(tmp_path / "ct" / f"{case}.nii.gz")
        voxels = np.abs(np.asarray(scan.dataobj)).astype(np.float32) / 100
        nibabel.save(nibabel.Nifti1Image(voxels, scan.affine), tmp_path / "pet" / "images" / f"{case}.nii.gz")
        _save(tmp_path / "pet" / "labels" / f"{case}.nii.gz", 7, label=True)
    ct, pet, both = (tmp_path / f"{name}.csv" for name in ("ct_scans", "pet_scans", "both"))
    run = _cli("import", tmp_path / "ct", "--layout", "plain", "--modality", "ct", "--out", ct)
    assert (run.exit_code, run.stdout) == (0, f"2 scans of 2 subjects in {ct}\n")
    options = ["--modality", "pet", "--label-set", "umd13", "--out", pet]
    assert _cli("import", tmp_path / "pet", "--layout", "plain", *options).exit_code == 0
    both.write_text(ct.read_text() + "".join(pet.read_text().splitlines(keepends=True)[1:]))
    run = _cli("check", both)
    assert (run.exit_code, run.output) == (0, "no faults\n")
    rows = read_manifest(both)
    assert sorted(row.scan_id for row in rows) == ["P1_ct", "P1_pet", "P2_ct", "P2_pet"]
    assert len({row.subject for row in rows}) == 2


def test_the_command_line_says_what_is_missing(tmp_path: Path) -> None:
    folder = _touch(tmp_path / "D", "a.nii.gz")
    run = _cli("import", folder, "--layout", "plain", "--out", tmp_path / "s.csv")
    assert run.exit_code == 1 and "--modality: the layout plain needs it" in run.output
    run = _cli("import", folder, "--layout", "plain", "--modality", "xray", "--out", tmp_path / "s.csv")
    assert run.exit_code == 2 and not (tmp_path / "s.csv").exists()


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no {DATA}")
def test_a_real_scan(tmp_path: Path) -> None:
    for part, name in (("images", "CT.nii.gz"), ("labels", "organs13.nii.gz")):
        (tmp_path / "D" / part).mkdir(parents=True)
        (tmp_path / "D" / part / "P1.nii.gz").symlink_to(DATA / "ct_abdomen" / name)
    _import(tmp_path / "D", label_set="umd13")
    assert list(check_manifest(tmp_path / "scans.csv")) == []
