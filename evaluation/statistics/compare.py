"""Two columns on the same scans: paired differences by subject, e.g. two precisions or two models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from umd_engine.errors import OptionError, UnknownNameError
from umd_engine.evaluation.columns import AVERAGE, Column, columns_of
from umd_engine.evaluation.conventions import Convention
from umd_engine.evaluation.figures import without_nan
from umd_engine.evaluation.report import stored_rows
from umd_engine.evaluation.rows import Row
from umd_engine.evaluation.sheets import MARKUPS, Sheet, rendered
from umd_engine.evaluation.spreadsheet import csv_text
from umd_engine.evaluation.statistics.scores import Scores, collect
from umd_engine.evaluation.statistics.summary import DEFAULT, Estimate, Sampling, Tested, estimates, tested
from umd_engine.evaluation.statistics.told import (
    ESTIMATE,
    TEST,
    TEST_NAMES,
    estimate_text,
    listed,
    sampling_line,
    test_cells,
)
from umd_engine.evaluation.synthetic import warning
from umd_engine.evaluation.wording import convention_line, metric_title

FORMS = ("text", *MARKUPS, "csv", "json")
FIRST, SECOND = "first", "second"
CSV_COLUMNS = ("cohort", "organ", "modality", "side", "model", "plan", "metric", "convention", *ESTIMATE, *TEST)


@dataclass(frozen=True)
class Compared:
    """An organ on a modality: both sides over the subjects that have both, and second minus first."""

    organ: str
    modality: str
    first: Estimate
    second: Estimate
    difference: Tested


@dataclass(frozen=True)
class Comparison:
    """Two columns in one cohort; `tests` is how many of its lines Holm's correction is over, the average aside."""

    cohort: str
    first: Column
    second: Column
    metric: str
    convention: Convention
    sampling: Sampling
    lines: tuple[Compared, ...]
    subjects: int
    synthetic: int

    @property
    def tests(self) -> int:
        return sum(line.organ != AVERAGE and not line.difference.test.why for line in self.lines)


def compare_runs(
    first: Path,
    second: Path,
    convention: Convention,
    form: str,
    metric: str = "dice",
    sampling: Sampling = DEFAULT,
    names: tuple[str, str] = ("", ""),
) -> str:
    """The paired differences of two runs, or of two columns of one run, as a document.

    Args:
        form: "text", "markdown", "latex", "csv" or "json".
        names: a model's name or the beginning of a plan's hash on each side; by default every model that both have,
            or the only one of each.

    Raises:
        UnknownNameError: no such format, metric or model. OptionError: no pair of columns, or several.
        MissingFileError, StoreError: no store.
    """
    if form not in FORMS:
        raise UnknownNameError("format of a comparison", form, FORMS)
    rows = stored_rows(first), stored_rows(second)
    pairs = pairs_of(columns_of(rows[0]), columns_of(rows[1]), names)
    found = [one for pair in pairs for one in comparisons(*rows, *pair, convention, metric, sampling)]
    if form == "csv":
        return csv_text(CSV_COLUMNS, (line for one in found for line in _csv_lines(one))).rstrip("\n")
    if form == "json":
        shown = [asdict(one) | {"tests": one.tests} for one in found]
        return json.dumps({"comparisons": without_nan(shown)}, indent=1, allow_nan=False)
    return rendered([comparison_sheet(one) for one in found], form) or "no cohort has scans of both"


def pairs_of(first: Sequence[Column], second: Sequence[Column], names: tuple[str, str]) -> list[tuple[Column, Column]]:
    """Which columns are compared.

    Raises:
        OptionError: none, or several that the names do not tell apart.
    """
    if any(names):
        return [(_named(first, names[0], "--first"), _named(second, names[1], "--second"))]
    alone = [{c.model: c for c in side if sum(o.model == c.model for o in side) == 1} for side in (first, second)]
    if shared := [model for model in alone[0] if model in alone[1]]:
        return [(alone[0][model], alone[1][model]) for model in shared]
    if len(first) == len(second) == 1:
        return [(first[0], second[0])]
    sides = [", ".join(column.title for column in side) or "nothing" for side in (first, second)]
    mend = f"name one of each by --first ({sides[0]}) and --second ({sides[1]})"
    raise OptionError("no model stands once in both runs", where="compare", mend=mend)


def _named(columns: Sequence[Column], name: str, option: str) -> Column:
    found = [c for c in columns if name in ("", c.model, c.title)] or [c for c in columns if c.plan.startswith(name)]
    if not found:
        raise UnknownNameError("model", name, [column.title for column in columns], where=option)
    if len(found) > 1:
        mend = "name one by its plan's hash: " + ", ".join(f"{c.model} {c.plan}" for c in found)
        raise OptionError("it stands for several columns", where=option, mend=mend)
    return found[0]


