"""One row of a manifest, read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

from umd_engine.data.geometry import check_same_grid
from umd_engine.data.labelset import LabelSet, load_label_set
from umd_engine.data.manifest import ScanRow
from umd_engine.data.nifti import read, read_header, read_labels
from umd_engine.data.once import Once
from umd_engine.data.patience import within
from umd_engine.data.volume import Volume
from umd_engine.errors import EmptyLabelError


@dataclass(frozen=True, eq=False)
class Scan:
    """Images, one a channel, on one grid, and the reference where there is one.

    Attributes:
        once: what is computed from the scan alone, by key: once, and kept as long as the scan.
    """

    row: ScanRow
    images: tuple[Volume, ...]
    label: Volume | None = None
    label_set: LabelSet | None = None
    once: Once = field(default_factory=Once, repr=False)


def read_scan(row: ScanRow, with_label: bool = True, timeout: float = 0, hashed: bool = False) -> Scan:
    """Read and check a scan.

    Args:
        timeout: seconds that each of its files may take; 0: any.
        hashed: its volumes know their files' content.

    Raises:
        DataError: whatever is wrong with one of its files; images and label must lie on one grid.
    """
    images = tuple(
        replace(within(timeout, path, partial(read, path, hashed)), modality=row.modality) for path in row.images
    )
    for image in images[1:]:
        check_same_grid(images[0].grid, image.grid, where=image.path, reference="the first image")
    if not with_label or row.label is None or row.label_set is None:
        return Scan(row, images)
    label = within(timeout, row.label, partial(read_labels, row.label, hashed))
    label_set = load_label_set(row.label_set)
    check_same_grid(images[0].grid, label.grid, where=row.label)
    if not label.voxels.any():
        raise EmptyLabelError(
            "not one voxel is labelled",
            where=row.label,
            mend="leave the label column empty if there is no reference",
        )
    label_set.check(label.voxels, where=row.label)
    return Scan(row, images, label, label_set)


def scan_geometry(row: ScanRow, timeout: float = 0) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """Shape and spacing (mm) from the first image's header alone; `timeout` and errors as for `read_scan`."""
    path = row.images[0]
    header = within(timeout, path, partial(read_header, path))
    return header.shape, header.spacing
