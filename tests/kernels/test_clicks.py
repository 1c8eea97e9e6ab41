"""Clicks: known answers of Philox, the published steps written out, any shape, bad input, CUDA without a GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cuda_on_cpu import ORDERS, CpuKernel, compile_for
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from op_clicks import check_clicks, public

from umd_engine.errors import KernelError, UnknownNameError
from umd_engine.kernels.clicks import RULES, ClickKey, draw_clicks
from umd_engine.kernels.clicks.cases import CASES, FULL_CASES, Case
from umd_engine.kernels.clicks.gpu import run, workspace
from umd_engine.kernels.clicks.philox import draw_index, philox4x32
from umd_engine.kernels.clicks.source import SOURCE
from umd_engine.kernels.clicks.volumes import Volumes

# Random123, tests/kat_vectors: counter, key, result
KNOWN = (
    ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
)
KEY = ClickKey(5, "scan")
MAPS = npst.arrays(
    np.uint8, st.tuples(st.just(2), *[st.integers(1, 8)] * 3), elements=st.integers(0, 2), fill=st.just(0)
)


def cuda_on_cpu(label, prediction, case, order=0):
    """The GPU's launches through the CPU's header."""

    def launch(name, grid, block, arguments):
        CpuKernel(SOURCE, name, order)(grid, block, arguments)

    def empty(voxels, dtype):
        return np.full(voxels, -77 if dtype == "int32" else 77, dtype)

    left, right = (None if one is None else np.ascontiguousarray(one) for one in (label, prediction))
    parts = [case.organs[first : first + 32] for first in range(0, len(case.organs), 32)] or [()]
    rows = []
    for organs in parts:
        volumes, rule = Volumes(left, right, organs, case.spacing), RULES[case.rule]
        work = workspace(rule, volumes.shape, empty)
        rows.append(run(launch, np.ascontiguousarray, work, volumes, rule, case.key.words(organs)))
    found = np.concatenate(rows)
    return found[:, :3], found[:, 3] == 1, found[:, 4] == 1


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_cuda_on_the_cpu(case, order):
    check_clicks(case, lambda label, prediction, case: cuda_on_cpu(label, prediction, case, order))


@pytest.mark.parametrize("capability", [80, 90])
def test_compiles_ahead_of_time(capability):
    assert len(compile_for(SOURCE, capability)) > 1000


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_known_answers(counter, key, expected):
    assert philox4x32(counter, key) == expected
    words, out = np.array([[*counter, *key]], np.uint32), np.zeros((1, 4), np.uint32)
    CpuKernel(SOURCE, "philox_rows")((1,), (32,), (words, out, 1))
    assert tuple(out[0].tolist()) == expected


def test_every_part_of_the_key_counts():
    keys = [
        KEY,
        ClickKey(6, "scan"),
        ClickKey(5 + 2**32, "scan"),
        ClickKey(5, "scans"),
        ClickKey(5, "scan", 1),
        ClickKey(5, "scan", 0, 1),
    ]
    draws = {draw_index(key.words((organ,))[0], 2**62) for key in keys for organ in (1, 2, 255)}
    assert len(draws) == 3 * len(keys)


def test_draws_are_uniform():
    words = np.concatenate([ClickKey(1, "a", click).words((3,)) for click in range(6000)])
    counts = np.bincount([draw_index(row, 6) for row in words], minlength=6)
    assert counts.size == 6
    assert ((counts - 1000.0) ** 2 / 1000).sum() < 20.5  # chi-squared of 5 degrees of freedom, p = 0.001


@settings(max_examples=80, deadline=None)
@given(maps=MAPS, rule=st.sampled_from(sorted(RULES)), seed=st.integers(0, 2**64 - 1), alone=st.booleans())
def test_any_shape(maps, rule, seed, alone):
    label, prediction = maps[0], None if alone else maps[1]
    case = Case("", label.shape, rule, organs=(1, 2), key=ClickKey(seed, "x"))
    found, expected = (public(label, prediction, case, backend) for backend in ("cpu", "reference"))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    again = public(label, prediction, case, "cpu")
    assert [field.tobytes() for field in again] == [field.tobytes() for field in found]
    for organ, voxel, positive, drawn in zip((1, 2), *found, strict=True):
        if drawn:
            assert (label[tuple(voxel)] == organ) == positive
            if rule not in ("sam_med3d", "sam_med3d_ritm"):
                guess = np.zeros_like(label) if prediction is None else prediction
                assert (label[tuple(voxel)] == organ) != (guess[tuple(voxel)] == organ)
        else:
            assert voxel.tolist() == [-1] * 3 and not positive


@pytest.mark.parametrize("rule", RULES)
def test_an_organ_is_drawn_alike_alone_and_in_company(rule):
    label, prediction = Case("", (14, 15, 16), rule).make()
    together = draw_clicks(label, (3, 1, 2), KEY, rule, prediction)
    for n, organ in enumerate((3, 1, 2)):
        alone = draw_clicks(label, (organ,), KEY, rule, prediction)
        assert alone.voxels[0].tolist() == together.voxels[n].tolist()


@pytest.mark.parametrize("rule", RULES)
def test_planes_and_maps_give_the_same_clicks(rule):
    label, prediction = Case("", (14, 15, 16), rule).make()
    planes = [
        sum((one == organ).astype(np.uint32) << np.uint32(n) for n, organ in enumerate((1, 2, 3)))
        for one in (label, prediction)
    ]
    maps = draw_clicks(label, (1, 2, 3), KEY, rule, prediction)
    for left, right in ((label, planes[1]), (planes[0], prediction), planes):
        found = draw_clicks(left, (1, 2, 3), KEY, rule, right)
        np.testing.assert_array_equal(found.voxels, maps.voxels)
        np.testing.assert_array_equal(found.positive, maps.positive)


def test_cvpr25_clicks_where_the_evaluator_may():
    """The evaluator's steps with cc3d: our voxel is among those that it draws from."""
    cc3d = pytest.importorskip("cc3d")
    ndimage = pytest.importorskip("scipy.ndimage")
    label, prediction = Case("", (24, 25, 26), "cvpr25", prediction="noise").make(3)
    found = draw_clicks(label, (1, 2, 3), KEY, "cvpr25", prediction)
    for organ, voxel in zip((1, 2, 3), found.voxels, strict=True):
        error = ((label == organ) != (prediction == organ)).astype(np.uint8)
        components = cc3d.connected_components(error, connectivity=26)
        sizes = np.bincount(components.ravel())
        sizes[0] = 0
        depth = ndimage.distance_transform_edt(np.pad(components == sizes.argmax(), 5))[5:-5, 5:-5, 5:-5]
        assert depth[tuple(voxel)] == depth.max()


