"""Normalisation and activation on the CPU: numba, a plane a thread, or a range of channels-last voxels a thread.

The statistics read the input once and the result reads it once more; 16-bit types go through float32 part by part.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch

from umd_engine.kernels.backends import missing_library
from umd_engine.kernels.compiled import compile_loop
from umd_engine.kernels.norm_act import layout, loops
from umd_engine.kernels.norm_act.merge import merged
from umd_engine.kernels.norm_act.scratch import Scratch

Share = Callable[[Callable[[slice], None], list[slice]], None]
PART = 1 << 18  # values of a part, if not one plane: 1 MiB in float32 stay in the cache


def norm_act(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    residual: torch.Tensor | None,
    eps: float,
    slope: float,
    threads: int | None = None,
) -> torch.Tensor:
    """Of x [N, C, ...]; at most `threads` (default: the CPUs this process may use).

    Raises:
        BackendError: numba is not installed.
    """
    form = layout.memory_format(x)
    x = x.contiguous(memory_format=form)
    out = torch.empty_like(x)
    if not x.numel():
        return out
    scale = np.ones(x.shape[1], np.float32) if weight is None else weight.float().numpy()
    shift = np.zeros(x.shape[1], np.float32) if bias is None else bias.float().numpy()
    added = torch.empty(0) if residual is None else residual.contiguous(memory_format=form)
    turned, run = (layout.planes, _planes) if form == torch.contiguous_format else (layout.rows, _rows)
    workers = threads or len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(workers) as pool:

        def share(task: Callable[[slice], None], parts: list[slice]) -> None:
            # a job a worker: a job a part costs more than a small part does
            jobs = [pool.submit(_each, task, parts[first::workers]) for first in range(workers)]
            for job in jobs:
                job.result()

        for item in range(len(x)):
            more = turned(added)[item] if added.numel() else None
            run(share, turned(x)[item], more, turned(out)[item], scale, shift, eps, np.float32(slope))
    return out


def _each(task: Callable[[slice], None], parts: list[slice]) -> None:
    for part in parts:
        task(part)


def _planes(
    share: Share,
    x: torch.Tensor,
    residual: torch.Tensor | None,
    out: torch.Tensor,
    scale: np.ndarray,
    shift: np.ndarray,
    eps: float,
    slope: np.float32,
) -> None:
    """All tensors [C, voxels]."""
    norm_planes, scratch = _compiled(loops.norm_planes), Scratch(_compiled)
    channels, voxels = x.shape

    def task(part: slice) -> None:
        values = scratch.read(x[part], "values")
        result = scratch.target(out[part])
        added = values[:0] if residual is None else scratch.read(residual[part], "added")
        norm_planes(values, scale[part], shift[part], eps, slope, added, result)
        scratch.store(result, out[part])

    share(task, _parts(channels, voxels))


def _rows(
    share: Share,
    x: torch.Tensor,
    residual: torch.Tensor | None,
    out: torch.Tensor,
    scale: np.ndarray,
    shift: np.ndarray,
    eps: float,
    slope: np.float32,
) -> None:
    """All tensors [voxels, C]."""
    statistics, apply_rows = _compiled(loops.row_statistics), _compiled(loops.apply_rows)
    scratch = Scratch(_compiled)
    voxels, channels = x.shape
    parts = _parts(voxels, channels)
    moments = np.empty((2, len(parts), channels))  # means and squared deviations

    def measure(part: slice) -> None:
        index = part.start // parts[0].stop
        statistics(scratch.read(x[part], "values"), moments[0, index], moments[1, index])

    share(measure, parts)
    mean, squares = merged(moments[0], moments[1], np.array([part.stop - part.start for part in parts]))
    factor = (scale / np.sqrt(np.maximum(squares, 0) / voxels + eps)).astype(np.float32)
    middle = mean.astype(np.float32)

    def task(part: slice) -> None:
        values = scratch.read(x[part], "values")
        result = scratch.target(out[part])
        added = values[:0] if residual is None else scratch.read(residual[part], "added")
        apply_rows(values, middle, factor, shift, slope, added, result)
        scratch.store(result, out[part])

    share(task, parts)


def _parts(length: int, width: int) -> list[slice]:
    """Ranges of an axis whose elements hold `width` values each, of about PART values."""
    step = max(1, PART // width)
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


@cache
def _compiled(loop: Callable[..., Any]) -> Callable[..., Any]:
    try:
        return compile_loop(loop)
    except ImportError as error:
        raise missing_library("norm_act", "cpu", "numba") from error
