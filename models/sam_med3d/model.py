"""SAM-Med3D-turbo as a model that points prompt."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from umd_engine.data.volume import Volume
from umd_engine.engine.staging import moved
from umd_engine.engine.together import in_turn, together
from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Program
from umd_engine.errors import UmdEngineError
from umd_engine.models.calls import Asked, Calls, Works, side_by_side
from umd_engine.models.checkpoint import hash_of_weights
from umd_engine.models.mask import Mask
from umd_engine.models.model import only_image
from umd_engine.models.prompts import PromptSource
from umd_engine.models.sam_med3d.axes import SPACING
from umd_engine.models.sam_med3d.lattice import Lattice
from umd_engine.models.sam_med3d.network import Network, Pieces, read_network
from umd_engine.models.sam_med3d.options import Options
from umd_engine.models.sam_med3d.prompt_encoder import CROP
from umd_engine.models.sam_med3d.protocol import Case, Organ


class SamMed3D:
    """A checkpoint of SAM-Med3D-turbo.

    Args:
        path: `sam_med3d_turbo.pth`.
        network: taken instead of the file's.

    Raises:
        MissingFileError, CheckpointError: the file cannot be used.
    """

    prompts = frozenset({"point"})

    def __init__(self, name: str, path: Path, options: Options, network: Network | None = None):
        self.name, self.options = name, options
        network = network or read_network(path, reduced=options.encoder == "reduced")
        self.weights = hash_of_weights(network.state_dict())
        self.pieces = Pieces(name, network)
        self.protocol: Mapping[str, Any] = {
            "name": "sam-med3d-turbo",
            **asdict(options),
            "crop": CROP,
            "spacing": SPACING,
        }

    @property
    def units(self) -> Sequence[Unit]:
        """The encoder and the decoder of one click; decoders of more are made when asked for."""
        return [self.pieces.encoder, self.pieces.decoder(1)]

    @property
    def crops_by_label(self) -> bool:
        return self.options.centre == "label"

    def nbytes(self, shape: tuple[int, int, int], spacing: tuple[float, float, float], organs: int) -> int:
        crop = CROP**3
        scan = math.prod(shape)
        pasted = min(scan, crop * SPACING**3 / math.prod(spacing))
        # float32 crop before and after its z-score, float32 logits and their sigmoid, masks of crop, lattice and scan
        organ = 4 * 4 * crop + 3 * crop + 2 * pasted
        return int(2 * 4 * scan + organs * organ)

    @property
    def preparation(self) -> Hashable:
        return "sam-med3d"

    def calls(self, shape: tuple[int, int, int], spacing: tuple[float, float, float], asked: Asked) -> Calls:
        """A crop an organ, encoded once and decoded at every step."""
        steps = range(len(asked.steps))
        organ = [Works(self.pieces.encoder, 1), *(Works(self.pieces.decoder(asked.points(step)), 1) for step in steps)]
        assumed = "one crop covers an organ" if self.options.cover else ""
        return Calls(tuple(side_by_side(organ, asked.organs, self.options.official)), assumed)

    def prepare(self, images: Sequence[Volume], device: torch.device) -> Case:
        """The scan in its file's order on the device; nothing is resampled before a crop is known.

        Raises:
            VoxelError: several channels. GeometryError: thinner than a voxel of 1.5 mm.
        """
        image = only_image(self.name, images)
        lattice = Lattice.of(image.grid)
        voxels = image.grid.to_file_order(image.voxels)
        # a copy in the memory's own order, native and writeable, as torch wants it
        copied = np.array(voxels, dtype=voxels.dtype.newbyteorder("="), order="K")
        return Case(moved(torch.from_numpy(copied), device), lattice)

    def segment(self, case: Case, sources: Sequence[PromptSource]) -> Program[list[Mask | UmdEngineError]]:
        programs: list[Program[Mask]] = []
        for source in sources:
            programs.append(Organ(case, source, self.pieces, self.options).run())
        side_by_side = in_turn if self.options.official else together
        return (yield from side_by_side(programs))
