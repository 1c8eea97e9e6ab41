"""Exact Euclidean distance transform of a mask, or of all organs of a label map on their own boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch

from umd_engine.errors import KernelError
from umd_engine.kernels.backends import missing_library, resolve
from umd_engine.kernels.bounds import bounds
from umd_engine.kernels.distance.arguments import Spacing, as_array, check_ids, check_map, check_spacing
from umd_engine.kernels.distance.regions import BORDERS, OrganDistance, organ_mask, slices, widened, within

__all__ = ["OrganDistance", "distance", "organ_distances"]
Data = TypeVar("Data", np.ndarray, torch.Tensor)


def distance(
    mask: Data,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    *,
    border: str = "ignored",
    squared: bool = False,
    backend: str = "auto",
) -> Data:
    """Distance of every voxel of a mask to the nearest voxel outside it, centre to centre.

    Equals scipy.ndimage.distance_transform_edt(mask, sampling=spacing) within float32 rounding; only the mask's
    own box is worked on. With spacing 1 squares are exact integers, distances the float32 nearest to their root.

    Args:
        mask: [X, Y, Z] bool or uint8 (not 0 is inside), NumPy array or torch tensor of any memory order.
        spacing: of X, Y, Z in mm; the default measures in voxels.
        border: "ignored": what lies outside the volume is nothing, as for SciPy; "background": it is outside the
            mask, as if the volume were padded by a layer of zeros.
        squared: squared distances, without the root.
        backend: "auto" (where `mask` lies), "cpu" (numba), "gpu" (CUDA) or "reference" (SciPy).

    Returns:
        float32 [X, Y, Z] of the kind and device of `mask`, mm (mm^2) or voxels: 0 outside the mask, inf in a mask
        that has no voxel outside.

    Raises:
        KernelError: another dtype, not three axes, a spacing that is not three positive numbers, an unknown border.
        BackendError: the named backend cannot run here.
        OptionError: an unknown backend name.
    """
    check_map(mask, "distance", "mask")
    inside = mask != 0
    # numpy's and torch's bool are bytes of 0 and 1
    labels = inside.view(torch.uint8) if isinstance(inside, torch.Tensor) else inside.view(np.uint8)
    found = organ_distances(labels, (1,), spacing, border=border, squared=squared, backend=backend)[1]
    if isinstance(mask, torch.Tensor):
        tensor = torch.zeros(mask.shape, dtype=torch.float32, device=mask.device)
        tensor[found.box] = found.distance
        return tensor
    array = np.zeros(mask.shape, np.float32)
    array[found.box] = found.distance
    return array


def organ_distances(
    labels: Any,
    ids: Sequence[int],
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    *,
    border: str = "ignored",
    squared: bool = False,
    backend: str = "auto",
) -> dict[int, OrganDistance]:
    """`distance` of the mask of each id of a label map, on the organ's own box.

    Args:
        labels: [X, Y, Z] uint8 label map, NumPy array or torch tensor.
        ids: those to transform, 1 to 255.
        spacing, border, squared, backend: as for `distance`.

    Returns:
        id -> its box and the distances within it, of the kind and device of `labels`. An organ without a voxel has
        empty slices and no distances. Everything outside the box is at distance 0.

    Raises:
        as `distance`; KernelError also for ids that are none or come twice.
    """
    on_gpu = check_map(labels, "distance", "labels")
    names, sizes = check_ids(ids, "distance"), check_spacing(spacing, "distance")
    if border not in BORDERS:
        raise KernelError(f"distance: border is '{border}'", mend=f"one of {', '.join(BORDERS)}")
    name = resolve(backend, on_gpu=on_gpu, kernel="distance")
    if name == "gpu":
        found = _on_gpu(labels, names, sizes, border, squared)
    else:
        found = (_reference if name == "reference" else _on_cpu)(as_array(labels), names, sizes, border, squared)
    if not isinstance(labels, torch.Tensor):
        return {name: OrganDistance(one.box, _array(one.distance)) for name, one in found.items()}
    return {name: OrganDistance(one.box, _tensor(one.distance, labels.device)) for name, one in found.items()}


def _on_cpu(
    labels: np.ndarray, ids: Sequence[int], spacing: Spacing, border: str, squared: bool
) -> dict[int, OrganDistance]:
    from umd_engine.kernels.distance import cpu

    boxes = bounds(labels, 256, backend="cpu").boxes[list(ids)]
    wide = [widened(box, labels.shape, border) if box.any() else box for box in boxes]
    masks = [organ_mask(labels, name, box) for name, box in zip(ids, wide, strict=True)]
    results = cpu.transform(masks, spacing, squared)
    return {
        name: OrganDistance(slices(box), result[within(box, around)])
        for name, box, around, result in zip(ids, boxes, wide, results, strict=True)
    }


def _on_gpu(labels: Any, ids: Sequence[int], spacing: Spacing, border: str, squared: bool) -> dict[int, OrganDistance]:
    try:
        import cupy  # noqa: F401
    except ImportError as error:
        raise missing_library("distance", "gpu", "cupy") from error
    from umd_engine.kernels.distance import gpu

    return gpu.organ_distances(labels, ids, spacing, border, squared)


def _reference(
    labels: np.ndarray, ids: Sequence[int], spacing: Spacing, border: str, squared: bool
) -> dict[int, OrganDistance]:
    from umd_engine.kernels.distance import reference

    found = {}
    for name in ids:
        where = np.nonzero(labels == name)
        box = np.array([(axis.min(), axis.max() + 1) if axis.size else (0, 0) for axis in where])
        whole = reference.distance(labels == name, spacing, border, squared)
        found[name] = OrganDistance(slices(box), whole[slices(box)])
    return found


def _array(distances: Any) -> np.ndarray:
    return distances if isinstance(distances, np.ndarray) else distances.cpu().numpy()


def _tensor(distances: Any, device: torch.device) -> torch.Tensor:
    return torch.as_tensor(distances).to(device)
