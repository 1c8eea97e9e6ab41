"""One cohort of a picture: a panel a model, a row an organ, a marker a modality. Needs matplotlib.

Everything is placed in inches, and text is measured before it is placed, so that nothing overlaps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from umd_engine.evaluation.dumbbells import BODY, GREY, INK, SMALL, TINY, draw_frame, draw_row, marker, shown_modality
from umd_engine.evaluation.figures import NO_FIGURE, signed
from umd_engine.evaluation.gaps import FUNCTIONAL
from umd_engine.evaluation.ruler import Ruler
from umd_engine.evaluation.tables import OrganRow, Table
from umd_engine.evaluation.wording import metric_title, plain, table_warning

ALARM, QUIET = "#B00020", "#555555"
TITLE = 11.0  # points
MARGIN, ROW, BETWEEN, GAP_WIDTH, AXIS = 0.18, 0.235, 0.3, 0.5, 0.5  # inches
LEGEND = 0.24
LEADING = 1.35  # of a line of text, in its size
LONGEST_NAME = 2.0  # inches of an organ's name
NARROWEST = 5.6  # inches of a picture


@dataclass(frozen=True)
class Layout:
    """Inches and counts of a cohort's panels."""

    beside: int
    panel: float
    left: float
    gaps: float

    @property
    def pitch(self) -> float:
        return self.panel + self.gaps + BETWEEN

    @property
    def width(self) -> float:
        return MARGIN + self.left + self.beside * self.pitch - BETWEEN + MARGIN


def lay_out(table: Table, ruler: Ruler) -> Layout:
    models = len(table.columns)
    beside = models if models <= 4 else 3 if models <= 6 else 4
    names = [min(LONGEST_NAME, ruler.width(_name(row), BODY, "bold")) for row in table.rows]
    panel = {1: 3.4, 2: 2.5}.get(beside, 2.1)
    return Layout(beside, panel, max(names) + 0.12, GAP_WIDTH * len(table.average.gaps))


def width_of(table: Table, ruler: Ruler) -> float:
    """Inches."""
    return max(NARROWEST, lay_out(table, ruler).width)


def height_of(table: Table, width: float, ruler: Ruler) -> float:
    """Inches of the cohort's block in a picture of that width."""
    layout = lay_out(table, ruler)
    text = _height(_title(table, ruler, width), TITLE) + _height(_subtitle(table, ruler, width), SMALL)
    foot = _height(_footer(table, ruler, width), SMALL) + _height(_alarm(table, ruler, width), BODY)
    panels = sum(
        _head(table, numbers, layout, ruler) + ROW * len(table.rows) + AXIS for numbers in _rows(table, layout)
    )
    return MARGIN + text + 0.34 + panels + foot + MARGIN


def _height(lines: Sequence[str], size: float) -> float:
    return len(lines) * size * LEADING / 72


def _rows(table: Table, layout: Layout) -> list[range]:
    """The columns of each row of panels."""
    count = len(table.columns)
    return [range(start, min(count, start + layout.beside)) for start in range(0, count, layout.beside)]


def _name(row: OrganRow) -> str:
    return plain(row.organ).replace("_", " ")


def _title(table: Table, ruler: Ruler, width: float) -> list[str]:
    text = f"{metric_title(table.metric)} of each organ by modality, cohort {plain(table.cohort)}"
    return ruler.wrap(text, TITLE, width - 2 * MARGIN, "bold")


def _subtitle(table: Table, ruler: Ruler, width: float) -> list[str]:
    rules = table.convention
    inferred = " (inferred)" if rules.inferred else ""
    return ruler.wrap(
        f"Mean over scans, convention {rules.name}{inferred}. {table.scans} scans.", SMALL, width - 2 * MARGIN
    )


def _footer(table: Table, ruler: Ruler, width: float) -> list[str]:
    said = "n: scans in which an organ counts; pairs: subjects with both."
    gaps = " and ".join(
        f"{shown_modality(line.modality)} minus {shown_modality(line.minus)}" for line in table.average.gaps
    )
    if gaps:
        said = f"gap: {gaps} in the same subjects; above 0 is a loss on {shown_modality(FUNCTIONAL)}. {said}"
    return ruler.wrap(said, SMALL, width - 2 * MARGIN)


def _alarm(table: Table, ruler: Ruler, width: float) -> list[str]:
    return [line for text in table_warning(table) for line in ruler.wrap(text, BODY, width - 2 * MARGIN, "bold")]


def _panel_title(table: Table, number: int, layout: Layout, ruler: Ruler) -> list[str]:
    return ruler.wrap(plain(table.columns[number].title), BODY, layout.panel + layout.gaps, "bold")


