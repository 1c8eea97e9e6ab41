"""Properties of the resampling, and what it refuses."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from op_resample import ZOOM_OPERATION, check_zoom
from scipy import ndimage
from tester import MismatchError

from umd_engine.errors import BackendError, KernelError, OptionError
from umd_engine.kernels.resample import weights, zoom, zoom_separate
from umd_engine.kernels.resample.arguments import parse_clip
from umd_engine.kernels.resample.axes import Axis, zoomed
from umd_engine.kernels.resample.cases import CASES, Case
from umd_engine.kernels.resample.separable import zoom as separable_zoom

sizes = st.tuples(*[st.integers(1, 24)] * 3)
order = st.sampled_from((0, 1, 3))


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 2), sizes, sizes, st.tuples(order, order, order), st.sampled_from((None, "volume")))
def test_any_shape(channels: int, old: Any, new: Any, orders: Any, clip: str | None) -> None:
    check_zoom(Case("any", (channels, *old), new, orders, clip), zoom)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 1500), st.integers(1, 1500))
def test_order_0_takes_the_voxels_scipy_takes(old: int, new: int) -> None:
    line = np.arange(old, dtype=np.float64)
    where = old / new * (np.arange(new) + 0.5) - 0.5
    expected = ndimage.map_coordinates(line, where[None], order=0, mode="nearest")
    np.testing.assert_array_equal(zoom(line[None, None, None], (1, 1, new), (0, 0, 0))[0, 0, 0], expected)


@pytest.mark.parametrize(("old", "new"), [(1, 5), (2, 3), (31, 64), (64, 31), (7, 1025), (1025, 7), (300, 299)])
def test_the_cubic_matrix_is_scipys(old: int, new: int) -> None:
    """Every column: what SciPy makes of a line that is 1 at one voxel."""
    matrix = np.zeros((new, old))
    for band in weights.cubic(Axis.zoomed(old, new), 100):
        matrix[band.start : band.stop, band.first : band.last] = band.weights
    columns = [ndimage.zoom(line, new / old, order=3, mode="nearest", grid_mode=True) for line in np.eye(old)]
    np.testing.assert_allclose(matrix, np.stack(columns, axis=1), atol=1e-13, rtol=0)


@pytest.mark.parametrize("orders", [(0, 0, 0), (1, 1, 1), (3, 3, 3)])
def test_a_constant_stays_and_the_range_is_kept(orders: tuple[int, int, int]) -> None:
    flat = np.full((1, 9, 8, 7), -1024, np.int16)
    assert np.all(zoom(flat, (20, 5, 7), orders, clip="volume") == -1024)
    edge = np.zeros((1, 9, 8, 7))
    edge[:, 4:] = 1
    clipped = zoom(edge, (20, 5, 14), orders, clip="volume")
    assert clipped.min() == 0 and clipped.max() == 1


def test_channels_do_not_mix() -> None:
    data = np.random.default_rng(0).normal(size=(3, 9, 8, 7))
    together = zoom(data, (12, 6, 9), (3, 3, 3), clip="volume")
    for channel in range(3):
        alone = zoom(data[channel : channel + 1], (12, 6, 9), (3, 3, 3), clip="volume")
        np.testing.assert_array_equal(together[channel], alone[0])


def test_the_result_is_new_and_of_the_inputs_kind() -> None:
    data = torch.arange(24.0, dtype=torch.float64).view(1, 2, 3, 4)
    same = zoom(data, (2, 3, 4), (3, 3, 3))
    assert isinstance(same, torch.Tensor) and torch.equal(same, data)
    same.zero_()
    assert data.sum() > 0
    labels = torch.ones(1, 2, 3, 4, dtype=torch.bfloat16)
    assert zoom(labels, (4, 3, 2), (0, 0, 0)).dtype == torch.bfloat16
    assert isinstance(zoom_separate(np.zeros((1, 2, 3, 4)), (3, 3, 3), 0, 3, 0), np.ndarray)


def test_read_only_and_foreign_byte_order() -> None:
    data = np.arange(24, dtype=">i2").reshape(1, 2, 3, 4)
    data.flags.writeable = False
    expected = zoom(data.astype(np.float64), (4, 3, 2), (1, 1, 1))
    np.testing.assert_array_equal(zoom(data, (4, 3, 2), (1, 1, 1)), expected)


VOLUME = np.zeros((1, 4, 5, 6))


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ((VOLUME[0], (4, 5, 6), (3, 3, 3)), "not \\[C, X, Y, Z\\]"),
        ((VOLUME.astype(np.complex64), (4, 5, 6), (3, 3, 3)), "not a real dtype"),
        ((VOLUME, (4, 5), (3, 3, 3)), "three numbers"),
        ((VOLUME, (4, 5, 0), (3, 3, 3)), "an axis is empty .the volume is too thin for the target spacing: "),
        ((VOLUME[:, :0], (4, 5, 6), (3, 3, 3)), "an axis is empty .give a volume that has voxels"),
        ((VOLUME, (4, 5, 6), (3, 3, 2)), "orders"),
        ((VOLUME, (4, 5, 6), (3, 3, 3), "slices"), "unknown clip"),
        ((VOLUME, (4, 5, 6), (3, 3, 3), "slice:3"), "unknown clip"),
        ((VOLUME, (8, 5, 6), (3, 3, 3), "slice:0"), "keep its length of 4"),
    ],
)
def test_refuses(arguments: Any, fault: str) -> None:
    with pytest.raises(KernelError, match=fault):
        zoom(*arguments)


def test_refuses_an_axis_and_a_backend_that_are_none() -> None:
    with pytest.raises(KernelError, match="axis 3"):
        zoom_separate(VOLUME, (4, 5, 6), 3, 3, 0)
    with pytest.raises(OptionError, match="unknown backend"):
        zoom(VOLUME, (4, 5, 6), (3, 3, 3), backend="numba")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a CUDA device")
def test_the_gpu_is_not_replaced_in_silence() -> None:
    with pytest.raises(BackendError):
        zoom(VOLUME, (4, 5, 6), (3, 3, 3), backend="gpu")


def test_rejects_a_band_that_is_too_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "REACH", 12)
    weights.cubic.cache_clear()
    try:
        with pytest.raises(MismatchError):
            ZOOM_OPERATION.check_all(functools.partial(zoom, backend="cpu"))
    finally:
        monkeypatch.undo()
        weights.cubic.cache_clear()


@pytest.mark.parametrize("case", [case for case in CASES if 3 in case.orders], ids=lambda c: c.name)
def test_the_bands_of_a_device_on_the_cpu(case: Any) -> None:
    """The GPU differs from the CPU in the width of its bands only."""

    def wide(data: np.ndarray, shape: Any, orders: Any, clip: Any) -> np.ndarray:
        apart = parse_clip(clip, data.shape[1:], shape)
        axes = zoomed(data.shape[1:], shape)
        return separable_zoom(torch.from_numpy(data.copy()), axes, orders, apart, 512, torch.float64).numpy()

    check_zoom(case, wide)
