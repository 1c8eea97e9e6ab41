"""Separable resampling of volumes to a new shape: nearest, linear or cubic B-spline, an order an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch

from umd_engine.errors import KernelError
from umd_engine.kernels.backends import missing_device, resolve
from umd_engine.kernels.resample import cpu, gpu
from umd_engine.kernels.resample.arguments import Clip, Sizes, check, parse_clip

Data = TypeVar("Data", np.ndarray, torch.Tensor)


def zoom(
    data: Data,
    shape: Sequence[int],
    orders: Sequence[int],
    clip: str | None = None,
    backend: str = "auto",
) -> Data:
    """Resample every channel to `shape`, computed in float64.

    Output voxel i of an axis of n -> m voxels lies at n / m * (i + 0.5) - 0.5 (voxel centres, as grid_mode of
    scipy.ndimage.zoom and align_corners=False of torch); beyond the border the edge voxel repeats. Order 3
    equals scipy.ndimage.zoom(order=3, mode="nearest", grid_mode=True) to 1e-12 of the data's range, order 0
    takes voxel floor(x + 0.5) as scipy.ndimage.map_coordinates(order=0) does. An axis that keeps its length is
    left as it is.

    Args:
        data: [C, X, Y, Z], NumPy array or torch tensor of any real dtype; NaN spreads.
        shape: the new (X, Y, Z).
        orders: 0 (nearest), 1 (linear) or 3 (cubic B-spline) for each of X, Y, Z.
        clip: None; "volume": each channel to its own range in `data`, as skimage.transform.resize(clip=True);
            "slice:AXIS": each slice along spatial axis AXIS (0 to 2, which must keep its length) to its own.
        backend: "auto" (where `data` lies), "cpu", "gpu" or "reference" (SciPy).

    Returns:
        [C, *shape] on the device and of the kind of `data`, float64; where all orders are 0, its dtype.

    Raises:
        KernelError: not four axes, an empty axis, a complex or unknown dtype, an order or clip that is none.
        BackendError: the named backend cannot run here.
        OptionError: an unknown backend name.
    """
    target, axis_orders = check(data, shape, orders)
    where = parse_clip(clip, tuple(data.shape[1:]), target)
    name = resolve(backend, on_gpu=isinstance(data, torch.Tensor) and data.is_cuda, kernel="resample")
    if name == "reference":
        return _reference(data, target, axis_orders, where)
    tensor = _as_tensor(data)
    result = (_zoom_gpu if name == "gpu" else _zoom_cpu)(tensor, target, axis_orders, where)
    return _like(result, data)


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


def _zoom_cpu(data: torch.Tensor, shape: Sizes, orders: Sizes, clip: Clip) -> torch.Tensor:
    return cpu.zoom(data.cpu(), shape, orders, clip)


def _zoom_gpu(data: torch.Tensor, shape: Sizes, orders: Sizes, clip: Clip) -> torch.Tensor:
    if not torch.cuda.is_available():
        raise missing_device("resample")
    return gpu.zoom(data.cuda(), shape, orders, clip)


def _reference(data: Data, shape: Sizes, orders: Sizes, clip: Clip) -> Data:
    from umd_engine.kernels.resample import reference

    return _like(torch.from_numpy(reference.zoom(_as_array(data), shape, orders, clip)), data)


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
