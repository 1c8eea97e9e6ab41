"""The prompts of one model of a run, from the store into a file."""

from __future__ import annotations

from pathlib import Path

from umd_engine.errors import OptionError
from umd_engine.evaluation.prompts.replay import write_clicks
from umd_engine.evaluation.store import Store


def export_clicks(run: Path, out: Path, model: str | None = None, plan: str | None = None) -> int:
    """Write the prompts of `run` into the JSON file `out`; returns how many.

    Args:
        model: its name in results. plan: a plan hash, or its first digits.

    Raises:
        MissingFileError: the run has no store. OptionError: no prompts, or those of several models or plans.
        StoreError, DataError.
    """
    with Store(run / "store.sqlite", read_only=True) as store:
        rows = [row for row in store.clicks() if model in (None, row.key.model) and row.key.plan.startswith(plan or "")]
    found = sorted({(row.key.model, row.key.plan) for row in rows})
    if not found:
        raise OptionError("no prompts are stored", where=run, mend="name a run of a prompted model; check --model")
    if len(found) > 1:
        names = ", ".join(f"--model {name} --plan {plan_hash}" for name, plan_hash in found)
        raise OptionError("the prompts of several models or plans", where=run, mend=f"choose one: {names}")
    return write_clicks(out, rows)
