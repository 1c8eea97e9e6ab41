"""Voxel counts of every organ of a case, from one pass over label and prediction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from umd_engine.data.labelset import LabelSet
from umd_engine.data.volume import Volume
from umd_engine.evaluation.metrics import counts_from_confusion
from umd_engine.evaluation.rows import NO_REFERENCE, OK
from umd_engine.kernels.confusion import confusion
from umd_engine.models.model import Segmentation


@dataclass(frozen=True)
class Count:
    """True positive, false positive and false negative voxels; without a reference only `fp` is known."""

    status: str
    tp: int | None
    fp: int
    fn: int | None


def voxel_ml(spacing: Sequence[float]) -> float:
    """Volume of a voxel in ml; spacing in mm."""
    return math.prod(spacing) / 1000


def count_organs(
    segmentation: Segmentation, label: Volume | None, label_set: LabelSet | None, organs: Sequence[str]
) -> dict[str, Count]:
    """Counts an organ; organs that the label set lacks, or all without a label, have no reference."""
    prediction = segmentation.labels
    reference = np.zeros(prediction.shape, np.uint8) if label is None else label.voxels
    named = {} if label_set is None else label_set.ids
    on_device = prediction if prediction.is_cuda else prediction.numpy()
    matrix = confusion(
        torch.from_numpy(np.ascontiguousarray(reference)).to(prediction.device) if prediction.is_cuda else reference,
        on_device,
        1 + max((i for ids in named.values() for i in ids), default=0),
        1 + max(i for ids in segmentation.organs.values() for i in ids),
    )
    predicted = {organ: segmentation.organs[organ] for organ in organs}
    known = {organ: named[organ] for organ in organs if organ in named}
    counts = {o: Count(OK, *c) for o, c in counts_from_confusion(matrix, known, predicted).items()}
    columns = matrix.sum(0)
    for organ in organs:
        if organ not in known:
            counts[organ] = Count(NO_REFERENCE, None, int(columns[list(predicted[organ])].sum()), None)
    return {organ: counts[organ] for organ in organs}
