"""The frozen plan of a run: everything that decides a result, under one hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from umd_engine.models.model import Model, PromptedModel


@dataclass(frozen=True)
class Plan:
    """What a result depends on besides the scan.

    Attributes:
        weights: SHA-256 of all weights.
        protocol: name, variant and every option.
        precision, backend: how the network ran; fp16 is another run.
        seed: the run's seed, of which every random draw's Philox key is made.
        prompt: how a prompted model is asked; None for the others, whose plans say nothing of it.
    """

    model: str
    weights: str
    protocol: Mapping[str, Any]
    precision: str
    backend: str
    seed: int
    prompt: Mapping[str, Any] | None = None

    @classmethod
    def of(
        cls,
        model: Model | PromptedModel,
        precision: str,
        backend: str,
        seed: int,
        prompt: Mapping[str, Any] | None = None,
    ) -> Plan:
        return cls(model.name, model.weights, dict(model.protocol), precision, backend, seed, prompt)

    @property
    def json(self) -> str:
        values = {name: value for name, value in asdict(self).items() if name != "prompt" or value is not None}
        return json.dumps(values, sort_keys=True, indent=1)

    @property
    def hash(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the JSON."""
        return hashlib.sha256(self.json.encode()).hexdigest()[:16]
