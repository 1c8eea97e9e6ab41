"""The class mode: windows of a prepared scan to a label map, a slab at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from umd_engine.engine.unit import Unit
from umd_engine.engine.windows import centred_gaussian, flush_starts
from umd_engine.engine.work import Program, Tensors, Work
from umd_engine.kernels.windows import finish
from umd_engine.models.calls import Works
from umd_engine.models.mask import Triple
from umd_engine.models.vista3d.network import WIDTH, classified
from umd_engine.models.vista3d.options import Options
from umd_engine.models.vista3d.prepare import Case
from umd_engine.models.vista3d.slabs import Finish, SlabSums, slab_bytes, slowest_axis

AT_ONCE = 1 << 20  # logits of features that are there at once, but for those of one plane
AIR = 0.05  # of the scaled range, -863 HU: above the noise of air


@dataclass(frozen=True, eq=False)
class Pass:
    """A pass over a scan's windows.

    Attributes:
        unit: image -> logits [classes, *patch], or features [48, *patch].
        table: [classes, 48] of features; None: the unit gives logits.
        classes: how many.
        padding: of an image smaller than the patch, as `torch.nn.functional.pad` names it.
    """

    unit: Unit
    table: torch.Tensor | None
    classes: int
    patch: Triple
    padding: str
    options: Options

    @property
    def channels(self) -> int:
        """Of the sums; with logits one more is held, the background's zeros."""
        return self.classes + 1 if self.table is None else WIDTH

    def nbytes(self, shape: Triple) -> int:
        """Bytes of the sums for a prepared image of that shape."""
        grown = padded_shape(shape, self.patch)
        return slab_bytes(self.channels, grown, self.patch, self.axis(grown))

    def works(self, shape: Triple) -> tuple[Works, ...]:
        """For a prepared image of that shape."""
        grown = padded_shape(shape, self.patch)
        lines = [flush_starts(n, p, self.options.overlap) for n, p in zip(grown, self.patch, strict=True)]
        return (Works(self.unit, math.prod(map(len, lines))),)

    def axis(self, shape: Triple) -> int:
        return 0 if self.options.official else slowest_axis(shape, self.patch)


def label_slabs(case: Case, walk: Pass) -> Program[torch.Tensor]:
    """uint8 [x, y, z] on the prepared grid: class k of the pass is k + 1, 0 where no logit is above 0."""
    labels = torch.zeros(case.image.shape, dtype=torch.uint8, device=case.image.device)
    placed = _Placed(labels[None], walk)

    def decide(first: int, values: torch.Tensor, total: torch.Tensor) -> None:
        if walk.table is None:
            # the first channel is the background's zero: the first largest wins, as argmax does
            found = finish(values, total.shape, total=total, orders=(0, 0, 0))
        else:
            found = _decided(values, total, walk.table)
        placed.put(first, found[None])

    yield from walked(case, walk, decide, blank=0 if walk.table is not None else 1)
    return labels


def mean_logits(case: Case, walk: Pass) -> Program[torch.Tensor]:
    """float32 [classes, x, y, z] on the prepared grid, of the whole volume: for comparisons."""
    logits = torch.zeros((walk.classes, *case.image.shape), device=case.image.device)
    placed = _Placed(logits, walk)

    def keep(first: int, values: torch.Tensor, total: torch.Tensor) -> None:
        means = values / total
        placed.put(first, means if walk.table is None else classified(walk.table.to(means), means[None])[0])

    yield from walked(case, walk, keep)
    return logits


def walked(case: Case, walk: Pass, rows: Finish, blank: int = 0) -> Program[None]:
    """All windows, their sums handed to `rows` as soon as they are whole."""
    image = padded(case.image, walk.patch, walk.padding)
    shape = (image.shape[0], image.shape[1], image.shape[2])
    gaussian_weights = walk.options.protocol == "research"
    weights = (centred_gaussian(walk.patch) if gaussian_weights else torch.ones(walk.patch)).to(image.device)
    channels = walk.classes if walk.table is None else WIDTH
    sums = SlabSums(channels, shape, weights, walk.options.overlap, walk.axis(shape), rows, blank)
    windows = [image[box(start, walk.patch)] for start in sums.starts]
    shown = [n for n, window in enumerate(windows) if not walk.options.skip_air or float(window.max()) > AIR]

    def sink(item: int, outputs: Tensors) -> None:
        sums.add(shown[item], outputs[0].to(image.device))

    yield Work(walk.unit, _items(windows, shown), len(shown), sink)
    sums.close()


def _items(windows: list[torch.Tensor], shown: list[int]) -> Iterator[Tensors]:
    for number in shown:
        yield (windows[number][None],)


def box(start: Triple, patch: Triple) -> tuple[slice, slice, slice]:
    x, y, z = (slice(s, s + p) for s, p in zip(start, patch, strict=True))
    return x, y, z


def padded_shape(shape: Triple, patch: Triple) -> Triple:
    x, y, z = (max(n, p) for n, p in zip(shape, patch, strict=True))
    return x, y, z


def pad_before(shape: Triple, patch: Triple) -> Triple:
    """Voxels put before an image smaller than the patch: half of what is missing, the odd one goes behind."""
    x, y, z = (max(p - n, 0) // 2 for n, p in zip(shape, patch, strict=True))
    return x, y, z


def padded(image: torch.Tensor, patch: Triple, mode: str) -> torch.Tensor:
    """[x, y, z] of at least the patch."""
    shape = (image.shape[0], image.shape[1], image.shape[2])
    low, grown = pad_before(shape, patch), padded_shape(shape, patch)
    pads = [side for lo, m, n in zip(low, grown, shape, strict=True) for side in (m - n - lo, lo)][::-1]
    return torch.nn.functional.pad(image[None, None], pads, mode=mode)[0, 0] if any(pads) else image


class _Placed:
    """Puts rows of the padded grid where they belong in [C, x, y, z] of the prepared one."""

    def __init__(self, whole: torch.Tensor, walk: Pass):
        self.whole = whole
        shape = (whole.shape[1], whole.shape[2], whole.shape[3])
        self.low = pad_before(shape, walk.patch)
        self.axis = walk.axis(padded_shape(shape, walk.patch))

    def put(self, first: int, rows: torch.Tensor) -> None:
        for axis in range(3):
            count = self.whole.shape[axis + 1]
            if axis != self.axis:
                rows = rows.narrow(axis + 1, self.low[axis], count)
                continue
            begin = first - self.low[axis]  # of the rows, on the prepared grid
            skipped = max(-begin, 0)
            kept = max(min(rows.shape[axis + 1] - skipped, count - begin - skipped), 0)
            rows = rows.narrow(axis + 1, min(skipped, rows.shape[axis + 1]), kept)
            at = begin + skipped
        if rows.shape[self.axis + 1]:
            self.whole.narrow(self.axis + 1, at, rows.shape[self.axis + 1]).copy_(rows)


def _decided(sums: torch.Tensor, total: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """uint8 [x, y, z] of summed features [48, x, y, z] and weights [x, y, z].

    The number of the first largest logit from 1, 0 where none is > 0; a few planes at a time, as means and logits of
    all would be as large as the sums again.
    """
    labels = torch.empty(total.shape, dtype=torch.uint8, device=total.device)
    rows = table.to(sums)
    planes = max(AT_ONCE // (len(rows) * total[0].numel()), 1)
    for first in range(0, len(total), planes):
        part = slice(first, first + planes)
        best, which = classified(rows, (sums[:, part] / total[part])[None])[0].max(0)
        labels[part] = torch.where(best > 0, which + 1, 0)
    return labels
