"""Sliding windows: cut them out of volumes, sum them up, turn the sums into a label map on the scan's grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from umd_engine.errors import KernelError
from umd_engine.kernels.backends import missing_library, resolve
from umd_engine.kernels.windows import arguments as check
from umd_engine.kernels.windows import weights as plan
from umd_engine.kernels.windows.arguments import Places

FLIPS = {bits: tuple(a for a in range(3) if bits >> a & 1) for bits in range(8)}


def gather(
    volumes: Any,
    starts: Any,
    patch: Sequence[int],
    *,
    source: Sequence[int] | None = None,
    intensity: Any = None,
    flips: Sequence[Sequence[int]] | None = None,
    padding: float = 0.0,
    dtype: str = "float32",
    backend: str = "auto",
) -> Any:
    """A batch of windows: cut out, clipped, normalised, padded and mirrored in one pass.

    A voxel is (min(max(x, low), high) - mean) / std, computed in float32; NaN stays NaN.

    Args:
        volumes: [C, X, Y, Z] or several of them, of one type and device and any sizes: uint8, int16, float16,
            bfloat16 or float32, NumPy arrays or torch tensors.
        starts: integers [N, 3], the corner of each window in voxels; a window may reach outside.
        patch: (px, py, pz), a window's size.
        source: the number of each window's volume; None: the first.
        intensity: (low, high, mean, std) in the volume's unit, [4], [C, 4] or [volumes, C, 4]; None: as it is.
        flips: the mirrored axes (0 to 2) of each window; None: none.
        padding: the value of a voxel outside, in the unit of the result (after normalising).
        dtype: of the result: "float32", "float16" or "bfloat16" (tensors only).
        backend: "auto" (where the volumes lie), "cpu" (numba), "gpu" (Triton) or "reference".

    Returns:
        [N, C, px, py, pz] on the device and of the kind of the volumes.

    Raises:
        KernelError: an argument of another type, shape or range; volumes of unlike channels, types or devices.
        BackendError: the named backend cannot run here.
        OptionError: an unknown backend name.
    """
    given = [volumes] if isinstance(volumes, np.ndarray | torch.Tensor) else list(volumes)
    tensors = [check.as_tensor(volume, "a volume", check.PIXELS, 4) for volume in given]
    if not tensors:
        raise KernelError("windows: gather: there is no volume")
    for name, kinds in (
        ("types", {tensor.dtype for tensor in tensors}),
        ("devices", {tensor.device for tensor in tensors}),
        ("numbers of channels", {tensor.shape[0] for tensor in tensors}),
    ):
        if len(kinds) > 1:
            raise KernelError(f"windows: gather: volumes have unlike {name}: {sorted(map(str, kinds))}")
    if dtype not in check.DTYPES or (dtype == "bfloat16" and isinstance(given[0], np.ndarray)):
        raise KernelError(
            f"windows: gather: dtype '{dtype}'", mend=f"one of {', '.join(check.DTYPES)}, as NumPy has it"
        )
    size = check.check_triple(patch, "patch", 1)
    places = check.check_places(starts, flips, source, None, len(tensors))
    table = check.check_intensity(intensity, len(tensors), tensors[0].shape[0])
    name = _resolve(backend, tensors[0])
    if name == "reference":
        from umd_engine.kernels.windows import reference

        arrays = [tensor.float().cpu().numpy() for tensor in tensors]
        found = reference.gather(arrays, places.starts, size, places.source, _axes(places), table, padding)
        result = torch.from_numpy(found).to(check.DTYPES[dtype])
    else:
        result = _module(name).gather(tensors, places, size, table, padding, check.DTYPES[dtype])
    return result.cpu().numpy() if isinstance(given[0], np.ndarray) else result.to(tensors[0].device)


def accumulate(
    sums: Any,
    weights: Any,
    logits: Any,
    starts: Any,
    *,
    flips: Sequence[Sequence[int]] | None = None,
    backend: str = "auto",
) -> None:
    """Add weighted windows to `sums`, in place, in float32.

    A voxel's windows are added in their order, one product and one addition each, so the result has the same
    bits however often, on however many threads and in however large batches it is computed.

    Args:
        sums: float32 [H, X, Y, Z], NumPy array or torch tensor.
        weights: float32 [px, py, pz].
        logits: float16, bfloat16 or float32 [N, H, px, py, pz]; of a mirrored input, as the network gave them.
        starts: integers [N, 3], the corner of each window; windows lie inside.
        flips: the mirrored axes (0 to 2) of each window, mirrored back here; None: none.
        backend: as in `gather`.

    Raises:
        KernelError: an argument of another type, shape or device; a window that reaches outside.
        BackendError, OptionError: as in `gather`.
    """
    total = check.in_place(sums, "sums", 4)
    weight = check.as_tensor(weights, "weights", (torch.float32,), 3)
    windows = check.as_tensor(logits, "logits", check.NETWORK, 5)
    if tuple(windows.shape[1:]) != (total.shape[0], *weight.shape):
        raise KernelError(
            f"windows: accumulate: logits are {tuple(windows.shape)}, expected [N, {total.shape[0]}, "
            f"{', '.join(map(str, weight.shape))}]"
        )
    _one_device("accumulate", sums=total, weights=weight, logits=windows)
    places = check.check_places(starts, flips, None, len(windows), 1)
    _check_inside(places.starts, tuple(weight.shape), tuple(total.shape[1:]))
    name = _resolve(backend, total)
    if name == "reference":
        from umd_engine.kernels.windows import reference

        here = total.cpu().numpy()
        reference.accumulate(here, weight.cpu().numpy(), windows.float().cpu().numpy(), places.starts, _axes(places))
        total.copy_(torch.from_numpy(here))
    else:
        _module(name).accumulate(total, weight, windows, places)


def weight_sums(weights: torch.Tensor, starts: Any, shape: Sequence[int]) -> torch.Tensor:
    """float32 [*shape]: the weights [px, py, pz] of windows at all starts, summed; once a plan.

    Raises:
        KernelError: a window that reaches outside, or arguments of another type or shape.
    """
    weight = check.as_tensor(weights, "weights", check.NETWORK, 3)
    corners = check.check_places(starts, None, None, None, 1).starts
    size = check.check_triple(shape, "shape", 0)
    _check_inside(corners, tuple(weight.shape), size)
    return plan.weight_sums(weight, corners, size)


def finish(
    sums: Any,
    shape: Sequence[int],
    *,
    total: Any = None,
    orders: Sequence[int] = (1, 1, 1),
    regions: Sequence[int] | None = None,
    full: Sequence[int] | None = None,
    corner: Sequence[int] = (0, 0, 0),
    backend: str = "auto",
) -> Any:
    """A label map on the scan's grid: divide, resample, decide and place, without a second copy of the heads.

    New voxel i of an axis of n -> m voxels lies at n / m * (i + 0.5) - 0.5, beyond the border the edge repeats, as
    skimage.transform.resize(order=1, mode="edge", anti_aliasing=False) and torch's trilinear interpolation do.

    Args:
        sums: float32 [H, x, y, z], finite, NumPy array or torch tensor; views are fine.
        shape: (X, Y, Z) of the result.
        total: float32 [x, y, z] above zero, what the sums are divided by; None: they are means.
        orders: 1 (linear) or 0 (nearest, floor(x + 0.5)) for each axis; (0, 0, 0) takes each label as it is.
        regions: None: the first largest head's number. Otherwise a label for each head, painted where the head
            is above zero (its sigmoid above 0.5), later heads over earlier ones; at most 255.
        full: (X, Y, Z) of a grid to place the result in, the rest of it 0; None: the result alone.
        corner: of the result in `full`.
        backend: as in `gather`.

    Returns:
        uint8 [*shape], or [*full], on the device and of the kind of `sums`.

    Raises:
        KernelError: an argument of another type, shape, device or range; a mean that is NaN or infinite.
        BackendError, OptionError: as in `gather`.
    """
    values = check.as_tensor(sums, "sums", (torch.float32,), 4)
    old, new = tuple(values.shape[1:]), check.check_triple(shape, "shape", 0)
    divisor = None if total is None else check.as_tensor(total, "total", (torch.float32,), 3)
    if divisor is not None:
        if tuple(divisor.shape) != old:
            raise KernelError(f"windows: finish: total is {tuple(divisor.shape)}, expected {old}")
        _one_device("finish", sums=values, total=divisor)
    rule = check.check_rule(old, new, len(values), orders, regions)
    whole = new if full is None else check.check_triple(full, "full", 0)
    at = check.check_triple(corner, "corner", 0)
    if any(a + n > size for a, n, size in zip(at, new, whole, strict=True)):
        raise KernelError(f"windows: finish: a box of {new} at {at} does not fit into {whole}")
    box = tuple(slice(a, a + n) for a, n in zip(at, new, strict=True))
    name = _resolve(backend, values)
    result = torch.zeros(whole, dtype=torch.uint8, device=values.device)
    if 0 in new:
        pass
    elif name == "reference":
        from umd_engine.kernels.windows import reference

        labels = np.empty(new, np.uint8)
        weights = None if divisor is None else divisor.cpu().numpy()
        reference.finish(values.cpu().numpy(), weights, new, orders, regions, labels)
        result[box] = torch.from_numpy(labels)
    else:
        weight = torch.ones((), device=values.device).expand(old) if divisor is None else divisor
        _module(name).finish(values, weight, rule, result[box])
    return result.numpy() if isinstance(sums, np.ndarray) else result


def _resolve(backend: str, tensor: torch.Tensor) -> str:
    return resolve(backend, on_gpu=tensor.is_cuda, kernel="windows")


def _module(name: str) -> Any:
    if name == "cpu":
        from umd_engine.kernels.windows import cpu

        return cpu
    try:
        import triton  # noqa: F401
    except ImportError as error:
        raise missing_library("windows", "gpu", "triton") from error
    from umd_engine.kernels.windows import gpu

    return gpu


def _axes(places: Places) -> list[tuple[int, ...]]:
    return [FLIPS[int(bits)] for bits in places.flips]


def _one_device(operation: str, **tensors: torch.Tensor) -> None:
    if len({tensor.device for tensor in tensors.values()}) > 1:
        found = ", ".join(f"{name} on {tensor.device}" for name, tensor in tensors.items())
        raise KernelError(f"windows: {operation}: {found}", mend="move them to one device")


def _check_inside(starts: np.ndarray, patch: Sequence[int], shape: Sequence[int]) -> None:
    outside = (starts < 0) | (starts + np.array(patch) > np.array(shape))
    if outside.any():
        start = tuple(starts[outside.any(axis=1)][0].tolist())
        raise KernelError(f"windows: a window of {tuple(patch)} at {start} reaches outside of {tuple(shape)}")
