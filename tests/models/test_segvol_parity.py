"""SegVol's network against recordings of the official modules: two sets of weights, inputs and prompts."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from umd_engine.models.parity.check import check_recordings
from umd_engine.models.parity.recording import find_recordings
from umd_engine.models.parity.table import as_line

FOLDER = Path(__file__).parents[1] / "recordings" / "segvol_parity"


def check(name, backend="torch", folder=FOLDER):
    (recording,) = [r for r in find_recordings(folder) if r.name == name]
    (row,) = check_recordings([recording], backend, torch.device("cpu"))
    return row


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("UMD_ENGINE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.mark.parametrize("name", ["segvol", pytest.param("segvol_seed3", marks=pytest.mark.full)])
def test_torch(name):
    row = check(name)
    print(as_line(row))
    assert row.passed, as_line(row)
    assert len(row.deviations) == (8 if name == "segvol" else 5)


@pytest.mark.full
@pytest.mark.parametrize("name", ["segvol", "segvol_seed3"])
def test_onnxruntime(name):
    row = check(name, "onnxruntime")
    print(as_line(row))
    assert row.passed, as_line(row)


@pytest.fixture
def copy(tmp_path):
    """The recording with its first decoder step alone, of an embedding that is not computed."""
    for path in FOLDER.glob("segvol.*"):
        shutil.copy(path, tmp_path)
    return tmp_path


def test_a_state_dict_of_other_names_fails(copy):
    path = copy / "segvol.keys.json"
    keys = json.loads(path.read_text())
    keys["mask_decoder.iou_token.bias"] = keys.pop("mask_decoder.iou_token.weight")
    path.write_text(json.dumps(keys))
    row = check("segvol", folder=copy)
    assert not row.passed and "iou_token" in row.error


def test_decoding_before_encoding_fails(copy):
    path = copy / "segvol.spec.json"
    spec = json.loads(path.read_text())
    path.write_text(json.dumps(spec | {"steps": spec["steps"][1:]}))
    row = check("segvol", folder=copy)
    assert not row.passed and "before one encodes" in row.error
