"""`umd-engine score`: scores of existing masks as text or JSON, and into a run's store."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from umd_engine.data.labelset import LabelSet, load_label_set
from umd_engine.errors import OptionError
from umd_engine.evaluation.cases import MEASURES
from umd_engine.evaluation.conventions import Convention
from umd_engine.evaluation.conventions import convention as find_convention
from umd_engine.evaluation.filling import FILLED, fill
from umd_engine.evaluation.lock import only_writer
from umd_engine.evaluation.masks import Score, score_pair
from umd_engine.evaluation.metrics import METRICS, row_score, volume
from umd_engine.evaluation.report import render, render_case
from umd_engine.evaluation.rows import Row
from umd_engine.evaluation.run_folder import STORE
from umd_engine.evaluation.store import Store
from umd_engine.evaluation.synthetic import marked
from umd_engine.evaluation.tables import build_tables
from umd_engine.evaluation.wording import plain

__all__ = ["Score", "describe", "masks_plan", "score_command", "score_pair"]


def score_command(
    prediction: Path,
    label: Path,
    *,
    pred_map: str | Path = "umd13",
    label_map: str | Path = "umd13",
    organs: str = "",
    convention: str = "umd",
    metrics: tuple[str, ...] = MEASURES,
    run: Path | None = None,
    wait: bool = False,
    model: str | None = None,
    cohort: str = "scored",
    modality: str = "ct",
    as_json: bool = False,
) -> tuple[str, bool]:
    """Score masks, store the rows where `run` is given, and put them into words.

    Where `prediction` is a run's folder and `label` a manifest, the surfaces that its rows lack are measured on its
    saved masks.

    Args:
        organs: names separated by commas; empty: all that both label sets have.
        metrics: of `cases.MEASURES`.
        model: the name of the masks' model in `run`.
        wait: for another process that writes to `run`.

    Returns:
        The text or the JSON list (an object a case and organ), and whether a case failed.

    Raises:
        OptionError: `run` without `model` or the reverse. What `score_pair`, `load_label_set` and Store raise.
    """
    if (run is None) != (model is None):
        raise OptionError("--into RUN and --as NAME belong together", where="score", mend="give both or neither")
    if (prediction / STORE).is_file():
        return _fill(prediction, label, load_label_set(pred_map), wait, as_json), False
    rules = find_convention(convention)
    prediction_set, label_set = load_label_set(pred_map), load_label_set(label_map)
    names = tuple(dict.fromkeys(name.strip() for name in organs.split(",") if name.strip()))
    scores = score_pair(prediction, label, prediction_set, label_set, names, "surface" in metrics)
    title = model or "prediction"
    plan_json = masks_plan(title, prediction_set, label_set)
    plan = hashlib.sha256(plan_json.encode()).hexdigest()[:16]
    rows = [score.row(plan, cohort, modality, title) for score in scores]
    if run is not None:
        with only_writer(run, wait), Store(run / STORE) as store:
            store.add_plan(plan, plan_json)
            store.add(rows)
    if as_json:
        text = json.dumps([describe(row, rules) for row in rows], indent=1, allow_nan=False)
    else:
        text = _as_text(rows, rules)
    return text, any(row.failed for row in rows)


def _fill(run: Path, manifest: Path, prediction_set: LabelSet, wait: bool, as_json: bool) -> str:
    said = fill(run, manifest, prediction_set, wait)
    if as_json:
        return json.dumps(said, indent=1)
    lines = [f"{said.pop(FILLED, 0)} rows measured on saved masks"]
    return "\n".join([*lines, *(f"{count} rows not: {plain(reason)}" for reason, count in said.items())])


def masks_plan(model: str, prediction_set: LabelSet, label_set: LabelSet) -> str:
    """The plan of masks that were made elsewhere: all that is known of them is what their ids mean."""
    sets = {
        side: {"name": label_set.name, "ids": {organ: list(ids) for organ, ids in label_set.ids.items()}}
        for side, label_set in (("prediction", prediction_set), ("label", label_set))
    }
    return json.dumps({"model": model, "masks": "existing", "label_sets": sets}, sort_keys=True, indent=1)


def describe(row: Row, rules: Convention) -> dict[str, Any]:
    """A row of `score` with its scores and volumes (mL) for JSON; null where there is none."""
    values = asdict(row)
    shown = {name: values[name] for name in ("organ", "status", "tp", "fp", "fn", "voxel_ml", "message", "synthetic")}
    return {
        "case": row.scan_id,
        **shown,
        **{name: _or_null(row_score(row, rules, name)) for name in METRICS},
        "label_ml": _ml(row.label_voxels, row.voxel_ml),
        "prediction_ml": _ml(row.prediction_voxels, row.voxel_ml),
        "convention": rules.name,
    }


def _as_text(rows: Sequence[Row], rules: Convention) -> str:
    """One case organ by organ, several as a table; then a line a failed case."""
    failed = {row.scan_id: plain(f"failed: {_name(row)} [{row.status}] {row.message}") for row in rows if row.failed}
    one = len({row.scan_id for row in rows}) == 1
    shown = render_case(rows, rules) if one else render(build_tables(rows, rules), "text")
    return "\n".join([shown, *failed.values()])


def _name(row: Row) -> str:
    return marked(row.scan_id, row.synthetic)


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else value


def _ml(voxels: int | None, voxel_ml: float | None) -> float | None:
    return None if voxels is None or voxel_ml is None else volume(voxels, voxel_ml)
