"""Counts of 13 organs: of two label maps, of logits, of overlapping masks, against masks organ by organ."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch

from umd_engine.bench.confusion import CLASSES, SHAPE, organs, per_class_masks, true_false_counts
from umd_engine.bench.floor import Entry, Promise
from umd_engine.kernels.confusion import confusion, confusion_from_logits, confusion_planes

VOXELS = int(np.prod(SHAPE))
MAPS, PLANES = f"256x256x300, {CLASSES} ids", "256x256x300, 13 bit planes in uint16"
UNLIKE = f"{MAPS}, one map C-ordered, one Fortran-ordered"
LOGITS = f"256x256x300, {CLASSES} classes, float32 logits"
WHOLE_BODY = f"512x512x900, {CLASSES} ids"
MASKS_TARGET, COPY_TARGET = 20.0, 1 / 5
PROMISE = Promise("H200", seconds=150e-6, share=0.85)
MASKS = "for c in ids: (label == c) & (found == c), ~ & , & ~, each .sum()"
BIT_MASKS = "for k in organs: (words >> k & 1).astype(bool) of both; &, ~ &, & ~, each .sum()"
ARGMAX = "logits.argmax(0).to(torch.uint8); then this confusion of two maps"


def entries() -> list[Entry]:
    """Maps of organs and of noise, logits, bit planes."""
    return [*_maps(), *_whole_body(), *_logits(), *_planes()]


@cache
def pair() -> tuple[np.ndarray, np.ndarray]:
    """13 ellipsoids, and the same moved by two voxels."""
    return organs(moved=0.0), organs(moved=2.0)


@cache
def whole_body() -> tuple[np.ndarray, np.ndarray]:
    """The pair twice along x and y and three times along z: 472 MB."""
    return np.tile(pair()[0], (2, 2, 3)), np.tile(pair()[1], (2, 2, 3))


@cache
def unlike_orders() -> tuple[np.ndarray, np.ndarray]:
    """The pair, the second map in Fortran order."""
    return pair()[0], np.asfortranarray(pair()[1])


@cache
def noise() -> tuple[np.ndarray, np.ndarray]:
    """Two maps without runs of equal ids."""
    one, other = np.random.default_rng(0).integers(0, CLASSES, (2, *SHAPE), dtype=np.uint8)
    return one, other


@cache
def logits() -> torch.Tensor:
    """float32 [classes, X, Y, Z] whose argmax is near the moved organs."""
    values = torch.randn(CLASSES, *SHAPE, generator=torch.Generator().manual_seed(0))
    return values.scatter_add_(0, torch.from_numpy(pair()[1])[None].long(), torch.full((1, *SHAPE), 4.0))


@cache
def planes() -> tuple[np.ndarray, np.ndarray]:
    """uint16 words of both maps; the second holds every organ above 6 twice, so that masks overlap."""
    table = np.array([0, *(1 << organ for organ in range(CLASSES - 1))], np.uint16)
    table_of_two = table | (table >> np.uint16(6))
    return table[pair()[0]], table_of_two[pair()[1]]


@cache
def _expected(name: str) -> np.ndarray:
    if name == "logits":
        return confusion(torch.from_numpy(pair()[0]), logits().argmax(0).byte(), CLASSES, CLASSES, backend="reference")
    if name == "planes":
        return confusion_planes(*planes(), CLASSES - 1, backend="reference")
    return confusion(*(noise() if name == "noise" else pair()), CLASSES, CLASSES, backend="reference")


def _check(name: str) -> Callable[[Any], None]:
    def check(found: np.ndarray) -> None:
        if not np.array_equal(found, _expected(name)):
            raise AssertionError(f"the counts of {name} are not the reference's")

    return check


def _check_masks(found: np.ndarray) -> None:
    if not np.array_equal(found, true_false_counts(_expected("maps"))):
        raise AssertionError("the masks' counts are not the reference's")


def _check_copy(found: Any) -> None:
    if not all(np.array_equal(one, other) for one, other in zip(found, pair(), strict=True)):
        raise AssertionError("the copies are not the maps")


@cache
def _there(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    given: dict[str, Callable[[], tuple[Any, Any]]]
    given = {"maps": pair, "whole body": whole_body, "planes": planes, "logits": lambda: (pair()[0], logits())}
    left, right = (torch.as_tensor(one).cuda() for one in given[name]())
    return left, right


def _count(one: Any, other: Any, backend: str = "auto") -> np.ndarray:
    return confusion(one, other, CLASSES, CLASSES, backend=backend)


def _maps() -> list[Entry]:
    moved = 2 * VOXELS
    return [
        Entry("confusion", "cpu", MAPS, lambda: _count(*pair(), "cpu"), moved, _check("maps")),
        Entry("confusion", "gpu", MAPS, lambda: _count(*_there("maps")), moved, _check("maps")),
        Entry(
            "confusion",
            "peer:NumPy masks",
            MAPS,
            lambda: per_class_masks(*pair()),
            0,
            _check_masks,
            True,
            MASKS,
            target=MASKS_TARGET,
        ),
        Entry(
            "confusion",
            "peer:copy",
            MAPS,
            _copies,
            0,
            _check_copy,
            True,
            "label.copy(), found.copy()",
            target=COPY_TARGET,
        ),
        Entry("confusion", "cpu", UNLIKE, lambda: _count(*unlike_orders(), "cpu"), moved, _check("maps")),
        Entry("confusion", "cpu", f"{MAPS}, noise", lambda: _count(*noise(), "cpu"), moved, _check("noise")),
    ]


def _whole_body() -> list[Entry]:
    moved, copies = 2 * 12 * VOXELS, 12

    def check(found: Any) -> None:
        assert np.array_equal(found, copies * _expected("maps")), "the counts are not 12 times those of the pair"

    return [
        Entry("confusion", "cpu", WHOLE_BODY, lambda: _count(*whole_body(), "cpu"), moved, check),
        Entry("confusion", "gpu", WHOLE_BODY, lambda: _count(*_there("whole body")), moved, check, promise=PROMISE),
    ]


def _copies() -> tuple[np.ndarray, np.ndarray]:
    return pair()[0].copy(), pair()[1].copy()


def _logits() -> list[Entry]:
    moved, check = VOXELS * (1 + 4 * CLASSES), _check("logits")

    def peer() -> np.ndarray:
        return _count(torch.from_numpy(pair()[0]), logits().argmax(0).to(torch.uint8), "cpu")

    return [
        Entry("confusion", "cpu", LOGITS, lambda: confusion_from_logits(pair()[0], logits(), CLASSES), moved, check),
        Entry("confusion", "gpu", LOGITS, lambda: confusion_from_logits(*_there("logits"), CLASSES), moved, check),
        Entry("confusion", "peer:torch.argmax", LOGITS, peer, 0, check, True, ARGMAX),
    ]


def _planes() -> list[Entry]:
    moved, check, count = 4 * VOXELS, _check("planes"), CLASSES - 1

    def peer() -> np.ndarray:
        return confusion_planes(*planes(), count, backend="reference")

    return [
        Entry("confusion", "cpu", PLANES, lambda: confusion_planes(*planes(), count), moved, check),
        Entry("confusion", "gpu", PLANES, lambda: confusion_planes(*_there("planes"), count), moved, check),
        Entry("confusion", "peer:NumPy masks", PLANES, peer, 0, check, True, BIT_MASKS),
    ]
