"""DICOM series as volumes: made ones with known voxels and places, faulty ones, and a real one against SimpleITK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner
from dicom_common import ROOT, encapsulate, item, save, series

from umd_engine.cli import main
from umd_engine.data.check import check_manifest
from umd_engine.data.dicom.contours import fill
from umd_engine.data.dicom.files import find_series
from umd_engine.data.dicom.stack import read_stack, stack_series
from umd_engine.data.labelset import load_label_set
from umd_engine.data.layouts import Imported, ImportOptions, import_layout
from umd_engine.data.manifest import read_manifest
from umd_engine.data.nifti import read
from umd_engine.errors import DataError, GeometryError, MissingFileError, OptionError

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "ct_abdomen" / "example_ct_dicom"
OBLIQUE = [0.8, 0.6, 0.0, 0.0, 0.0, -1.0]  # rows along the left and the back, columns towards the feet


def _import(folder: Path, **options: object) -> Imported:
    return import_layout("dicom", folder, folder.parent / "scans.csv", ImportOptions(**options))  # type: ignore[arg-type]


def _only(folder: Path) -> Any:
    (found,) = find_series(folder).series
    return read_stack(stack_series(found))


def test_a_series(tmp_path: Path) -> None:
    stored = series(tmp_path / "D")
    found = _import(tmp_path / "D", cohort="petct")
    (row,) = found.rows
    assert (row.subject, row.scan_id, row.modality, row.unit) == ("P-001", "P-001_ct_2", "ct", "HU")
    assert (row.sex, row.age, row.scanner, row.label) == ("F", 54, "Maker Model 1", None)
    made = nibabel.load(row.images[0])
    assert np.array_equal(np.asarray(made.dataobj), stored - 1024) and made.get_data_dtype() == np.int16
    # columns run to the left (-x) and rows to the back (-y) in RAS; slices are 3 mm apart, not SliceThickness
    assert np.allclose(made.affine, [[-2, 0, 0, 10], [0, -1.5, 0, -20], [0, 0, 3, 100], [0, 0, 0, 1]])
    assert read_manifest(tmp_path / "scans.csv") == found.rows and (found.left_out, found.notes) == ((), ())


def test_oblique_slices_run_along_their_normal(tmp_path: Path) -> None:
    stored = series(tmp_path / "D", "MR", orientation=OBLIQUE, number=5)
    volume = _only(tmp_path / "D")
    assert np.array_equal(volume.grid.to_file_order(volume.voxels), stored)
    affine = volume.grid.file_affine
    assert np.allclose(affine[:3, 0], [-1.6, -1.2, 0]) and np.allclose(affine[:3, 1], [0, 0, -1.5])
    assert np.allclose(affine[:3, 2], 3 * np.cross([-0.8, -0.6, 0], [0, 0, -1]))


def test_scales_of_each_slice(tmp_path: Path) -> None:
    scales = {k: {"RescaleSlope": 0.5 + k, "RescaleIntercept": k} for k in range(4)}
    stored = series(tmp_path / "D", "MR", per_slice=scales)
    volume = _only(tmp_path / "D")
    expected = stored * (0.5 + np.arange(4)) + np.arange(4)
    assert volume.voxels.dtype == np.float32
    assert np.array_equal(volume.grid.to_file_order(volume.voxels), expected.astype(np.float32))


def test_values_beyond_16_bits(tmp_path: Path) -> None:
    stored = series(tmp_path / "D", RescaleIntercept=-40000, per_slice={0: {"RescaleIntercept": -1024}})
    volume = _only(tmp_path / "D")
    assert volume.voxels.dtype == np.int32
    assert np.array_equal(volume.grid.to_file_order(volume.voxels), stored.astype(int) - [1024, 40000, 40000, 40000])


def test_a_folder_of_several_series_is_split(tmp_path: Path) -> None:
    folder = tmp_path / "D"
    series(folder / "a", number=2)
    series(folder / "a", "MR", number=3, PatientID="P002")
    series(folder / "b", number=2, SeriesInstanceUID=f"{ROOT}.99")
    series(folder / "c", number=1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    save(folder / "report.dcm", "SR")
    (folder / "readme.txt").write_text("no DICOM")
    (folder / "b" / "empty").touch()
    found = _import(folder)
    assert [(row.subject, row.modality) for row in found.rows] == [("P-001", "ct"), ("P-001", "ct"), ("P002", "mr")]
    assert len({row.scan_id for row in found.rows}) == 3 and found.rows[2].scan_id == "P002_mr_3"
    assert found.left_out == () and len(found.notes) == 3
    assert found.notes[0] == "not imported: 1 localizer, e.g. P-001_ct_1"
    assert {note.split(", e.g.")[0] for note in found.notes[1:]} == {
        "not imported: 2 files (no DICOM)",
        "not imported: 1 file (modality SR)",
    }


POSITION = "ImagePositionPatient"
FAULTS = [
    ({2: {POSITION: [-10.0, 20, 108]}}, {}, "uneven after 103.00 mm, 108.00 mm|2.000 to 5.000 mm apart"),
    ({3: {POSITION: [-10.0, 20, 112]}}, {}, "1 slices are missing, after 106.00 mm"),
    ({3: {POSITION: [-10.0, 20, 106]}}, {}, "1 slices lie where another lies, e.g. at 106.00 mm .several phases"),
    ({k: {POSITION: [-10.0, 20 + 0.5 * k, 100 + 3 * k]} for k in range(4)}, {}, "the gantry is tilted by 9.5 degrees"),
    ({1: {POSITION: [-11.0, 20, 103]}}, {}, "1.00 mm off a line"),
    ({1: {"ImageOrientationPatient": [0.8, 0.6, 0, -0.6, 0.8, 0]}}, {}, "another ImageOrientationPatient"),
    ({1: {"PixelSpacing": [1.5, 2.1]}}, {}, "another PixelSpacing"),
    ({1: {"Rows": 6, "PixelData": bytes(72)}}, {}, "6x[56] pixels, where another slice has 6x[56]"),
    ({}, {"PixelSpacing": None}, "no PixelSpacing"),
    ({}, {"PixelSpacing": [0, 1.0]}, "no PixelSpacing"),
    ({}, {"ImageOrientationPatient": [1.0, 0, 0, 1, 0, 0]}, "not at right angles"),
    ({}, {"RescaleSlope": None}, "no RescaleSlope: the values are not HU"),
    ({}, {"RescaleSlope": 0}, "a RescaleSlope that is no scale"),
    ({}, {"NumberOfFrames": 4}, "several frames in one file .enhanced DICOM.*dcm2niix"),
    ({}, {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "RGB, not MONOCHROME2"),
    ({1: {"PixelData": bytes(10)}}, {}, "pixels cannot be read"),
    ({1: {"PixelData": None}}, {}, "pixels cannot be read"),
]


@pytest.mark.parametrize(("per_slice", "elements", "fault"), FAULTS)
def test_a_series_that_is_no_volume_is_left_out(
    tmp_path: Path, per_slice: dict[int, dict[str, Any]], elements: dict[str, Any], fault: str
) -> None:
    series(tmp_path / "D" / "a", per_slice=per_slice, **elements)
    series(tmp_path / "D" / "b", number=3)
    found = _import(tmp_path / "D")
    assert [row.scan_id for row in found.rows] == ["P-001_ct_3"]
    (left,) = found.left_out
    assert left.case == "P-001_ct_2" and left.error.status in ("bad-geometry", "bad-voxels", "corrupt-file")
    with pytest.raises(DataError, match=fault):
        raise left.error
    assert "Doe" not in str(left) and list(check_manifest(tmp_path / "scans.csv")) == []


def test_one_slice(tmp_path: Path) -> None:
    series(tmp_path / "D", voxels=np.ones((6, 5, 1), np.int16))
    (found,) = find_series(tmp_path / "D").series
    with pytest.raises(GeometryError, match="a single slice is no volume"):
        stack_series(found)


def test_nothing_is_made_twice(tmp_path: Path) -> None:
    folder = tmp_path / "D"
    series(folder)
    (row,) = _import(folder, converted=tmp_path / "nii").rows
    assert row.images[0] == tmp_path / "nii" / "images" / "P-001" / "P-001_ct_2.nii.gz"
    before = row.images[0].stat().st_ino
    (tmp_path / "scans.csv").unlink()
    run = CliRunner().invoke(
        main,
        ["data", "import", str(folder), "--layout", "dicom", "--converted", str(tmp_path / "nii"),
         "--out", str(tmp_path / "scans.csv")],
    )  # fmt: skip
    assert run.exit_code == 0 and run.stdout.startswith("1 scan of 1 subject in ")
    assert row.images[0].stat().st_ino == before
    (tmp_path / "scans.csv").unlink()
    series(tmp_path / "E")
    with pytest.raises(OptionError, match="made from another data set"):
        _import(tmp_path / "E", converted=tmp_path / "nii")


def test_no_series(tmp_path: Path) -> None:
    (tmp_path / "D").mkdir()
    (tmp_path / "D" / "a.txt").write_text("x")
    with pytest.raises(MissingFileError, match="no DICOM series of CT, MR or PET"):
        _import(tmp_path / "D")


def test_ids_lead_nowhere(tmp_path: Path) -> None:
    series(tmp_path / "D", PatientID="../../x/../é")
    (row,) = _import(tmp_path / "D").rows
    assert row.subject == "x" or "/" not in row.subject
    assert row.images[0].resolve().is_relative_to(tmp_path / "scans.converted")
    series(tmp_path / "F" / "pat 7", PatientID=None)
    (tmp_path / "scans.csv").unlink()
    assert _import(tmp_path / "F", converted=tmp_path / "f").rows[0].subject == "pat-7"


SQUARE = [(1.0, 1.0), (4.0, 1.0), (4.0, 3.0), (1.0, 3.0)]  # voxels


def _contour(corners: list[tuple[float, float]], k: float, kind: str = "CLOSED_PLANAR") -> Any:
    """Corners in voxels on the grid of `series`."""
    flat = [v for x, y in corners for v in (-10 + 2.0 * x, 20 + 1.5 * y, 100 + 3.0 * k)]
    return item(ContourGeometricType=kind, NumberOfContourPoints=len(corners), ContourData=flat)


def _rtstruct(path: Path, drawn: dict[str, list[Any]], uid: str = f"{ROOT}.2") -> Path:
    study = item(RTReferencedSeriesSequence=[item(SeriesInstanceUID=uid)])
    frames = [item(FrameOfReferenceUID=f"{ROOT}.7", RTReferencedStudySequence=[study])]
    regions = [item(ROINumber=n, ROIName=name) for n, name in enumerate(drawn, start=1)]
    contours = [item(ReferencedROINumber=n, ContourSequence=held) for n, held in enumerate(drawn.values(), start=1)]
    return save(
        path, "RTSTRUCT", ReferencedFrameOfReferenceSequence=frames, StructureSetROISequence=regions,
        ROIContourSequence=contours,
    )  # fmt: skip


def test_contours(tmp_path: Path) -> None:
    series(tmp_path / "D")
    hole = [(2.0, 1.5), (3.0, 1.5), (3.0, 2.5), (2.0, 2.5)]
    drawn = {
        "Left Kidney": [_contour(SQUARE, 1), _contour(hole, 1)],
        "GTV 1": [_contour([(3.5, 0.5), (5.5, 0.5), (5.5, 2.5), (3.5, 2.5)], 2)],
        "Liver": [_contour([(0.5, 0.5), (2.5, 0.5), (2.5, 1.5), (0.5, 1.5)], 1)],
        "empty": [],
    }
    _rtstruct(tmp_path / "D" / "rs.dcm", drawn)
    found = _import(tmp_path / "D")
    (row,) = found.rows
    assert row.label is not None and row.label_set is not None
    label = np.asarray(nibabel.load(row.label).dataobj)
    expected = np.zeros((6, 5, 4), int)
    expected[1:4, 1:3, 1] = 2  # kidney_left, as in umd13; centres on right and upper edges are outside
    expected[2, 2, 1] = 0  # in the hole
    expected[4:6, 1:3, 2] = 15  # gtv_1, after "empty"
    expected[1, 1, 1] = expected[2, 1, 1] = 2  # the kidney has them from the liver, which has the lower id
    assert np.array_equal(label, expected)
    assert load_label_set(row.label_set).ids == {"liver": (1,), "kidney_left": (2,), "empty": (14,), "gtv_1": (15,)}
    assert found.left_out == () and "organs overlap in 2 voxels" in found.notes[0]
    assert list(check_manifest(tmp_path / "scans.csv")) == []


@pytest.mark.parametrize(
    ("contour", "fault"),
    [
        (_contour(SQUARE, 1.5), "between slices or across"),
        (_contour(SQUARE, 7), "outside of the scan"),
        (_contour(SQUARE, 1, "OPEN_PLANAR"), "of type OPEN_PLANAR"),
        (_contour(SQUARE[:2], 1), "a contour of 6 numbers"),
        (_contour([(40.0, 40.0), (41.0, 40.0), (41.0, 41.0)], 1), "covers a voxel"),
    ],
)
def test_contours_that_fit_no_slice(tmp_path: Path, contour: Any, fault: str) -> None:
    series(tmp_path / "D" / "a")
    series(tmp_path / "D" / "b", number=3)
    _rtstruct(tmp_path / "D" / "rs.dcm", {"Liver": [contour]})
    found = _import(tmp_path / "D")
    assert [row.scan_id for row in found.rows] == ["P-001_ct_3"]
    with pytest.raises(DataError, match=fault):
        raise found.left_out[0].error


def test_a_polygon_is_filled_as_a_pixelwise_check_says() -> None:
    rng = np.random.default_rng(4)
    for _ in range(20):
        points = rng.uniform(-3, 18, (7, 2))
        expected = np.zeros((16, 14), bool)
        for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, 0), strict=True):
            for i in range(16):
                for j in range(14):
                    if (y0 <= j) != (y1 <= j) and x0 + (j - y0) * (x1 - x0) / (y1 - y0) <= i:
                        expected[i, j] ^= True
        assert np.array_equal(fill(points, (16, 14)), expected)


def _seg(path: Path, frames: list[tuple[int, int, np.ndarray]], **elements: Any) -> Path:
    """Frames (segment, slice, mask [columns, rows]) on the grid of `series`."""
    columns, rows = frames[0][2].shape
    packed = np.packbits(np.concatenate([mask.T.ravel() for _, _, mask in frames]), bitorder="little").tobytes()
    groups = [
        item(
            SegmentIdentificationSequence=[item(ReferencedSegmentNumber=segment)],
            PlanePositionSequence=[item(ImagePositionPatient=[-10.0, 20.0, 100.0 + 3 * k])],
        )
        for segment, k, _ in frames
    ]
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        PixelMeasuresSequence=[item(PixelSpacing=[1.5, 2.0], SliceThickness=3.0)],
    )
    base = {
        "SegmentationType": "BINARY", "NumberOfFrames": len(frames), "Rows": rows, "Columns": columns,
        "BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelRepresentation": 0, "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "PixelData": packed + bytes(len(packed) % 2),
        "ReferencedSeriesSequence": [item(SeriesInstanceUID=f"{ROOT}.2")],
        "SegmentSequence": [item(SegmentNumber=n, SegmentLabel=name) for n, name in ((1, "Spleen"), (2, "Lung_L"))],
        "SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": groups,
    }  # fmt: skip
    return save(path, "SEG", **{**base, **elements})


def _mask(*places: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((6, 5), np.uint8)
    for place in places:
        mask[place] = 1
    return mask


def test_segments(tmp_path: Path) -> None:
    series(tmp_path / "D")
    _seg(tmp_path / "D" / "seg.dcm", [(1, 0, _mask((0, 0), (5, 4))), (2, 3, _mask((2, 1))), (1, 2, _mask((3, 3)))])
    (row,) = _import(tmp_path / "D").rows
    assert row.label is not None and row.label_set is not None
    label = np.asarray(nibabel.load(row.label).dataobj)
    ids = load_label_set(row.label_set).ids
    assert ids == {"lung": (14,), "spleen": (6,), "lung_left": (14,)}
    assert {tuple(map(int, place)): int(label[tuple(place)]) for place in np.argwhere(label)} == {
        (0, 0, 0): 6, (5, 4, 0): 6, (3, 3, 2): 6, (2, 1, 3): 14,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("elements", "fault"),
    [
        ({"SegmentationType": "FRACTIONAL"}, "of type FRACTIONAL"),
        ({"SharedFunctionalGroupsSequence": None}, "without PlaneOrientationSequence"),
        ({"SegmentSequence": [item(SegmentNumber=3, SegmentLabel="Liver")]}, "a frame of no segment"),
        ({"Rows": 6, "PixelData": bytes(10)}, "outside of the series"),
        ({"ReferencedSeriesSequence": [item(SeriesInstanceUID="1.2.3")]}, "its series is not in the folder"),
    ],
)
def test_segments_that_fit_no_series(tmp_path: Path, elements: dict[str, Any], fault: str) -> None:
    series(tmp_path / "D")
    series(tmp_path / "D" / "b", number=3)
    _seg(tmp_path / "D" / "seg.dcm", [(1, 0, _mask((0, 0))), (1, 1, _mask((1, 1)))], **elements)
    found = _import(tmp_path / "D")
    with pytest.raises(DataError, match=fault):
        raise found.left_out[0].error


def test_two_label_objects_of_one_series_are_ambiguous(tmp_path: Path) -> None:
    series(tmp_path / "D")
    series(tmp_path / "D" / "b", number=3)
    _seg(tmp_path / "D" / "seg.dcm", [(1, 0, _mask((0, 0)))])
    _rtstruct(tmp_path / "D" / "rs.dcm", {"Liver": [_contour(SQUARE, 1)]})
    found = _import(tmp_path / "D")
    assert [row.scan_id for row in found.rows] == ["P-001_ct_3"]
    assert "drawn on the same series as" in found.left_out[0].error.fault


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    series(tmp_path / "D" / "a")
    series(tmp_path / "D" / "b", number=3)
    path = tmp_path / "D" / "a" / "2-3.dcm"
    path.write_bytes(path.read_bytes()[:-20])
    found = _import(tmp_path / "D")
    assert [row.scan_id for row in found.rows] == ["P-001_ct_3"]
    assert [(left.case, left.error.where) for left in found.left_out] == [("P-001_ct_2", path)]


def test_pixels_that_nothing_reads(tmp_path: Path) -> None:
    video = {"syntax": "1.2.840.10008.1.2.4.101", "PixelData": encapsulate([bytes(10)])}
    series(tmp_path / "D", per_slice={1: video})
    (found,) = find_series(tmp_path / "D").series
    with pytest.raises(DataError, match=r"pixels compressed as MPEG2 .*\(pip install 'umd-engine\[dicom\]'\)"):
        read_stack(stack_series(found))


def test_no_warning_repeats_what_a_header_says(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    series(tmp_path / "D", PatientAge="about fifty")
    recwarn.clear()
    (row,) = _import(tmp_path / "D").rows
    assert row.age is None and not [warning for warning in recwarn if "fifty" in str(warning.message)]


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no {REAL}")
def test_a_real_series_equals_an_independent_reader(tmp_path: Path) -> None:
    """20 slices in JPEG 2000 without UIDs, 3 mm thick and 2 mm apart."""
    sitk = pytest.importorskip("SimpleITK", reason="no SimpleITK (pip install 'umd-engine[peers]')")
    (row,) = import_layout("dicom", REAL, tmp_path / "scans.csv").rows
    volume = read(row.images[0])
    files = sorted(REAL.iterdir(), key=lambda path: sitk.ReadImage(str(path)).GetOrigin()[2])
    theirs = sitk.ReadImage([str(path) for path in files])
    assert np.array_equal(volume.grid.to_file_order(volume.voxels), sitk.GetArrayFromImage(theirs).T)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(theirs.GetDirection(), (3, 3)) * theirs.GetSpacing()
    affine[:3, 3] = theirs.GetOrigin()
    assert np.allclose(volume.grid.file_affine, np.diag([-1, -1, 1, 1]) @ affine, atol=1e-4)
    assert np.allclose(volume.spacing, (0.9765625, 0.9765625, 2.0))
