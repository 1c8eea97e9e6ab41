"""Inputs that every implementation of the operations on windows is held against the reference on, and timed on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Triple = tuple[int, int, int]
NEAR_TIE = 1e-5  # of the logits' range: nearer heads may be decided either way by rounding


@dataclass(frozen=True)
class GatherCase:
    """Volumes of random intensities and windows at random starts, some outside."""

    name: str
    shapes: tuple[tuple[int, int, int, int], ...] = ((1, 20, 21, 22),)
    patch: Triple = (8, 9, 10)
    windows: int = 5
    pixel: str = "float32"
    dtype: str = "float32"
    normalized: bool = True
    outside: int = 0  # voxels that a start may lie outside
    view: Callable[[np.ndarray], np.ndarray] = lambda volume: volume

    def make(self, seed: int = 0) -> dict[str, Any]:
        """Arguments of `gather`."""
        rng = np.random.default_rng(seed)
        volumes = [self.view((rng.normal(90, 60, shape)).clip(0, 255).astype(self.pixel)) for shape in self.shapes]
        source = rng.integers(0, len(volumes), self.windows)
        room = np.array([volumes[v].shape[1:] for v in source]).reshape(-1, 3) - self.patch
        starts = rng.integers(-self.outside, np.maximum(room, 0) + self.outside + 1).reshape(-1, 3)
        flips = [[axis for axis in range(3) if rng.random() < 0.5] for _ in range(self.windows)]
        channels = self.shapes[0][0]
        table = np.stack([rng.normal(loc, 1, (len(volumes), channels)) for loc in (30, 200, 80, 40)], axis=-1)
        intensity = table.astype(np.float32) if self.normalized else None
        extra = {
            "source": source.tolist(),
            "intensity": intensity,
            "flips": flips,
            "padding": -1.5,
            "dtype": self.dtype,
        }
        return {"volumes": volumes, "starts": starts, "patch": self.patch, **extra}

    @property
    def bytes_moved(self) -> int:
        """Each window's voxels read and written once."""
        voxels = self.windows * self.shapes[0][0] * int(np.prod(self.patch))
        return voxels * (np.dtype(self.pixel).itemsize + np.dtype(self.dtype).itemsize)


@dataclass(frozen=True)
class SumCase:
    """Windows of random logits at random starts, overlapping."""

    name: str
    shape: Triple = (20, 21, 22)
    patch: Triple = (8, 9, 10)
    heads: int = 3
    windows: int = 4
    logits: str = "float32"
    flipped: bool = True
    view: Callable[[np.ndarray], np.ndarray] = lambda sums: sums

    def make(self, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[list[int]]]:
        """sums, weights, logits, starts and flips, the arguments of `accumulate`."""
        rng = np.random.default_rng(seed)
        sums = self.view(rng.standard_normal((self.heads, *self.shape), np.float32))
        weights = rng.uniform(0.1, 10, self.patch).astype(np.float32)
        logits = (4 * rng.standard_normal((self.windows, self.heads, *self.patch))).astype(self.logits)
        room = np.subtract(sums.shape[1:], self.patch).astype(np.int64)
        starts = rng.integers(0, room + 1, (self.windows, 3))
        flips = [[axis for axis in range(3) if self.flipped and rng.random() < 0.5] for _ in range(self.windows)]
        return sums, weights, logits, starts, flips

    @property
    def bytes_moved(self) -> int:
        """Logits and weights read once, the sums under each window read and written."""
        voxels = self.windows * int(np.prod(self.patch))
        return voxels * self.heads * (np.dtype(self.logits).itemsize + 8) + 4 * int(np.prod(self.patch))


@dataclass(frozen=True)
class FinishCase:
    """Sums of smooth heads (`noise` 0) or of noise, and their weights.

    Attributes:
        margin: voxels cut off all round: the sums are a view.
        tied: all heads are alike, so that every voxel is the first head's, exactly.
    """

    name: str
    old: Triple
    new: Triple
    heads: int = 4
    noise: float = 0.3
    orders: Triple = (1, 1, 1)
    regions: tuple[int, ...] | None = None
    divided: bool = True
    margin: int = 0
    full: Triple | None = None
    corner: Triple = (0, 0, 0)
    tied: bool = False

    def make(self, seed: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
        """sums float32 [H, *old] and total [*old]."""
        rng = np.random.default_rng(seed)
        shape = tuple(n + 2 * self.margin for n in self.old)
        axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij", sparse=True)
        sums = np.empty((self.heads, *shape), np.float32)
        for head in range(self.heads):
            centre = rng.uniform(-0.8, 0.8, 3)
            far = sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True))
            sums[head] = 0.4 - far + self.noise * rng.standard_normal(shape, np.float32)
        if self.tied:
            sums[:] = sums[0]
        inner = (slice(None), *(slice(self.margin, n - self.margin) for n in shape))
        if not self.divided:
            return sums[inner], None
        total = rng.uniform(0.01, 30, shape).astype(np.float32)
        sums *= total
        return sums[inner], total[inner[1:]]

    @property
    def bytes_moved(self) -> int:
        """The sums and their weights read once, a byte a voxel written."""
        return 4 * int(np.prod(self.old)) * (self.heads + 1) + int(np.prod(self.full or self.new))


