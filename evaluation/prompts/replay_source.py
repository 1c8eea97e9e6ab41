"""A source that gives stored prompts again."""

from __future__ import annotations

from collections.abc import Sequence

from umd_engine.errors import PromptError
from umd_engine.evaluation.prompts.given import POINT, Given
from umd_engine.evaluation.prompts.source import Place, Source, Views
from umd_engine.models.mask import Mask
from umd_engine.models.prompts import is_inside


class ReplaySource(Source):
    """Gives stored prompts again, whatever the mask."""

    def __init__(self, place: Place, stored: Sequence[tuple[Given, ...]]):
        super().__init__(place)
        self.stored = stored

    def _draw(self, step: int, mask: Mask | None, view: Views | None) -> tuple[Given, ...] | None:
        if step == len(self.stored):
            return None
        for one in self.stored[step]:
            self._check(one, step)
        return self.stored[step]

    def _check(self, one: Given, step: int) -> None:
        outside = one.kind == POINT and not (one.voxel and is_inside(one.voxel, self.place.grid))
        flat = (
            one.voxel is not None
            and one.high is not None
            and any(low >= high for low, high in zip(one.voxel, one.high, strict=True))
        )
        if outside or flat:
            at = ", ".join(f"{mm:.1f}" for mm in one.world or ())
            raise PromptError(
                f"the {one.kind} of {self.organ} at ({at}) mm, step {step}, lies outside the scan",
                where=self.place.row.images[0],
                mend="replay prompts that were given in this subject's scans",
            )
