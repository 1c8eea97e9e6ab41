"""The rows of the bench: whole jobs, then the scoring of masks alone. Masks are compared before a time is told."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from umd_engine.bench.floor import Entry
from umd_engine.bench.pipeline import nnunet, ours, plain_monai, spread
from umd_engine.bench.pipeline.clock import Counts, Told
from umd_engine.bench.pipeline.cohort import NETWORKS, Cohort, make_cohort, unlike_voxels
from umd_engine.errors import BackendError
from umd_engine.evaluation.rows import MEASURES

JOB, STUDY, DICE, SURFACES = (
    "evaluate",
    "evaluate, both networks on every scan",
    "score, Dice",
    "score, Dice, NSD, HD95",
)
ONE_WORKER, TWO_WORKERS = "1 Ray worker, 1 thread", "2 Ray workers, 1 thread each"
NNUNET_TARGET, MONAI_TARGET, DICE_TARGET = 3.0, 2.0, 10.0
# share of an organ's voxels that may differ: `engine` sums in float32 where nnunetv2 sums in float16; MONAI resamples
# linearly where nnunetv2 takes cubic splines, and places the last window otherwise
OFFICIAL, ENGINE, MONAI = 0.0, 1e-3, 0.1


def entries(pairs: str, size: str, python: str, workers: str, scans: str, ray: str) -> list[Entry]:
    """Peers first: their masks are what ours are held against."""
    kept = tempfile.TemporaryDirectory(prefix="umd-engine-bench-")
    folder = Path(kept.name)
    cohort = make_cohort(Path(scans) if scans else folder / "scans", folder, int(pairs), size)
    case = f"{pairs} pairs of CT and PET, {size}"
    held = Held(cohort, kept)

    def entry(op: str, name: str, run: Callable[[], Told], check: Callable[[Told], None], **more: Any) -> Entry:
        told: dict[str, Any] = {"seconds": lambda told: told.seconds.wall, "counted": held.words}
        return Entry(op, name, case, run, 0, check, name.startswith("peer:"), **told, **more)

    theirs = partial(nnunet.predict, cohort, python, int(workers))
    folder_scored = f"nnUNetv2_evaluate_folder, {nnunet.scorers()} processes"
    return [
        entry(JOB, "peer:nnunetv2", theirs, partial(held.like, 0.0, True), target=NNUNET_TARGET,
              call=f"predict_from_files, {workers} + {workers} workers; {folder_scored}"),
        entry(JOB, "official", partial(ours.evaluate, cohort, "official"), partial(held.like, OFFICIAL, True)),
        entry(JOB, "engine", partial(ours.evaluate, cohort, "engine"), partial(held.like, ENGINE, False)),
        entry(JOB, "peer:MONAI loop", partial(plain_monai.evaluate, cohort), partial(held.like, MONAI, False),
              target=MONAI_TARGET, call=plain_monai.CALL),
        entry(STUDY, "engine", partial(ours.evaluate_all, cohort), held.study),
        entry(STUDY, ONE_WORKER, partial(spread.evaluate_all, cohort, ray, 1), held.study),
        entry(STUDY, TWO_WORKERS, partial(spread.evaluate_all, cohort, ray, 2), held.study),
        entry(DICE, "peer:nnUNetv2_evaluate_folder", lambda: nnunet.score(cohort, held.masks(), python, int(workers)),
              held.scores, target=DICE_TARGET, call=folder_scored),
        entry(DICE, "score", lambda: ours.score(cohort, held.masks()), held.scores),
        entry(SURFACES, "score and surfaces", lambda: ours.score(cohort, held.masks(), MEASURES), held.scores),
    ]  # fmt: skip


@dataclass
class Held:
    """What the results of this process are held against: the first masks, and the first scores of them.

    Attributes:
        folder: goes with this object.
    """

    cohort: Cohort
    folder: tempfile.TemporaryDirectory[str]
    first: Told | None = None
    scored: Counts | None = None
    studied: Counts | None = None
    unlike: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def like(self, most: float, scored: bool, told: Told) -> None:
        """At most that share of the organs' voxels differs from the first masks; with `scored`, no count does."""
        assert told.masks is not None
        self.first = self.first or told
        unlike, filled = self.unlike[told.masks] = unlike_voxels(self.cohort.rows, told.masks, self.masks())
        assert filled, "every mask is empty"
        assert unlike <= most * filled, f"{unlike} of {filled} voxels of organs differ from the first masks"
        assert not scored or told.counts == self.first.counts, "other TP, FP or FN than those of the first masks"

    def masks(self) -> Path:
        """Those that are scored."""
        if self.first is None or self.first.masks is None:
            raise BackendError("no masks were made")
        return self.first.masks

    def scores(self, told: Told) -> None:
        """TP, FP and FN are those of whoever scored first."""
        self.scored = self.scored or told.counts
        assert told.counts and told.counts == self.scored, "other TP, FP or FN"

    def study(self, told: Told) -> None:
        """TP, FP and FN of both networks on every scan are those of the first one, which is one process."""
        self.studied = self.studied or told.counts
        assert len(told.counts) == len(NETWORKS) * len(self.cohort.rows), f"{len(told.counts)} cases"
        assert told.counts == self.studied, "other TP, FP or FN than those of one process"

    def words(self, told: Told) -> str:
        """Of a row."""
        said = [f"CPU {told.seconds.cpu / len(self.cohort.rows):.3g} s a scan"]
        if told.masks in self.unlike and told is not self.first:
            unlike, filled = self.unlike[told.masks]
            said.append(f"{unlike} of {filled} voxels of organs differ")
        return ", ".join([*said, *([told.note] if told.note else [])])
