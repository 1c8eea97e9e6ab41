"""Volumes on other grids: places in mm are kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel import Nifti1Image
from nibabel.eulerangles import euler2mat
from nibabel.processing import resample_from_to

from umd_engine.data.resample import resample_to, voxel_to_voxel
from umd_engine.data.volume import Grid, Volume
from umd_engine.errors import KernelError, UnknownNameError

RNG = np.random.default_rng(0)


def grid(shape, spacing, origin=(0.0, 0.0, 0.0), angle=0.0) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = euler2mat(angle, angle / 2, 0) @ np.diag(spacing)
    affine[:3, 3] = origin
    return Grid.from_file(shape, affine)


def in_mm(lattice: Grid, weights, offset: float) -> np.ndarray:
    """A linear function of the place in mm, at every voxel's centre."""
    centres = np.tensordot(lattice.affine[:3, :3], np.indices(lattice.shape), 1)
    return np.tensordot(weights, centres + lattice.affine[:3, 3, None, None, None], 1) + offset


@settings(max_examples=30, deadline=None)
@given(
    st.tuples(*[st.floats(0.7, 3)] * 3),
    st.tuples(*[st.floats(-3, 3)] * 3),
    st.sampled_from((0.0, 0.2)),
    st.sampled_from(("linear", "cubic")),
)
def test_a_ramp_in_mm_stays_a_ramp(spacing, origin, angle, how):
    ct = grid((40, 40, 40), (1.0, 1.2, 0.9))
    voxels = in_mm(ct, (1.0, -2.0, 0.5), 30.0).astype(np.float32)
    pet = grid((4, 4, 4), spacing, np.add(origin, 16.0), angle)
    found = resample_to(Volume.from_array(voxels, ct.affine), pet, how)
    np.testing.assert_allclose(found.voxels, in_mm(pet, (1.0, -2.0, 0.5), 30.0), atol=2e-4)
    assert found.grid == pet and found.voxels.dtype == np.float32


@pytest.mark.parametrize("angle", [0.0, 0.1])
@pytest.mark.parametrize(("how", "order"), [("linear", 1), ("cubic", 3)])
def test_a_ct_on_the_grid_of_its_pet_is_nibabels(angle, how, order):
    ct = grid((32, 30, 28), (1.0, 1.0, 2.0), (-10, -12, 3))
    voxels = RNG.normal(0, 300, ct.shape).astype(np.float32)
    pet = grid((10, 9, 8), (2.0, 2.1, 3.0), (-5, -6, 10), angle)
    found = resample_to(Volume.from_array(voxels, ct.affine), pet, how)
    expected = resample_from_to(Nifti1Image(voxels, ct.affine), (pet.shape, pet.affine), order=order, mode="nearest")
    clipped = np.clip(expected.get_fdata(), voxels.min(), voxels.max())
    np.testing.assert_allclose(found.voxels, clipped, atol=1e-5 * np.ptp(voxels))


def test_labels_keep_dtype_and_ids_and_outside_is_background():
    label = Volume.from_array(RNG.integers(1, 200, (9, 8, 7)).astype(np.uint8))
    found = resample_to(label, grid((30, 8, 7), (0.5, 1, 1), (-2.0, 0, 0)), "nearest")
    assert found.voxels.dtype == np.uint8
    places = np.floor(np.arange(30) * 0.5 - 2.0 + 0.5).astype(int)
    inside = (np.arange(30) * 0.5 - 2.0 >= -0.5) & (np.arange(30) * 0.5 - 2.0 <= 8.5)
    assert np.array_equal(found.voxels[inside], label.voxels[np.clip(places[inside], 0, 8)])
    assert not found.voxels[~inside].any() and inside.any() and not inside.all()


def test_outside_is_the_lowest_value_unless_named():
    ct = Volume.from_array(RNG.integers(-900, 900, (5, 5, 5)).astype(np.int16))
    away = grid((2, 2, 2), (1, 1, 1), (50, 0, 0))
    assert np.all(resample_to(ct, away, "cubic").voxels == ct.voxels.min())
    assert np.all(resample_to(ct, away, "linear", outside=-1024).voxels == -1024)


@given(st.tuples(*[st.floats(0.3, 5)] * 3), st.tuples(*[st.floats(-500, 500)] * 3), st.floats(-1, 1))
def test_a_grid_onto_itself_is_the_identity_bit_for_bit(spacing, origin, angle):
    place = grid((5, 6, 7), spacing, origin, angle)
    assert np.array_equal(voxel_to_voxel(place, place), np.eye(4))
    volume = Volume.from_file_order(
        RNG.normal(size=place.file_shape).astype(np.float32), place, None, Volume.from_array(np.zeros((1, 1, 1))).codes
    )
    for how in ("nearest", "linear", "cubic"):
        assert resample_to(volume, place, how).voxels.tobytes() == np.ascontiguousarray(volume.voxels).tobytes()


def test_a_file_of_other_axes_onto_a_plain_grid():
    affine = np.array([[0, 0, -2.0, 9], [-1, 0, 0, 4], [0, 3, 0, 1], [0, 0, 0, 1]])
    volume = Volume.from_array(RNG.normal(size=(6, 7, 8)).astype(np.float32), affine)
    plain = Grid.from_file(volume.shape, volume.affine)
    assert np.array_equal(resample_to(volume, plain, "linear").voxels, volume.voxels)


def test_refuses():
    volume = Volume.from_array(np.zeros((2, 2, 2), np.uint8))
    with pytest.raises(UnknownNameError, match="linaer"):
        resample_to(volume, volume.grid, "linaer")
    with pytest.raises(KernelError, match="cannot hold"):
        resample_to(volume, volume.grid, "nearest", outside=-1)
