"""Whether an ONNX file is one that TensorRT builds, by reading it: needs no TensorRT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from umd_engine.errors import BackendError
from umd_engine.exporters.onnx_export import BF16_OPSET, OPSET

MOST_AXES = 8  # TensorRT's Dims::MAX_DIMS; beyond it the parser of TensorRT-RTX 1.7.1 ends the process
IR_VERSION = 10  # of ONNX 1.16, which the parser of TensorRT 10.1 is built with

# Marked "Y" in the table of docs/operators.md of onnx/onnx-tensorrt for TensorRT 10.15, opsets 9 to 24
_TABLE = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization BlackmanWindow
Cast CastLike Ceil Celu Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DeformConv
DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements
GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization
GRU HammingWindow HannWindow HardSigmoid HardSwish Hardmax Identity If ImageScaler InstanceNormalization IsInf IsNaN
LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax Loop LRN LSTM LpNormalization LpPool MatMul Max MaxPool
Mean MeanVarianceNormalization Min Mish Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or Pad ParametricSoftplus Pow
PRelu QuantizeLinear RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2
ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize
ReverseSequence RMSNormalization RNN RoiAlign RotaryEmbedding Round STFT ScaledTanh Scan Scatter ScatterElements
ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze
Sub Sum Tan Tanh TensorScatter ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor
"""
SUPPORTED = frozenset(_TABLE.split())
# Supported, and not wanted: shapes that depend on data, control flow, and an operator that parses without building
REFUSED = {
    "NonZero": "its output's size depends on data",
    "ScatterND": "it writes by index",
    "ScatterElements": "it writes by index",
    "Loop": "it is control flow",
    "Scan": "it is control flow",
    "If": "it is control flow",
    "GridSample": "of volumes TensorRT has it from 11.2.1 on",
    "Attention": "TensorRT parses it and builds it for few shapes; matrix products and a softmax build",
}


def check_operators(path: Path) -> None:
    """Check a graph against what TensorRT supports, ONNX's own rules and the project's.

    Raises:
        BackendError: another opset or IR version; an operator that TensorRT lacks, that is refused or whose output has
            more than eight axes (named, with its node); a spatial axis without a size; a first axis not called "batch";
            a file that ONNX's checker with shape inference rejects.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load(path, load_external_data=False)
    except (OSError, DecodeError) as error:
        raise BackendError(f"not an ONNX file: {error}", where=path) from None
    opset = {entry.domain: entry.version for entry in model.opset_import}.get("")
    wanted = BF16_OPSET if _has_bf16(model) else OPSET
    if opset != wanted:
        raise BackendError(f"opset {opset} instead of {wanted}", where=path)
    if model.ir_version > IR_VERSION:
        raise BackendError(f"IR version {model.ir_version} is newer than {IR_VERSION}", where=path)
    axes = {value.name: len(value.type.tensor_type.shape.dim) for value in model.graph.value_info}
    for node in model.graph.node:
        _check_node(path, node, max((axes.get(name, 0) for name in node.output), default=0))
    for value in model.graph.input:
        _check_batch(path, value)
    for value in (*model.graph.input, *model.graph.output):
        _check_space(path, value)
    try:
        onnx.checker.check_model(str(path), full_check=True)  # by its path: a model may exceed 2 GB
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BackendError(f"ONNX's checker rejects it: {str(error).splitlines()[0]}", where=path) from None


def _has_bf16(model: Any) -> bool:
    """Whether the graph computes in bfloat16, which a cast or a weight must then make."""
    from onnx import TensorProto

    casts = (a.i for node in model.graph.node if node.op_type == "Cast" for a in node.attribute if a.name == "to")
    weights = (weight.data_type for weight in model.graph.initializer)
    return TensorProto.BFLOAT16 in (*casts, *weights)


def _check_node(path: Path, node: Any, axes: int) -> None:
    reason = None
    if node.domain not in ("", "ai.onnx"):
        reason = f"it is not of ONNX but of {node.domain}"
    elif node.op_type in REFUSED:
        reason = REFUSED[node.op_type]
    elif node.op_type not in SUPPORTED:
        reason = "TensorRT has no such operator"
    elif axes > MOST_AXES:
        reason = f"its output has {axes} axes, TensorRT has {MOST_AXES} at most"
    if reason is not None:
        raise BackendError(f"operator {node.op_type} (node {node.name}) is refused: {reason}", where=path)


def _check_batch(path: Path, value: Any) -> None:
    """Axis 0 of every input is the batch, of any size."""
    dims = value.type.tensor_type.shape.dim
    if not dims or dims[0].dim_param != "batch":
        found = (dims[0].dim_param or dims[0].dim_value) if dims else "missing"
        raise BackendError(f"the first axis of {value.name} is {found} instead of batch", where=path)


def _check_space(path: Path, value: Any) -> None:
    """Of five axes and more the last three are space and have sizes."""
    dims = value.type.tensor_type.shape.dim
    if len(dims) >= 5 and any(dim.dim_value < 1 for dim in list(dims)[-3:]):
        raise BackendError(f"{value.name} has a spatial axis without a size", where=path)
