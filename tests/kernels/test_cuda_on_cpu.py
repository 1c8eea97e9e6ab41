"""The header that runs CUDA C on the CPU does what a device does, and shows what a device would get wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cuda_on_cpu import ORDERS, CpuKernel, compile_for

SUM = r"""
extern "C" __global__ void block_sums(const float* __restrict__ x, float* out, int n) {
    __shared__ float part[64];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    part[threadIdx.x] = i < n ? x[i] : 0.0f;
    __syncthreads();
    for (int step = 32; step > 0; step >>= 1) {
        if (threadIdx.x < step) part[threadIdx.x] += part[threadIdx.x + step];
        BARRIER;
    }
    if (threadIdx.x == 0) out[blockIdx.x] = part[0];
}
"""
WARP = r"""
extern "C" __global__ void warps(const int* x, int* sums, unsigned* odd, int* total) {
    int value = x[blockIdx.x * blockDim.x + threadIdx.x];
    unsigned votes = __ballot_sync(0xffffffffu, value & 1);
    int all = value;
    for (int lanes = 16; lanes > 0; lanes >>= 1) all += __shfl_xor_sync(0xffffffffu, all, lanes);
    int first = __shfl_sync(0xffffffffu, value, 0);
    int below = __shfl_up_sync(0xffffffffu, value, 1);
    int above = __shfl_down_sync(0xffffffffu, value, 1);
    if (threadIdx.x % 32 == 5) {
        int warp = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
        sums[4 * warp] = all; sums[4 * warp + 1] = first; sums[4 * warp + 2] = below; sums[4 * warp + 3] = above;
        odd[warp] = votes;
    }
    atomicAdd(total, value);
}
"""


def sums(order: int, source: str) -> np.ndarray:
    x = np.arange(150, dtype=np.float32)
    out = np.full(3, np.nan, np.float32)
    CpuKernel(source, "block_sums", order)((3,), (64,), (x, out, 150))
    return out


@pytest.mark.parametrize("order", ORDERS)
def test_barriers_and_shared_memory(order):
    assert sums(order, SUM.replace("BARRIER", "__syncthreads()")).tolist() == [2016, 6112, 3047]


def test_a_missing_barrier_shows():
    found = [sums(order, SUM.replace("BARRIER", "")).tolist() for order in ORDERS]
    assert any(result != [2016, 6112, 3047] for result in found)


@pytest.mark.parametrize("order", ORDERS)
def test_warps(order):
    x = np.random.default_rng(0).integers(0, 100, 192).astype(np.int32)
    results, odd, total = np.zeros((6, 4), np.int32), np.zeros(6, np.uint32), np.zeros(1, np.int32)
    CpuKernel(WARP, "warps", order)((2,), (96,), (x, results, odd, total))
    for warp, lanes in enumerate(x.reshape(6, 32)):
        assert results[warp].tolist() == [lanes.sum(), lanes[0], lanes[4], lanes[6]]
        assert odd[warp] == sum(1 << i for i in range(32) if lanes[i] & 1)
    assert total[0] == x.sum()


def test_a_barrier_that_some_never_reach_aborts():
    source = r"""
extern "C" __global__ void stuck(int* out) {
    if (threadIdx.x < 32) __syncwarp(0xffffffffu); else __syncthreads();
    if (threadIdx.x == 3) { __shfl_sync(0x18u, 1, 0); }
    out[threadIdx.x] = 1;
    __syncthreads();
}
"""
    script = (
        "import numpy; from cuda_on_cpu import CpuKernel;"
        f"CpuKernel({source!r}, 'stuck')((1,), (64,), (numpy.zeros(64, numpy.int32),))"
    )
    folder = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "barriers that others never reach" in done.stderr


@pytest.mark.parametrize("capability", [80, 90])
def test_the_same_source_compiles_for_a_device(capability):
    assert len(compile_for(WARP, capability)) > 1000


def test_what_does_not_compile_says_why():
    with pytest.raises(Exception, match="nonsense"):
        compile_for('extern "C" __global__ void k(int* x) { nonsense(x); }', 90)
