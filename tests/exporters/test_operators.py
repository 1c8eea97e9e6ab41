"""The static check of ONNX files: good ones pass, and each rule refuses a file that breaks it alone."""

import onnx
import pytest
import torch
from onnx_text import RELU, SHORT_CONVOLUTION, VOLUME, one_node, save, save_with_weights_beside

from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.errors import BackendError
from umd_engine.exporters.onnx_export import export_onnx
from umd_engine.exporters.operators import REFUSED, SUPPORTED, check_operators


def test_good_graphs_pass(tmp_path):
    check_operators(save(tmp_path / "fp32.onnx", RELU))
    check_operators(save(tmp_path / "fp16.onnx", SHORT_CONVOLUTION.replace("TYPE", "10")))
    check_operators(save(tmp_path / "bf16.onnx", SHORT_CONVOLUTION.replace("TYPE", "16"), opset=22))


def test_an_exported_unit_passes(tmp_path):
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 4, 3), torch.nn.InstanceNorm3d(4), torch.nn.GELU()).eval()
    check_operators(export_onnx(Unit("network", network, (TensorSpec("image", (1, 8, 8, 8)),)), tmp_path).path)


def test_weights_beside_the_file_are_not_read_whole(tmp_path):
    path = save_with_weights_beside(tmp_path / "large.onnx")
    check_operators(path)
    (tmp_path / "weights").unlink()
    with pytest.raises(BackendError, match="weights"):
        check_operators(path)


CHOICE = f"<then_branch = a () => ({VOLUME} z) {{ z = Relu(x) }}, else_branch = b () => ({VOLUME} z) {{ z = Abs(x) }}>"
LIST = "[list] s = SequenceConstruct(x) [join] y = ConcatFromSequence <axis = 0> (s)"

WRONG = {
    "NonZero": (one_node("[cells] y = NonZero(x)", outputs="int64[5,n] y"), r"NonZero \(node cells\)"),
    "ScatterND": (
        one_node("[put] y = ScatterND(x, i, u)", f"{VOLUME} x, int64[batch,1] i, {VOLUME} u"),
        r"ScatterND \(node put\)",
    ),
    "ScatterElements": (
        one_node("[put] y = ScatterElements(x, i, x)", f"{VOLUME} x, int64[batch,2,8,8,8] i"),
        r"ScatterElements \(node put\)",
    ),
    "Sequence": (one_node(LIST), r"SequenceConstruct \(node list\)"),
    "If": (one_node(f"[branch] y = If (c) {CHOICE}", f"bool[batch] c, {VOLUME} x"), r"If \(node branch\)"),
    "GridSample": (
        one_node("[warp] y = GridSample(x, g)", f"{VOLUME} x, float[batch,8,8,8,3] g"),
        r"GridSample \(node warp\)",
    ),
    "unknown to TensorRT": (
        one_node("[volume] y = Det(x)", "float[batch,4,4] x", "float[batch] y"),
        r"Det \(node volume\) is refused: TensorRT has no such",
    ),
    "nine axes": (
        f"g ({VOLUME} x) => ({VOLUME} y) <int64[9] s = {{0,2,2,2,2,2,2,2,2}}, int64[5] t = {{0,2,8,8,8}}, "
        "float[batch,2,2,2,2,2,2,2,2] nine> { [split] nine = Reshape(x, s) [join] y = Reshape(nine, t) }",
        r"Reshape \(node split\) is refused: its output has 9 axes",
    ),
    "not of ONNX": (one_node("[own] y = mine.Relu(x)"), r"Relu \(node own\) is refused: it is not of ONNX but of mine"),
    "a spatial axis without a size": (
        one_node("y = Relu(x)", "float[batch,2,8,depth,8] x", "float[batch,2,8,depth,8] y"),
        "x has a spatial axis",
    ),
    "a fixed batch": (one_node("y = Relu(x)", "float[1,2,8,8,8] x", "float[1,2,8,8,8] y"), "is 1 instead of batch"),
    "another name of the batch": (
        one_node("y = Relu(x)", "float[n,2,8,8,8] x", "float[n,2,8,8,8] y"),
        "is n instead of batch",
    ),
    "types that do not agree": (
        one_node("[sum] y = Add(x, h)", f"{VOLUME} x, float16[batch,2,8,8,8] h"),
        "checker rejects it: .*sum",
    ),
    "shapes that do not agree": (one_node("y = Relu(x)", outputs="float[batch,2,8,8,9] y"), "checker rejects it"),
    "nodes out of order": (f"g ({VOLUME} x) => ({VOLUME} y) {{ y = Relu(z) z = Abs(x) }}", "checker rejects it"),
}


@pytest.mark.parametrize("rule", WRONG)
def test_each_rule_refuses(tmp_path, rule):
    graph, told = WRONG[rule]
    with pytest.raises(BackendError, match=told):
        check_operators(save(tmp_path / "wrong.onnx", graph))


@pytest.mark.parametrize(("versions", "told"), [({"opset": 19}, "opset 19"), ({"ir": 11}, "IR version 11")])
def test_other_versions_are_refused(tmp_path, versions, told):
    with pytest.raises(BackendError, match=told):
        check_operators(save(tmp_path / "other.onnx", RELU, **versions))


def test_bf16_needs_the_opset_that_has_it(tmp_path):
    with pytest.raises(BackendError, match="opset 20 instead of 22"):
        check_operators(save(tmp_path / "other.onnx", SHORT_CONVOLUTION.replace("TYPE", "16")))


def test_attention_is_refused_before_its_opset(tmp_path):
    head = "float[batch,2,8,16]"
    graph = one_node("[attend] y = Attention(q, k, v)", f"{head} q, {head} k, {head} v", f"{head} y")
    with pytest.raises(BackendError, match="opset 23 instead of 20"):
        check_operators(save(tmp_path / "attention.onnx", graph, opset=23))
    with pytest.raises(BackendError, match=r"Attention \(node attend\)"):
        check_operators(save(tmp_path / "attention.onnx", graph))


def test_files_that_are_not_onnx(tmp_path):
    path = tmp_path / "no.onnx"
    with pytest.raises(BackendError, match="not an ONNX file"):
        check_operators(path)
    path.write_bytes(b"not a model")
    with pytest.raises(BackendError, match="not an ONNX file"):
        check_operators(path)


def test_the_table_is_of_onnx_operators():
    """Every operator of the table is one of ONNX, or of the few that TensorRT knows from older or other graphs."""
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""}
    assert SUPPORTED - known <= {"ImageScaler", "ParametricSoftplus", "ScaledTanh"}
    assert REFUSED.keys() <= SUPPORTED
