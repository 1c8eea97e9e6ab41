"""A SAT checkpoint as a model."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from umd_engine.data.volume import Volume
from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Program
from umd_engine.errors import UmdEngineError
from umd_engine.models.calls import CUT, Asked, Calls, Works
from umd_engine.models.checkpoint import hash_of_weights
from umd_engine.models.mask import Mask, Triple
from umd_engine.models.model import only_image
from umd_engine.models.prompts import PromptSource
from umd_engine.models.sat.frame import SPACING, lattice_shape
from umd_engine.models.sat.network import NANO, PATCH, PRO, Network, Size, network_unit
from umd_engine.models.sat.options import Options
from umd_engine.models.sat.prepare import Case, prepare_scan
from umd_engine.models.sat.protocol import Pieces, segment_organs
from umd_engine.models.sat.published import load_published, named_once
from umd_engine.models.sat.text import TextEncoder
from umd_engine.models.sat.text_state import read_text_state
from umd_engine.models.sat.windows import window_grid

ORGANS = 13  # the unit that is there before anything is asked for
TEXT_FILE = "text_encoder.pth"


class Sat:
    """SAT with one checkpoint.

    Args:
        path: `SAT_Nano.pth` or `SAT_Pro.pth`, or a folder with it; `text_encoder.pth` lies beside it.
        network: taken instead of the file's, with no text encoder: texts cannot be embedded then.
        patch: of the network's input.

    Raises:
        MissingFileError, CheckpointError: the checkpoint or the text encoder cannot be used.
    """

    prompts = frozenset({"text"})
    crops_by_label = False
    default_prompt = "text"

    def __init__(
        self,
        name: str,
        path: Path,
        options: Options,
        *,
        size: Size,
        network: Network | None = None,
        patch: Triple = PATCH,
    ):
        self.name, self.options, self.size, self.patch = name, options, size, patch
        self._units: dict[int, Unit] = {}
        if network is None:
            self._load(path)
        else:
            self.network, self.weights = network, "none"
        self.unit(ORGANS)

    def _load(self, path: Path) -> None:
        options = self.options
        home = path if path.is_dir() else path.parent
        text = read_text_state(Path(options.text_encoder) if options.text_encoder else home / TEXT_FILE)
        self.network = load_published(path, self.size)
        self.text = TextEncoder(
            text, Path(options.tokenizer) if options.tokenizer else None, any_name=options.names == "any"
        )
        hashes = hash_of_weights(named_once(self.network.state_dict())) + hash_of_weights(text.all)
        self.weights = hashlib.sha256(hashes.encode()).hexdigest()

    @property
    def protocol(self) -> Mapping[str, Any]:
        chosen = asdict(self.options)
        del chosen["tokenizer"], chosen["text_encoder"]  # where files lie on this machine
        del chosen["names"]  # what is refused, not what is answered
        return {"name": self.size.title, **chosen, "patch": self.patch, "spacing": SPACING}

    @property
    def units(self) -> Sequence[Unit]:
        """A unit for every number of organs that was asked for at once; at first 13."""
        return list(self._units.values())

    def unit(self, organs: int) -> Unit:
        """The unit for so many organs, made when it is first asked for; all share the network's weights."""
        if organs not in self._units:
            self._units[organs] = network_unit(self.name, self.network, organs, self.patch)
        return self._units[organs]

    def nbytes(self, shape: tuple[int, int, int], spacing: tuple[float, float, float], organs: int) -> int:
        """The cut is taken for the whole scan, an organ's mask for an eighth of it."""
        x, y, z = lattice_shape(shape, spacing)
        scan, slab = math.prod(shape), x * y * min(z, self.patch[2])
        # as stored and as it is interpolated, in float64 where official; the lattice, its cut and a copy for quantiles
        preparing = (12 if self.options.official else 8) * scan + 12 * x * y * z
        step = self.patch[2] // 2 / max(z, 1)  # of the scan, finished at once
        finishing = 8 * slab + 5 * int(scan * min(step, 1.0))  # an organ's means; its probabilities and mask
        sums = 4 * (organs + 1) * slab + 4 * organs * x * y
        windows = 4 * organs * math.prod(self.patch)
        return int(4 * x * y * z + max(preparing, sums + windows + finishing + organs * scan // 8))

    @property
    def preparation(self) -> Hashable:
        return "sat", self.options.modality, self.options.official

    def calls(self, shape: Triple, spacing: tuple[float, float, float], asked: Asked) -> Calls:
        """All organs in one pass of the windows, at every step."""
        return Calls(self.works(lattice_shape(shape, spacing), asked), f"{CUT}: the foreground fills the scan")

    def works(self, cut: Triple, asked: Asked) -> tuple[Works, ...]:
        """For a cut of that shape."""
        return (Works(self.unit(asked.organs), len(window_grid(cut, self.patch))),) * len(asked.steps)

    def prepare(self, images: Sequence[Volume], device: torch.device) -> Case:
        image = only_image(self.name, images)
        return prepare_scan(image, device, self.options.modality_of(image), self.options.official)

    def segment(self, case: Case, sources: Sequence[PromptSource]) -> Program[list[Mask | UmdEngineError]]:
        embed: Callable[[str], torch.Tensor] = partial(self.text.embed, modality=case.modality)
        return segment_organs(case, sources, Pieces(self.unit, embed, self.options.official, self.patch))


class SatNano(Sat):
    """SAT-Nano, 109 M parameters."""

    def __init__(self, name: str, path: Path, options: Options):
        super().__init__(name, path, options, size=NANO)


class SatPro(Sat):
    """SAT-Pro, 475 M parameters."""

    def __init__(self, name: str, path: Path, options: Options):
        super().__init__(name, path, options, size=PRO)
