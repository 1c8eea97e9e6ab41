"""Graphs in fp16 and bf16: strongly typed, normalisations in float32, near float32; and what is refused."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.errors import BackendError, UnknownNameError
from umd_engine.exporters import precision as converting
from umd_engine.exporters.emulate import emulate
from umd_engine.exporters.onnx_export import export_onnx
from umd_engine.exporters.precision import to_precision
from umd_engine.models.stand_in import STAND_INS, stand_in_units

sys.path.insert(0, str(Path(__file__).parent))
from typed import casts_of, faults_of, feeds_of, run, save

STEP = {"fp16": 2.0**-11, "bf16": 2.0**-8}  # rounding to nearest, relative


class Network(torch.nn.Module):
    """Convolutions, norms, attention, a decomposed norm and an encoding of positions."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv3d(1, 8, 3, padding=1)
        self.norm = torch.nn.InstanceNorm3d(8, affine=True)
        self.inner = torch.nn.Conv3d(8, 8, 3, padding=1)
        self.last = torch.nn.Conv3d(8, 3, 1)
        self.key = torch.nn.Linear(8, 8)
        self.register_buffer("waves", torch.randn(3, 4) * 3)

    def forward(self, image, points):
        x = torch.nn.functional.leaky_relu(self.norm(self.first(image)))
        x = torch.nn.functional.leaky_relu(self.norm(self.inner(x))) + x
        tokens = x.flatten(2).transpose(1, 2)  # [N, voxels, 8]
        angles = points @ self.waves
        asked = torch.cat([torch.sin(angles), torch.cos(angles)], -1)  # [N, clicks, 8]
        spread = tokens - tokens.mean(-1, keepdim=True)
        tokens = spread / torch.sqrt((spread**2).mean(-1, keepdim=True) + 1e-6)
        weights = torch.softmax(asked @ self.key(tokens).transpose(1, 2) * 0.35, -1)
        seen = (weights @ tokens).mean(1)
        return self.last(x * torch.sigmoid(seen)[:, :, None, None, None])


@pytest.fixture(scope="module")
def unit():
    torch.manual_seed(0)
    inputs = TensorSpec("image", (1, 6, 7, 8)), TensorSpec("points", (2, 3))
    return Unit("network", Network().eval(), inputs, ("logits",))


@pytest.fixture(scope="module")
def exported(unit, tmp_path_factory):
    return export_onnx(unit, tmp_path_factory.mktemp("cache")).path


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_converted_graph_is_typed_and_near_float32_at_any_batch(unit, exported, tmp_path, precision):
    target, emulated = tmp_path / "short.onnx", tmp_path / "emulated.onnx"
    about = to_precision(exported, target, precision)
    assert faults_of(target) == []
    casts = casts_of(target)
    assert len(casts) == len(set(casts)) == about["casts"]
    emulate(target, emulated)
    for batch in (1, 3):
        (exact,) = run(exported, feeds_of(unit, batch))
        (short,) = run(emulated, feeds_of(unit, batch))
        assert short.dtype == np.float32 and short.shape == exact.shape
        error = np.abs(short - exact).max() / np.ptp(exact)
        assert 0 < error < 8 * STEP[precision]


def test_what_runs_in_which_precision(exported, tmp_path):
    regions = to_precision(exported, tmp_path / "short.onnx", "fp16")["regions"]
    assert len(regions["fp16"]["Conv"]) == 3 and "Conv" not in regions["fp32"]
    assert {"InstanceNormalization", "Softmax", "Sin", "Cos", "Pow", "Sqrt", "ReduceMean"} <= set(regions["fp32"])
    assert not {"Div", "Sub"} & set(regions["fp16"])  # of the decomposed norm
    assert len(regions["fp32"]["MatMul"]) == 1  # coordinates times waves
    assert len(regions["fp16"]["MatMul"]) == 3
    outer = to_precision(exported, tmp_path / "outer.onnx", "bf16")["regions"]
    assert len(outer["fp32"]["Conv"]) == 2 and len(outer["bf16"]["Conv"]) == 1


def test_inputs_and_outputs_keep_names_and_types_and_weights_halve(exported, tmp_path):
    target = tmp_path / "short.onnx"
    to_precision(exported, target, "fp16")
    before, after = (onnx.load(path).graph for path in (exported, target))
    for mine, theirs in ((after.input, before.input), (after.output, before.output)):
        assert [(v.name, v.type.tensor_type.elem_type) for v in mine] == [(v.name, TensorProto.FLOAT) for v in theirs]
    kinds = {w.data_type for w in after.initializer if len(w.dims) == 5}
    assert kinds == {TensorProto.FLOAT16}
    assert not {w.name for w in after.initializer if len(w.dims) == 5} & {w.name for w in before.initializer}


