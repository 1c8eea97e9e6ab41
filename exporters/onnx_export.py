"""A unit to ONNX: opset 20, static spatial shapes, dynamic batch and named axes, cached under what it was made from."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from umd_engine.engine.backends.onnx_session import import_runtime
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.errors import BackendError
from umd_engine.exporters.artifact import Artifact, cached, finished, opened
from umd_engine.exporters.calibration import Calibration, digest_of

OPSET = 20
BF16_OPSET = 22  # the first in which convolutions and normalisations are defined for bfloat16
EXPORTER_VERSION = 5
LARGEST_BATCH, LARGEST_AXIS = 4096, 1024
INLINE = 1 << 30  # bytes of weights beyond which they lie beside the graph: a graph file ends at 2 GiB
FILE = "unit.onnx"


def export_onnx(unit: Unit, home: Path | None = None, precision: str = "fp32") -> Artifact:
    """The unit's graph, exported when the cache has none.

    Args:
        home: the cache; default `cache_folder()`.
        precision: fp32, fp16 or bf16; tf32 is how a backend runs the graph of fp32; int8 is what `export_int8` made
            before.

    Raises:
        UnknownNameError: no such precision.
        BackendError: the ONNX packages are missing, the unit cannot be exported or converted, or the cache cannot be
            written.
    """
    if precision == "int8":
        return _calibrated(unit, home)
    if precision in ("fp32", "tf32"):
        return cached("onnx", described(unit, "fp32"), lambda folder: _export(unit, folder / FILE), home)
    exact = export_onnx(unit, home)
    return cached("onnx", described(unit, precision), lambda folder: _lower(exact, folder / FILE, precision), home)


def export_int8(unit: Unit, calibration: Calibration, stated: str | None = None, home: Path | None = None) -> Artifact:
    """The unit's graph with its inner products in int8, their ranges measured on windows.

    Args:
        stated: the modality that the model is made for; None where nothing says it.

    Raises:
        CalibrationError: the windows cannot be used.
        BackendError: as `export_onnx`.
    """
    from umd_engine.exporters.quantize import quantize

    windows = list(calibration.windows)
    held = replace(calibration, windows=windows)
    exact = export_onnx(unit, home)
    measured_on = {"sha256": digest_of(windows), "modality": calibration.modality}
    return cached(
        "onnx",
        {**described(unit, "int8"), "measured_on": measured_on},
        lambda folder: {
            **quantize(exact.path, folder / FILE, held, stated),
            "file": FILE,
            "unit": unit.name,
            "outputs": exact.about["outputs"],
        },
        home,
    )


def _calibrated(unit: Unit, home: Path | None) -> Artifact:
    """The one int8 graph of the unit that the cache holds."""
    wanted = described(unit, "int8")
    found = [one for one in finished("onnx", home) if all(one.about.get(key) == wanted[key] for key in wanted)]
    if not found:
        raise BackendError(
            f"{unit.name} has no int8 graph", mend="make one: umd-engine export NAME --precision int8 --calibrate DATA"
        )
    if len(found) > 1:
        folders = ", ".join(str(one.folder) for one in found)
        raise BackendError(f"{unit.name} has {len(found)} int8 graphs", mend=f"delete all but one of {folders}")
    return opened(found[0].folder)


def with_fp16(artifact: Artifact, home: Path | None = None) -> Artifact:
    """An int8 graph for an engine, whose network is strongly typed: fp16 where else it would compute in float32."""
    from umd_engine.exporters.quantize import lower_rest

    def make(folder: Path) -> Mapping[str, Any]:
        kept = ("unit", "weights", "inputs", "outputs", "precision", "opset", "measured_on", "calibration")
        said = {key: artifact.about[key] for key in kept}
        return {"file": FILE, **said, **lower_rest(artifact.path, folder / FILE)}

    return cached("onnx-fp16", {"of": artifact.about["key"], "exporter": EXPORTER_VERSION}, make, home)


def emulated(artifact: Artifact, home: Path | None = None) -> Artifact:
    """A 16-bit graph for machines that lack the type: float32, rounded where the graph rounds. See `emulate`."""
    from umd_engine.exporters.emulate import emulate

    def make(folder: Path) -> Mapping[str, Any]:
        emulate(artifact.path, folder / FILE)
        return {"file": FILE, "unit": artifact.about["unit"], "emulates": artifact.about["precision"]}

    return cached("onnx-emulated", {"of": artifact.about["key"], "exporter": EXPORTER_VERSION}, make, home)


def described(unit: Unit, precision: str) -> dict[str, Any]:
    """What a graph of the unit depends on; names of outputs are in the hash of its weights."""
    try:
        libraries = {name: version(name) for name in ("torch", "onnx", "onnxscript", "onnx_ir")}
    except PackageNotFoundError as error:
        raise BackendError(f"ONNX export needs {error.name}", mend="pip install onnx onnxscript") from None
    if precision == "int8":
        libraries["onnxruntime"] = import_runtime().__version__
    return {
        "weights": unit.content_hash,
        "attributes": unit.attributes_hash,
        "code": unit.code_hash,
        "inputs": [_said(spec) for spec in unit.inputs],
        "precision": precision,
        "opset": BF16_OPSET if precision == "bf16" else OPSET,
        "exporter": EXPORTER_VERSION,
        "libraries": libraries,
    }


def _said(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "shape": ["batch", *spec.free_shape], "dtype": str(spec.dtype).removeprefix("torch.")}


def _export(unit: Unit, path: Path) -> Mapping[str, Any]:
    module = unit.module.to("cpu").eval()
    sizes = _dimensions(unit)
    for noisy in ("torch.onnx", "onnxscript"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                module,
                _wide(unit).example(2),
                dynamo=True,
                opset_version=OPSET,
                input_names=[spec.name for spec in unit.inputs],
                output_names=list(unit.outputs),
                dynamic_shapes=tuple({0: sizes[""], **_named(spec, sizes)} for spec in unit.inputs),
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise _refused(unit, error) from None
    assert program is not None
    program.save(str(path), external_data=_bytes(module) > INLINE)
    return {"file": path.name, "unit": unit.name, "outputs": _outputs(path)}


def _outputs(path: Path) -> list[dict[str, Any]]:
    """Name, shape and type of every output, as of `_said`."""
    import onnx

    found = []
    for value in onnx.load(path, load_external_data=False).graph.output:
        kind = value.type.tensor_type
        shape = [dim.dim_param or dim.dim_value for dim in kind.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
        found.append({"name": value.name, "shape": shape, "dtype": dtype})
    return found


def _lower(exact: Artifact, path: Path, precision: str) -> Mapping[str, Any]:
    from umd_engine.exporters.precision import to_precision

    said = to_precision(exact.path, path, precision)
    return {"file": path.name, "unit": exact.about["unit"], "outputs": exact.about["outputs"], **said}


def _wide(unit: Unit) -> Unit:
    """The unit at sizes that torch.export takes for variable: it takes 0 and 1 for constants."""
    inputs = tuple(
        replace(spec, shape=(*(3 for _ in spec.axes), *spec.shape[len(spec.axes) :])) for spec in unit.inputs
    )
    return Unit(unit.name, unit.module, inputs, unit.outputs)


def _dimensions(unit: Unit) -> dict[str, Any]:
    """Name of an axis -> its symbol; the batch's name is empty."""
    names = {name for spec in unit.inputs for name in spec.axes}
    return {
        "": torch.export.Dim("batch", min=1, max=LARGEST_BATCH),
        **{name: torch.export.Dim(name, min=1, max=LARGEST_AXIS) for name in sorted(names)},
    }


def _named(spec: TensorSpec, sizes: Mapping[str, Any]) -> dict[int, Any]:
    return {number: sizes[name] for number, name in enumerate(spec.axes, 1)}


def _bytes(module: torch.nn.Module) -> int:
    return sum(tensor.nbytes for tensor in module.state_dict().values())


def _refused(unit: Unit, error: Exception) -> BackendError:
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    return BackendError(f"{unit.name} cannot be exported to ONNX: {lines[0]}", mend="use --backend torch")
