"""A scan in memory: voxels in canonical RAS+ order, the grid they lie on and the header they came with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from umd_engine.data.content import Content
from umd_engine.data.orientation import canonical_affine, file_orientation
from umd_engine.errors import GeometryError

T = TypeVar("T")

# A header's pixdim is float32 and sometimes rounded; closer than this it is the spacing, else the affine is.
SPACING_TOLERANCE = 1e-3
# Volume of the unit axes: 1 for orthogonal axes, 0 for axes that lie in one plane.
SINGULAR_BELOW = 1e-4


@dataclass(frozen=True, eq=False)
class Grid:
    """Where voxels lie: the identity of an image's lattice.

    Args:
        shape: voxels along the canonical axes [X, Y, Z].
        affine: (4, 4) float64, canonical voxel -> mm (RAS).
        spacing: mm along the canonical axes.
        file_axes: file axis i holds canonical axis file_axes[i].
        file_flips: file axis i runs against its canonical axis.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    spacing: tuple[float, float, float]
    file_axes: tuple[int, int, int] = (0, 1, 2)
    file_flips: tuple[bool, bool, bool] = (False, False, False)

    @classmethod
    def from_file(
        cls,
        shape: tuple[int, int, int],
        affine: np.ndarray,
        pixdim: tuple[float, float, float] | None = None,
        where: str | Path | None = None,
    ) -> Grid:
        """The canonical grid of a file.

        Args:
            shape: the file's shape.
            affine: (4, 4), the file's voxel -> mm (RAS); oblique and sheared ones stay so.
            pixdim: the header's spacing in mm; used where it agrees with the affine within 1e-3.

        Raises:
            GeometryError: zero, negative or non-finite spacing; a singular or non-finite affine.
        """
        if pixdim is not None:
            check_spacing(pixdim, where)
        affine = np.array(affine, dtype=np.float64)
        check_affine(affine, where)
        spacing = _spacing(affine, pixdim)
        axes, flips = file_orientation(affine)
        of_world = np.argsort(axes)  # file axis of each canonical axis
        canonical = canonical_affine(affine, shape, axes, flips) + 0.0  # no -0.0
        canonical.flags.writeable = False
        return cls(_pick(shape, of_world), canonical, _pick(spacing, of_world), axes, flips)

    def to_canonical(self, array: np.ndarray) -> np.ndarray:
        """A view of `array` [..., file axes] as [..., X, Y, Z]."""
        of_world = np.argsort(self.file_axes)
        turned = array.transpose(_last_three(array, of_world))
        return turned[_steps([self.file_flips[axis] for axis in of_world])]

    def to_file_order(self, array: np.ndarray) -> np.ndarray:
        """A view of `array` [..., X, Y, Z] in the file's axes: the exact inverse of `to_canonical`."""
        turned = array.transpose(_last_three(array, np.asarray(self.file_axes)))
        return turned[_steps(self.file_flips)]

    @property
    def file_shape(self) -> tuple[int, int, int]:
        return _pick(self.shape, self.file_axes)

    @property
    def file_spacing(self) -> tuple[float, float, float]:
        """mm along the file's axes."""
        return _pick(self.spacing, self.file_axes)

    @property
    def file_affine(self) -> np.ndarray:
        """(4, 4) float64, file voxel -> mm (RAS)."""
        to_canonical = np.zeros((4, 4))  # file voxel -> canonical voxel
        to_canonical[3, 3] = 1.0
        for axis, (world, flip) in enumerate(zip(self.file_axes, self.file_flips, strict=True)):
            to_canonical[world, axis] = -1.0 if flip else 1.0
            to_canonical[world, 3] = self.shape[world] - 1 if flip else 0
        return self.affine @ to_canonical

    def _identity(self) -> tuple[object, ...]:
        return (self.shape, self.affine.tobytes(), self.spacing, self.file_axes, self.file_flips)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())


