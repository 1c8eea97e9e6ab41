"""Inputs that every implementation of the joint counts is held against the reference on, and timed on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Maps = tuple[np.ndarray, np.ndarray]
View = Callable[[Maps], Maps]


@dataclass(frozen=True)
class Case:
    """Two label maps and their numbers of classes.

    Args:
        view: turns both C-ordered maps into the views that are counted.
        runs: mean length of a run of one id; 1 is noise.
    """

    name: str
    shape: tuple[int, ...]
    classes: tuple[int, int] = (14, 14)
    runs: int = 40
    view: View = lambda maps: maps

    def make(self, seed: int = 0) -> Maps:
        """Both maps, uint8."""
        rng = np.random.default_rng(seed)
        label = _runs(rng, self.shape, self.classes[0], self.runs)
        prediction = _runs(rng, self.shape, self.classes[1], self.runs)
        if self.classes[0] == self.classes[1]:
            prediction = np.where(rng.random(self.shape) < 0.9, label, prediction)
        return self.view((label, prediction))

    @property
    def bytes_moved(self) -> int:
        """Bytes that any implementation has to read: a byte a voxel and map."""
        return 2 * int(np.prod(self.shape))


def _runs(rng: np.random.Generator, shape: tuple[int, ...], classes: int, runs: int) -> np.ndarray:
    size = int(np.prod(shape))
    ids = rng.integers(0, classes, size // runs + 1, dtype=np.uint8)
    return np.repeat(ids, runs)[:size].reshape(shape)


CASES = (
    Case("empty", (0,)),
    Case("empty-3d", (4, 0, 5)),
    Case("one", (1,)),
    Case("block-1", (1023,)),
    Case("block", (1024,)),
    Case("block+1", (1025,)),
    Case("one-id", (7, 33, 65), classes=(1, 1)),
    Case("odd", (17, 31, 23)),
    Case("noise", (19, 20, 21), runs=1),
    Case("unlike-classes", (16, 9, 40), classes=(3, 117)),
    Case("all-ids", (64, 33, 12), classes=(256, 256), runs=3),
    Case("fortran", (18, 25, 33), view=lambda maps: (maps[0].T, maps[1].T)),
    Case("flipped", (18, 25, 33), view=lambda maps: (maps[0][::-1, :, ::-1], maps[1][::-1, :, ::-1])),
    Case("unlike-orders", (18, 25, 33), view=lambda maps: (maps[0], np.asfortranarray(maps[1]))),
    Case("unlike-flips", (18, 25, 33), view=lambda maps: (maps[0][::-1], maps[1])),
    Case("crop", (21, 26, 35), view=lambda maps: (maps[0][1:-1, 2:, 3:-2], maps[1][1:-1, 2:, 3:-2])),
    Case("every-second", (21, 26, 36), view=lambda maps: (maps[0][..., ::2], maps[1][..., 1::2])),
    Case("four-axes", (2, 9, 10, 11), view=lambda maps: (maps[0], np.asfortranarray(maps[1]))),
    Case("same-long-run", (64, 64, 40), runs=1 << 20),
)
FULL = Case("60-million", (400, 400, 400))


@dataclass(frozen=True)
class LogitsCase:
    """A label map and logits [classes, *shape] with ties between classes.

    Args:
        classes: of the label and of the logits.
        view: turns the logits into the view that is counted; its result keeps the shape.
    """

    name: str
    shape: tuple[int, ...]
    classes: tuple[int, int] = (14, 14)
    dtype: str = "float32"
    view: Callable[[np.ndarray], np.ndarray] = lambda logits: logits

    def make(self, seed: int = 0) -> Maps:
        """uint8 label [*shape] and logits [classes, *shape] of small integers, some infinite."""
        rng = np.random.default_rng(seed)
        label = _runs(rng, self.shape, self.classes[0], 7)
        logits = rng.integers(-3, 4, (self.classes[1], *self.shape)).astype(self.dtype)
        logits[rng.random(logits.shape) < 0.02] = -np.inf
        logits[rng.random(logits.shape) < 0.01] = np.inf
        return label, self.view(logits)

    @property
    def bytes_moved(self) -> int:
        """Bytes that any implementation has to read: the label and every logit once."""
        return int(np.prod(self.shape)) * (1 + self.classes[1] * np.dtype(self.dtype).itemsize)


LOGITS_CASES = (
    LogitsCase("empty", (0,)),
    LogitsCase("one", (1, 1, 1)),
    LogitsCase("block-1", (1023,)),
    LogitsCase("block", (1024,)),
    LogitsCase("block+1", (1025,)),
    LogitsCase("odd", (17, 31, 23)),
    LogitsCase("one-class", (7, 9, 11), classes=(3, 1)),
    LogitsCase("many-classes", (5, 9, 11), classes=(105, 118)),
    LogitsCase("half", (17, 11, 23), dtype="float16"),
    LogitsCase("double", (17, 11, 23), dtype="float64", view=lambda logits: logits + 1e-12 * logits[::-1].clip(-1, 1)),
    LogitsCase("channels-last", (9, 11, 12), view=lambda logits: np.moveaxis(np.moveaxis(logits, 0, -1).copy(), -1, 0)),
    LogitsCase("fortran", (9, 11, 12), view=lambda logits: logits.transpose(0, 3, 2, 1).copy().transpose(0, 3, 2, 1)),
    LogitsCase("flipped", (9, 11, 12), view=lambda logits: logits[:, ::-1, :, ::-1].copy()[:, ::-1, :, ::-1]),
    LogitsCase(
        "crop", (9, 11, 12), view=lambda logits: np.pad(logits, ((1, 0), (2, 1), (0, 3), (1, 1)))[1:, 2:-1, :-3, 1:-1]
    ),
    LogitsCase("all-minus-infinity", (40, 30), view=lambda logits: np.full_like(logits, -np.inf)),
)


@dataclass(frozen=True)
class PlanesCase:
    """Words of bit planes, bit k the mask of organ k; masks overlap."""

    name: str
    shape: tuple[int, ...]
    organs: int = 13
    dtype: str = "uint16"
    view: View = lambda maps: maps

    def make(self, seed: int = 0) -> Maps:
        """The reference's and the prediction's words."""
        rng = np.random.default_rng(seed)
        full = (1 << self.organs) - 1
        size = int(np.prod(self.shape))
        words = rng.integers(0, full, size, dtype=np.uint64, endpoint=True).astype(self.dtype)
        words[: size // 3] = full  # every counter of a long stretch at its highest
        other = np.where(rng.random(size) < 0.8, words, rng.permutation(words)).astype(self.dtype)
        return self.view((words.reshape(self.shape), other.reshape(self.shape)))

    @property
    def bytes_moved(self) -> int:
        """Bytes that any implementation has to read: a word a voxel and side."""
        return 2 * int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


PLANES_CASES = (
    PlanesCase("empty", (0,)),
    PlanesCase("empty-3d", (3, 0, 2)),
    PlanesCase("one", (1,)),
    PlanesCase("block-1", (1023,)),
    PlanesCase("block", (1024,)),
    PlanesCase("block+1", (1025,)),
    PlanesCase("one-organ", (17, 31, 23), organs=1, dtype="uint8"),
    PlanesCase("eight", (17, 31, 23), organs=8, dtype="uint8"),
    PlanesCase("thirteen", (40, 33, 61)),
    PlanesCase("thirty-two", (17, 31, 23), organs=32, dtype="uint32"),
    PlanesCase("fortran", (18, 25, 33), view=lambda maps: (maps[0].T, maps[1].T)),
    PlanesCase("unlike-orders", (18, 25, 33), view=lambda maps: (maps[0], np.asfortranarray(maps[1]))),
    PlanesCase("flipped", (18, 25, 33), view=lambda maps: (maps[0][::-1, :, ::-1], maps[1][::-1, :, ::-1])),
    PlanesCase("crop", (21, 26, 35), view=lambda maps: (maps[0][1:-1, 2:, 3:-2], maps[1][1:-1, 2:, 3:-2])),
    PlanesCase("four-axes", (2, 9, 10, 11), organs=5, dtype="uint8"),
    PlanesCase("long", (3 << 16,), organs=16),
)
