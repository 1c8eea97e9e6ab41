"""CUDA C without a GPU: compiled for a device by NVRTC, and run on the CPU through cuda_on_cpu.h."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

HEADER = Path(__file__).with_name("cuda_on_cpu.h")
# fused multiply-add only where a kernel says fma, as a kernel compiled with --fmad=false
FLAGS = ("-O2", "-std=c++20", "-shared", "-fPIC", "-ffp-contract=off", "-w")
SCALARS: dict[str, Any] = {
    "int": ctypes.c_int,
    "unsigned": ctypes.c_uint,
    "unsigned int": ctypes.c_uint,
    "long long": ctypes.c_longlong,
    "unsigned long long": ctypes.c_ulonglong,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
    "bool": ctypes.c_bool,
}
ORDERS = (0, 1, 7)  # of the threads' turns: forwards, backwards, by chance


class CpuKernel:
    """A kernel of CUDA C that runs on the CPU: `kernel(grid, block, arguments)` as a cupy.RawKernel.

    Arguments are NumPy arrays where the kernel takes pointers, numbers elsewhere.

    Args:
        order: 0 runs a block's threads forwards, 1 backwards, another number by chance.
    """

    def __init__(self, source: str, name: str, order: int = 0):
        self._types, self._launch = _built(source, name)
        self._order = order

    def __call__(self, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any]) -> None:
        assert len(arguments) == len(self._types), (len(arguments), self._types)
        sizes = [*grid, *(1,) * (3 - len(grid)), *block, *(1,) * (3 - len(block))]
        self._launch(*map(ctypes.c_uint, sizes), ctypes.c_uint(self._order), *map(_argument, arguments, self._types))


def parameters(source: str, name: str) -> list[tuple[str, str]]:
    """(type, name) of each parameter of a kernel."""
    match = re.search(rf"__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?{name}\s*\(([^)]*)\)", source)
    assert match is not None, f"no kernel {name}"
    found = [re.fullmatch(r"(.*?[\s*])(\w+)", part.strip(), re.DOTALL) for part in match[1].split(",") if part.strip()]
    return [(re.sub(r"\b(?:const|__restrict__)\b", "", m[1]).strip(), m[2]) for m in found if m]


def _argument(value: Any, kind: str) -> Any:
    if kind.endswith("*"):
        if value is None:
            return ctypes.c_void_p(0)
        assert isinstance(value, np.ndarray), f"{kind} takes an array, not {type(value).__name__}"
        return ctypes.c_void_p(value.ctypes.data)
    return SCALARS[" ".join(kind.split())](value)


@cache
def _built(source: str, name: str) -> tuple[list[str], Callable[..., None]]:
    compiler = shutil.which("g++") or shutil.which("clang++")
    assert compiler is not None, "running CUDA C on the CPU needs g++ or clang++"
    wanted = parameters(source, name)
    listed = ", ".join(f"{kind} {parameter}" for kind, parameter in wanted)
    passed = ", ".join(parameter for _, parameter in wanted)
    trampoline = f"""
extern "C" void cuda_on_cpu_launch(unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                                   unsigned order, {listed}) {{
    cuda_on_cpu::launch({{gx, gy, gz}}, {{bx, by, bz}}, order, [&] {{ {name}({passed}); }});
}}
"""
    text = f'#include "{HEADER}"\n{source}\n{trampoline}'
    digest = hashlib.sha256((text + HEADER.read_text() + "".join(FLAGS)).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"umd-engine-cuda-on-cpu-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    library = folder / f"{name}-{digest}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            (Path(scratch) / "kernel.cpp").write_text(text)
            command = [compiler, *FLAGS, "-o", f"{scratch}/kernel.so", f"{scratch}/kernel.cpp"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            (Path(scratch) / "kernel.so").replace(library)
    return [kind for kind, _ in wanted], ctypes.CDLL(str(library)).cuda_on_cpu_launch


def compile_for(source: str, capability: int, options: Sequence[str] = ()) -> bytes:
    """The cubin that NVRTC makes of CUDA C; needs neither driver nor device.

    Raises:
        AssertionError: NVRTC's log, where the source does not compile.
    """
    from cupy_backends.cuda.libs import nvrtc

    program = nvrtc.createProgram(source, "kernel.cu", (), ())
    try:
        nvrtc.compileProgram(program, (f"-arch=sm_{capability}", "--std=c++17", "--fmad=false", *options))
    except nvrtc.NVRTCError:
        raise AssertionError(nvrtc.getProgramLog(program)) from None
    cubin = nvrtc.getCUBIN(program)
    nvrtc.destroyProgram(program)
    return bytes(cubin)
