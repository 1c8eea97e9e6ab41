"""Score existing masks: files or folders, each side with its own label set, organs joined by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from umd_engine.data.geometry import check_same_grid
from umd_engine.data.labelset import LabelSet
from umd_engine.data.nifti import read_labels
from umd_engine.data.volume import Grid, Volume
from umd_engine.errors import GeometryError, LabelError, MissingFileError, UmdEngineError, UnknownNameError
from umd_engine.evaluation.metrics import counts_from_confusion
from umd_engine.evaluation.pairs import Pair, find_pairs
from umd_engine.evaluation.rows import NO_REFERENCE, OK, Row
from umd_engine.kernels.confusion import MAX_CLASSES, confusion


@dataclass(frozen=True)
class Score:
    """The voxel counts of an organ of a case; `status`, counts and `message` as in a Row."""

    case: str
    organ: str
    status: str
    tp: int | None = None
    fp: int | None = None
    fn: int | None = None
    voxel_ml: float | None = None
    message: str = ""

    def row(self, plan: str, cohort: str, modality: str, model: str) -> Row:
        """The score as a row of the store; subject and scan are named after the case."""
        return Row(
            plan=plan,
            cohort=cohort,
            subject=self.case,
            scan_id=self.case,
            modality=modality,
            model=model,
            organ=self.organ,
            status=self.status,
            tp=self.tp,
            fp=self.fp,
            fn=self.fn,
            voxel_ml=self.voxel_ml,
            message=self.message,
        )


def score_pair(
    prediction: Path,
    label: Path,
    prediction_set: LabelSet,
    label_set: LabelSet,
    organs: Sequence[str] = (),
) -> list[Score]:
    """Score two label maps, or two folders of them paired by file name.

    Args:
        prediction, label: two NIfTI files or two folders.
        prediction_set, label_set: what the ids mean on either side.
        organs: only these; by default all that both sets have. One that only the prediction's set has gets
            "no-reference".

    Returns:
        One Score a case and organ. Of two folders every case of either has its scores: without a label
        "no-reference", without a prediction "missing-file", after an error its status.

    Raises:
        UnknownNameError: an organ that the prediction's set lacks. LabelError: no organ in common.
        For two files also GeometryError (other grids), LabelError (ids outside the set) and what `read_labels`
        raises; for folders these are scores with a status.
    """
    chosen = choose_organs(prediction_set, label_set, organs)
    if not prediction.is_dir() or not label.is_dir():
        (pair,) = find_pairs(prediction, label)
        return _score_case(pair, prediction_set, label_set, chosen)
    scores = []
    for pair in find_pairs(prediction, label):
        try:
            scores += _score_case(pair, prediction_set, label_set, chosen)
        except UmdEngineError as error:
            scores += [Score(pair.case, organ, error.status, message=str(error)) for organ in chosen]
    return scores


def choose_organs(prediction_set: LabelSet, label_set: LabelSet, organs: Sequence[str] = ()) -> tuple[str, ...]:
    """The organs to score: those asked for, else those that both sets have, in the label set's order."""
    where = f"label set '{prediction_set.name}'"
    for organ in organs:
        if organ not in prediction_set.ids:
            raise UnknownNameError("organ", organ, prediction_set.ids, where=where)
    chosen = tuple(organs) or tuple(organ for organ in label_set.ids if organ in prediction_set.ids)
    if not chosen:
        raise LabelError(f"no organ is also in label set '{label_set.name}'", where=where, mend="name other label sets")
    return chosen


def count_voxels(
    prediction: Volume, label: Volume | None, prediction_set: LabelSet, label_set: LabelSet, organs: Sequence[str]
) -> dict[str, tuple[int | None, int, int | None]]:
    """(TP, FP, FN) of each organ; TP and FN are None, and FP all predicted voxels, where there is no reference.

    Raises:
        GeometryError: other grids. LabelError: ids outside a set, or more than 256 different ids in one map.
    """
    predicted, predicted_ids = _compact(prediction)
    if label is None:
        reference, reference_ids = np.zeros_like(predicted), [0]
    else:
        _check_grids(prediction, label)
        reference, reference_ids = _compact(label)
    matrix = confusion(reference, predicted, len(reference_ids), len(predicted_ids))
    columns = matrix.sum(axis=0)
    _check_ids(predicted_ids, columns, prediction_set, prediction.path)
    known = {}
    if label is not None:
        _check_ids(reference_ids, matrix.sum(axis=1), label_set, label.path)
        known = {organ: _classes(label_set, organ, reference_ids) for organ in organs if organ in label_set.ids}
    named = {organ: _classes(prediction_set, organ, predicted_ids) for organ in organs}
    counts = counts_from_confusion(matrix, known, named)
    return {organ: counts.get(organ, (None, sum(int(columns[i]) for i in named[organ]), None)) for organ in organs}


def voxel_ml(grid: Grid) -> float:
    """The volume of a voxel in mL."""
    return float(abs(np.linalg.det(grid.affine[:3, :3]))) / 1000


def _score_case(pair: Pair, prediction_set: LabelSet, label_set: LabelSet, organs: Sequence[str]) -> list[Score]:
    if pair.prediction is None:
        raise MissingFileError("no prediction of this name", where=pair.label, mend="predict the case and score again")
    prediction = read_labels(pair.prediction)
    label = read_labels(pair.label) if pair.label is not None else None
    counts = count_voxels(prediction, label, prediction_set, label_set, organs)
    volume = voxel_ml(prediction.grid)
    return [
        Score(pair.case, organ, NO_REFERENCE if tp is None else OK, tp, fp, fn, volume)
        for organ, (tp, fp, fn) in counts.items()
    ]


def _check_grids(prediction: Volume, label: Volume) -> None:
    try:
        check_same_grid(label.grid, prediction.grid, prediction.path)
    except GeometryError as error:
        fault = f"prediction and label lie on different grids; {error.fault}"
        raise GeometryError(
            fault, where=prediction.path, mend=f"resample it to the grid of its label {label.path}"
        ) from error


def _compact(volume: Volume) -> tuple[np.ndarray, list[int]]:
    """The map as uint8 classes, and the label id of each class; a uint8 map stays as it is."""
    if volume.voxels.dtype == np.uint8:
        return volume.voxels, list(range(int(volume.voxels.max()) + 1))
    ids = np.unique(volume.voxels)
    if len(ids) > MAX_CLASSES:
        fault = f"a label map of {len(ids)} different ids, of which at most {MAX_CLASSES} can be counted at once"
        raise LabelError(fault, where=volume.path, mend="set the ids that are not scored to 0")
    table = np.zeros(int(ids[-1]) + 1, np.uint8)
    table[ids] = np.arange(len(ids))
    return table[volume.voxels], [int(number) for number in ids]


def _classes(label_set: LabelSet, organ: str, ids: Sequence[int]) -> tuple[int, ...]:
    """The classes of an organ; its ids that the map does not hold have none."""
    wanted = set(label_set.ids[organ])
    return tuple(place for place, number in enumerate(ids) if number in wanted)


def _check_ids(ids: Sequence[int], voxels: np.ndarray, label_set: LabelSet, where: Path | None) -> None:
    known = {0}.union(*label_set.ids.values())
    unknown = [number for number, n in zip(ids, voxels, strict=True) if n and number not in known]
    if unknown:
        shown = ", ".join(str(number) for number in unknown[:10]) + (", ..." if len(unknown) > 10 else "")
        raise LabelError(
            f"its label ids {shown} are not in label set '{label_set.name}'",
            where=where,
            mend="name the label set that the file was made with",
        )
