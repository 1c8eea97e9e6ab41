"""int8 as static Q/DQ: products with weights read int8 on both sides, all else stays as it is."""

from __future__ import annotations

import io
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from umd_engine.errors import BackendError, CalibrationError, UnknownNameError
from umd_engine.exporters.calibration import Calibration, CheckedWindows
from umd_engine.exporters.pixel_shuffle import rewrite_transposed
from umd_engine.exporters.precision import IN_ONE_FILE, load_graph, to_precision
from umd_engine.exporters.regions import QUANTIZERS, is_float, outer_products

OPERATORS = ("Conv", "MatMul", "Gemm")
METHODS = ("minmax", "percentile", "entropy")
PERCENTILE = 99.999
OUTER = 2  # products at either end that are not int8
# TensorRT's int8: symmetric on both sides, a scale a channel for weights and one a tensor for activations, no int8
# bias, and Q/DQ before a product rather than after it
OPTIONS = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "QuantizeBias": False,
    "MatMulConstBOnly": True,
    "OpTypesToExcludeOutputQuantization": list(OPERATORS),
    "QDQOpTypePerChannelSupportToAxis": {"MatMul": 1, "Gemm": 1},
}


def quantize(
    source: Path,
    target: Path,
    calibration: Calibration,
    stated: str | None = None,
    method: str = "percentile",
) -> dict[str, Any]:
    """Write the float32 graph of `source` to `target` with its inner products in int8.

    The two first and two last products, products of two activations and everything that leads to a sine or cosine keep
    their precision; transposed convolutions whose kernel is their stride become convolutions first.

    Args:
        stated: the modality that the model is made for; None where nothing says it.
        method: how an activation's range follows from the windows: minmax, percentile or entropy.

    Returns:
        precision, opset, regions (precision -> operator -> names of nodes) and calibration.

    Raises:
        UnknownNameError: another method.
        CalibrationError: as `CheckedWindows`; or there is no window.
        BackendError: ONNX Runtime is missing, or there is nothing to quantize.
    """
    if method not in METHODS:
        raise UnknownNameError("calibration method", method, METHODS)
    windows = CheckedWindows(calibration, stated)
    with tempfile.TemporaryDirectory(prefix=".int8-", dir=target.parent) as folder:
        plain, quantized = Path(folder) / "plain.onnx", Path(folder) / "quantized.onnx"
        rewrite_transposed(source, plain)
        chosen = _chosen(load_graph(plain).graph)
        if not chosen:
            raise BackendError("no product inside the graph can be int8", where=source, mend="use --precision fp16")
        _quantize(plain, quantized, chosen, windows, method)
        model = onnx.load(quantized)
        onnx.save(model, target, save_as_external_data=_is_large(model), location=f"{target.name}.data")
    model = ir.load(target)
    return {
        "precision": "int8",
        "opset": model.opset_imports[""],
        "regions": _regions(model.graph),
        "calibration": {**windows.record(), "method": method},
    }


def lower_rest(source: Path, target: Path) -> dict[str, Any]:
    """Write the int8 graph of `source` with what `to_precision` makes fp16 in fp16, Q/DQ included; its regions."""
    to_precision(source, target, "fp16")
    return {"regions": _regions(ir.load(target).graph)}


def _chosen(graph: ir.Graph) -> list[str]:
    """Names of the products with weights that lie between others."""
    outer = outer_products(graph, OUTER)
    waves = {node for node in graph if node.op_type in ("Sin", "Cos")}
    for node in reversed(list(graph)):
        if any(successor in waves for successor in node.successors()):
            waves.add(node)
    return [
        str(node.name)
        for node in graph
        if node.op_type in OPERATORS
        and node not in outer | waves
        and node.inputs[0] is not None
        and node.inputs[0].const_value is None
        and node.inputs[1] is not None
        and node.inputs[1].const_value is not None
    ]


def _quantize(source: Path, target: Path, chosen: list[str], windows: CheckedWindows, method: str) -> None:
    try:
        from onnxruntime.quantization import CalibrationMethod, QuantType, create_calibrator
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    except ImportError as error:
        raise BackendError(f"int8 needs {error.name}", mend="pip install 'umd-engine[cpu]'") from None
    kind = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}[method]
    large = source.with_name(f"{source.name}.data").exists()
    extra = {"symmetric": True, **({"percentile": PERCENTILE} if method == "percentile" else {})}
    calibrator = create_calibrator(
        source,
        list(OPERATORS),
        augmented_model_path=str(source.with_name("augmented.onnx")),
        calibrate_method=getattr(CalibrationMethod, kind),
        use_external_data_format=large,
        extra_options=extra,
    )
    with redirect_stdout(io.StringIO()):  # the calibrator prints
        while (window := windows.get_next()) is not None:  # one at a time: it keeps every tensor of what it is given
            calibrator.collect_data(_Once(window))
        if not windows.count:
            raise CalibrationError(
                "there is no window", where=windows.calibration.source, mend="give at least one scan of the modality"
            )
        ranges = calibrator.compute_data()
    quantizer = QDQQuantizer(
        onnx.load(source), True, False, QuantType.QInt8, QuantType.QInt8, ranges, chosen, [], list(OPERATORS), OPTIONS
    )
    quantizer.quantize_model()
    quantizer.model.save_model_to_file(str(target), large)


class _Once:
    """A window for a calibrator that asks until there is none."""

    def __init__(self, window: Any):
        self._left = [window]

    def get_next(self) -> Any:
        return self._left.pop() if self._left else None


def _is_large(model: onnx.ModelProto) -> bool:
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer) > IN_ONE_FILE


def _regions(graph: ir.Graph) -> dict[str, dict[str, list[str]]]:
    """A product is int8 where its data comes from a DequantizeLinear; quantizers themselves are not listed."""
    short = {ir.DataType.FLOAT16: "fp16", ir.DataType.FLOAT: "fp32"}
    regions: dict[str, dict[str, list[str]]] = {"int8": {}}
    for node in graph:
        kinds = [short[v.dtype] for v in node.outputs if v.dtype in short]
        if node.op_type in QUANTIZERS | {"Cast"} or not (kinds or is_float(node)):
            continue
        first = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
        is_int8 = node.op_type in OPERATORS and first is not None and first.op_type == "DequantizeLinear"
        where = "int8" if is_int8 else (kinds or ["fp32"])[0]
        regions.setdefault(where, {}).setdefault(node.op_type, []).append(node.name or "")
    return regions
