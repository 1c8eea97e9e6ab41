"""A checkpoint examined: does it load strictly, which bytes is it, what is missing or too much."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from umd_engine.errors import BackendError, CheckpointError, DataError, ModelError, UmdEngineError
from umd_engine.models.catalog import Request, entry
from umd_engine.models.catalog.folder import sha256_of
from umd_engine.models.custom.described import Described
from umd_engine.models.custom.onnx_file import OnnxNetwork
from umd_engine.models.fetch.record import recorded_hash
from umd_engine.models.model import Model, PromptedModel, is_prompted


@dataclass(frozen=True)
class Checked:
    """What an examination found.

    Attributes:
        files: path -> SHA-256 of its bytes; a described model's network files as its description has them.
        weights: SHA-256 of all weights as results name it; empty where they did not load.
        parameters: of the network's pieces that a run calls; 0 where they did not load.
        faults: a sentence each; empty where all is well.
        missing, unexpected, shapes: as of `CheckpointError`, all names.
    """

    model: str
    path: Path
    files: Mapping[str, str]
    weights: str
    parameters: int
    prompts: tuple[str, ...]
    options: Mapping[str, Any]
    faults: tuple[str, ...]
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()


def check(request: Request, settings: Mapping[str, str]) -> Checked:
    """Load a checkpoint strictly and hash it; faults are part of the answer.

    Raises:
        UnknownNameError, OptionError: of the settings.
    """
    known = entry(request.name)
    files = {str(path): sha256_of(path) for path in known.checkpoint.files(request.path) if path.is_file()}
    faults = list(_against_record(files))
    loaded, error = _loaded(request, settings)
    if error is not None:
        faults.append(str(error))
    if isinstance(loaded, Described):
        files |= {file: digest for file, digest in loaded.protocol["files"].items() if digest not in files.values()}
        faults += _opened(loaded)
    named = error if isinstance(error, CheckpointError) else CheckpointError("none")
    return Checked(
        request.title,
        request.path,
        files,
        loaded.weights if loaded else "",
        count_parameters(loaded) if loaded else 0,
        tuple(sorted(loaded.prompts)) if loaded and is_prompted(loaded) else known.prompts,
        {**known.defaults, **settings},
        tuple(faults),
        named.missing,
        named.unexpected,
        named.shapes,
    )


def count_parameters(model: Model | PromptedModel) -> int:
    """Trainable numbers in the units; a tensor that several share counts once, buffers do not."""
    own: dict[int, torch.nn.Parameter] = {}
    for unit in model.units:
        own.update((id(parameter), parameter) for parameter in unit.module.parameters())
    return sum(parameter.numel() for parameter in own.values())


def _loaded(
    request: Request, settings: Mapping[str, str]
) -> tuple[Model | PromptedModel | None, UmdEngineError | None]:
    try:
        return request.load(settings), None
    except (ModelError, DataError) as error:
        return None, error


def _opened(model: Described) -> Iterator[str]:
    """What keeps ONNX Runtime from opening a network file."""
    for unit in model.units:
        network = unit.module.network
        if isinstance(network, OnnxNetwork):
            try:
                network.open(torch.device("cpu"))
            except BackendError as error:
                yield str(error)


def _against_record(files: Mapping[str, str]) -> Iterator[str]:
    for path, digest in files.items():
        wanted = recorded_hash(Path(path))
        if wanted not in (None, digest):
            yield f"{path}: its SHA-256 is not the one of the download ({wanted}) (remove it and fetch again)"
