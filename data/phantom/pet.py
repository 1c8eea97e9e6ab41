"""FDG PET in SUV: activity averaged over each voxel, blurred to the resolution, counted with Poisson noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

from umd_engine.data.phantom.grid import Protocol, axes, each_slice
from umd_engine.data.phantom.shapes import Shape, render
from umd_engine.data.phantom.subject import Person
from umd_engine.data.phantom.tissues import TISSUES
from umd_engine.kernels.compiled import compile_loop

PSF = 5.5  # mm FWHM of the image
FILTER = 1.2  # mm, sigma of the filter after reconstruction, a part of the PSF
FWHM = 2 * math.sqrt(2 * math.log(2))  # of a Gaussian of sigma 1
COUNTS = 0.16  # detected events for each SUV and mm^3 in a body of the reference's size
RANDOMS = 0.02  # events a voxel that no activity explains
STEP = 1 / 1024  # SUV; scanners store whole steps, which compress
FINER = 2  # parts of a voxel along each axis
# SD of the logarithm of a tissue's uptake between subjects
SPREAD = {"MYOCARDIUM": 0.6, "URINE": 0.35, "COLON": 0.35, "STOMACH": 0.2}
USUAL_SPREAD = 0.12


def pet(person: Person, shapes: Sequence[Shape], protocol: Protocol) -> np.ndarray:
    """SUV, float32 [Z, Y, X]."""
    fine = render(shapes, axes(person, protocol, FINER))
    slices, rows, columns = (n // FINER for n in fine.shape)
    activity = np.empty((slices, rows, columns), np.float32)
    signal = _signal(person)
    each_slice(lambda k: mean_signal(fine[k * FINER : (k + 1) * FINER], signal, activity[k]), slices)
    spacing = protocol.spacing[::-1]
    # averaging over a voxel has blurred already, and the filter will
    rest = [max((PSF / FWHM) ** 2 - step**2 / 12 - FILTER**2, 0) for step in spacing]
    activity = gaussian_filter(
        activity, [math.sqrt(width) / step for width, step in zip(rest, spacing, strict=True)], truncate=3.5
    )
    counts = COUNTS * protocol.voxel / person.body_scale  # a larger body absorbs more

    def count(k: int) -> None:
        activity[k] = person.stream("pet noise", k).poisson(activity[k] * counts + RANDOMS) / counts

    each_slice(count, slices)
    activity = gaussian_filter(activity, [FILTER / step for step in spacing], truncate=3.5)
    return np.asarray(np.rint(activity / STEP) * STEP, np.float32)


def _signal(person: Person) -> np.ndarray:
    """The subject's own SUV of each code, float32 [256]."""
    rng = person.stream("pet signal")
    table = np.zeros(256, np.float32)
    for tissue in TISSUES.values():
        spread = SPREAD.get(tissue.name, USUAL_SPREAD)
        table[tissue.code] = tissue.suv * math.exp(float(np.clip(rng.normal(), -2, 2)) * spread)
    return table


@compile_loop
def mean_signal(codes: np.ndarray, signal: np.ndarray, out: np.ndarray) -> None:
    """out [Y, X]: the mean of signal[codes] over blocks of codes [n, n Y, n X]."""
    n = codes.shape[0]
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            total = 0.0
            for c in range(n):
                for b in range(n):
                    for a in range(n):
                        total += signal[codes[c, n * j + b, n * i + a]]
            out[j, i] = total / n**3
