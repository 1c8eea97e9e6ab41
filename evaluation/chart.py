"""A table as bars of block characters: for each organ and model one a modality, and the gap to PET."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.table import Table as RichTable
from rich.text import Text

from umd_engine.evaluation.figures import signed
from umd_engine.evaluation.metrics import METRICS
from umd_engine.evaluation.tables import OrganRow, Table
from umd_engine.evaluation.wording import metric_title, plain

EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")
FULL = "█"
COLOURS = {"ct": "bright_blue", "mr": "magenta", "pet": "yellow"}  # told apart by the colour-blind too
LONGEST, SHORTEST = 24, 8  # of a bar, in characters
FIGURES = len(" 0.93 +0.76")
BETWEEN = 2  # blanks after a column


def chart(table: Table, width: int) -> list[RichTable | Text]:
    """The parts of the chart, at most `width` wide; none where there is only one modality to show, or the metric does
    not lie in 0 to 1.

    A bar reaches from 0 to 1; behind it stand the mean and, in the line of the structural image, the gap. Models
    that do not fit beside each other go below.
    """
    if len(table.average.lines) < 2 or not METRICS[table.metric].bounded:
        return []
    keys = _key_widths(table, width)
    room = width - sum(keys) - 2 * BETWEEN
    beside = max(1, (room + BETWEEN) // (SHORTEST + FIGURES + BETWEEN))
    count = min(beside, len(table.columns))
    bar = min(LONGEST, (room + BETWEEN) // count - BETWEEN - FIGURES)
    numbers = range(len(table.columns))
    parts: list[RichTable | Text] = [Text(), Text(_title(table))]
    for start in range(0, len(numbers), count):
        parts.append(_part(table, numbers[start : start + count], keys, bar))
    return parts


def _title(table: Table) -> str:
    gaps = " and ".join(f"{line.modality} minus {line.minus}" for line in table.average.gaps)
    said = f"; signed: the gap, {gaps} in the same subjects" if gaps else ""
    return f"Mean {metric_title(table.metric)} in cohort {plain(table.cohort)}: bars from 0 to 1{plain(said)}"


def _key_widths(table: Table, width: int) -> tuple[int, int]:
    """Of organ and modality, so that at least one model with the shortest bar fits."""
    modality = min(max(cell_len(plain(line.modality)) for line in table.average.lines), width // 8)
    organ = max(cell_len(plain(row.organ)) for row in table.rows)
    return min(organ, width - modality - 2 * BETWEEN - SHORTEST - FIGURES), modality


def _part(table: Table, numbers: Sequence[int], keys: Sequence[int], bar: int) -> RichTable:
    part = RichTable(box=None, padding=(0, BETWEEN, 0, 0), pad_edge=False, header_style="bold")
    for key in keys:
        part.add_column(width=key, overflow="fold")
    for i in numbers:
        part.add_column(Text(plain(table.columns[i].title)), width=bar + FIGURES, overflow="fold")
    for row in table.rows:
        for line in _lines(row, numbers, bar):
            part.add_row(*line)
    return part


def _lines(row: OrganRow, numbers: Sequence[int], bar: int) -> Iterator[list[Text]]:
    gaps = {line.modality: line for line in row.gaps}
    for place, line in enumerate(row.lines):
        gap = gaps.get(line.modality)
        cells = [
            _cell(line.cells[i].mean, gap.cells[i].mean if gap else math.nan, bar, COLOURS.get(line.modality, ""))
            for i in numbers
        ]
        yield [Text(plain(row.organ) if place == 0 else ""), Text(plain(line.modality)), *cells]


def _cell(mean: float, gap: float, bar: int, colour: str) -> Text:
    drawn = Text(_bar(mean, bar).ljust(bar), style=colour)
    figure = "-" if math.isnan(mean) else f"{mean:.2f}"
    difference = "" if math.isnan(gap) else signed(gap, 2)
    return drawn.append(f" {figure:>4} {difference:>5}", style="default")


def _bar(mean: float, bar: int) -> str:
    """0 is empty; whatever is above 0 shows at least an eighth of a character."""
    if math.isnan(mean) or mean <= 0:
        return ""
    eighths = max(1, round(min(mean, 1) * bar * 8))
    return FULL * (eighths // 8) + EIGHTHS[eighths % 8]
