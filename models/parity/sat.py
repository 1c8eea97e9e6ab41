"""SAT recordings: logits of a small patch, the organs' queries given."""

from __future__ import annotations

import json

import numpy as np
import torch

from umd_engine.errors import CorruptFileError
from umd_engine.models.parity.recipe import fill, normal
from umd_engine.models.parity.recording import Recording
from umd_engine.models.parity.result import Deviation, Measured
from umd_engine.models.ready import open_unit
from umd_engine.models.sat.network import SIZES, Network, build_network, network_unit
from umd_engine.models.sat.published import aliases_of

ONNX_TOLERANCE = 1e-4  # of the range
VARIANTS = "none: the variants differ in the protocol, not in the network"


def check_sat(recording: Recording, backend: str, device: torch.device) -> Measured:
    """The stored probe, its values and its statistics, as shares of the output's range."""
    spec = recording.spec
    network = _network(recording)
    seed, name, shape = spec["queries"]["normal"]
    queries = torch.from_numpy(normal(seed, name, tuple(shape)))[None].to(device)
    image = torch.from_numpy(recording.image()).to(device)
    h, w, d = spec["patch"]
    unit = network_unit(recording.model, network, queries.shape[1], (h, w, d))
    (logits,) = open_unit(unit, backend, device).run((image, queries))
    tolerance = spec["tolerance"]["of_range"] if backend == "torch" else ONNX_TOLERANCE
    found = logits.cpu().numpy().astype(np.float32)
    deviations = [_compare(recording, step["logits"], found, tolerance) for step in spec["steps"]]
    return Measured(tuple(deviations), VARIANTS)


def _network(recording: Recording) -> Network:
    """The network filled as the recording says, its names those of the keys file where there is one."""
    network = build_network(SIZES[recording.model])
    own = network.state_dict()
    aliases = aliases_of(own)
    keys = recording.path.with_name(f"{recording.name}.keys.json")
    if keys.is_file():
        said = json.loads(keys.read_text(encoding="utf-8"))
        shapes = {name: list(tensor.shape) for name, tensor in own.items()}
        unlike = {name for name in shapes.keys() | said["shapes"] if shapes.get(name) != said["shapes"].get(name)}
        unlike |= {name for name, _ in aliases.items() ^ said["same_tensor_as"].items()}
        if unlike:
            raise CorruptFileError(f"{len(unlike)} names or shapes differ, e.g. {min(unlike)}", where=keys)
    named = {name: tensor for name, tensor in own.items() if name not in aliases}
    filled = fill(named, recording.spec["weights"]["state_dict"]["fill"])
    network.load_state_dict(filled | {alias: filled[name] for alias, name in aliases.items()})
    return network


def _compare(recording: Recording, name: str, output: np.ndarray, tolerance: float) -> Deviation:
    values, stats = recording.stored(f"{name}/values"), recording.stored(f"{name}/stats")
    if output.shape != tuple(recording.stored(f"{name}/shape")):
        return Deviation(name, float("inf"), tolerance)
    at = np.linspace(0, output.size - 1, len(values)).astype(np.int64)
    found = np.array([output.mean(dtype=np.float64), output.std(dtype=np.float64), output.min(), output.max()])
    worst = np.concatenate([np.abs(output.ravel()[at] - values), np.abs(found - stats)]).max()  # NaN stays NaN
    return Deviation(name, float(worst / (stats[3] - stats[2])), tolerance)
