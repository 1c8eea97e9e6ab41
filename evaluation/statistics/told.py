"""Statistics as sheets, CSV and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from umd_engine.evaluation.columns import AVERAGE, Column
from umd_engine.evaluation.figures import NO_FIGURE, decimals, signed, without_nan
from umd_engine.evaluation.gaps import FUNCTIONAL
from umd_engine.evaluation.metrics import COUNTS
from umd_engine.evaluation.sheets import Sheet
from umd_engine.evaluation.spreadsheet import csv_text
from umd_engine.evaluation.statistics.bootstrap import LEVEL
from umd_engine.evaluation.statistics.paired import FEWEST, SHADES
from umd_engine.evaluation.statistics.summary import Estimate, Sampling, Statistics, Tested
from umd_engine.evaluation.synthetic import warning
from umd_engine.evaluation.wording import NOT_COMPUTED, convention_line, loss_on_pet, metric_title

SHOWN = 5  # names in a sentence
TEST_NAMES = ("gap", f"{LEVEL:.0%} CI", "n", "unpaired", "p", "p (Holm)", "t (Holm)", "effect")
PLACE_OF_P = 2 + TEST_NAMES.index("p (Holm)")
ESTIMATE = ("mean", "sd", "low", "high", "n", "scans", *COUNTS)
TEST = ("unpaired", "wilcoxon", "wilcoxon_holm", "t", "t_holm", "effect", "why")
CSV_COLUMNS = ("cohort", "group", "organ", "modality", "model", "plan", "metric", "convention", *ESTIMATE, *TEST)


def sheets(found: Statistics) -> list[Sheet]:
    """Means with intervals, what stands behind them and, where there are gaps, their tests."""
    names = [column.title for column in found.columns]
    counts = counts_sheet(names, [(line.organ, line.modality, line.cells) for line in found.means])
    return [means_sheet(found), *counts, *([gaps_sheet(found)] if found.gaps else [])]


def counts_sheet(names: Sequence[str], lines: Sequence[tuple[str, str, Sequence[Estimate]]]) -> list[Sheet]:
    """The scans of each organ and modality, and how many failed or have an empty mask; none where no scan does."""
    if not any(n for _, _, cells in lines for cell in cells for name, n in cell.counts.items() if name in COUNTS):
        return []
    per_organ = len({modality for _, modality, _ in lines})
    rows = [
        [organ if i % per_organ == 0 else "", modality, *map(counts_text, cells)]
        for i, (organ, modality, cells) in enumerate(lines)
    ]
    ends = range(per_organ - 1, len(rows) - 1, per_organ) if per_organ > 1 else ()
    notes = ["Counts that are not shown are 0. In the Avg row they are scans with at least one such organ."]
    if any(cell.counts.get("not_computed") for _, _, cells in lines for cell in cells):
        notes.append(NOT_COMPUTED)
    return [Sheet("Scans", ["organ", "modality", *names], rows, level=0, ends=ends, notes=notes)]


def counts_text(cell: Estimate) -> str:
    """E.g. "scans=490 failed=2 label-empty=10"."""
    return " ".join(f"{name.replace('_', '-')}={n}" for name, n in cell.counts.items() if n)


def means_sheet(found: Statistics) -> Sheet:
    columns = [column.title for column in found.columns]
    per_organ = len({line.modality for line in found.means})
    rows = [
        [line.organ if i % per_organ == 0 else "", line.modality, *map(estimate_text, line.cells)]
        for i, line in enumerate(found.means)
    ]
    ends = range(per_organ - 1, len(rows) - 1, per_organ)
    said = [convention_line(found.convention, found.metric), sampling_line(found.sampling)]
    return Sheet(
        _title(found, "mean(SD) and 95 % CI over subjects"), ["organ", "modality", *columns], rows,
        ends=ends if per_organ > 1 else (), warning=subjects_warning(found.synthetic, found.subjects),
        said=said, notes=_means_notes(found),
    )  # fmt: skip


def gaps_sheet(found: Statistics) -> Sheet:
    """A row an organ and column."""
    several = len(found.compared) > 1
    rows: list[list[str]] = []
    shades = {}
    for line in found.gaps:
        for number, (column, cell) in enumerate(zip(found.columns, line.cells, strict=True)):
            if cell.test.shade:
                shades[len(rows), PLACE_OF_P] = cell.test.shade
            organ = f"{line.organ} {line.modality}" if several else line.organ
            rows.append([organ if number == 0 else "", column.title, *test_cells(cell)])
    ends = range(len(found.columns) - 1, len(rows) - 1, len(found.columns))
    names = ", ".join(f"{modality} minus {FUNCTIONAL}" for modality in found.compared)
    return Sheet(
        _title(found, f"gap ({names}), paired within the subject"), ["organ", "model", *TEST_NAMES], rows, level=3,
        ends=ends if len(found.columns) > 1 else (), warning=subjects_warning(found.synthetic, found.subjects),
        notes=_gap_notes(found), shades=shades,
    )  # fmt: skip


def subgroups_sheet(name: str, groups: Sequence[Statistics]) -> Sheet:
    """The average over organs of each value of a subgroup."""
    first = groups[0]
    rows = [row for group in groups for row in _average_rows(name, group)]
    per_group = len(rows) // len(groups)
    return Sheet(
        f"{metric_title(first.metric)} by {name}, cohort {first.cohort}: average over organs, mean(SD) and 95 % CI",
        [name, "modality", *(column.title for column in first.columns)], rows, level=3,
        ends=range(per_group - 1, len(rows) - 1, per_group),
        notes=["Subgroups are described, not tested: a small one has a wide interval."],
    )  # fmt: skip


def _average_rows(name: str, group: Statistics) -> Iterator[list[str]]:
    title = f"{group.group.removeprefix(f'{name} ')} ({group.subjects})"
    for line in group.means:
        if line.organ == AVERAGE:
            yield [title, line.modality, *map(estimate_text, line.cells)]
            title = ""
    for gap in group.gaps:
        if gap.organ == AVERAGE:
            yield ["", f"gap {gap.modality}", *(estimate_text(c.estimate, with_sign=True) for c in gap.cells)]


def estimate_text(cell: Estimate, with_sign: bool = False) -> str:
    """E.g. 0.7039(0.1155) [0.694,0.714] n=490 failed=2; "-" where no score counts."""
    shown = signed if with_sign else decimals
    figures = f"{shown(cell.mean)}({decimals(cell.sd)}) {interval_text(cell, with_sign)}" if cell.n else NO_FIGURE
    failed = cell.counts.get("failed")
    return f"{figures} n={cell.n}" + (f" failed={failed}" if failed else "")


def interval_text(cell: Estimate, with_sign: bool = True) -> str:
    if math.isnan(cell.low):
        return NO_FIGURE
    low, high = (signed(v, 3) if with_sign else f"{v:.3f}" for v in (cell.low, cell.high))
    return f"[{low},{high}]"


def test_cells(cell: Tested) -> list[str]:
    """As `TEST_NAMES`; p (Holm) has the paper's shade, or says why there is no test."""
    test, gap = cell.test, cell.estimate
    mean = f"{signed(gap.mean)}({decimals(gap.sd)})" if gap.n else NO_FIGURE
    effect = signed(test.effect, 2)
    adjusted = test.why or p_text(test.wilcoxon_holm) + "*" * test.shade
    figures = [p_text(test.wilcoxon), adjusted, p_text(test.t_holm), effect]
    return [mean, interval_text(gap), str(gap.n), str(len(cell.unpaired)), *figures]


