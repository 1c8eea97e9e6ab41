"""The ONNX Runtime backends: outputs bound in place, of any number and type; what cannot run is said."""

import json
import subprocess
import sys

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from umd_engine.engine.backends.onnx_providers import profile, tensorrt_provider
from umd_engine.engine.backends.onnx_session import OnnxSession
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.errors import BackendError
from umd_engine.models.ready import open_unit

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a CUDA device")


def write_graph(path, nodes, inputs, outputs):
    named = [helper.make_tensor_value_info(name, kind, ["batch", 3]) for name, kind in inputs.items()]
    made = [helper.make_tensor_value_info(name, kind, ["batch", 3]) for name, kind in outputs.items()]
    graph = helper.make_graph(nodes, "graph", named, made)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.fixture
def typed(tmp_path):
    """x < y, x in three types, and the integers as they are."""
    nodes = [
        helper.make_node("Less", ["x", "y"], ["less"]),
        helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["x"], ["brain"], to=TensorProto.BFLOAT16),
        helper.make_node("Identity", ["ids"], ["same"]),
    ]
    inputs = {"x": TensorProto.FLOAT, "y": TensorProto.FLOAT, "ids": TensorProto.INT64}
    outputs = {"less": TensorProto.BOOL, "half": TensorProto.FLOAT16, "brain": TensorProto.BFLOAT16}
    return write_graph(tmp_path / "typed.onnx", nodes, inputs, {**outputs, "same": TensorProto.INT64})


def test_every_type_goes_in_and_comes_out(typed):
    x, y, ids = torch.randn(4, 3), torch.randn(4, 3), torch.arange(12).reshape(4, 3)
    less, half, brain, same = OnnxSession(typed, CPU).run((x, y, ids))
    assert torch.equal(less, x < y) and less.dtype == torch.bool
    assert torch.equal(half, x.half().float()) and torch.equal(brain, x.bfloat16().float())
    assert half.dtype == brain.dtype == torch.float32
    assert torch.equal(same, ids) and same.dtype == torch.int64
    same[0, 0] = 7
    assert ids[0, 0] == 0, "an output is no view of an input"


def test_bfloat16_goes_in(tmp_path):
    nodes = [helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT)]
    path = write_graph(tmp_path / "b.onnx", nodes, {"x": TensorProto.BFLOAT16}, {"wide": TensorProto.FLOAT})
    x = torch.randn(2, 3).bfloat16()
    assert torch.equal(OnnxSession(path, CPU).run((x,))[0], x.float())


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.InstanceNorm3d(4)).eval()


def test_outputs_outlive_later_runs_and_the_session():
    unit = Unit("network", network(), (TensorSpec("image", (1, 8, 8, 8)),))
    session = open_unit(unit, "onnxruntime", CPU)
    inputs = [torch.randn(2, 1, 8, 8, 8) for _ in range(20)]
    outputs = [session.run((x,))[0] for x in inputs]
    del session
    for x, found in zip(inputs, outputs, strict=True):
        assert torch.allclose(found, unit.module(x), atol=1e-5)
        found.add_(1)  # as a sink may


def test_strided_inputs():
    unit = Unit("network", network(), (TensorSpec("image", (1, 8, 8, 8)),))
    x = torch.randn(1, 8, 8, 8, 2).movedim(-1, 0)
    (found,) = open_unit(unit, "onnxruntime", CPU).run((x,))
    assert torch.allclose(found, unit.module(x), atol=1e-5)


def test_a_bad_file_is_said(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no graph")
    with pytest.raises(BackendError, match="cannot open it") as caught:
        OnnxSession(tmp_path / "bad.onnx", CPU)
    assert caught.value.where == tmp_path / "bad.onnx"


@without_gpu
def test_cuda_is_not_replaced_in_silence(typed):
    with pytest.raises(BackendError, match="cannot run on cuda"):
        OnnxSession(typed, CUDA)
    unit = Unit("network", network(), (TensorSpec("image", (1, 8, 8, 8)),))
    with pytest.raises(BackendError, match="does not run on cpu"):
        open_unit(unit, "onnxruntime-tensorrt", CPU)


class Stream:
    cuda_stream = 1234


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16", "int8"])
def test_tensorrt_is_allowed_the_narrow_type_of_the_graph_alone(tmp_path, precision):
    _, options = tensorrt_provider(CUDA, precision, Stream(), (TensorSpec("x", (3,)),), tmp_path)
    allowed = [kind for kind in ("fp16", "bf16", "int8") if options[f"trt_{kind}_enable"] == "True"]
    assert allowed == [precision] * (precision in ("fp16", "bf16", "int8"))
    switches = {value for key, value in options.items() if key.endswith("_enable")}
    assert switches <= {"True", "False"}, "what ONNX Runtime takes for a switch"


def test_the_options_of_tensorrt(tmp_path):
    specs = (TensorSpec("image", (1, 64, 64, 64)), TensorSpec("points", (5, 3)))
    name, options = tensorrt_provider(torch.device("cuda:1"), "fp32", Stream(), specs, tmp_path / "engines")
    assert name == "TensorrtExecutionProvider" and (tmp_path / "engines").is_dir()
    assert options["device_id"] == "1" and options["user_compute_stream"] == "1234"
    assert options["trt_profile_min_shapes"] == "image:1x1x64x64x64,points:1x5x3"
    assert options["trt_profile_max_shapes"] == profile(specs, 8)
    (tmp_path / "file").touch()
    with pytest.raises(BackendError, match="cannot keep"):
        tensorrt_provider(CUDA, "fp32", Stream(), specs, tmp_path / "file" / "engines")


ALONE = """
import json, resource, sys, torch
from umd_engine.engine.backends.onnx_session import OnnxSession
session = OnnxSession(sys.argv[1], torch.device("cpu"))
print(json.dumps([session.session.get_providers(), session.names]))
"""


def test_it_opens_in_a_process_without_the_exporter(typed):
    done = subprocess.run([sys.executable, "-c", ALONE, str(typed)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [["CPUExecutionProvider"], ["x", "y", "ids"]]
