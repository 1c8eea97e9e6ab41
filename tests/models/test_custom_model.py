"""Models of one's own against plain torch and MONAI: formats, grids, intensities, windows, class prompts, localiser."""

import json

import numpy as np
import pytest
import torch
from custom_common import PATCH, describe, load, save_as, scan, segment, small_network
from memory_common import peak
from torch.nn.functional import interpolate

from umd_engine.data.nifti import write
from umd_engine.errors import BackendError, ModelError
from umd_engine.evaluation.run import Prediction, Settings
from umd_engine.models.ready import open_unit


def differing(a, b):
    return int((torch.as_tensor(np.ascontiguousarray(a)) != torch.as_tensor(np.ascontiguousarray(b))).sum())


@pytest.mark.parametrize("kind", ["onnx", "torchscript", "pt2", "python"])
def test_every_format_gives_what_the_network_gives(kind, tmp_path):
    network, image = small_network(), scan()
    path = describe(tmp_path, save_as(kind, tmp_path, network, (24, 16, 8)), grid__shape=[24, 16, 8],
                    grid__spacing=None, windows=None)  # fmt: skip
    model = load(path)
    found = segment(model, image)
    data = interpolate(torch.tensor(image.voxels.astype(np.float32))[None, None], (24, 16, 8), mode="trilinear")
    with torch.no_grad():
        values = torch.softmax(network(((data + 100) / 300).clamp(0, 1)), 1)
    wanted = interpolate(values, image.shape, mode="trilinear")[0].argmax(0)
    assert differing(found.labels, wanted.to(torch.uint8)) <= 2
    assert set(torch.unique(found.labels).tolist()) == {0, 1, 2}
    assert model.organs == {"liver": (1,), "spleen": (2,)}
    assert model.protocol["trusted"] == ([] if kind == "onnx" else [kind])
    assert json.dumps(dict(model.protocol)) and str(tmp_path) not in json.dumps(dict(model.protocol))


@pytest.mark.parametrize("blending", ["constant", "gaussian-centred"])
@pytest.mark.parametrize(
    ("orientation", "spacing"),
    [("RAS", (1.5, 2.5, 2.0)), ("LPS", (1.5, 2.5, 2.0)), ("SRA", (1.5, 2.5, 2.0)), ("RAS", (1.99, 2.0, 3.01)),
     ("LPS", (2.0005, 1.9995, 3.4)), ("RAS", (2.0, 2.0, 3.0)), ("RAS", (1.0, 1.0, 1.5))],
)  # fmt: skip
def test_windows_and_spacing_are_monais(orientation, spacing, blending, tmp_path):
    from monai.data import MetaTensor
    from monai.inferers import sliding_window_inference
    from monai.transforms import Orientation, Spacing

    network, image = small_network(), scan(spacing=spacing)
    changes = {"windows__overlap": 0.3, "windows__blending": blending, "windows__placing": "flush",
               "grid__placing": "first-voxel", "orientation": orientation}  # fmt: skip
    model = load(describe(tmp_path, save_as("torchscript", tmp_path, network), **changes))
    found = segment(model, image)

    given = MetaTensor(torch.tensor(image.voxels.astype(np.float32))[None], affine=torch.tensor(image.affine))
    turn, space = Orientation(orientation, labels=None), Spacing((2.0, 2.0, 3.0))
    data = space(turn(given))
    done, affine = data.applied_operations, data.affine
    mode = "constant" if blending == "constant" else "gaussian"
    with torch.no_grad():
        shown = ((data.as_tensor() + 100) / 300).clamp(0, 1)
        logits = sliding_window_inference(shown[None], PATCH, 2, network, overlap=0.3, mode=mode)[0]
    values = torch.softmax(logits, 0)
    wanted = turn.inverse(space.inverse(MetaTensor(values, applied_operations=done, affine=affine)))
    assert tuple(wanted.shape[1:]) == image.shape
    assert differing(found.labels, wanted.as_tensor().argmax(0).to(torch.uint8)) <= 5


def test_a_fixed_grid_with_windows_takes_no_more_than_it_declares(tmp_path):
    network = save_as("torchscript", tmp_path, small_network())
    model = load(describe(tmp_path, network, grid={"shape": [96, 96, 96]}, windows__overlap=0.0))
    image = scan((40, 40, 40))
    assert peak(lambda: segment(model, image)) < model.nbytes(image.shape, image.spacing) < 120e6


