"""docs/examples/deepbet.yaml against deepbet's own pipeline on a real head.

Needs what tests/examples.py fetches into build/examples; or the package deepbet with fill_voids and pandas, and
Debian's mricron-data, installed or named by UMD_ENGINE_DEEPBET (its unpacked wheel) and UMD_ENGINE_CH2 (ch2.nii.gz).
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

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "deepbet.yaml"
FETCHED = ROOT / "build" / "examples"


def unpacked():
    """The folder that holds deepbet/ and data/models/."""
    if path := os.environ.get("UMD_ENGINE_DEEPBET"):
        return Path(path)
    if (FETCHED / "deepbet").is_dir():
        return FETCHED
    found = importlib.util.find_spec("deepbet")
    return None if found is None or found.origin is None else Path(found.origin).parents[1]


def head():
    """The T1 head with its skull."""
    installed = Path("/usr/share/mricron/templates/ch2.nii.gz")
    return Path(os.environ.get("UMD_ENGINE_CH2") or (installed if installed.is_file() else FETCHED / "ch2.nii.gz"))


@pytest.fixture
def wheel(monkeypatch):
    folder = unpacked()
    if folder is None or not (folder / "data" / "models" / "model.pt").is_file():
        pytest.skip("no deepbet: python tests/examples.py build/examples")
    if not head().is_file():
        pytest.skip(f"no {head()}: python tests/examples.py build/examples")
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
    image = read(head())
    found = image.grid.to_file_order(segment(load(path), image).labels.numpy()) != 0
    _, mask, _ = BrainExtraction(no_gpu=True).run(nibabel.load(head()))
    official = np.asarray(mask.dataobj) != 0
    dice = 2 * (found & official).sum() / (found.sum() + official.sum())
    print(f"Dice {dice:.6f}, {(found != official).sum()} of {official.sum()} voxels differ")
    assert official.sum() > 1e6 and dice >= 0.99


def test_the_example_is_a_good_description():
    from umd_engine.models.custom.reading import read_description

    found = read_description(EXAMPLE)
    assert found.localiser is not None and found.output.of_organ == {"brain": (1,)}
