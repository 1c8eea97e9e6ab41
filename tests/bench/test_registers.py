"""What NVRTC's assembler says of CUDA C, without a device."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from umd_engine.bench.floor import registers
from umd_engine.bench.floor.report import KernelUse

pytest.importorskip("cupy_backends.cuda.libs.nvrtc")

SOURCE = """
extern "C" __global__ void light(float* x) { x[threadIdx.x] += 1.0f; }
extern "C" __global__ void __launch_bounds__(1024, 2) heavy(double* x, int n) {
    double kept[48];
    #pragma unroll
    for (int i = 0; i < 48; i++) kept[i] = x[i * n + threadIdx.x];
    __syncthreads();
    #pragma unroll
    for (int i = 0; i < 48; i++) x[i * n + threadIdx.x] = kept[47 - i] * kept[i];
}
"""


@pytest.mark.parametrize("capability", [80, 90])
def test_a_kernel_that_spills_is_told_from_one_that_does_not(capability: int) -> None:
    found = {use.kernel: use for use in registers.parse("op", registers.assembled(SOURCE, capability), capability)}
    assert set(found) == {"light", "heavy"}
    light, heavy = found["light"], found["heavy"]
    assert light.registers <= 16 and light.spills == 0 and light.stack == 0
    assert heavy.registers <= 32 and heavy.spills >= 48 * 8 - 32 * 4 and heavy.target == f"sm_{capability}"


def test_kernels_of_a_log_are_not_mixed_up() -> None:
    log = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'one' for 'sm_90'
ptxas info    : Function properties for one
ptxas         .     256 bytes stack frame, 8 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 80 registers, used 0 barriers, 256 bytes cumulative stack size
ptxas info    : Compiling entry function 'two' for 'sm_90'
ptxas info    : Function properties for two
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 10 registers
"""
    assert registers.parse("op", log, 90) == [
        KernelUse("op", "one", "sm_90", 80, 8, 256),
        KernelUse("op", "two", "sm_90", 10, 0, 0),
    ]


def test_an_operation_without_gpu_code_has_none() -> None:
    assert registers.of_operation("no_such_operation") == []


@pytest.mark.parametrize("name", ["components", "distance"])
def test_every_kernel_of_an_operation_is_found(name: str) -> None:
    source = (Path(registers.__file__).parents[2] / "kernels" / name / "source.py").read_text()
    written = set(re.findall(r"__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\(", source))
    found = registers.of_operation(name)
    assert {use.kernel for use in found} == written and all(0 < use.registers <= 255 for use in found)
