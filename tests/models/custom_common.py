"""What the tests of models of one's own share: small networks, files of every format, descriptions."""

import copy

import numpy as np
import torch
import yaml

from umd_engine.data.volume import Volume
from umd_engine.engine.executor import run_program
from umd_engine.models.catalog import Request
from umd_engine.models.ready import open_unit, runtime_of

PATCH = (16, 12, 20)
PYTHON = """
import torch
def build():
    torch.manual_seed(3)
    first, last = torch.nn.Conv3d({inputs}, 4, 3, padding=1), torch.nn.Conv3d(4, {heads}, 3, padding=1)
    return torch.nn.Sequential(first, torch.nn.GELU(), last)
"""


def small_network(inputs=1, heads=3):
    torch.manual_seed(3)
    return torch.nn.Sequential(
        torch.nn.Conv3d(inputs, 4, 3, padding=1), torch.nn.GELU(), torch.nn.Conv3d(4, heads, 3, padding=1)
    ).eval()


def save_as(kind, folder, network, patch=PATCH, inputs=1):
    """The network's file, and the `network` of its description."""
    example = torch.randn(2, inputs, *patch)
    if kind == "python":
        (folder / "net.py").write_text(PYTHON.format(inputs=inputs, heads=network[-1].out_channels))
        torch.save({"net": network.state_dict()}, folder / "w.pth")
        return {"format": "python", "file": "net.py", "function": "build", "weights": "w.pth", "weights_key": "net"}
    if kind == "torchscript":
        torch.jit.trace(network, example).save(str(folder / "net.pt"))
        return {"format": "torchscript", "file": "net.pt"}
    if kind == "pt2":
        program = torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("n", max=64)},))
        torch.export.save(program, folder / "net.pt2")
        return {"format": "pt2", "file": "net.pt2"}
    torch.onnx.export(
        network, (example,), str(folder / "net.onnx"), dynamo=True, opset_version=20, verbose=False,
        external_data=False, dynamic_shapes=({0: torch.export.Dim("n", max=64)},),
    )  # fmt: skip
    return {"format": "onnx", "file": "net.onnx"}


BASE = {
    "umd_engine": 1,
    "name": "mine",
    "channels": ["ct"],
    "grid": {"spacing": [2.0, 2.0, 3.0]},
    "intensity": [{"rule": "window", "low": -100.0, "high": 200.0}],
    "windows": {"patch": list(PATCH), "overlap": 0.5},
    "output": {"channels": 3, "organs": {"liver": 1, "spleen": 2}},
}


def describe(folder, network, name="mine.yaml", **changes):
    """A description file; a change of None takes the key away, dots lead into a part."""
    content = copy.deepcopy(BASE) | {"network": network}
    for key, value in changes.items():
        *way, last = key.split("__")
        place = content
        for step in way:
            place = place.setdefault(step, {})
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    path = folder / name
    path.write_text(yaml.safe_dump(content))
    return path


def scan(shape=(31, 27, 22), spacing=(1.5, 2.5, 2.0), seed=0, smooth=4):
    """A CT-like volume, oblique to nothing, in RAS+."""
    rng = np.random.default_rng(seed)
    coarse = rng.standard_normal([-(-n // smooth) for n in shape]) * 120
    voxels = (
        np.kron(coarse, np.ones((smooth,) * 3))[: shape[0], : shape[1], : shape[2]] + rng.standard_normal(shape) * 20
    )
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (-20, 5, 7)
    return Volume.from_array(voxels.astype(np.int16), affine)


def load(path, trust=True):
    return Request.parse(str(path)).load({"trust": str(path)} if trust else {})


def segment(model, *images):
    opened = {unit: open_unit(unit, runtime_of(unit) or "torch", torch.device("cpu")) for unit in model.units}
    case = model.prepare(images, torch.device("cpu"))
    return run_program(model.segment(case), opened.__getitem__)
