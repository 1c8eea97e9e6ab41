"""The point modes: one object from its points, a window around each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from umd_engine.data.volume import Grid
from umd_engine.engine.work import Program, Tensors, call
from umd_engine.errors import PromptError
from umd_engine.models.mask import Mask, Triple
from umd_engine.models.prompts import Click, Prompt, PromptSource, is_inside, voxel_of
from umd_engine.models.vista3d.combining import kept_with_positive, merged
from umd_engine.models.vista3d.lattice import Lattice, Place
from umd_engine.models.vista3d.point_network import SPECIAL, Pieces
from umd_engine.models.vista3d.prepare import Case
from umd_engine.models.vista3d.protocol import box, pad_before, padded
from umd_engine.models.vista3d.slabs import check_finite

# ids whose points get labels of their own: the preprocessing's default list, which its config leaves as it is
SPECIAL_CLASSES = frozenset({25, 26, 27, 28, 29, 117})
OUTSIDE = 255  # label of voxels outside of all windows


@dataclass(frozen=True, eq=False)
class Wanted:
    """What an object is asked for with.

    Attributes:
        row: [48], the class's row of the table; None: points alone.
        special: its points get the special classes' labels.
    """

    row: torch.Tensor | None = None
    special: bool = False


@dataclass(eq=False)
class Points:
    """All points of an object so far.

    Attributes:
        places: voxels of the prepared image.
        labels: 0 or 1, of special classes 2 or 3.
    """

    places: list[Place] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)


def segment_object(case: Case, source: PromptSource, pieces: Pieces, wanted: Wanted) -> Program[Mask]:
    """The mask after the last step; every step asks with all points so far.

    Raises:
        PromptError: a prompt that is no point, or a point outside the scan or its foreground.
        ModelError: a logit is not finite.
    """
    asked = Points()
    mask: Mask | None = None
    prompt = source.next(None)
    while prompt is not None:
        _add(asked, prompt, case.lattice, wanted, source.organ)
        low, stitched = yield from stitched_logits(case, asked, pieces, wanted)
        labels = object_labels(low, stitched, asked, wanted)
        mask = case.lattice.mask(labels == 1, low)
        prompt = source.next(mask)
    return Mask.empty(case.lattice.grid.shape, case.image.device) if mask is None else mask


def object_labels(low: Triple, stitched: torch.Tensor, asked: Points, wanted: Wanted) -> torch.Tensor:
    """uint8 labels of what windows see of the prepared image: 0, 1, or 255 between them."""
    if wanted.row is None:
        inside = [_minus(place, low) for place in asked.places]
        stitched = kept_with_positive(stitched, inside, asked.labels)
    return (stitched > 0).to(torch.uint8).masked_fill_(torch.isnan(stitched), OUTSIDE)


def stitched_logits(case: Case, asked: Points, pieces: Pieces, wanted: Wanted) -> Program[tuple[Triple, torch.Tensor]]:
    """First voxel and logits of the points' windows, summed where they overlap; NaN where there is none."""
    shape = _triple(case.image.shape)
    pad = pad_before(shape, pieces.patch)
    image = padded(case.image, pieces.patch, "constant")
    places = [_plus(place, pad) for place in asked.places]
    starts = [_around(place, _triple(image.shape), pieces.patch) for place in places]
    found: dict[Triple, torch.Tensor] = {}
    for start in starts:
        if start not in found:
            found[start] = yield from _window(image, start, places, asked.labels, pieces, wanted)
    low, high = _extent(starts, pieces.patch)
    sums = torch.zeros([hi - lo for lo, hi in zip(low, high, strict=True)], device=image.device)
    seen = torch.zeros_like(sums, dtype=torch.bool)
    for start in starts:  # a window that two points share counts twice, as in the official code
        here = box(_triple(_minus(start, low)), pieces.patch)
        sums[here] += found[start]
        seen[here] = True
    stitched = sums.masked_fill_(~seen, torch.nan)
    first = _triple(np.maximum(np.subtract(low, pad), 0))  # without the padding
    last = _triple(np.minimum(np.subtract(high, pad), shape))
    inner = tuple(slice(a + p - lo, b + p - lo) for a, b, p, lo in zip(first, last, pad, low, strict=True))
    return first, stitched[inner]


