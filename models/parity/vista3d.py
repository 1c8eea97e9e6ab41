"""VISTA3D recordings: label map and logits of classes, and masks from points, through the whole protocol."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from umd_engine.data.volume import Volume
from umd_engine.engine.executor import run_program
from umd_engine.engine.work import Program
from umd_engine.errors import CorruptFileError
from umd_engine.models.mask import Triple
from umd_engine.models.parity.recipe import fill
from umd_engine.models.parity.recording import Recording
from umd_engine.models.parity.result import Deviation, Measured
from umd_engine.models.prompts import Click, Point, world_of
from umd_engine.models.ready import open_unit
from umd_engine.models.vista3d.classes import unique
from umd_engine.models.vista3d.model import class_pass
from umd_engine.models.vista3d.network import build_network, class_table, filled
from umd_engine.models.vista3d.options import Options
from umd_engine.models.vista3d.point_network import SPECIAL, Pieces
from umd_engine.models.vista3d.pointing import Points, Wanted, object_labels, place_of, stitched_logits, with_class
from umd_engine.models.vista3d.prepare import Case, prepare_scan
from umd_engine.models.vista3d.protocol import label_slabs, mean_logits
from umd_engine.models.vista3d.recipe import VISTA3D, VISTA3D_CTMR

ONNX_OF_RANGE = 1e-4
RECIPES = {recipe.name: recipe for recipe in (VISTA3D, VISTA3D_CTMR)}


def check_vista3d(recording: Recording, backend: str, device: torch.device) -> Measured:
    """Every step's `seg` in differing voxels and `logits` as a share of their range; then the engine variant's."""
    network = _network(recording)
    official, engine = (_Check(recording, network, variant, backend, device) for variant in ("official", "engine"))
    deviations, variants = [], []
    for step in recording.spec["steps"]:
        if "points" in step:
            deviations += official.points(step)
            continue
        found, labels = official.classes(step)
        deviations += found
        ours = engine.classes({key: value for key, value in step.items() if key != "logits"})[1]
        variants.append(f"{int((ours != labels).sum())} of {labels.size} voxels of {step['seg']}")
    return Measured(tuple(deviations), "; ".join(variants))


def _network(recording: Recording) -> Any:
    """The network filled as the recording says; its names are those of the keys file where there is one."""
    network = build_network()
    own = network.state_dict()
    keys = recording.path.with_name(f"{recording.name}.keys.json")
    if keys.is_file():
        listed = json.loads(keys.read_text(encoding="utf-8"))
        shapes = {name: list(tensor.shape) for name, tensor in own.items()}
        unlike = {name for name in shapes.keys() | listed.keys() if shapes.get(name) != listed.get(name)}
        if unlike:
            raise CorruptFileError(f"{len(unlike)} names or shapes differ, e.g. {min(unlike)}", where=keys)
    return filled(network, fill(own, recording.spec["weights"]["state_dict"]["fill"]), recording.path)


class _Check:
    """One variant held against one recording."""

    def __init__(self, recording: Recording, network: Any, variant: str, backend: str, device: torch.device):
        self.recording, self.network, self.backend, self.device = recording, network, backend, device
        self.recipe = RECIPES[recording.model]
        x, y, z = recording.spec["patch"]
        self.patch: Triple = (x, y, z)
        protocol = recording.spec.get("protocol", "bundle")
        self.options = Options(variant=variant, patch=f"{x}x{y}x{z}", images="any", protocol=protocol)
        affine = recording.stored(recording.spec["image"]["affine"])
        self.volume = Volume.from_array(recording.image(), affine)
        self.case: Case = prepare_scan(self.volume, device, self.recipe, self.options)

    def classes(self, step: dict[str, Any]) -> tuple[list[Deviation], np.ndarray]:
        """The deviations of a step by class ids, and its label map in the file's order."""
        ids = unique(self.recipe.classes.asked(",".join(str(i) for i in step["classes"])))
        walk = class_pass("vista3d", self.network, ids, self.recipe, self.options)
        deviations = []
        if "logits" in step:
            deviations.append(self._probe(step["logits"], self._run(mean_logits(self.case, walk))))
        labels = self._run(label_slabs(self.case, walk))
        table = torch.tensor([0, *ids], dtype=torch.int16, device=labels.device)
        found = self._in_file(table[labels.long()])
        return [*deviations, self._voxels(step["seg"], found)], found

    def points(self, step: dict[str, Any]) -> list[Deviation]:
        """The deviations of a step by points: their voxels are the file's; logits are 0 where no window is."""
        ids = step.get("classes", [])
        wanted = with_class(class_table(self.network)[ids[0]], ids[0]) if ids else Wanted()
        asked = Points([self._place(point) for point in step["points"]])
        asked.labels = [int(label) + (SPECIAL if wanted.special else 0) for label in step["labels"]]
        pieces = Pieces("vista3d", self.network, self.patch, with_class=bool(ids))
        low, logits = self._run(stitched_logits(self.case, asked, pieces, wanted))
        deviations = []
        if "logits" in step:
            whole = self._whole(low, torch.nan_to_num(logits, nan=0.0), 0)[None]
            deviations.append(self._probe(step["logits"], whole))
        whole = self._whole(low, object_labels(low, logits, asked, wanted).short(), 255)
        found = self._in_file(torch.where(whole == 1, ids[0] if ids else 1, whole))
        return [*deviations, self._voxels(step["seg"], found)]

    def _whole(self, low: Triple, part: torch.Tensor, outside: int) -> torch.Tensor:
        whole = part.new_full(self.case.lattice.size, outside)
        whole[tuple(slice(lo, lo + n) for lo, n in zip(low, part.shape, strict=True))] = part
        return whole

    def _place(self, voxel: Sequence[int]) -> Point:
        x, y, z = voxel
        world = world_of((x, y, z), self.volume.grid.file_affine)
        return place_of(Click(world), self.case.lattice, "recording")

    def _run(self, program: Program[Any]) -> Any:
        return run_program(program, partial(open_unit, backend=self.backend, device=self.device))

    def _in_file(self, labels: torch.Tensor) -> np.ndarray:
        """A map of the prepared grid on the scan's, in the file's order."""
        return self.volume.grid.to_file_order(self.case.lattice.to_scan(labels).cpu().numpy())

    def _voxels(self, name: str, found: np.ndarray) -> Deviation:
        stored = self.recording.stored(name).reshape(found.shape)
        return Deviation(name, int((stored != found).sum()), self.recording.spec["tolerance"]["voxels"])

    def _probe(self, name: str, logits: torch.Tensor) -> Deviation:
        tolerance = self.recording.spec["tolerance"]["of_range"] if self.backend == "torch" else ONNX_OF_RANGE
        values, stats = (self.recording.stored(f"{name}/{key}") for key in ("values", "stats"))
        if tuple(logits.shape) != tuple(self.recording.stored(f"{name}/shape")):
            return Deviation(name, float("inf"), tolerance)
        flat = logits.cpu().numpy().ravel()
        at = np.linspace(0, flat.size - 1, len(values)).astype(np.int64)
        found = np.array([flat.mean(dtype=np.float64), flat.std(dtype=np.float64), flat.min(), flat.max()])
        worst = np.concatenate([np.abs(flat[at] - values), np.abs(found - stats)]).max()  # NaN stays NaN
        return Deviation(name, float(worst / (stats[3] - stats[2])), tolerance)
