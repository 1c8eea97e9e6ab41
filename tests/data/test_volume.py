"""Grids and volumes: canonical order is nibabel's, and nothing is lost on the way there and back."""

from __future__ import annotations

import math

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nibabel.eulerangles import euler2mat

from umd_engine.data.volume import Grid, HeaderCodes, Volume
from umd_engine.errors import GeometryError

angles = st.floats(-math.pi, math.pi)


@st.composite
def placements(draw):
    """A file's shape and affine: any axis order and direction, oblique or not, anisotropic up to 10:1."""
    shape = tuple(draw(st.integers(1, 5)) for _ in range(3))
    rotation = euler2mat(*(draw(angles) for _ in range(3))) if draw(st.booleans()) else np.eye(3)
    turn = np.eye(3)[draw(st.permutations(range(3)))] * [draw(st.sampled_from((-1, 1))) for _ in range(3)]
    spacing = [draw(st.floats(0.5, 5.0)) for _ in range(3)]
    affine = np.eye(4)
    affine[:3, :3] = rotation @ turn @ np.diag(spacing)
    affine[:3, 3] = [draw(st.floats(-500, 500)) for _ in range(3)]
    return shape, affine


def numbered(shape) -> np.ndarray:
    return np.arange(math.prod(shape), dtype=np.int32).reshape(shape)


@given(placements())
def test_canonical_order_is_nibabels(placement):
    shape, affine = placement
    volume = Volume.from_array(numbered(shape), affine)
    expected = nibabel.as_closest_canonical(nibabel.Nifti1Image(numbered(shape), affine))
    assert np.array_equal(volume.voxels, np.asanyarray(expected.dataobj))
    np.testing.assert_allclose(volume.affine, expected.affine, atol=1e-9)
    np.testing.assert_allclose(volume.spacing, expected.header.get_zooms(), rtol=1e-6)


@given(placements())
def test_round_trip_is_the_same_memory(placement):
    shape, affine = placement
    array, grid = numbered(shape), Grid.from_file(shape, affine)
    back = grid.to_file_order(grid.to_canonical(array))
    assert back.ctypes.data == array.ctypes.data and back.strides == array.strides and back.shape == array.shape
    np.testing.assert_allclose(grid.file_affine, affine, atol=1e-9)
    assert grid.file_shape == shape
    np.testing.assert_allclose(grid.file_spacing, np.linalg.norm(affine[:3, :3], axis=0), rtol=1e-12)


@given(placements(), st.data())
def test_every_voxel_keeps_its_place_in_the_world(placement, data):
    shape, affine = placement
    volume = Volume.from_array(numbered(shape), affine)
    voxel = [data.draw(st.integers(0, size - 1)) for size in shape]
    (place,) = np.argwhere(volume.voxels == numbered(shape)[tuple(voxel)])
    np.testing.assert_allclose(volume.affine @ [*place, 1], affine @ [*voxel, 1], atol=1e-9)


@given(placements())
def test_grid_of_the_canonical_array_is_itself(placement):
    shape, affine = placement
    grid = Grid.from_file(shape, affine)
    again = Grid.from_file(grid.shape, grid.affine)
    assert again.file_axes == (0, 1, 2) and again.file_flips == (False, False, False)
    assert np.array_equal(again.affine, grid.affine)


def test_leading_axes_are_left_alone():
    affine = np.array([[0, 0, -2.0, 9], [-1, 0, 0, 4], [0, 3, 0, 1], [0, 0, 0, 1]])
    grid = Grid.from_file((3, 4, 5), affine)
    channels = np.stack([numbered((3, 4, 5)), -numbered((3, 4, 5))])
    turned = grid.to_canonical(channels)
    assert turned.shape == (2, 5, 3, 4)
    assert np.array_equal(turned[1], grid.to_canonical(channels[1]))
    assert np.array_equal(grid.to_file_order(turned), channels)


def test_pixdim_is_the_spacing_only_where_it_agrees_with_the_affine():
    affine = np.diag([0.97656, 1, 3, 1])
    assert Grid.from_file((2, 2, 2), affine, (0.9765625, 1, 3)).spacing == (0.9765625, 1, 3)
    assert Grid.from_file((2, 2, 2), affine, (1.2, 1, 3)).spacing == (0.97656, 1, 3)


@pytest.mark.parametrize(
    ("affine", "word"),
    [
        (np.diag([1, 1, 0, 1.0]), "singular"),
        (np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "singular"),
        (np.diag([1, np.nan, 1, 1]), "NaN"),
        (np.diag([1, np.inf, 1, 1]), "infinite"),
    ],
)
def test_affines_that_place_nothing_are_refused(affine, word):
    with pytest.raises(GeometryError, match=word):
        Volume.from_array(np.zeros((2, 2, 2), np.int16), affine)


@pytest.mark.parametrize("pixdim", [(1, 0, 1), (1, -2, 1), (1, 1, np.nan), (np.inf, 1, 1)])
def test_spacing_must_be_positive(pixdim):
    with pytest.raises(GeometryError, match="spacing"):
        Grid.from_file((2, 2, 2), np.eye(4), pixdim)


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 2, 1), (2, 0, 2)])
def test_only_three_axes_with_voxels_make_a_volume(shape):
    with pytest.raises(GeometryError, match="not a volume"):
        Volume.from_array(np.zeros(shape))


def test_voxels_are_a_read_only_view_and_never_float64():
    array = np.zeros((2, 3, 4), np.int16)
    volume = Volume.from_array(array, np.diag([-1, -1, 1, 1.0]))
    assert np.shares_memory(volume.voxels, array) and array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        volume.voxels[0] = 1
    assert Volume.from_array(np.zeros((2, 2, 2))).voxels.dtype == np.float32


def test_other_voxels_on_the_same_grid():
    volume = Volume.from_array(numbered((2, 3, 4)), np.diag([-1, 2, 3, 1.0]))
    labels = volume.with_voxels(np.ones((2, 3, 4), np.uint8))
    assert labels.grid is volume.grid and labels.codes is volume.codes and labels.voxels.dtype == np.uint8
    with pytest.raises(AssertionError):
        volume.with_voxels(np.ones((2, 3, 5), np.uint8))


def test_grids_compare_by_value():
    one, same = (Grid.from_file((2, 3, 4), np.diag([-1, 2, 3, 1.0])) for _ in range(2))
    other = Grid.from_file((2, 3, 4), np.diag([1, 2, 3, 1.0]))
    assert one == same and hash(one) == hash(same) and one != other and one != "grid"


def test_codes_of_an_affine_say_it_in_the_sform():
    affine = np.array([[0, -2.0, 0, 5], [1, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]])
    codes = HeaderCodes.of(affine)
    assert codes.srow == tuple(affine[:3].ravel()) and codes.pixdim[1:4] == (1, 2, 3)
    assert (codes.qform_code, codes.sform_code, codes.xyzt_units) == (0, 2, 2)
