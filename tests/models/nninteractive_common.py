"""nnInteractive's protocol around a network that is told what the organ looks like."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch

from umd_engine.data.volume import Volume
from umd_engine.engine.executor import run_program
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.errors import UmdEngineError
from umd_engine.models.mask import Mask
from umd_engine.models.nninteractive.folder import Settings
from umd_engine.models.nninteractive.model import NnInteractive
from umd_engine.models.nninteractive.protocol import Options
from umd_engine.models.prompts import Click, Prompt, world_of
from umd_engine.models.ready import open_unit

RECORDINGS = Path(__file__).parents[1] / "recordings" / "nninteractive_parity"
SHARED = Path(__file__).parents[2].parent / "shared" / "parity"
CPU = torch.device("cpu")
PATCH = (56, 64, 72)
torch.set_num_threads(1)


def load(name):
    """A module of the recordings' folder."""
    found = importlib.util.spec_from_file_location(name, RECORDINGS.parent / f"{name}.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


class Bright(torch.nn.Module):
    """Returns the label: what is brighter than half of the patch's brightest voxel.

    Attributes:
        seen: the first patches that it was shown, [8, *patch].
        calls: how many there were.
    """

    def __init__(self):
        super().__init__()
        self.seen, self.calls = [], 0

    def forward(self, patches):
        self.seen += list(patches[: max(0, 6 - len(self.seen))].clone())
        self.calls += len(patches)
        image = patches[:, :1]
        logits = torch.where(image > image.amax((1, 2, 3, 4), keepdim=True) / 2, 1.0, -1.0)
        return torch.cat([-logits, logits], 1)


def standin(network=None, patch=PATCH, settings=None, **options):
    """The model with another network in its place."""
    model = NnInteractive.__new__(NnInteractive)
    model.name, model.options, model.patch, model.settings = "nni", Options(**options), patch, settings or Settings()
    channels = 1 + model.settings.channels
    model.unit = Unit("nni.network", network or Bright(), (TensorSpec("image", (channels, *patch)),), ("logits",))
    return model


class Asking:
    """A source of given prompts that keeps the masks it is shown."""

    def __init__(self, prompts, organ="organ"):
        self.organ, self.label, self.prompts, self.masks = organ, None, list(prompts), []

    def next(self, mask, view=None, note=""):
        self.masks.append(mask)
        return self.prompts.pop(0) if self.prompts else None


def run(model, case, sources, batch_size=2):
    return run_program(model.segment(case, sources), lambda unit: open_unit(unit, "torch", CPU), batch_size)


def counted(program, counts):
    """The program; every round appends the calls it asks for."""
    work = next(program, None)
    while work is not None:
        counts.append(work.count)
        yield work
        work = next(program, None)


def image_of(label, background=100, organ=1000):
    return np.where(label, organ, background).astype(np.float32)


def scene(label, affine=None):
    """A scan whose organ is bright and the organ's mask, from a label in the file's order."""
    volume = Volume.from_array(image_of(label), affine)
    return volume, Mask.of(torch.from_numpy(np.array(volume.grid.to_canonical(label), order="C")))


def box_label(shape, low, high):
    label = np.zeros(shape, bool)
    label[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return label


def click(volume, voxel, positive=True):
    """A click at a voxel of the file's order."""
    return Click(world_of(voxel, volume.grid.file_affine), positive)


def point(volume, voxel, positive=True):
    return Prompt(clicks=(click(volume, voxel, positive),))


def same(mask, wanted):
    return mask.shape == wanted.shape and torch.equal(mask.full(), wanted.full())


def ask(volume, *prompts, model=None):
    """(last mask, source) of one organ; its error is raised."""
    model, source = model or standin(), Asking(prompts)
    (found,) = run(model, model.prepare([volume], CPU), [source])
    if isinstance(found, UmdEngineError):
        raise found
    return found, source


def turned(axes, flips, spacing=(1.5, 0.8, 2.5), angle=0.0):
    """An affine whose file axis i runs along world axis axes[i], against it where flips[i]."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, flip) in enumerate(zip(axes, flips, strict=True)):
        affine[world, axis] = (-1 if flip else 1) * spacing[axis]
    for first, second in ((0, 1), (1, 2)):
        tilt = np.eye(3)
        tilt[first, first] = tilt[second, second] = np.cos(angle)
        tilt[first, second], tilt[second, first] = -np.sin(angle), np.sin(angle)
        affine[:3, :3] = tilt @ affine[:3, :3]
    affine[:3, 3] = (-40.0, 210.5, 33.25)
    return affine


def stepped(shape, low, high):
    """A box without one of its corners: no two orientations are alike."""
    label = box_label(shape, low, high)
    label[tuple(slice((a + b) // 2, b) for a, b in zip(low, high, strict=True))] = False
    return label
