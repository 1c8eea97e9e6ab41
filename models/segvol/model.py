"""A SegVol checkpoint as a model."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from umd_engine.data.volume import Volume
from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Program
from umd_engine.errors import UmdEngineError
from umd_engine.models.calls import ORGAN, Asked, Calls, Works, organ_voxels, side_by_side
from umd_engine.models.checkpoint import hash_of_weights
from umd_engine.models.mask import Mask, Triple
from umd_engine.models.model import only_image
from umd_engine.models.prompts import PromptSource
from umd_engine.models.segvol.network import EMBEDDING, Network, PromptShape, decoder_unit, encoder_unit
from umd_engine.models.segvol.options import Options
from umd_engine.models.segvol.prepare import Case, prepare_scan
from umd_engine.models.segvol.prompt_tokens import WINDOW
from umd_engine.models.segvol.protocol import AT_ONCE, Pieces, segment_organs
from umd_engine.models.segvol.published import load_published
from umd_engine.models.segvol.regions import Region
from umd_engine.models.segvol.text import TEMPLATE, TextEncoder


class SegVol:
    """SegVol with one checkpoint.

    Args:
        path: `SegVol_v1.pth`, the hub's `pytorch_model.bin`, or a folder with one of them.
        network: taken instead of the checkpoint's; texts cannot be embedded then.

    Raises:
        MissingFileError, CheckpointError, BackendError: the checkpoint cannot be used.
    """

    prompts = frozenset({"text", "point", "box"})
    crops_by_label = False

    def __init__(self, name: str, path: Path, options: Options, network: Network | None = None):
        self.name, self.options = name, options
        self.network, text = load_published(path) if network is None else (network, {})
        self.text = TextEncoder(text, Path(options.tokenizer) if options.tokenizer else None)
        hashes = hash_of_weights(self.network.state_dict()) + hash_of_weights(text)
        self.weights = hashlib.sha256(hashes.encode()).hexdigest()
        self.encoder = encoder_unit(name, self.network)
        self._decoders: dict[PromptShape, Unit] = {}
        self.decoder(PromptShape(points=1))
        self.decoder(PromptShape(box=True, text=True))

    @property
    def protocol(self) -> Mapping[str, Any]:
        chosen = asdict(self.options)
        del chosen["tokenizer"]  # where files lie on this machine
        return {"name": "segvol", **chosen, "window": WINDOW, "template": TEMPLATE}

    @property
    def units(self) -> Sequence[Unit]:
        """The encoder and the decoders that were asked for so far; at first those of one point, and of text and box."""
        return [self.encoder, *self._decoders.values()]

    @property
    def one_stream(self) -> bool:
        return self.options.official

    def decoder(self, shape: PromptShape) -> Unit:
        """The unit for prompts of a shape, made when it is first asked for."""
        if shape not in self._decoders:
            self._decoders[shape] = decoder_unit(self.name, self.network, shape)
        return self._decoders[shape]

    def nbytes(self, shape: Triple, spacing: tuple[float, float, float], organs: int) -> int:
        """At most: every organ's region is the whole scan, at least one window, whichever way its axes lie."""
        scan, window, embedding = math.prod(shape), math.prod(WINDOW), 4 * math.prod(EMBEDDING)
        preparing, region = self._preparing(shape), _largest_region(shape)
        organ = 4 * window + AT_ONCE * (embedding + 4 * window) + 5 * region  # logits; sums and mask
        last = 9 * region  # of the organ that ends: summed weights, sigmoid, what is decided
        return int(4 * (scan + window) + embedding + max(preparing, organs * organ + last))

    def spillable(self, shape: Triple, spacing: tuple[float, float, float], organs: int) -> int:
        """The sums of every organ; the mean of one that ends comes back."""
        scan, window = math.prod(shape), math.prod(WINDOW)
        running = self.nbytes(shape, spacing, organs) - 4 * (scan + window) - 4 * math.prod(EMBEDDING)
        return max(0, min(organs * 4 * _largest_region(shape), running - self._preparing(shape)))

    def _preparing(self, shape: Triple) -> int:
        """As stored, float32, the bright voxels and their mask; NumPy's steps make a copy each."""
        return (28 if self.options.official else 14) * math.prod(shape)

    @property
    def preparation(self) -> Hashable:
        return "segvol", self.options.official

    def calls(self, shape: Triple, spacing: tuple[float, float, float], asked: Asked) -> Calls:
        """Once the whole scan; then every organ a glance and the windows of its region, at every step."""
        size = [min(n, most) for n, most in zip(organ_voxels(spacing), shape, strict=True)]
        windows, every = (len(Region.of(_file_order(x), self.options.overlap).starts) for x in (size, shape))
        organ = [work for step in range(len(asked.steps)) for work in self.works(asked, step, windows)]
        works = [Works(self.encoder, 1), *side_by_side(organ, asked.organs, self.options.official)]
        if not self.options.zoom_in:
            return Calls(tuple(works))
        glances = 1 + asked.organs * len(asked.steps)
        return Calls(
            tuple(works),
            f"an organ's region is {ORGAN:g} mm wide",
            least=glances,
            most=glances + 2 * every * asked.organs * len(asked.steps),
        )

    def works(self, asked: Asked, step: int, windows: int) -> list[Works]:
        """One organ's step, with so many windows in its region."""
        given = asked.steps[: step + 1]
        shape = PromptShape(asked.points(step), any(one.box for one in given), any(one.text for one in given))
        works, left = [Works(self.decoder(shape), 1)], windows if self.options.zoom_in else 0
        while left:
            count = min(left, AT_ONCE)
            works += [Works(self.encoder, count), Works(self.decoder(shape), count)]
            left -= count
        return works

    def prepare(self, images: Sequence[Volume], device: torch.device) -> Case:
        image = only_image(self.name, images)
        return prepare_scan(image, device, self.options.official)

    def segment(self, case: Case, sources: Sequence[PromptSource]) -> Program[list[Mask | UmdEngineError]]:
        return segment_organs(case, sources, Pieces(self.encoder, self.decoder, self.text.embed, self.options))


def _largest_region(shape: Triple) -> int:
    """Voxels of a region that is the whole scan, at least one window."""
    return math.prod(map(max, sorted(shape), sorted(WINDOW, reverse=True)))


def _file_order(size: Sequence[int]) -> Triple:
    """(d, h, w) of x, y, z, where a file's axes are x, y, z."""
    x, y, z = size
    return z, y, x
