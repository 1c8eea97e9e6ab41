"""Tables as text no wider than the terminal: columns that do not fit go into a further table below."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Collection, Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, Group
from rich.table import Table as RichTable
from rich.text import Text

WIDTH = 100  # where there is no terminal
NARROWEST = 40
LEAST = 14  # of a column of figures: 0.7039(0.1155)
KEY = 10  # of a column that every part repeats, the first aside
BETWEEN = 3  # two blanks and a border a column


def output_width() -> int:
    """COLUMNS, else the width of the terminal that standard output is, else 100; at least 40."""
    return max(NARROWEST, shutil.get_terminal_size((WIDTH, 24)).columns)


def output_colours() -> bool:
    """Standard output is a terminal that shows colours, and nobody asked for none (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def printed(parts: Sequence[RichTable | Text], width: int) -> str:
    """With colours where `output_colours`; text wraps at `width`."""
    out = io.StringIO()
    colours = output_colours()
    Console(file=out, width=width, color_system="standard" if colours else None, force_terminal=colours).print(
        Group(*parts)
    )
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def fitted(
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    *,
    keys: int,
    left: int,
    ends: Collection[int] = (),
) -> Iterator[RichTable]:
    """A table in as many parts as its columns need, each at most `width` wide; no text is cut, only wrapped.

    Args:
        names: the columns' headings.
        rows: cells, as many each as there are names.
        keys: how many first columns every part repeats.
        left: how many first columns are aligned to the left, all others to the right.
        ends: rows with a rule below.
    """
    widths = _widths(list(zip(names, *rows, strict=True)), width, keys)
    for columns in _parts(widths, width, keys):
        part = RichTable()
        for i in columns:
            part.add_column(Text(names[i]), width=widths[i], overflow="fold", justify="left" if i < left else "right")
        for number, row in enumerate(rows):
            part.add_row(*(Text(row[i]) for i in columns), end_section=number in ends)
        yield part


def _widths(columns: Sequence[Sequence[str]], width: int, keys: int) -> list[int]:
    """As wide as the cells if all columns fit beside each other, else as wide as the words."""
    natural = [max(map(cell_len, cells)) for cells in columns]
    if _total(natural) <= width:
        return natural
    key_widths = [min(wide, KEY) for wide in natural[:keys]]
    room = width - _total([*key_widths[1:], LEAST]) - BETWEEN  # for the first column
    key_widths[0] = min(natural[0], room)
    room = width - _total(key_widths) - BETWEEN  # for a column of figures
    words = [max(cell_len(word) for cell in cells for word in [*cell.split(), ""]) for cells in columns]
    figures = zip(natural[keys:], words[keys:], strict=True)
    return [*key_widths, *(min(wide, max(word, LEAST), room) for wide, word in figures)]


def _parts(widths: Sequence[int], width: int, keys: int) -> Iterator[list[int]]:
    """The columns of each part."""
    repeated = list(range(keys))
    part: list[int] = []
    for i in range(keys, len(widths)):
        if part and _total([widths[j] for j in (*repeated, *part, i)]) > width:
            yield [*repeated, *part]
            part = []
        part.append(i)
    yield [*repeated, *part]


def _total(widths: Sequence[int]) -> int:
    return 1 + sum(wide + BETWEEN for wide in widths)
