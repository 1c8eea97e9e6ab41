"""The tensors of `text_encoder.pth`, told apart by their shapes.

A language model of 768 channels (MPNet's or BERT's names, after any prefix), two linear layers, and a table with a
vector a modality. Only the language model's names are known; every other tensor must be one of these five.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from umd_engine.errors import CheckpointError
from umd_engine.models.sat.language import PLACES, WORDS, check_language, is_mpnet
from umd_engine.models.sat.options import MODALITIES
from umd_engine.models.sat.published import read_state
from umd_engine.models.sat.query_decoder import WIDTH

DROPPED = ("atlas_tower", "temperature")  # of its training
COUNTERS = ("position_ids", "token_type_ids")  # buffers of older versions
Linear = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, eq=False)
class TextState:
    """A text encoder's weights.

    Attributes:
        language: the language model's, without prefix.
        projection: two layers, each (weight, bias).
        modalities: [4 or more, 768], ct first.
        file: where they are from.
    """

    language: Mapping[str, torch.Tensor]
    projection: tuple[Linear, Linear]
    modalities: torch.Tensor
    file: Path

    @property
    def is_mpnet(self) -> bool:
        return is_mpnet(self.language)

    @property
    def vocabulary(self) -> int:
        return self.language[WORDS].shape[0]

    @property
    def longest(self) -> int:
        """Tokens that the language model has positions for; MPNet's begin at 2."""
        return self.language[PLACES].shape[0] - (2 if self.is_mpnet else 0)

    @property
    def all(self) -> dict[str, torch.Tensor]:
        """Every tensor under one name."""
        layers = {f"projection.{i}.{j}": t for i, layer in enumerate(self.projection) for j, t in enumerate(layer)}
        return {**self.language, **layers, "modalities": self.modalities}


def read_text_state(file: Path) -> TextState:
    """The weights of a text encoder's file.

    Raises:
        MissingFileError: no such file. CheckpointError: it does not hold what it should.
    """
    state = {
        key: tensor.float()
        for key, tensor in read_state(file, "").items()
        if not any(word in key for word in (*DROPPED, *COUNTERS))
    }
    prefixes = [key.removesuffix(WORDS) for key in state if key.endswith(WORDS)]
    if len(prefixes) != 1:
        raise CheckpointError(
            f"holds {len(prefixes)} language models, not one: not SAT's text encoder",
            where=file,
            mend="give the text_encoder.pth that is published beside the network's checkpoint",
        )
    own = (f"{prefixes[0]}embeddings.", f"{prefixes[0]}encoder.", f"{prefixes[0]}pooler.")
    language = {key.removeprefix(prefixes[0]): t for key, t in state.items() if key.startswith(own)}
    rest = {key: tensor for key, tensor in state.items() if not key.startswith(own)}
    check_language(language, file)
    return TextState(language, *_projection_and_modalities(rest, file), file)


def _projection_and_modalities(
    rest: Mapping[str, torch.Tensor], file: Path
) -> tuple[tuple[Linear, Linear], torch.Tensor]:
    stems = sorted((key.removesuffix(".bias") for key in rest if key.endswith(".bias")), key=_natural)
    layers = [(rest[f"{stem}.weight"], rest[f"{stem}.bias"]) for stem in stems if f"{stem}.weight" in rest]
    tables = [t for key, t in rest.items() if key.removesuffix(".weight") not in stems and not key.endswith(".bias")]
    if not (len(rest) == 5 and len(tables) == 1 and _is_projection(layers) and _is_table(tables[0])):
        shapes = [f"{key} {tuple(tensor.shape)}" for key, tensor in sorted(rest.items())]
        raise CheckpointError(
            "beside the language model there should be two linear layers of 768 channels and a table of a vector a "
            f"modality, and there is: {', '.join(shapes) or 'nothing'}",
            where=file,
            mend="give the text_encoder.pth that is published beside the network's checkpoint",
            unexpected=shapes,
        )
    return (layers[0], layers[1]), tables[0]


def _is_projection(layers: Sequence[Linear]) -> bool:
    """768 -> any number -> 768 channels."""
    if len(layers) != 2 or any(weight.ndim != 2 or bias.shape != weight.shape[:1] for weight, bias in layers):
        return False
    (first, _), (second, _) = layers
    return first.shape[1] == second.shape[0] == WIDTH and first.shape[0] == second.shape[1]


def _is_table(table: torch.Tensor) -> bool:
    return table.ndim == 2 and table.shape[0] >= len(MODALITIES) and table.shape[1] == WIDTH


def _natural(name: str) -> list[Any]:
    """Sorts numbers by their value: layer 2 before layer 10."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name)]
