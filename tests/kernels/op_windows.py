"""Windows against NumPy and SciPy: gathered to a rounding, summed to a rounding, labels exactly but for near ties."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from tester import Implementation, MismatchError, Operation, compare, poisoned_outputs, unchanged
from wrong import windows as wrong

from umd_engine.kernels.windows import accumulate, cases, finish, gather, reference
from umd_engine.kernels.windows.arguments import NETWORK, Places, as_tensor, check_intensity, check_places

ROUNDING = 2e-6  # of the largest value


def check_gather(case: cases.GatherCase, implementation: Implementation, seed: int = 0) -> None:
    """`implementation(**arguments)`: a rounding of float32, or half a unit in the last place of float16."""
    arguments = case.make(seed)
    before = [volume.copy() for volume in arguments["volumes"]]
    expected = gather(**arguments, backend="reference")
    with poisoned_outputs():
        found = implementation(**arguments)
    size = float(np.abs(expected).max()) if expected.size else 0.0
    compare(case.name, found, expected, (1e-3 if case.dtype == "float16" else ROUNDING) * size)
    unchanged(case.name, arguments["volumes"], before)


def check_accumulate(case: cases.SumCase, implementation: Implementation, seed: int = 0) -> None:
    """`implementation(sums, weights, logits, starts, flips=...)`, in place."""
    sums, weights, logits, starts, flips = case.make(seed)
    before = weights.copy(), logits.copy()
    expected, found = (sums.copy(order="K") for _ in range(2))
    accumulate(expected, weights, logits, starts, flips=flips, backend="reference")
    implementation(found, weights, logits, starts, flips=flips)
    compare(case.name, found, expected, ROUNDING * float(np.abs(expected).max()))
    unchanged(case.name, (weights, logits), before)


def check_finish(case: cases.FinishCase, implementation: Implementation, seed: int = 0) -> None:
    """`implementation(sums, shape, total=..., orders=..., regions=..., full=..., corner=...)`."""
    sums, total = case.make(seed)
    before = sums.copy()
    options: dict[str, Any] = {"orders": case.orders, "regions": case.regions, "full": case.full, "corner": case.corner}
    expected = finish(sums, case.new, total=total, **options, backend="reference")
    with poisoned_outputs():
        found = implementation(sums, case.new, total=total, **options)
    compare(case.name, found, expected, 0.0 if case.tied else 255.0)
    for plane in np.unique(np.argwhere(found != expected)[:, 0]):
        _check_ties(case, sums, total, int(plane), found[plane], expected[plane])
    unchanged(case.name, (sums,), (before,))


def _check_ties(
    case: cases.FinishCase, sums: np.ndarray, total: np.ndarray | None, plane: int, found: Any, expected: Any
) -> None:
    """Where a plane's labels differ, the heads that decide are nearer than a rounding."""
    (x, y, z), (nx, ny, nz) = case.corner, case.new
    box = slice(y, y + ny), slice(z, z + nz)
    wrong = found != expected
    if not x <= plane < x + nx or np.count_nonzero(wrong) != np.count_nonzero(wrong[box]):
        raise MismatchError(f"{case.name}: labels outside of the box")
    logits = reference.resampled(sums, total, case.new, case.orders, plane - x)[:, wrong[box]]
    near = cases.NEAR_TIE * float(np.ptp(logits))
    if case.regions is None:
        chosen = np.take_along_axis(logits, found[box][wrong[box]][None].astype(int), 0)[0]
        ties = logits.max(axis=0) - chosen < near
    else:
        ties = np.abs(logits).min(axis=0) < near
    if not ties.all():
        raise MismatchError(f"{case.name}: {np.count_nonzero(~ties)} labels of plane {plane} are not the reference's")


def _gather_tensors(volumes: Any, *rest: Any, device: str, **options: Any) -> np.ndarray:
    there = [torch.from_numpy(volume.copy(order="K")).to(device) for volume in volumes]
    return gather(there, *rest, **options).cpu().numpy()


def _accumulate_tensors(sums: np.ndarray, *arrays: Any, device: str, **options: Any) -> None:
    weights, logits, starts = arrays
    there = torch.from_numpy(sums).to(device)
    accumulate(there, torch.from_numpy(weights).to(device), torch.from_numpy(logits).to(device), starts, **options)
    sums[...] = there.cpu().numpy()


def _finish_tensors(sums: np.ndarray, shape: Any, *, total: Any, device: str, **options: Any) -> np.ndarray:
    divisor = None if total is None else torch.from_numpy(total).to(device)
    return finish(torch.from_numpy(sums).to(device), shape, total=divisor, **options).cpu().numpy()


def _by_windows(sums: np.ndarray, weights: Any, logits: Any, starts: Any, flips: Any) -> None:
    """A window a call, as a program's sink adds them."""
    for n in range(len(logits)):
        accumulate(sums, weights, logits[n : n + 1], starts[n : n + 1], flips=flips[n : n + 1], backend="cpu")


def _threads(sums: np.ndarray, weights: Any, logits: Any, starts: Any, flips: Any, threads: int) -> None:
    from umd_engine.kernels.windows import cpu

    places: Places = check_places(starts, flips, None, len(logits), 1)
    cpu.accumulate(
        torch.from_numpy(sums), torch.from_numpy(weights), as_tensor(logits, "", NETWORK, 5), places, threads
    )


def _gather_threads(volumes: Any, starts: Any, patch: Any, *, threads: int, dtype: str, **options: Any) -> np.ndarray:
    from umd_engine.kernels.windows import cpu

    tensors = [torch.from_numpy(volume) for volume in volumes]
    table = check_intensity(options["intensity"], len(volumes), len(volumes[0]))
    places = check_places(starts, options["flips"], options["source"], None, len(volumes))
    out = cpu.gather(tensors, places, patch, table, options["padding"], getattr(torch, dtype), threads)
    return out.numpy()


GATHER = {
    "cpu": functools.partial(gather, backend="cpu"),
    "cpu-5-threads": functools.partial(_gather_threads, threads=5),
    "cpu-tensors": functools.partial(_gather_tensors, device="cpu"),
    "gpu": functools.partial(gather, backend="gpu"),
    "gpu-tensors": functools.partial(_gather_tensors, device="cuda"),
}
ACCUMULATE = {
    "cpu": functools.partial(accumulate, backend="cpu"),
    "cpu-1-thread": functools.partial(_threads, threads=1),
    "cpu-5-threads": functools.partial(_threads, threads=5),
    "cpu-by-windows": _by_windows,
    "cpu-tensors": functools.partial(_accumulate_tensors, device="cpu"),
    "gpu": functools.partial(accumulate, backend="gpu"),
    "gpu-tensors": functools.partial(_accumulate_tensors, device="cuda"),
}
FINISH = {
    "cpu": functools.partial(finish, backend="cpu"),
    "cpu-tensors": functools.partial(_finish_tensors, device="cpu"),
    "gpu": functools.partial(finish, backend="gpu"),
    "gpu-tensors": functools.partial(_finish_tensors, device="cuda"),
}
OPERATIONS = (
    Operation("windows-gather", cases.GATHER_CASES, check_gather, GATHER, wrong.WRONG_GATHER),
    Operation("windows-accumulate", cases.SUM_CASES, check_accumulate, ACCUMULATE, wrong.WRONG_ACCUMULATE),
    Operation("windows-finish", cases.FINISH_CASES, check_finish, FINISH, wrong.WRONG_FINISH),
)
