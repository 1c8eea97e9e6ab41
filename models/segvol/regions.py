"""Where to look again: the region of an organ, its windows, and what a window is prompted with."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from umd_engine.models.mask import Mask, Triple
from umd_engine.models.segvol.asked import NO_BOX, Asked, Corners
from umd_engine.models.segvol.draws import Draws
from umd_engine.models.segvol.frame import Frame, pick
from umd_engine.models.segvol.prompt_tokens import WINDOW


@dataclass(frozen=True, eq=False)
class Region:
    """Voxels low to high - 1 of the crop, and the windows over it, which is padded to at least one window.

    Attributes:
        overlap: of windows, as a share.
    """

    low: Triple
    high: Triple
    overlap: float

    @property
    def size(self) -> Triple:
        d, h, w = (b - a for a, b in zip(self.low, self.high, strict=True))
        return d, h, w

    @property
    def padded(self) -> Triple:
        d, h, w = (max(n, window) for n, window in zip(self.size, WINDOW, strict=True))
        return d, h, w

    @property
    def padding(self) -> Triple:
        """Voxels before the region; an odd one goes behind it."""
        d, h, w = ((padded - n) // 2 for padded, n in zip(self.padded, self.size, strict=True))
        return d, h, w

    @cached_property
    def starts(self) -> list[Triple]:
        """First voxels of the windows in the padded region, w fastest: MONAI's rule, the last one shifted back."""
        axes = []
        for n, window in zip(self.padded, WINDOW, strict=True):
            step = max(int(window * (1 - self.overlap)), 1)
            count = -(-(n - window) // step) + 1
            axes.append([min(number * step, n - window) for number in range(count)])
        return list(itertools.product(*axes))  # type: ignore[arg-type]

    @classmethod
    def of(cls, size: Triple, overlap: float) -> Region:
        """A region of that size, wherever it lies."""
        return cls((0, 0, 0), size, overlap)

    def inside(self, start: Triple) -> tuple[tuple[slice, slice, slice], Triple]:
        """The crop's voxels that a window shows, and where they lie in the window."""
        cut, before = [], []
        for axis, first in enumerate(start):
            first -= self.padding[axis]  # counted from the region
            low, high = max(first, 0), min(first + WINDOW[axis], self.size[axis])
            cut.append(slice(self.low[axis] + low, self.low[axis] + high))
            before.append(low - first)
        return (cut[0], cut[1], cut[2]), (before[0], before[1], before[2])

    def of_resized(self, shown: torch.Tensor, frame: Frame) -> torch.Tensor:
        """[d, h, w]: a resized volume [32, 256, 256] at the region's voxels, by torch's `nearest`."""
        lines = [line[a:b] for line, a, b in zip(frame.from_resized, self.low, self.high, strict=True)]
        return pick(shown, lines)

    def window(self, image: torch.Tensor, start: Triple) -> torch.Tensor:
        """float32 [1, 32, 256, 256]: the crop's voxels, zeros around the region."""
        cut, before = self.inside(start)
        piece = image[cut]
        pads = [
            side
            for axis in (2, 1, 0)
            for side in (before[axis], WINDOW[axis] - before[axis] - piece.shape[axis])
        ]  # fmt: skip
        return torch.nn.functional.pad(piece, pads)[None]


def find_region(shown: torch.Tensor, frame: Frame, overlap: float) -> Region | None:
    """The box of an organ on the crop, grown to about a window where it is smaller; None: the organ is nowhere.

    Args:
        shown: bool [32, 256, 256], the organ on the resized grid.
    """
    used = [torch.unique(line) for line in frame.from_resized]  # a crop smaller than the window skips some
    found = Mask.of(pick(shown, used))
    if not found.voxels.numel():
        return None
    low, high = [], []
    for axis, line in enumerate(frame.from_resized):
        first, last = used[axis][found.low[axis]], used[axis][found.high[axis] - 1]
        inside = torch.nonzero((line >= first) & (line <= last))[:, 0]
        start, stop = int(inside[0]), int(inside[-1]) + 1
        grow = max(0, WINDOW[axis] - (stop - start)) // 2
        low.append(max(0, start - grow))
        high.append(min(frame.size[axis], stop + grow))
    return Region((low[0], low[1], low[2]), (high[0], high[1], high[2]), overlap)


@dataclass(frozen=True, eq=False)
class WindowPrompts:
    """Prompts of a region's windows, mirrored from those of the whole scan at a glance.

    Points and boxes are mirrored as marks on the region. The official code pads the image and the prediction to a
    window but not the marks, so that theirs are off by the padding; `shift` adds it.

    Attributes:
        shown: bool [32, 256, 256], what the glance found.
    """

    region: Region
    frame: Frame
    shown: torch.Tensor
    asked: Asked
    shift: bool

    def box(self, number: int) -> torch.Tensor | None:
        """[6] for window `number`: the marked box where it is the only one, else that of what was found in it."""
        if not self.asked.points and self.asked.box is None:
            return None
        if self.asked.points or len(self.region.starts) > 1:
            return self._found(self.region.starts[number])
        return torch.tensor(self._marked_box(self.asked.box), device=self.shown.device)  # type: ignore[arg-type]

    def points(self, number: int, draws: Draws, key: Sequence[object]) -> tuple[list[Triple], list[int]]:
        """Up to 5 of the marked voxels in window `number`, labelled 1; one empty place where there are none."""
        if not self.asked.points:
            return [], []
        voxels = self._marked_voxels(self.region.starts[number])
        if not voxels:
            return [(-1, -1, -1)], [-1]
        drawn = draws.draw(len(voxels), (*key, number))
        kept = [voxels[n] for n in drawn]
        empty = 1 + 4 - len(kept)  # the official code fills up to five
        return kept + [(-1, -1, -1)] * empty, [1] * len(kept) + [-1] * empty

    def _found(self, start: Triple) -> torch.Tensor:
        """The box of the glance's mask within a window, without leaving the device."""
        cut, before = self.region.inside(start)
        lines = [line[where] for line, where in zip(self.frame.from_resized, cut, strict=True)]
        mask = pick(self.shown, lines)
        first, last = [], []
        for axis in range(3):
            line = mask.any(dim=2 if axis < 2 else 1).any(dim=1 if axis == 0 else 0).to(torch.uint8)
            first.append(line.argmax() + before[axis])
            last.append(len(line) - 1 - line.flip(0).argmax() + before[axis])
        box = torch.stack([*first, *last]).float()
        return torch.where(mask.any(), box, torch.tensor(NO_BOX, device=box.device))

    def _marked(self, axis: int, first: float, last: float) -> range:
        """The region's voxels along an axis that show resized voxels first to last."""
        line = self.frame.from_resized[axis][self.region.low[axis] : self.region.high[axis]]
        inside = torch.nonzero((line >= first) & (line <= last))[:, 0].tolist()
        moved = self.region.padding[axis] if self.shift else 0
        return range(inside[0] + moved, inside[-1] + 1 + moved) if inside else range(0)

    def _marked_box(self, box: Corners) -> Corners:
        if box == NO_BOX:
            return NO_BOX
        axes = [self._marked(axis, box[axis], box[axis + 3]) for axis in range(3)]
        if not all(axes):
            return NO_BOX
        return (*(float(line[0]) for line in axes), *(float(line[-1]) for line in axes))

    def _marked_voxels(self, start: Triple) -> list[Triple]:
        """Voxels of the window that show a positive click, d slowest."""
        marked: set[Triple] = set()
        for point, label in zip(self.asked.points, self.asked.labels, strict=True):
            if label == 1:
                axes = [
                    [n - start[axis] for n in self._marked(axis, at, at) if 0 <= n - start[axis] < WINDOW[axis]]
                    for axis, at in enumerate(point)
                ]
                marked.update(itertools.product(*axes))  # type: ignore[arg-type]
        return sorted(marked)
