"""A model that could not be loaded: its scans get a status, the other models go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import torch

from umd_engine.data.volume import Volume
from umd_engine.engine.unit import Unit
from umd_engine.errors import UmdEngineError


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

    def nbytes(self, shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> int:
        return 0

    def prepare(self, images: Sequence[Volume], device: torch.device) -> NoReturn:
        raise self.error

    def segment(self, case: Any) -> NoReturn:
        raise self.error
