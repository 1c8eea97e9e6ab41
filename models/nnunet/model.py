"""A trained-model folder as a model."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from umd_engine.data.volume import Grid, Volume
from umd_engine.engine.accumulator import Sums
from umd_engine.engine.staging import moved
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.engine.work import Program
from umd_engine.errors import (
    CheckpointError,
    GeometryError,
    MissingFileError,
    UnsupportedModelError,
    VoxelError,
)
from umd_engine.models.calls import CUT, Calls, Works
from umd_engine.models.checkpoint import load_checkpoint, load_strictly
from umd_engine.models.model import Segmentation
from umd_engine.models.nnunet.finish import labels_from_logits
from umd_engine.models.nnunet.network import build_network
from umd_engine.models.nnunet.plans import Normalization, Plans, Triple, read_plans
from umd_engine.models.nnunet.prepare import Prepared, prepare_image, resampled_shape
from umd_engine.models.nnunet.protocol import Options, flips, logits_of, windows_of
from umd_engine.models.relatives.refused import refuse_first_version, refuse_trainer


@dataclass(frozen=True, eq=False)
class Case:
    """A prepared scan and the grid its label map goes back to."""

    prepared: Prepared
    grid: Grid


# trainers of nnunetv2 whose network is not the one that the plans describe
OTHER_NETWORKS = ("BN", "Primus")
Z_SCORE = Normalization("ZScoreNormalization", masked=False, statistics={})


@dataclass(frozen=True, eq=False)
class _Fold:
    """What inference needs of a fold's checkpoint; the optimizer's state is let go."""

    weights: dict[str, torch.Tensor]
    configuration: str
    mirror_axes: tuple[int, ...]
    trainer: str


def _read_fold(path: Path) -> _Fold:
    checkpoint = load_checkpoint(path)
    try:
        fold = _Fold(
            checkpoint["network_weights"],
            checkpoint["init_args"]["configuration"],
            tuple(checkpoint.get("inference_allowed_mirroring_axes") or ()),
            str(checkpoint["trainer_name"]),
        )
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"lacks {error}: not a checkpoint of nnU-Net v2", where=path, mend="give an nnU-Net v2 checkpoint"
        ) from None
    refuse_trainer(fold.trainer, path)
    if any(word in fold.trainer for word in OTHER_NETWORKS):
        raise UnsupportedModelError(
            f"trainer {fold.trainer} builds another network than its plans describe",
            where=path,
            mend="use a model of nnUNetTrainer",
        )
    return fold


class NnUNet:
    """One configuration of a trained nnU-Net with its folds.

    Args:
        folder: holds `plans.json`, `dataset.json` and `fold_*/checkpoint_final.pth`.

    Raises:
        MissingFileError, CheckpointError, UnsupportedModelError: the folder cannot be used.
    """

    def __init__(self, name: str, folder: Path, options: Options):
        paths = [folder / f"fold_{fold}" / options.checkpoint for fold in find_folds(folder, options)]
        first = _read_fold(paths[0])
        self._follow(name, options, read_plans(folder, first.configuration), first.mirror_axes, first.trainer)
        self.units = [self._loaded(first.weights, paths[0])]
        self.units += [self._loaded(_read_fold(path).weights, path) for path in paths[1:]]
        hashes = "".join(unit.content_hash for unit in self.units)
        self.weights = hashlib.sha256(hashes.encode()).hexdigest()

    @classmethod
    def without_weights(
        cls,
        name: str,
        plans: Plans,
        options: Options,
        mirror_axes: tuple[int, ...],
        network: torch.nn.Module | None = None,
    ) -> NnUNet:
        """One fold without a checkpoint: its network, or one whose parameters have no memory, to count with."""
        model = cls.__new__(cls)
        model._follow(name, options, plans, mirror_axes, "none")
        if network is None:
            with torch.device("meta"):
                network = build_network(plans, Path("plans.json"))
        model.units = [model._unit(network, "fold_0")]
        model.weights = "none"
        return model

    def _follow(self, name: str, options: Options, plans: Plans, mirror_axes: tuple[int, ...], trainer: str) -> None:
        self.name, self.options, self.mirror_axes = name, options, mirror_axes
        self.plans = plans
        if options.normalization == "zscore":
            self.plans = replace(plans, normalization=(Z_SCORE,) * len(plans.channels))
        self.organs: Mapping[str, tuple[int, ...]] = plans.labels.names
        self.protocol: Mapping[str, Any] = {
            "name": "nnunet",
            **asdict(options),
            "mirror_axes": mirror_axes,
            "trainer": trainer,
            "plans": asdict(self.plans),
        }

    def _loaded(self, state: dict[str, torch.Tensor], path: Path) -> Unit:
        network = build_network(self.plans, path.parent.parent / "plans.json")
        load_strictly(network, state, path)
        return self._unit(network, path.parent.name)

    def _unit(self, network: torch.nn.Module, fold: str) -> Unit:
        image = TensorSpec("image", (len(self.plans.channels), *self.plans.patch))
        return Unit(f"{self.name}.{fold}", network.eval(), (image,), ("logits",))

    def nbytes(self, shape: Triple, spacing: tuple[float, float, float]) -> int:
        kept, preparing, running = self._held(shape, spacing)
        return int(kept + max(preparing, running))

    def spillable(self, shape: Triple, spacing: tuple[float, float, float]) -> int:
        """The sums, and what makes labels of them where they are."""
        _, preparing, running = self._held(shape, spacing)
        return int(max(running - preparing, 0))

    def _held(self, shape: Triple, spacing: tuple[float, float, float]) -> tuple[float, float, float]:
        """Bytes of the whole case, and beside them while it is prepared and while it runs."""
        channels, heads, voxel = len(self.plans.channels), self.plans.labels.heads, 4
        here = math.prod(shape)
        there = max(here * math.prod(spacing) / math.prod(self.plans.spacing), math.prod(self.plans.patch))
        folds = 2 if len(self.units) > 1 else 1
        preparing = 2 * voxel * channels * here + 24 * max(here, there)  # image, its crop, float64 of one channel
        running = voxel * there * (heads * folds + 1) + 3 * voxel * here  # sums, weights; then two heads on the grid
        kept = 2 * voxel * channels * there + 2 * here  # prepared and padded; labels, turned to RAS+
        return kept, preparing, running

    @property
    def preparation(self) -> Hashable:
        """Of the plans, what `prepare_image` reads, and the reader's order."""
        plans = self.plans
        rules = repr((plans.normalization, plans.resampling))  # statistics are dictionaries
        return "nnunet", len(plans.channels), plans.reorients, plans.transpose, plans.spacing, rules

    def calls(self, shape: Triple, spacing: tuple[float, float, float]) -> Calls:
        """A file whose axes are not in the order x, y, z may have a window more or less."""
        turned = [2 - axis for axis in self.plans.transpose]  # readers put z first
        here, mm = [shape[axis] for axis in turned], [spacing[axis] for axis in turned]
        return Calls(self.works(resampled_shape(here, mm, self.plans)), f"{CUT}: no margin of zeros")

    def works(self, shape: Triple) -> tuple[Works, ...]:
        """For a prepared image of that shape."""
        windows = len(windows_of(shape, self.plans.patch, self.options))
        return tuple(Works(unit, windows * len(flips(self.mirror_axes, self.options.mirroring))) for unit in self.units)

    def prepare(self, images: Sequence[Volume], device: torch.device) -> Case:
        """Images as channels on one grid, in the order of the model's `channel_names`."""
        if len(images) != len(self.plans.channels):
            raise VoxelError(
                f"{self.name} takes {len(self.plans.channels)} channels ({', '.join(self.plans.channels)}), "
                f"the scan has {len(images)}",
                where=images[0].path,
                mend="list one image a channel in the manifest",
            )
        grid = images[0].grid
        for image in images[1:]:
            if image.grid.shape != grid.shape:
                raise GeometryError(
                    f"shape {image.grid.shape} differs from the first channel's {grid.shape}",
                    where=image.path,
                    mend="resample the channels onto one grid",
                )
        channels = [torch.tensor(self._reader_order(grid, image.voxels).astype("float32")) for image in images]
        spacing = grid.spacing if self.plans.reorients else grid.file_spacing
        stacked = moved(torch.stack(channels), device)
        return Case(prepare_image(stacked, spacing[::-1], self.plans), grid)

    def _reader_order(self, grid: Grid, voxels: Any) -> Any:
        """nnU-Net's readers put the slowest file axis first; two of them reorient to RAS+ before."""
        return (voxels if self.plans.reorients else grid.to_file_order(voxels)).transpose(2, 1, 0)

    def logits(self, prepared: Prepared) -> Program[Sums]:
        return logits_of(
            prepared.data,
            self.units,
            self.plans.patch,
            self.plans.labels.heads,
            self.mirror_axes,
            self.options,
        )

    def segment(self, case: Case) -> Program[Segmentation]:
        logits = yield from self.logits(case.prepared)
        labels = labels_from_logits(logits, case.prepared, self.plans, self.options.official).permute(2, 1, 0)
        if not self.plans.reorients:
            labels = torch.from_numpy(case.grid.to_canonical(labels.cpu().numpy()).copy("K")).to(labels.device)
        return Segmentation(labels.to(case.prepared.data.device), self.organs)  # sums may have gone to the host


def find_folds(folder: Path, options: Options) -> list[str]:
    """The folds asked for, or every numbered fold with a checkpoint, or `all` where it is alone."""
    if not folder.is_dir():
        raise MissingFileError("no such folder", where=folder, mend="give nnunet=PATH of a trained-model folder")
    refuse_first_version(folder)
    if options.folds:
        return [fold.strip() for fold in options.folds.split(",")]
    found = sorted(p.parent.name.removeprefix("fold_") for p in folder.glob(f"fold_*/{options.checkpoint}"))
    numbered = [fold for fold in found if fold.isdigit()]
    if not numbered and "all" not in found:
        raise MissingFileError(
            f"no fold_*/{options.checkpoint}",
            where=folder,
            mend="give the folder that holds plans.json and fold_*",
        )
    return numbered or ["all"]
