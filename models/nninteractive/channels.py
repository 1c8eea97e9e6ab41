"""Prompts as the network sees them, kept as what was written, not as volumes.

The official code keeps seven float16 volumes of the scan's shape. Here a channel is a list of boxes with values; any
region of it is rendered when a patch needs it, exactly. Every write is an element-wise maximum: where the official
code assigns (a 2D box), the new value is no smaller than any older one, so that both are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from umd_engine.models.mask import Triple
from umd_engine.models.nninteractive.folder import Settings
from umd_engine.models.nninteractive.pooling import dilated
from umd_engine.models.nninteractive.region import Region, hull, placed, triple


@dataclass(frozen=True, eq=False)
class Write:
    """Values [x, y, z] of a region, or one value [1, 1, 1] for all of it."""

    region: Region
    values: torch.Tensor


class Channels:
    """The interaction channels of one organ, without the previous segmentation.

    Instead of fading old prompts, every new one is written `1 / decay` times as strong, and all are divided by the
    newest's strength when a patch is made: as the official code does, rounding included.

    Args:
        dtype: float16 is the official code's.
    """

    def __init__(self, settings: Settings, shape: Triple, dtype: torch.dtype, device: torch.device):
        self.settings, self.shape, self.dtype, self.device = settings, shape, dtype, device
        self.clear()

    def clear(self) -> None:
        self.intensity = 1.0
        self.writes: dict[int, list[Write]] = {}

    def add_point(self, voxel: Triple, positive: bool) -> None:
        self._strengthen()
        values = ball(self.settings.radius)
        at = Region.around(voxel, triple(values.shape))
        inside = at.within(self.shape)
        written = torch.from_numpy(values)[inside.seen_from(at)] * self.intensity  # float64, as the official
        self._write("points", positive, Write(inside, written.to(self.dtype).to(self.device)))

    def add_box(self, box: Region, kind: str, positive: bool) -> None:
        """A box on channels of "bbox2d" or "bbox3d"."""
        self._strengthen()
        self._write(kind, positive, Write(box, self._filled()))

    def add_drawing(self, low: Triple, voxels: torch.Tensor, kind: str, positive: bool) -> None:
        """A "scribble" or "lasso": uint8 [x, y, z] from `low` on."""
        self._strengthen()
        region = Region((0, 0, 0), triple(voxels.shape)).moved(low)
        self._write(kind, positive, Write(region, voxels.to(self.device, self.dtype) * self._filled()))

    def render(self, channel: int, within: Region, radius: int = 0) -> tuple[Region, torch.Tensor] | None:
        """All that a channel has within a region: the smallest region that holds it, and its values there.

        Args:
            radius: every voxel is first widened to a cube of (2 radius + 1)^3, by the maximum, within the region.

        Returns:
            None where nothing is; the values are as strong as they were written.
        """
        seen = [(write, write.region.overlap(within)) for write in self.writes.get(channel, ())]
        seen = [(write, common) for write, common in seen if not common.empty]
        if not seen:
            return None
        whole = hull([common for _, common in seen]).grown(radius).overlap(within)
        out = torch.zeros(whole.size, dtype=self.dtype, device=self.device)
        for write, common in seen:
            wide = common.grown(radius).overlap(within)
            values = write.values.expand(write.region.size)[common.seen_from(write.region)]
            if radius:
                values = dilated(placed(values, common, wide), radius)
            view = out[wide.seen_from(whole)]
            torch.maximum(view, values, out=view)
        return whole, out

    def _write(self, kind: str, positive: bool, write: Write) -> None:
        pair: Sequence[int] = self.settings.pairs[kind]
        self.writes.setdefault(pair[0 if positive else 1], []).append(write)

    def _filled(self) -> torch.Tensor:
        return torch.full((1, 1, 1), self.intensity, dtype=self.dtype, device=self.device)

    def _strengthen(self) -> None:
        """The next prompt's strength; before the type overflows, all that is written is scaled down to a tenth."""
        self.intensity *= 1 / self.settings.decay
        most = float(torch.finfo(self.dtype).max)
        if self.intensity <= most:
            return
        scale = most / 10 / self.intensity
        for channel, writes in self.writes.items():
            self.writes[channel] = [Write(write.region, write.values * scale) for write in writes]
        self.intensity = most / 10


@lru_cache
def ball(radius: int) -> np.ndarray:
    """float64 [2r + 1]^3: distance (voxels) of a ball's voxels to the nearest outside it, as a share of the largest.

    Outside is searched for in the same cube only, as the official distance transform does.
    """
    axis = np.arange(-radius, radius + 1)
    at = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    inside = (at**2).sum(1) <= radius**2
    squares = ((at[inside][:, None] - at[~inside][None]) ** 2).sum(-1).min(1)
    values = np.zeros(len(at))
    values[inside] = np.sqrt(squares)
    return (values / values.max()).reshape((len(axis),) * 3)
