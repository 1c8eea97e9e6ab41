"""`umd-engine score RUN MANIFEST`: what rows lack of their surfaces, measured on the run's saved masks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from umd_engine.data.labelset import LabelSet, load_label_set
from umd_engine.data.manifest import ScanRow, read_manifest
from umd_engine.data.nifti import read_labels
from umd_engine.data.once import Once
from umd_engine.data.volume import Volume
from umd_engine.errors import UmdEngineError
from umd_engine.evaluation.cases import stored_mask
from umd_engine.evaluation.columns import last_steps
from umd_engine.evaluation.lock import only_writer
from umd_engine.evaluation.masks import count_voxels
from umd_engine.evaluation.measuring import measured
from umd_engine.evaluation.rows import ABSENT, OK, Row
from umd_engine.evaluation.run_folder import STORE
from umd_engine.evaluation.store import Store
from umd_engine.evaluation.surfaces import EMPTY

FILLED = "measured"
NOTHING = "nothing to measure: a side is empty"
NO_MASK = "no mask was saved"
NO_LABEL = "the manifest has no such scan with a label"
EARLIER = "an earlier step, whose mask is never saved"
OTHER_COUNTS = "mask and label give other voxel counts than the row holds"
ScanKey = tuple[str, str, str]


@dataclass(frozen=True)
class _Label:
    """Of a scan, with what it gives once for all masks."""

    volume: Volume
    label_set: LabelSet
    once: Once


def fill(run: Path, manifest: Path, prediction_set: LabelSet, wait: bool = False) -> Counter[str]:
    """Measure the surfaces of the rows that have none and whose mask was saved; nothing else of a row changes.

    A row with an empty side needs no mask. Another one is filled only if mask and label give its own voxel counts: they
    are the ones that it was scored by.

    Args:
        prediction_set: what the ids of label maps mean; masks of prompted models are 0 and 1.
        wait: for another process that writes to the run.

    Returns:
        How many rows were measured, and why others were not.

    Raises:
        MissingFileError, StoreError: no store. ManifestError. RunLockedError.
    """
    scans = {row.key: row for row in read_manifest(manifest)}
    said: Counter[str] = Counter()
    with only_writer(run, wait), Store(run / STORE, create=False) as store:
        rows = list(store.rows())
        last = {row.key for row in last_steps(rows)}
        lacking = [row for row in rows if row.status in (OK, ABSENT) and row.surfaces is None]
        empty = [row for row in lacking if not row.label_voxels or not row.prediction_voxels]
        store.add([replace(row, surfaces=EMPTY) for row in empty])
        missing = [row for row in lacking if row.label_voxels and row.prediction_voxels]
        for scan, group in _by_scan(row for row in missing if row.key in last):
            filled, reasons = _filled(run, scans.get(scan), group, prediction_set)
            store.add(filled)
            said.update(reasons)
    said[NOTHING] = len(empty)
    said[EARLIER] = sum(row.key not in last for row in missing)
    return +said


def _by_scan(rows: Iterable[Row]) -> Iterator[tuple[ScanKey, list[Row]]]:
    found: dict[ScanKey, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.cohort, row.subject, row.scan_id].append(row)
    yield from found.items()


def _filled(
    run: Path, scan: ScanRow | None, rows: Sequence[Row], prediction_set: LabelSet
) -> tuple[list[Row], Counter[str]]:
    if scan is None or scan.label is None or scan.label_set is None:
        return [], Counter({NO_LABEL: len(rows)})
    by_mask: dict[Path, list[Row]] = defaultdict(list)
    for row in rows:
        by_mask[stored_mask(row.key, run, own_file=bool(row.prompt))].append(row)
    filled: list[Row] = []
    said: Counter[str] = Counter()
    once = Once()
    for path, group in by_mask.items():
        if not path.is_file():
            said[NO_MASK] += len(group)
            continue
        try:
            label = once("label", partial(_read_label, scan))
            found = list(_measured(path, group, label, prediction_set))
        except UmdEngineError as error:
            said[str(error)] += len(group)
            continue
        filled += found
        said[FILLED] += len(found)
        said[OTHER_COUNTS] += len(group) - len(found)
    return filled, said


def _read_label(scan: ScanRow) -> _Label:
    assert scan.label is not None and scan.label_set is not None
    return _Label(read_labels(scan.label), load_label_set(scan.label_set), Once())


def _measured(path: Path, rows: Sequence[Row], label: _Label, prediction_set: LabelSet) -> Iterator[Row]:
    """The rows of a mask whose counts it gives."""
    if rows[0].prompt:
        prediction_set = LabelSet("mask", {rows[0].organ: (1,)})
    mask = read_labels(path)
    joint = count_voxels(mask, label.volume, prediction_set, label.label_set)
    known: Mapping[str, tuple[int, ...]] = {
        row.organ: prediction_set.ids[row.organ] for row in rows if row.organ in prediction_set.ids
    }
    counts = joint.counts(list(known), known, label.label_set.ids)
    same = {
        row.organ: row
        for row in rows
        if row.organ in counts
        and [row.tp, row.fp, row.fn] == [getattr(counts[row.organ], n) for n in ("tp", "fp", "fn")]
    }
    wanted = {organ: known[organ] for organ in same}
    found = measured(joint, wanted, label.label_set.ids, mask.grid.spacing, label.once)
    yield from (replace(row, surfaces=found[organ]) for organ, row in same.items())
