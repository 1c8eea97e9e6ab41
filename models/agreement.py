"""How far two answers to one scan, and two outputs of one unit, agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from umd_engine.engine.executor import Session
from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Tensors
from umd_engine.errors import UmdEngineError
from umd_engine.kernels.confusion import confusion
from umd_engine.models.mask import Mask
from umd_engine.models.model import Segmentation

Open = Callable[[Unit], Session]


@dataclass(frozen=True)
class OrganAgreement:
    """One organ of one scan in both answers.

    Attributes:
        dice: between the two answers; None where neither holds the organ.
        voxels: of the organ in the reference's answer.
        flipped: voxels in which the two differ.
    """

    scan: str
    organ: str
    dice: float | None
    voxels: int
    flipped: int


@dataclass(frozen=True)
class Answers:
    """Two answers to one scan, compared.

    Attributes:
        voxels: of an answer; of a prompted model's, those of all its masks together.
        flipped: of them, those in which the two differ.
    """

    organs: tuple[OrganAgreement, ...]
    voxels: int
    flipped: int


def compare_labels(scan: str, exact: Segmentation, tested: Segmentation) -> Answers:
    """Two label maps on one grid."""
    ids = 1 + max((number for numbers in exact.organs.values() for number in numbers), default=0)
    mine, theirs = (np.ascontiguousarray(answer.labels.cpu().numpy()) for answer in (exact, tested))
    matrix = confusion(mine, theirs, ids, ids, backend="cpu")
    organs = []
    for organ, numbers in exact.organs.items():
        chosen = sorted(set(numbers))
        both = int(matrix[np.ix_(chosen, chosen)].sum())
        organs.append(_agreement(scan, organ, both, int(matrix[chosen].sum()), int(matrix[:, chosen].sum())))
    return Answers(tuple(organs), int(matrix.sum()), int(matrix.sum() - np.trace(matrix)))


def compare_masks(
    scan: str, exact: Mapping[str, Mask | UmdEngineError], tested: Mapping[str, Mask | UmdEngineError]
) -> Answers:
    """Masks that may overlap, organ by organ.

    Raises:
        UmdEngineError: what ended an organ in either answer.
    """
    organs, voxels = [], 0
    for organ in exact:
        mine, theirs = (_voxels(answer[organ]) for answer in (exact, tested))
        both = int((mine & theirs).sum())
        organs.append(_agreement(scan, organ, both, int(mine.sum()), int(theirs.sum())))
        voxels += mine.numel()
    return Answers(tuple(organs), voxels, sum(one.flipped for one in organs))


def _voxels(mask: Mask | UmdEngineError) -> torch.Tensor:
    if isinstance(mask, UmdEngineError):
        raise mask
    return mask.full().cpu() != 0


def _agreement(scan: str, organ: str, both: int, exact: int, tested: int) -> OrganAgreement:
    dice = 2 * both / (exact + tested) if exact + tested else None
    return OrganAgreement(scan, organ, dice, exact, exact + tested - 2 * both)


@dataclass(frozen=True)
class OutputError:
    """How far an output of a unit is off the reference's on the same inputs, over all calls.

    Attributes:
        items: inputs it was computed for.
        largest, rms: of the difference; infinite where one side is not finite and the other differs.
        span: largest minus smallest value of the reference.
    """

    unit: str
    output: str
    items: int
    largest: float
    rms: float
    span: float


@dataclass(eq=False)
class Tally:
    """Sums over the calls of one output."""

    items: int = 0
    values: int = 0
    largest: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def add(self, exact: torch.Tensor, tested: torch.Tensor) -> None:
        exact, tested = exact.double().cpu(), tested.double().cpu()
        difference = torch.where(exact == tested, 0.0, exact - tested).nan_to_num(math.inf).abs()
        self.items += len(exact)
        self.values += exact.numel()
        self.largest = max(self.largest, float(difference.max()))
        self.squares += float(difference.square().sum())
        self.low, self.high = min(self.low, float(exact.min())), max(self.high, float(exact.max()))

    def error(self, unit: str, output: str) -> OutputError:
        rms = math.sqrt(self.squares / self.values)
        return OutputError(unit, output, self.items, self.largest, rms, self.high - self.low)


@dataclass(frozen=True, eq=False)
class Beside:
    """Sessions that answer with `tested` and note how far it is off `exact` on the same inputs."""

    tested: Open
    exact: Open
    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)

    def __call__(self, unit: Unit) -> Session:
        return _Both(self, unit, self.tested(unit), self.exact(unit))

    def errors(self) -> tuple[OutputError, ...]:
        return tuple(tally.error(*key) for key, tally in self.tallies.items())


@dataclass(frozen=True, eq=False)
class _Both:
    owner: Beside
    unit: Unit
    tested: Session
    exact: Session

    def run(self, inputs: Tensors) -> Tensors:
        outputs = self.tested.run(inputs)
        for name, mine, theirs in zip(self.unit.outputs, outputs, self.exact.run(inputs), strict=True):
            if theirs.is_floating_point():
                self.owner.tallies.setdefault((self.unit.name, name), Tally()).add(theirs, mine)
        return outputs
