"""The prompts that were given, as rows of the store's table `clicks`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

from umd_engine.evaluation.prompts.given import Given
from umd_engine.evaluation.rows import Key

KEY_COLUMNS = ("plan", "cohort", "subject", "scan_id", "modality", "model", "organ", "step", "repeat")
TRIPLES = ("voxel", "world", "high", "world_high")
CLICK_COLUMNS = (
    *KEY_COLUMNS, "number", "kind", "origin", "positive",
    *(f"{name}_{axis}" for name in TRIPLES for axis in "xyz"), "text",
)  # fmt: skip
ADD_CLICK = f"INSERT INTO clicks ({', '.join(CLICK_COLUMNS)}) VALUES ({', '.join('?' * len(CLICK_COLUMNS))})"
ALL_CLICKS = f"SELECT {', '.join(CLICK_COLUMNS)} FROM clicks ORDER BY {', '.join(KEY_COLUMNS)}, number"


@dataclass(frozen=True)
class ClickRow:
    """A prompt under the key of the row that it led to; `number` counts the prompts of a step."""

    key: Key
    number: int
    given: Given


def click_values(row: ClickRow) -> tuple[object, ...]:
    given = row.given
    triples = [value for name in TRIPLES for value in (getattr(given, name) or (None,) * 3)]
    return (*astuple(row.key), row.number, given.kind, given.origin, int(given.positive), *triples, given.text)


def click_row(values: Sequence[Any]) -> ClickRow:
    """A row from the values of `CLICK_COLUMNS`."""
    *key, number, kind, origin, positive = values[: len(KEY_COLUMNS) + 4]
    flat = values[len(KEY_COLUMNS) + 4 : -1]
    triples = [None if flat[i] is None else tuple(flat[i : i + 3]) for i in range(0, 12, 3)]
    places: dict[str, Any] = dict(zip(TRIPLES, triples, strict=True))
    given = Given(kind, origin, bool(positive), **places, text=values[-1])
    return ClickRow(Key(*key), number, given)
