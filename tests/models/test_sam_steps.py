"""Every step around SAM-Med3D's network against the official functions, on oblique, anisotropic scans and on ties.

The recordings are made by tests/recordings/record_sam_med3d.py.
"""

import json
from itertools import count
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from umd_engine.data.nifti import read, read_labels
from umd_engine.engine.executor import run_program
from umd_engine.engine.together import in_turn
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.models.mask import Mask
from umd_engine.models.parity import recipe
from umd_engine.models.prompts import Click, Prompt, voxel_of, world_of
from umd_engine.models.ready import open_unit
from umd_engine.models.sam_med3d import crops
from umd_engine.models.sam_med3d.lattice import Lattice
from umd_engine.models.sam_med3d.options import Options
from umd_engine.models.sam_med3d.protocol import Case, Organ

FOLDER = Path(__file__).parents[1] / "recordings" / "sam_med3d"
CASES = json.loads((FOLDER / "steps.json").read_text())
CPU = torch.device("cpu")
torch.set_num_threads(1)


class Scan:
    """A case's files as they were recorded, read by our readers, and what the official code made of them."""

    def __init__(self, case, folder, official):
        with np.load(FOLDER / "steps.npz") as stored:
            self.stored = {key.partition("/")[2]: stored[key] for key in stored if key.startswith(case["name"] + "/")}
        shape = tuple(case["shape"])
        image = recipe.volume(case["seed"], case["name"], shape) * np.float32(case["times"]) + np.float32(case["plus"])
        labels = self.bits("labels", shape) + 2 * self.bits("labels2", shape)
        for number in (1, 2):
            image[labels == number] += np.float32(case["times"] * 0.1 * number)
        volumes = []
        for name, voxels in (("image", image.astype(case["dtype"])), ("label", labels)):
            nii = nib.Nifti1Image(voxels, np.array(case["affine"]))
            nii.set_qform(np.array(case["affine"]), code=1)
            nii.set_sform(np.array(case["affine"]), code=1)
            nib.save(nii, folder / f"{name}.nii")
            volumes.append((read if name == "image" else read_labels)(folder / f"{name}.nii"))
        self.volume, self.labels = volumes
        self.grid, self.official = self.volume.grid, official
        self.lattice = Lattice.of(self.grid)
        voxels = np.array(self.grid.to_file_order(self.volume.voxels), order="K")
        self.case = Case(torch.from_numpy(voxels), self.lattice)
        self.label = self.lattice.label(self.organ(1))

    def organ(self, number):
        return Mask.of(torch.from_numpy(np.ascontiguousarray(self.labels.voxels == number)))

    def bits(self, name, shape):
        return np.unpackbits(self.stored[name])[: np.prod(shape)].reshape(shape)

    def crop(self, begin=None):
        return crops.image_crop(self.case.image, self.lattice, begin or crops.centred_on(self.label), self.official)

    def off(self, name, values):
        """The largest deviation from a stored probe in shares of its range."""
        at = np.linspace(0, values.numel() - 1, len(self.stored[f"{name}/values"])).astype(np.int64)
        assert tuple(values.shape) == tuple(self.stored[f"{name}/shape"])
        low, high = self.stored[f"{name}/stats"][2:]
        error = np.abs(values.numpy().ravel()[at] - self.stored[f"{name}/values"]) / (high - low)
        return error.max()


@pytest.fixture(params=[(case, variant) for case in CASES for variant in ("official", "engine")],
                ids=lambda p: f"{p[0]['name']}-{p[1]}")  # fmt: skip
def scan(request, tmp_path):
    case, variant = request.param
    return Scan(case, tmp_path, variant == "official")


def toy_mask():
    """The mask that the recording pastes back: smooth noise of 32^3, enlarged."""
    low = torch.from_numpy(recipe.normal(3, "low", (1, 1, 8, 8, 8)))
    return crops.enlarged(F.interpolate(low, size=(32, 32, 32), mode="trilinear", align_corners=False)[0])


def test_lattice_and_crop(scan):
    """Shape and place of the resampled grid and of the crop; float32 headers bound the affines' agreement."""
    assert scan.lattice.shape == tuple(scan.stored["resampled/shape"])
    begin = crops.centred_on(scan.label)
    assert np.allclose(scan.lattice.affine, scan.stored["resampled_affine"], atol=1e-5)
    assert np.allclose(scan.lattice.crop_affine(begin), scan.stored["crop_affine"], atol=1e-5)


