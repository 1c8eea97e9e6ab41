import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from umd_engine.engine.accumulator import Accumulator
from umd_engine.engine.windows import gaussian_weights, window_grid, window_starts


@given(st.integers(1, 200), st.integers(4, 64), st.sampled_from([0.25, 0.5, 0.75, 1.0]))
def test_starts_cover_the_axis_with_steps_no_larger_than_asked(extra, patch, step):
    size = patch + extra - 1
    starts = window_starts(size, patch, step)
    assert starts[0] == 0 and starts[-1] == size - patch
    gaps = np.diff(starts)
    assert (gaps > 0).all()
    assert (gaps <= np.ceil(patch * step)).all()


def test_the_example_of_the_nnunet_source():
    assert window_starts(110, 64, 0.5) == [0, 23, 46]


def test_the_last_axis_runs_fastest():
    assert window_grid((4, 4, 6), (4, 4, 4))[:2] == [(0, 0, 0), (0, 0, 2)]


@pytest.mark.parametrize("patch", [(32, 32, 32), (27, 12, 33), (7, 8, 1), (128, 16, 20)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_weights_equal_scipys_filtered_impulse(patch, dtype):
    impulse = np.zeros(patch)
    impulse[tuple(n // 2 for n in patch)] = 1
    expected = gaussian_filter(impulse, [n / 8 for n in patch], 0, mode="constant", cval=0)
    expected = torch.from_numpy(expected / (expected.max() / 10)).to(dtype)
    expected[expected == 0] = expected[expected > 0].min()
    weights = gaussian_weights(patch, dtype)
    assert (weights > 0).all()
    assert torch.equal(weights, expected) or (weights.double() / expected.double() - 1).abs().max() < 1e-6
    if dtype is torch.float16:
        assert torch.equal(weights, expected)


@given(st.integers(8, 20), st.integers(8, 20), st.integers(8, 20))
def test_constant_windows_give_the_constant(x, y, z):
    sums = Accumulator(2, (x, y, z), gaussian_weights((8, 8, 8), torch.float32))
    for start in window_grid((x, y, z), (8, 8, 8)):
        sums.add(start, torch.full((2, 8, 8, 8), 3.0))
    assert (sums.mean() - 3).abs().max() < 1e-5
