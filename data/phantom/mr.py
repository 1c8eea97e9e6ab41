"""T1-weighted MR: partial volume, the bias field of the coils, Rician noise, units of its own."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from umd_engine.data.phantom.grid import Protocol, each_slice
from umd_engine.data.phantom.subject import Person
from umd_engine.data.phantom.tissues import TISSUES

NOISE = 14  # SD of each channel, in units of tissues.py
SPREAD = 0.06  # SD of the logarithm of a tissue's signal between subjects
BIAS = 0.22  # SD of its logarithm at the nodes of a grid
NODES = (7, 4, 4)  # of that grid, [Z, Y, X]
KNOTS = 24  # nodes of the smooth field in the plane, between which it is linear


def mr(person: Person, protocol: Protocol, codes: np.ndarray) -> np.ndarray:
    """Signal, int16 [Z, Y, X], of tissue codes."""
    rng = person.stream("mr signal")
    signal = np.zeros(256, np.float32)
    for tissue in TISSUES.values():
        signal[tissue.code] = tissue.mr * math.exp(float(np.clip(rng.normal(), -2, 2)) * SPREAD)
    gain = math.exp(rng.normal() * 0.35)
    bias = _bias(rng, len(codes))
    voxels = np.empty(codes.shape, np.int16)

    def image(k: int) -> None:
        own = person.stream("mr noise", k)
        field = np.exp(zoom(bias[k], [n / KNOTS for n in codes.shape[1:]], order=1))
        real, imaginary = (own.standard_normal(codes.shape[1:], np.float32) * NOISE for _ in range(2))
        magnitude = np.hypot(gaussian_filter(signal[codes[k]], 0.5) * field + real, imaginary)
        voxels[k] = np.clip(np.rint(gain * magnitude), 0, 32767)

    each_slice(image, len(codes))
    return voxels


def _bias(rng: np.random.Generator, slices: int) -> np.ndarray:
    """The logarithm of the field, [slices, KNOTS, KNOTS]."""
    nodes = rng.normal(size=NODES) * BIAS
    return np.asarray(zoom(nodes, [n / m for n, m in zip((slices, KNOTS, KNOTS), NODES, strict=True)], order=3))
