"""Connected components: against cc3d, on any shape, bad input, and the CUDA source without a GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cuda_on_cpu import ORDERS, CpuKernel, compile_for
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from op_components import check_components

from umd_engine.errors import KernelError, OptionError
from umd_engine.kernels.components import components, largest_component
from umd_engine.kernels.components.cases import CASES, FULL_CASES, Case
from umd_engine.kernels.components.gpu import chunk_count, measure, number
from umd_engine.kernels.components.source import SOURCE

MAPS = npst.arrays(np.uint8, npst.array_shapes(min_dims=3, max_dims=3, max_side=9), elements=st.integers(0, 3))


def cuda_on_cpu(labels, connectivity, order=0):
    def launch(name, grid, block, arguments):
        CpuKernel(SOURCE, name, order)(grid, block, arguments)

    volume = np.ascontiguousarray(labels)
    numbers, parent = (np.full(volume.shape, -7, np.int32) for _ in range(2))
    chunks = np.zeros(chunk_count(volume.size) + 1, np.int32)
    number(launch, volume, parent, chunks, numbers, connectivity)
    sizes, ids = np.zeros(chunks[-1], np.int64), np.zeros(chunks[-1], np.uint8)
    measure(launch, volume, numbers, sizes, ids)
    return numbers, sizes, ids


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_cuda_on_the_cpu(case, order):
    check_components(case, lambda labels, connectivity: cuda_on_cpu(labels, connectivity, order))


@pytest.mark.parametrize("capability", [80, 90])
def test_compiles_ahead_of_time(capability):
    assert len(compile_for(SOURCE, capability)) > 1000


@settings(max_examples=60, deadline=None)
@given(labels=MAPS, connectivity=st.sampled_from([6, 18, 26]))
def test_any_shape(labels, connectivity):
    found, expected = (components(labels, connectivity, backend) for backend in ("cpu", "reference"))
    np.testing.assert_array_equal(found.numbers, expected.numbers)
    np.testing.assert_array_equal(found.sizes, expected.sizes)
    assert found.sizes.sum() == np.count_nonzero(labels)
    again = components(labels, connectivity, "cpu")
    assert again.numbers.tobytes() == found.numbers.tobytes()


@pytest.mark.parametrize("connectivity", [6, 18, 26])
@pytest.mark.parametrize("ids", [1, 4])
def test_equals_cc3d(connectivity, ids):
    cc3d = pytest.importorskip("cc3d")
    labels = Case("", (40, 37, 50), ids=ids, share=0.35).make()
    theirs, count = cc3d.connected_components(labels, connectivity=connectivity, return_N=True)
    ours = components(labels, connectivity)
    assert ours.sizes.size == count and ours.sizes.dtype == np.int64
    pairs = np.unique(np.stack([ours.numbers.ravel(), theirs.ravel().astype(np.int64)]), axis=1)
    assert pairs.shape[1] == count + 1, "one number of theirs for each of ours"


@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_the_largest_of_each_id(kind):
    labels = np.zeros((4, 5, 12), np.uint8)
    labels[0, 0, :3] = labels[2, 0, 5:9] = labels[3, 3, 8:12] = 1  # 3, and twice 4 voxels: the first of equals
    labels[1, 2, 0] = labels[3, 0, 0:2] = 9
    found = largest_component(labels if kind == "array" else torch.from_numpy(labels), 6)
    expected = np.zeros_like(labels)
    expected[2, 0, 5:9] = 1
    expected[3, 0, 0:2] = 9
    assert found.dtype in (np.uint8, torch.uint8)
    np.testing.assert_array_equal(np.asarray(found), expected)
    assert not largest_component(np.zeros((2, 2, 2), np.uint8)).any()


def test_a_bool_mask():
    mask = np.eye(4, dtype=bool)[None]
    assert components(mask, 26).sizes.tolist() == [4]
    assert components(torch.from_numpy(mask), 6).sizes.tolist() == [1] * 4


@pytest.mark.parametrize(
    ("labels", "connectivity", "said"),
    [
        (np.zeros((2, 2, 2), np.int16), 26, "int16"),
        (np.zeros((2, 2), np.uint8), 26, "shape"),
        (np.zeros((2, 2, 2), np.uint8), 8, "connectivity 8"),
        ([[[1]]], 26, "list"),
        (np.broadcast_to(np.uint8(1), (2048, 2048, 512)), 26, "2147483648 voxels"),
    ],
)
def test_bad_input(labels, connectivity, said):
    with pytest.raises(KernelError, match=said):
        components(labels, connectivity)


def test_an_unknown_backend():
    with pytest.raises(OptionError):
        components(np.zeros((1, 1, 1), np.uint8), backend="cuda")


@pytest.mark.full
@pytest.mark.parametrize("case", FULL_CASES, ids=lambda case: case.name)
def test_60_million_voxels(case):
    labels = case.make()
    found, expected = (components(labels, case.connectivity, backend) for backend in ("cpu", "reference"))
    np.testing.assert_array_equal(found.numbers, expected.numbers)
    np.testing.assert_array_equal(found.sizes, expected.sizes)