def test_vista3d_takes_the_larger_eroded_region():
    label, prediction = np.zeros((12, 12, 30), np.uint8), np.zeros((12, 12, 30), np.uint8)
    label[2:7, 2:7, 2:7] = 1  # 27 voxels are left of the missed cube
    prediction[2:6, 2:8, 12:29] = 1  # 2 * 4 * 15 = 120 of the wrong box
    label[8:10, 8:10] = prediction[8:10, 8:10] = 1
    found = draw_clicks(label, (1,), KEY, "vista3d", prediction)
    assert not found.positive[0] and found.drawn[0]
    assert all(low <= at < high for at, low, high in zip(found.voxels[0], (3, 3, 13), (5, 7, 28), strict=True))
    prediction[2:6, 2:8, 12:29] = 0
    prediction[2:7, 2:7, 12:17] = 1  # as large: FN is taken
    assert draw_clicks(label, (1,), KEY, "vista3d", prediction).positive[0]


def test_ritm_ties_are_negative():
    label, prediction = np.zeros((5, 5, 12), np.uint8), np.zeros((5, 5, 12), np.uint8)
    label[1:4, 1:4, 1:4] = prediction[1:4, 1:4, 7:10] = 1
    found = draw_clicks(label, (1,), KEY, "ritm", prediction)
    assert found.voxels[0].tolist() == [2, 2, 8] and not found.positive[0]


