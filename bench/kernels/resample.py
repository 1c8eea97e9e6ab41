"""Resampling of 256 x 256 x 300 voxels against SciPy and torch, float32 in and out unless the case says otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from umd_engine.bench.floor import Entry
from umd_engine.kernels.resample import affine, area, zoom
from umd_engine.kernels.resample.cases import TOLERANCE_SINGLE, matrix

OLD = (256, 256, 300)
GROWN = (320, 320, 300)
SHRUNK = (171, 171, 300)
TURNED = matrix((1.2, 1.2, 0.9), (21.0, 16.0, 1.0), (0.1, 0.05))  # every place lies inside
TARGET = 4.0
NAMES = {0: "nearest", 1: "trilinear", 3: "cubic"}
SINGLE: dict[str, Any] = {"precision": "float32"}


@cache
def scan() -> np.ndarray:
    """[1, *OLD] float32: waves with noise."""
    x, y, z = np.ogrid[tuple(slice(size) for size in OLD)]
    waves = np.sin(x / 9) + np.cos(y / 7) * np.sin(z / 11)
    return (200 * waves + np.random.default_rng(0).normal(0, 50, OLD)).astype(np.float32)[None]


@cache
def labels() -> np.ndarray:
    """[1, *OLD] uint8, 14 ids."""
    return (np.abs(scan()) // 40 % 14).astype(np.uint8)


def entries() -> list[Entry]:
    """Every operation and its peers."""
    found = [entry for shape in (GROWN, SHRUNK) for order in (1, 3) for entry in _zooms(shape, order)]
    return [*found, *_boxes(), *_label_maps(), *(entry for order in (1, 3) for entry in _affines(order))]


def _zooms(shape: tuple[int, int, int], order: int) -> list[Entry]:
    from scipy import ndimage

    factors = tuple(new / old for new, old in zip(shape, OLD, strict=True))
    rounded = ", ".join(f"{factor:.4g}" for factor in factors)
    call = f'scipy.ndimage.zoom(volume, ({rounded}), order={order}, mode="nearest", grid_mode=True)'

    def with_scipy() -> np.ndarray:
        return ndimage.zoom(scan()[0], factors, order=order, mode="nearest", grid_mode=True)[None]

    def ours() -> np.ndarray:
        return zoom(scan(), shape, (order,) * 3, backend="cpu", **SINGLE)

    case = f"{NAMES[order]}, {_words(OLD)} to {_words(shape)}, float32"
    rows = _pair(case, ours, with_scipy, "peer:scipy.ndimage.zoom", call, 4 * (math.prod(OLD) + math.prod(shape)))
    rows.append(_device(case, lambda data: zoom(data, shape, (order,) * 3, backend="gpu", **SINGLE), scan, rows[0]))
    return [*rows, *([_torch(case, shape, "trilinear", ours)] if order == 1 else [])]


def _boxes() -> list[Entry]:
    case = f"area, {_words(OLD)} to {_words(SHRUNK)}, float32"
    moved = 4 * (math.prod(OLD) + math.prod(SHRUNK))

    def ours() -> np.ndarray:
        return area(scan(), SHRUNK, backend="cpu", **SINGLE)

    check = _like(lambda: area(scan(), SHRUNK, backend="reference", **SINGLE))
    entry = Entry("resample", "cpu", case, ours, moved, check)
    gpu = _device(case, lambda data: area(data, SHRUNK, backend="gpu", **SINGLE), scan, entry)
    return [entry, gpu, _torch(case, SHRUNK, "area", ours)]


def _label_maps() -> list[Entry]:
    from scipy import ndimage

    factors = tuple(new / old for new, old in zip(GROWN, OLD, strict=True))

    def ours() -> np.ndarray:
        return zoom(labels(), GROWN, (0, 0, 0), backend="cpu")

    def with_scipy() -> np.ndarray:
        return ndimage.zoom(labels()[0], factors, order=0, mode="nearest", grid_mode=True)[None]

    case = f"nearest, {_words(OLD)} to {_words(GROWN)}, uint8"
    call = "scipy.ndimage.zoom(labels, factors, order=0, mode='nearest', grid_mode=True)"
    moved = math.prod(OLD) + math.prod(GROWN)
    rows = _pair(case, ours, with_scipy, "peer:scipy.ndimage.zoom", call, moved, target=0.0)
    return [*rows, _device(case, lambda data: zoom(data, GROWN, (0, 0, 0), backend="gpu"), labels, rows[0])]


def _affines(order: int) -> list[Entry]:
    from scipy import ndimage

    call = f'scipy.ndimage.affine_transform(volume, matrix, output_shape={SHRUNK}, order={order}, mode="nearest")'

    def with_scipy() -> np.ndarray:
        return ndimage.affine_transform(scan()[0], TURNED, output_shape=SHRUNK, order=order, mode="nearest")[None]

    def ours() -> np.ndarray:
        return affine(scan(), TURNED, SHRUNK, order, backend="cpu", **SINGLE)

    case = f"{NAMES[order]} by a turned affine, {_words(OLD)} to {_words(SHRUNK)}, float32"
    moved = 4 * (math.prod(OLD) + math.prod(SHRUNK))
    rows = _pair(case, ours, with_scipy, "peer:scipy.ndimage.affine_transform", call, moved, target=0.0)
    return [
        *rows,
        _device(case, lambda data: affine(data, TURNED, SHRUNK, order, backend="gpu", **SINGLE), scan, rows[0]),
    ]


def _pair(
    case: str,
    ours: Callable[[], np.ndarray],
    theirs: Callable[[], np.ndarray],
    peer: str,
    call: str,
    moved: int,
    target: float = TARGET,
) -> list[Entry]:
    """Ours, held against the peer's result, and the peer, held against ours."""
    mine = Entry("resample", "cpu", case, ours, moved, _like(theirs))
    return [mine, Entry("resample", peer, case, theirs, 0, _like(ours), peer=True, call=call, target=target)]