def p_text(p: float) -> str:
    return NO_FIGURE if math.isnan(p) else "<0.0001" if p < 0.0001 else f"{p:.4f}"


def _title(found: Statistics, what: str) -> str:
    group = f", {found.group}" if found.group else ""
    return f"{metric_title(found.metric)}, cohort {found.cohort}{group}: {what}"


def subjects_warning(synthetic: int, subjects: int) -> list[str]:
    said = warning(synthetic, subjects, of="subjects")
    return [said] if said else []


def sampling_line(sampling: Sampling) -> str:
    return (
        f"{LEVEL:.0%} CI: bootstrap of the mean by subject, BCa, {sampling.draws} draws, "
        f"seed {sampling.seed}. No CI where fewer than two subjects count or all are equal."
    )


def _means_notes(found: Statistics) -> list[str]:
    said = [f"n: subjects whose score counts, of {found.subjects}; failed: scans that ended with an error."]
    if not found.gaps:
        said.append("No gaps and no tests: they need a structural modality and PET.")
    if found.several:
        said.append(f"Several scans of a modality, whose mean counts: {listed(found.several)}.")
    for scans in found.alike:
        said.append(f"The same files under two names, each of which counts: {listed(scans)}.")
    if all(cell.n == 0 for line in found.means for cell in line.cells):
        said.append("No score counts at all: every scan failed, was not measured or is left out by the convention.")
    return said


