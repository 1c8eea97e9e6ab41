"""Whether the files behind a stored row or a mask are still those that it was computed from."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path

from umd_engine.data.content import Content, content_of, stamp_of
from umd_engine.data.labelset import load_label_set
from umd_engine.data.manifest import ScanRow
from umd_engine.data.nifti import read_header
from umd_engine.data.patience import within
from umd_engine.errors import ReadTimeoutError, UmdEngineError
from umd_engine.evaluation.cases import Case
from umd_engine.evaluation.prompts.subject_points import structural_rows

log = logging.getLogger(__name__)
UNKNOWN = ""


class Contents:
    """Hashes of the files of cases. A file is read for its hash alone only where its size or time is another than the
    store remembers.

    Args:
        remembered: what the store knows of files.
        manifest: every scan: shared first clicks come from the label of a subject's structural one.
        timeout: seconds that a file may take; 0: any.

    Attributes:
        seen: the files of this run, to be remembered.
        changed: scans whose stored rows or masks are of other files.
        learnt: inputs of rows that an older version stored without, by (plan, cohort, subject, scan_id).
    """

    def __init__(self, remembered: Mapping[Path, Content], manifest: Sequence[ScanRow], timeout: float):
        self._remembered, self._timeout = remembered, timeout
        self._structural = structural_rows(manifest)
        self._ids = cache(_digest_of_ids)
        self._stalled = False
        self.seen: dict[Path, Content] = {}
        self.changed: set[tuple[str, str, str]] = set()
        self.learnt: dict[tuple[str, str, str, str], str] = {}

    def outdated(self, case: Case, inputs: str) -> bool:
        """Whether rows with these `inputs` are of other files than the case has now.

        Where it cannot be told they are not: rows of an older store, files that are gone.
        """
        now = self.inputs(case)
        if inputs == now or now == UNKNOWN:
            return False
        if inputs == UNKNOWN:
            self.learnt[case.plan, *case.row.key] = now
            return False
        self.changed.add(case.row.key)
        return True

    def outdated_mask(self, row: ScanRow, mask: Path) -> bool:
        """Whether a mask is of other images than the scan has now, or cannot be read.

        Where it cannot be told it is not: masks of an older version, images that are gone.
        """
        try:
            of = within(self._timeout, mask, partial(read_header, mask)).mask_of
        except UmdEngineError as error:
            log.info("written again: %s", error)
            return True
        now = self._images(row) if of != UNKNOWN else UNKNOWN
        if now in (of, UNKNOWN):
            return False
        self.changed.add(row.key)
        return True

    def _images(self, row: ScanRow) -> str:
        try:
            return hash_of_images(self._sha256(path) for path in row.images)
        except UmdEngineError as error:
            log.info("not compared with its mask: %s", error)
            return UNKNOWN

    def inputs(self, case: Case) -> str:
        """What the case's rows depend on besides its plan, as 16 hex digits; UNKNOWN where a file cannot be read.

        These are the bytes of its images and its label, the ids of its label set, and the label that a shared first
        click is drawn in.
        """
        rows = [case.row]
        if case.asking is not None and case.asking.shares_first_click:
            structural = self._structural.get((case.row.cohort, case.row.subject), case.row)
            rows += [structural] if structural.key != case.row.key else []
        try:
            parts = [[self._sha256(path) for path in case.row.images], *map(self._reference, rows)]
        except UmdEngineError as error:
            log.info("not compared with what is stored: %s", error)
            return UNKNOWN
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def _reference(self, row: ScanRow) -> list[object]:
        if row.label is None or row.label_set is None:
            return []
        return [self._sha256(row.label), self._ids(row.label_set)]

    def _sha256(self, path: Path) -> str:
        if path not in self.seen:
            self.seen[path] = self._look(path)
        return self.seen[path].sha256

    def _look(self, path: Path) -> Content:
        if self._stalled:
            raise ReadTimeoutError("not looked at: another file stalled", where=path)
        known = self._remembered.get(path)
        try:
            if known is not None and known.stamp == within(self._timeout, path, partial(stamp_of, path)):
                return known
            return within(self._timeout, path, partial(content_of, path))
        except ReadTimeoutError:
            self._stalled = True
            raise


def hash_of_images(sha256s: Iterable[str]) -> str:
    """What a mask depends on besides plan and prompts, as 16 hex digits, from the hashes of its scan's images."""
    return hashlib.sha256(" ".join(sha256s).encode()).hexdigest()[:16]


def _digest_of_ids(label_set: str) -> str:
    ids = {organ: sorted(of_organ) for organ, of_organ in load_label_set(label_set).ids.items()}
    return hashlib.sha256(json.dumps(ids, sort_keys=True).encode()).hexdigest()
