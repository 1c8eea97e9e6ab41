"""Every case of a plan and what it will ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from umd_engine.evaluation.cases import Case, Settings, all_cases
from umd_engine.evaluation.forecast.scans import PlannedScan
from umd_engine.evaluation.prompts.asking import Asking
from umd_engine.models.calls import Asked, Calls, Step
from umd_engine.models.model import Model, PromptedModel, is_prompted
from umd_engine.models.unloaded import UnloadedModel


@dataclass(frozen=True, eq=False)
class PlannedCase:
    """One scan with one model.

    Attributes:
        nbytes: what it declares while it is live.
        share: of the items that geometry tells, how many a sample run asked for.
        fails: why the sample came to no call.
    """

    case: Case
    scan: PlannedScan
    calls: Calls
    nbytes: int
    share: float = 1.0
    fails: str = ""

    @property
    def rounds(self) -> list[tuple[int, int]]:
        """Place in `calls.works` and items, scaled by `share`."""
        if self.fails:
            return []
        return [(place, max(1, round(work.count * self.share))) for place, work in enumerate(self.calls.works)]

    @property
    def rows(self) -> int:
        """That the store gets: one a target, with prompts one a step too."""
        steps = len(self.case.asking.protocol.asks) if self.case.asking is not None else 1
        return len(self.case.targets) * max(steps, 1)

    def as_sampled(self, share: float, fails: str) -> PlannedCase:
        """With what a sample run of another case says."""
        return replace(self, share=share, fails=fails)


def planned_cases(
    scans: Sequence[PlannedScan], models: Sequence[Model | PromptedModel], settings: Settings
) -> list[PlannedCase]:
    """The cases of a run in its order; models that could not be loaded have none.

    Raises:
        OptionError: as `all_cases`.
    """
    of_row = {scan.row.key: scan for scan in scans}
    plans = dict.fromkeys((model.name for model in models), "")
    cases = all_cases([scan.row for scan in scans], models, plans, settings)
    return [_planned(case, of_row[case.row.key]) for case in cases if not isinstance(case.model, UnloadedModel)]


def _planned(case: Case, scan: PlannedScan) -> PlannedCase:
    shape, spacing, model = scan.shape, scan.spacing, case.model
    if is_prompted(model):
        assert case.asking is not None
        calls = model.calls(shape, spacing, Asked(len(case.targets), steps_of(case.asking)))
        return PlannedCase(case, scan, calls, model.nbytes(shape, spacing, len(case.targets)) + 2 * scan.voxels)
    return PlannedCase(case, scan, model.calls(shape, spacing), model.nbytes(shape, spacing))


def steps_of(asking: Asking) -> list[Step]:
    """What a protocol gives, step by step; a replay is taken for one step of its kinds."""
    protocol = asking.protocol
    if not protocol.asks:
        kinds = protocol.kinds
        return [Step(int("point" in kinds), "box" in kinds, "text" in kinds)]
    return [Step(int(bool(ask.rule)), ask.box, ask.text) for ask in protocol.asks]
