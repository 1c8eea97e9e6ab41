"""How far an artifact is from its unit: measured on inputs that are kept beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Tensors
from umd_engine.errors import BackendError
from umd_engine.exporters.artifact import Artifact, amended, removed

INPUTS = "inputs.npz"
GRAPH_LIMIT = 1e-4  # of the range: a float32 graph under ONNX Runtime against eager


def measured(artifact: Artifact, unit: Unit, found: Tensors, inputs: Tensors, **said: Any) -> Artifact:
    """The artifact, its sidecar with the error of every output against the unit's own in eager fp32.

    Args:
        found: what the artifact's session gave for `inputs`, which are stored as inputs.npz.
        said: what else the sidecar is to say.

    Raises:
        BackendError: a float32 graph is further off than `GRAPH_LIMIT`, or outputs are not finite where eager's are.
            The artifact is gone from the cache then.
    """
    with torch.no_grad():
        exact = unit.module.to("cpu")(*inputs)
    exact = exact if isinstance(exact, tuple) else (exact,)
    errors = {name: error_of(a, b) for name, a, b in zip(unit.outputs, found, exact, strict=True)}
    worst, precision = max(error["of_range"] for error in errors.values()), artifact.about["precision"]
    if not np.isfinite(worst):
        removed(artifact)
        raise BackendError(f"{unit.name} gives undefined values in {precision}", mend="use a higher precision")
    if precision == "fp32" and worst > GRAPH_LIMIT:
        removed(artifact)
        raise BackendError(
            f"{unit.name} is {worst:.1e} of its range off eager, more than {GRAPH_LIMIT:g}",
            mend="use --backend torch, and report this",
        )
    arrays = {spec.name: x.numpy() for spec, x in zip(unit.inputs, inputs, strict=True)}
    return amended(artifact, {INPUTS: partial(_save, arrays)}, error=errors, **said)


def _save(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    np.savez(path, allow_pickle=False, **arrays)


def error_of(found: torch.Tensor, exact: torch.Tensor) -> dict[str, float]:
    """Where `exact` is finite: the largest absolute difference, rms, and the largest as a share of exact's range.

    What has no range is held against its size, and zeros against 1. A value that `found` alone lacks is infinitely off.
    """
    finite = exact.isfinite()
    exact, found = exact[finite].double(), found.cpu()[finite].double()
    if not len(exact):
        return {"max": 0.0, "rms": 0.0, "of_range": 0.0}
    difference = (found - exact).nan_to_num(math.inf).abs()
    span = float(exact.max() - exact.min()) or float(exact.abs().max()) or 1.0
    largest = float(difference.max())
    return {"max": largest, "rms": float(difference.square().mean().sqrt()), "of_range": largest / span}
