"""What rows hold to scores: overlap, surface distances, volumes; joint counts of label maps to counts of organs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from umd_engine.errors import UnknownNameError
from umd_engine.evaluation import surfaces
from umd_engine.evaluation.conventions import Convention, Edges
from umd_engine.evaluation.rows import ABSENT, NO_REFERENCE, OK, Row

OVERLAP, NSD, DISTANCE, VOLUME = "overlap", "nsd", "distance", "volume"


@dataclass(frozen=True)
class Metric:
    """A figure of a row.

    Attributes:
        family: "overlap", "nsd", "distance" or "volume": which edge cases of a convention it has.
        unit: "" (0 to 1, more is better), "mm" (less is better) or "mL".
    """

    name: str
    title: str
    family: str
    unit: str = ""

    @property
    def of_surfaces(self) -> bool:
        """It needs the distances between the surfaces."""
        return self.family in (NSD, DISTANCE)

    @property
    def bounded(self) -> bool:
        """It lies in 0 to 1."""
        return not self.unit


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("dice", "Dice", OVERLAP),
        Metric("iou", "IoU", OVERLAP),
        Metric("nsd", "NSD", NSD),
        Metric("hd", "HD", DISTANCE, "mm"),
        Metric("hd95", "HD95", DISTANCE, "mm"),
        Metric("assd", "ASSD", DISTANCE, "mm"),
        Metric("masd", "MASD", DISTANCE, "mm"),
        Metric("volume", "Volume difference", VOLUME, "mL"),
        Metric("fp-volume", "False-positive volume", VOLUME, "mL"),
        Metric("fn-volume", "False-negative volume", VOLUME, "mL"),
    )
}
ALIASES = {"dsc": "dice"}


def metric(name: str) -> Metric:
    """The metric of that name; "dsc" is "dice".

    Raises:
        UnknownNameError: with the nearest names.
    """
    name = ALIASES.get(name, name)
    if name not in METRICS:
        raise UnknownNameError("metric", name, [*METRICS, *ALIASES])
    return METRICS[name]


def values(rows: Sequence[Row], metric_name: str, convention: Convention) -> np.ndarray:
    """The metric of every row, float64 [row]; NaN where a row has none or the convention does not count it.

    Dice, IoU and NSD lie in 0 to 1, HD, HD95, ASSD and MASD are in mm, volumes in mL; "volume" is the prediction's less
    the label's.

    Raises:
        UnknownNameError: no such metric. OptionError: a tolerance of the NSD that rows do not hold.
    """
    wanted = metric(metric_name)
    counts = np.array([(row.tp or 0, row.fp or 0, row.fn or 0) for row in rows], np.float64).reshape(-1, 3)
    statuses = np.array([_KINDS.get(row.status, _FAILED) for row in rows], np.int64)
    scored = statuses == _KINDS[OK]
    if wanted.family == VOLUME:
        voxel_ml = np.array([math.nan if row.voxel_ml is None else row.voxel_ml for row in rows], np.float64)
        return np.where(scored, _VOXELS[wanted.name](*counts.T) * voxel_ml, math.nan)
    found = _overlap(counts, wanted) if wanted.family == OVERLAP else _surface(rows, wanted, convention)
    edges = edges_of(wanted, convention)
    found = np.where(scored, _with_edges(found, counts, edges), math.nan)
    found[statuses == _KINDS[ABSENT]] = edges.absent
    if wanted.of_surfaces:
        found[[row.surfaces is None for row in rows]] = math.nan  # also where a side is empty: all or nothing
    found[statuses == _FAILED] = edges.failed
    return found


_KINDS = {OK: 0, NO_REFERENCE: 1, ABSENT: 2}
_FAILED = 3
_VOXELS: dict[str, Callable[..., np.ndarray]] = {
    "volume": lambda tp, fp, fn: fp - fn,
    "fp-volume": lambda tp, fp, fn: fp,
    "fn-volume": lambda tp, fp, fn: fn,
}


def _overlap(counts: np.ndarray, wanted: Metric) -> np.ndarray:
    tp, fp, fn = counts.T
    twice = 2 * tp if wanted.name == "dice" else tp
    with np.errstate(invalid="ignore"):
        return twice / (twice + fp + fn)


def _with_edges(found: np.ndarray, counts: np.ndarray, edges: Edges) -> np.ndarray:
    """`found`, and where a side has no voxel what the convention says."""
    label, prediction = counts[:, 0] + counts[:, 2], counts[:, 0] + counts[:, 1]
    empty = [(label == 0) & (prediction == 0), label == 0, prediction == 0]
    return np.select(empty, [edges.both_empty, edges.label_empty, edges.prediction_empty], found)


def _surface(rows: Sequence[Row], wanted: Metric, convention: Convention) -> np.ndarray:
    figures = surfaces.unpack([row.surfaces for row in rows], convention.elements)
    if wanted.name == "nsd":
        return surfaces.nsd(figures, np.array([convention.tolerance_of(row.organ) for row in rows], np.float64))
    if wanted.name == "hd95":
        return surfaces.hd95(figures, convention.hd95)
    return {"hd": surfaces.hd, "assd": surfaces.assd, "masd": surfaces.masd}[wanted.name](figures)


def edges_of(wanted: Metric, convention: Convention) -> Edges:
    """What the edge cases of a metric count as; a volume is known in all of them."""
    return {OVERLAP: convention.overlap, NSD: convention.nsd, DISTANCE: convention.distance}[wanted.family]


def scorer(rows: Sequence[Row], metric_name: str, convention: Convention) -> Callable[[Row], float]:
    """`values` of these very rows, found by row."""
    found = dict(zip(map(id, rows), values(rows, metric_name, convention).tolist(), strict=True))
    return lambda row: found[id(row)]


def not_computed(row: Row, wanted: Metric) -> bool:
    """The row would have such a figure, had it been measured."""
    return wanted.of_surfaces and row.surfaces is None and row.status in (OK, ABSENT)


COUNTS = (
    *("failed", "no_reference", "absent", "not_computed", "not_counted"),
    *("both_empty", "label_empty", "prediction_empty"),
)


def kinds(row: Row, score: float, wanted: Metric) -> tuple[str, ...]:
    """Of `COUNTS`: why the row has no score, or which of its sides has no voxel."""
    unmeasured = ("not_computed",) if not_computed(row, wanted) else ()
    if row.status in (NO_REFERENCE, ABSENT):
        return (row.status.replace("-", "_"), *unmeasured)
    if row.status != OK:
        return ("failed",)
    assert row.tp is not None and row.fp is not None and row.fn is not None, row
    left_out = unmeasured or (("not_counted",) if math.isnan(score) else ())
    return (emptiness(row.tp, row.fp, row.fn).replace("-", "_"), *left_out)


def emptiness(tp: int, fp: int, fn: int) -> str:
    """Which side has no voxel: "both-empty", "label-empty", "prediction-empty" or "" for neither."""
    assert min(tp, fp, fn) >= 0, f"negative voxel counts: {tp}, {fp}, {fn}"
    if tp + fn == 0:
        return "both-empty" if fp == 0 else "label-empty"
    return "prediction-empty" if tp + fp == 0 else ""


def dice(tp: int, fp: int, fn: int, convention: Convention) -> float:
    """Dice similarity coefficient (DSC), 2 TP / (2 TP + FP + FN), in 0..1 (Dice 1945).

    An empty label or prediction scores what `convention` says; NaN means "not counted".
    """
    return _score("dice", tp, fp, fn, convention)


def iou(tp: int, fp: int, fn: int, convention: Convention) -> float:
    """Intersection over union, TP / (TP + FP + FN), in 0..1 (Jaccard 1912); empty sides as for `dice`."""
    return _score("iou", tp, fp, fn, convention)


def _score(name: str, tp: int, fp: int, fn: int, convention: Convention) -> float:
    counts = np.array([[tp, fp, fn]], np.float64)
    return float(_with_edges(_overlap(counts, METRICS[name]), counts, convention.overlap)[0])


def volume(voxels: int, voxel_ml: float) -> float:
    """The volume of `voxels` voxels of `voxel_ml` mL each, in mL."""
    return voxels * voxel_ml


def row_score(row: Row, convention: Convention, metric_name: str = "dice") -> float:
    """`values` of one row."""
    return float(values([row], metric_name, convention)[0])


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
