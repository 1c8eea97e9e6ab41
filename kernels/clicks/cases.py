"""Labels, predictions and rules that every implementation of the clicks is held against the reference on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from umd_engine.kernels.clicks.philox import ClickKey
from umd_engine.kernels.clicks.rules import RULES

Maps = tuple[np.ndarray, np.ndarray | None]
KEY = ClickKey(20, "scan", 1, 3)


@dataclass(frozen=True)
class Case:
    """A label, a prediction and a rule.

    Args:
        kind: "blobs" (balls of ids), "noise" (ids by chance), "full" (one id everywhere) or "slabs" (each id along the
            volume's border).
        prediction: "none", "moved" (the label by two voxels), "noise", "same" or "all" (the first organ everywhere).
        planes: both as bit planes, where organs overlap.
        view: turns the C-ordered map into the one that is passed.
    """

    name: str
    shape: tuple[int, int, int]
    rule: str
    kind: str = "blobs"
    prediction: str = "moved"
    organs: tuple[int, ...] = (1, 2, 3, 9)
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    planes: bool = False
    view: Callable[[np.ndarray], np.ndarray] = lambda array: array
    key: ClickKey = KEY

    def make(self, seed: int = 0) -> Maps:
        """Both volumes: uint8 maps, or uint32 planes."""
        rng = np.random.default_rng(seed)
        label = _label(rng, self)
        prediction = _prediction(rng, self, label)
        if self.planes:
            label = _as_planes(rng, label, self.organs)
            prediction = None if prediction is None else _as_planes(rng, prediction, self.organs)
        return self.view(label), None if prediction is None else self.view(prediction)

    @property
    def bytes_moved(self) -> int:
        """Each volume read once."""
        return int(np.prod(self.shape)) * (1 if self.prediction == "none" else 2) * (4 if self.planes else 1)


def _label(rng: np.random.Generator, case: Case) -> np.ndarray:
    if case.kind == "noise":
        return rng.integers(0, 4, case.shape, dtype=np.uint8)
    if case.kind == "full":
        return np.full(case.shape, case.organs[0], np.uint8)
    labels = np.zeros(case.shape, np.uint8)
    if case.kind == "slabs":
        labels[:3], labels[-4:], labels[:, :, -3:] = 1, 2, 3
        return labels
    axes = np.ogrid[tuple(slice(size) for size in case.shape)]
    for ball in range(9):
        centre, radius = rng.uniform(0, 1, 3) * case.shape, rng.uniform(0.15, 0.4) * max(case.shape)
        away = sum(((axis - c) * s) ** 2 for axis, c, s in zip(axes, centre, case.spacing, strict=True))
        labels[away < radius**2] = 1 + ball % 3
    return labels


def _prediction(rng: np.random.Generator, case: Case, label: np.ndarray) -> np.ndarray | None:
    if case.prediction == "none":
        return None
    if case.prediction == "same":
        return label.copy()
    if case.prediction == "all":
        return np.full(case.shape, case.organs[0], np.uint8)
    if case.prediction == "noise":
        return np.where(rng.random(case.shape) < 0.2, rng.integers(0, 4, case.shape), label).astype(np.uint8)
    return np.roll(label, (2, 1, 2), (0, 1, 2))


def _as_planes(rng: np.random.Generator, volume: np.ndarray, organs: tuple[int, ...]) -> np.ndarray:
    words = sum((volume == organ).astype(np.uint32) << np.uint32(slot) for slot, organ in enumerate(organs))
    also = (rng.random(volume.shape) < 0.05).astype(np.uint32)  # organ 0 over the others
    return np.asarray(words | also, np.uint32)


def _rule_cases(rule: str) -> tuple[Case, ...]:
    return (
        Case(f"{rule}-moved", (14, 17, 23), rule),
        Case(f"{rule}-noise", (9, 10, 11), rule, kind="noise", prediction="noise"),
        Case(f"{rule}-label", (12, 13, 21), rule, prediction="none"),
        Case(f"{rule}-border", (11, 12, 13), rule, kind="slabs"),
        Case(f"{rule}-everything", (7, 8, 9), rule, kind="full", prediction="none"),
        Case(f"{rule}-no-error", (8, 9, 10), rule, prediction="same"),
        Case(f"{rule}-too-much", (9, 9, 9), rule, prediction="all"),
        Case(f"{rule}-planes", (9, 12, 15), rule, planes=True),
    )


CASES = (
    *(case for rule in RULES for case in _rule_cases(rule)),
    Case("empty", (3, 0, 4), "cvpr25"),
    Case("one", (1, 1, 1), "vista3d", kind="full", prediction="none"),
    Case("1023", (1, 1, 1023), "random", kind="noise", prediction="noise"),
    Case("1024", (1, 1024, 1), "random", kind="noise", prediction="noise"),
    Case("1025", (1025, 1, 1), "cvpr25", kind="noise", prediction="noise"),
    Case("anisotropic", (20, 20, 6), "deepest", prediction="none", spacing=(1.0, 1.0, 10.0)),
    Case("anisotropic-error", (20, 6, 20), "deepest", spacing=(0.5, 5.0, 0.5)),
    Case("fortran", (14, 9, 17), "cvpr25", view=lambda array: array.T),
    Case("flipped", (14, 9, 17), "ritm", view=lambda array: array[::-1, :, ::-1]),
    Case("every-second", (14, 18, 22), "vista3d", view=lambda array: array[:, ::2, ::2]),
    Case("no-organ", (5, 6, 7), "random", organs=()),
    Case("40-organs", (10, 11, 12), "cvpr25", organs=tuple(range(1, 41))),
)
FULL_CASES = (Case("60M", (400, 400, 375), "cvpr25"), Case("60M-ritm", (400, 400, 375), "ritm"))
