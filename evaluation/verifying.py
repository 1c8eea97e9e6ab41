"""Scans and prompts for `models.verify`: what `evaluate` would ask a model, asked twice."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from umd_engine.data.manifest import ScanRow
from umd_engine.data.scan import Scan, read_scan
from umd_engine.evaluation.cases import Settings, all_cases
from umd_engine.evaluation.prompts.asked_case import ask
from umd_engine.models.agreement import Open
from umd_engine.models.model import Model, PromptedModel, is_prompted
from umd_engine.models.prompts import PromptSource
from umd_engine.models.verify import Report, verify


def verify_on(
    rows: Sequence[ScanRow], model: Model | PromptedModel, opened: Open, reference: Open, settings: Settings
) -> Report:
    """Compare two ways to run a model over the scans of a manifest; prompts are drawn from their labels.

    Raises:
        UmdEngineError: what ended a scan, or an organ of it, either way.
    """
    cases = {case.row.key: case for case in all_cases(rows, [model], {model.name: ""}, settings)}

    def sources(scan: Scan) -> dict[str, PromptSource]:
        asked = ask(cases[scan.row.key], scan, {}, settings.seed, settings.device, time.perf_counter())
        return {source.place.organ: source for source in asked.sources}

    scans = _scans([row for row in rows if row.key in cases], with_label=is_prompted(model))
    return verify(model, scans, opened, reference, sources, settings.device)


def _scans(rows: Sequence[ScanRow], with_label: bool) -> Iterator[Scan]:
    for row in rows:
        yield read_scan(row, with_label=with_label)
