"""Properties of the distances, others' results, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from op_distance import IMPLEMENTATIONS, check_distance

from umd_engine.errors import BackendError, KernelError, OptionError
from umd_engine.kernels.distance import cases, distance, organ_distances
from umd_engine.kernels.distance.cpu import transform

pytest.importorskip("numba")
Spacing = tuple[float, float, float]
SPACINGS = st.tuples(*[st.sampled_from((1.0, 0.5, 0.7, 2.5, 5.0, 10.0))] * 3)
MASKS = arrays(bool, array_shapes(min_dims=3, max_dims=3, max_side=9))


def brute(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """float64: the least distance over all pairs of voxels."""
    sites = np.argwhere(~mask) * np.array(spacing)
    result = np.zeros(mask.shape)
    for voxel in np.argwhere(mask):
        away = np.linalg.norm(sites - voxel * np.array(spacing), axis=1)
        result[tuple(voxel)] = away.min(initial=np.inf)
    return result


@settings(max_examples=120, deadline=None)
@given(MASKS, SPACINGS, st.sampled_from(("ignored", "background")))
def test_is_the_least_over_all_pairs(mask: np.ndarray, spacing: Spacing, border: str) -> None:
    around = 0 if border == "ignored" else 1
    expected = brute(np.pad(mask, around), spacing)
    inner = (slice(around, -around or None),) * 3
    found = distance(mask, spacing, border=border, backend="cpu")
    np.testing.assert_allclose(found, expected[inner], rtol=1.2e-7)


@settings(max_examples=60, deadline=None)
@given(arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, max_side=20), elements=st.integers(0, 3)), SPACINGS)
def test_every_organ_as_its_own_mask(labels: np.ndarray, spacing: Spacing) -> None:
    for name, organ in organ_distances(labels, (1, 2, 3), spacing, backend="cpu").items():
        whole = distance(labels == name, spacing, backend="reference")
        np.testing.assert_allclose(organ.distance, whole[organ.box], rtol=cases.TOLERANCE)
        outside = whole.copy()
        outside[organ.box] = 0
        assert not outside.any()


def test_squares_of_voxels_are_exact_integers() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((60, 70, 300)) < 0.9999
    found = distance(mask, squared=True)
    np.testing.assert_array_equal(found, np.rint(distance(mask, squared=True, backend="reference")))
    np.testing.assert_array_equal(distance(mask), np.sqrt(found.astype(np.float64)).astype(np.float32))


def test_long_lines_keep_their_steps() -> None:
    for axis in range(3):
        shape = [1, 1, 1]
        shape[axis] = 65_000
        mask = np.ones(shape, bool)
        mask[(0,) * 3] = False
        assert distance(mask).max() == 64_999


def test_twice_the_same_bits_whatever_the_threads() -> None:
    labels = cases.Case("", (40, 50, 60)).make(1)
    masks = [labels == name for name in (1, 2, 3)]
    first = transform(masks, (0.7, 1.3, 2.9), False, threads=1)
    for threads in (1, 2, 5):
        for one, other in zip(first, transform(masks, (0.7, 1.3, 2.9), False, threads=threads), strict=True):
            assert one.tobytes() == other.tobytes()


def test_equals_the_edt_library() -> None:
    edt = pytest.importorskip("edt")
    labels = cases.Case("", (40, 50, 60)).make(2)
    spacing = (0.8, 1.25, 3.0)
    for name in (1, 2, 3):
        expected = edt.edt(np.ascontiguousarray(labels == name), anisotropy=spacing, black_border=True)
        found = distance(labels == name, spacing, border="background")
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_the_result_is_of_the_kind_of_the_mask(kind: Any) -> None:
    mask = np.zeros((5, 6, 7), np.uint8)
    mask[1:4, 1:5, 1:6] = 9
    for one in (kind(mask), kind(mask != 0)):
        found = distance(one)
        assert type(found) is type(one) and tuple(found.shape) == mask.shape
        assert float(found.max()) == 2.0


def test_the_boxes_are_the_organs_own() -> None:
    labels = np.zeros((10, 11, 12), np.uint8)
    labels[2:4, 3:7, 5:6] = 4
    found = organ_distances(labels, (4, 9))
    assert found[4].box == (slice(2, 4), slice(3, 7), slice(5, 6))
    assert found[4].distance.shape == (2, 4, 1)
    assert found[9].distance.size == 0 and labels[found[9].box].size == 0


MAP = np.zeros((2, 3, 4), np.uint8)


@pytest.mark.parametrize(
    ("labels", "ids", "spacing", "fault"),
    [
        (MAP.astype(np.int16), (1,), (1, 1, 1), "int16, not uint8"),
        (torch.zeros(2, 3, 4), (1,), (1, 1, 1), "torch.float32, not uint8"),
        (MAP.tolist(), (1,), (1, 1, 1), "list, not an array"),
        (MAP[0], (1,), (1, 1, 1), "2 axes"),
        (np.zeros((1, 1, 70_000), np.uint8), (1,), (1, 1, 1), "70000 voxels long"),
        (MAP, (1,), (1, 1), "spacing is"),
        (MAP, (1,), (1, 0, 1), "spacing is"),
        (MAP, (1,), (1, float("nan"), 1), "spacing is"),
        (MAP, (1,), (float("inf"), 1, 1), "spacing is"),
        (MAP, (0,), (1, 1, 1), "ids are"),
        (MAP, (256,), (1, 1, 1), "ids are"),
        (MAP, (3, 3), (1, 1, 1), "ids are"),
    ],
)
def test_refuses(labels: Any, ids: Any, spacing: Any, fault: str) -> None:
    with pytest.raises(KernelError, match=fault):
        organ_distances(labels, ids, spacing)


def test_refuses_unknown_names() -> None:
    with pytest.raises(KernelError, match="border is 'mirror'"):
        distance(MAP, border="mirror")
    with pytest.raises(OptionError, match="unknown backend 'cuda'"):
        distance(MAP, backend="cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a CUDA device")
def test_the_gpu_is_not_replaced_in_silence() -> None:
    with pytest.raises(BackendError):
        distance(MAP, backend="gpu")


@pytest.mark.full
@pytest.mark.parametrize("case", [case for case in cases.CASES if case.full], ids=lambda case: case.name)
def test_large_volumes(case: cases.Case) -> None:
    check_distance(case, IMPLEMENTATIONS["cpu"])
