"""What tables are made of: their columns, the order of their lines, and which rows count."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter

from umd_engine.data.labelset import load_label_set
from umd_engine.evaluation.prompts.protocols import largest_use
from umd_engine.evaluation.rows import Key, Row

MODALITIES = ("ct", "mr", "pet")
AVERAGE = "Avg"
CASE = attrgetter(*(field.name for field in fields(Key) if field.name != "step"))


@dataclass(frozen=True)
class Column:
    """A model under one plan. `title` is the model's name, with the plan hash where a model has several plans.

    `prompt` and `prompt_hash` are the protocol that it was asked by, empty for a model without prompts; `uses_label`
    what of the label it was told: "none", "click", "box" or "crop".
    """

    title: str
    model: str
    plan: str
    prompt: str = ""
    prompt_hash: str = ""
    uses_label: str = "none"


def columns_of(rows: Iterable[Row]) -> tuple[Column, ...]:
    """The models and plans of the rows, by name."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.model, row.plan].append(row)
    plans = Counter(model for model, _ in groups)
    return tuple(_column(groups[pair], several=plans[pair[0]] > 1) for pair in sorted(groups))


def _column(rows: Sequence[Row], several: bool) -> Column:
    model, plan = rows[0].model, rows[0].plan
    prompt, prompt_hash = max((row.prompt, row.prompt_hash) for row in rows)
    title = f"{model} [{plan[:8]}]" if several else model
    return Column(title, model, plan, prompt, prompt_hash, largest_use(row.uses_label for row in rows))


def last_steps(rows: Iterable[Row]) -> list[Row]:
    """The rows without those that a later step of the same case replaces."""
    last: dict[object, Row] = {}
    for row in rows:
        case = CASE(row)
        if case not in last or row.step > last[case].step:
            last[case] = row
    return list(last.values())


def organ_order(organs: Iterable[str]) -> list[str]:
    """The 13 UMD organs in the paper's order, then all others by name."""
    return _ordered(organs, tuple(load_label_set("umd13").ids))


def modality_order(modalities: Iterable[str]) -> list[str]:
    return _ordered(modalities, MODALITIES)


def _ordered(names: Iterable[str], first: Sequence[str]) -> list[str]:
    known = {name: place for place, name in enumerate(first)}
    return sorted(set(names), key=lambda name: (known.get(name, len(known)), name))
