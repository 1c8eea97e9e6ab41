"""How far an artifact is from its unit: measured on inputs that are kept beside it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch

from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Tensors
from umd_engine.errors import BackendError
from umd_engine.exporters.artifact import Artifact, amended

INPUTS = "inputs.npz"
GRAPH_LIMIT = 1e-4  # of the range: a float32 graph under ONNX Runtime against eager


def measured(artifact: Artifact, unit: Unit, found: Tensors, inputs: Tensors) -> Artifact:
    """The artifact, its sidecar with the error of every output against the unit's own in eager fp32.

    Args:
        found: what the artifact's session gave for `inputs`, which are stored as inputs.npz.

    Raises:
        BackendError: a float32 graph is further off than `GRAPH_LIMIT`, or outputs are not finite.
    """
    with torch.no_grad():
        exact = unit.module.to("cpu")(*inputs)
    exact = exact if isinstance(exact, tuple) else (exact,)
    errors = {name: error_of(a, b) for name, a, b in zip(unit.outputs, found, exact, strict=True)}
    worst = max(error["of_range"] for error in errors.values())
    if not np.isfinite(worst):
        raise BackendError(
            f"{unit.name} gives undefined values in {artifact.about['precision']}",
            where=artifact.path,
            mend="use a higher precision",
        )
    if artifact.about["precision"] == "fp32" and worst > GRAPH_LIMIT:
        raise BackendError(
            f"{unit.name} is {worst:.1e} of its range off eager, more than {GRAPH_LIMIT:g}",
            where=artifact.path,
            mend="use --backend torch, and report this",
        )
    arrays = {spec.name: x.numpy() for spec, x in zip(unit.inputs, inputs, strict=True)}
    return amended(artifact, {INPUTS: partial(_save, arrays)}, error=errors)


def _save(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    np.savez(path, allow_pickle=False, **arrays)


def error_of(found: torch.Tensor, exact: torch.Tensor) -> dict[str, float]:
    """max: largest absolute difference; rms; of_range: max over the exact output's range, 1 where that has none."""
    difference = (found.cpu() - exact).double()
    span = float(exact.max() - exact.min())
    largest = float(difference.abs().max())
    return {"max": largest, "rms": float(difference.square().mean().sqrt()), "of_range": largest / (span or 1.0)}
