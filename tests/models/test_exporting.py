"""`export` from the command line: artifacts, copies, engines, verification, and what is refused."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from umd_engine.cli import main
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.errors import BackendError
from umd_engine.exporters.artifact import opened
from umd_engine.exporters.calibration import Calibration
from umd_engine.exporters.onnx_export import export_onnx
from umd_engine.models.exporting import Wanted, export_units
from umd_engine.models.ready import graph_of, precision_in_full
from umd_engine.models.stand_in import stand_in_units
from umd_engine.models.verify import MEAN_DICE

NETWORKS = Path(__file__).parents[2] / "bench/demo/networks"
CT = NETWORKS / "Dataset901_PhantomCT/nnUNetTrainer__nnUNetPlans__3d_fullres"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(cache, monkeypatch):
    monkeypatch.setenv("UMD_ENGINE_CACHE", str(cache))

    def invoke(*arguments, code=0):
        done = CliRunner().invoke(main, ["export", *map(str, arguments)])
        assert done.exit_code == code, done.output + str(done.exception)
        return done

    return invoke


def test_a_graph_is_measured_and_copied(run, tmp_path):
    rows = json.loads(run(f"nnunet={CT}", "--out", tmp_path / "out", "--json").stdout)
    assert [row["status"] for row in rows] == ["ok"] and rows[0]["error"]["logits"]["of_range"] <= 1e-4
    folder = tmp_path / "out" / "nnunet.fold_all" / "fp32"
    assert Path(rows[0]["path"]) == folder / "unit.onnx"
    artifact = opened(folder)
    stored = np.load(folder / "inputs.npz")
    assert stored["image"].shape[1:] == tuple(artifact.about["inputs"][0]["shape"][1:])
    # again into the same folder: the same artifact; another one is refused
    run(f"nnunet={CT}", "--out", tmp_path / "out")
    (tmp_path / "else" / "nnunet.fold_all" / "fp32").mkdir(parents=True)
    (tmp_path / "else" / "nnunet.fold_all" / "fp32" / "notes.txt").write_text("mine")
    done = run(f"nnunet={CT}", "--out", tmp_path / "else", code=1)
    assert "not empty" in done.output


def test_the_stored_error_is_that_of_the_stored_inputs(run):
    (row,) = json.loads(run(f"nnunet={CT}", "--json").stdout)
    path = Path(row["path"])
    import onnxruntime

    from umd_engine.models.catalog import Request

    image = np.load(path.parent / "inputs.npz")["image"]
    found = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"image": image})[0]
    exact = Request.parse(f"nnunet={CT}").load({}).units[0].module(torch.from_numpy(image)).detach().numpy()
    assert np.abs(found - exact).max() <= 2 * row["error"]["logits"]["max"] + 1e-6


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    from umd_engine.data.phantom import write_cohort

    write_cohort(tmp_path_factory.mktemp("phantom") / "ph", "petct", 1, 0, "small")
    return tmp_path_factory.getbasetemp() / "phantom0/ph/manifest.csv"


def test_fp16_is_verified_on_a_trained_network(run, phantom):
    done = run(f"nnunet={CT}", "--precision", "fp16", "--verify", phantom, "--modality", "ct", "--json")
    unit, report = json.loads(done.stdout)
    assert unit["precision"] == "fp16" and 0 < unit["error"]["logits"]["of_range"] < 5e-3
    assert report["mean_dice"] >= 0.999 and len(report["organs"]) == 13
    assert report["flipped"] < 200 and report["outputs"][0]["largest"] > 0


def test_what_is_refused_is_printed_and_leaves_the_others(run, phantom, monkeypatch):
    monkeypatch.setitem(MEAN_DICE, "fp32", 2)  # which nothing reaches
    done = run(f"nnunet={CT}", f"nnunet@again={CT}", "--verify", phantom, "--modality", "ct", "--json", code=1)
    rows = json.loads(done.stdout)
    assert [row["status"] for row in rows] == ["ok", "inaccurate"] * 2
    assert "below 2" in rows[3]["message"] and rows[3]["mean_dice"] > 0.999


def test_what_cannot_be_done_is_said_before_anything_is_made(run, phantom, tmp_path):
    for words, *options in (
        ("a graph is of no GPU", "--capability", "8.0"),
        ("tf32 runs the graph of fp32", "--precision", "tf32"),
        ("the windows are pet, the model is made for ct", "--precision", "int8", "--modality", "pet", "--calibrate",
         phantom),
    ):  # fmt: skip
        assert words in run(f"nnunet={CT}", *options, code=1).output
    if not torch.cuda.is_available():
        asked = "--to", "tensorrt-rtx", "--verify", phantom
        assert "no device 'cuda'" in run(f"nnunet={CT}", *asked, code=1).output
    done = run("nnunet", "nunet", "--stand-in", code=1)
    assert "did you mean nnunet" in done.output and "unit.onnx" not in done.output
    assert "stand-in weights are no evidence" in run(
        "nnunet", "--stand-in", "--verify", tmp_path / "x.csv", code=1
    ).output  # fmt: skip
    assert "no list of whole numbers" in run(f"nnunet={CT}", "--batch", "1,x", code=1).output
    if importlib.util.find_spec("tensorrt") is None:
        assert "pip install 'umd-engine[tensorrt]'" in run(f"nnunet={CT}", "--to", "tensorrt", code=1).output


class Jumping(torch.nn.Module):
    def forward(self, x):
        return torch.nonzero(x.sum((1, 2, 3, 4)) * 0 + 1).float() + x.mean((1, 2, 3, 4))[:, None]


def test_a_graph_too_far_off_is_not_kept(run):
    torch.manual_seed(5)
    unit = Unit("model", torch.nn.Conv3d(1, 2, 1).eval(), (TensorSpec("image", (1, 4, 4, 4)),), ("out",))
    unit.identity, unit.code_hash  # noqa: B018  kept, as the weights change
    folder = export_onnx(unit).folder
    with torch.no_grad():
        unit.module.weight *= 1.01
    with pytest.raises(BackendError, match="of its range off eager"):
        graph_of(unit)
    assert not folder.exists()
    assert graph_of(unit).about["error"]["out"]["of_range"] < 1e-5  # made again, of the weights that the unit has


def test_one_unit_that_fails_leaves_the_others(run, cache):
    shape = TensorSpec("image", (1, 4, 4, 4))
    units = [
        Unit("model.bad", Jumping().eval(), (shape,), ("out",)),
        Unit("model.good", torch.nn.Conv3d(1, 2, 1).eval(), (shape,), ("out",)),
    ]
    bad, good = export_units(units, Wanted())
    assert bad.artifact is None and "NonZero" in str(bad.error)
    assert good.error is None and good.artifact.about["error"]["out"]["of_range"] < 1e-5


def calibrated(unit, seed, **wanted):
    """The row of the unit in int8, its ranges measured on random windows."""
    rng = np.random.default_rng(seed)
    windows = [{s.name: rng.standard_normal((1, *s.shape), np.float32) for s in unit.inputs} for _ in range(2)]
    calibration = {unit.identity: Calibration(windows, "ct", "random numbers")}
    (row,) = export_units([unit], Wanted(precision="int8", calibration=calibration, **wanted))
    if row.error:
        raise row.error
    return row.artifact


def test_an_int8_graph_is_found_again(run):
    (unit,) = stand_in_units("nnunet", reduced=True)
    with pytest.raises(BackendError, match="has no int8 graph"):
        graph_of(unit, "int8")
    artifact = calibrated(unit, 0)
    assert artifact.about["outputs"][0]["shape"] == ["batch", 14, 16, 16, 16]
    assert graph_of(unit, "int8").folder == artifact.folder
    assert precision_in_full([unit], "int8").startswith("int8 ")
    calibrated(unit, 1)
    with pytest.raises(BackendError, match="has 2 int8 graphs"):
        precision_in_full([unit], "int8")


RTX = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="TensorRT-RTX is not installed")


@RTX
def test_an_engine_of_the_int8_graph_just_made(run):
    """Whatever other int8 graphs of the unit there are."""
    (unit,) = stand_in_units("nnunet", reduced=True)
    graphs = [calibrated(unit, seed) for seed in (0, 1)]
    engine = calibrated(unit, 1, target="tensorrt-rtx", capability="8.0", batches=(1,))
    assert engine.about["measured_on"] == graphs[1].about["measured_on"] and "fp16" in engine.about["regions"]
    assert engine.path.stat().st_size > 1000


@RTX
def test_an_engine_without_a_gpu_says_what_was_not_measured(run):
    (row,) = json.loads(
        run(f"nnunet={CT}", "--to", "tensorrt-rtx", "--precision", "fp16", "--capability", "8.0", "--json").stdout
    )  # fmt: skip
    assert row["engine"]["capabilities"] == ["8.0"] and row["engine"]["batches"] == [1, 4, 8]
    assert "GPU" in row["not_measured"] or "error" in row
