"""The Triton source without a GPU: run by the interpreter, and compiled ahead of time for sm_80 and sm_90."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

triton = pytest.importorskip("triton")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from umd_engine.kernels.confusion import gpu  # noqa: E402
from umd_engine.kernels.confusion.cases import CASES  # noqa: E402

POINTERS = {"label": "*u8", "prediction": "*u8", "counts": "*i64"}
NUMBERS = {"voxels": "i64", "classes_label": "i32", "classes_prediction": "i32"}
COMPILED = {
    "narrow-2": (gpu.narrow_kernel, {"BINS": 2, "TILE": gpu.TILE, "TILES": gpu.TILES}, 8),
    "narrow-256": (gpu.narrow_kernel, {"BINS": 256, "TILE": gpu.TILE, "TILES": gpu.TILES}, 8),
    "narrow-2048": (gpu.narrow_kernel, {"BINS": gpu.NARROW_BINS, "TILE": gpu.TILE, "TILES": gpu.TILES}, 8),
    "wide": (gpu.wide_kernel, {"TILE": gpu.WIDE_TILE}, 4),
    # a launch makes a constant of every number that is 1
    "narrow-of-ones": (
        gpu.narrow_kernel,
        {"BINS": 2, "TILE": gpu.TILE, "TILES": gpu.TILES, **dict.fromkeys(NUMBERS, 1)},
        8,
    ),
    "wide-one-voxel": (gpu.wide_kernel, {"TILE": gpu.WIDE_TILE, "voxels": 1}, 4),
}


def version() -> tuple[int, ...]:
    return tuple(int(part) for part in triton.__version__.split("+")[0].split(".")[:2])


@pytest.mark.skipif(version() < (3, 7), reason="the interpreter of triton < 3.7 fails with numpy >= 2.4")
def test_interpreted_kernels_equal_the_reference() -> None:
    script = Path(__file__).with_name("interpreted_confusion.py")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("equal")] == [case.name for case in CASES]
    assert len([line for line in lines if line.startswith("refused")]) == 2


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("name", COMPILED)
def test_compiles_ahead_of_time(name: str, capability: int) -> None:
    kernel, constants, warps = COMPILED[name]
    signature: dict[str, Any] = {**POINTERS, **NUMBERS, **dict.fromkeys(constants, "constexpr")}
    source = ASTSource(kernel, signature=signature, constexprs=constants)
    built = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": warps})
    assert len(built.asm["cubin"]) > 1000
    assert f".target sm_{capability}" in built.asm["ptx"]
    assert ".visible .entry" in built.asm["ptx"]
    assert "add.u64" in built.asm["ptx"] or "add.s64" in built.asm["ptx"], "totals are 64 bits wide"
