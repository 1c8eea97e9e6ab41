"""What a model loses from the structural image to the PET of the same subjects.

A gap is structural (CT, MR) minus PET: a positive one is a loss on PET.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from umd_engine.evaluation.figures import NO_FIGURE, decimals, mean_of, scan_score, sd_of, signed
from umd_engine.evaluation.rows import Row

STRUCTURAL = ("ct", "mr")
FUNCTIONAL = "pet"

Scans = Mapping[tuple[str, str], Sequence[Row]]  # (subject, scan_id) -> its rows of an organ and a column


@dataclass(frozen=True)
class Gap:
    """Mean and SD of the paired differences, over `n` subjects of whom `synthetic` are phantoms.

    `mean` is NaN where n is 0, `sd` where n does not exceed the convention's ddof.
    """

    mean: float
    sd: float
    n: int
    synthetic: int

    @property
    def text(self) -> str:
        """With its sign, e.g. +0.5123(0.1155); "-" where no subject has both scans scored."""
        return f"{signed(self.mean)}({decimals(self.sd)})" if self.n else NO_FIGURE


@dataclass(frozen=True)
class GapLine:
    """The gaps of an organ, a cell for each column of the table: scores on `modality` minus those on `minus`."""

    modality: str
    minus: str
    cells: tuple[Gap, ...]

    @property
    def name(self) -> str:
        return f"{self.modality}-{self.minus}"


@dataclass(frozen=True)
class Difference:
    """One subject's score on the structural image minus that on PET."""

    value: float
    synthetic: bool


def structural_of(modalities: Sequence[str]) -> list[str]:
    """Which of a table's modalities PET is compared with; none where the table has no PET."""
    return [m for m in modalities if m in STRUCTURAL] if FUNCTIONAL in modalities else []


def differences(structural: Scans, functional: Scans, score: Callable[[Row], float]) -> dict[str, Difference]:
    """Subject -> difference, of the subjects with a score that counts on both sides; several scans are averaged."""
    left, right = (_by_subject(scans, score) for scans in (structural, functional))
    phantoms = {subject for scans in (structural, functional) for (subject, _), rows in scans.items() if _marked(rows)}
    return {
        subject: Difference(mean_of(left[subject]) - mean_of(right[subject]), subject in phantoms)
        for subject in left
        if subject in right
    }


def over_organs(organs: Sequence[Mapping[str, Difference]]) -> dict[str, Difference]:
    """Subject -> the mean of its differences over the organs that count on both of its scans."""
    found: dict[str, list[Difference]] = defaultdict(list)
    for subjects in organs:
        for subject, difference in subjects.items():
            found[subject].append(difference)
    return {s: Difference(mean_of([d.value for d in ds]), any(d.synthetic for d in ds)) for s, ds in found.items()}


def make_gap(subjects: Mapping[str, Difference], ddof: int) -> Gap:
    values = [subjects[name].value for name in sorted(subjects)]
    return Gap(mean_of(values), sd_of(values, ddof), len(values), sum(d.synthetic for d in subjects.values()))


def _by_subject(scans: Scans, score: Callable[[Row], float]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for (subject, _), rows in sorted(scans.items()):
        if not math.isnan(value := scan_score(rows, score)):
            found[subject].append(value)
    return found


def _marked(rows: Sequence[Row]) -> bool:
    return any(row.synthetic for row in rows)
