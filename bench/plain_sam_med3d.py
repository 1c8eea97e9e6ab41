"""The peer that SAM-Med3D is held against: its official protocol as a plain script, organ by organ at batch 1.

For every organ the whole image and the whole label are resampled by SimpleITK (as TorchIO does), the crop is encoded by
the literal encoder, and the mask is resampled onto the whole scan: what utils/infer_utils.py does, nothing shared. The
network is the engine's own module in its literal form; the rest is NumPy, SimpleITK and torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from umd_engine.data.volume import Grid, Volume
from umd_engine.models.prompts import Point
from umd_engine.models.sam_med3d.network import Network, PromptedDecoder

SPACING, CROP = 1.5, 128
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # SimpleITK's world


def segment(
    image: Volume, label: Volume, ids: Mapping[str, int], clicks: Mapping[str, Point], network: Network
) -> dict[str, np.ndarray]:
    """uint8 masks [X, Y, Z] of the organs, one positive click (mm, RAS) each."""
    decoder = PromptedDecoder(network).eval()
    return {organ: _segment(image, label, number, clicks[organ], network, decoder) for organ, number in ids.items()}


@torch.no_grad()
def _segment(
    image: Volume, label: Volume, number: int, click: Point, network: Network, decoder: PromptedDecoder
) -> np.ndarray:
    import SimpleITK as sitk

    grid = image.grid
    scan = _to_sitk(grid.to_file_order(image.voxels), grid.file_affine)
    binary = _to_sitk((grid.to_file_order(label.voxels) == number).astype(np.uint8), grid.file_affine)
    lattice = _lattice(scan)
    fine, affine = _canonical(sitk.Resample(scan, lattice, sitk.Transform(), sitk.sitkLinear))
    organ, _ = _canonical(sitk.Resample(binary, lattice, sitk.Transform(), sitk.sitkNearestNeighbor))
    where = np.argwhere(organ)
    begin = (where.min(0) + where.max(0) + 1) // 2 - CROP // 2
    roi = torch.from_numpy(_crop(fine, begin).astype(np.float32))
    inside = roi[roi > 0]
    embedding = network.image_encoder(((roi - inside.mean()) / inside.std())[None, None])
    point = np.round(np.linalg.solve(affine, [*click, 1.0])[:3]) - begin
    points = torch.tensor(point, dtype=torch.float32)[None, None]
    low, _ = decoder(embedding, points, torch.ones((1, 1)), torch.zeros((1, 1, 32, 32, 32)))
    mask = torch.sigmoid(torch.nn.functional.interpolate(low, size=(CROP,) * 3, mode="trilinear"))[0, 0] > 0.5
    moved = affine.copy()
    moved[:3, 3] = affine[:3, :3] @ begin + affine[:3, 3]
    back = sitk.Resample(
        _to_sitk(mask.numpy().astype(np.uint8), moved), scan, sitk.Transform(), sitk.sitkNearestNeighbor
    )
    return np.ascontiguousarray(grid.to_canonical(sitk.GetArrayFromImage(back).transpose(2, 1, 0)))


def _to_sitk(voxels: np.ndarray, affine: np.ndarray) -> Any:
    import SimpleITK as sitk

    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    turned = LPS @ affine
    found = sitk.GetImageFromArray(np.ascontiguousarray(voxels.transpose(2, 1, 0)))
    found.SetSpacing(spacing.tolist())
    found.SetDirection((turned[:3, :3] / spacing).ravel().tolist())
    found.SetOrigin(turned[:3, 3].tolist())
    return found


def _lattice(scan: Any) -> Any:
    """1.5 mm voxels, as many as fit, around the scan's centre."""
    import SimpleITK as sitk

    size, spacing = np.array(scan.GetSize()), np.array(scan.GetSpacing())
    new = np.floor(size * spacing / SPACING).astype(int)
    direction = np.array(scan.GetDirection()).reshape(3, 3)
    centre = np.array(scan.GetOrigin()) + direction @ (spacing * (size - 1) / 2)
    found = sitk.Image(new.tolist(), scan.GetPixelID())
    found.SetSpacing((SPACING,) * 3)
    found.SetDirection(scan.GetDirection())
    found.SetOrigin((centre - direction @ (SPACING * (new - 1) / 2)).tolist())
    return found


def _canonical(image: Any) -> tuple[np.ndarray, np.ndarray]:
    """[X, Y, Z] in RAS+ and its affine."""
    import SimpleITK as sitk

    voxels = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    grid = Grid.from_file(voxels.shape, LPS @ affine)
    return grid.to_canonical(voxels), grid.affine


def _crop(voxels: np.ndarray, begin: np.ndarray) -> np.ndarray:
    crop = np.zeros((CROP,) * 3, voxels.dtype)
    low, high = np.maximum(begin, 0), np.minimum(begin + CROP, voxels.shape)
    there = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    here = tuple(slice(a, b) for a, b in zip(low - begin, high - begin, strict=True))
    crop[here] = voxels[there]
    return crop
