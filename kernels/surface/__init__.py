"""Distances between the surfaces of two label maps, and the metrics that follow: HD, HD95, ASSD, MASD, NSD."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from umd_engine.errors import KernelError
from umd_engine.kernels.backends import missing_library, resolve
from umd_engine.kernels.distance.arguments import as_array, check_ids, check_map, check_spacing
from umd_engine.kernels.surface.grids import ELEMENTS, Boxes
from umd_engine.kernels.surface.measures import SurfaceDistances, SurfaceMetrics

__all__ = ["SurfaceDistances", "SurfaceMetrics", "surface_distances", "surface_metrics"]


def surface_metrics(
    label: Any,
    prediction: Any,
    ids: Sequence[int],
    spacing: Sequence[float],
    tolerances: float | Mapping[int, float] | None = None,
    *,
    elements: str = "surfels",
    backend: str = "auto",
) -> dict[int, SurfaceMetrics]:
    """HD, HD95 by three definitions, ASSD, MASD and NSD of every organ.

    Args:
        label, prediction, ids, spacing, elements, backend: as for `surface_distances`.
        tolerances: of the NSD in mm, one for all organs or one an id; None leaves the NSD out.

    Returns:
        id -> its metrics. An organ that is absent from a map has a status instead of numbers: what that scores is
        the caller's convention.

    Raises:
        as `surface_distances`; KernelError also for a tolerance that is missing, negative or not finite.
    """
    wanted = {name: _tolerance(tolerances, name) for name in ids}
    found = surface_distances(label, prediction, ids, spacing, elements=elements, backend=backend)
    return {name: distances.metrics(wanted[name]) for name, distances in found.items()}


def surface_distances(
    label: Any,
    prediction: Any,
    ids: Sequence[int],
    spacing: Sequence[float],
    *,
    elements: str = "surfels",
    backend: str = "auto",
    boxes: Boxes | None = None,
) -> dict[int, SurfaceDistances]:
    """Of every element of each organ's surface the distance to the nearest element of the other map's.

    Args:
        label: [X, Y, Z] uint8 label map or bool mask (its id is 1), NumPy array or torch tensor.
        prediction: the same, of one shape and on one device with `label`.
        ids: the organs, 1 to 255.
        spacing: of X, Y, Z in mm.
        elements: "surfels": the corners between eight voxels that are not all inside or outside, each weighing
            the area that marching cubes puts there (surface-distance of DeepMind, `use_subvoxels` of MONAI);
            "voxels": voxels of the mask with a neighbour by face outside it, each weighing 1 (MONAI, MedPy).
            Outside the volume there is background for both.
        backend: "auto" (where the maps lie), "cpu" (numba), "gpu" (CUDA) or "reference" (SciPy).
        boxes: `bounds(map, 256).boxes` of both maps, where they are known; of a map that is measured more than once.

    Returns:
        id -> both directed distances in mm, sorted, on the CPU.

    Raises:
        KernelError: another dtype, unlike shapes or devices, ids or a spacing that are none, unknown elements.
        BackendError: the named backend cannot run here.
        OptionError: an unknown backend name.
    """
    on_gpu = check_map(label, "surface", "label")
    if check_map(prediction, "surface", "prediction") != on_gpu:
        raise KernelError("surface: label and prediction lie on unlike devices", mend="move one to the other")
    if tuple(label.shape) != tuple(prediction.shape):
        shapes = f"{tuple(label.shape)} and {tuple(prediction.shape)}"
        raise KernelError(f"surface: label and prediction have unlike shapes {shapes}")
    names, sizes = check_ids(ids, "surface"), check_spacing(spacing, "surface")
    if elements not in ELEMENTS:
        raise KernelError(f"surface: elements are '{elements}'", mend=f"one of {', '.join(ELEMENTS)}")
    name = resolve(backend, on_gpu=on_gpu, kernel="surface")
    if name == "gpu":
        return _on_gpu(label, prediction, names, sizes, elements, boxes)
    maps = as_array(label), as_array(prediction)
    if name == "reference":
        from umd_engine.kernels.surface import reference

        return reference.surface_distances(*maps, names, sizes, elements)
    from umd_engine.kernels.surface import cpu

    return cpu.surface_distances(*maps, names, sizes, elements, boxes=boxes)


def _on_gpu(
    label: Any,
    prediction: Any,
    ids: Sequence[int],
    spacing: tuple[float, float, float],
    elements: str,
    boxes: Boxes | None,
) -> dict[int, SurfaceDistances]:
    if not isinstance(label, torch.Tensor) and not torch.cuda.is_available():
        from umd_engine.kernels.backends import missing_device

        raise missing_device("surface")
    try:
        import cupy  # noqa: F401
    except ImportError as error:
        raise missing_library("surface", "gpu", "cupy") from error
    from umd_engine.kernels.surface import gpu

    return gpu.surface_distances(label, prediction, ids, spacing, elements, boxes)


def _tolerance(tolerances: float | Mapping[int, float] | None, name: int) -> float | None:
    if isinstance(tolerances, Mapping):
        if name not in tolerances:
            raise KernelError(f"surface: no tolerance for id {name}", mend="one an id, in mm")
        tolerances = tolerances[name]
    if tolerances is not None and not (math.isfinite(tolerances) and tolerances >= 0):
        raise KernelError(f"surface: tolerance of id {name} is {tolerances}", mend="0 or more, in mm")
    return None if tolerances is None else float(tolerances)
