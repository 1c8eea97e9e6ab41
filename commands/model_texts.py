"""The catalogue and its checkpoints in words, no wider than the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table as RichTable
from rich.text import Text

from umd_engine.evaluation.text_tables import fitted, output_width, printed
from umd_engine.models.check import Checked
from umd_engine.models.listing import published_text, size_of

FIRST = 5  # names that are shown of a long list
HEADINGS = ("model", "prompts", "patch", "spacing", "weights", "found")


def list_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table, and for each model what it is, where it is published and where its checkpoint is."""
    width = output_width()
    parts: list[Any] = [*fitted(HEADINGS, [_cells(row) for row in rows], width, keys=1, left=len(HEADINGS))]
    for row in rows:
        parts += [Text(f"\n{row['model']}: {row['summary']}"), _grid(_details(row))]
    return printed(parts, width)


def check_text(found: Checked) -> str:
    """What `models check` says; of long lists the first names."""
    heading = Text(f"{found.model}: {found.path}", overflow="fold")
    return printed([heading, _grid(_findings(found))], output_width())


def bytes_text(count: int) -> str:
    """E.g. 402.1 MB."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    prompts = ", ".join(row["prompts"]) or "none"
    return (row["model"], prompts, row["patch"], row["spacing"], size_of(row["parameters"], row["patch"]), _found(row))


def _found(row: Mapping[str, Any]) -> str:
    return "yes" if row["checkpoint"] else "no"


def _details(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "needs", row["needs"]
    yield "published", published_text(row["published"], row["otherwise"])
    yield "licence", f"code {row['licence']['code']}; weights {row['licence']['weights']}"
    yield "verified", row["verified"]
    yield "checkpoint", row["checkpoint"] or "not found; looked for\n" + "\nor ".join(row["looked_for"])
    yield "options", _options(row["options"])


def _options(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items()) or "none"


def _findings(found: Checked) -> Iterator[tuple[str, str]]:
    for path, digest in found.files.items():
        yield "file", f"{path}\nSHA-256 {digest}"
    if found.weights:
        yield "weights", f"SHA-256 {found.weights}\n{found.parameters:,} parameters"
    yield "prompts", ", ".join(found.prompts) or "none"
    yield "options", _options(found.options)
    yield from _names("missing", found.missing)
    yield from _names("unexpected", found.unexpected)
    yield from _names("shapes", found.shapes)
    for fault in found.faults:
        yield "fault", fault
    if not found.faults:
        yield "loads", "strictly: nothing is missing, nothing is left over"


def _names(title: str, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    if names:
        more = [f"and {len(names) - FIRST} more (--json lists all)"] if len(names) > FIRST else []
        yield title, "\n".join([f"{len(names)}:", *names[:FIRST], *more])


def _grid(lines: Iterator[tuple[str, str]]) -> RichTable:
    grid = RichTable.grid(padding=(0, 2, 0, 0))
    grid.add_column(min_width=10, no_wrap=True)
    grid.add_column(overflow="fold")
    for title, text in lines:
        grid.add_row(Text(f"  {title}"), Text(text))
    return grid
