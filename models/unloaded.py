"""A model that could not be loaded: its scans get a status, the other models go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import torch

from umd_engine.data.volume import Volume
from umd_engine.engine.unit import Unit
from umd_engine.errors import UmdEngineError
from umd_engine.models.calls import Asked
from umd_engine.models.catalog import Request, entry
from umd_engine.models.mask import Triple
from umd_engine.models.prompts import PromptSource


class UnloadedModel:
    """Stands where the model would; every case ends with the error that loading it raised.

    Args:
        organs: what its rows are about; nothing says what it would have segmented.
    """

    weights = "not loaded"
    units: Sequence[Unit] = ()

    def __init__(self, name: str, error: UmdEngineError, organs: Sequence[str]):
        self.name, self.error = name, error
        self.organs: Mapping[str, tuple[int, ...]] = dict.fromkeys(organs, ())
        self.protocol: Mapping[str, Any] = {"name": "not loaded"}

    def nbytes(self, shape: tuple[int, int, int], spacing: tuple[float, float, float], organs: int = 1) -> int:
        return 0

    def calls(self, shape: Triple, spacing: tuple[float, float, float], asked: Asked | None = None) -> NoReturn:
        raise self.error

    def prepare(self, images: Sequence[Volume], device: torch.device) -> NoReturn:
        raise self.error

    def segment(self, case: Any, sources: Sequence[PromptSource] = ()) -> NoReturn:
        raise self.error


class UnloadedPromptedModel(UnloadedModel):
    """The same for a model that waits for prompts: its rows are about every organ it would have been asked for.

    Args:
        prompts: what it would have taken.
    """

    crops_by_label = False

    def __init__(self, name: str, error: UmdEngineError, organs: Sequence[str], prompts: Sequence[str]):
        super().__init__(name, error, organs)
        self.prompts = frozenset(prompts)


def stand_in(request: Request, error: UmdEngineError, organs: Sequence[str]) -> UnloadedModel:
    """What takes the place of a model that the catalogue knows and that could not be loaded."""
    prompts = entry(request.name).prompts
    if prompts:
        return UnloadedPromptedModel(request.title, error, organs, prompts)
    return UnloadedModel(request.title, error, organs)
