"""The gather's Triton source without a GPU: run by the interpreter, and compiled ahead of time for sm_80 and sm_90."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from op_resample import OPERATIONS

triton = pytest.importorskip("triton")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from umd_engine.kernels.resample import gather  # noqa: E402
from umd_engine.kernels.resample.weights import PAD  # noqa: E402

NUMBERS = (
    *("channels", "stride_c", "stride_0", "stride_1", "stride_2"),
    *("old_0", "old_1", "old_2", "new_x", "new_y", "new_z"),
)
COMPILED = {
    "labels": (0, "*u8", "*u8", False),
    "labels-diagonal": (0, "*u8", "*u8", True),
    "nearest-64-bits": (0, "*i64", "*i64", False),
    "linear": (1, "*fp32", "*fp32", False),
    "linear-diagonal": (1, "*fp32", "*fp32", True),
    "linear-int16": (1, "*i16", "*fp32", False),
    "linear-float64": (1, "*fp64", "*fp64", False),
    "cubic": (3, "*fp32", "*fp32", False),
    "cubic-float64": (3, "*fp64", "*fp64", False),
}


def version() -> tuple[int, ...]:
    return tuple(int(part) for part in triton.__version__.split("+")[0].split(".")[:2])


@pytest.mark.skipif(version() < (3, 7), reason="the interpreter of triton < 3.7 fails with numpy >= 2.4")
def test_interpreted_kernels_equal_the_reference() -> None:
    script = Path(__file__).with_name("interpreted_resample.py")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("equal")]
    assert [name for _, name, _ in lines] == [operation.name for operation in OPERATIONS]
    assert sum(int(count) for *_, count in lines) > 100


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("name", COMPILED)
def test_compiles_ahead_of_time(name: str, capability: int) -> None:
    order, source, result, diagonal = COMPILED[name]
    limits = "*fp64" if "64" in result else "*fp32"
    pointers = {"source": source, "terms": "*fp64", "limits": limits, "result": result}
    # a launch makes a constant of every number that is 1, as the last stride of a contiguous volume
    constants = {"ORDER": order, "BOUND": True, "DIAGONAL": diagonal, "PAD": PAD, "BLOCK": gather.BLOCK, "stride_2": 1}
    signature: dict[str, Any] = {**pointers, **dict.fromkeys(NUMBERS, "i32"), **dict.fromkeys(constants, "constexpr")}
    if name == "linear":  # volumes of 2 ** 31 voxels
        signature.update(dict.fromkeys(("stride_c", "stride_0", "stride_1"), "i64"))
    kernel = ASTSource(gather.gather_kernel, signature=signature, constexprs=constants)
    built = triton.compile(kernel, target=GPUTarget("cuda", capability, 32), options={"num_warps": 4})
    ptx = built.asm["ptx"]
    assert f".target sm_{capability}" in ptx and ".visible .entry" in ptx
    assert len(built.asm["cubin"]) > 1000
    assert "add.f64" in ptx or "add.rn.f64" in ptx
    if order == 0:
        assert "fma.rn.f64" not in ptx, "places are sums of rounded products, as on the CPU"