def comparisons(
    first: Sequence[Row],
    second: Sequence[Row],
    left: Column,
    right: Column,
    convention: Convention,
    metric: str,
    sampling: Sampling,
) -> Iterator[Comparison]:
    """One a cohort that both have scans of."""
    rows = [*_side(first, left, FIRST), *_side(second, right, SECOND)]
    both = {row.cohort for row in rows if row.plan == FIRST} & {row.cohort for row in rows if row.plan == SECOND}
    rows = [row for row in rows if row.cohort in both]
    pairs = zip(collect(rows, metric, convention, complete=True), collect(rows, metric, convention), strict=True)
    for paired, every in pairs:
        yield Comparison(
            paired.cohort, left, right, metric, convention, sampling, tuple(_lines(paired, every, sampling)),
            len(paired.subjects), int(paired.synthetic.sum()),
        )  # fmt: skip


def _side(rows: Sequence[Row], column: Column, side: str) -> list[Row]:
    """Its rows as those of a model of that name, so that both stand in one table."""
    own = (row for row in rows if (row.model, row.plan) == (column.model, column.plan))
    return [replace(row, model=side, plan=side) for row in own]


def _lines(scores: Scores, every: Scores, sampling: Sampling) -> Iterator[Compared]:
    ddof = scores.convention.ddof
    first, second = (np.moveaxis(scores.scores[..., side], 1, 2) for side in (0, 1))  # [subject, organ, modality]
    alone = np.moveaxis(np.isnan(every.scores[..., 0]) ^ np.isnan(every.scores[..., 1]), 1, 2)
    left, right, shift = estimates([first, second, second - first], ddof, sampling)
    tests = tested(shift, second - first, alone, scores.subjects)
    for i, organ in enumerate((*scores.organs, AVERAGE)):
        for j, modality in enumerate(scores.modalities):
            yield Compared(organ, modality, left[i][j], right[i][j], tests[i][j])


def comparison_sheet(found: Comparison) -> Sheet:
    first, second = _titles(found)
    modalities = len({line.modality for line in found.lines})
    rows = [
        [line.organ if i % modalities == 0 else "", line.modality, *_figures(line)]
        for i, line in enumerate(found.lines)
    ]
    names = ["organ", "modality", first, second, "difference", *TEST_NAMES[1:]]
    shades = {(i, names.index("p (Holm)")): line.difference.test.shade for i, line in enumerate(found.lines)}
    said = warning(found.synthetic, found.subjects)
    return Sheet(
        f"{metric_title(found.metric)}, cohort {found.cohort}: {second} minus {first}, paired within the subject",
        names, rows, ends=range(modalities - 1, len(rows) - 1, modalities) if modalities > 1 else (),
        warning=[said.replace("scans are", "subjects are")] if said else [],
        said=[convention_line(found.convention, found.metric), sampling_line(found.sampling), *_plan_lines(found)],
        notes=_notes(found), shades=shades,
    )  # fmt: skip


def _titles(found: Comparison) -> tuple[str, str]:
    if found.first.model != found.second.model:
        return found.first.model, found.second.model
    return f"{found.first.model} {FIRST}", f"{found.second.model} {SECOND}"


def _plan_lines(found: Comparison) -> list[str]:
    sides = zip(_titles(found), (found.first, found.second), strict=True)
    return [f"Plan of {title}: {column.plan}" for title, column in sides]


def _figures(line: Compared) -> list[str]:
    sides = [estimate_text(side).rsplit(" n=", 1)[0] for side in (line.first, line.second)]
    return [*sides, *test_cells(line.difference)]


def _notes(found: Comparison) -> list[str]:
    said = [
        f"All figures are over the n subjects that count on both sides. Holm: adjusted over {found.tests} tests "
        "(organs x modalities), in the Avg row over modalities. No p-value with fewer than 6 pairs or where all "
        "differences are equal. The tests are those of docs/statistics.md."
    ]
    for line in found.lines:
        if line.organ == AVERAGE and line.difference.unpaired:
            names = line.difference.unpaired
            said.append(f"Unpaired on {line.modality}, left out: {len(names)} subjects: {listed(names)}.")
    return said


def _csv_lines(found: Comparison) -> Iterator[list[object]]:
    for line in found.lines:
        test = asdict(line.difference.test) | {"unpaired": len(line.difference.unpaired)}
        sides = [
            (FIRST, found.first.model, found.first.plan, asdict(line.first)),
            (SECOND, found.second.model, found.second.plan, asdict(line.second)),
            ("difference", "", "", asdict(line.difference.estimate) | test),
        ]
        for side, model, plan, figures in sides:
            place = [found.cohort, line.organ, line.modality, side, model, plan, found.metric, found.convention.name]
            yield [*place, *(figures.get(name) for name in (*ESTIMATE, *TEST))]
