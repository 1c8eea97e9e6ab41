"""SAT's protocol around networks that show what they see, and small stand-ins of its files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from umd_engine.data.volume import Volume
from umd_engine.engine.executor import run_program
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.models.parity.recipe import fill
from umd_engine.models.ready import open_unit
from umd_engine.models.sat.network import Size, build_network
from umd_engine.models.sat.protocol import Pieces, segment_organs
from umd_engine.models.sat.published import aliases_of

CPU = torch.device("cpu")
SMALL = (32, 32, 16)  # a patch
TINY = Size("SAT-Tiny", "SAT_Tiny.pth", (4, 4, 8, 8, 16, 16), 2, 32, 16)
BODY = 40.0  # HU
# "everything" overlaps all others
LEVELS = {"everything": 0.0, "liver": 300.0, "spleen": 450.0, "left kidney": 600.0}


class Seeing(nn.Module):
    """A network that finds a voxel in an organ where its value is nearer to the organ's than to any other.

    A query's first channel is the organ's normalised value, its second half the distance to the next one; a third
    channel above 0 asks for everything above the first.
    """

    def forward(self, image: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        level, reach, above = (queries[:, :, i, None, None, None] for i in range(3))
        return 20 * torch.where(above > 0, image - level, reach - (image - level).abs())


class Looking:
    """Pieces around a module; keeps how many windows went through.

    Args:
        module: image, queries -> logits.
        embed: organ's name -> [768].
    """

    def __init__(self, module, embed, official=False, patch=SMALL):
        self.module, self.patch, self.units = module, patch, {}
        self.pieces = Pieces(self.network, embed, official, patch)

    def network(self, organs):
        if organs not in self.units:
            inputs = (TensorSpec("image", (1, *self.patch)), TensorSpec("queries", (organs, 768)))
            self.units[organs] = Unit(f"seeing.{organs}", self.module, inputs, ("logits",))
        return self.units[organs]

    def run(self, case, sources, batch_size=2):
        program = segment_organs(case, sources, self.pieces)
        return run_program(program, lambda unit: open_unit(unit, "torch", CPU), batch_size)


class Asking:
    """A source of given prompts that keeps the masks it is shown."""

    label = None

    def __init__(self, organ, prompts):
        self.organ, self.prompts, self.masks = organ, list(prompts), []

    def next(self, mask, view=None, note=""):
        if mask is not None:
            self.masks.append(mask)
        return self.prompts.pop(0) if self.prompts else None


def turned(axes, flips, spacing, oblique):
    """An affine whose file axis i runs along world axis axes[i], against it where flips[i]."""
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, (world, flip) in enumerate(zip(axes, flips, strict=True)):
        affine[world, axis] = (-1 if flip else 1) * spacing[axis]
    if oblique:
        a, b = 0.3, -0.2
        around_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
        around_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
        affine[:3, :3] = around_z @ around_x @ affine[:3, :3]
    affine[:3, 3] = (-40.0, 210.5, 33.25)
    return affine


def scene(shape=(47, 58, 40), affine=None):
    """A CT with three organs in a body in air: the volume, and organ -> bool in the file's order."""
    image = np.full(shape, -1000.0, np.float32)
    body = np.zeros(shape, bool)
    body[4:-3, 2:-5, 3:-2] = True
    body[34:41, 36:44, 8:15] = False  # air inside, or the cut would hold none
    image[body] = BODY
    boxes = {"liver": (6, 22, 5, 30, 6, 20), "spleen": (25, 40, 8, 26, 8, 17), "left kidney": (12, 33, 34, 50, 20, 36)}
    organs = {"everything": body}
    for organ, (a, b, c, d, e, f) in boxes.items():
        organs[organ] = np.zeros(shape, bool)
        organs[organ][a:b, c:d, e:f] = True
        organs[organ][(a + b) // 2 : b, (c + d) // 2 : d, e : (e + f) // 2] = False  # without a corner
        image[organs[organ]] = LEVELS[organ]
    return replace(Volume.from_array(image, affine), modality="ct"), organs


def seeing(case, official=False, patch=SMALL):
    """The network that knows the scene's values as `case` has normalised them."""
    low, high = float(case.image.min()), float(case.image.max())  # -500 HU, which air is clipped to; the kidney's 600

    def normalised(hu):
        return low + (hu + 500) / 1100 * (high - low)

    def embed(organ):
        query = torch.zeros(768)
        query[0] = normalised(LEVELS[organ])
        query[1] = normalised(75.0) - normalised(0.0)
        query[2] = float(organ == "everything")
        return query

    return Looking(Seeing(), embed, official, patch)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def in_file_order(volume, mask):
    return volume.grid.to_file_order(mask.full().numpy()).astype(bool)


def filled(size, seed=7):
    """A network of stand-in weights, and its state dict with every layer under both of its names."""
    network = build_network(size)
    own = network.state_dict()
    aliases = aliases_of(own)
    values = fill({name: tensor for name, tensor in own.items() if name not in aliases}, seed)
    state = values | {alias: values[name] for alias, name in aliases.items()}
    network.load_state_dict(state)
    return network, {name: state[name] for name in own}


def text_shapes(mpnet=True, words=40, layers=2, hidden=32):
    """Names and shapes of a small text encoder's file, as published but for the words' and layers' number."""
    stem = "lm." if mpnet else "tower.bert."
    attention = ("attn.q", "attn.k", "attn.v", "attn.o") if mpnet else ("self.query", "self.key", "self.value")
    squares = ["pooler.dense"]
    norms = ["embeddings.LayerNorm"]
    shapes = {f"{stem}embeddings.word_embeddings.weight": (words, 768)}
    shapes[f"{stem}embeddings.position_embeddings.weight"] = (16, 768)
    if mpnet:
        shapes[f"{stem}encoder.relative_attention_bias.weight"] = (32, 12)
    else:
        shapes[f"{stem}embeddings.token_type_embeddings.weight"] = (2, 768)
    for layer in (f"encoder.layer.{i}." for i in range(layers)):
        squares += [f"{layer}attention.{name}" for name in attention]
        squares += [] if mpnet else [f"{layer}attention.output.dense"]
        norms += [f"{layer}attention.{'' if mpnet else 'output.'}LayerNorm", f"{layer}output.LayerNorm"]
        shapes |= {f"{stem}{layer}intermediate.dense.weight": (hidden, 768)}
        shapes |= {f"{stem}{layer}intermediate.dense.bias": (hidden,)}
        shapes |= {f"{stem}{layer}output.dense.weight": (768, hidden), f"{stem}{layer}output.dense.bias": (768,)}
    shapes |= {f"{stem}{name}.weight": (768, 768) for name in squares}
    shapes |= {f"{stem}{name}.weight": (768,) for name in norms}
    shapes |= {f"{stem}{name}.bias": (768,) for name in (*squares, *norms)}
    shapes |= {"projection.0.weight": (48, 768), "projection.0.bias": (48,)}
    shapes |= {"projection.2.weight": (768, 48), "projection.2.bias": (768,)}
    return shapes | {"modality_embed.weight": (5, 768)}


def text_weights(mpnet=True, words=40):
    """Stand-in values of `text_shapes`, words and places as large as what is added to them."""
    state = fill({name: torch.empty(shape) for name, shape in text_shapes(mpnet, words).items()}, 7)
    for name, tensor in state.items():
        if "embeddings." in name and tensor.ndim == 2:
            tensor *= 20
    return state


def save(path: Path, state) -> Path:
    """As SAT's files are: under `model_state_dict`, with `module.` before every name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model_state_dict": {f"module.{name}": tensor for name, tensor in state.items()}, "epoch": 3}, path)
    return path


def vocabulary(folder: Path, mpnet=True) -> Path:
    """A tokenizer's file with 40 words."""
    if mpnet:
        tokens = ["<s>", "<pad>", "</s>", "<unk>", "[UNK]", "<mask>"]
    else:
        tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<mask>"]
    tokens += ["left", "right", "kidney", "spl", "##een", "liver", "lung"]
    tokens += [f"word{i}" for i in range(40 - len(tokens))]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    return folder
