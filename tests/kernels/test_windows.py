"""Properties of the operations on windows, other libraries' results, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from op_windows import check_accumulate, check_finish, check_gather
from torch.nn.functional import interpolate

from umd_engine.errors import BackendError, KernelError, OptionError
from umd_engine.kernels.windows import accumulate, cases, cpu, finish, gather, weight_sums
from umd_engine.kernels.windows.arguments import check_rule

pytest.importorskip("numba")
sizes = st.tuples(*[st.integers(1, 17)] * 3)
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=60, deadline=None)
@given(sizes, sizes, st.integers(1, 5), st.tuples(*[st.integers(0, 1)] * 3), st.sampled_from((0.0, 0.3, 3.0)), seeds)
def test_any_grid_is_finished(old: Any, new: Any, heads: int, orders: Any, noise: float, seed: int) -> None:
    case = cases.FinishCase("any", old, new, heads, noise, orders, margin=seed % 2)
    check_finish(case, finish, seed)
    regions = tuple(range(1, heads + 1))
    check_finish(cases.FinishCase("any", old, new, heads, noise, orders, regions), finish, seed)


@settings(max_examples=60, deadline=None)
@given(sizes, sizes, st.integers(1, 3), st.integers(0, 6), st.booleans(), seeds)
def test_any_windows_are_summed(shape: Any, patch: Any, heads: int, windows: int, flipped: bool, seed: int) -> None:
    patch = tuple(min(p, n) for p, n in zip(patch, shape, strict=True))
    check_accumulate(cases.SumCase("any", shape, patch, heads, windows, flipped=flipped), accumulate, seed)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(sizes, min_size=1, max_size=3), sizes, st.integers(0, 6), st.sampled_from(("uint8", "int16", "float32")),
    st.integers(0, 20), seeds,
)  # fmt: skip
def test_any_windows_are_gathered(shapes: Any, patch: Any, windows: int, pixel: str, outside: int, seed: int) -> None:
    volumes = tuple((2, *shape) for shape in shapes)
    check_gather(cases.GatherCase("any", volumes, patch, windows, pixel, outside=outside), gather, seed)


@settings(max_examples=30, deadline=None)
@given(sizes, sizes, st.integers(2, 5), seeds)
def test_torchs_interpolation_and_argmax_agree(old: Any, new: Any, heads: int, seed: int) -> None:
    sums = np.random.default_rng(seed).standard_normal((heads, *old), np.float32)
    logits = interpolate(torch.from_numpy(sums).double()[None], new, mode="trilinear")[0]
    found = torch.from_numpy(finish(sums, new)).long()
    best, chosen = logits.max(0).values, logits.gather(0, found[None])[0]
    assert (best - chosen < cases.NEAR_TIE * (logits.max() - logits.min())).all()


def test_skimages_resize_and_argmax_agree() -> None:
    transform = pytest.importorskip("skimage.transform")
    sums, total = cases.FinishCase("skimage", (13, 17, 11), (30, 29, 27), heads=6).make()
    options = {"order": 1, "mode": "edge", "anti_aliasing": False}
    logits = np.stack([transform.resize(head.astype(float), (30, 29, 27), **options) for head in sums / total])
    chosen = np.take_along_axis(logits, finish(sums, (30, 29, 27), total=total)[None].astype(int), 0)[0]
    assert (logits.max(0) - chosen < cases.NEAR_TIE * np.ptp(logits)).all()
    assert (chosen == logits.max(0)).mean() > 0.999


@pytest.mark.full
def test_sixty_million_voxels() -> None:
    check_finish(cases.LARGE, finish)


def test_the_same_bits_whatever_the_threads_and_batches() -> None:
    sums, weights, logits, starts, flips = cases.SumCase("bits", windows=9).make()
    results = []
    for parts in (1, 1, 3, 9):
        found = sums.copy()
        for part in np.array_split(np.arange(9), parts):
            accumulate(found, weights, logits[part], starts[part], flips=[flips[n] for n in part])
        results.append(found)
    accumulate(sums, weights, logits, starts, flips=flips, backend="reference")
    assert all(np.array_equal(found, sums) for found in results)


def test_labels_do_not_depend_on_the_threads() -> None:
    values, total = (torch.from_numpy(a) for a in cases.FinishCase("", (17, 18, 19), (40, 41, 42), noise=1.0).make())
    rule = check_rule((17, 18, 19), (40, 41, 42), 4, (1, 1, 1), None)
    results = []
    for threads in (1, 1, 2, 7):
        results.append(torch.full((40, 41, 42), 255, dtype=torch.uint8))
        cpu.finish(values, total, rule, results[-1], threads)
    assert all(torch.equal(found, results[0]) for found in results)


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(*[st.integers(1, 6)] * 3), st.lists(st.tuples(*[st.integers(0, 7)] * 3), max_size=12), st.integers(1, 3)
)
def test_weights_are_summed_window_by_window_and_axis_by_axis(patch: Any, starts: Any, times: int) -> None:
    shape = (14, 13, 15)
    weights = torch.rand(patch, generator=torch.Generator().manual_seed(0)) + 0.1
    grid = [(x, y, z) for x in (0, 2, 5) for y in (0, 3) for z in (1, 4, 5, 7)] * times
    for corners in (starts * times, grid):
        expected = torch.zeros(shape, dtype=torch.float64)
        for x, y, z in corners:
            expected[x : x + patch[0], y : y + patch[1], z : z + patch[2]] += weights
        found = weight_sums(weights, corners, shape)
        assert found.dtype == torch.float32
        assert (found - expected).abs().max() <= 1e-6 * max(float(expected.max()), 1.0)


def test_beyond_float16s_range_sums_hold() -> None:
    sums = np.zeros((1, 4, 4, 4), np.float32)
    logits = np.full((64, 1, 4, 4, 4), 60000, np.float16)
    accumulate(sums, np.full((4, 4, 4), 10, np.float32), logits, [[0, 0, 0]] * 64)
    assert (sums == np.float32(10) * np.float32(59999.0 + 1) * 64).all() or np.allclose(sums, 60000 * 640, rtol=1e-3)


def test_tensors_of_bfloat16() -> None:
    volume = (100 * torch.randn(2, 9, 10, 11)).bfloat16()
    found = gather(volume, [[-2, 1, 3]], (6, 7, 8), dtype="bfloat16", intensity=(-50, 50, 10, 20))
    assert found.dtype == torch.bfloat16
    expected = ((volume.float().clamp(-50, 50) - 10) / 20).bfloat16()
    assert torch.equal(found[0, :, 2:], expected[:, :4, 1:8, 3:]) and (found[0, :, :2] == 0).all()


VOLUME = np.zeros((2, 5, 6, 7), np.float32)
GATHER: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    ((VOLUME[0], [[0, 0, 0]], (2, 2, 2)), {}, "a volume has 3 axes, expected 4"),
    ((VOLUME.astype(np.float64), [[0, 0, 0]], (2, 2, 2)), {}, "a volume is float64, expected uint8, int16"),
    ((VOLUME.astype(complex), [[0, 0, 0]], (2, 2, 2)), {}, "a volume is complex128"),
    ((VOLUME.tolist(), [[0, 0, 0]], (2, 2, 2)), {}, "a volume is a list"),
    (([], [[0, 0, 0]], (2, 2, 2)), {}, "there is no volume"),
    (([VOLUME, VOLUME[:1]], [[0, 0, 0]], (2, 2, 2)), {}, "unlike numbers of channels"),
    (([VOLUME, VOLUME.astype(np.uint8)], [[0, 0, 0]], (2, 2, 2)), {}, "unlike types"),
    ((VOLUME, [[0, 0]], (2, 2, 2)), {}, r"starts are int64 \(1, 2\), expected integers"),
    ((VOLUME, [[0.5, 0, 0]], (2, 2, 2)), {}, "starts are float64"),
    ((VOLUME, [[0, 0, 0]], (2, 0, 2)), {}, "patch is"),
    ((VOLUME, [[0, 0, 0]], (2, 2, 2)), {"flips": [[3]]}, "flips are"),
    ((VOLUME, [[0, 0, 0]], (2, 2, 2)), {"flips": [[0], [1]]}, "flips are"),
    ((VOLUME, [[0, 0, 0]], (2, 2, 2)), {"source": [1]}, "source is"),
    ((VOLUME, [[0, 0, 0]], (2, 2, 2)), {"intensity": [(0, 1, 0, 0)]}, "standard deviation of 0"),
    ((VOLUME, [[0, 0, 0]], (2, 2, 2)), {"intensity": (5, 1, 0, 1)}, "lower bound above"),
    ((VOLUME, [[0, 0, 0]], (2, 2, 2)), {"intensity": np.ones((3, 4))}, "intensity has shape"),
    ((VOLUME, [[0, 0, 0]], (2, 2, 2)), {"intensity": (0, 1, np.nan, 1)}, "intensity has NaN"),
    ((VOLUME, [[0, 0, 0]], (2, 2, 2)), {"dtype": "bfloat16"}, "dtype 'bfloat16'"),
    ((VOLUME, [[0, 0, 0]], (2, 2, 2)), {"dtype": "int8"}, "dtype 'int8'"),
]


@pytest.mark.parametrize(("arguments", "options", "fault"), GATHER)
def test_gather_refuses(arguments: Any, options: Any, fault: str) -> None:
    with pytest.raises(KernelError, match=fault):
        gather(*arguments, **options)


WEIGHTS, LOGITS = np.ones((2, 3, 4), np.float32), np.ones((1, 2, 2, 3, 4), np.float32)
FROZEN = VOLUME.copy()
FROZEN.flags.writeable = False


@pytest.mark.parametrize(
    ("sums", "weights", "logits", "starts", "fault"),
    [
        (VOLUME, WEIGHTS, LOGITS, [[4, 0, 0]], r"a window of \(2, 3, 4\) at \(4, 0, 0\) reaches outside"),
        (VOLUME, WEIGHTS, LOGITS, [[0, 0, -1]], "reaches outside"),
        (VOLUME, WEIGHTS, LOGITS, [], "0 starts of 1 windows"),
        (VOLUME, WEIGHTS, LOGITS[:, :1], [[0, 0, 0]], r"expected \[N, 2, 2, 3, 4\]"),
        (VOLUME, WEIGHTS.astype(np.float64), LOGITS, [[0, 0, 0]], "weights is float64"),
        (VOLUME.astype(np.float16), WEIGHTS, LOGITS, [[0, 0, 0]], "sums is float16, expected float32"),
        (FROZEN, WEIGHTS, LOGITS, [[0, 0, 0]], "read-only"),
        (VOLUME[:, ::-1], WEIGHTS, LOGITS, [[0, 0, 0]], "negative strides"),
    ],
)
def test_accumulate_refuses(sums: Any, weights: Any, logits: Any, starts: Any, fault: str) -> None:
    with pytest.raises(KernelError, match=fault):
        accumulate(sums, weights, logits, starts)
    assert (VOLUME == 0).all()


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"sums": VOLUME.astype(np.float16)}, "sums is float16"),
        ({"sums": np.zeros((257, 1, 1, 1), np.float32)}, "257 heads"),
        ({"sums": np.zeros((2, 0, 3, 3), np.float32)}, "an empty grid"),
        ({"total": WEIGHTS}, r"total is \(2, 3, 4\), expected \(5, 6, 7\)"),
        ({"total": np.zeros((5, 6, 7), np.float32)}, "not finite"),
        ({"shape": (4, 4)}, "shape is"),
        ({"orders": (1, 1, 3)}, "orders are"),
        ({"regions": [1]}, "regions are"),
        ({"regions": [1, 256]}, "regions are"),
        ({"full": (9, 9, 9), "corner": (4, 0, 0)}, "does not fit"),
        ({"corner": (0, 0, -1)}, "corner is"),
    ],
)
def test_finish_refuses(options: dict[str, Any], fault: str) -> None:
    arguments = {"sums": VOLUME, "shape": (8, 8, 8)} | options
    with pytest.raises(KernelError, match=fault):
        finish(**arguments)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("regions", [None, (1, 2)])
def test_finish_refuses_what_is_not_finite(value: float, regions: Any) -> None:
    sums = VOLUME.copy()
    sums[1, 2, 3, 4] = value
    with pytest.raises(KernelError, match="not finite"):
        finish(sums, (8, 8, 8), regions=regions)


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(OptionError, match="unknown backend 'cuda'"):
        finish(VOLUME, (8, 8, 8), backend="cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a CUDA device")
def test_the_gpu_is_not_replaced_in_silence() -> None:
    for call in (
        lambda: finish(VOLUME, (8, 8, 8), backend="gpu"),
        lambda: gather(VOLUME, [[0, 0, 0]], (2, 2, 2), backend="gpu"),
        lambda: accumulate(VOLUME, WEIGHTS, LOGITS, [[0, 0, 0]], backend="gpu"),
    ):
        with pytest.raises(BackendError):
            call()
