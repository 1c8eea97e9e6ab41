"""A description and its networks as a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from umd_engine.engine.work import Program
from umd_engine.models.calls import Calls
from umd_engine.models.custom.decide import label_ids, labels_of
from umd_engine.models.custom.described import Case, Described, grid_of, windows_of
from umd_engine.models.custom.description import Description
from umd_engine.models.custom.opening import Piece, open_network
from umd_engine.models.custom.points import PointModel
from umd_engine.models.custom.reading import read_description
from umd_engine.models.custom.sliding import sums_of
from umd_engine.models.custom.texts import TextModel
from umd_engine.models.custom.trust import Options
from umd_engine.models.custom.vectors import read_vectors
from umd_engine.models.model import Segmentation


class OwnModel(Described):
    """A described model without prompts, or one that is asked for one class after the other."""

    def __init__(self, name: str, description: Description, pieces: Sequence[Piece], source: str = "custom"):
        super().__init__(name, description, pieces, source)
        self.organs: Mapping[str, tuple[int, ...]] = label_ids(description.output)

    @property
    def _classes(self) -> list[int]:
        """The class numbers that a class-prompted network is asked for; empty for the others."""
        if self.description.prompts != "class":
            return []
        return [number for numbers in self.description.output.of_organ.values() for number in numbers]

    def nbytes(self, shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> int:
        return self.bytes_of(shape, spacing, len(self._classes) or self.description.output.channels)

    def calls(self, shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Calls:
        return Calls(self.works(grid_of(shape, spacing), len(self._classes) or 1), self.assumed)

    def segment(self, case: Case) -> Program[Segmentation]:
        frame, data = yield from self.lattice(case)
        output, classes = self.description.output, self._classes
        channels = 1 if classes else output.channels
        asked = [torch.tensor([number], device=data.device) for number in classes]
        sums = yield from sums_of(data, self.units[-1], windows_of(self.description), channels, asked)
        del data
        labels = labels_of(sums, frame, self.turn, output, classes)
        return Segmentation(labels.to(case.image.device), self.organs)  # sums may have gone to the host


def load_own(name: str, path: Path, options: Options) -> OwnModel | PointModel | TextModel:
    """The model of a description file.

    Raises:
        MissingFileError, ModelError, CheckpointError, UnsupportedModelError, OptionError, BackendError: see
        `read_description`, `open_network` and `read_vectors`.
    """
    description = read_description(path)
    channels = len(description.channels)
    pieces = [
        open_network(stage.network, stage, channels, description.told(stage), path, options.trust)
        for stage in description.stages
    ]
    if description.texts is not None:
        vectors = read_vectors(path.parent / description.texts.file, description.texts.length)
        files = {**pieces[-1].files, description.texts.file: vectors.digest}
        return TextModel(name, description, [*pieces[:-1], replace(pieces[-1], files=files)], vectors)
    return (PointModel if description.prompts == "point" else OwnModel)(name, description, pieces)