def test_weights_that_python_code_reads_itself_are_part_of_what_it_is(tmp_path):
    (tmp_path / "net.py").write_text(
        "import torch\ndef build():\n    network = torch.nn.Conv3d(1, 3, 1)\n"
        f"    network.load_state_dict(torch.load({str(tmp_path / 'w.pth')!r}))\n    return network\n"
    )
    path = describe(tmp_path, {"format": "python", "file": "net.py", "function": "build"})
    state = torch.nn.Conv3d(1, 3, 1).state_dict()
    torch.save(state, tmp_path / "w.pth")
    first, same = load(path), load(path)
    assert first.weights == same.weights and first.protocol == same.protocol
    torch.save({name: 2 * values for name, values in state.items()}, tmp_path / "w.pth")
    other = load(path)
    assert first.weights != other.weights and first.protocol != other.protocol


def test_windows_smaller_than_a_patch_are_padded_evenly(tmp_path):
    from monai.inferers import sliding_window_inference

    network, image = small_network(), scan((9, 30, 11))
    changes = {"windows__overlap": 0.25, "windows__blending": "constant", "windows__placing": "flush", "grid": None}
    found = segment(load(describe(tmp_path, save_as("torchscript", tmp_path, network), **changes)), image)
    data = ((torch.tensor(image.voxels.astype(np.float32)) + 100) / 300).clamp(0, 1)[None, None]
    with torch.no_grad():
        wanted = sliding_window_inference(data, PATCH, 1, network, overlap=0.25)[0].argmax(0)
    assert differing(found.labels, wanted.to(torch.uint8)) <= 2


class Classes(torch.nn.Module):
    """Answers for the class that it is asked for: the image within a band of values."""

    def forward(self, image: torch.Tensor, number: torch.Tensor) -> torch.Tensor:
        middle = number.to(image.dtype).view(-1, 1, 1, 1, 1) * 0.2
        return 0.1 - (image - middle).abs()


def test_classes_are_asked_one_by_one(tmp_path):
    image = scan()
    torch.jit.script(Classes()).save(str(tmp_path / "net.pt"))
    path = describe(
        tmp_path, {"format": "torchscript", "file": "net.pt"}, prompts="class", grid=None,
        output={"channels": 200, "threshold": 0.0, "activation": "none", "organs": {"a": 3, "b": [1, 4]}},
    )  # fmt: skip
    found = segment(load(path), image)
    value = ((torch.tensor(image.voxels.astype(np.float32)) + 100) / 300).clamp(0, 1)
    assert found.organs == {"a": (4,), "b": (2, 5)}
    for number in (1, 3, 4):
        inside = 0.1 - (value - 0.2 * number).abs() > 1e-6
        clear = inside | (0.1 - (value - 0.2 * number).abs() < -1e-6)
        assert bool(((found.labels == number + 1) == inside)[clear].all())


