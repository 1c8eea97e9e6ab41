"""The ONNX Runtime backend: an exported artifact, on the CPU or through CUDA."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from umd_engine.engine.work import Tensors
from umd_engine.errors import BackendError


class OnnxSession:
    """Opens an ONNX file.

    ONNX Runtime asked for CUDA falls back to the CPU without a word; only `get_providers` tells, so it is
    asked, and a fall-back is an error.

    Raises:
        BackendError: ONNX Runtime is not installed, or cannot run on the device.
    """

    def __init__(self, path: Path, device: torch.device):
        try:
            import onnxruntime
        except ImportError:
            raise BackendError(
                "ONNX Runtime is not installed",
                mend="pip install 'umd-engine[cpu]' or 'umd-engine[gpu]', never both",
            ) from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        provider: str | tuple[str, dict[str, str | int]] = "CPUExecutionProvider"
        if device.type == "cuda":
            # DEFAULT algorithm search is about four times slower since ONNX Runtime 1.20
            settings: dict[str, str | int] = {
                "device_id": device.index or 0,
                "cudnn_conv_algo_search": "HEURISTIC",
            }
            provider = ("CUDAExecutionProvider", settings)
        else:
            options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
        wanted = provider if isinstance(provider, str) else provider[0]
        if wanted not in self.session.get_providers():
            raise BackendError(
                f"ONNX Runtime {onnxruntime.__version__} cannot run on {device}: it offers "
                f"{', '.join(self.session.get_providers())}",
                mend="install umd-engine[gpu] with a matching CUDA, or use --device cpu",
            )
        self.device = device
        self.names = [node.name for node in self.session.get_inputs()]

    def run(self, inputs: Tensors) -> Tensors:
        feeds = {name: np.ascontiguousarray(x.cpu().numpy()) for name, x in zip(self.names, inputs, strict=True)}
        outputs = self.session.run(None, feeds)
        return tuple(torch.from_numpy(out).to(self.device) for out in outputs)
