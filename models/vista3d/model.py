"""A VISTA3D checkpoint as a model: by class id, or prompted with points."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from umd_engine.data.volume import Volume
from umd_engine.engine.together import in_turn, together
from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Program
from umd_engine.errors import PromptError, UmdEngineError, UnknownNameError
from umd_engine.models.calls import CUT, Asked, Calls, Works, side_by_side
from umd_engine.models.checkpoint import hash_of_weights
from umd_engine.models.mask import Mask, Triple
from umd_engine.models.model import Model, PromptedModel, Segmentation, only_image
from umd_engine.models.prompts import PromptSource
from umd_engine.models.vista3d.classes import unique
from umd_engine.models.vista3d.lattice import lattice_shape
from umd_engine.models.vista3d.network import WIDTH, class_table, class_unit, read_network
from umd_engine.models.vista3d.options import CtmrOptions, Options
from umd_engine.models.vista3d.point_network import Pieces
from umd_engine.models.vista3d.pointing import Wanted, segment_object, with_class
from umd_engine.models.vista3d.prepare import Case, prepare_scan
from umd_engine.models.vista3d.protocol import Pass, label_slabs
from umd_engine.models.vista3d.recipe import PADDINGS, SPACING, VISTA3D, VISTA3D_CTMR, Recipe

BY_RANK = 16  # bytes a voxel while a percentile is looked for: the image, its copy and their ranks
STITCHED = 20  # bytes a voxel that points see: logits and their copy, numbers of components, masks
WINDOWS_ALIVE = 4  # of an object: its window, its logits, and what is made of both


class _Loaded:
    """What both modes share."""

    def __init__(self, name: str, options: Options, recipe: Recipe):
        self.name, self.options, self.recipe = name, options, recipe
        self.patch = recipe.patch_of(options)

    @property
    def protocol(self) -> Mapping[str, Any]:
        return {"name": self.recipe.name, **asdict(self.options), **self.recipe.described(self.options)}

    @property
    def preparation(self) -> Hashable:
        return "vista3d", self.recipe.window, self.options.images, self.options.protocol, self.options.official

    def prepare(self, images: Sequence[Volume], device: torch.device) -> Case:
        """At 1.5 mm, cut to what is above 0, scaled to [0, 1].

        Raises:
            VoxelError: several channels, no voxel above 0, or an image that cannot be a CT.
        """
        image = only_image(self.name, images)
        return prepare_scan(image, device, self.recipe, self.options)

    def _held(self, shape: Triple, spacing: tuple[float, float, float]) -> tuple[int, Triple]:
        """Bytes of a scan, its copy to interpolate and its image at 1.5 mm while that is made, and its largest size."""
        x, y, z = (round(n * s / SPACING) + 1 for n, s in zip(shape, spacing, strict=True))
        precise = 8 if self.options.official else 4
        a_voxel = max(4 + precise, 0 if self.recipe.window else BY_RANK)
        return int((4 + precise) * math.prod(shape) + a_voxel * x * y * z), (x, y, z)


class Vista3D(_Loaded):
    """VISTA3D by class id: all classes that are asked for in one pass over the windows.

    Args:
        path: the bundle's `model.pt`, or its folder.
        network: taken instead of the file's.

    Raises:
        MissingFileError, CheckpointError: the file cannot be used.
        UnknownNameError, OptionError: an organ or a class id that the model lacks.
    """

    def __init__(
        self, name: str, path: Path, options: Options, recipe: Recipe = VISTA3D, network: nn.Module | None = None
    ):
        super().__init__(name, options, recipe)
        asked = recipe.classes_of(options).asked(options.organs)
        self.ids = unique(asked)
        self.organs: Mapping[str, tuple[int, ...]] = {
            organ: tuple(self.ids.index(i) + 1 for i in ids) for organ, ids in asked.items()
        }
        network = network or read_network(path)
        self.weights = hash_of_weights(network.state_dict())
        self.walk = class_pass(name, network, self.ids, recipe, options)

    @property
    def units(self) -> Sequence[Unit]:
        return [self.walk.unit]

    def nbytes(self, shape: Triple, spacing: tuple[float, float, float]) -> int:
        preparing, prepared = self._held(shape, spacing)
        # the sums, the image once more where it is padded, its labels and those on the scan's grid
        running = self.walk.nbytes(prepared) + 9 * math.prod(prepared) + 2 * math.prod(shape)
        return preparing + running

    def calls(self, shape: Triple, spacing: tuple[float, float, float]) -> Calls:
        air = "; windows of air are not left out" if self.options.skip_air else ""
        return Calls(self.walk.works(lattice_shape(shape, spacing)), f"{CUT}: the body fills the scan{air}")

    def segment(self, case: Case) -> Program[Segmentation]:
        labels = yield from label_slabs(case, self.walk)
        return Segmentation(case.lattice.to_scan(labels), self.organs)


class Vista3DPoints(_Loaded):
    """VISTA3D prompted: one object from points, alone or on top of its class's mask.

    Args and errors as `Vista3D`.
    """

    prompts = frozenset({"point"})
    crops_by_label = False

    def __init__(
        self, name: str, path: Path, options: Options, recipe: Recipe = VISTA3D, network: nn.Module | None = None
    ):
        super().__init__(name, options, recipe)
        network = network or read_network(path)
        self.weights = hash_of_weights(network.state_dict())
        self.with_class = options.mode == "class+point"
        self.table = class_table(network)
        self.pieces = Pieces(name, network, self.patch, self.with_class)

    @property
    def units(self) -> Sequence[Unit]:
        """The unit of one point, and that of none; those of more are made when asked for."""
        return [self.pieces.unit(points) for points in ((1, 0) if self.with_class else (1,))]

    def nbytes(self, shape: Triple, spacing: tuple[float, float, float], organs: int) -> int:
        preparing, prepared = self._held(shape, spacing)
        window, held = math.prod(self.patch), math.prod(prepared)
        # the image; what points far apart see together, of one object at a time
        return int(preparing + (4 + STITCHED) * held + organs * (4 * WINDOWS_ALIVE * window + math.prod(shape)))

    def calls(self, shape: Triple, spacing: tuple[float, float, float], asked: Asked) -> Calls:
        """All points of an organ in one window, at every step; apart from one another each has its own."""
        organ = [Works(self.pieces.unit(asked.points(step)), 1) for step in range(len(asked.steps))]
        apart = asked.organs * sum(asked.points(step) for step in range(len(asked.steps)))
        assumed = "an organ's points share a window" if len(organ) > 1 else ""
        return Calls(tuple(side_by_side(organ, asked.organs, self.options.official)), assumed, most=apart)

    def segment(self, case: Case, sources: Sequence[PromptSource]) -> Program[list[Mask | UmdEngineError]]:
        side_by_side = in_turn if self.options.official else together
        return (yield from side_by_side([self._object(case, source) for source in sources]))

    def _object(self, case: Case, source: PromptSource) -> Program[Mask]:
        wanted = self._wanted(source.organ) if self.with_class else Wanted()
        return (yield from segment_object(case, source, self.pieces, wanted))

    def _wanted(self, organ: str) -> Wanted:
        known = self.recipe.classes.by_name
        if organ not in known:
            raise UnknownNameError("organ", organ, known, where=self.name)
        ids = known[organ]
        if len(ids) != 1:
            raise PromptError(
                f"{organ} is {len(ids)} classes to VISTA3D, and points go with one",
                where=organ,
                mend="use --set NAME.mode=point",
            )
        return with_class(self.table[ids[0]], ids[0])


def class_pass(name: str, network: nn.Module, ids: Sequence[int], recipe: Recipe, options: Options) -> Pass:
    """How the windows of a scan are walked: more classes than features are summed as features."""
    patch = recipe.patch_of(options)
    as_features = len(ids) > WIDTH and not options.official
    unit = class_unit(name, network, () if as_features else ids, patch)
    table = class_table(network)[list(ids)] if as_features else None
    return Pass(unit, table, len(ids), patch, PADDINGS[recipe.padding_of(options)], options)


def load_vista3d(name: str, path: Path, options: Options, network: nn.Module | None = None) -> Model | PromptedModel:
    kind = Vista3D if options.mode == "class" else Vista3DPoints
    return kind(name, path, options, network=network)


def load_vista3d_ctmr(name: str, path: Path, options: CtmrOptions) -> Model:
    return Vista3D(name, path, options, VISTA3D_CTMR)