def test_sam_med3d_falls_back_to_the_label():
    label = np.zeros((4, 5, 6), np.uint8)
    label[1, 2, 3], label[3] = 1, 2
    prediction = label.copy()
    prediction[3, 0, 0] = 0
    found = draw_clicks(label, (1, 2, 3), KEY, "sam_med3d", prediction)
    assert found.voxels[:2].tolist() == [[1, 2, 3], [3, 0, 0]]
    assert found.drawn.tolist() == [True, True, False] and found.positive.tolist() == [True, True, False]


@settings(max_examples=30, deadline=None)
@given(spacing=st.tuples(*[st.floats(0.05, 20.0)] * 3), seed=st.integers(0, 99))
def test_deepest_in_mm(spacing, seed):
    ndimage = pytest.importorskip("scipy.ndimage")
    label, _ = Case("", (12, 11, 10), "deepest", prediction="none").make(seed)
    found = draw_clicks(label, (1, 2), KEY, "deepest", spacing=spacing)
    for organ, voxel, drawn in zip((1, 2), found.voxels, found.drawn, strict=True):
        depth = ndimage.distance_transform_edt(np.pad(label == organ, 1), spacing)[1:-1, 1:-1, 1:-1]
        assert drawn == (depth.max() > 0)
        assert not drawn or depth[tuple(voxel)] >= depth.max() * (1 - 1e-6)


ZEROS = np.zeros((2, 3, 4), np.uint8)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((ZEROS.astype(np.int16), (1,), KEY), "int16"),
        ((ZEROS[0], (1,), KEY), "shape"),
        (([[[0]]], (1,), KEY), "list"),
        ((ZEROS, (0,), KEY), "organs"),
        ((ZEROS, (256,), KEY), "organs"),
        ((ZEROS, (1, 1), KEY), "organs"),
        ((ZEROS, (1,), KEY, "random", ZEROS[1:]), "unlike shapes"),
        ((ZEROS, (1,), KEY, "deepest", None, (1, 1, np.nan)), "spacing"),
        ((ZEROS, (1,), KEY, "deepest", None, (1, 0, 1)), "spacing"),
        ((ZEROS, (1,), KEY, "cvpr25", None, (1, 1, 2)), "defined in voxels"),
        ((ZEROS.astype(np.uint32), range(1, 34), KEY), "33 organs"),
        ((np.broadcast_to(np.uint8(0), (2048, 2048, 512)), (1,), KEY), "2147483648 voxels"),
    ],
)
def test_bad_input(arguments, said):
    with pytest.raises(KernelError, match=said):
        draw_clicks(*arguments)


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"seed": 2**64}, {"click": -1}, {"repeat": 2**16}])
def test_bad_keys(wrong):
    with pytest.raises(KernelError):
        ClickKey(**{"seed": 0, "scan_id": "", **wrong})


def test_an_unknown_rule_suggests():
    with pytest.raises(UnknownNameError, match="cvpr24"):
        draw_clicks(ZEROS, (1,), KEY, "cvpr24")


def test_devices_have_to_agree():
    with pytest.raises(KernelError, match="meta"):
        draw_clicks(torch.from_numpy(ZEROS), (1,), KEY, "random", torch.from_numpy(ZEROS).to("meta"))


@pytest.mark.full
@pytest.mark.parametrize("case", FULL_CASES, ids=lambda case: case.name)
def test_60_million_voxels(case):
    check_clicks(case, lambda label, prediction, case: public(label, prediction, case, "cpu"))
