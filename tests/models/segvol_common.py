"""SegVol's protocol around the stand-in network of the recordings."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch

from umd_engine.data.volume import Volume
from umd_engine.engine.executor import run_program
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.models.mask import Mask
from umd_engine.models.parity import recipe
from umd_engine.models.prompts import Prompt
from umd_engine.models.ready import open_unit
from umd_engine.models.segvol.network import EMBEDDING
from umd_engine.models.segvol.options import Options
from umd_engine.models.segvol.prepare import prepare_scan
from umd_engine.models.segvol.prompt_tokens import WINDOW
from umd_engine.models.segvol.protocol import Pieces, segment_organs

RECORDINGS = Path(__file__).parents[1] / "recordings"
CPU = torch.device("cpu")


def load(name):
    """A module of the recordings' folder."""
    found = importlib.util.spec_from_file_location(name, RECORDINGS / f"{name}.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


standin = load("segvol_standin")


class Noting(torch.nn.Module):
    """Passes on what another module returns and notes what it was given, item by item."""

    def __init__(self, module, log):
        super().__init__()
        self.module, self.log = module, log

    def forward(self, *inputs):
        self.log.extend(zip(*inputs, strict=True))
        return self.module(*inputs)


class Cheap:
    """Pieces of the stand-in network, or of modules given in its place.

    Attributes:
        encoded, decoded: every item that went through, in order; decoded ones as (PromptShape, inputs).
    """

    def __init__(self, options=None, encoder=None, decoder=None):
        self.encoded, self.decoded, self.units = [], [], {}
        self.make = decoder or (lambda shape: standin.Bumps(tuple(spec.name for spec in shape.inputs)))
        image = TensorSpec("image", (1, *WINDOW))
        module = Noting(encoder or standin.Packing(), self.encoded)
        self.pieces = Pieces(
            Unit("encoder", module, (image,)), self.decoder, self.embed, options or Options(variant="official")
        )

    def decoder(self, shape):
        if shape not in self.units:
            log = Log(self.decoded, shape)
            inputs = (TensorSpec("embedding", EMBEDDING), *shape.inputs)
            self.units[shape] = Unit(f"decoder.{shape.name}", Noting(self.make(shape), log), inputs)
        return self.units[shape]

    @staticmethod
    def embed(name):
        return torch.from_numpy(recipe.normal(0, name, (1, 768)))[0]

    def run(self, case, sources, batch_size=2):
        program = segment_organs(case, sources, self.pieces)
        return run_program(program, lambda unit: open_unit(unit, "torch", CPU), batch_size)


class Log:
    def __init__(self, entries, shape):
        self.entries, self.shape = entries, shape

    def extend(self, items):
        self.entries.extend((self.shape, item[1:]) for item in items)


class Asking:
    """A source of given prompts that keeps the masks, views and notes it is shown."""

    def __init__(self, organ, prompts, label=None):
        self.organ, self.label = organ, label
        self.prompts, self.masks, self.notes, self.views = list(prompts), [], [], []

    def next(self, mask, view=None, note=""):
        if mask is not None:
            self.masks.append(mask)
            self.notes.append(note)
        if self.label is not None:
            self.views.append(view())
        return self.prompts.pop(0) if self.prompts else None


def volume_of(array, affine=None):
    """A volume of an array in the file's order."""
    return Volume.from_array(array, affine)


def case_of(volume, official=True):
    return prepare_scan(volume, CPU, official)


def mask_of(volume, chosen):
    """A mask of a bool array in the file's order."""
    return Mask.of(torch.from_numpy(np.ascontiguousarray(volume.grid.to_canonical(chosen))))


def in_file_order(volume, mask):
    return volume.grid.to_file_order(mask.full().numpy())


__all__ = ["Asking", "Cheap", "Prompt", "case_of", "in_file_order", "mask_of", "standin", "volume_of"]
