"""The engine's prompts, in mm or on the scan's grid, as a session's, in voxels of the file's order."""

from __future__ import annotations

from collections.abc import Sequence

from umd_engine.data.volume import Grid
from umd_engine.errors import PromptError
from umd_engine.models.mask import Triple
from umd_engine.models.nninteractive.region import Region, triple
from umd_engine.models.nninteractive.session import Session
from umd_engine.models.nninteractive.turning import box_to_file, mask_to_file
from umd_engine.models.prompts import Box, Click, Drawing, Prompt, voxel_of

ALIKE = 1e-3  # spacings (mm) closer than this are one
KINDS = {"points": "point", "bbox2d": "box", "bbox3d": "box", "scribble": "scribble", "lasso": "lasso"}


def hand_over(prompt: Prompt, session: Session, grid: Grid, where: str) -> None:
    """Give a prompt's parts to the session: a mask to start from, a box, a drawing, then the clicks in their order.

    The last of them decides where the network looks. A mask alone is looked at all over again.

    Raises:
        PromptError: a part leaves the scan, is empty or of a kind that the model does not take; or there is none.
    """
    box, drawing = prompt.box, prompt.drawing
    if prompt.text is not None:
        raise PromptError("the model does not take text", where=where, mend="use points, boxes or drawings")
    if not (prompt.clicks or box or drawing):
        raise PromptError("no click, box or drawing", where=where, mend="use another prompt protocol")
    voxels = [_voxel(click, session, grid, where) for click in prompt.clicks]
    region = None if box is None else _box(box, session, grid, where)
    if drawing is not None:
        _check_drawing(drawing, session, grid, where)
        if drawing.kind == "mask":
            session.start_from(mask_to_file(drawing.mask, grid))
            if not voxels and region is None:
                session.refine_all()
    if region is not None and box is not None:
        session.add_box(region, box.positive)
    if drawing is not None and drawing.kind != "mask":
        session.add_drawing(drawing.kind, mask_to_file(drawing.mask, grid), drawing.positive)
    for voxel, click in zip(voxels, prompt.clicks, strict=True):
        session.add_point(voxel, click.positive)


def _voxel(click: Click, session: Session, grid: Grid, where: str) -> Triple:
    _check_kind("points", session, where)
    voxel = voxel_of(click.world, grid.file_affine)
    if not all(0 <= v < n for v, n in zip(voxel, grid.file_shape, strict=True)):
        at = ", ".join(f"{mm:.1f}" for mm in click.world)
        raise PromptError(
            f"the click at ({at}) mm lies outside the scan", where=where, mend="click within the scan's grid"
        )
    return voxel


def _box(box: Box, session: Session, grid: Grid, where: str) -> Region:
    solid = session.settings.supported["bbox3d"]
    if not solid:
        _check_kind("bbox2d", session, where)
    given = Region(box.low, box.high)
    if given.empty or given.within(grid.shape) != given:
        raise PromptError(
            f"the box {box.low} to {box.high} is empty or leaves the scan of {grid.shape}",
            where=where,
            mend="give voxels low to high - 1 of the scan's grid",
        )
    turned = box_to_file(given, grid)
    if 1 in turned.size or solid:
        return turned
    return central_slice(turned, grid.file_spacing)


def central_slice(box: Region, spacing: Sequence[float]) -> Region:
    """A 3D box as a 2D one: its middle slice (of two the lower) across the axis with the largest spacing.

    Of axes with equal spacing it is the last: a scan's slices, as most files store them.
    """
    across = max(range(3), key=lambda axis: (round(spacing[axis] / ALIKE), axis))
    middle = (box.low[across] + box.high[across] - 1) // 2
    low = triple(middle if axis == across else lo for axis, lo in enumerate(box.low))
    return Region(low, triple(middle + 1 if axis == across else hi for axis, hi in enumerate(box.high)))


def _check_drawing(drawing: Drawing, session: Session, grid: Grid, where: str) -> None:
    if drawing.kind == "mask":
        if not session.settings.takes_mask:
            raise PromptError("the model does not start from a mask", where=where, mend="use another prompt protocol")
        if not drawing.positive:
            raise PromptError("a mask to start from is negative", where=where, mend="give the organ, not the rest")
    else:
        _check_kind(drawing.kind, session, where)
    if drawing.mask.shape != grid.shape:
        raise PromptError(
            f"the {drawing.kind} is drawn on a grid of {drawing.mask.shape}, the scan's is {grid.shape}",
            where=where,
            mend="draw on the scan's own grid",
        )
    if not bool(drawing.mask.voxels.any()):
        raise PromptError(f"the {drawing.kind} marks no voxel", where=where, mend="mark at least one")


def _check_kind(kind: str, session: Session, where: str) -> None:
    if not session.settings.supported.get(kind, False):
        raise PromptError(
            f"the model does not take a {KINDS.get(kind, kind)}", where=where, mend="use another prompt protocol"
        )