def _torch(case: str, shape: tuple[int, int, int], mode: str, ours: Callable[[], np.ndarray]) -> Entry:
    import torch
    from torch.nn.functional import interpolate

    def with_torch() -> np.ndarray:
        return interpolate(torch.from_numpy(scan())[None], shape, mode=mode)[0].numpy()

    call = f'torch.nn.functional.interpolate(volume, {shape}, mode="{mode}")'
    name = "peer:torch.nn.functional.interpolate"
    return Entry("resample", name, case, with_torch, 0, _like(ours, 1e-4), peer=True, call=call)


def _device(case: str, call: Callable[[Any], Any], data: Callable[[], np.ndarray], like: Entry) -> Entry:
    """Ours on a CUDA device, from a tensor that lies there."""
    import torch

    @cache
    def tensor() -> torch.Tensor:
        return torch.from_numpy(data()).cuda()

    def run() -> Any:
        return call(tensor() if torch.cuda.is_available() else data())

    return Entry("resample", "gpu", case, run, like.bytes_moved, _like(like.run))


def _like(expected: Callable[[], np.ndarray], tolerance: float = TOLERANCE_SINGLE) -> Callable[[Any], None]:
    def check(found: Any) -> None:
        array = found if isinstance(found, np.ndarray) else found.cpu().numpy()
        right = expected()
        assert array.dtype == right.dtype and array.shape == right.shape, (array.dtype, array.shape)
        worst = np.abs(array.astype(np.float32) - right.astype(np.float32)).max()
        allowed = tolerance * float(np.ptp(scan())) if right.dtype == np.float32 else 0.0
        assert worst <= allowed, f"off by {worst}, allowed {allowed}"

    return check


def _words(shape: tuple[int, int, int]) -> str:
    return "x".join(str(size) for size in shape)