def test_image(scan):
    """Equal, truncated integers included; but `engine` interpolates a floating image in float32."""
    crop = scan.crop()
    exact = scan.official or scan.volume.voxels.dtype.kind == "i"
    assert scan.off("crop", crop) <= (0 if exact else 2e-7)
    assert scan.off("z_score", crops.z_score(crop, scan.official)) < 1e-6


def test_label(scan):
    shape, begin = scan.lattice.shape, crops.centred_on(scan.label)
    assert np.array_equal(scan.label.full().numpy(), scan.bits("resampled_label", shape))
    assert np.array_equal(scan.label.crop(begin, crops.beyond(begin)).numpy(), scan.bits("crop_label", (128,) * 3))


def test_paste_back(scan):
    mask = scan.lattice.paste(toy_mask(), crops.centred_on(scan.label))
    found = scan.grid.to_file_order(mask.full().numpy())
    assert np.array_equal(found, scan.bits("pasted", found.shape))


class Toy:
    """The toy network of the recording, as units."""

    class Encoder(torch.nn.Module):
        def forward(self, image):
            return F.avg_pool3d(image, 4)

    class Decoder(torch.nn.Module):
        def forward(self, embedding, points, labels, mask):
            grid = torch.stack(torch.meshgrid(*[torch.arange(32.0)] * 3, indexing="ij"), dim=-1)
            logits = 0.5 * embedding + 0.25 * mask - 1.5
            for item in range(len(points)):
                for point, label in zip(points[item], labels[item], strict=True):
                    bump = torch.exp(-((grid - point / 4) ** 2).sum(-1) / 18)
                    logits[item] = logits[item] + (3 if label > 0 else -3) * bump
            return logits, labels.new_zeros(len(labels), 1)

    def __init__(self):
        self.encoder = Unit("encoder", self.Encoder(), (TensorSpec("image", (1, 128, 128, 128)),))
        self.units = {}

    def decoder(self, clicks):
        return self.units.setdefault(clicks, Unit(f"decoder.{clicks}", self.Decoder(), ()))


class Drawn:
    """Clicks as `random_sample_next_click` draws them: a random voxel of the error, from one stream for all organs."""

    organ = "organ"

    def __init__(self, label, stream, steps=3):
        self.label, self.stream, self.steps = label, stream, count(steps, -1)
        self.clicks = []

    def next(self, mask, view=None, note=""):
        if next(self.steps) == 0:
            return None
        seen = view()
        point, positive = draw(seen.label, seen.prediction, self.stream)
        self.clicks.append((*point, positive))
        return Prompt(clicks=(Click(world_of(point, seen.affine), bool(positive)),))


def draw(label, prediction, stream):
    missed = (label > 0) & (prediction == 0)
    error = missed | ((label == 0) & (prediction > 0))
    among = torch.argwhere(error if error.any() else label > 0)
    point = tuple(int(i) for i in among[stream.randint(len(among))])
    return point, int(missed[point]) if error.any() else 1


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_clicks_of_the_official_stream(case, tmp_path):
    """Drawn on our view of the crop they are the official ones, through millimetres and back."""
    scan = Scan(case, tmp_path, official=True)
    begin = crops.centred_on(scan.label)
    label, stream = scan.label.crop(begin, crops.beyond(begin)), np.random.RandomState(233)
    affine = scan.lattice.crop_affine(begin)
    for prediction, stored in zip((torch.zeros_like(label), toy_mask()), scan.stored["clicks"], strict=True):
        point, positive = draw(label, prediction, stream)
        assert [*point, positive] == stored.tolist()
        assert voxel_of(world_of(point, affine), affine) == point


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_whole_runs(case, tmp_path):
    """Two organs, three clicks each from one stream: the label map that `validate_paired_img_gt` wrote."""
    scan = Scan(case, tmp_path, official=True)
    stream, toy = np.random.RandomState(233), Toy()
    sources = [Drawn(scan.organ(number), stream) for number in (1, 2)]
    programs = [Organ(scan.case, source, toy, Options(variant="official")).run() for source in sources]
    masks = run_program(in_turn(programs), lambda unit: open_unit(unit, "torch", CPU))
    found = np.zeros(scan.grid.shape, dtype=np.uint8)
    for number, mask in enumerate(masks, start=1):
        found[mask.full().numpy() == 1] = number
    found = scan.grid.to_file_order(found)
    stored = scan.bits("run1", found.shape) + 2 * scan.bits("run2", found.shape)
    assert stored.any() and np.array_equal(found, stored)
