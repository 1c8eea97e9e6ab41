"""A profile on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from umd_engine.bench.profile import grids
from umd_engine.bench.profile.grids import Grid
from umd_engine.bench.profile.result import RED, STATUSES, UNSTABLE, Profile, ScanRow
from umd_engine.bench.profile.summary import glance, summary
from umd_engine.bench.profile.told import heading, in_place, legend, state, without_figure

BETWEEN = 2  # blanks after a column, one of them the box's
WIDEST = 30  # of a key or of marks, in characters; the rest of the text goes below
LETTERS = {
    **{"read": "r", "decode": "d", "transfer": "t", "prepare": "p", "forward": "F", "accumulate": "a"},
    **{"finish": "f", "resample": "s", "metrics": "m", "store": "w"},
}
COLOURS = ("blue", "cyan", "magenta", "yellow", "green", "bright_blue", "red", "bright_cyan", "bright_magenta", "white")


def show(profile: Profile, console: Console) -> None:
    """Print everything but samples and timelines, at the console's width, readable without colour."""
    for line in heading(profile):
        console.print(Text(line), highlight=False)
    for grid in (*grids.units(profile, profile.units), *grids.scans(profile)):
        _print(grid, console)
    _bars(profile.scans, console)
    for grid in grids.ceilings(profile):
        _print(grid, console)
    _lines("State", [state(profile)], console)
    absent = [f"{name}: {status}{': ' if reason else ''}{reason}" for name, status, reason in without_figure(profile)]
    _lines("Without a figure", absent, console)
    _lines("Marks", [f"{name}: {text}" for name, text in legend(profile).items()], console)
    _lines("Ran in place of the whole", list(in_place(profile)), console)
    for grid in glance(profile):
        _print(grid, console)
    _lines("To know", [str(line) for line in summary(profile)], console)


def _lines(title: str, lines: Sequence[str], console: Console) -> None:
    if lines:
        console.print(Text(f"\n{title}", style="bold"))
        for line in lines:
            console.print(Padding(Text(line), (0, 0, 0, 2), expand=False), highlight=False)


def _print(grid: Grid, console: Console) -> None:
    console.print(Text(f"\n{grid.title}", style="bold"))
    console.print(Text(grid.caption, style="dim"))
    for number, table in enumerate(_split(grid, console.width)):
        console.print(*([""] if number else []), table, sep="\n")
    if grid.unknown:
        console.print(Text(f"Not known: {', '.join(grid.unknown)}", style="dim"))


def _split(grid: Grid, width: int) -> Iterator[Table]:
    """Tables below each other, none wider than `width`: the first columns stand in each of them again."""
    widths = [_width(grid, number) for number in range(len(grid.columns))]
    keys = range(grid.keys)
    room = width - sum(widths[number] + BETWEEN for number in keys) + BETWEEN
    part: list[int] = []
    for number in range(grid.keys, len(widths)):
        if part and sum(widths[i] + BETWEEN for i in (*part, number)) > room:
            yield _table(grid, widths, (*keys, *part))
            part = []
        part.append(number)
    yield _table(grid, widths, (*keys, *part))


def _width(grid: Grid, number: int) -> int:
    """Of a column; texts that are wider are folded, figures never."""
    widest = max(cell_len(text) for text in (grid.columns[number], *(row[number] for row in grid.rows)))
    return min(widest, WIDEST) if _is_text(grid, number) else widest


def _is_text(grid: Grid, number: int) -> bool:
    return number < grid.keys or grid.columns[number] == "marks"


def _table(grid: Grid, widths: Sequence[int], numbers: Sequence[int]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, BETWEEN - 1, 0, 0), pad_edge=False, header_style="bold")
    for number in numbers:
        side: JustifyMethod = "left" if _is_text(grid, number) else "right"
        table.add_column(Text(grid.columns[number]), justify=side, overflow="fold", width=widths[number])
    above = [""] * grid.keys
    for row in grid.rows:
        keys = ["" if row[: i + 1] == tuple(above[: i + 1]) else row[i] for i in range(grid.keys)]
        above = list(row[: grid.keys])
        table.add_row(*(Text(keys[i]) if i < grid.keys else Text(row[i], _style(row[i])) for i in numbers))
    return table


def _style(cell: str) -> str:
    if cell in RED:
        return "bold red"
    return "yellow" if cell in STATUSES or UNSTABLE in cell else ""


def _bars(rows: Sequence[ScanRow], console: Console) -> None:
    """A line a scan: its stages in the order of a run, each as long as its share, written in its letter."""
    measured = [row for row in rows if row.stages]
    if not measured:
        return
    console.print(Text("\nWhere a scan's time goes", style="bold"))
    console.print(Text("Stages overlap, so a bar shows each one's share of their sum.", style="dim"))
    names = max(cell_len(row.model) for row in measured)
    width = min(80, console.width - 2 - names - BETWEEN)
    for row in measured:
        console.print(Text(f"  {row.model:<{names + BETWEEN}}") + _bar(row, width))
    seen = [f"{letter} {stage}" for stage, letter in LETTERS.items() if any(stage in row.stages for row in measured)]
    console.print(Text(f"  {', '.join(seen)}", style="dim"))


def _bar(row: ScanRow, width: int) -> Text:
    bar, done, whole = Text(), 0.0, sum(row.stages.values())
    for number, (stage, letter) in enumerate(LETTERS.items()):
        start = round(done * width)
        done += row.stages.get(stage, 0.0) / whole
        bar.append(letter * (round(done * width) - start), style=f"black on {COLOURS[number]}")
    return bar
