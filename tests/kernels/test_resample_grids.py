"""Properties of resampling by an affine map, of boxes, with aligned corners and in float32; others' results."""

from __future__ import annotations

import functools
import threading
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from op_resample import check_affine, check_area, check_zoom
from scipy import ndimage
from torch.nn.functional import affine_grid, grid_sample, interpolate

from umd_engine.errors import BackendError, KernelError
from umd_engine.kernels.resample import affine, area, cases, zoom
from umd_engine.kernels.resample.axes import Axis
from umd_engine.kernels.resample.cases import AffineCase, Case, matrix
from umd_engine.kernels.resample.taps import averaging, interpolating

pytest.importorskip("numba")
RNG = np.random.default_rng(0)
sizes = st.tuples(*[st.integers(1, 20)] * 3)
order = st.sampled_from((0, 1, 3))
precision = st.sampled_from(("float32", "float64"))


def noise(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return RNG.normal(0, 500, shape).astype(dtype)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 2), sizes, sizes, st.tuples(order, order, order), st.sampled_from((None, "volume")))
def test_any_shape_in_float32(channels: int, old: Any, new: Any, orders: Any, clip: str | None) -> None:
    case = Case("any", (channels, *old), new, orders, clip)
    check_zoom(case, functools.partial(zoom, precision="float32"), precision="float32")


@settings(max_examples=40, deadline=None)
@given(sizes, sizes, precision)
def test_any_boxes(old: Any, new: Any, kind: str) -> None:
    check_area(Case("any", (1, *old), new), functools.partial(area, precision=kind), precision=kind)


@settings(max_examples=60, deadline=None)
@given(
    sizes,
    sizes,
    st.tuples(*[st.floats(0.2, 3)] * 3),
    st.tuples(*[st.floats(-10, 10)] * 3),
    st.tuples(*[st.sampled_from((0.0, 0.3, -1.2))] * 2),
    order,
    st.sampled_from(("nearest", "constant")),
)
def test_any_affine(old: Any, new: Any, scale: Any, shift: Any, turn: Any, order: int, border: str) -> None:
    check_affine(AffineCase("any", (1, *old), new, matrix(scale, shift, turn), order, border, 5.0), affine)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize(("old", "new"), [((9, 8, 7), (20, 5, 7)), ((12, 5, 30), (7, 11, 13)), ((1, 4, 2), (3, 1, 2))])
def test_trilinear_is_torchs(old: Any, new: Any, kind: str, align: bool) -> None:
    """Its float32 has float32 places: a voxel's 1e-6."""
    data = torch.from_numpy(noise(2, *old, dtype=kind))
    expected = interpolate(data[None], new, mode="trilinear", align_corners=align)[0]
    found = zoom(data, new, (1, 1, 1), align_corners=align, precision=kind)
    torch.testing.assert_close(found, expected, atol=1e-2 if kind == "float32" else 1e-9, rtol=0)