def _panel_counts(table: Table, number: int, layout: Layout, ruler: Ruler) -> list[str]:
    counts = [f"{line.cells[number].n} {shown_modality(line.modality)}" for line in table.average.lines]
    one = len(table.average.gaps) == 1
    for line in table.average.gaps:
        counts.append(f"{line.cells[number].n} {'' if one else shown_modality(line.modality) + ' '}pairs")
    return ruler.wrap(f"n = {', '.join(counts)}", TINY, layout.panel + layout.gaps)


def _head(table: Table, numbers: range, layout: Layout, ruler: Ruler) -> float:
    """Inches above a row of panels: names, counts, the heading of the gaps."""
    names = max(len(_panel_title(table, i, layout, ruler)) for i in numbers)
    counts = max(len(_panel_counts(table, i, layout, ruler)) for i in numbers)
    return (names * BODY + counts * TINY) * LEADING / 72 + 0.12


class Block:
    """Draws one cohort below `top`, inches from the figure's bottom."""

    def __init__(self, figure: Figure, ruler: Ruler, width: float, top: float):
        self._figure, self._ruler, self._width, self._y = figure, ruler, width, top - MARGIN
        self._full = figure.get_figheight()

    def draw(self, table: Table) -> None:
        width, ruler = self._width, self._ruler
        layout = lay_out(table, ruler)
        self._text(_title(table, ruler, width), TITLE, weight="bold")
        self._text(_subtitle(table, ruler, width), SMALL, color=QUIET)
        self._legend(table)
        for numbers in _rows(table, layout):
            self._y -= _head(table, numbers, layout, ruler)
            for place, number in enumerate(numbers):
                self._panel(table, number, layout, place)
            self._y -= ROW * len(table.rows) + AXIS
        self._text(_footer(table, ruler, width), SMALL, color=QUIET)
        self._text(_alarm(table, ruler, width), BODY, weight="bold", color=ALARM)

    def _write(self, x: float, y: float, text: str, size: float, **look: Any) -> None:
        look = {"color": INK, "va": "top", **look}
        self._figure.text(x / self._width, y / self._full, text, size=size, **look)

    def _text(self, lines: Sequence[str], size: float, **look: Any) -> None:
        for line in lines:
            self._write(MARGIN, self._y, line, size, **look)
            self._y -= size * LEADING / 72

    def _legend(self, table: Table) -> None:
        handles = [marker(line.modality) for line in table.average.lines]
        self._figure.legend(
            handles=handles, loc="upper left", ncols=len(handles), frameon=False, fontsize=BODY, borderpad=0,
            borderaxespad=0, handletextpad=0, handlelength=1.2, columnspacing=1.2,
            bbox_to_anchor=(MARGIN / self._width, (self._y - 0.06) / self._full),
        )  # fmt: skip
        self._y -= LEGEND

    def _panel(self, table: Table, number: int, layout: Layout, place: int) -> None:
        height = ROW * len(table.rows)
        x = MARGIN + layout.left + place * layout.pitch
        axes = self._figure.add_axes(
            (x / self._width, (self._y - height) / self._full, layout.panel / self._width, height / self._full)
        )
        draw_frame(axes, table)
        self._heading(table, number, layout, x)
        rights = [x + layout.panel + GAP_WIDTH * (j + 1) - 0.04 for j in range(len(table.average.gaps))]
        for gap, right in zip(table.average.gaps, rights, strict=True):
            name = "gap" if len(rights) == 1 else f"gap {shown_modality(gap.modality)}"
            self._write(right, self._y + 0.07, name, TINY, color=GREY, ha="right", va="bottom")
        for i, row in enumerate(table.rows):
            draw_row(axes, len(table.rows) - 1 - i, row, number)
            look = {"ha": "right", "va": "center_baseline", "weight": "bold" if row is table.average else "normal"}
            middle = self._y - (i + 0.5) * ROW
            if place == 0:
                self._write(x - 0.08, middle, self._ruler.cut(_name(row), BODY, LONGEST_NAME), BODY, **look)
            for gap, right in zip(row.gaps, rights, strict=True):
                self._write(right, middle, _difference(gap.cells[number].mean), SMALL, **look)

    def _heading(self, table: Table, number: int, layout: Layout, x: float) -> None:
        y = self._y + 0.07
        for text in reversed(_panel_counts(table, number, layout, self._ruler)):
            self._write(x, y, text, TINY, color=GREY, va="bottom")
            y += TINY * LEADING / 72
        for text in reversed(_panel_title(table, number, layout, self._ruler)):
            self._write(x, y, text, BODY, weight="bold", va="bottom")
            y += BODY * LEADING / 72


def _difference(value: float) -> str:
    return NO_FIGURE if math.isnan(value) else signed(value, 2).replace("-", "\N{MINUS SIGN}")
