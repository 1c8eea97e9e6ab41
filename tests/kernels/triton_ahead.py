"""Triton without a GPU: an operation under the interpreter in a process of its own, a kernel compiled for a device."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import triton
from tester import operations
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

VERSION = tuple(int(part) for part in triton.__version__.split("+")[0].split(".")[:2])


def check_interpreted(name: str) -> None:
    """Every case of an operation, checked by its GPU source in Triton's interpreter."""
    script = Path(__file__).with_name("interpreted_operations.py")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, str(script), name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"equal {name} {case.name}" for case in operations()[name].cases]


def compile_ahead(
    kernel: Any, types: Mapping[str, str], constants: Mapping[str, Any], capability: int, warps: int = 4
) -> str:
    """The PTX of a kernel, once its cubin was assembled too."""
    signature = {**types, **dict.fromkeys(constants, "constexpr")}
    source = ASTSource(kernel, signature=signature, constexprs=dict(constants))
    built = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": warps})
    assert len(built.asm["cubin"]) > 1000
    ptx: str = built.asm["ptx"]
    assert f".target sm_{capability}" in ptx and ".visible .entry" in ptx
    return ptx
