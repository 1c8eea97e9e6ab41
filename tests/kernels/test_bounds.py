"""Properties of the bounds, SciPy's and cc3d's results, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from op_bounds import check_bounds

from umd_engine.errors import BackendError, KernelError, OptionError
from umd_engine.kernels.bounds import bounds, cases

DATA = Path(__file__).parents[2].parent / "shared" / "data"
pytest.importorskip("numba")


@st.composite
def label_maps(draw: st.DrawFn) -> np.ndarray:
    shape = draw(st.tuples(*[st.integers(0, 40)] * 3).filter(lambda s: np.prod(s) < 20_000))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    runs = draw(st.sampled_from((1, 5, 60, 900)))
    flat = np.repeat(rng.integers(0, 6, int(np.prod(shape)) // runs + 1, dtype=np.uint8), runs)
    label = flat[: int(np.prod(shape))].reshape(shape).transpose(draw(st.permutations(range(3))))
    steps = draw(st.tuples(*[st.sampled_from((1, -1, 2))] * 3))
    return label[tuple(slice(None, None, step) for step in steps)]


@settings(max_examples=150, deadline=None)
@given(label_maps())
def test_any_layout(label: np.ndarray) -> None:
    found, expected = bounds(label, 6, backend="cpu"), bounds(label, 6, backend="reference")
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.counts, expected.counts)
    np.testing.assert_array_equal(found.centroids, expected.centroids)
    assert found.counts.sum() == label.size


def test_absent_labels() -> None:
    label = np.zeros((3, 4, 5), np.uint8)
    label[1, 2:, 3] = 2
    found = bounds(label, 4)
    assert found.counts.tolist() == [58, 0, 2, 0] and found.counts.dtype == np.int64
    assert found.boxes[1].tolist() == found.boxes[3].tolist() == [[0, 0]] * 3
    assert found.boxes[2].tolist() == [[1, 2], [2, 4], [3, 4]]
    assert np.isnan(found.centroids[[1, 3]]).all()
    assert found.centroids[2].tolist() == [1.0, 2.5, 3.0]
    assert label[found.slices(2)].tolist() == [[[2], [2]]] and label[found.slices(1)].size == 0


def _real() -> np.ndarray:
    nibabel = pytest.importorskip("nibabel")
    path = DATA / "ct_abdomen" / "labels_v1_104classes.nii.gz"
    return np.asanyarray(nibabel.load(path).dataobj).astype(np.uint8)


@pytest.mark.skipif(not (DATA / "ct_abdomen").is_dir(), reason="needs the volumes of shared/data")
def test_scipy_and_cc3d_of_a_real_label_map() -> None:
    ndimage, cc3d = pytest.importorskip("scipy.ndimage"), pytest.importorskip("cc3d")
    label = _real()
    found = bounds(label, 105)
    boxes = ndimage.find_objects(label, max_label=104)
    assert sum(box is not None for box in boxes) > 20
    for one, box in enumerate(boxes, start=1):
        assert (found.counts[one] == 0) == (box is None)
        assert box is None or found.slices(one) == box
    theirs = cc3d.statistics(label)
    present = found.counts[: len(theirs["voxel_counts"])] > 0
    np.testing.assert_array_equal(found.counts[: len(present)], theirs["voxel_counts"])
    np.testing.assert_allclose(found.centroids[: len(present)][present], theirs["centroids"][present], rtol=1e-5)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_an_id_above_the_classes_is_refused(backend: str) -> None:
    label = np.zeros((10, 11, 12), np.uint8)
    label[9, 10, 11] = 14
    with pytest.raises(KernelError, match="label holds id 14 of 14 classes"):
        bounds(label, 14, backend=backend)
    assert bounds(label, 15, backend=backend).counts[14] == 1


MAP = np.zeros((2, 3, 4), np.uint8)


@pytest.mark.parametrize(
    ("label", "classes", "fault"),
    [
        (MAP.astype(np.int16), 2, "int16, not uint8"),
        (torch.zeros(2, 3, 4), 2, "torch.float32, not uint8"),
        (MAP[0], 2, r"shape \(3, 4\), not \[X, Y, Z\]"),
        (MAP.tolist(), 2, "list, not an array"),
        (MAP, 0, "classes is 0"),
        (MAP, 257, "classes is 257"),
    ],
)
def test_refuses(label: Any, classes: int, fault: str) -> None:
    with pytest.raises(KernelError, match=fault):
        bounds(label, classes)


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(OptionError, match="unknown backend 'cuda'"):
        bounds(MAP, 2, backend="cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a CUDA device")
def test_the_gpu_is_not_replaced_in_silence() -> None:
    with pytest.raises(BackendError):
        bounds(MAP, 2, backend="gpu")


def test_sums_beyond_32_bits() -> None:
    found = bounds(np.zeros((2, 2, 1 << 24), np.uint8), 1)
    assert found.counts[0] == 1 << 26 and found.centroids[0].tolist() == [0.5, 0.5, ((1 << 24) - 1) / 2]


@pytest.mark.full
def test_sixty_million_voxels() -> None:
    check_bounds(cases.FULL, lambda label, classes: bounds(label, classes, backend="cpu"))
