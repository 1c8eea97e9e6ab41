"""Voxel counts of every organ of a case, from one pass over reference and prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from umd_engine.data.scan import Scan
from umd_engine.data.volume import Grid
from umd_engine.engine.staging import moved
from umd_engine.errors import LabelError
from umd_engine.evaluation.metrics import counts_from_confusion
from umd_engine.evaluation.rows import NO_REFERENCE, OK
from umd_engine.kernels.confusion import confusion
from umd_engine.kernels.confusion.arguments import MAX_CLASSES

Ids = Mapping[str, tuple[int, ...]]
LabelMap = np.ndarray | torch.Tensor


@dataclass(frozen=True)
class Count:
    """True positive, false positive and false negative voxels; without a reference only `fp` is known."""

    status: str
    tp: int | None
    fp: int
    fn: int | None

    @property
    def on_both_sides(self) -> bool:
        """Neither the reference nor the prediction is empty."""
        return self.tp is not None and self.fn is not None and min(self.tp + self.fn, self.tp + self.fp) > 0


@dataclass(frozen=True, eq=False)
class Classes:
    """A label map as uint8 classes, and the label id of each class."""

    voxels: LabelMap
    ids: Sequence[int]

    def classes(self, wanted: tuple[int, ...]) -> tuple[int, ...]:
        """The classes of an organ; its ids that the map does not hold have none."""
        return tuple(place for place, number in enumerate(self.ids) if number in wanted)


@dataclass(frozen=True, eq=False)
class Joint:
    """Joint counts of a reference and a prediction.

    Attributes:
        matrix: int64 voxels [reference class, predicted class].
        reference, predicted: what was counted; no reference has the class 0 alone.
    """

    matrix: np.ndarray
    reference: Classes
    predicted: Classes

    def counts(self, organs: Sequence[str], predicted: Ids, reference: Ids | None) -> dict[str, Count]:
        """Counts of each organ; those that `reference` lacks, or all without one, have no reference.

        Args:
            predicted, reference: organ -> its ids on either side; several are their union.
        """
        columns = {organ: self.predicted.classes(predicted[organ]) for organ in organs}
        rows = {o: self.reference.classes(reference[o]) for o in organs if reference is not None and o in reference}
        known = {o: Count(OK, *c) for o, c in counts_from_confusion(self.matrix, rows, columns).items()}
        totals = self.matrix.sum(axis=0)
        unknown = {o: Count(NO_REFERENCE, None, int(totals[list(columns[o])].sum()), None) for o in organs}
        return {organ: known.get(organ, unknown[organ]) for organ in organs}


def reference_of(scan: Scan, device: torch.device) -> Classes | None:
    """The scan's label on a device, moved there once for all models; None without a label.

    Raises:
        LabelError: more than 256 different ids.
    """
    label = scan.label
    return None if label is None else scan.once(("reference", device.type), lambda: _classes(label.voxels, device))


def _classes(labels: np.ndarray, device: torch.device) -> Classes:
    voxels, ids = compact(labels)
    if device.type == "cpu":
        return Classes(voxels, ids)
    return Classes(moved(torch.from_numpy(np.array(voxels, order="K")), device), ids)  # torch takes no flipped array


def joint_counts(reference: np.ndarray | Classes | None, prediction: LabelMap) -> Joint:
    """Count on the prediction's device.

    Args:
        reference, prediction: label maps [X, Y, Z] of unsigned integers on one grid.

    Raises:
        LabelError: more than 256 different ids in one map.
    """
    predicted = Classes(*compact(prediction))
    if not isinstance(reference, Classes):
        device = predicted.voxels.device if isinstance(predicted.voxels, torch.Tensor) else torch.device("cpu")
        reference = _classes(np.zeros(prediction.shape, np.uint8) if reference is None else reference, device)
    matrix = confusion(reference.voxels, predicted.voxels, len(reference.ids), len(predicted.ids))
    return Joint(matrix, reference, predicted)


def voxel_ml(grid: Grid) -> float:
    """The volume of a voxel in mL."""
    return float(abs(np.linalg.det(grid.affine[:3, :3]))) / 1000


def compact(labels: LabelMap) -> tuple[LabelMap, list[int]]:
    """A map as uint8 classes, and the label id of each class; a uint8 map stays as it is."""
    if isinstance(labels, torch.Tensor) and labels.device.type == "cpu":
        labels = labels.numpy()  # whose maximum takes a fiftieth of the time that torch's takes
    if isinstance(labels, torch.Tensor):
        return labels, list(range(int(labels.max()) + 1))
    if labels.dtype == np.uint8:
        return labels, list(range(int(labels.max()) + 1))
    ids = np.unique(labels)
    if len(ids) > MAX_CLASSES:
        raise LabelError(
            f"a label map of {len(ids)} different ids, of which at most {MAX_CLASSES} can be counted at once",
            mend="set the ids that are not scored to 0",
        )
    table = np.zeros(int(ids[-1]) + 1, np.uint8)
    table[ids] = np.arange(len(ids))
    return table[labels], [int(number) for number in ids]
