"""nnU-Net's resampling and readers, one by one, against what its own functions gave."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from umd_engine.data.nifti import read, read_labels, write_labels
from umd_engine.data.volume import Volume
from umd_engine.errors import OptionError
from umd_engine.models.nnunet.model import NnUNet
from umd_engine.models.nnunet.plans import Resampling
from umd_engine.models.nnunet.protocol import Options
from umd_engine.models.nnunet.resampling import resample, separate_axis

RECORDINGS = Path(__file__).parents[1] / "recordings"
DEMO = Path(__file__).parents[2] / "bench" / "demo" / "networks"
CASES = json.loads((RECORDINGS / "separate_z.json").read_text())


@pytest.fixture(scope="module")
def stored():
    with np.load(RECORDINGS / "separate_z.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_resampling(case, stored):
    kwargs = case["kwargs"]
    rule = Resampling(
        case["function"], kwargs.get("order", 3), kwargs.get("order_z", 0), kwargs.get("force_separate_z")
    )
    spacings = case["current_spacing"], case["new_spacing"]
    assert separate_axis(rule.force_separate_z, *spacings) == case["separate_axis"]
    data, expected = stored[case["input"]], stored[case["name"]]
    result = resample(torch.from_numpy(data), tuple(case["new_shape"]), *spacings, rule).numpy()
    assert result.dtype == expected.dtype and result.shape == expected.shape
    span = float(expected.max()) - float(expected.min())
    # float16 results of float64 sums may fall on either side of a rounding edge
    tolerance = 2e-3 if result.dtype == np.float16 else 1e-6
    error = np.abs(result.astype(np.float64) - expected)
    assert error.max() <= tolerance * span
    assert (error > 1e-6 * span).mean() < 0.01


@pytest.mark.parametrize("reader", ["SimpleITKIO", "NibabelIO", "NibabelIOWithReorient", "SimpleITKIOWithReorient"])
def test_readers(reader, tmp_path):
    """An oblique, flipped, anisotropic file: the array each reader gives, and where its label map goes back to."""
    with np.load(RECORDINGS / "readers.npz") as arrays:
        stored = {key.removeprefix(f"{reader}/"): arrays[key] for key in arrays if key.startswith(f"{reader}/")}
    volume = read(RECORDINGS / "oriented.nii.gz")
    reorients = reader.endswith("WithReorient")
    array = (volume.voxels if reorients else volume.grid.to_file_order(volume.voxels)).transpose(2, 1, 0)
    spacing = (volume.grid.spacing if reorients else volume.grid.file_spacing)[::-1]
    assert np.array_equal(array, stored["array"][0])
    assert np.allclose(spacing, stored["spacing"], rtol=1e-6)

    labels = stored["seg"].transpose(2, 1, 0)
    canonical = labels if reorients else volume.grid.to_canonical(labels)
    write_labels(tmp_path / "seg.nii.gz", canonical, like=volume)
    written = read_labels(tmp_path / "seg.nii.gz")
    assert np.array_equal(written.grid.to_file_order(written.voxels), stored["written"])
    assert np.allclose(written.grid.file_affine, stored["affine"], atol=1e-5)


def test_zscore_takes_the_place_of_the_plans_normalization():
    """The option shows a CT network what a PET network is shown: each image by its own mean and SD."""
    path = DEMO / "Dataset901_PhantomCT" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    planned, scored = (NnUNet("nnunet", path, Options(normalization=name)) for name in ("plans", "zscore"))
    assert planned.plans.normalization[0].scheme == "CTNormalization"
    grid = np.diag([*planned.plans.spacing, 1.0])  # nothing is resampled
    volume = Volume.from_array(np.random.default_rng(0).gamma(2.0, 1.5, (40, 40, 40)).astype(np.float32), grid)
    data = scored.prepare([volume], torch.device("cpu")).prepared.data
    assert abs(float(data.mean())) < 1e-5 and abs(float(data.std()) - 1) < 1e-4
    assert not torch.equal(data, planned.prepare([volume], torch.device("cpu")).prepared.data)
    assert planned.protocol != scored.protocol, "a run with it is another run"


def test_an_unknown_normalization():
    with pytest.raises(OptionError, match="plans or zscore"):
        Options(normalization="minmax")
