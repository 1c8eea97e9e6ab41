"""The torch backend: the module as it is, on the CPU or a GPU."""

from __future__ import annotations

import warnings
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
        BackendError: fp16 on a CPU, where torch's convolutions are some 250 times slower than in float32.
    """

    def __init__(self, unit: Unit, device: torch.device, precision: str = "fp32"):
        self.device, self.autocast = device, autocast_of(precision, device)
        set_tf32(precision, device)
        self.module = unit.module.to(device).eval()

    @torch.no_grad()  # not inference_mode: sinks work on the outputs in place
    def run(self, inputs: Tensors) -> Tensors:
        inputs = staged(inputs, self.device)
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            outputs = self.module(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return tuple(out.float() if out.is_floating_point() else out for out in outputs)


def autocast_of(precision: str, device: torch.device) -> torch.dtype | None:
    """What torch's autocast computes convolutions and products in; None: as the module is.

    Warns that bf16 is slow on a CPU without instructions for it.

    Raises:
        BackendError: int8; or fp16 on a CPU, where torch's convolutions are some 250 times slower than in float32.
    """
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


def set_tf32(precision: str, device: torch.device) -> None:
    """Let CUDA's convolutions and products use 10-bit mantissas, or forbid it: torch's default for convolutions is
    TF32, 1e-3 off float32.

    Raises:
        BackendError: tf32 on a CPU.
    """
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    elif precision == "tf32":
        raise BackendError("tf32 is a mode of CUDA devices", mend="use --precision fp32")
