"""Whether an image and a label lie on one grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nibabel.eulerangles import euler2mat

from umd_engine.data.geometry import check_same_grid, corner_distance
from umd_engine.data.volume import Grid
from umd_engine.errors import GeometryError

SHAPE = (40, 50, 60)
AFFINE = np.array([[-1.0, 0, 0, 120], [0, -1, 0, 90], [0, 0, 3, -800], [0, 0, 0, 1]])


def grid(shape=SHAPE, affine=AFFINE) -> Grid:
    return Grid.from_file(shape, affine)


def moved(by: float) -> Grid:
    affine = AFFINE.copy()
    affine[1, 3] += by
    return grid(affine=affine)


def test_one_lattice_in_two_axis_orders_is_one_grid():
    canonical = grid()
    assert canonical.file_flips != (False, False, False)
    check_same_grid(canonical, Grid.from_file(canonical.shape, canonical.affine))


@pytest.mark.parametrize(
    ("label", "word"),
    [
        (grid(shape=(40, 50, 61)), "40x50x61 voxels, but the image has 40x50x60"),
        (grid(affine=AFFINE @ np.diag([1, 1, 1.01, 1])), "spacing"),
        (moved(0.5), "origin"),
        (grid(affine=np.block([[euler2mat(z=0.05) @ AFFINE[:3, :3], AFFINE[:3, 3:]], [0, 0, 0, 1]])), "axes"),
    ],
)
def test_other_grids_are_refused_and_the_difference_is_named(label, word):
    with pytest.raises(GeometryError, match=word) as found:
        check_same_grid(grid(), label, where="label.nii.gz")
    assert str(found.value).startswith("label.nii.gz: ")


def test_the_error_names_the_reference():
    for other in (grid(shape=(40, 50, 61)), moved(0.5)):
        with pytest.raises(GeometryError, match=r"the first image.*resample it onto the first image's grid") as found:
            check_same_grid(grid(), other, reference="the first image")
        assert "label" not in str(found.value)


def test_a_mirrored_label_is_refused():
    mirrored = AFFINE @ np.diag([-1, 1, 1, 1])
    with pytest.raises(GeometryError):
        check_same_grid(grid(), grid(affine=mirrored))


@given(st.floats(0, 0.2))
def test_the_tolerance_is_five_percent_of_the_smallest_spacing(by):
    if by <= 0.0499:
        check_same_grid(grid(), moved(by))
    elif by >= 0.0501:
        with pytest.raises(GeometryError):
            check_same_grid(grid(), moved(by))


def test_the_tolerance_can_be_given():
    check_same_grid(grid(), moved(0.5), tolerance_mm=0.6)
    with pytest.raises(GeometryError):
        check_same_grid(grid(), moved(0.01), tolerance_mm=0.001)


def test_rounded_headers_pass():
    affine = np.array([[-0.9765625, 0, 0, 249.51171875], [0, -0.9765625, 0, 1], [0, 0, 0.625, 7], [0, 0, 0, 1]])
    rounded = affine.round(4)
    check_same_grid(grid((512, 512, 900), affine), grid((512, 512, 900), rounded))


@given(st.floats(-100, 100), st.floats(-100, 100), st.floats(-100, 100))
def test_corner_distance_of_a_shift_is_its_length(x, y, z):
    affine = AFFINE.copy()
    affine[:3, 3] += (x, y, z)
    assert corner_distance(grid(), grid(affine=affine)) == pytest.approx(np.linalg.norm([x, y, z]), abs=1e-9)
