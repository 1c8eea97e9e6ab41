"""The Triton source of norm_act without a GPU."""

from __future__ import annotations

from typing import Any

import pytest

triton = pytest.importorskip("triton")

from triton_ahead import VERSION, check_interpreted, compile_ahead  # noqa: E402

from umd_engine.kernels.norm_act import gpu  # noqa: E402

STRIDES = {"stride_n": "i64", "stride_c": "i64", "stride_v": "i64"}
NUMBERS = {"voxels": "i64", "channels": "i32", "split": "i64", **STRIDES}
PLANES: dict[str, Any] = {"VOXELS": gpu.TILE, "CHANNELS": 1, "stride_v": 1}
LAST: dict[str, Any] = {"VOXELS": gpu.TILE // 32, "CHANNELS": 32, "stride_c": 1}
ONE: dict[str, Any] = {"VOXELS": 16, "CHANNELS": 1, **dict.fromkeys(NUMBERS, 1)}
LAYOUTS = {"planes": PLANES, "channels-last": LAST, "ones": ONE}
ALL = {"HAS_WEIGHT": True, "HAS_BIAS": True, "HAS_RESIDUAL": True}
NONE = dict.fromkeys(ALL, False)


@pytest.mark.skipif(VERSION < (3, 7), reason="the interpreter of triton < 3.7 fails with numpy >= 2.4")
def test_interpreted_kernels_equal_the_reference() -> None:
    check_interpreted("norm_act")


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("pointer", ["*fp32", "*fp16", "*bf16"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_moments_compile_ahead_of_time(layout: str, pointer: str, capability: int) -> None:
    types = {"x": pointer, "moments": "*fp32", **NUMBERS}
    compile_ahead(gpu.moments_kernel, types, LAYOUTS[layout], capability, warps=8)


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize(("pointer", "has"), [("*fp32", ALL), ("*fp16", ALL), ("*bf16", NONE)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_second_pass_compiles_ahead_of_time(
    layout: str, pointer: str, has: dict[str, bool], capability: int
) -> None:
    pointers = {"x": pointer, "moments": "*fp32", "weight": "*fp32", "bias": "*fp32", "residual": pointer}
    types = {**pointers, "out": pointer, **NUMBERS, "splits": "i32", "eps": "fp32", "slope": "fp32"}
    sizes = {**has, **LAYOUTS[layout], "SPLITS": 64, "TILES": gpu.TILES}
    if layout == "ones":
        sizes = {**sizes, "SPLITS": 1, "splits": 1}
    compile_ahead(gpu.apply_kernel, types, sizes, capability, warps=8)
