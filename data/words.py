"""Numbers and lists in messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SHOWN = 10
STEPS = ("", "k", "M", "G", "T", "P", "E")


def counted(number: int, noun: str) -> str:
    """A number and its noun: "1 fault", "2 faults"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def short(number: float) -> str:
    """Three digits and a step of a thousand: 7249400 is "7.25 M"."""
    place = 0
    while float(f"{number:.3g}") >= 1000 and place < len(STEPS) - 1:
        number, place = number / 1000, place + 1
    return f"{number:.3g} {STEPS[place]}"


def unknown_ids(ids: Sequence[int], label_set: str) -> str:
    """That `ids`, at least one, are not in the label set of that name."""
    listed = ", ".join(map(str, ids[:SHOWN])) + (", ..." if len(ids) > SHOWN else "")
    subject = f"id {listed} is" if len(ids) == 1 else f"ids {listed} are"
    return f"{subject} not in label set '{label_set}'"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table; a bar within a cell is kept from ending it."""
    lines = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    return [*lines, *(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)]
