"""Where the tables of a run differ under two conventions, cell by cell, and why."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from rich.text import Text

from umd_engine.errors import OptionError
from umd_engine.evaluation.conventions import Convention
from umd_engine.evaluation.metrics import NSD, VOLUME, Metric, edges_of, metric
from umd_engine.evaluation.rows import Row
from umd_engine.evaluation.tables import Cell, Table, build_tables
from umd_engine.evaluation.text_tables import fitted, output_width, printed
from umd_engine.evaluation.wording import DIVISORS, HD95, convention_line, metric_title, plain, shown_score

KINDS = ("both_empty", "label_empty", "prediction_empty", "absent", "failed")
FORMS = ("text", "json")


@dataclass(frozen=True)
class Unlike:
    """A cell that differs: mean(SD) and n under either convention, and why."""

    cohort: str
    organ: str
    modality: str
    model: str
    one: str
    n_one: int
    other: str
    n_other: int
    why: tuple[str, ...]


def versus(rows: Sequence[Row], one: Convention, other: Convention, metric_name: str, form: str) -> str:
    """The cells that differ, as text or JSON.

    Raises:
        OptionError: another form. And what `build_tables` raises.
    """
    if form not in FORMS:
        raise OptionError(f"--versus has no format {form}", where="report", mend=f"one of {', '.join(FORMS)}")
    wanted = metric(metric_name)
    pairs = list(zip(build_tables(rows, one, wanted.name), build_tables(rows, other, wanted.name), strict=True))
    found = [unlike for pair in pairs for unlike in differences(*pair, wanted)]
    cells = sum(len(row.lines) * len(table.columns) for table, _ in pairs for row in table.rows)
    if form == "json":
        document = {"metric": wanted.name, "one": one.name, "other": other.name, "cells": cells}
        return json.dumps({**document, "differ": [asdict(unlike) for unlike in found]}, indent=1)
    return _text(found, cells, one, other, wanted)


def differences(one: Table, other: Table, wanted: Metric) -> Iterator[Unlike]:
    """Of one cohort."""
    for row, others in zip(one.rows, other.rows, strict=True):
        for line, lines in zip(row.lines, others.lines, strict=True):
            for column, cell, second in zip(one.columns, line.cells, lines.cells, strict=True):
                if _figures(cell) != _figures(second):
                    organ = None if row is one.average else row.organ
                    why = tuple(_reasons(cell, second, organ, one.convention, other.convention, wanted))
                    yield Unlike(
                        one.cohort, row.organ, line.modality, column.title,
                        cell.text, cell.n, second.text, second.n, why,
                    )  # fmt: skip


def _figures(cell: Cell) -> tuple[object, ...]:
    return cell.n, *(None if math.isnan(value) else value for value in (cell.mean, cell.sd))


def _reasons(
    cell: Cell, second: Cell, organ: str | None, one: Convention, other: Convention, wanted: Metric
) -> Iterator[str]:
    """What differs between the conventions and matters for the cell; no organ: the average."""
    if wanted.family != VOLUME:
        for kind in KINDS:
            values = [shown_score(getattr(edges_of(wanted, rules), kind)) for rules in (one, other)]
            if values[0] != values[1] and (count := getattr(cell, kind)):
                yield f"{count} {kind.replace('_', '-')}: {values[0]} / {values[1]}"
    if one.ddof != other.ddof and _figures(cell)[2] != _figures(second)[2]:
        yield f"SD by {DIVISORS[one.ddof]} / {DIVISORS[other.ddof]}"
    if wanted.of_surfaces and one.elements != other.elements:
        yield f"surfaces of {one.elements} / {other.elements}"
    if wanted.family == NSD:
        yield from _tolerances(organ, one, other)
    if wanted.name == "hd95" and one.hd95 != other.hd95:
        yield f"HD95 is {HD95[one.hd95]} / {HD95[other.hd95]}"


def _tolerances(organ: str | None, one: Convention, other: Convention) -> Iterator[str]:
    if organ is None:
        if (one.tolerance, one.tolerances) != (other.tolerance, other.tolerances):
            yield "tolerances of organs"
        return
    sides = [rules.tolerance_of(organ) for rules in (one, other)]
    if sides[0] != sides[1]:
        yield f"tolerance {sides[0]:g} / {sides[1]:g} mm"


def _text(found: Sequence[Unlike], cells: int, one: Convention, other: Convention, wanted: Metric) -> str:
    width = output_width()
    said = f"{metric_title(wanted.name)}, {one.name} versus {other.name}: {len(found)} of {cells} cells differ"
    heads = ["cohort", "organ", "modality", "model", one.name, other.name, "why: left / right"]
    lines = [
        [
            *map(plain, (unlike.cohort, unlike.organ, unlike.modality, unlike.model)),
            f"{unlike.one} n={unlike.n_one}",
            f"{unlike.other} n={unlike.n_other}",
            "; ".join(unlike.why),
        ]
        for unlike in found
    ]
    drawn = fitted(heads, lines, width, keys=4, left=7) if lines else []
    rules = [Text(convention_line(rules, wanted.name)) for rules in (one, other)]
    return printed([Text(said), *drawn, *rules], width)
