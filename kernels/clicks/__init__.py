"""Simulated clicks: one voxel an organ, drawn by a published rule from a label or from a prediction's error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from umd_engine.errors import UnknownNameError
from umd_engine.kernels.backends import missing_device, missing_library, resolve
from umd_engine.kernels.clicks.arguments import as_volume, check, is_on_gpu
from umd_engine.kernels.clicks.philox import ClickKey
from umd_engine.kernels.clicks.rules import RULES, Rule
from umd_engine.kernels.clicks.volumes import MAX_SLOTS, Volumes

__all__ = ["RULES", "ClickKey", "Clicks", "draw_clicks"]


@dataclass(frozen=True)
class Clicks:
    """A click an organ, in the order the organs were named; arrays, or tensors on the label's device.

    Attributes:
        voxels: int64 [N, 3], x, y, z; -1 where none was drawn.
        positive: bool [N], the voxel is in the organ's label; false where none was drawn.
        drawn: bool [N]; false where the region was empty, so that there is nothing to click on.
    """

    voxels: Any
    positive: Any
    drawn: Any


def draw_clicks(
    label: Any,
    organs: Sequence[int],
    key: ClickKey,
    rule: str = "random",
    prediction: Any | None = None,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    backend: str = "auto",
) -> Clicks:
    """The next click of each organ; the same voxel on every backend, whatever other organs are drawn beside it.

    The region is the organ's error, label XOR prediction; without a prediction that is the whole organ. Rules:
    "random" (each voxel alike), "deepest" (the first of the largest distance to the region's outside), "cvpr25",
    "ritm", "sam_med3d", "sam_med3d_ritm" and "vista3d"; their steps stand in `RULES`. Each takes its chance from
    Philox4x32-10 of the key and the organ, not from the official code's stream.

    Args:
        label: uint8 label map [X, Y, Z], or uint32 bit planes where bit k is `organs[k]`; NumPy array or torch tensor.
        organs: ids, 1 to 255, each once.
        key: what the chance depends on.
        prediction: the same grid and device as `label`, a map or planes of its own; None is an empty prediction.
        spacing: of the axes, in the unit that depths are compared in (mm), for "deepest"; other rules are defined
            in voxels.
        backend: "auto" (where `label` lies), "cpu" (numba), "gpu" (CUDA; copies nothing to the host) or "reference".

    Raises:
        KernelError: another dtype, unlike shapes or devices, organs out of range or twice, more than 32 planes, a
            spacing that is not positive and finite or that the rule has no use for, 2^31 voxels or more.
        UnknownNameError: a rule that is none. BackendError: the named backend cannot run here.
        OptionError: an unknown backend name.
    """
    if rule not in RULES:
        raise UnknownNameError("click rule", rule, RULES)
    ids, size = check(label, prediction, organs, spacing, rule)
    name = resolve(backend, on_gpu=is_on_gpu(label), kernel="clicks")
    # [N, 5]; a call takes 32 organs at once
    parts = [ids[first : first + MAX_SLOTS] for first in range(0, len(ids), MAX_SLOTS)]
    rows = [_draw(name, label, prediction, part, size, RULES[rule], key) for part in parts or [()]]
    return _as_clicks(torch.cat(rows), label)


def _draw(
    name: str, label: Any, prediction: Any, organs: tuple[int, ...], spacing: Any, rule: Rule, key: ClickKey
) -> torch.Tensor:
    on_gpu = name == "gpu"
    if on_gpu and not torch.cuda.is_available():
        raise missing_device("clicks")
    volumes = Volumes(
        as_volume(label, on_gpu), None if prediction is None else as_volume(prediction, on_gpu), organs, spacing
    )
    words = key.words(organs)
    if on_gpu:
        try:
            import cupy  # noqa: F401
        except ImportError as error:
            raise missing_library("clicks", "gpu", "cupy") from error
        from umd_engine.kernels.clicks import gpu

        return gpu.draw(volumes, rule, words)
    if name == "reference":
        from umd_engine.kernels.clicks import reference

        return torch.from_numpy(reference.draw(volumes, rule, words))
    from umd_engine.kernels.clicks import cpu

    return torch.from_numpy(cpu.draw(volumes, rule, words))


def _as_clicks(rows: torch.Tensor, label: Any) -> Clicks:
    rows = rows.to(label.device) if isinstance(label, torch.Tensor) else rows.cpu()
    fields = rows[:, :3].contiguous(), rows[:, 3] == 1, rows[:, 4] == 1
    if isinstance(label, torch.Tensor):
        return Clicks(*fields)
    return Clicks(*(field.numpy() for field in fields))
