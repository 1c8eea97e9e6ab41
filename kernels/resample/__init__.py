"""Resampling of volumes: separable zooms, means of boxes, and gathering by an affine map.

zoom             to a new shape: nearest, linear or cubic B-spline, an order an axis
zoom_separate    nnU-Net's rule for anisotropic volumes
area             to a new shape: means of boxes of voxels
affine           onto any grid that an affine map places
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
import torch

from umd_engine.errors import KernelError
from umd_engine.kernels.backends import resolve
from umd_engine.kernels.parts import does
from umd_engine.kernels.resample import cpu, gpu
from umd_engine.kernels.resample.arguments import Sizes, check, check_border, check_precision, parse_clip
from umd_engine.kernels.resample.axes import zoomed
from umd_engine.kernels.resample.placement import place

Data = TypeVar("Data", np.ndarray, torch.Tensor)
FAST: dict[str, ModuleType] = {"cpu": cpu, "gpu": gpu}


@does("resample")
def zoom(
    data: Data,
    shape: Sequence[int],
    orders: Sequence[int],
    clip: str | None = None,
    backend: str = "auto",
    *,
    align_corners: bool = False,
    precision: str = "float64",
) -> Data:
    """Resample every channel to `shape`.

    Output voxel i of an axis of n -> m voxels lies at n / m * (i + 0.5) - 0.5 (voxel centres, as grid_mode of
    scipy.ndimage.zoom and align_corners=False of torch); beyond the border the edge voxel repeats. Order 3
    equals scipy.ndimage.zoom(order=3, mode="nearest", grid_mode=True) to 1e-12 of the data's range, order 0
    takes voxel floor(x + 0.5) as scipy.ndimage.map_coordinates(order=0) does. An axis that keeps its length is
    left as it is. Linear and nearest are torch's interpolate ("trilinear", "nearest-exact"; not
    "nearest", which takes voxel floor(n / m * i)).

    Args:
        data: [C, X, Y, Z], NumPy array or torch tensor of any real dtype; NaN spreads.
        shape: the new (X, Y, Z).
        orders: 0 (nearest), 1 (linear) or 3 (cubic B-spline) for each of X, Y, Z.
        clip: None; "volume": each channel to its own range in `data`, as skimage.transform.resize(clip=True);
            "slice:AXIS": each slice along spatial axis AXIS (0 to 2, which must keep its length) to its own.
        backend: "auto" (where `data` lies), "cpu", "gpu" or "reference" (SciPy).
        align_corners: the outer voxels' centres stay where they are: voxel i lies at (n - 1) / (m - 1) * i, as
            scipy.ndimage.zoom(grid_mode=False) and torch's align_corners=True.
        precision: "float64", or "float32" for a result of float32, within 1e-5 of the range and in less time.

    Returns:
        [C, *shape] on the device and of the kind of `data`, of `precision`; where all orders are 0, its dtype.

    Raises:
        KernelError: not four axes, an empty axis, a complex or unknown dtype, an order, clip or precision that is
            none.
        BackendError: the named backend cannot run here.
        OptionError: an unknown backend name.
    """
    target, axis_orders = check(data, shape, orders)
    where = parse_clip(clip, tuple(data.shape[1:]), target)
    dtype = check_precision(precision)
    name = _backend(backend, data)
    if name == "reference":
        from umd_engine.kernels.resample import reference

        found = reference.zoom(_as_array(data), target, axis_orders, where, align_corners)
        return _rounded(found, data, dtype, copied=not any(axis_orders))
    axes = zoomed(tuple(data.shape[1:]), target, align_corners)
    return _like(FAST[name].zoom(_as_tensor(data), axes, axis_orders, where, dtype), data)


def zoom_separate(data: Data, shape: Sequence[int], axis: int, order: int, order_z: int, backend: str = "auto") -> Data:
    """nnU-Net's rule for anisotropic volumes: slices first, then the axis across them.

    Each slice along `axis` is resampled in its plane with `order` and clipped to the slice's own range; then
    `axis` is resampled with `order_z`, without a clip (resample_data_or_seg of nnU-Net v2, separate z).

    Args:
        data: [C, X, Y, Z] as in `zoom`.
        shape: the new (X, Y, Z).
        axis: the spatial axis (0 to 2) of the largest spacing.
        order: in-plane, 0, 1 or 3.
        order_z: along `axis`, 0, 1 or 3.

    Returns:
        as `zoom`.

    Raises:
        as `zoom`; KernelError also for an axis that is none.
    """
    if axis not in (0, 1, 2):
        raise KernelError(f"resample: axis {axis} is not a spatial axis", mend="0, 1 or 2")
    target: Sizes = check(data, shape, (order, order, order_z))[0]
    if resolve(backend, on_gpu=False, kernel="resample") == "reference":
        from umd_engine.kernels.resample import reference

        found = reference.zoom_separate(_as_array(data), target, axis, order, order_z)
        return _like(torch.from_numpy(found), data)
    in_plane = [*target]
    in_plane[axis] = data.shape[axis + 1]
    plane_orders, axis_orders = [order] * 3, [0] * 3
    plane_orders[axis], axis_orders[axis] = 0, order_z
    slices = zoom(data, in_plane, plane_orders, clip=f"slice:{axis}", backend=backend)
    return zoom(slices, target, axis_orders, backend=backend)


@does("resample")
def area(data: Data, shape: Sequence[int], backend: str = "auto", *, precision: str = "float64") -> Data:
    """The mean of the voxels that each new voxel covers in part or whole, as torch's interpolate(mode="area").

    Along an axis of n -> m voxels, voxel i is the mean of voxels floor(i n / m) to ceil((i + 1) n / m) - 1, each
    with the same weight. For shrinking: where m > n, voxels repeat.

    Args:
        data, shape, backend, precision: as in `zoom`.

    Returns:
        [C, *shape] on the device and of the kind of `data`, of `precision`.

    Raises:
        as `zoom`.
    """
    target = check(data, shape, (1, 1, 1))[0]
    dtype = check_precision(precision)
    name = _backend(backend, data)
    if name == "reference":
        from umd_engine.kernels.resample import reference

        return _rounded(reference.area(_as_array(data), target), data, dtype)
    return _like(FAST[name].area(_as_tensor(data), target, dtype), data)


@does("resample")
def affine(
    data: Data,
    matrix: Any,
    shape: Sequence[int],
    order: int,
    border: str = "nearest",
    fill: float = 0.0,
    clip: str | None = None,
    backend: str = "auto",
    *,
    precision: str = "float64",
) -> Data:
    """Resample every channel onto a grid that an affine map places.

    Output voxel (i, j, k) takes the value at matrix @ (i, j, k, 1), in voxels of `data`: coordinates are the sums, in
    this order, of the float64 products with i (and the translation), j and k. Order 0 takes voxel floor(x + 0.5).

    Args:
        data: as in `zoom`.
        matrix: (4, 4) or (3, 4), output voxel -> input voxel; inv(input affine) @ output affine.
        shape: the output's (X, Y, Z).
        order: 0 (nearest), 1 (trilinear) or 3 (cubic B-spline, prefiltered).
        border: "nearest", the edge voxels go on for ever (grid_sample's "border", SciPy's "nearest"; order 3, which
            swings there, has come to rest 4 voxels beyond the border, where it is held); "constant",
            the same within the outer voxels, `fill` where a place lies in no voxel of the input, that is more than
            half a voxel beyond the outer centres (as ITK's resampling; SciPy's "constant" begins at the centres).
        fill: what `border="constant"` puts there; order 0 needs one that the dtype of `data` holds.
        clip: None or "volume", as in `zoom`; `fill` is not clipped.
        backend, precision: as in `zoom`.

    Returns:
        [C, *shape] on the device and of the kind of `data`, of `precision`; of its dtype for order 0.

    Raises:
        as `zoom`; KernelError also for a matrix that is none, an unknown border, a fill that does not fit.
    """
    target = check(data, shape, (order,) * 3)[0]
    if clip not in (None, "volume"):
        raise KernelError(f"resample: unknown clip '{clip}' of affine", mend="volume or None")
    where = parse_clip(clip, (), ())
    dtype = check_precision(precision)
    tensor = _as_tensor(data)
    outside = check_border(border, fill, dtype if order else tensor.dtype)
    placement = place(matrix, tensor.shape[1:], target)
    name = _backend(backend, data)
    if name == "reference":
        from umd_engine.kernels.resample import reference

        found = reference.affine(_as_array(data), placement.coordinates, order, outside, where)
        return _rounded(found, data, dtype, copied=order == 0)
    return _like(FAST[name].affine(tensor, placement, order, outside, where, dtype), data)


def _backend(name: str, data: Any) -> str:
    return resolve(name, on_gpu=isinstance(data, torch.Tensor) and data.is_cuda, kernel="resample")


def _rounded(found: np.ndarray, data: Data, dtype: torch.dtype, copied: bool = False) -> Data:
    """The reference's float64 in the precision asked for; `copied` voxels keep their dtype."""
    result = torch.from_numpy(found)
    return _like(result if copied else result.to(dtype), data)


def _as_array(data: np.ndarray | torch.Tensor) -> np.ndarray:
    return data.detach().cpu().numpy() if isinstance(data, torch.Tensor) else data


def _as_tensor(data: np.ndarray | torch.Tensor) -> torch.Tensor:
    if isinstance(data, torch.Tensor):
        return data.detach()
    native = data.dtype.newbyteorder("=")
    takes = data.flags.writeable and data.dtype == native and all(step >= 0 for step in data.strides)
    return torch.from_numpy(data if takes else np.array(data, dtype=native, order="C"))


def _like(result: torch.Tensor, data: Data) -> Data:
    if isinstance(data, torch.Tensor):
        return result.to(data.device)
    return result.cpu().numpy()
