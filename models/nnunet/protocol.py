"""nnU-Net's sliding window, mirroring and fold averaging, as a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations

import torch

from umd_engine.engine.accumulator import Accumulator, Sums
from umd_engine.engine.unit import Unit
from umd_engine.engine.windows import Triple, gaussian_weights, window_grid
from umd_engine.engine.work import Program, Tensors, Work
from umd_engine.errors import ModelError, OptionError

VARIANTS = ("engine", "official")
NORMALIZATIONS = ("plans", "zscore")


@dataclass(frozen=True)
class Options:
    """What a user may choose.

    Attributes:
        variant: `engine` sums windows and folds in float32 and resamples logits in float32;
            `official` sums in float16 and resamples in float64 rounded to float16, as nnunetv2 does.
        folds: which folds to average, e.g. "0,2" or "all"; empty: every numbered fold.
        mirroring: average over all flips of the axes the checkpoint allows.
        step: the largest step between windows as a share of the patch.
        checkpoint: file name inside a fold.
        normalization: `plans`, or `zscore` in place of every channel's own: each image by its mean and SD. With it
            a network trained on CT can be shown images that are not in HU; no official code does so.
    """

    variant: str = "engine"
    folds: str = ""
    mirroring: bool = True
    step: float = 0.5
    checkpoint: str = "checkpoint_final.pth"
    normalization: str = "plans"

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise OptionError(
                f"variant '{self.variant}' is unknown", where="nnunet", mend=f"use {' or '.join(VARIANTS)}"
            )
        if self.normalization not in NORMALIZATIONS:
            raise OptionError(
                f"normalization '{self.normalization}' is unknown",
                where="nnunet",
                mend=f"use {' or '.join(NORMALIZATIONS)}",
            )
        if not 0 < self.step <= 1:
            raise OptionError(f"step is {self.step}", where="nnunet", mend="use a share of the patch in (0, 1]")

    @property
    def official(self) -> bool:
        return self.variant == "official"


def flips(axes: Sequence[int], mirroring: bool) -> list[tuple[int, ...]]:
    """All combinations of mirrored axes of a window [C, X, Y, Z], the plain window first."""
    names = [axis + 1 for axis in axes] if mirroring else []
    return list(chain.from_iterable(combinations(names, n) for n in range(len(names) + 1)))


def windows_of(shape: Triple, patch: Triple, options: Options) -> list[Triple]:
    """Start corners in data of that shape, padded to a patch."""
    x, y, z = (max(n, p) for n, p in zip(shape, patch, strict=True))
    return window_grid((x, y, z), patch, options.step)


def logits_of(
    data: torch.Tensor,
    units: Sequence[Unit],
    patch: Triple,
    heads: int,
    mirror_axes: Sequence[int],
    options: Options,
) -> Program[Sums]:
    """Logits [heads, X, Y, Z] of prepared data [C, X, Y, Z]: the mean of windows, flips and folds.

    The engine variant adds every output to one float32 sum, to be divided once. The official one averages the flips
    of a window, divides each fold by its weights and averages the folds in their order, every sum rounded to
    float16.

    Raises:
        ModelError: a logit is not finite (float16 overflows at 65504).
    """
    padded, inner = pad_to(data, patch)
    shape: Triple = tuple(padded.shape[1:])  # type: ignore[assignment]
    dtype = torch.float16 if options.official else torch.float32
    weights = gaussian_weights(patch, dtype).to(data.device)
    starts = windows_of(shape, patch, options)
    turns = flips(mirror_axes, options.mirroring)
    sums: Accumulator | None = None
    means: torch.Tensor | None = None
    for unit in units:
        if sums is None or options.official:
            sums = Accumulator(heads, shape, weights, dtype)
        sink = (_averaging_sink if options.official else _sink)(sums, starts, turns)
        yield Work(unit, _items(padded, starts, patch, turns), len(starts) * len(turns), sink, sums.spill)
        found = (Sums(sums.mean()) if options.official else Sums(sums.values)).crop(inner).values
        if not _finite(found):
            raise ModelError(f"{unit.name} gives infinite or undefined logits", mend="use --precision fp32 or bf16")
        if options.official:
            means = found if means is None else means.add_(found.to(means.device))
    assert sums is not None
    if means is None:
        return sums.sums().crop(inner)
    return Sums(means.div_(len(units)) if len(units) > 1 else means)


def _finite(values: torch.Tensor) -> bool:
    """Without a mask of all values: NaN and infinity show in the extremes."""
    low, high = torch.aminmax(values)
    return bool(torch.isfinite(low) & torch.isfinite(high))


def pad_to(data: torch.Tensor, patch: Triple) -> tuple[torch.Tensor, tuple[slice, slice, slice]]:
    """Zero-pad [C, X, Y, Z] to at least the patch, evenly, the odd voxel at the end; and the inner box."""
    missing = [max(p - n, 0) for p, n in zip(patch, data.shape[1:], strict=True)]
    low = [m // 2 for m in missing]
    inner = tuple(slice(lo, lo + n) for lo, n in zip(low, data.shape[1:], strict=True))
    pads = [side for lo, m in reversed(list(zip(low, missing, strict=True))) for side in (lo, m - lo)]
    return torch.nn.functional.pad(data, pads), inner  # type: ignore[return-value]


def _items(data: torch.Tensor, starts: list[Triple], patch: Triple, turns: list[tuple[int, ...]]) -> Iterator[Tensors]:
    """All flips of a window follow one another, so that one window at a time is being averaged."""
    for start in starts:
        window = data[(slice(None), *(slice(s, s + p) for s, p in zip(start, patch, strict=True)))]
        for axes in turns:
            yield (window.flip(axes) if axes else window,)


def _sink(sums: Accumulator, starts: list[Triple], turns: list[tuple[int, ...]]) -> Callable[[int, Tensors], None]:
    def add(item: int, outputs: Tensors) -> None:
        window, turn = divmod(item, len(turns))
        sums.add(starts[window], outputs[0], [axis - 1 for axis in turns[turn]])

    return add


def _averaging_sink(
    sums: Accumulator, starts: list[Triple], turns: list[tuple[int, ...]]
) -> Callable[[int, Tensors], None]:
    mean: list[torch.Tensor] = []  # the running sum over flips of the window being averaged

    def add(item: int, outputs: Tensors) -> None:
        window, turn = divmod(item, len(turns))
        logits = outputs[0]
        if turn == 0:
            mean[:] = [logits]
        else:
            mean[0] = mean[0].add_(logits.flip(turns[turn]))
        if turn == len(turns) - 1:
            sums.add(starts[window], mean[0].div_(len(turns)) if len(turns) > 1 else mean[0])

    return add
