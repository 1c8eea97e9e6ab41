"""nnInteractive against recordings of its official session: AutoZoom, refinement, random draws, queued prompts."""

import json
import shutil

import numpy as np
import pytest
from nninteractive_common import CPU, RECORDINGS, SHARED, load

from umd_engine.models.parity.check import check_recordings
from umd_engine.models.parity.recording import find_recordings
from umd_engine.models.parity.table import as_line


def check(name, backend="torch", folder=RECORDINGS):
    (recording,) = [r for r in find_recordings(folder) if r.name == name]
    (row,) = check_recordings([recording], backend, CPU)
    print(as_line(row))
    return row


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("UMD_ENGINE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.mark.full
@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
@pytest.mark.parametrize("name", ["queued", "turned"])
def test_recordings(name, backend):
    row = check(name, backend)
    assert row.passed, as_line(row)
    steps = 7 if name == "queued" else 4
    figures = [f"voxels{step}" for step in range(steps)] + ["calls"] + ["logits"] * (backend != "torch")
    assert [deviation.name for deviation in row.deviations] == figures and row.variants


@pytest.mark.full
@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_the_shared_recording(backend):
    if not SHARED.is_dir():
        pytest.skip(f"the recordings are not at {SHARED}")
    row = check("nninteractive", backend, SHARED)
    assert row.passed, as_line(row)


@pytest.mark.parametrize("name", ["queued", "turned"])
def test_recordings_are_what_the_script_would_record(name):
    """The folders and prompts of `nninteractive_folders.py`; the networks are its stand-ins."""
    folders = load("nninteractive_folders")
    said, model = folders.FOLDERS[name], RECORDINGS / f"{name}_model"
    spec = json.loads((RECORDINGS / f"{name}.spec.json").read_text())
    assert (spec["steps"], spec["autozoom"]) == (said["steps"], said["autozoom"])
    assert json.loads((model / "plans.json").read_text()) == folders.plans(said["patch"])
    assert json.loads((model / "dataset.json").read_text()) == folders.dataset()
    file, session = said["session"]
    assert json.loads((model / file).read_text()) == session


@pytest.fixture
def short(tmp_path):
    """The first steps of a recording, to be changed."""
    for path in RECORDINGS.glob("queued*"):
        (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / path.name)
    spec = json.loads((tmp_path / "queued.spec.json").read_text())
    with np.load(tmp_path / "queued.npz") as stored:
        masks = np.unpackbits(stored["masks"], count=int(np.prod(spec["masks"]["shape"])))
        masks, calls = masks.reshape(spec["masks"]["shape"]), stored["calls"]

    def write(masks=masks[:3], calls=calls[:3], steps=spec["steps"][:3]):
        np.savez(tmp_path / "queued.npz", masks=masks, calls=calls)
        content = spec | {"masks": "masks", "steps": steps}
        (tmp_path / "queued.spec.json").write_text(json.dumps(content))
        return check("queued", folder=tmp_path)

    return write, masks, calls, spec["steps"]


def test_the_first_steps_pass(short):
    """Clicks that wait for one prediction, and a lasso larger than the patch."""
    write, masks, calls, steps = short
    row = write(masks[:4], calls[:4], steps[:4])
    assert row.passed, as_line(row)
    assert calls[:4].tolist() == [0, 0, 1, 2] and len(np.unique(masks[:4].reshape(4, -1).sum(1))) == 3


def test_21_wrong_voxels_and_another_number_of_calls_fail(short):
    write, masks, calls, _ = short
    changed = masks[:3].copy()
    changed[2].flat[:21] ^= 1
    row = write(masks=changed, calls=calls[:3] + np.array([0, 0, 1]))
    assert [deviation.passed for deviation in row.deviations] == [True, True, False, False]
    assert [deviation.value for deviation in row.deviations[2:]] == [21, 1]


def test_another_click_fails(short):
    write, _, _, steps = short
    assert not write(steps=[*steps[:2], steps[2] | {"positive": True}]).passed


def test_steps_without_masks_are_a_damaged_recording(short):
    write, masks, _, _ = short
    row = write(masks=masks[:2])
    assert not row.passed and "queued" in row.error
