"""What a training is: one frozen record a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training window; each is drawn uniformly from -x to x, or 0 to x where it has no sign.

    Nothing is mirrored: a left and a right kidney are two organs.

    Attributes:
        zoom, stretch: relative size, of all axes together and of each axis on top.
        turn: degrees about each axis (z twice as much).
        move: voxels, in the axial plane.
        gain, offset, gamma: intensity x becomes x * (1 + gain) + offset, its contrast curve to the power 1 + gamma.
        noise: standard deviation of added Gaussian noise, of normalised intensities.
    """

    zoom: float = 0.10
    stretch: float = 0.06
    turn: float = 4.0
    move: float = 4.0
    gain: float = 0.10
    offset: float = 0.10
    gamma: float = 0.20
    noise: float = 0.10


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training.

    Attributes:
        cohort, modality: which of the phantom's scans.
        channel: the name in `dataset.json`; nnU-Net normalises by it.
        normalization: nnU-Net's scheme of that channel.
        spacing: mm, [Z, Y, X].
        patch: voxels, [Z, Y, X]: the whole cross-section, so that windows slide along the body only and left is
            told from right by what else is seen.
        features: channels of each resolution stage.
        subjects, seed: training subjects 0 to n - 1 of the seed.
        held_out, held_out_seed: subjects of another seed, never trained on. The demo's own seed is neither.
        learning_rate, betas: of AdamW; the rate after `warm_up` iterations; it then falls to 0 with (1 - progress)^0.9.
        precision: of the convolutions; weights, loss and updates are float32 either way.
    """

    modality: str
    channel: str
    dataset: str
    normalization: str
    cohort: str = "petct"
    spacing: tuple[float, float, float] = (6.4, 6.4, 6.4)
    patch: Triple = (48, 80, 80)
    features: tuple[int, ...] = (8, 16, 32, 64, 80)
    convolutions_down: int = 2
    convolutions_up: int = 1
    subjects: int = 64
    seed: int = 20261
    held_out: int = 10
    held_out_seed: int = 20262
    iterations: int = 2000
    batch: int = 2
    learning_rate: float = 8e-3
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 1e-2
    warm_up: int = 20
    precision: str = "bf16"
    augmentation: Augmentation = Augmentation()

    @property
    def strides(self) -> list[Triple]:
        return [(1, 1, 1)] + [(2, 2, 2)] * (len(self.features) - 1)


RECIPES: Mapping[str, Recipe] = {
    "ct": Recipe("ct", "CT", "Dataset901_PhantomCT", "CTNormalization"),
    "pet": Recipe("pet", "PET", "Dataset902_PhantomPET", "ZScoreNormalization"),
}
