"""What all described models have in common: open networks, preparing, and the localiser."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from umd_engine.data.volume import Grid, Volume
from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Program
from umd_engine.errors import VoxelError
from umd_engine.models.calls import CUT, Works
from umd_engine.models.custom.box import box_of
from umd_engine.models.custom.description import Description, Localiser, Stage, Windows
from umd_engine.models.custom.frame import Frame, Turn, frame_of
from umd_engine.models.custom.intensity import Measured, apply_rules
from umd_engine.models.custom.opening import Piece, unit_of
from umd_engine.models.custom.sliding import lines_of, sums_of


@dataclass(frozen=True, eq=False)
class Case:
    """A scan as its networks' orientation has it.

    Attributes:
        image: float32 [C, ...] in the description's axes.
        where: the first image's path, for errors.
    """

    image: torch.Tensor
    grid: Grid
    where: Path | None


class Described:
    """A described model whose networks are open.

    Args:
        pieces: the networks of `description.stages`, in their order.
        source: what the description was made from, for the protocol ("custom", "monai-bundle").
    """

    def __init__(self, name: str, description: Description, pieces: Sequence[Piece], source: str = "custom"):
        self.name, self.description = name, description
        self.turn = Turn.of(description.orientation)
        names = ["network"] if len(pieces) == 1 else ["localiser", "network"]
        channels = len(description.channels)
        self.units: Sequence[Unit] = [
            unit_of(f"{name}.{part}", piece, stage, channels, description.told(stage))
            for part, piece, stage in zip(names, pieces, description.stages, strict=True)
        ]
        files = {
            f"{part}:{file}": digest
            for part, piece in zip(names, pieces, strict=True)
            for file, digest in piece.files.items()
        }
        self.weights = hashlib.sha256("".join(files.values()).encode()).hexdigest()
        code = sorted({piece.code for piece in pieces if piece.code})
        self.protocol: Mapping[str, Any] = {
            "name": source,
            "description": description.model_dump(mode="json", exclude={"summary", "licence"}),
            "files": files,
            "trusted": code,  # formats that ran code of their own, with --trust
        }

    def bytes_of(self, shape: tuple[int, int, int], spacing: tuple[float, float, float], heads: int) -> int:
        """Bytes that a scan of this shape and spacing (mm) holds; `heads` of the network proper are summed."""
        here, channels, most = math.prod(shape), len(self.description.channels), 0
        for stage in self.description.stages:
            there = math.prod(stage.patch)
            if stage.grid.spacing is not None:
                there = max(there, int(here * math.prod(spacing) / math.prod(stage.grid.spacing)))
            else:
                there = max(there, here if stage.grid.shape is None else math.prod(stage.grid.shape))
            assert isinstance(stage, Description | Localiser)
            summed = heads if stage is self.description else stage.output.channels
            most = max(most, 4 * there * (2 * channels + 2 * summed + 1))
        return int(4 * channels * here + most + 14 * here)  # the sums, their copy as values; labels and two heads

    def localiser_works(self, grid: Grid) -> tuple[Works, ...]:
        stage = self.description.localiser
        return () if stage is None else (Works(self.units[0], self.count_windows(stage, grid)),)

    def works(self, grid: Grid, asked: int = 1) -> tuple[Works, ...]:
        """A pass of the windows over a whole scan that asks for so many classes or texts in each."""
        windows = self.count_windows(self.description, grid)
        return *self.localiser_works(grid), Works(self.units[-1], windows * asked)

    @property
    def assumed(self) -> str:
        return f"{CUT} by the localiser" if self.description.localiser is not None else ""

    def count_windows(self, stage: Stage, grid: Grid) -> int:
        """Of a stage over a whole scan."""
        windows = windows_of(stage)
        found = frame_of(stage.grid, grid, self.turn).shape
        x, y, z = (max(n, patch) for n, patch in zip(found, windows.patch, strict=True))
        return math.prod(map(len, lines_of((x, y, z), windows)))

    def prepare(self, images: Sequence[Volume], device: torch.device) -> Case:
        """Images as channels on one grid, in the order of the description's `channels`."""
        wanted = self.description.channels
        if len(images) != len(wanted):
            raise VoxelError(
                f"{self.name} takes {len(wanted)} channels ({', '.join(wanted)}), the scan has {len(images)}",
                where=images[0].path,
                mend="list one image a channel in the manifest",
            )
        stacked = torch.stack([torch.from_numpy(image.voxels.astype(np.float32)) for image in images]).to(device)
        return Case(self.turn.there(stacked), images[0].grid, images[0].path)

    def lattice(self, case: Case) -> Program[tuple[Frame, torch.Tensor]]:
        """What the network proper sees, [C, *lattice], and where that lies; asks the localiser where there is one."""
        box, borrowed = None, [list[tuple[float, float]]() for _ in self.description.channels]
        localiser = self.description.localiser
        if localiser is not None:
            frame = frame_of(localiser.grid, case.grid, self.turn)
            data, borrowed = self._shown(case, frame, localiser, borrowed)
            found = yield from sums_of(data, self.units[0], windows_of(localiser), localiser.output.channels)
            box = box_of(found, frame, localiser)
        frame = frame_of(self.description.grid, case.grid, self.turn, box)
        data, _ = self._shown(case, frame, self.description, borrowed)
        return frame, data

    def _shown(
        self, case: Case, frame: Frame, stage: Stage, borrowed: Sequence[Measured]
    ) -> tuple[torch.Tensor, list[Measured]]:
        """What a stage's network sees, [C, *lattice], and the quantiles measured on it."""
        channels, measured = [], []
        for name, image, lent in zip(self.description.channels, case.image, borrowed, strict=True):
            channel = frame.onto_lattice(image)
            measured.append(apply_rules(channel, stage.rules(name), lent, case.where))
            channels.append(channel)
        return torch.stack(channels), measured


def grid_of(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Grid:
    """A scan's grid where nothing else is known of it."""
    return Grid(shape, np.diag([*spacing, 1.0]), spacing)


def windows_of(stage: Stage) -> Windows:
    """One window where the network sees the whole at once."""
    return stage.windows or Windows(patch=stage.patch, blending="constant")
