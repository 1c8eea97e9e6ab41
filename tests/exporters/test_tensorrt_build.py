"""Engines of TensorRT-RTX, built for a named GPU without one; TensorRT itself is only refused here.

An engine cannot be opened without a device, so nothing here says that it runs or gives the right result.
"""

import json

import pytest
from onnx_text import INT8_CONVOLUTION, RELU, SHORT_CONVOLUTION, one_node, save, save_with_weights_beside

from umd_engine.engine.backends.tensorrt_record import EngineRecord
from umd_engine.errors import BackendError, OptionError, UnknownNameError
from umd_engine.exporters.onnx_export import export_onnx
from umd_engine.exporters.precision import to_precision
from umd_engine.exporters.tensorrt_build import build_engine
from umd_engine.models.stand_in import STAND_INS, stand_in_units

rtx = pytest.importorskip("tensorrt_rtx", reason="builds need tensorrt-rtx: pip install 'umd-engine[tensorrt-rtx]'")


def build(path, batches=(1,), **options):
    return build_engine(path, batches, library="tensorrt-rtx", **{"capability": "8.0", **options})


def test_a_profile_a_batch(tmp_path):
    plan, record = build(save(tmp_path / "relu.onnx", RELU), (4, 1, 4))
    assert len(plan) > 1000
    assert record.library == "tensorrt-rtx" and record.version == rtx.__version__
    assert record.capabilities == ("8.0",) and record.gpu is None and record.driver is None
    assert record.inputs == ("x",) and record.outputs == ("y",) and record.batches == (1, 4)
    assert [profile["x"] for profile in record.profiles] == [((n, 2, 8, 8, 8),) * 3 for n in (1, 4)]
    assert record.seconds > 0
    assert EngineRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_other_axes_have_the_stated_range(tmp_path):
    graph = one_node("[relu] y = Relu(points)", "float[batch,clicks,3] points", "float[batch,clicks,3] y")
    path = save(tmp_path / "points.onnx", graph)
    _, record = build(path, (1, 2), ranges={"clicks": (1, 2, 16)})
    assert record.profiles[1] == {"points": ((2, 1, 3), (2, 2, 3), (2, 16, 3))}
    with pytest.raises(OptionError, match=r"axis 1 of points \('clicks'\)"):
        build(path)
    with pytest.raises(OptionError, match="from 4 over 2 to 1"):
        build(path, ranges={"clicks": (4, 2, 1)})


@pytest.mark.parametrize(("kind", "opset"), [("10", 20), ("16", 22)], ids=["fp16", "bf16"])
def test_explicit_casts(tmp_path, kind, opset):
    plan, _ = build(save(tmp_path / "short.onnx", SHORT_CONVOLUTION.replace("TYPE", kind), opset=opset))
    assert len(plan) > 1000


@pytest.mark.parametrize(("kind", "axis"), [("Conv", 0), ("ConvTranspose", 1)])
def test_int8_of_quantise_and_dequantise(tmp_path, kind, axis):
    graph = INT8_CONVOLUTION.replace("TYPE", kind).replace("AXIS", str(axis))
    assert len(build(save(tmp_path / "int8.onnx", graph))[0]) > 1000


def test_options_change_the_engine(tmp_path):
    path = save(tmp_path / "short.onnx", SHORT_CONVOLUTION.replace("TYPE", "1"))
    exact, rounded = (build(path, precision=precision)[0] for precision in ("fp32", "tf32"))
    other, portable = (build(path, capability=capability)[1] for capability in ("8.9", None))
    assert exact != rounded
    assert other.capabilities == ("8.9",) and portable.capabilities == ("8.0", "8.6", "8.9", "12.0")
    with pytest.raises(BackendError, match=r"compute capability 9\.0 .*8\.0"):
        build(path, capability="9.0")


def test_weights_beside_the_file(tmp_path):
    path = save_with_weights_beside(tmp_path / "large.onnx")
    assert len(build(path)[0]) > 1000
    (tmp_path / "weights").unlink()
    with pytest.raises(BackendError, match="weights"):
        build(path)


