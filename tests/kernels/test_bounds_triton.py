"""The bounds' Triton source without a GPU."""

from __future__ import annotations

import pytest

triton = pytest.importorskip("triton")

from triton_ahead import VERSION, check_interpreted, compile_ahead  # noqa: E402

from umd_engine.kernels.bounds import gpu  # noqa: E402

SIZES = {"IDS": gpu.IDS, "ROWS": gpu.ROWS, "TILE_Z": gpu.TILE_Z, "TILES_Y": gpu.TILES_Y}
STRIDES = ("stride_x", "stride_y", "stride_z")


@pytest.mark.skipif(VERSION < (3, 7), reason="the interpreter of triton < 3.7 fails with numpy >= 2.4")
def test_interpreted_kernel_equals_the_reference() -> None:
    check_interpreted("bounds")


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize(
    "constants",
    [{"stride_z": 1}, {}, {"ny": 1, "nz": 1, **dict.fromkeys(STRIDES, 1)}],
    ids=["dense", "strides", "ones"],
)
def test_compiles_ahead_of_time(constants: dict[str, int], capability: int) -> None:
    types = {"label": "*u8", "totals": "*i64", "ny": "i32", "nz": "i32", **dict.fromkeys(STRIDES, "i64")}
    ptx = compile_ahead(gpu.bounds_kernel, types, {**SIZES, **constants}, capability)
    assert "min.s64" in ptx and "max.s64" in ptx, "extremes are merged with 64-bit atomics"
