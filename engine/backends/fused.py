"""The torch-fused backend: a copy of the module in the layout and the number type that the device likes."""

from __future__ import annotations

import copy

import torch

from umd_engine.engine.backends.batches import in_sizes
from umd_engine.engine.backends.eager import autocast_of, tf32_of
from umd_engine.engine.backends.graphs import CapturedCall
from umd_engine.engine.staging import staged
from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Tensors
from umd_engine.kernels.norm_act import fuse_norm_act

SIZES = (1, 2, 4, 8)  # of a CUDA graph; a batch of another size runs in pieces
CONVOLUTIONS = (torch.nn.Conv3d, torch.nn.ConvTranspose3d)


class FusedSession:
    """Runs a copy of a unit's module, whose own stays as it is.

    InstanceNorm, activation and residual addition are one kernel each (`norm_act`), equal to the module's own within
    rounding. At fp16 and bf16 the weights of convolutions and linear layers are in that type themselves, and between
    them autocast decides (on CUDA softmax and LayerNorm are float32); `norm_act` keeps its statistics in float32. On
    CUDA convolutions are channels last and each batch size is captured once as a CUDA graph; on a CPU, where channels
    last is the slower layout, neither.

    Raises:
        BackendError: the precision is useless on a CPU, or the module cannot be captured.
    """

    def __init__(self, unit: Unit, device: torch.device, precision: str = "fp32"):
        self.autocast = autocast_of(precision, device)
        self.name, self.device, self.precision = unit.name, device, precision
        self.layout = torch.channels_last_3d if device.type == "cuda" else torch.contiguous_format
        self.module = copy.deepcopy(unit.module).to(device).eval().requires_grad_(False)
        fuse_norm_act(self.module)
        lay_out(self.module, self.autocast, self.layout)
        self._captured: dict[int, CapturedCall] = {}

    def run(self, inputs: Tensors) -> Tensors:
        inputs = staged(inputs, self.device)
        if self.device.type == "cuda":
            return in_sizes(self._replay, inputs, SIZES)
        with torch.no_grad():  # not inference_mode: sinks work on the outputs in place
            return tuple(_wide(out) for out in self._forward(inputs))

    def _replay(self, inputs: Tensors) -> Tensors:
        size = len(inputs[0])
        if size not in self._captured:
            self._captured[size] = CapturedCall(self.name, self._forward, inputs)
        return tuple(_wide(out) for out in self._captured[size].run(inputs))

    def _forward(self, inputs: Tensors) -> Tensors:
        # no cache: weights are narrow already, and a graph must not hold tensors of autocast's
        with (
            tf32_of(self.precision, self.device),
            torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None, cache_enabled=False),
        ):
            outputs = self.module(*(x.contiguous(memory_format=self.layout) if x.ndim == 5 else x for x in inputs))
        return outputs if isinstance(outputs, tuple) else (outputs,)


def lay_out(module: torch.nn.Module, dtype: torch.dtype | None, layout: torch.memory_format) -> None:
    """Convolutions' weights in a layout, theirs and linear layers' in a type (None: as they are), in place."""
    for part in module.modules():
        if isinstance(part, (*CONVOLUTIONS, torch.nn.Linear)):
            part.to(dtype)
        if isinstance(part, CONVOLUTIONS):
            part.weight.data = part.weight.data.contiguous(memory_format=layout)


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
