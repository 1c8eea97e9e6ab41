"""Score existing masks: files or folders, each side with its own label set, organs joined by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from umd_engine.data.geometry import check_same_grid
from umd_engine.data.labelset import LabelSet
from umd_engine.data.nifti import read_header, read_labels
from umd_engine.data.once import Once
from umd_engine.data.volume import Volume
from umd_engine.data.words import unknown_ids
from umd_engine.errors import GeometryError, LabelError, MissingFileError, UmdEngineError, UnknownNameError
from umd_engine.evaluation.counting import Joint, joint_counts, voxel_ml
from umd_engine.evaluation.measuring import measured
from umd_engine.evaluation.pairs import Pair, find_pairs
from umd_engine.evaluation.rows import Row


@dataclass(frozen=True)
class Score:
    """The voxel counts and surfaces of an organ of a case; everything is as in a Row."""

    case: str
    organ: str
    status: str
    tp: int | None = None
    fp: int | None = None
    fn: int | None = None
    voxel_ml: float | None = None
    message: str = ""
    synthetic: bool = False
    surfaces: bytes | None = field(default=None, repr=False)

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
            synthetic=self.synthetic,
            surfaces=self.surfaces,
        )


def score_pair(
    prediction: Path,
    label: Path,
    prediction_set: LabelSet,
    label_set: LabelSet,
    organs: Sequence[str] = (),
    surfaces: bool = False,
) -> list[Score]:
    """Score two label maps, or two folders of them paired by file name.

    Args:
        prediction, label: two NIfTI files or two folders.
        prediction_set, label_set: what the ids mean on either side.
        organs: only these; by default all that both sets have. One that only the prediction's set has gets
            "no-reference".
        surfaces: also measure the distances between surfaces.

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
        return _score_case(pair, prediction_set, label_set, chosen, surfaces)
    scores = []
    for pair in find_pairs(prediction, label):
        try:
            scores += _score_case(pair, prediction_set, label_set, chosen, surfaces)
        except UmdEngineError as error:
            phantom, said = is_synthetic(pair), str(error)
            scores += [Score(pair.case, o, error.status, message=said, synthetic=phantom) for o in chosen]
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


def count_voxels(prediction: Volume, label: Volume | None, prediction_set: LabelSet, label_set: LabelSet) -> Joint:
    """Joint counts of two label maps, whose ids their sets have.

    Raises:
        GeometryError: other grids. LabelError: ids outside a set, or more than 256 different ids in one map.
    """
    if label is not None:
        _check_grids(prediction, label)
    joint = joint_counts(None if label is None else label.voxels, prediction.voxels)
    _check_ids(joint.predicted.ids, joint.matrix.sum(axis=0), prediction_set, prediction.path)
    if label is not None:
        _check_ids(joint.reference.ids, joint.matrix.sum(axis=1), label_set, label.path)
    return joint


def _score_case(
    pair: Pair, prediction_set: LabelSet, label_set: LabelSet, organs: Sequence[str], surfaces: bool
) -> list[Score]:
    if pair.prediction is None:
        raise MissingFileError("no prediction of this name", where=pair.label, mend="predict the case and score again")
    prediction = read_labels(pair.prediction)
    label = read_labels(pair.label) if pair.label is not None else None
    joint = count_voxels(prediction, label, prediction_set, label_set)
    counts = joint.counts(organs, prediction_set.ids, None if label is None else label_set.ids)
    known = {organ: prediction_set.ids[organ] for organ in organs}
    found = measured(joint, known, label_set.ids, prediction.grid.spacing, Once()) if surfaces and label else {}
    volume, phantom = voxel_ml(prediction.grid), is_synthetic(pair)
    return [
        Score(pair.case, o, **asdict(c), voxel_ml=volume, synthetic=phantom, surfaces=found.get(o))
        for o, c in counts.items()
    ]


def is_synthetic(pair: Pair) -> bool:
    """One of the two files says in its header that it is a phantom's; one that cannot be read says nothing."""
    return any(_says_synthetic(path) for path in (pair.prediction, pair.label) if path is not None)


def _says_synthetic(path: Path) -> bool:
    try:
        return read_header(path).synthetic
    except UmdEngineError:
        return False


def _check_grids(prediction: Volume, label: Volume) -> None:
    try:
        check_same_grid(label.grid, prediction.grid, prediction.path, reference="the label")
    except GeometryError as error:
        fault = f"prediction and label lie on different grids; {error.fault}"
        raise GeometryError(fault, where=prediction.path, mend=f"resample it onto the grid of {label.path}") from error


def _check_ids(ids: Sequence[int], voxels: Iterable[int], label_set: LabelSet, where: Path | None) -> None:
    known = {0}.union(*label_set.ids.values())
    unknown = [number for number, n in zip(ids, voxels, strict=True) if n and number not in known]
    if unknown:
        raise LabelError(
            f"its label {unknown_ids(unknown, label_set.name)}",
            where=where,
            mend="name the label set that the file was made with",
        )
