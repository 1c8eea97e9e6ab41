"""A case of a prompted model: its sources before it runs, its rows after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache

import torch

from umd_engine.data.scan import Scan
from umd_engine.errors import PromptError, UmdEngineError
from umd_engine.evaluation.cases import Case, key_of
from umd_engine.evaluation.click_rows import ClickRow
from umd_engine.evaluation.counting import voxel_ml
from umd_engine.evaluation.prompts.label_source import LabelSource
from umd_engine.evaluation.prompts.official_stream import OfficialStream
from umd_engine.evaluation.prompts.protocols import NUMPY
from umd_engine.evaluation.prompts.reference import OrganLabel, organs_of
from umd_engine.evaluation.prompts.replay_source import ReplaySource
from umd_engine.evaluation.prompts.source import Place, Source
from umd_engine.evaluation.prompts.subject_points import Points
from umd_engine.evaluation.rows import ABSENT, NO_REFERENCE, OK, Row
from umd_engine.evaluation.surfaces import EMPTY
from umd_engine.models.mask import Mask
from umd_engine.models.prompts import Point, is_inside, voxel_of

NOT_IN_SET = "the scan's label set lacks the organ, so no prompt can be drawn"


@dataclass(frozen=True, eq=False)
class AskedCase:
    """What is asked of one scan.

    Attributes:
        sources: one an organ and repeat that can be prompted, in the order of the label's ids, repeat by repeat.
        settled: the rows of the others: absent, without a reference, or failed.
        errors: of those that failed.
    """

    case: Case
    scan: Scan
    sources: tuple[Source, ...]
    settled: tuple[Row, ...]
    errors: tuple[UmdEngineError, ...]


def ask(
    case: Case,
    scan: Scan,
    points: Points,
    seed: int,
    device: torch.device,
    began: float,
    surfaces: bool = False,
) -> AskedCase:
    """The sources of a case.

    Args:
        points: the subject's first clicks, where they are shared.
        began: `time.perf_counter()` when the case started.
        surfaces: measure the distances between surfaces after every step.

    Raises:
        PromptError: the protocol draws from a label and the scan has none. LabelError: too many ids.
    """
    asking = case.asking
    assert asking is not None, case
    if asking.needs_label and scan.label is None:
        raise PromptError(
            f"protocol {asking.protocol.name} draws from the label, and this scan has none",
            where=case.row.images[0],
            mend="add a label to the manifest, give --replay, or take a protocol without one (text)",
        )
    builder = _Builder(case, scan, points, seed, organs_of(scan, case.organs, device), began, surfaces)
    sources: list[Source] = []
    settled: list[Row] = []
    errors: list[UmdEngineError] = []
    for organ, repeat in sorted(case.targets, key=lambda target: target[1]):  # stable: organs stay in their order
        try:
            found = builder.source(organ, repeat)
        except PromptError as error:
            errors.append(error)
            settled.append(failed_row(case, organ, repeat, error))
        else:
            if isinstance(found, Source):
                sources.append(found)
            else:
                settled.append(found)
    return AskedCase(case, scan, tuple(sources), tuple(settled), tuple(errors))


def failed_row(case: Case, organ: str, repeat: int, error: UmdEngineError, step: int = 0) -> Row:
    return _row(case, organ, repeat, step, status=error.status, message=str(error))


def asked_rows(
    asked: AskedCase, results: Sequence[Mask | UmdEngineError]
) -> tuple[list[Row], list[ClickRow], list[UmdEngineError]]:
    """The rows of every step, the prompts behind them, and the errors that ended organs."""
    rows, clicks, errors = list(asked.settled), [], list(asked.errors)
    for source, result in zip(asked.sources, results, strict=True):
        if not isinstance(result, UmdEngineError):
            source.finish(result)
        rows += _step_rows(asked, source)
        clicks += _click_rows(asked.case, source)
        if isinstance(result, UmdEngineError):
            place = source.place
            rows.append(failed_row(asked.case, place.organ, place.repeat, result, len(source.steps)))
            errors.append(result)
    return rows, clicks, errors


def _step_rows(asked: AskedCase, source: Source) -> list[Row]:
    place, volume = source.place, voxel_ml(asked.scan.images[0].grid)
    status = OK if place.label is not None else NO_REFERENCE
    return [
        _row(
            asked.case, place.organ, place.repeat, number, status=status, tp=step.tp, fp=step.fp, fn=step.fn,
            voxel_ml=volume, seconds=step.seconds, note=step.note, surfaces=step.surfaces,
        )
        for number, step in enumerate(source.steps)
    ]  # fmt: skip


def _click_rows(case: Case, source: Source) -> list[ClickRow]:
    key = key_of(case, source.place.organ, source.place.repeat)
    return [
        ClickRow(replace(key, step=step), number, given)
        for step, prompts in enumerate(source.given)
        for number, given in enumerate(prompts)
    ]


def _row(case: Case, organ: str, repeat: int, step: int, **values: object) -> Row:
    key = replace(key_of(case, organ, repeat), step=step)
    return Row(**asdict(key), **case.prompt_columns, synthetic=case.row.synthetic, **values)  # type: ignore[arg-type]


class _Builder:
    """Makes the source of an organ, or the row that says why there is none."""

    def __init__(
        self,
        case: Case,
        scan: Scan,
        points: Points,
        seed: int,
        references: Mapping[str, OrganLabel],
        began: float,
        surfaces: bool,
    ):
        assert case.asking is not None
        self.case, self.scan, self.points, self.seed, self.began = case, scan, points, seed, began
        self.surfaces = surfaces
        self.asking, self.references = case.asking, references
        self.stream = cache(OfficialStream)  # one a repeat

    def source(self, organ: str, repeat: int) -> Source | Row:
        label = self.references.get(organ)
        place = Place(self.case.row, self.scan.images[0].grid, organ, repeat, label, self.began, self.surfaces)
        if self.asking.replay is not None:
            return self._replayed(place)
        if self.asking.needs_label and label is None:
            return _row(self.case, organ, repeat, 0, status=NO_REFERENCE, message=NOT_IN_SET)
        if self.asking.needs_label and label is not None and not label.voxels:
            return self._absent(place)
        protocol = self.asking.protocol
        stream = self.stream(repeat) if protocol.stream == NUMPY else None
        return LabelSource(place, protocol, self.seed, self._shared(place), stream)

    def _replayed(self, place: Place) -> Source | Row:
        replay = self.asking.replay
        assert replay is not None
        stored = replay.of(self.case.row).get((place.organ, place.repeat))
        if stored is not None:
            return ReplaySource(place, [tuple(one.on(place.grid) for one in step) for step in stored])
        if place.label is not None and not place.label.voxels:
            return self._absent(place)
        raise PromptError(
            f"no prompts of {place.organ}, repeat {place.repeat}, for this scan or its subject",
            where=replay.path,
            mend="export a run with this organ, or leave it out with --organs",
        )

    def _absent(self, place: Place) -> Row:
        volume = voxel_ml(place.grid)
        return _row(
            self.case, place.organ, place.repeat, 0, status=ABSENT, tp=0, fp=0, fn=0, voxel_ml=volume,
            surfaces=EMPTY if self.surfaces else None,
            message="the organ is absent from the label, so no prompt can be drawn",
        )  # fmt: skip

    def _shared(self, place: Place) -> Point | None:
        """The subject's point, where this scan's label has the same organ there."""
        if not self.asking.shares_first_click or self.scan.label is None or self.scan.label_set is None:
            return None
        rule = self.asking.protocol.asks[0].rule
        world = self.points.get((rule, place.organ, place.repeat))
        if world is None:
            return None
        voxel = voxel_of(world, place.grid.affine)
        if not is_inside(voxel, place.grid):
            return None
        here = int(self.scan.label.voxels[voxel])
        return world if here in self.scan.label_set.ids[place.organ] else None
