"""docs/examples/deepbet.yaml against deepbet's own pipeline on a real head.

Needs the package deepbet (installed, or its unpacked wheel named by UMD_ENGINE_DEEPBET) with fill_voids and pandas, and
Debian's mricron-data (installed, or ch2.nii.gz named by UMD_ENGINE_CH2).
"""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from custom_common import load, segment

from umd_engine.data.nifti import read

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "deepbet.yaml"
HEAD = Path(os.environ.get("UMD_ENGINE_CH2", "/usr/share/mricron/templates/ch2.nii.gz"))


def unpacked():
    """The folder that holds deepbet/ and data/models/."""
    if path := os.environ.get("UMD_ENGINE_DEEPBET"):
        return Path(path)
    found = importlib.util.find_spec("deepbet")
    return None if found is None or found.origin is None else Path(found.origin).parents[1]


@pytest.fixture
def wheel(monkeypatch):
    folder = unpacked()
    if folder is None or not (folder / "data" / "models" / "model.pt").is_file():
        pytest.skip("no deepbet: pip install deepbet, or UMD_ENGINE_DEEPBET=FOLDER of its unpacked wheel")
    if not HEAD.is_file():
        pytest.skip(f"no {HEAD}: apt install mricron-data, or UMD_ENGINE_CH2=FILE")
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    for name in ("fill_voids", "pandas", "cc3d"):
        pytest.importorskip(name, reason=f"deepbet's own pipeline needs {name}")
    return folder


@pytest.mark.full
def test_the_example_is_deepbets_own_answer(wheel, tmp_path):
    import nibabel
    from deepbet import BrainExtraction

    shutil.copytree(wheel / "data", tmp_path / "data")
    path = Path(shutil.copy(EXAMPLE, tmp_path))
    image = read(HEAD)
    found = image.grid.to_file_order(segment(load(path), image).labels.numpy()) != 0
    _, mask, _ = BrainExtraction(no_gpu=True).run(nibabel.load(HEAD))
    official = np.asarray(mask.dataobj) != 0
    dice = 2 * (found & official).sum() / (found.sum() + official.sum())
    print(f"Dice {dice:.6f}, {(found != official).sum()} of {official.sum()} voxels differ")
    assert official.sum() > 1e6 and dice >= 0.99


def test_the_example_is_a_good_description():
    from umd_engine.models.custom.reading import read_description

    found = read_description(EXAMPLE)
    assert found.localiser is not None and found.output.of_organ == {"brain": (1,)}
