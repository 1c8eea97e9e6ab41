"""Makes a unit ready for a backend: exports what the backend needs and opens it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch

from umd_engine.engine.backends import BACKENDS, PRECISIONS
from umd_engine.engine.backends.eager import EagerSession
from umd_engine.engine.executor import Session
from umd_engine.engine.unit import Unit
from umd_engine.errors import BackendError, UnknownNameError
from umd_engine.exporters.artifact import Artifact

BATCHES = (1, 4, 8)  # that a TensorRT engine is built for; others run in pieces
Make = Callable[[], Artifact]


def _make(stage: str, make: Make) -> Artifact:
    return make()


def open_unit(
    unit: Unit,
    backend: str,
    device: torch.device,
    precision: str = "fp32",
    batches: Sequence[int] = BATCHES,
    made: Callable[[str, Make], Artifact] = _make,
) -> Session:
    """A session of `unit`.

    Args:
        made: makes what the backend opens, "export" or "build", and gives it back: a place for a stopwatch.

    Raises:
        UnknownNameError: no such backend or precision.
        BackendError: the backend cannot run the precision, or not on this device.
    """
    if precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, PRECISIONS)
    if backend not in BACKENDS:
        raise UnknownNameError("backend", backend, BACKENDS)
    _check_runtime(unit, backend, precision)
    if backend == "torch" or runtime_of(unit) == backend:
        return EagerSession(unit, device, precision)
    if backend == "torch-compile":
        from umd_engine.engine.backends.compiled import CompiledSession

        return CompiledSession(unit, device, precision)
    if backend == "torch-fused":
        from umd_engine.engine.backends.fused import FusedSession

        return FusedSession(unit, device, precision)
    if "tensorrt" in backend and device.type != "cuda":  # before minutes of building
        raise BackendError(f"{backend} does not run on {device}", mend="use --device cuda, or another backend")
    if backend in ("tensorrt", "tensorrt-rtx"):
        from umd_engine.exporters.tensorrt_export import export_tensorrt

        graph = made("export", partial(graph_of, unit, precision))
        engine = made("build", partial(export_tensorrt, graph, precision, batches, backend, device=device))
        return open_artifact(engine, device)
    if backend == "openvino":
        from umd_engine.engine.backends.openvino_session import OpenVinoSession, check_openvino

        check_openvino(device, precision)  # before the export
        return OpenVinoSession(made("export", partial(graph_of, unit)).path, device, precision)
    if backend == "onnxruntime-tensorrt":
        from umd_engine.engine.backends.onnx_session import OnnxTensorRTSession

        graph = made("export", partial(graph_of, unit, precision))
        return OnnxTensorRTSession(unit, graph.path, device, precision)
    return open_artifact(made("export", partial(graph_of, unit, precision)), device, precision)


def graph_of(unit: Unit, precision: str = "fp32", home: Path | None = None) -> Artifact:
    """The unit's ONNX graph from the cache, exported where it is not there; that of fp32 is measured when it is made.

    Raises:
        BackendError: as `export_onnx`; or the graph of fp32 is too far off eager.
    """
    from umd_engine.exporters.onnx_export import export_onnx

    if precision == "int8":
        return export_onnx(unit, home, precision)
    exact = export_onnx(unit, home)
    if "error" not in exact.about and find_spec("onnxruntime") is not None:
        exact = measured_on(exact, unit, torch.device("cpu"))
    return exact if precision in ("fp32", "tf32") else export_onnx(unit, home, precision)


def measured_on(artifact: Artifact, unit: Unit, device: torch.device, precision: str = "fp32") -> Artifact:
    """The artifact with its error on random inputs, and an engine's with what opening it took of the device.

    Raises:
        BackendError: it cannot run on the device, or is too far off eager.
    """
    from umd_engine.exporters.measure import measured

    session = open_artifact(artifact, device, precision)
    inputs = unit.example(1)
    memory = {key: getattr(session, key) for key in ("memory_before", "memory_after") if hasattr(session, key)}
    return measured(artifact, unit, session.run(inputs), inputs, **memory)


def precision_in_full(units: Iterable[Unit], precision: str) -> str:
    """The precision as results name it: int8 with what its ranges were measured on, since that decides a result."""
    if precision != "int8":
        return precision
    measured = [graph_of(unit, "int8").about["measured_on"]["sha256"] for unit in units]
    return f"int8 {hashlib.sha256(''.join(measured).encode()).hexdigest()[:12]}"


def open_artifact(artifact: Artifact, device: torch.device, precision: str = "fp32") -> Session:
    """A session of an exported graph or engine.

    A 16-bit graph runs on a CPU as one in float32 that rounds where it rounds: for accuracy, not for speed.

    Raises:
        BackendError: it cannot run on this device.
    """
    if artifact.about["kind"] == "tensorrt":
        from umd_engine.engine.backends.tensorrt_engine import TensorRTSession
        from umd_engine.exporters.tensorrt_export import record_of

        return TensorRTSession(artifact.path, record_of(artifact), device)
    from umd_engine.engine.backends.onnx_session import OnnxSession
    from umd_engine.exporters.onnx_export import emulated

    if precision == "tf32" and device.type != "cuda":
        raise BackendError("tf32 is a mode of CUDA devices", mend="use --precision fp32")
    if device.type == "cpu" and artifact.about["precision"] in ("fp16", "bf16"):
        artifact = emulated(artifact)
    return OnnxSession(artifact.path, device, precision)


def runtime_of(unit: Unit) -> str | None:
    """The one backend that runs a unit whose module is a file of the user's; None: any."""
    return getattr(unit.module, "runtime", None)


def _check_runtime(unit: Unit, backend: str, precision: str) -> None:
    own = runtime_of(unit)
    if own is None:
        return
    if own != backend:
        raise BackendError(f"{unit.name} is a file that runs in {own}", mend=f"use --backend {own}")
    if own == "onnxruntime" and precision != "fp32":
        raise BackendError(
            f"{unit.name} is an ONNX file, which says itself how it computes", mend="use --precision fp32"
        )