GATHER_CASES = (
    GatherCase("no-window", windows=0),
    GatherCase("one-voxel", ((1, 1, 1, 1),), (1, 1, 1), 1),
    GatherCase("row-1023", ((1, 1, 1, 1023),), (1, 1, 1023), 1),
    GatherCase("row-1025", ((1, 1, 1, 1025),), (1, 1, 1024), 2),
    GatherCase("channels", ((3, 20, 21, 22),)),
    GatherCase("plain", normalized=False),
    GatherCase("outside", ((2, 12, 13, 14),), outside=7),
    GatherCase("far-outside", ((1, 4, 5, 6),), outside=20, windows=12),
    GatherCase("smaller-than-the-patch", ((1, 5, 4, 3),), outside=3),
    GatherCase("empty-volume", ((1, 0, 5, 5),), outside=3),
    GatherCase("many", ((2, 20, 21, 22), (2, 9, 30, 11), (2, 8, 9, 10)), windows=9, outside=4),
    GatherCase("int16", ((1, 20, 21, 22), (1, 15, 16, 17)), pixel="int16", outside=4),
    GatherCase("uint8", pixel="uint8", outside=4),
    GatherCase("float16", ((2, 20, 21, 22),), pixel="float16", outside=4),
    GatherCase("to-float16", dtype="float16", outside=4),
    GatherCase("anisotropic", ((1, 64, 40, 6),), (40, 30, 3)),
    GatherCase("fortran", ((2, 20, 21, 22),), view=np.asfortranarray),
    GatherCase("every-second", ((2, 40, 42, 44),), view=lambda volume: volume[:, ::2, 1:, ::2], outside=2),
)
SUM_CASES = (
    SumCase("no-window", windows=0),
    SumCase("one-voxel", (1, 1, 1), (1, 1, 1), 1, 1),
    SumCase("row-1023", (1, 1, 1100), (1, 1, 1023), 2, 2),
    SumCase("row-1024", (1, 1, 1024), (1, 1, 1024), 1, 1),
    SumCase("row-1025", (1, 1, 1100), (1, 1, 1025), 2, 2),
    SumCase("overlaps", (10, 12, 14), (5, 6, 8), windows=9),
    SumCase("all-on-one", (4, 5, 10), (4, 5, 10), windows=8),
    SumCase("plain", (9, 11, 13), (5, 6, 7), flipped=False),
    SumCase("float16", (9, 11, 13), (5, 6, 7), logits="float16"),
    SumCase("fourteen", (7, 19, 23), (3, 16, 7), heads=14),
    SumCase("anisotropic", (12, 30, 5), (8, 20, 2)),
    SumCase("fortran", (9, 11, 13), (5, 6, 7), view=np.asfortranarray),
    SumCase("crop", (12, 13, 16), (5, 6, 7), view=lambda sums: sums[:, 1:-2, 2:, 3:-4]),
)
FINISH_CASES = (
    FinishCase("empty", (4, 5, 6), (0, 7, 8)),
    FinishCase("one-voxel", (1, 1, 1), (1, 1, 1)),
    FinishCase("from-one-voxel", (1, 1, 1), (3, 4, 5)),
    FinishCase("row-1023", (1, 1, 500), (1, 1, 1023)),
    FinishCase("row-1024", (1, 1, 500), (1, 1, 1024)),
    FinishCase("row-1025", (1, 1, 500), (1, 1, 1025)),
    FinishCase("same-grid", (13, 17, 19), (13, 17, 19)),
    FinishCase("smooth", (12, 14, 16), (25, 27, 30), heads=14, noise=0.0),
    FinishCase("noise", (12, 14, 16), (25, 27, 30), heads=14, noise=2.0),
    FinishCase("means", (12, 14, 16), (20, 21, 30), divided=False),
    FinishCase("down", (25, 27, 30), (12, 9, 16)),
    FinishCase("up-and-down", (9, 30, 14), (31, 11, 14)),
    FinishCase("anisotropic", (30, 30, 3), (31, 29, 30)),
    FinishCase("nearest", (12, 14, 16), (25, 9, 33), orders=(0, 0, 0)),
    FinishCase("nearest-z", (12, 14, 16), (25, 27, 40), orders=(1, 1, 0)),
    FinishCase("nearest-x", (5, 14, 16), (18, 27, 20), orders=(0, 1, 1)),
    FinishCase("regions", (12, 14, 16), (25, 27, 30), regions=(3, 1, 3, 200)),
    FinishCase("regions-noise", (12, 14, 16), (20, 14, 30), regions=(1, 2, 3, 4), noise=2.0),
    FinishCase("one-head", (6, 7, 8), (9, 9, 9), heads=1),
    FinishCase("all-heads", (3, 4, 3), (4, 6, 5), heads=256, noise=1.0),
    FinishCase("view", (12, 14, 16), (20, 21, 30), margin=3),
    FinishCase("tied", (12, 14, 16), (20, 21, 30), noise=2.0, tied=True),
    FinishCase("placed", (12, 14, 16), (20, 21, 30), full=(26, 25, 37), corner=(5, 4, 7)),
)
LARGE = FinishCase("60M", (200, 192, 196), (400, 384, 392), heads=3, noise=0.05)
