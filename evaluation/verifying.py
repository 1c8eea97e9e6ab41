"""Scans and prompts to verify and to calibrate a model on: what `evaluate` would ask it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from umd_engine.data.manifest import ScanRow
from umd_engine.data.scan import Scan, read_scan
from umd_engine.engine.work import Program
from umd_engine.errors import CalibrationError
from umd_engine.evaluation.cases import Case, Settings, all_cases
from umd_engine.evaluation.prompts.asked_case import ask
from umd_engine.exporters.calibration import Calibration, check_modality
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
    rows: Sequence[ScanRow],
    model: Model | PromptedModel,
    opened: Open,
    settings: Settings,
    source: str,
    stated: str | None = None,
) -> dict[str, Calibration]:
    """Windows that the model's own program gives each unit on the scans of a manifest, by the unit's identity.

    Args:
        stated: the modality that the model is made for; None where nothing says it.

    Raises:
        CalibrationError: scans of several modalities, or of another one than the model's.
        UmdEngineError: what ended a scan.
    """
    modalities = sorted({row.modality for row in rows})
    if len(modalities) != 1:
        raise CalibrationError(
            f"scans of {', '.join(modalities) or 'nothing'}", where=source, mend="choose one with --modality"
        )
    check_modality(modalities[0], stated, source)
    windows = windows_of(_Asking(rows, model, settings).programs(), opened)
    return {unit: Calibration(found, modalities[0], source) for unit, found in windows.items()}


class _Asking:
    """A model and the scans that it can be asked about, with the prompts that `evaluate` would give."""

    def __init__(self, rows: Sequence[ScanRow], model: Model | PromptedModel, settings: Settings):
        self.model, self.settings = model, settings
        self.cases = {case.row.key: case for case in all_cases(rows, [model], {model.name: ""}, settings)}

    def scans(self) -> Iterator[Scan]:
        for case in self.cases.values():
            yield self._read(case)

    def programs(self) -> list[Callable[[], Program[object]]]:
        """One a scan, which is read when it starts."""
        return [partial(self._program, case) for case in self.cases.values()]

    def sources(self, scan: Scan) -> dict[str, PromptSource]:
        settings = self.settings
        asked = ask(self.cases[scan.row.key], scan, {}, settings.seed, settings.device, time.perf_counter())
        return {source.place.organ: source for source in asked.sources}

    def _read(self, case: Case) -> Scan:
        return read_scan(case.row, with_label=is_prompted(self.model))

    def _program(self, case: Case) -> Program[object]:
        scan = self._read(case)
        prepared = self.model.prepare(scan.images, self.settings.device)
        if is_prompted(self.model):
            return self.model.segment(prepared, [*self.sources(scan).values()])
        return self.model.segment(prepared)
