"""Scans and prompts to verify and to calibrate a model on: what `evaluate` would ask it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial

from umd_engine.data.manifest import ScanRow
from umd_engine.data.scan import Scan, read_scan
from umd_engine.engine.work import Program
from umd_engine.errors import CalibrationError
from umd_engine.evaluation.cases import Settings, all_cases
from umd_engine.evaluation.prompts.asked_case import ask
from umd_engine.exporters.calibration import Calibration
from umd_engine.models.agreement import Open
from umd_engine.models.model import Model, PromptedModel, is_prompted
from umd_engine.models.prompts import PromptSource
from umd_engine.models.verify import Report, verify
from umd_engine.models.windows import windows_of


def verify_on(
    rows: Sequence[ScanRow], model: Model | PromptedModel, opened: Open, reference: Open, settings: Settings
) -> Report:
    """Compare two ways to run a model over the scans of a manifest; prompts are drawn from their labels.

    Raises:
        UmdEngineError: what ended a scan, or an organ of it, either way.
    """
    asking = _Asking(rows, model, settings)
    return verify(model, asking.scans(), opened, reference, asking.sources, settings.device)


def calibrations_on(
    rows: Sequence[ScanRow], model: Model | PromptedModel, opened: Open, settings: Settings, source: str
) -> dict[str, Calibration]:
    """Windows that the model's own program gives each unit on the scans of a manifest, by the unit's name.

    Raises:
        CalibrationError: scans of several modalities. UmdEngineError: what ended a scan.
    """
    asking = _Asking(rows, model, settings)
    modalities = sorted({row.modality for row in rows})
    if len(modalities) != 1:
        raise CalibrationError(
            f"scans of {', '.join(modalities) or 'nothing'}", where=source, mend="choose one with --modality"
        )
    programs = (partial(asking.program, scan) for scan in asking.scans())
    windows = windows_of(programs, opened)
    return {unit: Calibration(found, modalities[0], source) for unit, found in windows.items()}


class _Asking:
    """A model and the scans that it can be asked about, with the prompts that `evaluate` would give."""

    def __init__(self, rows: Sequence[ScanRow], model: Model | PromptedModel, settings: Settings):
        self.model, self.settings = model, settings
        self.cases = {case.row.key: case for case in all_cases(rows, [model], {model.name: ""}, settings)}

    def scans(self) -> Iterator[Scan]:
        for case in self.cases.values():
            yield read_scan(case.row, with_label=is_prompted(self.model))

    def sources(self, scan: Scan) -> dict[str, PromptSource]:
        settings = self.settings
        asked = ask(self.cases[scan.row.key], scan, {}, settings.seed, settings.device, time.perf_counter())
        return {source.place.organ: source for source in asked.sources}

    def program(self, scan: Scan) -> Program[object]:
        prepared = self.model.prepare(scan.images, self.settings.device)
        if is_prompted(self.model):
            return self.model.segment(prepared, [*self.sources(scan).values()])
        return self.model.segment(prepared)
