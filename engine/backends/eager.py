"""The torch backend: the module as it is, on the CPU or a GPU."""

from __future__ import annotations

import copy

import torch

from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Tensors
from umd_engine.errors import BackendError
from umd_engine.kernels.norm_act import fuse_norm_act

_AUTOCAST = {"fp16": torch.float16, "bf16": torch.bfloat16}


class EagerSession:
    """Runs a unit's module without gradients.

    Args:
        precision: fp32; tf32 (fp32 with 10-bit mantissas in matrix products, CUDA only); or fp16 / bf16 by
            torch's autocast, which keeps normalisation and softmax in float32.
        fused_norms: runs a copy of the module whose InstanceNorms, activations and residual additions are one kernel
            each; equal to the module's own within float32 rounding.

    Raises:
        BackendError: fp16 on a CPU, where torch's convolutions are some 250 times slower than in float32.
    """

    def __init__(self, unit: Unit, device: torch.device, precision: str = "fp32", fused_norms: bool = False):
        self.device, self.autocast = device, autocast_of(precision, device)
        set_tf32(precision, device)
        self.module = unit.module.to(device).eval()
        if fused_norms:
            self.module = copy.deepcopy(self.module)
            fuse_norm_act(self.module)

    @torch.no_grad()  # not inference_mode: sinks work on the outputs in place
    def run(self, inputs: Tensors) -> Tensors:
        inputs = tuple(x.to(self.device, non_blocking=True) for x in inputs)
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            outputs = self.module(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return tuple(out.float() if out.is_floating_point() else out for out in outputs)


def autocast_of(precision: str, device: torch.device) -> torch.dtype | None:
    """What torch's autocast computes convolutions and products in; None: as the module is.

    Raises:
        BackendError: int8; or fp16 on a CPU, where torch's convolutions are some 250 times slower than in float32.
    """
    if precision == "fp16" and device.type == "cpu":
        raise BackendError("fp16 does not run usefully on a CPU", mend="use --precision fp32 or bf16")
    if precision == "int8":
        raise BackendError("int8 runs as an exported graph", mend="use --backend onnxruntime or tensorrt")
    return _AUTOCAST.get(precision)


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