def _window(
    image: torch.Tensor, start: Triple, places: Sequence[Place], labels: Sequence[int], pieces: Pieces, wanted: Wanted
) -> Program[torch.Tensor]:
    """The object's logits in one window; points on its first row or beyond its end are not in it."""
    window = image[box(start, pieces.patch)][None]
    here = [
        (_minus(place, start), label)
        for place, label in zip(places, labels, strict=True)
        if all(0 < p - s < n for p, s, n in zip(place, start, pieces.patch, strict=True))
    ]
    if not here and wanted.row is None:
        return torch.full(pieces.patch, -9999.0, device=image.device)
    inputs: list[torch.Tensor] = [window] if wanted.row is None else [window, wanted.row.to(window)]
    if here:
        inputs += _tensors([place for place, _ in here], [label for _, label in here], pieces.patch, image.device)
    outputs: Tensors = yield from call(pieces.unit(len(here)), *inputs)
    logits = [output[0].to(image.device) for output in outputs]
    check_finite(logits)  # NaN would read as outside of all windows
    if len(logits) == 1:
        return logits[0]
    return merged(logits[0], logits[1], [place for place, _ in here], [label for _, label in here])


def _tensors(
    places: Sequence[Place], labels: Sequence[int], patch: Triple, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Points as shares of the window, computed in float64, and their labels."""
    shares = (torch.tensor(places, dtype=torch.float64) + 0.5) / torch.tensor(patch, dtype=torch.float64)
    return shares.float().to(device), torch.tensor(labels, dtype=torch.float32, device=device)


def _around(place: Place, shape: Triple, patch: Triple) -> Triple:
    """The corner of the window around a point, moved into the image."""
    corner = []
    for p, n, size in zip(place, shape, patch, strict=True):
        half = size // 2
        corner.append(0 if p - half < 0 else n - size if p + half > n else int(p) - half)
    return corner[0], corner[1], corner[2]


def _extent(starts: Sequence[Triple], patch: Triple) -> tuple[Triple, Triple]:
    return _triple(np.min(starts, axis=0)), _triple(np.max(starts, axis=0) + np.array(patch))


def _add(asked: Points, prompt: Prompt, lattice: Lattice, wanted: Wanted, organ: str) -> None:
    if prompt.box or prompt.text or prompt.drawing or not prompt.clicks:
        raise PromptError("VISTA3D's point modes take points", where=organ, mend="prompt it with clicks alone")
    for click in prompt.clicks:
        asked.places.append(place_of(click, lattice, organ))
        asked.labels.append(int(click.positive) + (SPECIAL if wanted.special else 0))


def place_of(click: Click, lattice: Lattice, organ: str) -> Place:
    """A click in voxels of the prepared image.

    Raises:
        PromptError: outside the scan, or outside the box that was kept of it.
    """
    grid: Grid = lattice.grid
    where = f"({', '.join(f'{x:.1f}' for x in click.world)}) mm"
    if not is_inside(voxel_of(click.world, grid.affine), grid):
        raise PromptError(f"the click at {where} is outside the scan", where=organ, mend="click inside the scan")
    # 1e-6 of a voxel: a click in the middle of one stays there
    x, y, z = np.round(np.linalg.solve(grid.affine, [*click.world, 1.0])[:3], 6)
    place = lattice.coordinate((float(x), float(y), float(z)))
    if not all(-0.5 <= p <= n - 0.5 for p, n in zip(place, lattice.size, strict=True)):
        raise PromptError(
            f"the click at {where} is outside the box of what is above 0", where=organ, mend="click nearer to the body"
        )
    return place


def with_class(row: torch.Tensor, number: int) -> Wanted:
    return Wanted(row, number in SPECIAL_CLASSES)


def _plus(a: Place, b: Triple) -> Place:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def _minus(a: Place | Triple, b: Triple) -> Place:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def _triple(values: object) -> Triple:
    x, y, z = (int(value) for value in values)  # type: ignore[attr-defined]
    return x, y, z
