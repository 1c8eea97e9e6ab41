"""A described model that takes points: one organ a source, in one window around its first click."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from umd_engine.data.words import counted
from umd_engine.engine.accumulator import Sums
from umd_engine.engine.together import together
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.engine.work import Program, call
from umd_engine.errors import ModelError, PromptError, UmdEngineError
from umd_engine.models.calls import Asked, Calls, Works
from umd_engine.models.custom.decide import labels_of
from umd_engine.models.custom.described import Case, Described, grid_of
from umd_engine.models.custom.description import Description
from umd_engine.models.custom.frame import Frame
from umd_engine.models.custom.opening import Piece
from umd_engine.models.mask import Mask, Triple
from umd_engine.models.nnunet.protocol import pad_to
from umd_engine.models.prompts import Click, PromptSource

LOW = -1e4  # a value outside the window, before the activation


class PointModel(Described):
    """The network sees a patch, the clicks in it and whether each lies in the organ: [N, C, ...], [N, P, 3], [N, P]."""

    prompts = frozenset({"point"})
    crops_by_label = False

    def __init__(self, name: str, description: Description, pieces: Sequence[Piece], source: str = "custom"):
        super().__init__(name, description, pieces, source)
        self._asked: dict[int, Unit] = {1: self.units[-1]}

    def unit(self, points: int) -> Unit:
        """The unit for a number of points, made when it is first asked for."""
        if points not in self._asked:
            first = self._asked[1]
            clicks = (TensorSpec("points", (points, 3)), TensorSpec("labels", (points,)))
            self._asked[points] = Unit(first.name, first.module, (first.inputs[0], *clicks), first.outputs)
        return self._asked[points]

    def nbytes(self, shape: tuple[int, int, int], spacing: tuple[float, float, float], organs: int) -> int:
        voxels = int(np.prod(shape))
        return self.bytes_of(shape, spacing, 1) + organs * (self.bytes_of(shape, spacing, 1) + 2 * voxels)

    def calls(self, shape: Triple, spacing: tuple[float, float, float], asked: Asked) -> Calls:
        steps = [Works(self.unit(asked.points(step)), asked.organs) for step in range(len(asked.steps))]
        return Calls((*self.localiser_works(grid_of(shape, spacing)), *steps), "an organ's points share a window")

    def segment(self, case: Case, sources: Sequence[PromptSource]) -> Program[list[Mask | UmdEngineError]]:
        if not sources:
            return []
        frame, data = yield from self.lattice(case)
        return (yield from together([self._organ(case, frame, data, source) for source in sources]))

    def _organ(self, case: Case, frame: Frame, data: torch.Tensor, source: PromptSource) -> Program[Mask]:
        """The mask after each prompt; clicks add up, the window stays where the first one put it."""
        clicks: list[Click] = []
        mask: Mask | None = None
        note = ""
        while (prompt := source.next(mask, None, note)) is not None:
            clicks += prompt.clicks
            if not any(click.positive for click in clicks):
                raise PromptError("no click in the organ yet", where=source.organ, mend="begin with a positive click")
            mask, note = yield from self._step(case, frame, data, clicks)
        return mask if mask is not None else Mask.empty(case.grid.shape, data.device)

    def _step(self, case: Case, frame: Frame, data: torch.Tensor, clicks: Sequence[Click]) -> Program[tuple[Mask, str]]:
        patch = self.description.patch
        padded, inner = pad_to(data, patch)
        shift = np.array([side.start for side in inner])
        places = [self._voxel(click, case, frame) + shift for click in clicks]
        centre = next(place for place, click in zip(places, clicks, strict=True) if click.positive)
        room = np.array(padded.shape[1:]) - np.array(patch)
        start = np.clip(np.rint(centre).astype(int) - np.array(patch) // 2, 0, room)
        local = [(place - start, click) for place, click in zip(places, clicks, strict=True)]
        seen = [(place, click) for place, click in local if ((place > -0.5) & (place < np.array(patch) - 0.5)).all()]
        points = torch.tensor(np.array([place for place, _ in seen]), dtype=torch.float32, device=data.device)
        labels = torch.tensor([float(click.positive) for _, click in seen], device=data.device)
        box = tuple(slice(int(a), int(a) + n) for a, n in zip(start, patch, strict=True))
        (values,) = yield from call(self.unit(len(seen)), padded[(slice(None), *box)], points, labels)
        if tuple(values.shape) != (1, *patch):
            raise ModelError(
                f"{self.name} gives {tuple(values.shape)} instead of {(1, *patch)}", mend="one channel answers a click"
            )
        whole = torch.full((1, *padded.shape[1:]), LOW, device=data.device)
        whole[(slice(None), *box)] = values.to(data.device)
        organ = labels_of(Sums(whole[(slice(None), *inner)].clone()), frame, self.turn, self.description.output)
        outside = len(clicks) - len(seen)
        return Mask.of(organ), f"{counted(outside, 'click')} outside the window" if outside else ""

    def _voxel(self, click: Click, case: Case, frame: Frame) -> np.ndarray:
        """A click's place on the lattice, within it.

        Raises:
            PromptError: it lies outside the scan.
        """
        scan = np.linalg.solve(case.grid.affine, [*click.world, 1.0])[:3]
        if not all(-0.5 <= v <= n - 0.5 for v, n in zip(scan, case.grid.shape, strict=True)):
            raise PromptError("a click lies outside the scan", mend="give mm (RAS) on the scan")
        turned = [
            case.grid.shape[axis] - 1 - scan[axis] if flip else scan[axis]
            for axis, flip in zip(self.turn.axes, self.turn.flips, strict=True)
        ]
        return frame.place(np.array(turned))
