"""Windows on the CPU: numba loops, threads over planes; a voxel's sums are always added in the same order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch

from umd_engine.errors import KernelError
from umd_engine.kernels.backends import missing_library
from umd_engine.kernels.compiled import compile_loop
from umd_engine.kernels.threads import pieces, run_all, workers
from umd_engine.kernels.windows import loops
from umd_engine.kernels.windows.arguments import Places, Rule

DIRECT = (torch.float32, torch.int16, torch.uint8)  # what the loop reads where it lies
PIECES = 4  # of the planes, a thread


def gather(
    volumes: Sequence[torch.Tensor],
    places: Places,
    patch: tuple[int, int, int],
    intensity: np.ndarray,
    padding: float,
    dtype: torch.dtype,
    threads: int | None = None,
) -> torch.Tensor:
    """[N, C, *patch] in `dtype`."""
    out = torch.empty((len(places.starts), volumes[0].shape[0], *patch), dtype=dtype)
    loop = _compiled("gather_window")
    halves = pieces(0, patch[0], -(-workers(threads) // max(len(out), 1)))

    def task(n: int, first: int, last: int) -> None:
        number = places.source[n]
        volume, start = _readable(volumes[number], places.starts[n], patch)
        rows = out[n] if dtype is torch.float32 else torch.empty(out.shape[1:], dtype=torch.float32)
        arguments = start, int(places.flips[n]), intensity[number], np.float32(padding), first, last
        loop(volume.numpy(), rows.numpy(), *arguments)
        if dtype is not torch.float32:
            out[n, :, first:last] = rows[:, first:last]

    run_all([partial(task, n, *half) for n in range(len(out)) for half in halves], threads)
    return out


def _readable(volume: torch.Tensor, start: np.ndarray, patch: tuple[int, int, int]) -> tuple[torch.Tensor, np.ndarray]:
    """The volume, or where the loop cannot read its type, the part under the window as float32."""
    if volume.dtype in DIRECT:
        return volume, start
    low = [min(max(int(s), 0), size) for s, size in zip(start, volume.shape[1:], strict=True)]
    high = [max(int(s) + n, at) for s, n, at in zip(start, patch, low, strict=True)]
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return volume[(slice(None), *box)].float(), start - low


def accumulate(
    sums: torch.Tensor, weights: torch.Tensor, logits: torch.Tensor, places: Places, threads: int | None = None
) -> None:
    """sums [H, X, Y, Z] += weights * flipped logits [N, H, *patch], in place."""
    if not len(places.starts):
        return
    loop, heads = _compiled("accumulate_windows"), len(sums)
    low, high = int(places.starts[:, 0].min()), int(places.starts[:, 0].max()) + weights.shape[0]
    values, weight = sums.numpy(), weights.contiguous().numpy()

    def task(head: int, first: int, last: int) -> None:
        # a head at a time: half precision becomes float32 in the cache
        windows = logits[:, head : head + 1].float().numpy()
        loop(values[head : head + 1], weight, windows, places.starts, places.flips, first, last)

    rows = pieces(low, high, -(-workers(threads) // heads) if heads else 1)
    run_all([partial(task, head, *span) for head in range(heads) for span in rows], threads)


def finish(sums: torch.Tensor, total: torch.Tensor, rule: Rule, out: torch.Tensor, threads: int | None = None) -> None:
    """Labels into `out` [*rule.shape] uint8; two planes of means a thread beside it."""
    decide, write = _compiled("decide_plane"), _compiled("finish_plane")
    values, divisor, labels, written = sums.numpy(), total.numpy(), rule.labels, out.numpy()
    below, above, fraction = rule.axes[0]

    def task(first: int, last: int) -> int:
        means = np.empty((2, *values[:, 0].shape), np.float32)
        codes = np.empty((2, *values.shape[2:]), np.int16)
        held, bad = [-1, -1], 0
        for i in range(first, last):
            planes = int(below[i]), int(above[i])  # alike, or neighbours
            for x in planes:
                if held[x % 2] != x:
                    bad += decide(values[:, x], divisor[x], rule.by_regions, means[x % 2], codes[x % 2])
                    held[x % 2] = x
            pair = [means[x % 2] for x in planes] + [codes[x % 2] for x in planes]
            write(*pair, fraction[i], rule.axes[1], rule.axes[2], rule.by_regions, labels, written[i])
        return bad

    spans = pieces(0, len(below), workers(threads) * PIECES)
    bad = sum(run_all([partial(task, *span) for span in spans], threads))
    if bad:
        raise KernelError("windows: finish: sums / total is not finite somewhere", mend="look at the network's outputs")


@lru_cache(maxsize=8)
def _compiled(name: str) -> Callable[..., Any]:
    try:
        return compile_loop(getattr(loops, name))
    except ImportError as error:
        raise missing_library("windows", "cpu", "numba") from error
