"""One physical first click for all scans of a subject, drawn in its structural scan's label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import product
from threading import Lock

import torch

from umd_engine.data.labelset import LabelSet, load_label_set
from umd_engine.data.manifest import ScanRow
from umd_engine.data.nifti import read_labels
from umd_engine.data.patience import within
from umd_engine.data.scan import Scan
from umd_engine.data.volume import Volume
from umd_engine.evaluation.counting import reference_of
from umd_engine.evaluation.prompts.drawing import click_key, draw_on_scan
from umd_engine.evaluation.prompts.reference import organ_labels
from umd_engine.models.prompts import Point, world_of

STRUCTURAL = ("ct", "mr")
Subject = tuple[str, str]
Points = Mapping[tuple[str, str, int], Point]  # (rule, organ, repeat) -> mm


@dataclass(frozen=True)
class Wanted:
    """What is drawn: every rule that a model of the run starts with, `repeats` times; organs: only these, or all.

    `timeout`: seconds that reading a label may take; 0: any.
    """

    rules: frozenset[str]
    repeats: int
    organs: Collection[str]
    seed: int
    timeout: float = 0


def structural_rows(manifest: Iterable[ScanRow]) -> dict[Subject, ScanRow]:
    """Each subject's scan whose label the shared points are drawn in: its first labelled CT, else MR."""
    found: dict[Subject, ScanRow] = {}
    for modality, row in product(STRUCTURAL, list(manifest)):
        if row.modality == modality and row.label is not None:
            found.setdefault((row.cohort, row.subject), row)
    return found


class SubjectPoints:
    """Draws a subject's points when the first of its scans asks, and keeps the points, never the label.

    Args:
        manifest: every scan, also those that are not evaluated: their choice must not move a point.
        cases: a row for every time a scan will ask; after the last of a subject its points are let go.
    """

    def __init__(self, manifest: Sequence[ScanRow], cases: Sequence[ScanRow], wanted: Wanted, device: torch.device):
        self._structural = structural_rows(manifest)
        self._left = Counter((row.cohort, row.subject) for row in cases)
        self._wanted, self._device = wanted, device
        self._found: dict[Subject, Future[Points]] = {}
        self._lock = Lock()

    def of(self, scan: Scan) -> Points:
        """The points of the scan's subject; none where it has no labelled structural scan.

        Raises:
            DataError: the structural scan's label cannot be read.
        """
        subject = (scan.row.cohort, scan.row.subject)
        row = self._structural.get(subject)
        if row is None:
            return {}
        with self._lock:
            first = subject not in self._found
            future = self._found.setdefault(subject, Future())
            self._left[subject] -= 1
            if self._left[subject] == 0:
                del self._found[subject]
        if first:
            try:
                future.set_result(self._draw(row, scan))
            except Exception as error:
                future.set_exception(error)
        return future.result()

    def _draw(self, row: ScanRow, scan: Scan) -> Points:
        label, label_set = _label_of(row, scan, self._wanted.timeout)
        organs = [organ for organ in label_set.ids if not self._wanted.organs or organ in self._wanted.organs]
        here = reference_of(scan, self._device) if label is scan.label else None
        points: dict[tuple[str, str, int], Point] = {}
        for organ, found in organ_labels(here or label.voxels, label_set, organs, self._device).items():
            for rule, repeat in product(sorted(self._wanted.rules), range(self._wanted.repeats)):
                key = click_key(self._wanted.seed, (row.cohort, row.subject, organ), 0, repeat)
                drawn = draw_on_scan(found, None, rule, key, label.spacing)
                if drawn is not None:
                    points[rule, organ, repeat] = world_of(drawn.voxel, label.affine)
        return points


def _label_of(row: ScanRow, scan: Scan, timeout: float) -> tuple[Volume, LabelSet]:
    if row.key == scan.row.key and scan.label is not None and scan.label_set is not None:
        return scan.label, scan.label_set
    assert row.label is not None and row.label_set is not None, row
    return within(timeout, row.label, partial(read_labels, row.label)), load_label_set(row.label_set)
