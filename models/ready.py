"""Makes a unit ready for a backend: exports what the backend needs and opens it."""

from __future__ import annotations

import torch

from umd_engine.engine.backends import BACKENDS, PRECISIONS
from umd_engine.engine.backends.eager import EagerSession
from umd_engine.engine.executor import Session
from umd_engine.engine.unit import Unit
from umd_engine.errors import BackendError, UnknownNameError


def open_unit(unit: Unit, backend: str, device: torch.device, precision: str = "fp32") -> Session:
    """A session of `unit`.

    Raises:
        UnknownNameError: no such backend or precision.
        BackendError: the backend cannot run the precision, or not on this device.
    """
    if precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, PRECISIONS)
    _check_runtime(unit, backend, precision)
    if backend == "torch" or runtime_of(unit) == backend:
        return EagerSession(unit, device, precision)
    if backend == "torch-compile":
        from umd_engine.engine.backends.compiled import CompiledSession

        return CompiledSession(unit, device, precision)
    if backend != "onnxruntime":
        raise UnknownNameError("backend", backend, BACKENDS)
    if precision != "fp32":
        raise BackendError(f"{precision} is not exported to ONNX yet", mend="use --precision fp32 or --backend torch")
    from umd_engine.engine.backends.onnx_session import OnnxSession
    from umd_engine.exporters.onnx_export import export_onnx

    return OnnxSession(export_onnx(unit).path, device)


def runtime_of(unit: Unit) -> str | None:
    """The one backend that runs a unit whose module is a file of the user's; None: any."""
    return getattr(unit.module, "runtime", None)


def _check_runtime(unit: Unit, backend: str, precision: str) -> None:
    own = runtime_of(unit)
    if own is None or backend not in BACKENDS:
        return
    if own != backend:
        raise BackendError(f"{unit.name} is a file that runs in {own}", mend=f"use --backend {own}")
    if own == "onnxruntime" and precision != "fp32":
        raise BackendError(
            f"{unit.name} is an ONNX file, which says itself how it computes", mend="use --precision fp32"
        )
