"""Who asks a model: each source gives the prompts of one organ, and scores and keeps every mask it is shown."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch

from umd_engine.data.manifest import ScanRow
from umd_engine.data.volume import Grid
from umd_engine.evaluation.measuring import measured_mask
from umd_engine.evaluation.prompts.given import Given, as_prompt
from umd_engine.evaluation.prompts.reference import OrganLabel
from umd_engine.kernels.parts import does
from umd_engine.models.mask import Mask
from umd_engine.models.prompts import Prompt, View

Views = Callable[[], View]
NOT_ASKED = "the model gave its mask without asking for a prompt"


@dataclass(frozen=True)
class Step:
    """What a step gave: voxel counts of its mask (tp and fn are None without a reference) and its prompts.

    Attributes:
        seconds: from the case's start until the mask was there; the organs of a scan share their time.
        note: what the model says of how the mask was made.
        surfaces: as in a row.
    """

    tp: int | None
    fp: int
    fn: int | None
    seconds: float
    note: str
    given: tuple[Given, ...]
    surfaces: bytes | None = None


@dataclass(frozen=True, eq=False)
class Place:
    """The organ that is asked for, and where.

    Attributes:
        label: its reference on the device; None where the scan has none.
        began: `time.perf_counter()` when the case started.
        surfaces: distances between surfaces are measured.
    """

    row: ScanRow
    grid: Grid
    organ: str
    repeat: int
    label: OrganLabel | None
    began: float
    surfaces: bool = False


class Source(ABC):
    """A `models.prompts.PromptSource` that keeps what it is shown.

    Attributes:
        steps: one a mask.
        last: the last mask.
    """

    def __init__(self, place: Place):
        self.place = place
        self.steps: list[Step] = []
        self.last: Mask | None = None
        self._given: tuple[Given, ...] | None = None
        self._ended = False

    @property
    def organ(self) -> str:
        return self.place.organ

    @property
    def given(self) -> list[tuple[Given, ...]]:
        """The prompts of every step, those that ended in an error included."""
        return [step.given for step in self.steps] + ([] if self._given is None else [self._given])

    @property
    def label(self) -> Mask | None:
        return None if self.place.label is None else self.place.label.mask

    def next(self, mask: Mask | None, view: Views | None = None, note: str = "") -> Prompt | None:
        assert not self._ended, f"{self.organ}: asked for a prompt after the last one"
        assert (mask is None) == (self._given is None), f"{self.organ}: a mask for each prompt, none before the first"
        if mask is not None:
            self._keep(mask, note)
        self._given = self._draw(len(self.steps), mask, view)
        self._ended = self._given is None
        return None if self._given is None else as_prompt(self._given)

    def finish(self, mask: Mask) -> None:
        """Take the model's answer where it did not show it: to the last prompt, or without any.

        It asks for none where nothing of the organ is left on its own grid.
        """
        if self._given is not None or not self.steps:
            self._keep(mask, "" if self._given is not None else NOT_ASKED)

    @abstractmethod
    def _draw(self, step: int, mask: Mask | None, view: Views | None) -> tuple[Given, ...] | None:
        """The prompts of a step; None: there is none."""

    def _keep(self, mask: Mask, note: str) -> None:
        assert mask.shape == self.place.grid.shape, f"{self.organ}: {mask.shape} instead of {self.place.grid.shape}"
        seconds = time.perf_counter() - self.place.began
        tp, fp, fn = count(mask, self.place.label)
        self.last = mask
        given, self._given = self._given or (), None
        self.steps.append(Step(tp, fp, fn, seconds, note, given, self._measured(mask)))

    @does("metrics")
    def _measured(self, mask: Mask) -> bytes | None:
        label = self.place.label
        return measured_mask(mask, label, self.place.grid.spacing) if self.place.surfaces and label else None


@does("metrics")
def count(mask: Mask, label: OrganLabel | None) -> tuple[int | None, int, int | None]:
    """TP, FP, FN within the mask's box, where all its voxels are; without a label FP is all of them."""
    predicted = mask.voxels.sum(dtype=torch.int64)
    if label is None:
        return None, int(predicted), None
    both = (label.mask.crop(mask.low, mask.high) & mask.voxels).sum(dtype=torch.int64)
    tp, total = torch.stack([both, predicted]).tolist()
    return tp, total - tp, label.voxels - tp
