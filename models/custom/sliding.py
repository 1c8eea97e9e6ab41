"""Windows of a stage as a program: where they start, how they are weighted, and their sums."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import torch

from umd_engine.engine.accumulator import Accumulator, Sums
from umd_engine.engine.unit import Unit
from umd_engine.engine.windows import Triple, centred_gaussian, flush_starts, gaussian_weights, window_starts
from umd_engine.engine.work import Program, Tensors, Work
from umd_engine.errors import ModelError
from umd_engine.models.custom.description import Windows
from umd_engine.models.nnunet.protocol import pad_to


def starts_of(shape: Triple, windows: Windows) -> list[Triple]:
    """First voxels of all windows, the last axis running fastest; a shape of at least the patch."""
    return list(itertools.product(*lines_of(shape, windows)))  # type: ignore[arg-type]


def lines_of(shape: Triple, windows: Windows) -> list[list[int]]:
    """First voxels of the windows along each axis."""
    pairs = zip(shape, windows.patch, strict=True)
    if windows.placing == "even":
        return [window_starts(n, patch, 1 - windows.overlap) for n, patch in pairs]
    return [flush_starts(n, patch, windows.overlap) for n, patch in pairs]


def weights_of(windows: Windows) -> torch.Tensor:
    """float32 [*patch], above zero."""
    if windows.blending == "constant":
        return torch.ones(windows.patch)
    if windows.blending == "gaussian":
        return gaussian_weights(windows.patch, torch.float32, windows.sigma)
    return centred_gaussian(windows.patch, windows.sigma)


def sums_of(
    data: torch.Tensor, unit: Unit, windows: Windows, channels: int, asked: Sequence[torch.Tensor] = ()
) -> Program[Sums]:
    """Weighted float32 sums of a network's outputs over data [C, X, Y, Z], padded to a patch.

    Args:
        channels: the network's outputs a voxel.
        asked: classes [1] or vectors of texts, asked for one after the other in each window; the sums then have
            `channels` for each.

    Raises:
        ModelError: outputs of another shape, or that are not finite.
    """
    padded, inner = pad_to(data, windows.patch)
    if windows.padding == "edge" and padded.shape != data.shape:
        sides = [(side.start, n - side.stop) for side, n in zip(inner, padded.shape[1:], strict=True)]
        flat = [count for before_after in reversed(sides) for count in before_after]
        padded = torch.nn.functional.pad(data[None], flat, mode="replicate")[0]
    shape: Triple = tuple(padded.shape[1:])  # type: ignore[assignment]
    starts = starts_of(shape, windows)
    times = max(len(asked), 1)
    sums = Accumulator(channels * times, shape, weights_of(windows).to(data.device))
    sink = _sink(sums, starts, (channels, *windows.patch), unit.name, times)
    yield Work(unit, _items(padded, starts, windows.patch, asked), len(starts) * times, sink, sums.spill)
    low, high = torch.aminmax(sums.values)
    if not bool(torch.isfinite(low) & torch.isfinite(high)):
        raise ModelError(f"{unit.name} gives infinite or undefined values", mend="use --precision fp32 or bf16")
    return sums.sums().crop(inner)


def _items(data: torch.Tensor, starts: list[Triple], patch: Triple, asked: Sequence[torch.Tensor]) -> Iterator[Tensors]:
    for start in starts:
        window = data[(slice(None), *(slice(s, s + p) for s, p in zip(start, patch, strict=True)))]
        if not asked:
            yield (window,)
        for one in asked:
            yield window, one


def _sink(
    sums: Accumulator, starts: list[Triple], shape: tuple[int, ...], name: str, asked: int
) -> Callable[[int, Tensors], None]:
    collected: list[torch.Tensor] = []

    def add(item: int, outputs: Tensors) -> None:
        values = outputs[0]
        if tuple(values.shape) != shape:
            raise ModelError(
                f"{name} gives {tuple(values.shape)} instead of {shape}",
                mend="mend output.channels, windows.patch or network.output of the description",
            )
        collected.append(values)
        if len(collected) == asked:  # what a window is asked follows one another
            whole = collected[0] if asked == 1 else torch.cat(collected)
            collected.clear()
            sums.add(starts[item // asked], whole)

    return add
