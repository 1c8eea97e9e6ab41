"""A printed table with what stands around it, as text, Markdown or LaTeX; text from data is escaped in each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.table import Table as RichTable
from rich.text import Text

from umd_engine.errors import UnknownNameError
from umd_engine.evaluation.text_tables import fitted, output_width, printed
from umd_engine.evaluation.wording import plain

GREYS = {1: "0.9", 2: "0.75"}  # of LaTeX's gray, 1 is white


@dataclass(frozen=True)
class Sheet:
    """Cells of text and the sentences around them.

    Attributes:
        level: of the title in Markdown: 2 is "## "; 0 is a line of text.
        left: how many first columns are names: aligned to the left, and repeated where a table is split.
        ends: rows with a rule below.
        warning: lines above everything else. said: lines of what holds for the whole table. notes: footnotes.
        shades: (row, column) -> 1 or 2, how dark its cell is in LaTeX.
    """

    title: str
    names: Sequence[str]
    rows: Sequence[Sequence[str]]
    level: int = 2
    left: int = 2
    ends: Sequence[int] = ()
    warning: Sequence[str] = ()
    said: Sequence[str] = ()
    notes: Sequence[str] = ()
    shades: Mapping[tuple[int, int], int] = field(default_factory=dict)


def rendered(sheets: Sequence[Sheet], form: str) -> str:
    """The sheets as one document without a final line break.

    Args:
        form: "text" (as wide as the terminal), "markdown" or "latex" (needs booktabs; colortbl and xcolor for shades).

    Raises:
        UnknownNameError: no such format.
    """
    if form == "text":
        width = output_width()
        return "\n\n".join(printed(text_parts(sheet, width), width) for sheet in sheets)
    if form not in MARKUPS:
        raise UnknownNameError("report format", form, ["text", *MARKUPS])
    return "\n\n".join(map(MARKUPS[form], sheets))


def text_parts(sheet: Sheet, width: int) -> list[RichTable | Text]:
    rows = [[plain(cell) for cell in row] for row in sheet.rows]
    names = [plain(name) for name in sheet.names]
    drawn = fitted(names, rows, width, keys=sheet.left, left=sheet.left, ends=sheet.ends) if rows else ()
    above, below = [*sheet.warning, sheet.title], [*sheet.said, *sheet.notes]
    return [*(Text(plain(line)) for line in above), *drawn, *(Text(plain(line)) for line in below)]


def markdown(sheet: Sheet) -> str:
    title = f"{'#' * sheet.level} {_escaped(sheet.title)}" if sheet.level else f"{_escaped(sheet.title)}:"
    blocks = [title, *(f"**{_escaped(line)}**" for line in sheet.warning), bullets(sheet.said)]
    blocks += [_piped(sheet) if sheet.rows else "", bullets(sheet.notes)]
    return "\n\n".join(filter(None, blocks))


def bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {_escaped(line)}" for line in lines)


def _piped(sheet: Sheet) -> str:
    rule = ["---"] * sheet.left + ["---:"] * (len(sheet.names) - sheet.left)
    names, *rows = [f"| {' | '.join(map(_escaped, row))} |" for row in (sheet.names, *sheet.rows)]
    return "\n".join([names, f"| {' | '.join(rule)} |", *rows])


def _escaped(text: str) -> str:
    return re.sub(r"([\\|`*<>\[\]&])", r"\\\1", plain(text))


def latex(sheet: Sheet) -> str:
    """A table environment; the sentences stand below it."""
    columns = "l" * sheet.left + "r" * (len(sheet.names) - sheet.left)
    body = []
    for number, row in enumerate(sheet.rows):
        cells = [_shaded(cell, sheet.shades.get((number, place), 0)) for place, cell in enumerate(row)]
        body.append(" & ".join(cells) + r" \\" + (r" \midrule" if number in sheet.ends else ""))
    drawn = [
        rf"\begin{{tabular}}{{{columns}}}", r"\toprule", " & ".join(map(tex, sheet.names)) + r" \\", r"\midrule",
        *body, r"\bottomrule", r"\end{tabular}",
    ]  # fmt: skip
    below = [rf"\par\footnotesize {tex(line)}" for line in (*sheet.said, *sheet.notes)]
    top = [r"\begin{table}", r"\centering", rf"\caption{{{tex(' '.join([*sheet.warning, sheet.title]))}}}"]
    return "\n".join([*top, *(drawn if body else []), *below, r"\end{table}"])


def _shaded(cell: str, shade: int) -> str:
    return (rf"\cellcolor[gray]{{{GREYS[shade]}}}" if shade else "") + tex(cell)


NEGATIVE = re.compile(r"(?<!\w)-(?=\d)")
TEX = {
    "\\": r"\textbackslash{}", "−": "$-$", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "±": r"$\pm$", "≠": r"$\neq$", "[": "{[}", "]": "{]}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
}  # fmt: skip


def tex(text: str) -> str:
    """Text as LaTeX shows it; no command and no ligature."""
    shown = "".join(TEX.get(char, char) for char in NEGATIVE.sub("−", plain(text)))
    return re.sub("-(?=-)", "-{}", shown)


MARKUPS = {"markdown": markdown, "latex": latex}
