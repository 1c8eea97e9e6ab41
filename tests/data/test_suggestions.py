"""`data check --fix-suggestions`: each mend is concrete, and a line with the suggested cells has no fault."""

from __future__ import annotations

import csv
import gzip
import io
import json
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
from umd_engine.data.suggestions import Advice, advise, corrected
from umd_engine.errors import MissingFileError

HEADER = "cohort,subject,scan_id,modality,image,unit,label,label_set"
SHAPE = (9, 8, 7)
_texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
AFFINE = np.array([[-1.5, 0, 0, 40], [0, -1.5, 0, 30], [0, 0, 3, -500], [0, 0, 0, 1]])


def _ct() -> np.ndarray:
    voxels = np.random.default_rng(0).integers(-100, 900, SHAPE).astype(np.int16)
    voxels[:4] = -1000
    voxels[5, 5, 5] = 1500
    return voxels


def _pet(high: float) -> np.ndarray:
    voxels = np.random.default_rng(1).uniform(0, 1, SHAPE).astype(np.float32)
    return voxels / voxels.max() * np.float32(high)


def _label(*ids: int) -> np.ndarray:
    voxels = np.zeros(SHAPE, np.uint8)
    for n, number in enumerate(ids):
        voxels[2 + n % 6, 2 + n // 36, 1 + n // 6 % 6] = number
    return voxels


def _save(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    _save(tmp_path / "ct.nii.gz", _ct())
    _save(tmp_path / "suv.nii.gz", _pet(12))
    _save(tmp_path / "bq.nii.gz", _pet(40000))
    _save(tmp_path / "label.nii.gz", _label(1, 2))
    return tmp_path


def _manifest(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "scans.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def _advise(path: Path, deep: bool = True) -> list[Advice | None]:
    return [advice for _, advice in advise(path, check_manifest(path, deep), deep)]


def _one(path: Path) -> Advice:
    (advice,) = _advise(path)
    assert advice is not None
    return advice


def _apply(path: Path) -> list[str]:
    """The faults that are left when every suggested line takes the place of its own."""
    advised = list(advise(path, check_manifest(path)))
    lines = path.read_text().splitlines()
    first, *changed = corrected(path, advised).splitlines()
    mended = sorted({fault.line for fault, advice in advised if advice and advice.cells})
    for line, text in zip(mended, changed, strict=True):
        lines[line - 1] = text
    lines[0] = first
    path.with_name("mended.csv").write_text("\n".join(lines) + "\n")
    return [str(fault) for fault in check_manifest(path.with_name("mended.csv"))]


def _cli(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["data", "check", *map(str, arguments)])


ROW = "petct,P1,P1_ct,ct,ct.nii.gz,HU,label.nii.gz,umd13"

# A row, what is said of it, and the cells that mend it.
CELLS = [
    ("petct,P1,a,pet,bq.nii.gz,SUV,,", "values (0.* to 40000) are those of Bq/mL: set unit to Bq/mL in line 2"),
    ("petct,P1,a,pet,suv.nii.gz,Bq/mL,,", "are those of SUV: set unit to SUV in line 2"),
    ("petct,P1,a,pet,ct.nii.gz,SUV,,", "are those of a CT: set modality to ct and unit to HU"),
    ("petct,P1,a,CT,ct.nii.gz,HU,,", "set modality to ct in line 2"),
    ("petct,P1,a,PT,suv.nii.gz,suv,,", "set modality to pet in line 2; set unit to SUV in line 2"),
    ("petct,P1,a,pet,bq.nii.gz,BQML,,", "set unit to Bq/mL in line 2"),
    ("petct,P1,a,ct,ct.nii.gz,,,", "set unit to HU in line 2"),
    ("petct,P1,a,ct,ct.nii.gz,SUV,,", "set unit to HU in line 2"),
    ("petct,P1,a,ct,suv.nii.gz,SUV,,", "set modality to pet in line 2; set unit to SUV in line 2"),
    ("petct,P1,a,mr,ct.nii.gz,HU,,", "set modality to ct in line 2; set unit to HU in line 2"),
    ("petct,P1,a,mr,suv.nii.gz,SUV,,", "set unit to none in line 2"),
    ("petct,P 1/x,a b,ct,ct.nii.gz,HU,,", "set subject to P_1_x in line 2; set scan_id to a_b in line 2"),
    ("petct,P1,a,ct,ct.nii.gz;,HU,,", "set image to ct.nii.gz in line 2"),
    ("petct,P1,a,ct,ct.nii.gz,HU,label.nii.gz,", "set label_set to umd13 in line 2"),
    ("petct,P1,a,ct,ct.nii.gz,HU,label.nii.gz,UMD-13", "set label_set to umd13 in line 2"),
    ("petct,P1,a,ct,ct.nii.gz,HU,label.nii.gz,totalsegmentator-v2", "set label_set to totalsegmentator-v2-117"),
    ("petct,P1,a,ct,ct.nii,HU,,", "there is ct.nii.gz: set image to ct.nii.gz in line 2 if it is meant"),
    ("petct,P1,a,ct,CT.nii.gz,HU,,", "there is ct.nii.gz"),
    ("petct,P1,a,ct,ct.nii.gz;CT.nii,HU,,", "set image to ct.nii.gz;ct.nii.gz in line 2"),
    ("petct,P1,a,ct,ct.nii.gz,HU,lable.nii.gz,umd13", "there is label.nii.gz: set label to label.nii.gz"),
    ("petct,P1,a,ct,ct.nii.gz,HU", "end line 2 with 2 more commas"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "text"), CELLS)
def test_a_change_of_cells_mends_the_line(folder: Path, row: str, text: str) -> None:
    path = _manifest(folder, row)
    before = {file: file.read_bytes() for file in folder.iterdir()}
    advice = _one(path)
    pieces = text.split("0.* to")
    assert all(piece in advice.text for piece in pieces), advice.text
    assert {file: file.read_bytes() for file in folder.iterdir()} == before
    assert advice.cells and _apply(path) == []


OPTIONAL = [
    ("age", "045Y", {"age": "45"}), ("age", "63 years", {"age": "63"}), ("age", "n/a", {"age": ""}),
    ("age", '"63,5"', {"age": "63.5"}),
    ("synthetic", "True", {"synthetic": "yes"}), ("synthetic", "no", {"synthetic": ""}),
]  # fmt: skip


@pytest.mark.parametrize(("column", "text", "cells"), OPTIONAL)
def test_optional_columns(folder: Path, column: str, text: str, cells: dict[str, str]) -> None:
    path = _manifest(folder, f"{ROW},{text}", header=f"{HEADER},{column}")
    assert dict(_one(path).cells) == cells and _apply(path) == []


NOTHING = [
    "petct,P1,a,xray,ct.nii.gz,HU,,", "petct,P1,a,ct,,HU,,", "petct,P1,a,ct,nowhere/else.nii.gz,HU,,",
    "petct,P1,a,ct,zzz.nii.gz,HU,,", "petct,,a,ct,ct.nii.gz,HU,,",
]  # fmt: skip


@pytest.mark.parametrize("row", NOTHING)
def test_nothing_is_said_where_nothing_is_known(folder: Path, row: str) -> None:
    assert _advise(_manifest(folder, row)) == [None]


def test_a_name_of_another_patient_is_not_suggested(folder: Path) -> None:
    for name in ("P004_ct", "P05_ct"):
        _save(folder / f"{name}.nii.gz", _ct())
    rows = ["petct,P3,a,ct,P003_ct.nii.gz,HU,,", "petct,P5,b,ct,P005-ct.nii.gz,HU,,"]
    first, second = _advise(_manifest(folder, *rows))
    assert first is None and second is not None and second.cells == {"image": "P05_ct.nii.gz"}
    (taken,) = _advise(_manifest(folder, "petct,P5,a,ct,P05_ct.nii.gz,HU,,", rows[1]))
    assert taken is None  # line 2 has that file


def test_two_subjects_do_not_become_one(folder: Path) -> None:
    rows = ["petct,P 1,a,ct,ct.nii.gz,HU,,", "petct,P/1,a,ct,ct.nii.gz,HU,,", "petct,P_2,a,ct,ct.nii.gz,HU,,"]
    assert _advise(_manifest(folder, *rows)) == [None, None]
    assert _advise(_manifest(folder, rows[2], "petct,P 2,a,ct,ct.nii.gz,HU,,")) == [None]


def test_folders_and_places(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _save(folder / "Images" / "ct.nii.gz", _ct())
    assert _one(_manifest(folder, "petct,P1,a,ct,image/ct.nii.gz,HU,,")).cells == {"image": "Images/ct.nii.gz"}
    assert _one(_manifest(folder, "petct,P1,a,ct,Images,HU,,")).text == "Images is a folder: name a file in it"
    inner = folder / "manifests"
    inner.mkdir()
    monkeypatch.chdir(folder)
    path = _manifest(inner, "petct,P1,a,ct,Images/ct.nii.gz,HU,,")
    assert _one(path).cells == {"image": str(folder / "Images" / "ct.nii.gz")} and _apply(path) == []
    (folder / "set.json").write_text('{"liver": [1, 2]}')
    path = _manifest(folder, "petct,P1,a,ct,ct.nii.gz,HU,label.nii.gz,sets.json")
    assert _one(path).cells == {"label_set": "set.json"} and _apply(path) == []
    path = _manifest(folder, "petct,P1,a,ct,ct.nii.gz,HU,label.nii.gz,set")
    assert _one(path).cells == {"label_set": "set.json"}


@pytest.mark.parametrize(
    ("header", "texts"),
    [
        (HEADER.replace(",", ";"), ["separate the cells by commas instead of semicolons"] * 2),
        (HEADER.replace(",", "\t"), ["separate the cells by commas instead of tabulators"] * 2),
        (HEADER.replace("scan_id", "scanid"), ["rename column 'scanid' to scan_id"] * 2),
        (HEADER.replace("subject", "Patient_ID").replace("image,", "path,"),
         ["rename column 'Patient_ID' to subject; rename column 'path' to image"] * 2),
        (HEADER + ",gender,comment", ["rename column 'gender' to sex; remove column 'comment'"]),
        (HEADER.replace(",unit", ""), [None]),
        (HEADER + ",label", [None]),
    ],
)  # fmt: skip
def test_columns(folder: Path, header: str, texts: list[str | None]) -> None:
    advised = _advise(_manifest(folder, ROW, header=header))
    assert [advice and advice.text for advice in advised] == texts


def test_lines_that_repeat_another(folder: Path) -> None:
    _save(folder / "b.nii.gz", _ct())
    other = ROW.replace("ct.nii.gz", "b.nii.gz")
    pet = "petct,P1,P1_ct,pet,suv.nii.gz,SUV,,"
    path = _manifest(folder, ROW, ROW, other, pet)
    first, second, third = _advise(path)
    assert first is not None and first.text == "remove line 3: line 2 has the same image"
    assert second is not None and second.text == "set scan_id to P1_ct_ct in line 4"
    assert third is not None and third.text == "set scan_id to P1_ct_pet in line 5"
    path = _manifest(folder, ROW, other, pet)
    assert _apply(path) == []


def test_too_many_cells(folder: Path) -> None:
    advice = _one(_manifest(folder, "petct,P1,a,ct,a,b.nii.gz,HU,,"))
    assert (
        advice.text.startswith("line 2 has 9 cells for 8 columns: put a cell that holds a comma") and not advice.cells
    )
    assert _advise(_manifest(folder, "petct,P1,a,ct,a.nii.gz")) == [None]


def test_ids_of_another_label_set(folder: Path) -> None:
    def one(ids: tuple[int, ...], label_set: str = "umd13") -> Advice:
        _save(folder / "label.nii.gz", _label(*ids))
        return _one(_manifest(folder, ROW.replace("umd13", label_set)))

    advice = one((1, 50, 117))
    assert advice.cells == {"label_set": "totalsegmentator-v2-117"}
    assert advice.text.startswith("its ids (1 to 117) are those of totalsegmentator-v2-117: set label_set")
    assert _apply(folder / "scans.csv") == []
    advice = one((1, 99))
    assert (
        "are all in totalsegmentator-v1-104, totalsegmentator-v2-117: set label_set in line 2 to the one" in advice.text
    )
    assert not advice.cells
    assert one((255,)).text.startswith('it is a mask of one organ: write {"labels": {"ORGAN": 255}}')
    (folder / "set.json").write_text('{"liver": 1}')
    assert f'add "NAME": 200 with the organ\'s name to {folder / "set.json"}' in one((1, 200), "set.json").text


def test_label_sets_of_other_rows_come_first(folder: Path) -> None:
    (folder / "mine.json").write_text('{"liver": 1, "tumour": 200}')
    _save(folder / "b.nii.gz", _label(1, 200))
    rows = ["petct,P1,a,ct,ct.nii.gz,HU,label.nii.gz,umd13", "petct,P2,a,ct,ct.nii.gz,HU,b.nii.gz,mine.json"]
    bad = "petct,P3,a,ct,ct.nii.gz,HU,b.nii.gz,umd13", "petct,P4,a,ct,ct.nii.gz,HU,b.nii.gz,"
    path = _manifest(folder, *rows, *bad)
    assert [advice and advice.cells for advice in _advise(path)] == [{"label_set": "mine.json"}] * 2
    assert _apply(path) == []


def test_an_empty_label(folder: Path) -> None:
    _save(folder / "label.nii.gz", _label())
    path = _manifest(folder, ROW)
    assert _one(path).cells == {"label": "", "label_set": ""} and _apply(path) == []


VOXELS = [
    (_ct() + np.int16(1024), "look like HU + 1024: write it again with voxels - 1024"),
    ((_ct() + np.float32(1000)) / np.float32(2500), "(0 to 1) were normalised: name the scan before that step"),
    (np.where(_ct() == -1000, -8000, _ct()).astype(np.int16), "values of -8000 mark what lies outside"),
    (np.where(_ct() == -1000, np.nan, _ct()).astype(np.float32), "numpy.nan_to_num(voxels, nan=-1000"),
    (np.stack([_ct(), _ct()], axis=-1), "(nibabel.four_to_three) and name them in image as channels: bad_0.nii.gz;"),
]  # fmt: skip


@pytest.mark.parametrize(("voxels", "text"), VOXELS)
def test_a_ct_whose_values_are_no_hu(folder: Path, voxels: np.ndarray, text: str) -> None:
    _save(folder / "bad.nii.gz", voxels)
    advice = _one(_manifest(folder, "petct,P1,a,ct,bad.nii.gz,HU,,"))
    assert text in advice.text and not advice.cells


def test_values_that_tell_nothing(folder: Path) -> None:
    _save(folder / "bad.nii.gz", np.full(SHAPE, 5, np.int16))
    _save(folder / "mr.nii.gz", _pet(300))
    rows = ["petct,P1,a,ct,bad.nii.gz,HU,,", "petct,P1,b,ct,mr.nii.gz,HU,,"]
    assert _advise(_manifest(folder, *rows)) == [None, None]


CORRUPT = [
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    (b"<!DOCTYPE html><html></html>", "it is a web page"),
    (b"NRRD0004\n", "NRRD"),
    (bytes(128) + b"DICM" + bytes(300), "dcm2niix"),
    (gzip.compress(bytes(128) + b"DICM" + bytes(300), mtime=0), "dcm2niix"),
    (b"PK\x03\x04" + bytes(400), "zip archive"),
]


@pytest.mark.parametrize(("content", "text"), CORRUPT)
def test_files_that_are_no_nifti(folder: Path, content: bytes, text: str) -> None:
    (folder / "bad.nii.gz").write_bytes(content)
    assert text in _one(_manifest(folder, "petct,P1,a,ct,bad.nii.gz,HU,,")).text
    (folder / "bad.nii.gz").write_bytes(b"patient,age\n" * 100)
    assert _advise(_manifest(folder, "petct,P1,a,ct,bad.nii.gz,HU,,")) == [None]


def _shift(millimetres: float) -> np.ndarray:
    moved = AFFINE.copy()
    moved[2, 3] += millimetres
    return moved


GRIDS = [
    (_label(1), _shift(0.4), "less than half a voxel apart: its header was rounded"),
    (_label(1), np.eye(4), "its affine was lost when it was saved"),
    (_label(1), np.diag([1.5, 1.5, 3, 1]), "its affine was lost when it was saved"),
    (_label(1), np.diag([-1.0, -1, 1, 1]) @ AFFINE, "is the image's in LPS+"),
    (_label(1), AFFINE @ np.diag([1.0, 1, -1, 1]), "an axis runs the other way"),
    (_label(1).transpose(2, 1, 0), np.eye(4), "array.transpose(2, 1, 0)"),
    (_label(1)[:-2], AFFINE, "resample it with nibabel.processing.resample_from_to(label, image, order=0)"),
    (_label(1)[:-2], _shift(9000), "does not overlap with the image in space"),
]  # fmt: skip


@pytest.mark.parametrize(("voxels", "affine", "text"), GRIDS)
def test_a_label_on_another_grid(folder: Path, voxels: np.ndarray, affine: np.ndarray, text: str) -> None:
    _save(folder / "label.nii.gz", voxels, affine)
    assert text in _one(_manifest(folder, ROW)).text


def test_a_label_on_the_grid_of_the_subjects_other_scan(folder: Path) -> None:
    coarse = np.diag([4.0, 4, 4, 1])
    _save(folder / "coarse.nii.gz", _pet(9)[:5, :5, :5], coarse)
    _save(folder / "label.nii.gz", _label(1)[:5, :5, :5] + np.uint8(1), coarse)
    path = _manifest(folder, ROW, "petct,P1,P1_pet,pet,coarse.nii.gz,SUV,label.nii.gz,umd13")
    assert _one(path).text.startswith("it lies on the grid of P1_pet (line 3): resample it with nibabel")


def test_a_channel_on_another_grid(folder: Path) -> None:
    _save(folder / "b.nii.gz", _ct()[1:], AFFINE)
    assert "resample_from_to(channel, image, order=1)" in _one(
        _manifest(folder, "petct,P1,a,ct,ct.nii.gz;b.nii.gz,HU,,")
    ).text  # fmt: skip


def _zero(header: nibabel.Nifti1Header) -> None:
    header["pixdim"][3] = 0


def _negative(header: nibabel.Nifti1Header) -> None:
    header["pixdim"][2], header["sform_code"] = -1.5, 0


def _no_sform(header: nibabel.Nifti1Header) -> None:
    header["srow_y"] = header["srow_x"]


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (_zero, "its sform says 1.5 x 1.5 x 3 mm: set pixdim[1:4] to that"),
        (_negative, "set pixdim[1:4] to 1.5 x 1.5 x 3 mm"),
        (_no_sform, "its qform places the voxels: set sform_code to 0"),
    ],
)
def test_headers_that_place_no_volume(folder: Path, edit: Callable[[nibabel.Nifti1Header], None], text: str) -> None:
    image = nibabel.Nifti1Image(_ct(), AFFINE)
    image.set_qform(AFFINE, 1)
    content = bytearray(image.to_bytes())
    header = nibabel.Nifti1Header(bytes(content[:348]), check=False)
    edit(header)
    content[:348] = header.binaryblock
    (folder / "bad.nii").write_bytes(content)
    assert _one(_manifest(folder, "petct,P1,a,ct,bad.nii,HU,,")).text == text


def test_the_command_line(folder: Path) -> None:
    path = _manifest(folder, "petct,P1,a,pet,bq.nii.gz,SUV,,", "petct,P1,b,ct,zzz.nii.gz,HU,,", ROW)
    before = {file: file.read_bytes() for file in folder.iterdir()}
    plain, run = _cli(path), _cli(path, "--fix-suggestions")
    assert plain.exit_code == run.exit_code == 1 and "suggestion" not in plain.output
    assert [line for line in run.output.splitlines() if line.startswith("  suggestion: ")] == [
        "  suggestion: its values (" + run.output.split("its values (")[1].splitlines()[0]
    ]
    assert run.output.endswith(
        f"these lines with the suggested cells ({path} was not changed):\n"
        f"{HEADER}\npetct,P1,a,pet,bq.nii.gz,Bq/mL,,\n2 faults\n"
    )
    assert {file: file.read_bytes() for file in folder.iterdir()} == before
    faults = json.loads(_cli(path, "--fix-suggestions", "--json").output)
    assert [fault["cells"] for fault in faults] == [{"unit": "Bq/mL"}, {}]
    assert faults[0]["suggestion"].endswith("set unit to Bq/mL in line 2") and faults[1]["suggestion"] is None
    assert [set(fault) for fault in json.loads(_cli(path, "--json").output)] == [
        {"line", "scan_id", "status", "message"}
    ] * 2


def test_a_manifest_without_faults(folder: Path) -> None:
    run = _cli(_manifest(folder, ROW), "--fix-suggestions")
    assert (run.exit_code, run.output) == (0, "no faults\n")
    assert json.loads(_cli(folder / "scans.csv", "--fix-suggestions", "--json").output) == []
    assert _cli(folder / "none.csv", "--fix-suggestions").exit_code == 1
    with pytest.raises(MissingFileError):
        list(advise(folder / "none.csv", []))


def test_quick_reads_no_voxels(folder: Path) -> None:
    content = (folder / "label.nii.gz").read_bytes()
    (folder / "label.nii.gz").write_bytes(content[:-20])  # its header is whole
    path = _manifest(folder, "petct,P1,a,ct,ct.nii.gz,HU,label.nii.gz,", "petct,P1,b,CT,ct.nii.gz,HU,,")
    first, second = _advise(path, deep=False)
    assert first is None and second is not None and second.cells == {"modality": "ct"}


def test_parquet(folder: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    record = dict(zip(HEADER.split(","), ["petct", "P1", "a", "CT", "ct.nii.gz", "HU", "", ""], strict=True))
    path = folder / "scans.parquet"
    pyarrow.parquet.write_table(pyarrow.table({key: [value] for key, value in record.items()}), path)
    run = _cli(path, "--fix-suggestions")
    assert "set modality to ct in line 1" in run.output and "petct,P1,a,ct,ct.nii.gz,HU,," in run.output


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=st.lists(_texts, min_size=8, max_size=9))
def test_any_line_has_its_fault_and_no_crash(tmp_path: Path, cells: list[str]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([HEADER.split(","), cells])
    (tmp_path / "scans.csv").write_text(text.getvalue(), encoding="utf-8", newline="")
    faults = list(check_manifest(tmp_path / "scans.csv"))
    advised = list(advise(tmp_path / "scans.csv", faults))
    assert [fault for fault, _ in advised] == faults and faults
    corrected(tmp_path / "scans.csv", advised)
