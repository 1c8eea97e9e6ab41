"""Importing folders: nnU-Net raw data sets, sound ones and faulty ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from umd_engine.data.labelset import load_label_set
from umd_engine.data.layouts import LAYOUTS, ImportOptions, import_layout
from umd_engine.data.manifest import read_manifest
from umd_engine.errors import ManifestError, MissingFileError, OptionError, UmdEngineError, UnknownNameError

STS = Path(__file__).parents[2].parent / "shared" / "data" / "sts_pet_ct_mr"
LABELS = {"background": 0, "liver": 1, "lung": [2, 3]}


def _dataset(folder: Path, cases: str = "A1 B2", channels: tuple[str, ...] = ("CT", "PET"), **content: object) -> Path:
    """A data set whose files are empty: an import opens none of them."""
    ending = str(content.get("file_ending", ".nii.gz"))
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for case in cases.split():
        (folder / "labelsTr" / f"{case}{ending}").touch()
        for number in range(len(channels)):
            (folder / "imagesTr" / f"{case}_{number:04d}{ending}").touch()
    names = {str(i): name for i, name in enumerate(channels)}
    base = {"channel_names": names, "labels": LABELS, "numTraining": 2, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps({**base, **content}))
    return folder


def _import(folder: Path, **options: object) -> list:
    chosen = ImportOptions(**options)  # type: ignore[arg-type]
    return import_layout("nnunet", folder, folder.parent / "scans.csv", chosen).rows


def test_a_row_a_channel(tmp_path: Path) -> None:
    rows = _import(_dataset(tmp_path / "D"), cohort="mine", channels={1: "pet", 0: "ct"})
    assert [(r.cohort, r.subject, r.scan_id, r.modality, r.unit) for r in rows] == [
        ("mine", "A1", "A1_ct", "ct", "HU"),
        ("mine", "A1", "A1_pet", "pet", "SUV"),
        ("mine", "B2", "B2_ct", "ct", "HU"),
        ("mine", "B2", "B2_pet", "pet", "SUV"),
    ]
    images = tmp_path / "D" / "imagesTr"
    assert rows[1].images == (images / "A1_0001.nii.gz",)
    assert rows[3].label == tmp_path / "D" / "labelsTr" / "B2.nii.gz"


@pytest.mark.parametrize("name", ["scans.csv", "scans.parquet"])
def test_manifest_and_label_set_are_what_was_returned(tmp_path: Path, name: str) -> None:
    out = tmp_path / "manifests" / name
    out.parent.mkdir()
    rows = import_layout("nnunet", _dataset(tmp_path / "D", name="my data"), out).rows
    assert read_manifest(out) == rows
    label_set = load_label_set(rows[0].label_set or "")
    assert (label_set.name, label_set.ids) == ("my data", {"liver": (1,), "lung": (2, 3)})
    assert Path(rows[0].label_set or "") == out.parent / "scans.labels.json"


def test_a_data_set_can_be_moved_with_a_manifest_inside(tmp_path: Path) -> None:
    folder = _dataset(tmp_path / "D")
    import_layout("nnunet", folder, folder / "scans.csv")
    folder.rename(tmp_path / "E")
    row = read_manifest(tmp_path / "E" / "scans.csv")[0]
    assert row.label is not None and row.label.is_file() and all(path.is_file() for path in row.images)
    assert load_label_set(row.label_set or "").ids["liver"] == (1,)


def test_one_channel_of_several(tmp_path: Path) -> None:
    folder = _dataset(tmp_path / "D")
    (folder / "imagesTr" / "A1_0000.nii.gz").unlink()  # not asked for
    assert [row.scan_id for row in _import(folder, channels={1: "pet"})] == ["A1_pet", "B2_pet"]


def test_two_channels_of_one_modality_are_told_apart(tmp_path: Path) -> None:
    rows = _import(_dataset(tmp_path / "D", "A1", ("CT", "T1", "T2")), channels={0: "ct", 1: "mr", 2: "mr"})
    assert [row.scan_id for row in rows] == ["A1_ct", "A1_mr_0001", "A1_mr_0002"]


@pytest.mark.parametrize(
    ("channels", "modality", "unit"),
    [
        (("CT",), "ct", "HU"),
        (("SUV",), "pet", "SUV"),
        (("T1", "T1-Gd", "T2w", "FLAIR"), "mr", "none"),
        (("CT", "PET"), "ct", "none"),
        (("PET", "CT"), "pet", "none"),
    ],
)
def test_all_channels_as_one_scan(tmp_path: Path, channels: tuple[str, ...], modality: str, unit: str) -> None:
    (row,) = _import(_dataset(tmp_path / "D", "A1", channels))
    assert (row.scan_id, row.modality, row.unit) == ("A1", modality, unit)
    assert [path.name for path in row.images] == [f"A1_{n:04d}.nii.gz" for n in range(len(channels))]


def test_uncompressed_files_and_hidden_ones(tmp_path: Path) -> None:
    folder = _dataset(tmp_path / "D", "A1", file_ending=".nii")
    (folder / "imagesTr" / "._A1_0000.nii").touch()
    (folder / "labelsTr" / "._A1.nii").touch()
    assert [row.label and row.label.name for row in _import(folder)] == ["A1.nii"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ({"channel_names": {"0": "noNorm", "1": "CT"}}, "channel 0 is called 'noNorm'.*--channel 0"),
        ({"channel_names": {}}, "channel_names"),
        ({"channel_names": ["CT"]}, "channel_names"),
        ({"channel_names": {"one": "CT"}}, "channel_names"),
        ({"channel_names": {"0": "CT", "2": "PET"}}, "channel_names"),
        ({"labels": {**LABELS, "ignore": 4}}, "ignore"),
        ({"labels": {"0": "background", "1": "liver"}}, "'0' has"),
        ({"labels": {"background": 0}}, "no organ"),
        ({"labels": None}, "labels"),
        ({"file_ending": ".png"}, ".png"),
        ({"dataset": {}}, "one by one"),
    ],
)
def test_dataset_json_that_cannot_be_imported(tmp_path: Path, content: dict[str, object], fault: str) -> None:
    with pytest.raises(ManifestError, match=fault) as error:
        _import(_dataset(tmp_path / "D", **content))
    assert error.value.where == tmp_path / "D" / "dataset.json"
    assert not (tmp_path / "scans.csv").exists()


def test_older_data_sets_and_other_files(tmp_path: Path) -> None:
    folder = _dataset(tmp_path / "D")
    for content, fault in (('{"modality": {"0": "CT"}}', "channel_names"), ("[]", "JSON object"), ("{", "JSON")):
        (folder / "dataset.json").write_text(content)
        with pytest.raises(ManifestError, match=fault):
            _import(folder)


@pytest.mark.parametrize(
    ("gone", "fault"),
    [
        ("dataset.json", "no such file: its folder is no nnU-Net raw data set"),
        ("imagesTr/A1_0000.nii.gz", r"case A1 has no channel 0 \(CT\)"),
        ("labelsTr/B2.nii.gz", "case B2 has no label"),
    ],
)
def test_missing_files(tmp_path: Path, gone: str, fault: str) -> None:
    folder = _dataset(tmp_path / "D")
    (folder / gone).unlink()
    with pytest.raises(MissingFileError, match=fault) as error:
        _import(folder)
    assert error.value.where == folder / gone


def test_missing_folders_and_files_that_do_not_belong(tmp_path: Path) -> None:
    folder = _dataset(tmp_path / "D")
    (folder / "labelsTr" / "C3.nii.gz").touch()
    with pytest.raises(MissingFileError, match="a label without images"):
        _import(folder)
    (folder / "imagesTr" / "C3.nii.gz").touch()
    with pytest.raises(ManifestError, match="CASE_0000"):
        _import(folder)
    for path in (folder / "imagesTr").iterdir():
        path.unlink()
    with pytest.raises(MissingFileError, match="no file CASE_0000"):
        _import(folder)
    (folder / "imagesTr").rmdir()
    with pytest.raises(MissingFileError, match="no such folder"):
        _import(folder)


@pytest.mark.parametrize(
    ("options", "kind", "fault"),
    [
        ({"channels": {2: "mr"}}, OptionError, r"no channel 2.*0 \(CT\), 1 \(PET\)"),
        ({"channels": {}}, OptionError, "no channel is named"),
        ({"channels": {0: "xray"}}, UnknownNameError, "modality 'xray'"),
        ({"modality": "ct"}, OptionError, "--modality: layout nnunet has no use for it .its options: --channel"),
        ({"label_set": "umd13"}, OptionError, "--label-set: layout nnunet has no use"),
        ({"cohort": "a/b"}, ManifestError, "cohort: 'a/b'"),
    ],
)
def test_options(tmp_path: Path, options: dict[str, object], kind: type[UmdEngineError], fault: str) -> None:
    with pytest.raises(kind, match=fault):
        _import(_dataset(tmp_path / "D"), **options)


def test_case_names_become_file_names(tmp_path: Path) -> None:
    folder = _dataset(tmp_path / "D")
    (folder / "imagesTr" / "A 1_0000.nii.gz").touch()
    (folder / "imagesTr" / "A 1_0001.nii.gz").touch()
    (folder / "labelsTr" / "A 1.nii.gz").touch()
    with pytest.raises(ManifestError, match="subject: 'A 1'"):
        _import(folder)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    folder = _dataset(tmp_path / "D")
    _import(folder)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("scans*")}
    with pytest.raises(OptionError, match=r"scans\.csv: it exists .name another file or remove it"):
        _import(folder)
    other = _dataset(tmp_path / "E", labels={"background": 0, "brain": 1})
    with pytest.raises(OptionError, match=r"scans\.labels\.json: it exists with other labels"):
        import_layout("nnunet", other, tmp_path / "scans.parquet")
    assert {path.name: path.read_bytes() for path in tmp_path.glob("scans*")} == before
    (tmp_path / "scans.csv").unlink()
    assert len(_import(folder)) == 2


def test_unknown_layouts(tmp_path: Path) -> None:
    assert {"plain", "nnunet", "msd", "totalsegmentator", "amos22", "dicom"} <= LAYOUTS.keys()
    with pytest.raises(UnknownNameError, match="did you mean nnunet"):
        import_layout("nn-unet", tmp_path, tmp_path / "scans.csv")


@pytest.mark.skipif(not STS.is_dir(), reason=f"no {STS}")
def test_the_real_data_set(tmp_path: Path) -> None:
    options = ImportOptions(channels={0: "ct", 1: "pet", 2: "mr"})
    rows = import_layout("nnunet", STS, tmp_path / "scans.csv", options).rows
    assert read_manifest(tmp_path / "scans.csv") == rows
    assert len(rows) == 24 and len({row.subject for row in rows}) == 8
    assert all(path.is_file() for row in rows for path in (*row.images, row.label) if path)
    assert load_label_set(rows[0].label_set or "").ids == {"sarcoma": (1,)}