@dataclass(frozen=True)
class HeaderCodes:
    """The NIfTI fields that place a file's voxels, as stored: what a label map on the same grid must repeat.

    `pixdim` [8] starts with qfac; `srow` [12] is the sform, row by row; `quatern` and `qoffset` are the qform.
    """

    nifti_version: int = 1
    xyzt_units: int = 2  # mm
    qform_code: int = 0
    sform_code: int = 2
    pixdim: tuple[float, ...] = (1.0,) * 4 + (0.0,) * 4
    quatern: tuple[float, ...] = (0.0, 0.0, 0.0)
    qoffset: tuple[float, ...] = (0.0, 0.0, 0.0)
    srow: tuple[float, ...] = (1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0, 0)

    @classmethod
    def of(cls, affine: np.ndarray) -> HeaderCodes:
        """Codes that say `affine` (4, 4) in the sform alone; the spacing is the norm of its columns."""
        norms = (float(norm) for norm in np.linalg.norm(affine[:3, :3], axis=0))
        rows = tuple(float(value) for value in np.asarray(affine)[:3].ravel())
        return cls(pixdim=(1.0, *norms, 0.0, 0.0, 0.0, 0.0), srow=rows)


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels on a grid.

    Args:
        voxels: [X, Y, Z] in RAS+, read-only, a view of the file's order; integers as stored, float32
            where the file is scaled or floating; never float64.
        grid: where they lie.
        path: the file they were read from.
        codes: the header fields that place them.
        modality: "ct", "pet" or "mr", where the manifest says it.
        content: what the file held, where it was hashed.
    """

    voxels: np.ndarray
    grid: Grid
    path: Path | None = None
    codes: HeaderCodes = field(default_factory=HeaderCodes)
    modality: str | None = None
    content: Content | None = None

    @classmethod
    def from_array(cls, voxels: np.ndarray, affine: np.ndarray | None = None) -> Volume:
        """A volume of `voxels` in any axis order that `affine` (4, 4; default: 1 mm, RAS) places.

        The array is not copied: it is seen in canonical order through a read-only view (float64 is the
        exception, it becomes float32).

        Raises:
            GeometryError: an array that is not 3D or without voxels, a singular or non-finite affine.
        """
        if voxels.ndim != 3 or 0 in voxels.shape:
            raise GeometryError(f"an array of shape {voxels.shape} is not a volume", mend="give [X, Y, Z]")
        placed = np.eye(4) if affine is None else np.asarray(affine, dtype=np.float64)
        grid = Grid.from_file(voxels.shape, placed)
        return cls.from_file_order(voxels, grid, None, HeaderCodes.of(placed))

    @classmethod
    def from_file_order(
        cls, array: np.ndarray, grid: Grid, path: Path | None, codes: HeaderCodes, content: Content | None = None
    ) -> Volume:
        """A volume of an array [file axes] on `grid`."""
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        canonical = grid.to_canonical(array)
        canonical.flags.writeable = False
        return cls(canonical, grid, path, codes, content=content)

    def with_voxels(self, voxels: np.ndarray) -> Volume:
        """Other voxels [X, Y, Z] on the same grid, with the same header codes."""
        assert voxels.shape == self.grid.shape, (voxels.shape, self.grid.shape)
        kept = voxels.view()
        kept.flags.writeable = False
        return replace(self, voxels=kept)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.grid.shape

    @property
    def affine(self) -> np.ndarray:
        """(4, 4) float64, canonical voxel -> mm (RAS)."""
        return self.grid.affine

    @property
    def spacing(self) -> tuple[float, float, float]:
        """mm along [X, Y, Z]."""
        return self.grid.spacing


def check_affine(affine: np.ndarray, where: str | Path | None = None) -> None:
    """Raise GeometryError unless `affine` (4, 4) is finite and its axes span a volume."""
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise GeometryError("the affine has NaN or infinite entries", where=where, mend="write its header anew")
    norms = np.linalg.norm(affine[:3, :3], axis=0)
    if not norms.all() or abs(np.linalg.det(affine[:3, :3] / norms)) < SINGULAR_BELOW:
        raise GeometryError(
            "the affine is singular: its axes do not span a volume", where=where, mend="write its header anew"
        )


def check_spacing(pixdim: tuple[float, float, float], where: str | Path | None = None) -> None:
    """Raise GeometryError unless the spacing (mm) is finite and positive."""
    if not all(np.isfinite(size) and size > 0 for size in pixdim):
        sizes = " x ".join(f"{size:g}" for size in pixdim)
        raise GeometryError(f"the spacing is {sizes} mm", where=where, mend="set pixdim to the distance between voxels")


def _spacing(affine: np.ndarray, pixdim: tuple[float, float, float] | None) -> tuple[float, float, float]:
    norms = _pick(np.linalg.norm(affine[:3, :3], axis=0).tolist(), (0, 1, 2))
    agrees = pixdim is not None and np.allclose(pixdim, norms, rtol=SPACING_TOLERANCE, atol=0)
    return pixdim if pixdim is not None and agrees else norms


def _pick(values: Sequence[T], order: Iterable[int]) -> tuple[T, T, T]:
    x, y, z = (values[axis] for axis in order)
    return x, y, z


def _last_three(array: np.ndarray, order: np.ndarray) -> list[int]:
    lead = array.ndim - 3
    return [*range(lead), *(lead + int(axis) for axis in order)]


def _steps(flips: Sequence[bool]) -> tuple[Any, ...]:
    return (..., *(slice(None, None, -1 if flip else 1) for flip in flips))
