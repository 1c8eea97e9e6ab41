"""Registers and spills of an operation's GPU kernels, as the assembler tells them.

CUDA C is compiled for the device at hand, or without one for sm_90. Triton's kernels are known once they ran on a
device.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from umd_engine.bench.floor.report import KernelUse

KERNELS = "umd_engine.kernels"
WITHOUT_DEVICE = 90
# of `ptxas -v`: an entry's name, its frame and spills, its registers
ASSEMBLED = re.compile(
    r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores.*?Used (\d+) registers",
    re.DOTALL,
)


def of_operation(name: str) -> list[KernelUse]:
    """Every kernel of `kernels/NAME`; none where it has no GPU code or NVRTC is not installed."""
    modules = list(_modules(f"{KERNELS}.{name}"))
    return [*_cuda(name, modules), *_triton(name, modules)]


def assembled(source: str, capability: int, options: Sequence[str] = ()) -> str:
    """What the assembler says of CUDA C compiled by NVRTC; needs no driver.

    Raises:
        ImportError: no NVRTC.
        NVRTCError: it does not compile.
    """
    from cupy_backends.cuda.libs import nvrtc

    program = nvrtc.createProgram(source, "kernel.cu", (), ())
    try:
        nvrtc.compileProgram(program, (f"-arch=sm_{capability}", "--std=c++17", "-Xptxas=-v", *options))
        return str(nvrtc.getProgramLog(program))
    finally:
        nvrtc.destroyProgram(program)


def parse(op: str, log: str, capability: int) -> list[KernelUse]:
    """The kernels that the assembler's log names."""
    return [
        KernelUse(op, kernel, f"sm_{capability}", int(registers), int(spills), int(stack))
        for kernel, stack, spills, registers in ASSEMBLED.findall(log)
    ]


def _modules(package: str) -> Iterator[ModuleType]:
    try:
        root = importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        return
    yield root
    for found in pkgutil.walk_packages(root.__path__, f"{package}."):
        try:
            yield importlib.import_module(found.name)
        except ModuleNotFoundError as error:
            _say(f"registers of {found.name}: no module {error.name}")


def _cuda(name: str, modules: list[ModuleType]) -> Iterator[KernelUse]:
    capability = _capability()
    sources = {
        value: tuple(getattr(module, "OPTIONS", ()))
        for module in modules
        for value in vars(module).values()
        if isinstance(value, str) and "__global__" in value
    }
    whole = [s for s in sources if not any(s != other and s in other for other in sources)]  # parts are no programs
    if not whole:
        return
    try:
        from cupy_backends.cuda.libs import nvrtc
    except ImportError:
        _say(f"registers of {name}: no NVRTC")
        return
    for source in whole:
        try:
            log = assembled(source, capability, sources[source])
        except nvrtc.NVRTCError as error:
            _say(f"registers of {name}: its CUDA C does not compile alone: {error}")
            continue
        yield from parse(name, log, capability)


def _triton(name: str, modules: list[ModuleType]) -> Iterator[KernelUse]:
    import torch

    if not torch.cuda.is_available() or "triton" not in sys.modules:
        return
    from triton.runtime.jit import JITFunction

    functions = {id(v): v for module in modules for v in vars(module).values() if isinstance(v, JITFunction)}
    for function in functions.values():
        for compiled in _launched(function):
            yield KernelUse(
                name, function.__name__, f"sm_{_capability()}", compiled.n_regs, 4 * compiled.n_spills, None
            )


def _launched(function: Any) -> Iterator[Any]:
    """What Triton compiled of a function, one for every set of constants."""
    for caches in function.device_caches.values():
        yield from caches[0].values()


def _capability() -> int:
    import torch

    if not torch.cuda.is_available():
        return WITHOUT_DEVICE
    major, minor = torch.cuda.get_device_capability()
    return 10 * major + minor


def _say(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)
