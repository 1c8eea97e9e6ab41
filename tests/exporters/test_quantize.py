"""int8: transposed convolutions rewritten exactly, Q/DQ as TensorRT wants them, calibration windows refused."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from umd_engine.errors import BackendError, CalibrationError, UnknownNameError
from umd_engine.exporters.calibration import Calibration, CheckedWindows
from umd_engine.exporters.onnx_export import export_onnx
from umd_engine.exporters.pixel_shuffle import rewrite_transposed
from umd_engine.exporters.quantize import METHODS, lower_rest, quantize
from umd_engine.models.stand_in import stand_in_units

sys.path.insert(0, str(Path(__file__).parent))
from typed import faults_of, feeds_of, run, save

SHAPE = (1, 1, 16, 16, 16)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    (unit,) = stand_in_units("nnunet", reduced=True)
    return unit, export_onnx(unit, tmp_path_factory.mktemp("cache")).path


def windows(count=3, seed=0):
    rng = np.random.default_rng(seed)
    return [{"image": rng.standard_normal(SHAPE, np.float32)} for _ in range(count)]


def calibration(given_windows=None, modality="ct"):
    return Calibration(windows() if given_windows is None else given_windows, modality, "random numbers")


def transposed(path, spatial, kernel, stride, channels=(3, 2), bias=True, batch=2, **attributes):
    rng = np.random.default_rng(1)
    weights = {"w": rng.standard_normal((*channels, *kernel), np.float32)}
    if bias:
        weights["b"] = rng.standard_normal(channels[1], np.float32)
    node = helper.make_node("ConvTranspose", ["x", *weights], ["y"], name="up", strides=stride, **attributes)
    size = [(n - 1) * s + k for n, s, k in zip(spatial, stride, kernel, strict=True)]
    save(path, [node], {"x": ["n", channels[0], *spatial]}, {"y": ["n", channels[1], *size]}, weights)
    return rng.standard_normal((batch, channels[0], *spatial), np.float32)


@settings(max_examples=25, deadline=None)
@given(
    axes=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), min_size=1, max_size=3),
    channels=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    bias=st.booleans(),
    batch=st.integers(1, 3),
)
def test_the_rewrite_is_exact(tmp_path_factory, axes, channels, bias, batch):
    folder = tmp_path_factory.mktemp("rewrite")
    spatial, stride = zip(*axes, strict=True)
    image = transposed(folder / "a.onnx", spatial, stride, stride, channels, bias, batch)
    assert rewrite_transposed(folder / "a.onnx", folder / "b.onnx") == ["up_conv"]
    onnx.checker.check_model(str(folder / "b.onnx"), full_check=True)
    assert "ConvTranspose" not in {node.op_type for node in onnx.load(folder / "b.onnx").graph.node}
    (exact,), (found,) = (run(folder / name, {"x": image}) for name in ("a.onnx", "b.onnx"))
    assert found.shape == exact.shape
    np.testing.assert_allclose(found, exact, atol=1e-6 * max(1.0, np.abs(exact).max()))


@pytest.mark.parametrize(
    ("kernel", "stride", "attributes"),
    [((3, 3, 3), (2, 2, 2), {}), ((2, 2, 2), (2, 2, 2), {"output_padding": [1, 1, 1]}), ((2, 2, 1), (2, 2, 2), {})],
)
def test_overlapping_or_padded_kernels_stay(tmp_path, kernel, stride, attributes):
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], name="up", strides=stride, **attributes)
    weights = {"w": np.ones((2, 2, *kernel), np.float32)}
    source = save(tmp_path / "a.onnx", [node], {"x": ["n", 2, 4, 4, 4]}, {"y": ["n", 2, None, None, None]}, weights)
    assert rewrite_transposed(source, tmp_path / "b.onnx") == []
    assert [n.op_type for n in onnx.load(tmp_path / "b.onnx").graph.node] == ["ConvTranspose"]


@pytest.mark.parametrize("rest", ["fp32", "fp16"])
def test_int8_as_tensorrt_wants_it(exported, tmp_path, rest):
    _, source = exported
    about = quantize(source, tmp_path / "int8.onnx", calibration(), "ct")
    if rest == "fp16":
        about = lower_rest((tmp_path / "int8.onnx").rename(tmp_path / "exact.onnx"), tmp_path / "int8.onnx")
        assert "LeakyRelu" in about["regions"]["fp32"] and about["regions"]["fp16"]["Conv"]
    assert faults_of(tmp_path / "int8.onnx") == []
    graph = onnx.load(tmp_path / "int8.onnx").graph
    held = {tensor.name: tensor for tensor in graph.initializer}
    made = {output: node for node in graph.node for output in node.output}
    inner = {node.name: node for node in graph.node if node.op_type == "Conv"}
    assert set(about["regions"]["int8"]) == {"Conv"}
    assert set(about["regions"]["int8"]["Conv"]) < set(inner) and "InstanceNormalization" in about["regions"]["fp32"]
    for name in about["regions"]["int8"]["Conv"]:
        image, weight = (made[value] for value in inner[name].input[:2])
        assert image.op_type == weight.op_type == "DequantizeLinear"
        stored = held[weight.input[0]]
        assert stored.data_type == TensorProto.INT8
        assert list(held[weight.input[1]].dims) == [stored.dims[0]]  # a scale an output channel
        assert list(held[image.input[1]].dims) in ([], [1])
        for node in (image, weight):
            assert not numpy_helper.to_array(held[node.input[2]]).any()  # symmetric
    outer = set(inner) - set(about["regions"]["int8"]["Conv"])
    order = [node.name for node in graph.node if node.op_type == "Conv"]
    assert outer == {*order[:2], *order[-2:]}
    assert not [n for n in graph.node if n.op_type == "QuantizeLinear" and made.get(n.input[0], n).op_type == "Conv"]


@pytest.mark.parametrize("method", METHODS)
def test_int8_is_near_float32_at_any_batch(exported, tmp_path, method):
    unit, source = exported
    quantize(source, tmp_path / "int8.onnx", calibration(), method=method)
    for batch in (1, 3):
        (exact,), (found,) = (run(path, feeds_of(unit, batch)) for path in (source, tmp_path / "int8.onnx"))
        error = np.sqrt(np.mean((found - exact) ** 2)) / np.ptp(exact)
        assert found.shape == exact.shape and 0 < error < 0.03


def test_the_record_knows_its_windows(exported, tmp_path):
    _, source = exported
    records = [
        quantize(source, tmp_path / f"{i}.onnx", calibration(chosen), "ct")["calibration"]
        for i, chosen in enumerate((windows(), iter(windows()), windows(seed=1)))
    ]
    assert records[0] == records[1] and records[0]["sha256"] != records[2]["sha256"]
    assert records[0]["windows"] == 3 and records[0]["modality"] == "ct" and records[0]["source"] == "random numbers"


def test_windows_of_another_modality_constant_or_not_finite_are_refused(exported, tmp_path):
    _, source = exported
    target = tmp_path / "int8.onnx"
    with pytest.raises(CalibrationError, match="windows are ct, the model is made for pet"):
        quantize(source, target, calibration(), "pet")
    flat, broken = windows(), windows()
    flat[1]["image"][:] = -3
    broken[2]["image"][0, 0, 1, 2, 3] = np.nan
    for bad, words in ((flat, "window 1 is constant, -3"), (broken, "window 2 is not finite"), ([], "no window")):
        with pytest.raises(CalibrationError, match=words):
            quantize(source, target, calibration(bad), "ct")
    assert list(tmp_path.iterdir()) == []


def test_clicks_and_masks_may_be_constant():
    window = {"image": windows(1)[0]["image"], "labels": np.ones((1, 3), np.float32)}
    checked = CheckedWindows(calibration([window, {**window, "labels": np.full((1, 3), np.nan, np.float32)}]), "ct")
    assert checked.get_next() is not None
    with pytest.raises(CalibrationError, match="labels of window 1 is not finite"):
        checked.get_next()


def test_what_cannot_be_asked_for(exported, tmp_path):
    _, source = exported
    with pytest.raises(UnknownNameError, match="percentile"):
        quantize(source, tmp_path / "a.onnx", calibration(), method="percentil")
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="only")
    lone = save(tmp_path / "b.onnx", [node], {"x": [1, 3]}, {"y": [1, 3]}, {"w": np.eye(3, dtype=np.float32)})
    with pytest.raises(BackendError, match="no product"):
        quantize(lone, tmp_path / "c.onnx", calibration())
