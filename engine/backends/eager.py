"""The torch backend: the module as it is, on the CPU or a GPU."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from umd_engine.engine.staging import staged
from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Tensors
from umd_engine.errors import BackendError

PROCESSOR = Path("/proc/cpuinfo")
_AUTOCAST = {"fp16": torch.float16, "bf16": torch.bfloat16}


class EagerSession:
    """Runs a unit's module without gradients.

    Args:
        precision: fp32; tf32 (fp32 with 10-bit mantissas in matrix products, CUDA only); or fp16 / bf16 by
            torch's autocast, which keeps normalisation and softmax in float32.

    Raises:
        BackendError: see `autocast_of`.
    """

    def __init__(self, unit: Unit, device: torch.device, precision: str = "fp32"):
        self.device, self.precision, self.autocast = device, precision, autocast_of(precision, device)
        self.module = unit.module.to(device).eval()

    @torch.no_grad()  # not inference_mode: sinks work on the outputs in place
    def run(self, inputs: Tensors) -> Tensors:
        inputs = staged(inputs, self.device)
        with (
            tf32_of(self.precision, self.device),
            torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None),
        ):
            outputs = self.module(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return tuple(out.float() if out.is_floating_point() else out for out in outputs)


def autocast_of(precision: str, device: torch.device) -> torch.dtype | None:
    """What torch's autocast computes convolutions and products in; None: as the module is.

    Warns that bf16 is slow on a CPU without instructions for it.

    Raises:
        BackendError: int8; tf32 on a CPU; fp16 on a CPU, where torch's convolutions are some 250 times slower than in
            float32.
    """
    if precision == "tf32" and device.type != "cuda":
        raise BackendError("tf32 is a mode of CUDA devices", mend="use --precision fp32")
    if precision == "fp16" and device.type == "cpu":
        raise BackendError("fp16 does not run usefully on a CPU", mend="use --precision fp32 or bf16")
    if precision == "int8":
        raise BackendError("int8 runs as an exported graph", mend="use --backend onnxruntime or tensorrt")
    if precision == "bf16" and device.type == "cpu" and not computes_bf16():
        warnings.warn("this processor has no bf16 instructions: it is emulated, and slower than fp32", stacklevel=2)
    return _AUTOCAST.get(precision)


def computes_bf16() -> bool:
    """Whether this processor multiplies bf16, by the flags that Linux tells; elsewhere unknown, and False."""
    flags = PROCESSOR.read_text(encoding="utf-8").split() if PROCESSOR.exists() else []
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags)


@contextmanager
def tf32_of(precision: str, device: torch.device) -> Iterator[None]:
    """CUDA's convolutions and products have 10-bit mantissas inside if `precision` is tf32, else full ones: torch's
    default for convolutions is TF32, 1e-3 off float32.

    The flags are the process's, so every run sets them: sessions of different precisions live side by side.
    """
    if device.type != "cuda":
        yield
        return
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    convolutions.allow_tf32 = products.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        convolutions.allow_tf32, products.allow_tf32 = before