@pytest.mark.parametrize(("old", "new"), [((9, 8, 7), (20, 16, 7)), ((12, 5, 31), (8, 11, 13))])
def test_nearest_and_area_are_torchs(old: Any, new: Any) -> None:
    """No place here lies just between two voxels: torch's scale is a float32 and may take the lower one there."""
    data = torch.from_numpy(noise(2, *old, dtype=np.float64))
    expected = interpolate(data[None], new, mode="nearest-exact")[0]
    torch.testing.assert_close(zoom(data, new, (0, 0, 0)), expected, atol=0, rtol=0)
    expected = interpolate(data[None], new, mode="area")[0]
    torch.testing.assert_close(area(data, new), expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("align", [False, True])
def test_affine_is_torchs_grid_sample(align: bool) -> None:
    """With grid_sample's "border"; its coordinates run from -1 to 1, in the order Z, Y, X."""
    old, new = (9, 8, 7), (12, 5, 10)
    data = torch.from_numpy(noise(1, *old, dtype=np.float64))
    theta = np.array([[0.9, 0.2, 0.1, 0.1], [-0.2, 1.1, 0.0, -0.2], [0.1, 0.1, 0.8, 0.05]])
    grid = affine_grid(torch.from_numpy(theta[None]), [1, 1, *new], align_corners=align)
    expected = grid_sample(data[None], grid, padding_mode="border", align_corners=align)[0]
    found = affine(data, _unit(old, align, inverse=True) @ _flipped(theta) @ _unit(new, align), new, 1)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


def _unit(shape: tuple[int, ...], align: bool, inverse: bool = False) -> np.ndarray:
    """(4, 4) voxel -> -1 to 1, or back."""
    result = np.eye(4)
    for axis, size in enumerate(shape):
        result[axis, axis] = 2 / (size - 1 if align else size)
        result[axis, 3] = -1 if align else 1 / size - 1
    return np.linalg.inv(result) if inverse else result


def _flipped(theta: np.ndarray) -> np.ndarray:
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = theta[::-1, 2::-1], theta[::-1, 3]
    return result


@pytest.mark.parametrize("orders", [1, 3])
@pytest.mark.parametrize("grid_mode", [True, False])
def test_float32_is_scipys_zoom(orders: int, grid_mode: bool) -> None:
    data = noise(31, 20, 17)
    expected = ndimage.zoom(data, (1.7, 0.5, 1.0), order=orders, mode="nearest", grid_mode=grid_mode)
    found = zoom(data[None], expected.shape, (orders,) * 3, align_corners=not grid_mode, precision="float32")
    np.testing.assert_allclose(found[0], expected, atol=1e-5 * np.ptp(data))


@pytest.mark.parametrize("orders", [0, 1, 3])
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_affine_identity_is_the_identity_bit_for_bit(orders: int, kind: str) -> None:
    data = noise(2, 9, 8, 7, dtype=kind)
    data[0, 0, 0, 0], data[0, 8, 7, 6] = -0.0, np.nan
    for border in ("nearest", "constant"):
        found = affine(data, np.eye(4), (9, 8, 7), orders, border, precision=kind)
        assert found.dtype == data.dtype and found.tobytes() == data.tobytes() and found is not data


@pytest.mark.parametrize("orders", [0, 1, 3])
@pytest.mark.parametrize("align", [False, True])
def test_zoom_is_affine_with_its_matrix(orders: int, align: bool) -> None:
    data, new = noise(2, 9, 8, 7, dtype=np.float64), (20, 5, 9)
    places = [Axis.zoomed(n, m, align).where for n, m in zip(data.shape[1:], new, strict=True)]
    same = np.diag([*(where[1] - where[0] for where in places), 1.0])
    same[:3, 3] = [where[0] for where in places]
    expected = zoom(data, new, (orders,) * 3, align_corners=align)
    np.testing.assert_allclose(affine(data, same, new, orders), expected, atol=1e-9)
    # and by the general loop: a turn too small to matter
    turned = same @ matrix(turn=(1e-15, 0))
    np.testing.assert_allclose(affine(data, turned, new, orders), expected, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(sizes, sizes, st.sampled_from((1, 3)), precision, st.floats(-1000, 1000))
def test_a_constant_stays_constant(old: Any, new: Any, orders: int, kind: str, value: float) -> None:
    """The weights of every new voxel sum to 1, also beyond the border."""
    flat = np.full((1, *old), value, kind)
    allowed = abs(value) * (1e-5 if kind == "float32" else 1e-12) + 1e-30
    turned = matrix((0.7, 1.3, 0.9), (-3, 2, 1), (0.2, 0.1))
    for found in (
        zoom(flat, new, (orders,) * 3, precision=kind),
        zoom(flat, new, (orders,) * 3, align_corners=True, precision=kind),
        area(flat, new, precision=kind),
        affine(flat, turned, new, orders, precision=kind),
        affine(flat, turned, new, orders, "constant", value, precision=kind),
    ):
        np.testing.assert_allclose(found, flat.flat[0], atol=allowed)


@pytest.mark.parametrize("turn", [(0.0, 0.0), (0.3, -0.2)])
def test_linear_ramps_are_exact_inside(turn: tuple[float, float]) -> None:
    i, j, k = np.indices((30, 30, 30))
    ramp = (3.0 * i - 2.0 * j + 0.5 * k + 7)[None]
    where = matrix((0.7, 0.8, 1.1), (10, 11, 9), turn)
    found = affine(ramp, where, (9, 9, 9), 1)[0]
    places = np.tensordot(where[:3, :3], np.indices((9, 9, 9)), 1) + where[:3, 3, None, None, None]
    inside = ((places >= 0) & (places <= 29)).all(axis=0)
    expected = 3 * places[0] - 2 * places[1] + 0.5 * places[2] + 7
    assert inside.sum() > 400
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-10)


@given(st.integers(1, 60), st.integers(1, 60))
def test_taps_lie_on_the_axis_and_sum_to_one(old: int, new: int) -> None:
    for taps in (averaging(old, new), *(interpolating(Axis.zoomed(old, new), order) for order in (0, 1))):
        assert taps.first.min() >= 0 and taps.first.max() + len(taps.weights) <= old
        np.testing.assert_allclose(taps.weights.sum(axis=0), 1, atol=1e-15)


def test_a_translation_by_voxels_is_a_copy_also_of_infinity() -> None:
    data = noise(1, 9, 8, 7)
    data[0, 4, 4, 4] = np.inf
    for orders in (0, 1):
        found = affine(data, matrix(shift=(2, 0, -1)), (5, 8, 7), orders, "constant", -1.0, precision="float32")
        np.testing.assert_array_equal(found[..., 1:], data[:, 2:7, :, :6])
        assert np.all(found[..., 0] == -1)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int64, np.float16, np.float64, bool])
