"""Units alone: each held against eager float32, then timed by the rule of every bench, batch by batch."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from umd_engine.bench.profile.patch import counted, difference, smaller
from umd_engine.bench.profile.result import UnitRow
from umd_engine.bench.profile.subject import STAND_IN, Subject
from umd_engine.bench.profile.trial import Trial, Way, fault
from umd_engine.engine.unit import Unit

PATIENCE, IN_A_HURRY = 10.0, 1.0  # s of a first call, beyond which a unit runs at a smaller patch; `quick`
CACHE = "UMD_ENGINE_CACHE"
NARROW = {"fp16": 2, "bf16": 2, "int8": 4}  # times fewer bytes than in float32


def unit_rows(
    subject: Subject, way: Way, begun: Callable[[UnitRow], None], done: Collection[tuple[str, int]] = ()
) -> Iterator[UnitRow]:
    """A row a unit and batch, the batches from small to large.

    Args:
        begun: told each row before its first call, for whoever watches a process that may die.
        done: units and batches that have a row already.
    """
    for unit in subject.units:
        left = sorted(batch for batch in set(way.batches) if (unit.name, batch) not in done)
        if left:
            yield from _rows(subject, unit, left, way, begun)


def _rows(
    subject: Subject, unit: Unit, batches: list[int], way: Way, begun: Callable[[UnitRow], None]
) -> Iterator[UnitRow]:
    named = (subject.name, unit.name, way.backend, way.precision, str(way.device))
    rows = [UnitRow(*named, batch, "failed", emulated=way.emulated) for batch in batches]
    begun(rows[0])
    with _cache(subject, way):
        try:
            trial = _fitting(subject, unit, batches, way)
        except Exception as error:
            yield from (replace(row, **fault(error, way.device)) for row in rows)
            return
        about = _described(subject, unit, trial)
        for row in rows:
            begun(replace(row, **about))
            yield trial.row(replace(row, **about))
        trial.close()


@contextmanager
def _cache(subject: Subject, way: Way) -> Iterator[None]:
    """Artifacts are made anew and thrown away, but for int8 graphs of a checkpoint, which take a user's calibration."""
    if subject.weights != STAND_IN and way.precision == "int8":
        yield
        return
    before = os.environ.get(CACHE)
    with tempfile.TemporaryDirectory() as home:
        os.environ[CACHE] = home
        try:
            yield
        finally:
            os.environ.pop(CACHE)
            os.environ.update({} if before is None else {CACHE: before})


def _fitting(subject: Subject, unit: Unit, batches: list[int], way: Way) -> Trial:
    """The unit, or the largest of its smaller forms whose first call, of the smallest batch, is within the patience."""
    while True:
        count = counted(unit)
        bound = batches[0] * count.flops / way.conv if count and way.conv else 0.0
        if bound > way.patience and (less := smaller(unit, subject.name)):
            unit = less
            continue
        trial = Trial(subject, unit, batches, way)
        if trial.first[1] <= way.patience or (less := smaller(unit, subject.name)) is None:
            return trial
        trial.close()
        unit = less
        del trial


def _described(subject: Subject, unit: Unit, trial: Trial) -> dict[str, Any]:
    """What all rows of a unit say, whatever the batch."""
    run, count = trial.unit, counted(trial.unit)
    whole = subject.whole.get(unit.name) or getattr(counted(unit), "flops", None)
    scaled = whole / count.flops if whole and count and count.flops else 1.0
    narrow = 1 if trial.way.emulated else NARROW.get(trial.way.precision, 1)
    return {
        "scaled": scaled,
        "reason": difference(unit, run) or ("a reduced network" if scaled != 1 else ""),
        "shapes": tuple(spec.shape for spec in run.inputs),
        "flops": count and count.flops,
        "nbytes": count and count.nbytes // narrow,
        "file": trial.file,
    }
