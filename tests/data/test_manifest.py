"""Manifests: round trips, and every faulty row named with its line."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from umd_engine.data.manifest import ScanRow, parse_manifest, read_manifest, write_manifest
from umd_engine.errors import ManifestError, MissingFileError

HEADER = "cohort,subject,scan_id,modality,image,unit,label,label_set"
GOOD = "petct,P1,P1_ct,ct,ct.nii.gz,HU,label.nii.gz,umd13"

_ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
_texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1).filter(
    lambda text: text == text.strip()
)
_names = st.from_regex(r"[A-Za-z0-9 ,'\"é_-]{0,20}[a-z]\.nii\.gz", fullmatch=True).map(str.strip)
_kinds = st.sampled_from([("ct", "HU"), ("ct", "none"), ("pet", "SUV"), ("pet", "Bq/mL"), ("mr", "none")])


@st.composite
def _rows(draw: st.DrawFn, folder: Path) -> ScanRow:
    modality, unit = draw(_kinds)
    below = st.sampled_from([folder, folder / "images", folder.parent / "elsewhere"])
    label = draw(st.none() | st.builds(lambda f, n: f / n, below, _names))
    set_ = st.sampled_from(["umd13", "totalsegmentator-v2-117", str(folder / "sets" / "mine.json")])
    return ScanRow(
        cohort=draw(_ids),
        subject=draw(_ids),
        scan_id=draw(_ids),
        modality=modality,  # type: ignore[arg-type]
        images=tuple(draw(st.lists(st.builds(lambda f, n: f / n, below, _names), min_size=1, max_size=3))),
        unit=unit,  # type: ignore[arg-type]
        label=label,
        label_set=draw(set_) if label else None,
        sex=draw(st.none() | st.sampled_from(["F", "M"])),
        age=draw(st.none() | st.floats(0, 150)),
        scanner=draw(st.none() | _texts),
        site=draw(st.none() | _texts),
        synthetic=draw(st.booleans()),
    )


def _write(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "scans.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_round_trip(tmp_path: Path, ending: str, data: st.DataObject) -> None:
    rows = data.draw(st.lists(_rows(tmp_path), min_size=1, max_size=4, unique_by=lambda row: row.key))
    path = tmp_path / f"scans.{ending}"
    write_manifest(path, rows)
    assert read_manifest(path) == rows
    assert len({*rows, *read_manifest(path)}) == len(rows)  # rows are hashable, equal ones alike


def test_synthetic_is_yes_or_empty(tmp_path: Path) -> None:
    header = f"{HEADER},synthetic"
    first, second = read_manifest(_write(tmp_path, f"{GOOD},yes", f"{GOOD.replace('P1', 'P2')}, ", header=header))
    assert (first.synthetic, second.synthetic) == (True, False)
    write_manifest(tmp_path / "again.csv", [first, second])
    lines = (tmp_path / "again.csv").read_text().splitlines()
    assert [line.rsplit(",", 1)[1] for line in lines] == ["synthetic", "yes", ""]
    write_manifest(tmp_path / "again.csv", [second])
    assert "synthetic" not in (tmp_path / "again.csv").read_text()
    for word in ("no", "Yes", "true", "1", "0", "phantom"):
        _, faults = parse_manifest(_write(tmp_path, f"{GOOD},{word}", header=header))
        assert [(f.line, f.message) for f in faults] == [(2, f"synthetic: it is yes or empty, not '{word}'")]


def test_a_folder_can_be_moved_with_its_manifest(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    row = ScanRow(
        cohort="c", subject="s", scan_id="i", modality="ct", unit="HU", images=(tmp_path / "a" / "x" / "ct.nii",)
    )
    write_manifest(tmp_path / "a" / "scans.csv", [row])
    (tmp_path / "a").rename(tmp_path / "b")
    (moved,) = read_manifest(tmp_path / "b" / "scans.csv")
    assert moved.images == (tmp_path / "b" / "x" / "ct.nii",)


def test_paths_start_at_the_manifests_folder_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, "petct,P1,P1_ct,ct,a/ct.nii.gz; b.nii.gz,HU,/abs/label.nii.gz,sets/mine.json")
    monkeypatch.chdir(tmp_path)
    (row,) = read_manifest("scans.csv")
    assert row.images == (tmp_path / "a/ct.nii.gz", tmp_path / "b.nii.gz")
    assert row.label == Path("/abs/label.nii.gz")
    assert row.label_set == str(tmp_path / "sets/mine.json")
    assert all(path.is_absolute() for path in row.images)


def test_missing_images_are_no_fault_of_the_table(tmp_path: Path) -> None:
    (row,) = read_manifest(_write(tmp_path, GOOD))
    assert not row.images[0].exists()


def test_what_spreadsheets_write(tmp_path: Path) -> None:
    path = tmp_path / "scans.csv"
    text = f"{HEADER}\r\n petct ,P1,P1_ct,ct,ct.nii.gz,HU,,\r\n\r\n"
    path.write_bytes(text.encode("utf-8-sig"))
    (row,) = read_manifest(path)
    assert (row.cohort, row.label, row.label_set) == ("petct", None, None)


def test_label_columns_may_be_absent_and_order_is_free(tmp_path: Path) -> None:
    path = _write(tmp_path, "HU,x.nii,ct,i,s,c,63.5", header="unit,image,modality,scan_id,subject,cohort,age")
    (row,) = read_manifest(path)
    assert (row.key, row.age, row.label) == (("c", "s", "i"), 63.5, None)


def test_parquet_of_other_programs(tmp_path: Path) -> None:
    path = tmp_path / "scans.parquet"
    columns = {
        "cohort": ["c", "c"], "subject": [1, 2], "scan_id": ["a", "b"], "modality": ["mr", "mr"],
        "image": [["t1.nii", "t2.nii"], ["t1.nii"]], "unit": ["none", "none"], "age": [61.0, float("nan")],
        "label": [None, ""],
    }  # fmt: skip
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    first, second = read_manifest(path)
    assert first.images == (tmp_path / "t1.nii", tmp_path / "t2.nii")
    assert (first.subject, first.age, second.age, second.label) == ("1", 61, None, None)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("petct,P1,P1_ct,xr,ct.nii.gz,HU,,", "modality"),
        ("petct,P1,P1_ct,ct,ct.nii.gz,hu,,", "unit"),
        ("petct,P1,P1_ct,ct,ct.nii.gz,SUV,,", "unit 'SUV' for ct"),
        ("petct,P1,P1_ct,mr,ct.nii.gz,HU,,", "unit 'HU' for mr"),
        ("petct,P1,P1_ct,ct,ct.nii.gz,,,", "unit: empty"),
        ("petct,,P1_ct,ct,ct.nii.gz,HU,,", "subject: empty"),
        ("petct,../P1,P1_ct,ct,ct.nii.gz,HU,,", "subject: '../P1'"),
        ("petct,P1,.P1_ct,ct,ct.nii.gz,HU,,", "scan_id: '.P1_ct'"),
        ("pet ct,P1,P1_ct,ct,ct.nii.gz,HU,,", "cohort: 'pet ct'"),
        (f"petct,P1,{'x' * 121},ct,ct.nii.gz,HU,,", "scan_id"),
        ("petct,P1,P1_ct,ct,,HU,,", "image"),
        ("petct,P1,P1_ct,ct,a.nii;;b.nii,HU,,", "between semicolons"),
        ("petct,P1,P1_ct,ct,ct.nii.gz,HU,label.nii.gz,", "without a label_set"),
        ("petct,P1,P1_ct,ct,ct.nii.gz,HU,label.nii.gz,umd31", "did you mean umd13"),
        ("petct,P1,P1_ct,ct,ct.nii.gz,HU", "more or fewer fields"),
        ("petct,P1,P1_ct,ct,ct.nii.gz,HU,,,", "more or fewer fields"),
        (GOOD.replace("P1_ct", "P0_ct").replace("P1", "P0"), "the same cohort, subject and scan_id as line 2"),
    ],
)
def test_a_bad_row_is_named_with_its_line(tmp_path: Path, line: str, fault: str) -> None:
    first, last = GOOD.replace("P1", "P0"), GOOD.replace("P1", "P9")
    path = _write(tmp_path, first, line, last)
    with pytest.raises(ManifestError) as error:
        read_manifest(path)
    assert error.value.where == path
    assert "line 3" in str(error.value) and fault in str(error.value)
    rows, faults = parse_manifest(path)
    assert [(n, row.subject) for n, row in rows] == [(2, "P0"), (4, "P9")]
    assert [(f.line, f.status) for f in faults] == [(3, "bad-manifest")]


@pytest.mark.parametrize("age", ["-1", "151", "nan", "old"])
def test_ages(tmp_path: Path, age: str) -> None:
    with pytest.raises(ManifestError, match=r"line 2.*age"):
        read_manifest(_write(tmp_path, f"{GOOD},{age}", header=f"{HEADER},age"))


def test_one_error_names_every_bad_row(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as error:
        read_manifest(_write(tmp_path, GOOD, GOOD, GOOD.replace("HU", "SUV"), "x"))
    assert [f"line {n}" in str(error.value) for n in (2, 3, 4, 5)] == [True, True, True, True]  # 2: the first of two
    assert "3 faults" in str(error.value)


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        (HEADER.replace("unit", "units"), "column unit is missing"),
        (HEADER.replace("unit", "units"), "unknown column 'units'"),
        (HEADER + ",weight", "unknown column 'weight'"),
        (HEADER + ",unit", "more than one column of the name 'unit'"),
        (HEADER.replace(",", ";"), "separated by commas"),
    ],
)
def test_columns(tmp_path: Path, header: str, fault: str) -> None:
    with pytest.raises(ManifestError, match=fault):
        read_manifest(_write(tmp_path, GOOD, header=header))


def test_one_fault_is_one(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r": 1 fault\n"):
        read_manifest(_write(tmp_path, GOOD, "x"))
    with pytest.raises(ManifestError, match="columns cohort, unit are missing"):
        read_manifest(_write(tmp_path, GOOD, header="subject,scan_id,modality,image"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_other_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "scans.csv"
    path.write_text(f"{HEADER},site\n{GOOD},Zürich\n", encoding=encoding)
    with pytest.raises(ManifestError, match=r"scans\.csv: not UTF-8 text .save it as UTF-8"):
        read_manifest(path)


@pytest.mark.parametrize("content", [b"", HEADER.encode(), b"\xff\xfe\x00", f'{HEADER}\n"petct,P1'.encode()])
def test_files_without_a_sound_table(tmp_path: Path, content: bytes) -> None:
    for name in ("scans.csv", "scans.parquet"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ManifestError):
            read_manifest(tmp_path / name)


def test_files_that_are_not_there_or_no_table(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        read_manifest(tmp_path / "scans.csv")
    with pytest.raises(ManifestError, match="neither"):
        read_manifest(tmp_path / "scans.xlsx")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ManifestError, match="cannot read"):
        read_manifest(tmp_path / "folder.csv")


def _row(**fields: object) -> ScanRow:
    ids = {"cohort": "c", "subject": "s", "scan_id": "i"}
    return ScanRow.model_validate({**ids, "modality": "mr", "unit": "none", "images": (Path("/x/a.nii"),), **fields})


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="semicolon"):
        write_manifest(tmp_path / "scans.csv", [_row(images=(Path("/x/a;b.nii"),))])
    with pytest.raises(ManifestError, match="same cohort"):
        write_manifest(tmp_path / "scans.csv", [_row(), _row(images=(Path("/x/b.nii"),))])
    with pytest.raises(ManifestError, match="neither"):
        write_manifest(tmp_path / "scans.txt", [_row()])
    (tmp_path / "file").touch()
    with pytest.raises(ManifestError, match="cannot write"):
        write_manifest(tmp_path / "file" / "scans.csv", [_row()])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
