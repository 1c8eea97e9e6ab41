"""Recordings of the official code, through both backends; and checks that a wrong result is rejected."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from umd_engine.errors import CorruptFileError, MissingFileError
from umd_engine.models.parity import recipe
from umd_engine.models.parity.check import check_recordings
from umd_engine.models.parity.recording import find_recordings
from umd_engine.models.parity.table import as_dict, as_line

RECORDINGS = Path(__file__).parents[1] / "recordings"
SHARED = Path(__file__).parents[2].parent / "shared" / "parity"
CPU = torch.device("cpu")
NAMES = sorted(r.name for r in find_recordings(RECORDINGS))


def check(name, backend="torch", folder=RECORDINGS):
    (recording,) = [r for r in find_recordings(folder) if r.name == name]
    (row,) = check_recordings([recording], backend, CPU)
    return row


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("UMD_ENGINE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.mark.parametrize("name", NAMES)
def test_torch(name):
    row = check(name)
    assert row.passed, as_line(row)
    assert row.variants


@pytest.mark.parametrize(
    "name", [n if n in ("lowres", "regions") else pytest.param(n, marks=pytest.mark.full) for n in NAMES]
)
def test_onnxruntime(name):
    row = check(name, "onnxruntime")
    assert row.passed, as_line(row)


@pytest.mark.full
@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
@pytest.mark.parametrize("name", ["nnunet_plain", "nnunet_resenc"])
def test_shared_recordings(name, backend):
    if not SHARED.is_dir():
        pytest.skip(f"the recordings are not at {SHARED}")
    row = check(name, backend, SHARED)
    assert row.passed, as_line(row)


@pytest.fixture
def copy(tmp_path):
    """A recording's files, to be changed."""

    def make(name):
        for path in RECORDINGS.glob(f"{name}*"):
            (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / path.name)
        return tmp_path

    return make


def change(folder, name, edit):
    path = folder / f"{name}.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    edit(arrays)
    np.savez(path, **arrays)


def spec_of(folder, name, **entries):
    path = folder / f"{name}.spec.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def test_six_wrong_voxels_fail(copy):
    folder = copy("lowres")

    def edit(arrays):
        arrays["seg"].flat[:6] = arrays["seg"].flat[:6] + 1

    change(folder, "lowres", edit)
    row = check("lowres", folder=folder)
    assert not row.passed and row.deviations[0].value == 6 and row.deviations[1].passed


def test_nan_never_passes(copy):
    folder = copy("lowres")
    change(folder, "lowres", lambda arrays: arrays["prob"].fill(np.nan))
    assert not check("lowres", folder=folder).passed


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("regions", lambda config: config.update(use_mask_for_norm=[False, True])),
        ("anisotropic", lambda config: config["resampling_fn_data_kwargs"].update(force_separate_z=False)),
        ("order_z1", lambda config: config["resampling_fn_data_kwargs"].update(order_z=0)),
        ("torch_resampling", lambda config: config.update(normalization_schemes=["NoNormalization"] * 3)),
    ],
)
def test_a_wrong_rule_fails(copy, name, edit):
    folder = copy(name)
    path = folder / f"{name}_model" / "plans.json"
    plans = json.loads(path.read_text())
    edit(plans["configurations"]["3d_fullres"])
    path.write_text(json.dumps(plans))
    row = check(name, folder=folder)
    assert not row.error and not row.passed


def test_the_engine_variant_differs_from_the_official_one(copy):
    folder = copy("nnunet_plain")
    spec_of(folder, "nnunet_plain", variant="engine")
    row = check("nnunet_plain", folder=folder)
    assert not row.passed and "0 of" in row.variants


def test_weights_by_seed_change_the_result_and_inputs_by_recipe_work(copy):
    folder = copy("lowres")
    spec = json.loads((folder / "lowres.spec.json").read_text())
    spec_of(folder, "lowres", weights=spec["weights"] | {"state_dict": {"fill": 3}})
    assert not check("lowres", folder=folder).passed
    with np.load(folder / "lowres.npz") as stored:
        shape = stored["image"].shape
    image = {"volume": [5, "image", list(shape)], "times": 4, "plus": -2, "spacing": spec["image"]["spacing"]}
    spec_of(folder, "lowres", weights=spec["weights"], image=image)
    row = check("lowres", folder=folder)
    assert not row.error and not row.passed


def test_a_recording_of_an_unknown_model_is_a_failure(copy):
    folder = copy("lowres")
    spec_of(folder, "lowres", model="segfault-net")
    row = check("lowres", folder=folder)
    assert not row.passed and "segfault-net" in as_line(row) and as_dict(row)["error"]


def test_damaged_recordings_are_named(copy, tmp_path):
    with pytest.raises(MissingFileError):
        find_recordings(tmp_path)
    folder = copy("lowres")
    (folder / "lowres.npz").write_bytes(b"PK\x03\x04 not a zip")
    assert "lowres.npz" in check("lowres", folder=folder).error
    (folder / "lowres.spec.json").write_text("{")
    with pytest.raises(CorruptFileError, match=r"lowres\.spec\.json"):
        find_recordings(folder)


def test_the_recipe_is_deterministic_and_scaled():
    assert np.array_equal(recipe.normal(7, "a", (3, 4)), recipe.normal(7, "a", (3, 4)))
    assert not np.array_equal(recipe.normal(7, "a", (3, 4)), recipe.normal(8, "a", (3, 4)))
    weight = recipe.tensor(7, "conv.weight", (64, 32, 3, 3, 3))
    assert abs(weight.std() * np.sqrt(32 * 27) - 1) < 0.02
    image = recipe.volume(7, "image", (1, 20, 21, 22))
    assert image.min() == 0 and image.max() == 1 and image.dtype == np.float32
