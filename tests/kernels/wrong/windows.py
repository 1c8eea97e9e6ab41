"""Deliberately wrong windows: each a mistake that a fast one makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from umd_engine.kernels.windows import accumulate, finish, gather


def _gather(**arguments: Any) -> np.ndarray:
    return gather(**arguments, backend="reference")


def ignores_flips(**arguments: Any) -> np.ndarray:
    return _gather(**arguments | {"flips": None})


def pads_before_normalising(padding: float, **arguments: Any) -> np.ndarray:
    """The padding value goes through the normalisation."""
    found = _gather(**arguments, padding=np.nan)
    table = arguments["intensity"]
    if table is not None:
        low, high, mean, std = table[arguments["source"]].reshape(-1, table.shape[1], 4).transpose(2, 0, 1)
        padding = ((np.clip(padding, low, high) - mean) / std)[:, :, None, None, None]
    return np.where(np.isnan(found), padding, found).astype(found.dtype)


def clamps_to_the_edge(**arguments: Any) -> np.ndarray:
    """Voxels outside repeat the border."""
    volumes = [
        np.pad(v, ((0, 0), *[(40, 40)] * 3), mode="edge" if v.size else "constant") for v in arguments["volumes"]
    ]
    return _gather(**arguments | {"volumes": volumes, "starts": arguments["starts"] + 40})


def does_not_clip(**arguments: Any) -> np.ndarray:
    table = arguments["intensity"]
    if table is not None:
        table = np.concatenate([np.full_like(table[..., :2], [-np.inf, np.inf]), table[..., 2:]], axis=-1)
    return _gather(**arguments | {"intensity": table})


def one_scan_for_all(**arguments: Any) -> np.ndarray:
    """Each window normalised as its batch's first."""
    table = arguments["intensity"]
    return _gather(**arguments | {"intensity": table if table is None else table[:1]})


def first_channel_for_all(**arguments: Any) -> np.ndarray:
    table = arguments["intensity"]
    return _gather(**arguments | {"intensity": table if table is None else np.repeat(table[:, :1], table.shape[1], 1)})


def leaves_the_padding_unwritten(padding: float, **arguments: Any) -> np.ndarray:
    return _gather(**arguments, padding=np.nan)


WRONG_GATHER = (
    ignores_flips,
    pads_before_normalising,
    clamps_to_the_edge,
    does_not_clip,
    one_scan_for_all,
    first_channel_for_all,
    leaves_the_padding_unwritten,
)


def _accumulate(*arguments: Any, **options: Any) -> None:
    accumulate(*arguments, **options, backend="reference")


def overwrites(sums: np.ndarray, weights: Any, logits: Any, starts: Any, flips: Any) -> None:
    """Of overlapping windows the last one stays, as where two blocks race."""
    before = sums.copy()
    for n in range(len(logits)):
        alone = before.copy()
        _accumulate(alone, weights, logits[n : n + 1], starts[n : n + 1], flips=flips[n : n + 1])
        box = tuple(slice(s, s + p) for s, p in zip(starts[n], weights.shape, strict=True))
        sums[(slice(None), *box)] = alone[(slice(None), *box)]


def mirrors_the_weights_too(sums: np.ndarray, weights: Any, logits: Any, starts: Any, flips: Any) -> None:
    for n in range(len(logits)):
        _accumulate(sums, np.flip(weights, flips[n]), logits[n : n + 1], starts[n : n + 1], flips=[flips[n]])


def does_not_mirror_back(sums: np.ndarray, weights: Any, logits: Any, starts: Any, flips: Any) -> None:
    _accumulate(sums, weights, logits, starts)


def half_precision_sums(sums: np.ndarray, *arguments: Any, flips: Any) -> None:
    _accumulate(sums, *arguments, flips=flips)
    sums[...] = sums.astype(np.float16)


def skips_the_tail(sums: np.ndarray, weights: Any, logits: Any, starts: Any, flips: Any) -> None:
    """Only whole blocks of 8 voxels along z."""
    weights = weights.copy()
    weights[..., weights.shape[2] // 8 * 8 :] = 0
    _accumulate(sums, weights, logits, starts, flips=flips)


def starts_from_zero(sums: np.ndarray, *arguments: Any, flips: Any) -> None:
    sums[...] = 0
    _accumulate(sums, *arguments, flips=flips)


WRONG_ACCUMULATE = (
    overwrites,
    mirrors_the_weights_too,
    does_not_mirror_back,
    half_precision_sums,
    skips_the_tail,
    starts_from_zero,
)


def _finish(*arguments: Any, **options: Any) -> np.ndarray:
    return finish(*arguments, **options, backend="reference")


def _through(logits: Callable[[np.ndarray, Any], np.ndarray]) -> Callable[..., np.ndarray]:
    """A finish that resamples all heads by `logits(mean, shape)`, then decides and places them."""

    def run(sums: np.ndarray, shape: Any, *, total: Any, orders: Any, **options: Any) -> np.ndarray:
        mean = sums if total is None else sums / total
        values = logits(mean, shape) if 0 not in shape else np.zeros((len(sums), *shape), np.float32)
        return _finish(values, shape, orders=(0, 0, 0), **options)

    return run


def _torch(mean: np.ndarray, shape: Any, **options: Any) -> np.ndarray:
    return torch.nn.functional.interpolate(torch.from_numpy(mean.copy())[None], tuple(shape), **options)[0].numpy()


def _aligned(mean: np.ndarray, shape: Any) -> np.ndarray:
    return _torch(mean, shape, mode="trilinear", align_corners=True)


def _floor_nearest(mean: np.ndarray, shape: Any) -> np.ndarray:
    return _torch(mean, shape, mode="nearest")


aligns_corners = _through(_aligned)
aligns_corners.__name__ = "aligns_corners"
always_nearest = _through(_floor_nearest)
always_nearest.__name__ = "always_nearest"


def forgets_the_weights(*arguments: Any, total: Any, **options: Any) -> np.ndarray:
    """Resamples the sums: corners with a large weight count more."""
    return _finish(*arguments, **options)


def resamples_labels(sums: np.ndarray, shape: Any, *, orders: Any, **options: Any) -> np.ndarray:
    """Decides first, and then takes the nearest label."""
    return _finish(sums, shape, orders=(0, 0, 0), **options)


def last_largest(sums: np.ndarray, shape: Any, *, regions: Any, full: Any, **options: Any) -> np.ndarray:
    """Of equal heads the last."""
    if regions is not None or full is not None:
        return _finish(sums, shape, regions=regions, full=full, **options)
    return np.uint8(len(sums) - 1) - _finish(sums[::-1], shape, regions=None, full=None, **options)


def paints_in_another_order(sums: np.ndarray, shape: Any, *, regions: Any, **options: Any) -> np.ndarray:
    if regions is None:
        return _finish(sums, shape, regions=None, **options)
    return _finish(sums[::-1], shape, regions=regions[::-1], **options)


def seven_bit_heads(sums: np.ndarray, shape: Any, **options: Any) -> np.ndarray:
    return _finish(sums, shape, **options) & 127


def ignores_the_corner(*arguments: Any, corner: Any, **options: Any) -> np.ndarray:
    return _finish(*arguments, **options)


WRONG_FINISH = (
    aligns_corners,
    always_nearest,
    forgets_the_weights,
    resamples_labels,
    last_largest,
    paints_in_another_order,
    seven_bit_heads,
    ignores_the_corner,
)
