"""The windows' Triton source without a GPU: run by the interpreter, and compiled ahead of time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

triton = pytest.importorskip("triton")

import triton.language as tl  # noqa: E402
from op_windows import OPERATIONS  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from umd_engine.kernels.windows import gpu, programs  # noqa: E402

FLOATS = ("sums", "total", "weights", "intensity", "fraction")
BYTES = ("codes", "labels", "out")
LONG = ("table", "below", "above")
PATCH = {"PX": 128, "PY": 128, "PZ": 128}
TILE = {**PATCH, "ROWS": gpu.ROWS, "COLUMNS": gpu.COLUMNS}
GATHER = {"C": 1, **PATCH, "BLOCK": gpu.BLOCK}
COMPILED: dict[str, tuple[Any, dict[str, Any], dict[str, str]]] = {
    "gather-int16": (programs.gather_kernel, {**GATHER, "PIXEL": tl.int16}, {"out": "*fp16", "padding": "fp32"}),
    "gather-uint8": (programs.gather_kernel, {**GATHER, "PIXEL": tl.uint8}, {"out": "*fp32", "padding": "fp32"}),
    "gather-float": (programs.gather_kernel, {**GATHER, "PIXEL": tl.float32}, {"out": "*bf16", "padding": "fp32"}),
    "accumulate-fp16": (programs.accumulate_kernel, TILE, {"logits": "*fp16"}),
    "accumulate-fp32": (programs.accumulate_kernel, TILE, {"logits": "*fp32"}),
    # a launch makes a constant of every number that is 1
    "accumulate-one": (programs.accumulate_kernel, {**TILE, "windows": 1, "stride_z": 1}, {"logits": "*bf16"}),
    "decide": (programs.decide_kernel, {"REGIONS": False, "BLOCK": gpu.BLOCK}, {"bad": "*i32"}),
    "decide-regions": (programs.decide_kernel, {"REGIONS": True, "BLOCK": gpu.BLOCK}, {"bad": "*i32"}),
    "decide-one": (
        programs.decide_kernel,
        {"REGIONS": False, "BLOCK": gpu.BLOCK, "heads": 1, "nz": 1, "stride_z": 1},
        {"bad": "*i32"},
    ),
    "finish": (programs.finish_kernel, {"REGIONS": False, "BLOCK": gpu.BLOCK}, {}),
    "finish-regions": (programs.finish_kernel, {"REGIONS": True, "BLOCK": gpu.BLOCK, "out_z": 1}, {}),
    "finish-one": (
        programs.finish_kernel,
        {"REGIONS": False, "BLOCK": gpu.BLOCK, "heads": 1, "new_z": 1, "nz": 1, "stride_z": 1},
        {},
    ),
}


def _version() -> tuple[int, ...]:
    return tuple(int(part) for part in triton.__version__.split("+")[0].split(".")[:2])


@pytest.mark.skipif(_version() < (3, 7), reason="the interpreter of triton < 3.7 fails with numpy >= 2.4")
def test_interpreted_kernels_equal_the_reference() -> None:
    script = Path(__file__).with_name("interpreted_windows.py")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    expected = [f"equal {operation.name} {case.name}" for operation in OPERATIONS for case in operation.cases]
    assert [line for line in lines if line.startswith("equal")] == expected
    assert len([line for line in lines if line.startswith("refused")]) == 2


def _type(name: str, given: dict[str, str]) -> str:
    if name in given:
        return given[name]
    if name in FLOATS:
        return "*fp32"
    if name in BYTES:
        return "*u8"
    return "*i64" if name in LONG else "i32"


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("name", COMPILED)
def test_compiles_ahead_of_time(name: str, capability: int) -> None:
    kernel, constants, given = COMPILED[name]
    signature = {arg: "constexpr" if arg in constants else _type(arg, given) for arg in kernel.arg_names}
    source = ASTSource(kernel, signature=signature, constexprs=constants)
    options = {"num_warps": 4, "enable_fp_fusion": not name.startswith("accumulate")}
    built = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    ptx = built.asm["ptx"]
    assert len(built.asm["cubin"]) > 1000 and f".target sm_{capability}" in ptx and ".visible .entry" in ptx
    if name.startswith("accumulate"):
        assert "fma.rn.f32" not in ptx, "a product and an addition, as on a CPU"
        assert re.search(r"\b(?:atom|red)\.(?:global|relaxed|add)", ptx) is None, "nothing is added atomically"
