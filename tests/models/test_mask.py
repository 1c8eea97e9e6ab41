"""A mask in its box is the mask."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from umd_engine.models.mask import Mask
from umd_engine.models.prompts import voxel_of, world_of

masks = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6), elements=st.integers(0, 1))


@given(masks)
def test_round_trip_and_the_box_is_tight(voxels):
    mask = Mask.of(torch.from_numpy(voxels))
    assert np.array_equal(mask.full().numpy(), voxels)
    where = np.argwhere(voxels)
    if len(where):
        assert mask.low == tuple(where.min(0)) and mask.high == tuple(where.max(0) + 1)
    else:
        assert mask.voxels.numel() == 0


@given(masks, st.tuples(*[st.integers(-4, 6)] * 3), st.tuples(*[st.integers(0, 8)] * 3))
def test_a_crop_is_that_of_the_padded_volume(voxels, low, size):
    padded = np.pad(voxels, 16)
    box = tuple(slice(lo + 16, lo + 16 + n) for lo, n in zip(low, size, strict=True))
    high = tuple(lo + n for lo, n in zip(low, size, strict=True))
    assert np.array_equal(Mask.of(torch.from_numpy(voxels)).crop(low, high).numpy(), padded[box])


def test_points_in_mm_and_back_on_an_oblique_grid():
    angle = np.deg2rad(20)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine[:3, :3] *= [0.7, 0.9, 5.0]
    affine[:3, 3] = (-100, 50, 7)
    for voxel in [(0, 0, 0), (3, 200, 17), (-2, 5, 9)]:
        assert voxel_of(world_of(voxel, affine), affine) == voxel
