"""The OpenVINO backend: an exported graph on the CPU, compiled once for the shapes that it meets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from umd_engine.engine.backends.batches import in_sizes
from umd_engine.engine.backends.eager import autocast_of
from umd_engine.engine.work import Tensors
from umd_engine.errors import BackendError

SIZES = (1, 2, 4, 8)  # compiled when first met; a batch of another size runs in pieces
HINTS = {"fp32": "f32", "bf16": "bf16"}  # what it computes a float32 graph in


class OpenVinoSession:
    """Opens a float32 ONNX file.

    Each batch size is compiled for itself, its weights packed anew: fixed shapes are faster, at the price of memory.

    Args:
        precision: fp32, or bf16 where OpenVINO has such a kernel.

    Raises:
        BackendError: see `check_openvino`; a file that it cannot read.
    """

    def __init__(self, path: Path, device: torch.device, precision: str = "fp32"):
        runtime = check_openvino(device, precision)
        self._core = runtime.Core()
        self._options = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "PERFORMANCE_HINT": "LATENCY",
        }
        try:
            self._model = self._core.read_model(str(path))
        except RuntimeError as error:
            line = str(error).strip().splitlines()[-1]
            raise BackendError(
                f"OpenVINO cannot open it: {line}", where=path, mend="delete it and export it again"
            ) from None
        self._requests: dict[tuple[torch.Size, ...], Any] = {}

    def run(self, inputs: Tensors) -> Tensors:
        return in_sizes(self._infer, inputs, SIZES)

    def _infer(self, inputs: Tensors) -> Tensors:
        arrays = [x.cpu().contiguous().numpy() for x in inputs]
        found = self._request(tuple(x.shape for x in inputs)).infer(arrays, share_inputs=True)
        return tuple(torch.from_numpy(array) for array in found.values())  # copies, which sinks may write into

    def _request(self, shapes: tuple[torch.Size, ...]) -> Any:
        if shapes not in self._requests:
            model = self._model.clone()
            model.reshape({port: list(shape) for port, shape in zip(model.inputs, shapes, strict=True)})
            self._requests[shapes] = self._core.compile_model(model, "CPU", self._options).create_infer_request()
        return self._requests[shapes]


def check_openvino(device: torch.device, precision: str) -> Any:
    """The library.

    Raises:
        BackendError: it is not installed, the device is no CPU, or the precision is neither fp32 nor bf16.
    """
    if device.type != "cpu":
        raise BackendError(f"openvino does not run on {device}", mend="use --device cpu, or another backend")
    if precision not in HINTS:
        raise BackendError(f"openvino does not run {precision} here", mend=f"use --precision {' or '.join(HINTS)}")
    autocast_of(precision, device)  # says where bf16 is emulated
    try:
        import openvino
    except ImportError:
        raise BackendError("OpenVINO is not installed", mend="pip install 'umd-engine[openvino]'") from None
    return openvino