def test_a_wrong_conversion_is_found(exported, tmp_path, monkeypatch):
    everything = lambda graph, precision, opset: {n for n in graph if n.op_type not in ("Shape", "Cast")}  # noqa: E731
    monkeypatch.setattr(converting, "nodes_in_16_bit", everything)
    to_precision(exported, tmp_path / "all.onnx", "fp16")
    found = faults_of(tmp_path / "all.onnx")
    assert any("InstanceNormalization" in fault for fault in found) and any("Softmax" in fault for fault in found)
    monkeypatch.setattr(converting, "nodes_in_16_bit", lambda graph, *_: {n for n in graph if n.op_type == "Conv"})
    monkeypatch.setattr(converting._Casts, "raise_inputs", lambda self, node: None)
    to_precision(exported, tmp_path / "mixed.onnx", "fp16")
    with pytest.raises(Exception, match=r"(?i)type"):  # the checker, or the walk
        assert faults_of(tmp_path / "mixed.onnx") == [], "mixes types"


def test_emulation_rounds_as_16_bit_does(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.standard_normal((1, 4, 9), np.float32)
    weight = rng.standard_normal((4, 5), np.float32)
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), helper.make_node("MatMul", ["t", "w"], ["y"])]
    source = save(tmp_path / "a.onnx", nodes, {"x": [1, 4, 9]}, {"y": [1, 9, 5]}, {"w": weight})
    to_precision(source, tmp_path / "b.onnx", "fp16")
    emulate(tmp_path / "b.onnx", tmp_path / "c.onnx")
    (found,) = run(tmp_path / "c.onnx", {"x": image})
    short = lambda x: x.astype(np.float16).astype(np.float64)  # noqa: E731
    product = short(image.transpose(0, 2, 1)) @ short(weight)
    np.testing.assert_allclose(found, short(product), atol=0, rtol=2**-10)  # sums of another order may round apart
    assert np.array_equal(found, found.astype(np.float16).astype(np.float32))


def test_a_weight_beyond_fp16_is_named(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "huge"], ["y"])]
    source = save(tmp_path / "a.onnx", nodes, {"x": [2, 3]}, {"y": [2, 2]}, {"huge": np.full((3, 2), 7e4, np.float32)})
    with pytest.raises(BackendError, match="huge holds 70000"):
        to_precision(source, tmp_path / "b.onnx", "fp16")
    assert not (tmp_path / "b.onnx").exists()
    to_precision(source, tmp_path / "b.onnx", "bf16")


def test_constants_that_16_bit_cannot_hold_keep_their_node_in_float32(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Add", ["a", "masked"], ["b"]),
        helper.make_node("MatMul", ["b", "w"], ["c"]),
        helper.make_node("Add", ["c", "tiny"], ["d"]),
        helper.make_node("MatMul", ["d", "w"], ["y"]),
    ]
    weights = {"w": np.eye(3, dtype=np.float32), "masked": np.array([0, -1e9, 0], "f4"), "tiny": np.array(1e-12, "f4")}
    source = save(tmp_path / "a.onnx", nodes, {"x": [2, 3]}, {"y": [2, 3]}, weights)
    regions = to_precision(source, tmp_path / "b.onnx", "fp16")["regions"]
    assert len(regions["fp32"]["Add"]) == 2 and len(regions["fp16"]["MatMul"]) == 3


def test_large_models_lie_in_two_files(exported, unit, tmp_path, monkeypatch):
    monkeypatch.setattr(converting, "IN_ONE_FILE", 100)
    source, target = tmp_path / "a" / "unit.onnx", tmp_path / "b" / "unit.onnx"
    for path in (source, target):
        path.parent.mkdir()
    onnx.save(onnx.load(exported), source, save_as_external_data=True, location="unit.onnx.data", size_threshold=0)
    to_precision(source, target, "fp16")
    assert sorted(p.name for p in target.parent.iterdir()) == ["unit.onnx", "unit.onnx.data"]
    assert faults_of(target) == []
    to_precision(exported, tmp_path / "one.onnx", "fp16")
    for mine, theirs in zip(run(target, feeds_of(unit, 2)), run(tmp_path / "one.onnx", feeds_of(unit, 2)), strict=True):
        assert np.array_equal(mine, theirs)


def test_other_precisions_are_unknown(exported, tmp_path):
    with pytest.raises(UnknownNameError, match="fp8"):
        to_precision(exported, tmp_path / "b.onnx", "fp8")


@pytest.mark.full
@pytest.mark.parametrize("name", STAND_INS)
def test_every_unit_of_every_model(name, tmp_path):
    for number, unit in enumerate(stand_in_units(name, reduced=True)):
        source = export_onnx(unit, tmp_path / "cache").path
        feeds = feeds_of(unit, 1)
        exact = run(source, feeds)
        for precision in ("fp16", "bf16"):
            target, emulated = tmp_path / f"{number}.{precision}.onnx", tmp_path / "emulated.onnx"
            to_precision(source, target, precision)
            assert faults_of(target) == [], (unit.name, precision)
            emulate(target, emulated)
            for mine, theirs in zip(run(emulated, feeds), exact, strict=True):
                error = np.sqrt(np.mean((mine - theirs) ** 2)) / np.abs(theirs).max()
                assert error < 16 * STEP[precision], (unit.name, precision, error)
