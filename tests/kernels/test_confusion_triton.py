"""The Triton source of the counts from logits and of bit planes, without a GPU."""

from __future__ import annotations

from typing import Any

import pytest

triton = pytest.importorskip("triton")

import triton.language as tl  # noqa: E402
from triton_ahead import VERSION, check_interpreted, compile_ahead  # noqa: E402

from umd_engine.kernels.confusion import gpu_logits, gpu_planes  # noqa: E402

NUMBERS = {"voxels": "i64", "classes_label": "i32", "classes": "i32", "class_stride": "i64", "voxel_stride": "i64"}
NARROW = {"COMPARED": tl.float32, "TILE": gpu_logits.TILE, "TILES": gpu_logits.TILES}
LOGITS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "narrow": (gpu_logits.narrow_logits_kernel, "*fp32", {**NARROW, "BINS": 256, "voxel_stride": 1}),
    "narrow-half": (gpu_logits.narrow_logits_kernel, "*fp16", {**NARROW, "BINS": 256, "voxel_stride": 1}),
    "narrow-brain": (gpu_logits.narrow_logits_kernel, "*bf16", {**NARROW, "BINS": 2048, "voxel_stride": 1}),
    "narrow-double": (
        gpu_logits.narrow_logits_kernel,
        "*fp64",
        {**NARROW, "BINS": 256, "COMPARED": tl.float64, "voxel_stride": 1},
    ),
    "narrow-channels-last": (gpu_logits.narrow_logits_kernel, "*fp32", {**NARROW, "BINS": 256, "class_stride": 1}),
    # a launch makes a constant of every number that is 1
    "narrow-of-ones": (gpu_logits.narrow_logits_kernel, "*fp32", {**NARROW, "BINS": 4, **dict.fromkeys(NUMBERS, 1)}),
    "wide": (
        gpu_logits.wide_logits_kernel,
        "*fp32",
        {"COMPARED": tl.float32, "TILE": gpu_logits.WIDE_TILE, "voxel_stride": 1},
    ),
}


@pytest.mark.skipif(VERSION < (3, 7), reason="the interpreter of triton < 3.7 fails with numpy >= 2.4")
@pytest.mark.parametrize("name", ["confusion-logits", "confusion-planes"])
def test_interpreted_kernels_equal_the_reference(name: str) -> None:
    check_interpreted(name)


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("name", LOGITS)
def test_logits_compile_ahead_of_time(name: str, capability: int) -> None:
    kernel, pointer, constants = LOGITS[name]
    types = {"label": "*u8", "logits": pointer, "counts": "*i64", **NUMBERS}
    ptx = compile_ahead(kernel, types, constants, capability)
    assert "add.u64" in ptx or "add.s64" in ptx, "totals are 64 bits wide"


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("constants", [{}, {"words": 1}], ids=["words", "one-word"])
def test_planes_compile_ahead_of_time(constants: dict[str, int], capability: int) -> None:
    types = {"reference": "*i32", "prediction": "*i32", "totals": "*i64", "words": "i64"}
    sizes = {"LANES": gpu_planes.LANES, "ROUNDS": gpu_planes.ROUNDS, **constants}
    ptx = compile_ahead(gpu_planes.planes_kernel, types, sizes, capability)
    assert "lop3.b32" in ptx or "xor.b32" in ptx
    assert ".local" not in ptx, "a spilled counter"