def test_nearest_keeps_every_dtype(dtype: Any) -> None:
    data = RNG.integers(0, 2, (2, 6, 5, 4)).astype(dtype)
    turned = matrix((0.7, 1.3, 0.9), (-3, 2, 1), (0.2, 0.1))
    found = affine(data, turned, (5, 6, 7), 0, "constant", 1.0)
    assert found.dtype == dtype
    expected = affine(data.astype(np.int32), turned, (5, 6, 7), 0, "constant", 1.0, backend="reference")
    np.testing.assert_array_equal(found, expected.astype(dtype))
    tensor = torch.from_numpy(data.astype(np.float32)).to(torch.bfloat16)
    half = affine(tensor, turned, (5, 6, 7), 0, "constant", 1.0)
    assert half.dtype == torch.bfloat16
    np.testing.assert_array_equal(half.float().numpy(), found.astype(np.float32))


@pytest.mark.parametrize("orders", [0, 1, 3])
def test_twice_the_same_bits_from_many_threads(orders: int) -> None:
    data, turned = noise(1, 40, 30, 20), matrix((0.7, 1.3, 0.9), (3, 2, 1), (0.2, 0.1))
    runs: list[bytes] = []

    def run() -> None:
        found = affine(data, turned, (33, 20, 21), orders, precision="float32")
        zoomed = zoom(data, (50, 20, 31), (orders,) * 3, precision="float32")
        runs.append(found.tobytes() + zoomed.tobytes())

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs) == 4 and len(set(runs)) == 1


VOLUME = np.zeros((1, 4, 5, 6), np.uint8)
EYE = np.eye(4)


@pytest.mark.parametrize(
    ("arguments", "options", "fault"),
    [
        ((VOLUME[0], EYE, (4, 5, 6), 1), {}, "not \\[C, X, Y, Z\\]"),
        ((VOLUME, EYE[:2], (4, 5, 6), 1), {}, "not a finite \\(4, 4\\)"),
        ((VOLUME, EYE * np.nan, (4, 5, 6), 1), {}, "not a finite \\(4, 4\\)"),
        ((VOLUME, EYE * 2, (4, 5, 6), 1), {}, "last row"),
        ((VOLUME, EYE, (4, 5, 0), 1), {}, "an axis is empty"),
        ((VOLUME, EYE, (4, 5, 6), 2), {}, "orders"),
        ((VOLUME, EYE, (4, 5, 6), 1), {"border": "wrap"}, "unknown border 'wrap'"),
        ((VOLUME, EYE, (4, 5, 6), 0), {"border": "constant", "fill": 256}, "cannot hold the fill value 256"),
        ((VOLUME, EYE, (4, 5, 6), 0), {"border": "constant", "fill": 0.5}, "cannot hold"),
        ((VOLUME, EYE, (4, 5, 6), 1), {"border": "constant", "fill": float("nan")}, "cannot hold"),
        ((VOLUME, EYE, (4, 5, 6), 1), {"clip": "slice:0"}, "unknown clip"),
        ((VOLUME, EYE, (4, 5, 6), 1), {"precision": "float16"}, "unknown precision 'float16'"),
    ],
)
def test_refuses(arguments: Any, options: Any, fault: str) -> None:
    with pytest.raises(KernelError, match=fault):
        affine(*arguments, **options)


def test_area_and_zoom_refuse_a_precision() -> None:
    with pytest.raises(KernelError, match="unknown precision"):
        area(VOLUME, (2, 2, 2), precision="half")
    with pytest.raises(KernelError, match="unknown precision"):
        zoom(VOLUME, (2, 2, 2), (1, 1, 1), precision="half")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a CUDA device")
def test_the_gpu_is_not_replaced_in_silence() -> None:
    for call in (
        lambda: affine(VOLUME, EYE, (4, 5, 6), 1, backend="gpu"),
        lambda: area(VOLUME, (2, 2, 2), backend="gpu"),
        lambda: zoom(VOLUME, (8, 5, 6), (1, 1, 1), backend="gpu", precision="float32"),
    ):
        with pytest.raises(BackendError):
            call()


@pytest.mark.full
@pytest.mark.parametrize("orders", [0, 1, 3])
def test_sixty_million_voxels(orders: int) -> None:
    """zoom in float32 against SciPy, and the general loop against the separable one."""
    old, new = (1, 160, 150, 170), (400, 390, 390)
    case = Case("60 M", old, new, (orders,) * 3, None, np.float32)
    check_zoom(case, functools.partial(zoom, precision="float32"), precision="float32")
    data, scale = case.make(), np.diag([*np.divide(old[1:], new), 1.0])
    turned = scale @ matrix(turn=(1e-12, 0))
    straight, general = (affine(data, where, new, orders, precision="float32") for where in (scale, turned))
    unlike = np.abs(straight - general) > cases.TOLERANCE_SINGLE * np.ptp(data)
    assert unlike.mean() < (1e-4 if orders == 0 else 1e-12)
