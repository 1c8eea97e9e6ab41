"""Connected components of a label map against cc3d and SciPy."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch

from umd_engine.bench.floor import Entry
from umd_engine.bench.kernels.clicks import SHAPE, pair
from umd_engine.kernels.components import Components, components, reference

PEERS = {
    "cc3d": "cc3d.connected_components(labels, connectivity=26)",
    "cc3d + statistics": "cc3d.connected_components(labels, connectivity=26); cc3d.statistics(numbers)",
    "scipy.ndimage.label x 13": "scipy.ndimage.label(labels == organ, np.ones((3, 3, 3))) x 13",
}


def entries() -> list[Entry]:
    """The phantom's 13 organs, and noise, where every run of ids is short."""
    return [*_entries("13 organs", lambda: pair()[0], True), *_entries("noise", noise, False)]


@cache
def noise() -> np.ndarray:
    """A third of the voxels set by chance, uint8."""
    return (np.random.default_rng(0).random(SHAPE) < 1 / 3).astype(np.uint8)


def _entries(name: str, make: Callable[[], np.ndarray], organs: bool) -> list[Entry]:
    case, moved = f"256x256x300, 26-connected, {name}", 5 * int(np.prod(SHAPE))
    expected = cache(lambda: reference.components(make(), 26))

    def check(found: Components) -> None:
        numbers, sizes, ids = expected()
        ours = found.numbers.cpu().numpy() if isinstance(found.numbers, torch.Tensor) else found.numbers
        if not (
            np.array_equal(ours, numbers) and np.array_equal(found.sizes, sizes) and np.array_equal(found.ids, ids)
        ):
            raise AssertionError("components are not the reference's")

    def check_peer(count: int) -> None:
        if count != len(expected()[1]):
            raise AssertionError(f"{count} components, the reference has {len(expected()[1])}")

    there = cache(lambda: torch.from_numpy(make()).cuda())
    rows = [
        Entry("components", "cpu", case, lambda: components(make(), 26), moved, check),
        Entry("components", "gpu", case, lambda: components(there(), 26), moved, check),
    ]
    for peer, call in PEERS.items():
        if organs or peer.startswith("cc3d"):
            run: Callable[[], Any] = _peer(peer, make)
            rows.append(Entry("components", f"peer:{peer}", case, run, 0, check_peer, True, call))
    return rows


def _peer(name: str, make: Callable[[], np.ndarray]) -> Callable[[], int]:
    def run() -> int:
        labels = make()
        if name.startswith("scipy"):
            from scipy import ndimage

            return sum(int(ndimage.label(labels == organ, np.ones((3, 3, 3)))[1]) for organ in range(1, 14))
        import cc3d

        numbers, count = cc3d.connected_components(labels, connectivity=26, return_N=True)
        if name.endswith("statistics"):
            cc3d.statistics(numbers)
        return int(count)

    return run