class Bright(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([1 - image, image], 1)


def test_a_localiser_sends_the_network_to_a_box(tmp_path):
    """The network sees the mean of its window: it tells how large the box was."""
    voxels = np.zeros((40, 40, 40), np.int16)
    voxels[20:30, 10:14, 6:26] = 100
    image = scan((40, 40, 40)).with_voxels(voxels)
    torch.jit.script(Bright()).save(str(tmp_path / "net.pt"))
    network = {"format": "torchscript", "file": "net.pt"}
    box = {"network": network, "grid": {"shape": [20, 20, 20], "interpolation": "nearest"},
           "intensity": [{"rule": "quantiles", "low": 0, "high": 1}], "margin": 0.25,
           "output": {"channels": 2, "channel": 1, "activation": "none"}}  # fmt: skip
    path = describe(
        tmp_path, network, grid={"shape": [10, 10, 10], "interpolation": "nearest"}, windows=None, localiser=box,
        intensity=[{"rule": "quantiles", "of": "localiser"}],
        output={"channels": 2, "activation": "none", "threshold": 0.5, "interpolation": "nearest", "organs": {"x": 1}},
    )  # fmt: skip
    found = segment(load(path), image).labels == 2
    where = np.argwhere(found.numpy())
    low, high = where.min(0), where.max(0) + 1
    # the box is half as long again; its voxels become ten an axis, so edges are off by at most one of those
    steps = np.array([15, 6, 30]) / 10
    assert (np.abs(low - (20, 10, 6)) <= steps).all() and (np.abs(high - (30, 14, 26)) <= steps).all()
    assert not found[:, :5].any() and not found[:15].any()


def test_a_box_has_a_voxel_at_least():
    """A localiser on a lattice much finer than a thin scan."""
    from umd_engine.engine.accumulator import Sums
    from umd_engine.models.custom.box import box_of
    from umd_engine.models.custom.description import Localiser
    from umd_engine.models.custom.frame import Frame

    network = {"format": "onnx", "file": "x"}
    output = {"channels": 1, "channel": 0, "activation": "none"}
    rule = Localiser.model_validate({"network": network, "grid": {"shape": (16, 16, 16)}, "output": output})
    frame = Frame((3, 16, 40), (0, 0, 0), (3, 16, 40), (16, 16, 16), None, 1)
    for at in range(16):
        values = torch.zeros(1, 16, 16, 16)
        values[0, at, at, at] = 1
        low, high = box_of(Sums(values), frame, rule)
        assert all(0 <= a < b <= n for a, b, n in zip(low, high, frame.full, strict=True)), (low, high)
    assert box_of(Sums(torch.zeros(1, 16, 16, 16)), frame, rule) is None
    strict = rule.model_copy(update={"otherwise": "error"})
    with pytest.raises(ModelError, match="finds nothing"):
        box_of(Sums(torch.zeros(1, 16, 16, 16)), frame, strict)


def test_largest_component_and_holes(tmp_path):
    voxels = np.zeros((24, 24, 24), np.int16)
    voxels[2:14, 2:14, 2:14] = 100
    voxels[6:8, 6:8, 6:8] = 0
    voxels[18:20, 18:20, 18:20] = 100
    image = scan((24, 24, 24)).with_voxels(voxels)
    torch.jit.script(Bright()).save(str(tmp_path / "net.pt"))
    output = {"channels": 2, "activation": "none", "threshold": 0.5, "organs": {"x": 1}}
    common = {"grid": None, "intensity": [{"rule": "window", "low": 0, "high": 100}]}
    network = {"format": "torchscript", "file": "net.pt"}
    plain = segment(load(describe(tmp_path, network, output=output, **common)), image)
    assert int((plain.labels != 0).sum()) == 12**3 - 8 + 8
    largest = describe(tmp_path, network, output={**output, "largest_component": True}, **common)
    assert int((segment(load(largest), image).labels != 0).sum()) == 12**3 - 8
    filled = describe(tmp_path, network, output={**output, "largest_component": ["x"], "fill_holes": True}, **common)
    assert int((segment(load(filled), image).labels != 0).sum()) == 12**3


def test_two_channels_and_rules_of_one(tmp_path):
    network, image, other = small_network(inputs=2), scan(), scan(seed=1)
    path = describe(
        tmp_path, save_as("torchscript", tmp_path, network, inputs=2), grid=None, channels=["ct", "pet"],
        intensity_of={"pet": [{"rule": "zscore"}, {"rule": "affine", "scale": 2.0, "offset": -1.0}]},
        windows={"patch": [32, 28, 24], "blending": "constant"},
    )  # fmt: skip
    found = segment(load(path), image, other)
    first = ((torch.tensor(image.voxels.astype(np.float32)) + 100) / 300).clamp(0, 1)
    second = torch.tensor(other.voxels.astype(np.float32))
    second = (second - second.mean()) / second.std(correction=0) * 2 - 1
    padded = torch.zeros(1, 2, 32, 28, 24)
    padded[0, :, :31, :27, 1:23] = torch.stack([first, second])
    with torch.no_grad():
        wanted = network(padded)[0, :, :31, :27, 1:23].argmax(0)
    assert differing(found.labels, wanted.to(torch.uint8)) <= 2


def test_a_run_with_an_onnx_model_records_it(tmp_path):
    from umd_engine.data.manifest import read_manifest
    from umd_engine.evaluation.loading import load_models, parse_requests

    path = describe(tmp_path, save_as("onnx", tmp_path, small_network()))
    write(tmp_path / "a.nii.gz", scan(), "")
    (tmp_path / "scans.csv").write_text("cohort,subject,scan_id,modality,image,unit\npetct,s,1,ct,a.nii.gz,HU\n")
    rows = read_manifest(tmp_path / "scans.csv")
    models = load_models(parse_requests([str(path)], []), rows, ())
    with pytest.raises(BackendError, match="--backend onnxruntime"):
        open_unit(models[0].units[0], "torch", torch.device("cpu"))
    with pytest.raises(BackendError, match="fp32"):
        open_unit(models[0].units[0], "onnxruntime", torch.device("cpu"), "bf16")
    work = Prediction(rows, models, tmp_path / "run", Settings(backend="onnxruntime"))
    assert [ended.error for ended in work.run()] == [None] and len(work.masks()) == 1
    (plan,) = (tmp_path / "run" / "plans").glob("*.json")
    said = json.loads(plan.read_text())
    assert said["model"] == "mine" and said["protocol"]["trusted"] == []
    assert list(said["protocol"]["files"]) == ["network:net.onnx"]
