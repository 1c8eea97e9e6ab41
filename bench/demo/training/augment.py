"""Random windows of random cases, moved, turned and scaled a little, with other intensities. Never mirrored."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, radians, sin

import numpy as np
import torch
from torch.nn.functional import affine_grid, grid_sample

from umd_engine.bench.demo.training.cases import Case
from umd_engine.bench.demo.training.recipe import Augmentation, Triple


def draw_batch(
    cases: Sequence[Case], count: int, patch: Triple, rule: Augmentation, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images [N, 1, Z, Y, X] float32 and labels [N, Z, Y, X] int64."""
    chosen = rng.choice(len(cases), count, replace=len(cases) < count)
    windows = [draw_window(cases[i], patch, rule, rng) for i in chosen]
    images, labels = zip(*windows, strict=True)
    return torch.stack(images), torch.stack(labels)


def draw_window(
    case: Case, patch: Triple, rule: Augmentation, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A window [1, Z, Y, X] and its labels [Z, Y, X]; beyond the scan its border goes on."""
    theta = torch.from_numpy(draw_affine(case.label.shape, patch, rule, rng)).float()[None]
    grid = affine_grid(theta, [1, 1, *patch], align_corners=False)
    image = grid_sample(case.image[None], grid, "bilinear", "border", align_corners=False)[0]
    label = grid_sample(case.label[None, None].float(), grid, "nearest", "border", align_corners=False)[0, 0]
    return change_intensities(image, rule, rng), label.long()


def draw_affine(shape: Sequence[int], patch: Triple, rule: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """(3, 4): a window's [-1, 1] coordinates to a scan's, axes in torch's order x, y, z.

    The window's centre is drawn along z, a quarter of a patch beyond the first and last window too: they
    would be rare otherwise. In the axial plane it is the scan's own, moved by a few voxels.
    """
    size, window = np.array(shape[::-1], np.float64), np.array(patch[::-1], np.float64)
    slack = (size[2] - window[2]) / 2
    along = np.clip(rng.uniform(-slack - window[2] / 4, slack + window[2] / 4), -slack, slack)
    moved = np.array([*rng.uniform(-rule.move, rule.move, 2), along])
    scale = (1 + rng.uniform(-rule.zoom, rule.zoom)) * (1 + rng.uniform(-rule.stretch, rule.stretch, 3))
    turn = rotation(*(rng.uniform(-rule.turn, rule.turn, 3) * (1, 1, 2)))
    # normalised window -> voxels from its centre -> turned and scaled -> normalised scan
    linear = (turn * scale) * (window / 2) / (size / 2)[:, None]
    return np.concatenate([linear, (moved / (size / 2))[:, None]], axis=1)


def rotation(about_x: float, about_y: float, about_z: float) -> np.ndarray:
    """(3, 3) of three angles in degrees."""
    (a, b, c), (p, q, r) = zip(*((cos(radians(t)), sin(radians(t))) for t in (about_x, about_y, about_z)), strict=True)
    x = np.array([[1, 0, 0], [0, a, -p], [0, p, a]])
    y = np.array([[b, 0, q], [0, 1, 0], [-q, 0, b]])
    z = np.array([[c, -r, 0], [r, c, 0], [0, 0, 1]])
    return z @ y @ x


def change_intensities(image: torch.Tensor, rule: Augmentation, rng: np.random.Generator) -> torch.Tensor:
    """Gamma, gain, offset and noise on normalised intensities [1, Z, Y, X]."""
    low, high = image.amin(), image.amax()
    span = (high - low).clamp(min=1e-6)
    image = ((image - low) / span) ** (1 + rng.uniform(-rule.gamma, rule.gamma)) * span + low
    image = image * (1 + rng.uniform(-rule.gain, rule.gain)) + rng.uniform(-rule.offset, rule.offset)
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    return image + torch.from_numpy(noise) * rng.uniform(0, rule.noise)
