"""Voxel counts to scores: Dice, IoU, volume; joint counts of two label maps to counts of each organ."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from umd_engine.errors import UnknownNameError
from umd_engine.evaluation.conventions import Convention
from umd_engine.evaluation.rows import ABSENT, NO_REFERENCE, OK, Row

Metric = Callable[[int, int, int, Convention], float]


def emptiness(tp: int, fp: int, fn: int) -> str:
    """Which side has no voxel: "both-empty", "label-empty", "prediction-empty" or "" for neither."""
    assert min(tp, fp, fn) >= 0, f"negative voxel counts: {tp}, {fp}, {fn}"
    if tp + fn == 0:
        return "both-empty" if fp == 0 else "label-empty"
    return "prediction-empty" if tp + fp == 0 else ""


def _empty_score(empty: str, convention: Convention) -> float:
    return {
        "both-empty": convention.both_empty,
        "label-empty": convention.label_empty,
        "prediction-empty": convention.prediction_empty,
    }[empty]


def dice(tp: int, fp: int, fn: int, convention: Convention) -> float:
    """Dice similarity coefficient (DSC), 2 TP / (2 TP + FP + FN), in 0..1 (Dice 1945).

    An empty label or prediction scores what `convention` says; NaN means "not counted".
    """
    empty = emptiness(tp, fp, fn)
    return _empty_score(empty, convention) if empty else 2 * tp / (2 * tp + fp + fn)


def iou(tp: int, fp: int, fn: int, convention: Convention) -> float:
    """Intersection over union, TP / (TP + FP + FN), in 0..1 (Jaccard 1912); empty sides as for `dice`."""
    empty = emptiness(tp, fp, fn)
    return _empty_score(empty, convention) if empty else tp / (tp + fp + fn)


METRICS: dict[str, Metric] = {"dice": dice, "iou": iou}


def metric(name: str) -> Metric:
    """The metric of that name.

    Raises:
        UnknownNameError: with the nearest names.
    """
    if name not in METRICS:
        raise UnknownNameError("metric", name, METRICS)
    return METRICS[name]


def volume(voxels: int, voxel_ml: float) -> float:
    """The volume of `voxels` voxels of `voxel_ml` mL each, in mL."""
    return voxels * voxel_ml


def row_score(row: Row, convention: Convention, score: Metric = dice) -> float:
    """The score of a stored row: NaN without a reference, the convention's after a failure or for an absent organ."""
    if row.status == NO_REFERENCE:
        return math.nan
    if row.status == ABSENT:
        return convention.absent
    if row.status != OK:
        return convention.failed
    assert row.tp is not None and row.fp is not None and row.fn is not None, row
    return score(row.tp, row.fp, row.fn, convention)


Ids = Mapping[str, tuple[int, ...]]


def counts_from_confusion(matrix: np.ndarray, label_ids: Ids, prediction_ids: Ids) -> dict[str, tuple[int, int, int]]:
    """(TP, FP, FN) of every organ that both sides name.

    Args:
        matrix: joint counts [label id, prediction id], int64, as `kernels.confusion` gives them.
        label_ids: organ -> its ids in the label map; several ids are one organ (their union).
        prediction_ids: organ -> its ids in the prediction.

    Returns:
        organ -> counts, in the order of `label_ids`.
    """
    in_label, in_prediction = matrix.sum(axis=1), matrix.sum(axis=0)
    counts = {}
    for organ in label_ids:
        if organ not in prediction_ids:
            continue
        rows, columns = (np.array(sorted(set(ids[organ])), np.intp) for ids in (label_ids, prediction_ids))
        tp = int(matrix[np.ix_(rows, columns)].sum())
        counts[organ] = (tp, int(in_prediction[columns].sum()) - tp, int(in_label[rows].sum()) - tp)
    return counts
