"""A scanner's grid laid over the reference body."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from umd_engine.data.phantom.shapes import Axes
from umd_engine.data.phantom.subject import Person

TOP, BOTTOM = 935.0, -125.0  # mm of the reference body: above the vertex, mid-thigh


@dataclass(frozen=True)
class Protocol:
    """Matrix in the plane and voxel size in mm; the number of slices follows from the person's height."""

    columns: int
    rows: int
    spacing: tuple[float, float, float]

    @property
    def voxel(self) -> float:
        """mm^3."""
        return math.prod(self.spacing)


PROTOCOLS: dict[tuple[str, str], Protocol] = {
    ("ct", "full"): Protocol(512, 512, (500 / 512, 500 / 512, 3.0)),
    ("ct", "small"): Protocol(128, 128, (500 / 128, 500 / 128, 5.0)),
    ("pet", "full"): Protocol(200, 200, (4.07, 4.07, 3.0)),
    ("pet", "small"): Protocol(96, 96, (5.3, 5.3, 5.3)),
    ("mr", "full"): Protocol(300, 220, (1.6, 1.6, 3.0)),
    ("mr", "small"): Protocol(112, 84, (4.3, 4.3, 5.0)),
}


def axes(person: Person, protocol: Protocol, finer: int = 1) -> Axes:
    """Voxel centres in the reference body, each voxel cut into `finer` parts along every axis."""
    sx, sy, sz = person.scale
    dx, dy, dz = (step / finer for step in protocol.spacing)
    columns, rows = protocol.columns * finer, protocol.rows * finer
    slices = _slices(person, protocol) * finer
    ys = (np.arange(rows) - (rows - 1) / 2) * dy / sy
    zs = TOP - (slices - 0.5 - np.arange(slices)) * dz / sz
    rng = person.stream("posture")
    bend, lean = (_wave(zs, rng, amplitude) for amplitude in (4.0, 3.0))
    return Axes(-(columns - 1) / 2 * dx / sx, dx / sx, ys, zs, bend, lean, columns)


def _slices(person: Person, protocol: Protocol) -> int:
    return math.ceil((TOP - BOTTOM) * person.scale[2] / protocol.spacing[2])


def _wave(zs: np.ndarray, rng: np.random.Generator, amplitude: float) -> np.ndarray:
    """A slow bend of the body along z, mm."""
    total = np.zeros_like(zs)
    for length in (900.0, 450.0):
        height = rng.normal() * amplitude * length / 900
        total += height * np.sin(2 * math.pi * zs / length + rng.uniform(0, 2 * math.pi))
    return total


def affine(person: Person, protocol: Protocol) -> np.ndarray:
    """Voxel -> mm (RAS) of the file's axes: to the left, to the back, to the head, as converted from DICOM.

    The scans of a person share one frame of reference, as those of one examination do.
    """
    dx, dy, dz = protocol.spacing
    table = person.stream("table").uniform(-40, 40)  # its height, and where the scan starts
    top = TOP * person.scale[2] - 900.0 + table
    matrix = np.diag([-dx, -dy, dz, 1.0])
    matrix[:3, 3] = (
        (protocol.columns - 1) / 2 * dx,
        (protocol.rows - 1) / 2 * dy + table,
        top - (_slices(person, protocol) - 0.5) * dz,
    )
    return matrix


def each_slice(work: Callable[[int], None], count: int) -> None:
    """Run work(0) .. work(count - 1) side by side; each draws from a stream of its own, whichever thread it meets."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(work, range(count)))
