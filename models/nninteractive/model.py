"""A trained nnInteractive folder as a prompted model."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from umd_engine.data.volume import Volume
from umd_engine.engine.together import in_turn, together
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.engine.work import Program
from umd_engine.errors import UmdEngineError
from umd_engine.models.calls import ORGAN, Asked, Calls, Works, organ_voxels, side_by_side
from umd_engine.models.mask import Mask, Triple
from umd_engine.models.model import only_image
from umd_engine.models.nninteractive.draws import Draws, keyed, numpys_stream
from umd_engine.models.nninteractive.folder import Settings, read_settings
from umd_engine.models.nninteractive.network import MARGIN, find_fold, read_network
from umd_engine.models.nninteractive.prompting import KINDS, hand_over
from umd_engine.models.nninteractive.protocol import Case, Options, prepare_scan
from umd_engine.models.nninteractive.session import LARGEST, Rules, Session, looks_until
from umd_engine.models.nninteractive.turning import mask_to_scan
from umd_engine.models.prompts import PromptSource


class NnInteractive:
    """One fold of a trained model.

    Args:
        path: holds `plans.json`, `dataset.json`, `inference_info.json` or `inference_session_class.json`, and
            `fold_*/checkpoint_final.pth`.
        network: taken with its patch instead of the folder's, with the usual settings.

    Raises:
        MissingFileError, CheckpointError, UnsupportedModelError: the folder cannot be used.
    """

    crops_by_label = False

    def __init__(self, name: str, path: Path, options: Options, network: tuple[torch.nn.Module, Triple] | None = None):
        self.name, self.options = name, options
        said: Mapping[str, str] = {}
        self.settings = Settings()
        if network is None:
            fold = find_fold(path, options.fold)
            self.settings = read_settings(path)
            module, self.patch, said = read_network(path, fold / options.checkpoint, self.settings.channels)
        else:
            module, self.patch = network
        image = TensorSpec("image", (1 + self.settings.channels, *self.patch))
        self.unit = Unit(f"{name}.network", module, (image,), ("logits",))
        self.units: Sequence[Unit] = [self.unit]
        self.weights = self.unit.content_hash
        taken = {KINDS[kind] for kind in KINDS if self.settings.supported[kind]}
        self.prompts = frozenset(taken | ({"mask"} if self.settings.takes_mask else set()))
        self.protocol: Mapping[str, Any] = {
            "name": "nninteractive",
            **asdict(options),
            **said,
            "patch": self.patch,
            "settings": asdict(self.settings),
        }

    @property
    def one_stream(self) -> bool:
        return self.options.official

    def nbytes(self, shape: tuple[int, int, int], spacing: tuple[float, float, float], organs: int) -> int:
        """4 v for the image, v + c for every organ, 5 max(v, s) for the one whose crop is made; at most.

        v: voxels of the scan; a mask takes a byte a voxel of its box. c: voxels of the canvas that patches are
        refined on, which reach half a patch beyond the scan. s: those of a crop at zoom 4, whose image (4 s), then
        its first pass enlarged (4 s) and its threshold (s), are whole. What a network call holds is not in it.
        """
        voxels, crop = math.prod(shape), math.prod(LARGEST * n for n in self.patch)
        canvas = math.prod(n + max(self.patch) for n in shape)  # the file's axes may lie in any order
        return 4 * voxels + organs * (voxels + canvas) + 5 * max(voxels, crop)

    @property
    def preparation(self) -> Hashable:
        return "nninteractive", self.options.official

    def calls(self, shape: Triple, spacing: tuple[float, float, float], asked: Asked) -> Calls:
        """Looks from further and further away until the organ is seen whole, then patches over it, at every step."""
        organ, masks = organ_voxels(spacing), asked.organs * len(asked.steps)
        wanted = max(n / p for n, p in zip(organ, self.patch, strict=True))
        looks = looks_until(wanted if self.options.autozoom else 1)
        boxes = _patches(organ, self.patch, 1) if looks > 1 else 0
        one = [*[Works(self.unit, 1)] * looks, *([Works(self.unit, boxes)] if boxes else [])]
        works = side_by_side(one * len(asked.steps), asked.organs, self.options.official)
        # a patch is put where none of those before it covers, half of what one covers away from their middles at least
        most = masks * (looks_until(LARGEST) + _patches(shape, self.patch, 2)) if self.options.autozoom else None
        return Calls(tuple(works), f"an organ is {ORGAN:g} mm wide", least=masks, most=most)

    def prepare(self, images: Sequence[Volume], device: torch.device) -> Case:
        """One image, in its file's own order of axes.

        Raises:
            VoxelError: several images, or voxels that cannot be normalised.
        """
        image = only_image(self.name, images)
        return prepare_scan(image, device, self.options.official)

    def segment(self, case: Case, sources: Sequence[PromptSource]) -> Program[list[Mask | UmdEngineError]]:
        """Every organ's last mask on the scan's grid; the official variant takes the organs one after another."""
        stream = numpys_stream(self.options.seed)
        programs = [self._organ(case, source, self._draws(case, source.organ, stream)) for source in sources]
        return (in_turn if self.options.official else together)(programs)

    def session(self, image: torch.Tensor, draws: Draws) -> Session:
        """A session over a normalised image [X, Y, Z] in the file's order."""
        rules = Rules(self.options.autozoom, self.options.official)
        return Session(self.unit, self.settings, image, rules, draws)

    def _draws(self, case: Case, organ: str, stream: Draws) -> Draws:
        return stream if self.options.official else keyed(self.options.seed, case.name, organ)

    def _organ(self, case: Case, source: PromptSource, draws: Draws) -> Program[Mask]:
        session, where = self.session(case.image, draws), f"{case.where}: {source.organ}"
        mask: Mask | None = None
        while (prompt := source.next(mask)) is not None:
            mask = None  # not held while the network runs
            hand_over(prompt, session, case.grid, where)
            yield from session.predict()
            mask = mask_to_scan(session.mask, case.grid)
        return Mask.empty(case.grid.shape, case.image.device) if mask is None else mask


def _patches(voxels: Sequence[int], patch: Triple, closer: int) -> int:
    """So many lie over a box, side by side, or so many times closer along each axis."""
    return math.prod(-(-n * closer // (p - 2 * MARGIN)) for n, p in zip(voxels, patch, strict=True))
