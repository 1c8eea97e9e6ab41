"""Seeded images with the traits that nnU-Net's preprocessing reacts to; numpy and scipy only."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter


def _fields(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    """Smooth noise of unit variance, one field a channel. [C, D0, D1, D2]"""
    smooth = gaussian_filter(rng.standard_normal(shape), (0, sigma, sigma, sigma))
    return smooth / smooth.std(axis=(1, 2, 3), keepdims=True)


def _ellipsoid(shape: tuple[int, ...], centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    return sum(((x - c) / r) ** 2 for x, c, r in zip(axes, centre, radii, strict=True)) <= 1


def ct(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """HU as int16: soft tissue in air, values beyond both percentiles of the plans, some voxels 0."""
    body = _ellipsoid(shape[1:], tuple(n / 2 - 0.3 for n in shape[1:]), tuple(0.47 * n for n in shape[1:]))
    inside = 60 + 180 * _fields(rng, shape, 1.3)
    outside = -1000 + 12 * rng.standard_normal(shape)
    return np.clip(np.where(body, inside, outside), -1024, 3071).round().astype(np.int16)


def brain(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Two MR channels, zero outside an off-centre ellipsoid, with holes in both channels and in one only."""
    d0, d1, d2 = shape[1:]
    head = _ellipsoid(shape[1:], (0.52 * d0, 0.47 * d1, 0.55 * d2), (0.37 * d0, 0.34 * d1, 0.35 * d2))
    image = np.abs(320 + 130 * _fields(rng, shape, 1.5)).round() + 1
    image *= head
    image[:, d0 // 2 - 2 : d0 // 2 + 2, d1 // 2 - 3 : d1 // 2, d2 // 2 : d2 // 2 + 3] = 0  # closed: filled again
    image[1, d0 // 2 + 4 : d0 // 2 + 7, d1 // 2 + 2 : d1 // 2 + 6, d2 // 2 - 4 : d2 // 2] = 0  # in one channel
    image[:, :, : d1 // 3, d2 // 2 : d2 // 2 + 2] = 0  # a furrow open to the outside: not filled
    return image.astype(np.float32)


def pet(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """SUV in steps of 1/32: a low background with hot spots, 0 in the corners only (nothing to crop)."""
    body = _ellipsoid(shape[1:], tuple(n / 2 - 0.5 for n in shape[1:]), tuple(0.6 * n for n in shape[1:]))
    uptake = np.exp(0.8 * _fields(rng, shape, 2.5)) + 0.1 * np.abs(rng.standard_normal(shape))
    return (((uptake * 32).round() / 32 + 1 / 32) * body).astype(np.float32)


def three_channels(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Three CT-like int16 channels; the last is small, so that it does not drown the others unnormalised."""
    image = ct(rng, shape)
    image[2] = (image[2] / 400).round()
    return image


KINDS = {"ct": ct, "three_channels": three_channels, "brain": brain, "pet": pet}


def draw(recipe: dict[str, Any], seed: int) -> np.ndarray:
    """The image of a recipe. [C, D0, D1, D2]"""
    return KINDS[recipe["kind"]](np.random.default_rng(seed), recipe["shape"])
