"""One label map of the binary masks of a scan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from umd_engine.data.geometry import check_same_grid
from umd_engine.data.nifti import Header, read_header, read_labels
from umd_engine.errors import DataError, EmptyLabelError, LabelError


def merge_masks(image: Header, masks: Mapping[int, Path]) -> tuple[np.ndarray, int]:
    """The label map of a scan and how many voxels lie in more than one mask.

    Args:
        image: the scan's header: the grid that every mask must have.
        masks: id (1 to 255) -> a file of zeros and ones. Where masks overlap, the highest id has the voxel.

    Returns:
        uint8 [X, Y, Z] in canonical order, and a count of voxels.

    Raises:
        DataError: a mask that is missing, damaged or on another grid. LabelError: values other than 0 and 1.
        EmptyLabelError: no mask has a voxel.
    """
    # in the file's order, so that every pass below runs along memory
    labels = image.grid.to_canonical(np.zeros(image.grid.file_shape, np.uint8, order="F"))
    shared = np.zeros_like(labels, dtype=bool)
    for number, path in sorted(masks.items()):
        mask, slab = _read_mask(path, image)
        shared[slab] |= mask & (labels[slab] != 0)
        np.copyto(labels[slab], np.uint8(number), where=mask)
    if not labels.any():
        raise EmptyLabelError("not one of its masks has a voxel", where=next(iter(masks.values())).parent)
    return labels, int(np.count_nonzero(shared))


def _read_mask(path: Path, image: Header) -> tuple[np.ndarray, tuple[slice, ...]]:
    """bool [X, Y, some of Z]: the slices that have a voxel (few of a scan, for most organs), and where they lie."""
    mask = read_labels(path)
    check_same_grid(image.grid, mask.grid, where=path)
    highest = mask.voxels.max(axis=(0, 1))
    if highest.max() > 1:
        raise LabelError(f"a mask with the value {highest.max()}", where=path, mend="write it as 0 and 1")
    held = np.flatnonzero(highest)
    slab = (slice(None), slice(None), slice(held[0], held[-1] + 1) if held.size else slice(0))
    return mask.voxels[slab].view(bool), slab


def is_current(merged: Path, image: Path, masks: Mapping[int, Path]) -> bool:
    """Whether `merged` is a label map on the image's grid, written after the image and every mask were."""
    try:
        written = merged.stat().st_mtime_ns
        check_same_grid(read_header(image).grid, read_header(merged).grid)
        return all(written >= path.stat().st_mtime_ns for path in (image, *masks.values()))
    except (OSError, DataError):  # whatever is wrong with an input is found when it is merged
        return False
