"""SUV by body weight from PET headers: each case computed by hand, and headers that do not tell it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_common import item, series

from umd_engine.data.check import check_manifest
from umd_engine.data.dicom.files import find_series
from umd_engine.data.dicom.stack import read_stack, stack_series
from umd_engine.data.layouts import import_layout
from umd_engine.errors import DataError, VoxelError

HALF_LIFE = 6000.0  # s, so that an uptake of 6000 s leaves half of the dose
DOSE = 300e6  # Bq
WEIGHT = 75.0  # kg
WHOLE = WEIGHT * 1000 / DOSE  # 0.00025: SUV per Bq/mL where nothing has decayed


def _drug(**elements: Any) -> Any:
    base = {
        "RadionuclideTotalDose": DOSE, "RadionuclideHalfLife": HALF_LIFE, "RadiopharmaceuticalStartTime": "100000",
    }  # fmt: skip
    return item(**{key: value for key, value in {**base, **elements}.items() if value is not None})


PET: dict[str, Any] = {
    "Units": "BQML", "DecayCorrection": "START", "CorrectedImage": ["DECY", "ATTN", "SCAT"], "PatientWeight": WEIGHT,
    "SeriesDate": "20240305", "SeriesTime": "114000", "AcquisitionDate": "20240305", "AcquisitionTime": "114000",
    "RadiopharmaceuticalInformationSequence": [_drug()],
}  # fmt: skip


def _factor(folder: Path, per_slice: dict[int, dict[str, Any]] | None = None, **elements: Any) -> np.ndarray:
    """SUV of a stored 1, of each slice."""
    made = {key: value for key, value in {**PET, **elements}.items() if value is not None}
    series(folder, "PT", np.ones((3, 3, 3), np.int16), per_slice=per_slice, **made)
    (found,) = find_series(folder).series
    return np.asarray(read_stack(stack_series(found)).voxels[0, 0])


def _of(**elements: Any) -> dict[str, Any]:
    return {"RadiopharmaceuticalInformationSequence": [_drug(**elements)]}


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({}, WHOLE * 2),  # 10:00 to 11:40 is one half-life: half of the dose is left
        ({"SeriesTime": "114000.000000"}, WHOLE * 2),
        ({"DecayCorrection": "ADMIN"}, WHOLE),
        ({"Units": "GML"}, 1.0),
        ({"Units": "GML", "SUVType": "BW", "PatientWeight": None}, 1.0),
        # the scan after midnight, the injection before it
        (
            {"SeriesTime": "001000", "AcquisitionTime": "001000", **_of(RadiopharmaceuticalStartTime="223000")},
            WHOLE * 2,
        ),
        (_of(RadiopharmaceuticalStartDateTime="20240305082000.00+0100"), WHOLE * 4),  # the date and time come first
        (
            _of(RadiopharmaceuticalStartDateTime="20200101100000"),
            WHOLE * 2,
        ),  # a date that was shifted: the time is right
        # processed after the scan: the first frame's time, 10 ms of decay apart
        (
            {"SeriesTime": "150000", "FrameReferenceTime": 0.0, "ActualFrameDuration": 1},
            WHOLE * 2 ** ((6000 + 0.0005) / HALF_LIFE),
        ),
    ],
)
def test_by_hand(tmp_path: Path, elements: dict[str, Any], expected: float) -> None:
    assert np.allclose(_factor(tmp_path, **elements), expected, rtol=1e-6)


def test_slopes_differ_from_slice_to_slice(tmp_path: Path) -> None:
    slopes = {k: {"RescaleSlope": 10.0 * (k + 1)} for k in range(3)}
    assert np.allclose(_factor(tmp_path, slopes), WHOLE * 2 * np.array([10, 20, 30]))


def test_the_series_time_counts_not_that_of_each_bed(tmp_path: Path) -> None:
    beds = {k: {"AcquisitionTime": f"11{40 + 5 * k}00"} for k in range(3)}
    assert np.allclose(_factor(tmp_path, beds), WHOLE * 2)


def test_no_decay_correction_takes_each_beds_own_time(tmp_path: Path) -> None:
    beds = {k: {"AcquisitionTime": f"11{40 + 5 * k}00", "ActualFrameDuration": 120000} for k in range(3)}
    decay = math.log(2) / HALF_LIFE
    mean = math.log(decay * 120 / (1 - math.exp(-decay * 120))) / decay  # just before the middle of 120 s
    assert 59 < mean < 60
    expected = [WHOLE * 2 ** ((6000 + 300 * k + mean) / HALF_LIFE) for k in range(3)]
    assert np.allclose(_factor(tmp_path, beds, DecayCorrection="NONE", CorrectedImage=["ATTN"]), expected, rtol=1e-6)


def _private(folder: Path, group: int, creator: str, **values: Any) -> np.ndarray:
    import pydicom

    made = {**PET, **values.pop("elements", {})}
    series(folder, "PT", np.ones((3, 3, 3), np.int16), **made)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        block = dataset.private_block(group, creator, create=True)
        for name, (vr, value) in values.items():
            block.add_new(int(name[1:], 16), vr, value)
        dataset.save_as(path)
    (found,) = find_series(folder).series
    return np.asarray(read_stack(stack_series(found)).voxels[0, 0])


def test_philips(tmp_path: Path) -> None:
    group, counts = (0x7053, "Philips PET Private Group"), {"Units": "CNTS"}
    assert np.allclose(_private(tmp_path / "a", *group, x00=("DS", "0.005"), elements=counts), 0.005)
    both = {"x00": ("DS", "0"), "x09": ("DS", "4.0")}  # 0 is Philips' word for none
    assert np.allclose(_private(tmp_path / "b", *group, **both, elements=counts), 4 * WHOLE * 2)
    with pytest.raises(VoxelError, match="no SUV: Units is CNTS, and Philips' private factors"):
        _factor(tmp_path / "c", **counts)
    with pytest.raises(VoxelError, match="no number"):
        _private(tmp_path / "d", *group, x00=("LO", "much"), elements=counts)


def test_ge_writes_the_scans_time_into_a_private_element(tmp_path: Path) -> None:
    late = {"SeriesTime": "160000"}
    time = {"x0d": ("DT", "20240305114000.00")}
    assert np.allclose(_private(tmp_path, 0x0009, "GEMS_PETD_01", **time, elements=late), WHOLE * 2)


@pytest.mark.parametrize(
    ("elements", "fault"),
    [
        ({"PatientWeight": None}, "no PatientWeight"),
        ({"PatientWeight": 0}, "no PatientWeight"),
        ({"PatientWeight": 75000}, "75000, which is no weight in kg"),
        (_of(RadionuclideTotalDose=None), "no RadionuclideTotalDose"),
        (_of(RadionuclideTotalDose=300), "300, not a dose in Bq"),
        (_of(RadionuclideHalfLife=None), "no RadionuclideHalfLife"),
        (_of(RadiopharmaceuticalStartTime=None), "no time of injection"),
        (_of(RadiopharmaceuticalStartTime="noon"), "a date or time that is none"),
        (
            _of(RadiopharmaceuticalStartTime=None, RadiopharmaceuticalStartDateTime="20240306100000"),
            "later than the scan or long before",
        ),
        (_of(RadionuclideHalfLife=282276.0), "the day is not certain"),  # Zr-89: days may lie between
        (_of(RadionuclideHalfLife=100.0), "has no date that fits"),
        ({"RadiopharmaceuticalInformationSequence": None}, "no RadiopharmaceuticalInformationSequence"),
        ({"Units": None}, "no Units"),
        ({"Units": "PROPCPS"}, "Units is 'PROPCPS', not BQML, GML or CNTS"),
        ({"Units": "GML", "SUVType": "LBM"}, "SUVType is LBM, not BW"),
        ({"CorrectedImage": ["DECY"]}, "lacks ATTN: not corrected for attenuation"),
        ({"CorrectedImage": ["ATTN"]}, "START, but CorrectedImage lacks DECY"),
        ({"DecayCorrection": None}, "DecayCorrection is ''"),
        ({"AcquisitionTime": None}, "no AcquisitionDate and AcquisitionTime"),
        ({"SeriesTime": "150000"}, "the series' time is after the scan's"),
        ({"DecayCorrection": "NONE"}, "no ActualFrameDuration"),
    ],
)
def test_headers_that_do_not_tell_it(tmp_path: Path, elements: dict[str, Any], fault: str) -> None:
    with pytest.raises(VoxelError, match=fault) as error:
        _factor(tmp_path, **elements)
    assert str(error.value).count("no SUV: ") == 1


def test_a_pair_with_a_pet_that_has_no_weight(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(0, 20000, (6, 5, 4)).astype(np.int16)
    series(tmp_path / "D" / "ct", number=2)
    series(tmp_path / "D" / "pet", "PT", voxels, number=3, **PET)
    series(tmp_path / "D" / "bad", "PT", voxels, number=4, **{**PET, "PatientWeight": ""})
    found = import_layout("dicom", tmp_path / "D", tmp_path / "scans.csv")
    assert [(row.scan_id, row.unit) for row in found.rows] == [("P-001_ct_2", "HU"), ("P-001_pet_3", "SUV")]
    assert [left.case for left in found.left_out] == ["P-001_pet_4"]
    with pytest.raises(DataError, match="no PatientWeight"):
        raise found.left_out[0].error
    assert list(check_manifest(tmp_path / "scans.csv")) == []
