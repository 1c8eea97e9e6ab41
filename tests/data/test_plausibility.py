"""Units that intensities cannot have; the real scans have theirs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from umd_engine.data.nifti import read
from umd_engine.data.plausibility import check_unit, plausible
from umd_engine.data.volume import Volume
from umd_engine.errors import VoxelError

REAL = Path(__file__).parents[2].parent / "shared" / "data"


def between(low: float, high: float) -> Volume:
    return Volume.from_array(np.linspace(low, high, 64, dtype=np.float32).reshape(4, 4, 4))


@pytest.mark.parametrize(
    ("low", "high", "unit"),
    [
        (-1024, 3071, "HU"),
        (-3024, 30000, "HU"),
        (-120, 240, "HU"),
        (0, 12, "SUV"),
        (-0.3, 400, "SUV"),
        (0, 80_000, "Bq/mL"),
        (0, 1, "none"),
        (-5, 60_000, "none"),
    ],
)
def test_plausible_ranges_pass(low, high, unit):
    assert plausible(between(low, high), unit) == []


@pytest.mark.parametrize(
    ("low", "high", "unit", "word"),
    [
        (0, 4095, "HU", "scl_inter"),
        (0, 1, "HU", "air"),
        (-32768, 3000, "HU", "beyond"),
        (-1000, 65535, "HU", "beyond"),
        (0, 80_000, "SUV", "Bq/mL"),
        (-1024, 900, "SUV", "negative"),
        (0, 12, "Bq/mL", "SUV"),
        (-9000, 20_000, "Bq/mL", "negative"),
        (7, 7, "none", "every voxel is 7"),
    ],
)
def test_implausible_ranges_are_named(low, high, unit, word):
    with pytest.raises(VoxelError, match=word):
        check_unit(between(low, high), unit, where="scan.nii.gz")


@pytest.mark.skipif(not REAL.is_dir(), reason="the real volumes are not here")
@pytest.mark.parametrize(
    ("pattern", "unit", "count"),
    [
        ("sts_pet_ct_mr/imagesTr/*_0000.nii.gz", "HU", 8),
        ("sts_pet_ct_mr/imagesTr/*_0001.nii.gz", "SUV", 8),
        ("sts_pet_ct_mr/imagesTr/*_0002.nii.gz", "none", 8),
        ("ct_*/CT.nii.gz", "HU", 2),
        ("pet_wholebody/PET_SUV.nii.gz", "SUV", 1),
        ("ct_abdomen/example_mr_sm.nii.gz", "none", 1),
    ],
)
def test_real_scans_are_in_their_unit(pattern, unit, count):
    found = {path: plausible(read(path), unit) for path in REAL.glob(pattern)}
    assert len(found) == count and not any(found.values()), found


@pytest.mark.skipif(not REAL.is_dir(), reason="the real volumes are not here")
def test_real_scans_are_not_in_another_unit():
    sts = REAL / "sts_pet_ct_mr" / "imagesTr"
    assert plausible(read(sts / "STS_001_0000.nii.gz"), "SUV") != []
    assert plausible(read(sts / "STS_001_0001.nii.gz"), "HU") != []
    assert plausible(read(sts / "STS_001_0001.nii.gz"), "Bq/mL") != []
    assert plausible(read(sts / "STS_001_0002.nii.gz"), "HU") != []