def _gap_notes(found: Statistics) -> list[str]:
    first, second = SHADES
    names = ", ".join(f"{modality} minus {FUNCTIONAL}" for modality in found.compared)
    families = ", ".join(f"{modality} {found.family(modality)}" for modality in found.compared)
    said = [
        f"gap: {names}{loss_on_pet(found.metric)}. p: Wilcoxon's signed-rank test (Pratt), two-sided; t: the paired "
        f"t-test. Holm: adjusted over organs x models (tests: {families}), in the Avg row over models. effect: "
        f"matched-pairs rank-biserial correlation, -1 to 1. *: p (Holm) < {first:g}, **: < {second:g}.",
    ]
    reasons = sorted({c.test.why for line in found.gaps for c in line.cells if c.test.why})
    if reasons:
        said.append(
            f"No p-value, and not counted by Holm: {', '.join(reasons)} (with fewer than {FEWEST} pairs no signed-rank "
            "test reaches 0.05; where all differences are equal nothing can be tested)."
        )
    return said + list(_unpaired_notes(found))


def _unpaired_notes(found: Statistics) -> Iterator[str]:
    for line in found.gaps:
        if line.organ == AVERAGE:
            for column, cell in zip(found.columns, line.cells, strict=True):
                if cell.unpaired:
                    yield (
                        f"Unpaired in {line.name} of {column.title}, out of gaps and tests: {len(cell.unpaired)} "
                        f"subjects with scores on one side alone: {listed(cell.unpaired)}."
                    )


def listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def statistics_csv(every: Sequence[Statistics]) -> str:
    """A line a cohort, subgroup, organ, modality and model, unrounded; a gap is a line of the modality "ct-pet"."""
    return csv_text(CSV_COLUMNS, (line for found in every for line in _csv_lines(found)))


def _csv_lines(found: Statistics) -> Iterator[list[object]]:
    for line in found.means:
        for column, cell in zip(found.columns, line.cells, strict=True):
            yield _csv_line(found, line.organ, line.modality, column, estimate_record(cell))
    for gap in found.gaps:
        for column, one in zip(found.columns, gap.cells, strict=True):
            figures = estimate_record(one.estimate) | asdict(one.test) | {"unpaired": len(one.unpaired)}
            yield _csv_line(found, gap.organ, gap.name, column, figures)


def estimate_record(cell: Estimate) -> dict[str, Any]:
    """By column of `ESTIMATE`; a count that is not there is None, one that no scan has 0."""
    return asdict(cell) | (dict.fromkeys(COUNTS, 0) | cell.counts if cell.counts else {})


def _csv_line(found: Statistics, organ: str, modality: str, column: Column, figures: dict[str, Any]) -> list[object]:
    place = [found.cohort, found.group, organ, modality, column.model, column.plan, found.metric, found.convention.name]
    return [*place, *(figures.get(name) for name in (*ESTIMATE, *TEST))]


def statistics_json(every: Sequence[Statistics]) -> str:
    """All of it, unrounded; null where there is no figure."""
    shown = [asdict(found) | {"family": {m: found.family(m) for m in found.compared}} for found in every]
    return json.dumps({"statistics": without_nan(shown)}, indent=1, allow_nan=False)
