"""Connected components on a CUDA device; the launches are those that the tests run on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from umd_engine.kernels.components.source import BLOCK, CHUNK, SOURCE
from umd_engine.kernels.launch import Launch, on_device

AXES = {6: 1, 18: 2, 26: 3}  # how many axes a step to a neighbour may change


def components(labels: torch.Tensor, connectivity: int) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """int32 numbers on the device, int64 [N] sizes and uint8 [N] ids on the host: N has to be known there."""
    with torch.cuda.device(labels.device if labels.is_cuda else torch.cuda.current_device()):
        volume = labels.cuda().contiguous()
        launch = on_device(SOURCE)
        numbers, parent = (torch.empty(volume.shape, dtype=torch.int32, device=volume.device) for _ in range(2))
        chunks = torch.zeros(chunk_count(volume.numel()) + 1, dtype=torch.int32, device=volume.device)
        number(launch, volume, parent, chunks, numbers, connectivity)
        found = int(chunks[-1])
        sizes = torch.zeros(found, dtype=torch.int64, device=volume.device)
        ids = torch.zeros(found, dtype=torch.uint8, device=volume.device)
        measure(launch, volume, numbers, sizes, ids)
        return numbers, sizes.cpu().numpy(), ids.cpu().numpy()


def chunk_count(voxels: int) -> int:
    """How many chunks have their roots counted."""
    return -(-voxels // CHUNK)


def number(launch: Launch, volume: Any, parent: Any, chunks: Any, numbers: Any, connectivity: int) -> None:
    """Writes `numbers` [X, Y, Z] int32 and, at the end of `chunks` [chunk_count + 1] int32, how many there are."""
    voxels = int(np.prod(tuple(volume.shape)))
    if not voxels:
        return
    each, count = ((voxels + BLOCK - 1) // BLOCK,), chunk_count(voxels)
    _, ny, nz = map(int, volume.shape)
    launch("start", each, (BLOCK,), (volume, parent, voxels))
    launch("join", each, (BLOCK,), (volume, parent, voxels, ny, nz, AXES[connectivity]))
    launch("flatten", each, (BLOCK,), (parent, voxels))
    launch("count_roots", (count,), (BLOCK,), (parent, chunks, voxels))
    launch("sum_chunks", (1,), (1024,), (chunks, count))
    launch("number_roots", (count,), (BLOCK,), (parent, chunks, numbers, voxels))
    launch("number_others", each, (BLOCK,), (parent, numbers, voxels))


def measure(launch: Launch, volume: Any, numbers: Any, sizes: Any, ids: Any) -> None:
    """Adds to `sizes` [N] int64 and writes `ids` [N] uint8."""
    voxels = int(np.prod(tuple(volume.shape)))
    if voxels:
        launch("measure", ((voxels + BLOCK - 1) // BLOCK,), (BLOCK,), (volume, numbers, sizes, ids, voxels))
