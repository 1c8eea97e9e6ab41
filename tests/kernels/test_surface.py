"""Properties of the surface metrics, others' results, empty masks, and what is refused."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from op_surface import IMPLEMENTATIONS, check_surface, compare_organ

from umd_engine.errors import BackendError, KernelError, OptionError
from umd_engine.kernels.bounds import bounds
from umd_engine.kernels.surface import SurfaceMetrics, cases, surface_distances, surface_metrics
from umd_engine.kernels.surface.areas import normals, surfel_areas
from umd_engine.kernels.surface.cpu import surface_distances as on_cpu
from umd_engine.kernels.surface.grids import batches

pytest.importorskip("numba")
NUMBERS = ("hd", "hd95_max", "hd95_pooled", "hd95_mean", "assd", "masd", "nsd")


def pair(seed: int = 4, shape: tuple[int, int, int] = (30, 33, 28)) -> cases.Maps:
    return cases.Case("", shape).make(seed)


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, max_side=9), elements=st.integers(0, 2)),
    st.integers(0, 2**32 - 1),
    st.tuples(*[st.sampled_from((1.0, 0.7, 2.5, 10.0))] * 3),
    st.sampled_from(("surfels", "voxels")),
)
def test_any_maps(label: np.ndarray, seed: int, spacing: tuple[float, float, float], elements: str) -> None:
    prediction = np.random.default_rng(seed).permutation(label.ravel()).reshape(label.shape)
    expected = surface_distances(label, prediction, (1, 2), spacing, elements=elements, backend="reference")
    found = surface_distances(label, prediction, (1, 2), spacing, elements=elements, backend="cpu")
    for name, organ in expected.items():
        compare_organ(f"organ {name}", found[name], organ, 1.2345)


@pytest.mark.parametrize("order", ["C", "F"])
def test_far_elements_few_or_many_in_a_plane(order: Any) -> None:
    label, prediction = np.zeros((2, 40, 24, 26), np.uint8)
    label[2], prediction[34] = 1, 1  # planes of 24 x 26, over 200 of whose elements are far
    label[8, 3, 4], prediction[30, 20, 22], label[5:9, 5:9, 5:9] = 2, 2, 3
    prediction[6:10, 5:9, 5:9], prediction[38, 22, 24] = 3, 3  # a stray voxel
    maps = np.asarray(label, order=order), np.asarray(prediction, order=order)
    expected = surface_distances(*maps, (1, 2, 3), (1.0, 0.7, 2.0), backend="reference")
    boxes = bounds(maps[0], 256).boxes, bounds(maps[1], 256).boxes
    found = surface_distances(*maps, (1, 2, 3), (1.0, 0.7, 2.0), backend="cpu", boxes=boxes)
    for name, organ in expected.items():
        compare_organ(f"organ {name}", found[name], organ, 1.2345)


def test_organs_are_grouped_by_the_places_of_their_boxes() -> None:
    organs = [(name, np.array([[0, size - 1]] * 3)) for name, size in ((1, 10), (2, 10), (3, 30), (4, 10))]
    assert [[name for name, _ in group] for group in batches(organs, 2000)] == [[1, 2], [3], [4]]
    assert list(batches([], 2000)) == []


# What DeepMind's surface-distance states in its own tests, to three places
def two_voxels() -> cases.Maps:
    label, prediction = np.zeros((2, 128, 128, 128), bool)
    label[50, 60, 70] = prediction[50, 60, 72] = True
    return label, prediction


def two_cubes() -> cases.Maps:
    label, prediction = np.zeros((2, 100, 100, 100), bool)
    label[:50] = prediction[:51] = True
    return label, prediction


@pytest.mark.parametrize(
    ("maps", "spacing", "expected"),
    [
        (two_voxels, (3, 2, 1), {"averages": (1.5, 1.5), "hd": 2.0, "hd95_max": 2.0, "nsd": 0.5}),
        (two_cubes, (2, 1, 1), {"averages": (0.322, 0.339), "hd": 2.0, "hd95_max": 2.0, "nsd": 0.836}),
    ],
)
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_golden_values(maps: Any, spacing: Any, expected: dict[str, Any], backend: str) -> None:
    found = surface_distances(*maps(), (1,), spacing, backend=backend)[1]
    averages = (
        np.average(found.label_to_prediction, weights=found.label_areas),
        np.average(found.prediction_to_label, weights=found.prediction_areas),
    )
    assert averages == pytest.approx(expected["averages"], abs=5e-4)
    metrics = dataclasses.asdict(found.metrics(1.0))
    for name in ("hd", "hd95_max", "nsd"):
        assert metrics[name] == pytest.approx(expected[name], abs=5e-4)


def test_areas_of_known_forms() -> None:
    spacing = (2.0, 3.0, 5.0)
    areas = surfel_areas(spacing)
    assert areas[0] == areas[255] == 0
    assert areas[0b11110000] == 15.0  # a plane across x: 3 mm x 5 mm
    assert areas[0b10101010] == 6.0  # across z
    corner = math.sqrt(15.0**2 + 10.0**2 + 6.0**2) / 8  # the triangle between the middles of three edges
    assert areas[1] == areas[254] == pytest.approx(corner, rel=1e-15)
    assert areas[0b10000001] == pytest.approx(2 * corner, rel=1e-15)
    assert all(areas[code] == pytest.approx(areas[255 - code]) for code in range(256))


def test_every_code_has_a_surface() -> None:
    for code in range(1, 255):
        assert normals(code) and surfel_areas((1.0, 1.0, 1.0))[code] > 0.2


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 2.0, 1.0), (0.7, 1.3, 5.0)])
def test_areas_equal_deepminds_table(spacing: tuple[float, float, float]) -> None:
    tables = pytest.importorskip("surface_distance.lookup_tables")
    expected = tables.create_table_neighbour_code_to_surface_area(spacing)
    np.testing.assert_allclose(surfel_areas(spacing), expected, rtol=1e-14)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 1.3, 5.0)])
def test_equals_deepminds_library(spacing: tuple[float, float, float]) -> None:
    peer = pytest.importorskip("surface_distance")
    label, prediction = pair()
    for name, organ in surface_distances(label, prediction, (1, 2, 3), spacing).items():
        theirs = peer.compute_surface_distances(label == name, prediction == name, spacing)
        np.testing.assert_allclose(organ.label_to_prediction, theirs["distances_gt_to_pred"], rtol=1e-12)
        np.testing.assert_allclose(organ.prediction_to_label, theirs["distances_pred_to_gt"], rtol=1e-12)
        for percent in (50, 95, 100):
            assert organ.percentile(percent) == pytest.approx(peer.compute_robust_hausdorff(theirs, percent))
        assert organ.masd() == pytest.approx(np.mean(peer.compute_average_surface_distance(theirs)))
        assert organ.nsd(1.1) == pytest.approx(peer.compute_surface_dice_at_tolerance(theirs, 1.1))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 1.3, 5.0)])
def test_equals_monai(spacing: tuple[float, float, float]) -> None:
    """HD95 and ASSD on voxels; NSD on voxels, and on surfels as use_subvoxels=True."""
    peer = pytest.importorskip("monai.metrics")
    label, prediction = pair()
    one, other = (torch.from_numpy(np.stack([maps == name for name in range(4)]))[None] for maps in (prediction, label))
    asked: dict[str, Any] = {"include_background": False, "spacing": spacing}
    hd95 = peer.compute_hausdorff_distance(one, other, percentile=95, **asked)[0]
    assd = peer.compute_average_surface_distance(one, other, symmetric=True, **asked)[0]
    nsd = peer.compute_surface_dice(one, other, [1.1] * 3, **asked)[0]
    subvoxels = peer.compute_surface_dice(one, other, [1.1] * 3, use_subvoxels=True, **asked)[0]
    voxels = surface_metrics(label, prediction, (1, 2, 3), spacing, 1.1, elements="voxels")
    surfels = surface_metrics(label, prediction, (1, 2, 3), spacing, 1.1)
    for index, name in enumerate((1, 2, 3)):
        assert voxels[name].hd95_max == pytest.approx(float(hd95[index]), rel=1e-5)
        assert voxels[name].assd == pytest.approx(float(assd[index]), rel=1e-5)
        assert voxels[name].nsd == pytest.approx(float(nsd[index]), rel=1e-5)
        assert surfels[name].nsd == pytest.approx(float(subvoxels[index]), rel=1e-5)


def test_hd95_by_its_three_definitions() -> None:
    """Distances 0..9 one way and 0..19 the other, by hand."""
    label, prediction = np.zeros((2, 1, 1, 60), bool)
    label[..., :10] = True
    prediction[..., 0] = True
    prediction[..., 20:30] = True
    found = surface_distances(label, prediction, (1,), (1, 1, 1), elements="voxels")[1]
    one, other = found.label_to_prediction, found.prediction_to_label
    assert one.tolist() == sorted(min(z, 20 - z) for z in range(10))
    assert other.tolist() == [0, *range(11, 21)]
    metrics = found.metrics()
    assert metrics.hd == 20
    assert metrics.hd95_max == max(np.percentile(one, 95), np.percentile(other, 95)) == 19.5
    assert metrics.hd95_mean == (np.percentile(one, 95) + 19.5) / 2
    assert metrics.hd95_pooled == np.percentile([*one, *other], 95) == 19.0
    assert metrics.assd == pytest.approx((one.sum() + other.sum()) / 21)
    assert metrics.masd == pytest.approx((one.mean() + other.mean()) / 2)
    assert metrics.nsd is None


def test_a_distance_of_the_tolerance_is_within_it() -> None:
    label, prediction = np.zeros((2, 12, 12, 12), bool)
    label[2:8, 2:8, 2:8] = prediction[4:10, 2:8, 2:8] = True
    for spacing in (0.1, 0.3, 0.7, 1.5):
        sizes = (spacing, 1.0, 1.0)
        assert surface_metrics(label, prediction, (1,), sizes, 2 * spacing)[1].nsd == 1.0
        assert surface_metrics(label, prediction, (1,), sizes, 1.99 * spacing)[1].nsd < 1.0


@pytest.mark.parametrize("elements", ["surfels", "voxels"])
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_empty_masks_have_a_status_and_no_numbers(elements: str, backend: str) -> None:
    label, prediction = np.zeros((2, 5, 6, 7), np.uint8)
    label[1:3, 1:3, 1:3], label[4, 4, 4], prediction[3, 3, 3], prediction[4, 4, 4] = 1, 4, 2, 4
    found = surface_metrics(label, prediction, (1, 2, 3, 4), (1, 1, 1), 2.0, elements=elements, backend=backend)
    assert [found[name].status for name in found] == ["prediction-empty", "label-empty", "both-empty", "ok"]
    for name in (1, 2, 3):
        assert all(getattr(found[name], metric) is None for metric in NUMBERS)
    assert all(getattr(found[4], metric) is not None for metric in NUMBERS)


def test_equal_maps_are_perfect() -> None:
    label = pair()[0]
    for metrics in surface_metrics(label, label.copy(), (1, 2, 3), (1.0, 2.0, 3.0), 0.0).values():
        assert metrics == SurfaceMetrics("ok", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def test_twice_the_same_bits_whatever_the_threads() -> None:
    maps = pair(shape=(50, 60, 40))
    first = on_cpu(*maps, (1, 2, 3), (0.7, 1.3, 2.9), "surfels", threads=1)
    for threads in (1, 2, 5):
        again = on_cpu(*maps, (1, 2, 3), (0.7, 1.3, 2.9), "surfels", threads=threads)
        for name, one in first.items():
            assert repr(one.metrics(2.0)) == repr(again[name].metrics(2.0))
            assert one.label_to_prediction.tobytes() == again[name].label_to_prediction.tobytes()
            assert one.label_areas.tobytes() == again[name].label_areas.tobytes()


MAP = np.ones((2, 3, 4), np.uint8)


@pytest.mark.parametrize(
    ("prediction", "options", "fault"),
    [
        (MAP.astype(np.int16), {}, "prediction is int16, not uint8"),
        (MAP.T, {}, "unlike shapes"),
        (MAP, {"spacing": (1, -1, 1)}, "spacing is"),
        (MAP, {"ids": (0,)}, "ids are"),
        (MAP, {"elements": "triangles"}, "elements are 'triangles'"),
        (MAP, {"tolerances": -1.0}, "tolerance of id 1 is -1.0"),
        (MAP, {"tolerances": math.nan}, "tolerance of id 1 is nan"),
        (MAP, {"tolerances": {2: 1.0}}, "no tolerance for id 1"),
    ],
)
def test_refuses(prediction: Any, options: dict[str, Any], fault: str) -> None:
    asked = {"ids": (1,), "spacing": (1, 1, 1), **options}
    with pytest.raises(KernelError, match=fault):
        surface_metrics(MAP, prediction, **asked)


def test_refuses_unknown_names() -> None:
    with pytest.raises(OptionError, match="unknown backend 'cuda'"):
        surface_distances(MAP, MAP, (1,), (1, 1, 1), backend="cuda")
    found = surface_distances(MAP, MAP, (1,), (1, 1, 1))[1]
    with pytest.raises(OptionError, match="definition 'median'"):
        found.percentile(95, "median")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a CUDA device")
def test_the_gpu_is_not_replaced_in_silence() -> None:
    with pytest.raises(BackendError):
        surface_distances(MAP, MAP, (1,), (1, 1, 1), backend="gpu")


@pytest.mark.full
@pytest.mark.parametrize("case", [case for case in cases.CASES if case.full], ids=lambda case: case.name)
def test_large_volumes(case: cases.Case) -> None:
    check_surface(case, IMPLEMENTATIONS["cpu"])