def test_the_timing_cache_is_kept_and_a_broken_one_replaced(tmp_path):
    """TensorRT-RTX times nothing: its cache has a header and no entries, and what TensorRT reuses is not seen here."""
    path, timings = save(tmp_path / "relu.onnx", RELU), tmp_path / "timings" / "a.cache"
    build(path, timing_cache=timings)
    kept = timings.read_bytes()
    for found in (kept, kept[:20], b"not a cache", b""):
        timings.write_bytes(found)
        build(path, timing_cache=timings)
        assert timings.read_bytes() == kept
    assert [p.name for p in timings.parent.iterdir()] == [timings.name]
    with pytest.raises(BackendError, match="cannot write the timing cache"):
        build(path, timing_cache=path / "a.cache")


UNBUILDABLE = {
    "the static check": (one_node("[cells] y = NonZero(x)", outputs="int64[5,n] y"), r"NonZero \(node cells\)"),
    "the parser, for a zero point": (
        INT8_CONVOLUTION.replace("TYPE", "Conv").replace("AXIS", "0").replace("x_zero = {0}", "x_zero = {3}"),
        r"take QuantizeLinear \(node quantise\): .*zero point",
    ),
    "the parser, for an output": (
        "g (float[batch,2,8,8,8] x) => (float[batch,2,7,7,7] y, int64[batch,2,7,7,7] i) "
        "{ [pool] y, i = MaxPool <kernel_shape = [2, 2, 2]> (x) }",
        r"take MaxPool \(node pool\): .*outputs",
    ),
    "the builder, for a type": (
        "g (float[batch,2,8,8,8] x) => (float[batch,2,8,8,8] y) <float[2,2,1,1,1] weight = {1, 2, 3, 4}> "
        "{ [a] s = Cast <to = 16> (x) [b] w = Cast <to = 16> (weight) [up] t = ConvTranspose (s, w) "
        "[c] y = Cast <to = 1> (t) }",
        r"build ConvTranspose \(node up\)",
    ),
    "the builder, for a size": (
        "g (float[batch,5000] x) => (float[batch,4000] y) <int64[1] k = {4000}> { [most] y, i = TopK(x, k) }",
        r"build TopK \(node most\): .*3840",
    ),
}


@pytest.mark.parametrize("refused_by", UNBUILDABLE)
def test_what_does_not_build_is_named(tmp_path, refused_by):
    graph, told = UNBUILDABLE[refused_by]
    opset = 22 if "<to = 16>" in graph else 20
    with pytest.raises(BackendError, match=told):
        build(save(tmp_path / "no.onnx", graph, opset=opset))


def test_refused_requests(tmp_path):
    path = save(tmp_path / "relu.onnx", RELU)
    with pytest.raises(OptionError, match="4, 8 lack 1"):
        build(path, (4, 8))
    with pytest.raises(UnknownNameError, match="tensorrt-rtx"):
        build_engine(path, (1,), library="tensorrt-rt")


def built(unit, folder):
    """Builds the unit's graph in fp32 and in fp16."""
    exact, short = export_onnx(unit, folder).path, folder / "fp16.onnx"
    to_precision(exact, short, "fp16")
    ranges = {axis: (1, 2, 16) for spec in unit.inputs for axis in spec.axes}
    for path in (exact, short):
        plan, record = build(path, (1, 4), ranges=ranges)
        assert len(plan) > 1000 and record.batches == (1, 4)
        assert record.inputs == tuple(spec.name for spec in unit.inputs) and record.outputs == unit.outputs


@pytest.mark.parametrize("model", ["nnunet", "nninteractive", "segvol"])
def test_a_unit_builds(tmp_path, model):
    built(stand_in_units(model, reduced=True)[0], tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("model", STAND_INS)
def test_every_unit_of_every_model_builds(tmp_path, model):
    for number, unit in enumerate(stand_in_units(model, reduced=True)):
        built(unit, tmp_path / str(number))
