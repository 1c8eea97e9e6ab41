"""What an organ has been prompted with so far, on the resized grid."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from umd_engine.errors import PromptError
from umd_engine.models.mask import Mask, Triple
from umd_engine.models.prompts import Box, Click, Prompt
from umd_engine.models.segvol.frame import Frame
from umd_engine.models.segvol.prompt_tokens import WINDOW

NO_BOX = (-1.0,) * 6  # what the official code calls the box of nothing
MOVED = "a click outside the foreground was moved to its border"
Corners = tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Asked:
    """All prompts of an organ up to a step.

    Attributes:
        points: resized voxels (d, h, w) of all clicks so far.
        labels: 1 in the organ, 0 beside it.
        box: (d0, h0, w0, d1, h1, w1), resized voxels, both inside.
        text: the organ's name.
        note: what a row should say about them.
    """

    points: tuple[Triple, ...] = ()
    labels: tuple[int, ...] = ()
    box: Corners | None = None
    text: str | None = None
    note: str = ""

    def and_then(self, prompt: Prompt, frame: Frame, label: Mask | None) -> Asked:
        """With another step's prompt.

        Args:
            label: where given, a box that is its box is taken from it on the resized grid, as in the official code.

        Raises:
            PromptError: of a kind that SegVol does not take, outside the scan, or a box together with points.
        """
        _check_kinds(prompt)
        asked = self if prompt.text is None else replace(self, text=prompt.text)
        if prompt.box is not None:
            drawn = label is not None and (prompt.box.low, prompt.box.high) == (label.low, label.high)
            asked = replace(asked, box=box_of_label(frame, label) if label and drawn else box_of(frame, prompt.box))
        for click in prompt.clicks:
            asked = asked._with_click(click, frame)
        if asked.box is not None and asked.points:
            raise PromptError("SegVol takes a box or points, not both", mend="prompt with one of them")
        if asked.box is None and not asked.points and asked.text is None:
            raise PromptError("nothing was asked for", mend="prompt with text, points or a box")
        return asked

    def _with_click(self, click: Click, frame: Frame) -> Asked:
        found = frame.resized_voxel(click.world)
        if found is None:
            place = ", ".join(f"{x:g}" for x in click.world)
            raise PromptError(f"the click at ({place}) mm lies outside the scan", mend="click inside the scan")
        voxel, moved = found
        note = MOVED if moved else self.note
        return replace(
            self, points=(*self.points, voxel), labels=(*self.labels, int(click.positive)), note=note
        )  # fmt: skip


def _check_kinds(prompt: Prompt) -> None:
    if prompt.drawing is not None:
        raise PromptError(f"SegVol takes no {prompt.drawing.kind}", mend="prompt with text, points or a box")
    if prompt.box is not None and not prompt.box.positive:
        raise PromptError("SegVol takes no box beside the organ", mend="give a box around the organ")


def box_of(frame: Frame, box: Box) -> Corners:
    """The resized voxels that show voxels of the box; where none does, the one nearest to its middle.

    Raises:
        PromptError: an empty box, or one that reaches outside the scan.
    """
    if not all(0 <= lo < hi <= n for lo, hi, n in zip(box.low, box.high, frame.grid.shape, strict=True)):
        raise PromptError(
            f"the box {box.low} to {box.high} does not lie in the scan of {frame.grid.shape}", mend="give its voxels"
        )
    low, high = [], []
    for axis, (first, last) in enumerate(zip(*frame.box(box), strict=True)):
        shown = frame.to_resized[axis]
        inside = torch.nonzero((shown >= first) & (shown <= last))[:, 0].tolist()
        if not inside:
            middle = (first + last + 1) / 2 * WINDOW[axis] / frame.size[axis]
            inside = [min(max(int(middle), 0), WINDOW[axis] - 1)]
        low.append(float(inside[0]))
        high.append(float(inside[-1]))
    return (*low, *high)


def box_of_label(frame: Frame, label: Mask) -> Corners:
    """The official rule: the bounding box of the label on the resized grid, -1 where none of it is left there."""
    found = Mask.of(frame.from_scan(label, frame.to_resized))
    if not found.voxels.numel():
        return NO_BOX
    return (*(float(n) for n in found.low), *(float(n - 1) for n in found.high))
