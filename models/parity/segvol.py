"""SegVol recordings: the encoder's embedding and the decoder's logits for every combination of prompts."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch

from umd_engine.engine.unit import Unit
from umd_engine.errors import CorruptFileError
from umd_engine.models.parity.recipe import fill, normal
from umd_engine.models.parity.recording import Recording
from umd_engine.models.parity.result import Deviation, Measured
from umd_engine.models.ready import open_unit
from umd_engine.models.segvol.network import Network, PromptShape, build_network, decoder_unit, encoder_unit

ONNX_TOLERANCE = 1e-4  # of the range
VARIANTS = "none: the variants differ in prompts, not in the network"


def check_segvol(recording: Recording, backend: str, device: torch.device) -> Measured:
    """Every stored probe, its values and its statistics, as shares of the output's range."""
    spec = recording.spec
    network = _network(recording)
    image = torch.from_numpy(recording.image()).to(device)
    seed, name, shape = spec["text"]["normal"]
    text = torch.from_numpy(normal(seed, name, tuple(shape))).to(device)
    tolerance = spec["tolerance"]["of_range"] if backend == "torch" else ONNX_TOLERANCE
    embedding: torch.Tensor | None = None
    deviations = []
    for step in spec["steps"]:
        if "encode" in step:
            (embedding,) = _run(encoder_unit("segvol", network), (image,), backend, device)
            deviations.append(_compare(recording, step["encode"], embedding, tolerance))
            continue
        if embedding is None:
            raise CorruptFileError("a step decodes before one encodes", where=recording.path)
        unit, prompts = _decoder(network, step, text)
        (logits,) = _run(unit, (embedding, *(x.to(device) for x in prompts)), backend, device)
        deviations.append(_compare(recording, step["logits"], logits[:, None], tolerance))
    return Measured(tuple(deviations), VARIANTS)


def _network(recording: Recording) -> Network:
    network = build_network()
    own = network.state_dict()
    keys = recording.path.with_name(f"{recording.name}.keys.json")
    if keys.is_file():
        listed = {name: tuple(shape) for name, shape in json.loads(keys.read_text(encoding="utf-8")).items()}
        unlike = {name for name in own.keys() | listed.keys() if listed.get(name) != _shape(own, name)}
        if unlike:
            raise CorruptFileError(f"{len(unlike)} names or shapes differ, e.g. {min(unlike)}", where=keys)
    network.load_state_dict(fill(own, recording.spec["weights"]["state_dict"]["fill"]))
    return network


def _shape(state: dict[str, torch.Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(state[name].shape) if name in state else None


def _decoder(network: Network, step: dict[str, Any], text: torch.Tensor) -> tuple[Unit, list[torch.Tensor]]:
    shape = PromptShape(len(step.get("points", ())), "box" in step, bool(step.get("text")))
    prompts = [text if spec.name == "text" else torch.tensor([step[spec.name]]).float() for spec in shape.inputs]
    return decoder_unit("segvol", network, shape), prompts


def _run(unit: Unit, inputs: tuple[torch.Tensor, ...], backend: str, device: torch.device) -> tuple[torch.Tensor, ...]:
    return open_unit(unit, backend, device).run(inputs)


def _compare(recording: Recording, name: str, output: torch.Tensor, tolerance: float) -> Deviation:
    flat = output.cpu().numpy().astype(np.float32).ravel()
    values, stats = recording.stored(f"{name}/values"), recording.stored(f"{name}/stats")
    if tuple(output.shape) != tuple(recording.stored(f"{name}/shape")):
        return Deviation(name, float("inf"), tolerance)
    at = np.linspace(0, flat.size - 1, len(values)).astype(np.int64)
    found = np.array([flat.mean(dtype=np.float64), flat.std(dtype=np.float64), flat.min(), flat.max()])
    worst = np.concatenate([np.abs(flat[at] - values), np.abs(found - stats)]).max()  # NaN stays NaN
    return Deviation(name, float(worst / (stats[3] - stats[2])), tolerance)
