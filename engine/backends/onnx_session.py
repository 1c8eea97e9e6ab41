"""The ONNX Runtime backends: an exported artifact through the CPU's, CUDA's or TensorRT's provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from umd_engine.engine.backends.batches import in_sizes
from umd_engine.engine.backends.onnx_providers import Provider, compute_stream, own_provider, tensorrt_provider
from umd_engine.engine.staging import staged
from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Tensors
from umd_engine.errors import BackendError

SIZES = (1, 2, 4, 8)  # of a call of TensorRT's provider


class OnnxSession:
    """Opens an ONNX file with the device's own provider.

    Inputs are bound where they lie and outputs stay where the provider wrote them, so nothing is copied on a CPU and
    nothing passes through the host on CUDA, where the provider computes on a stream of ours, in order with torch's.

    ONNX Runtime falls back to the CPU without a word; only `get_providers` tells, so it is asked, and a fall-back is
    an error. Single nodes that a provider lacks are ONNX Runtime's to place.

    Args:
        precision: fp32 or, on CUDA, tf32; others are the artifact's own.

    Raises:
        BackendError: ONNX Runtime is not installed, cannot run on the device, or cannot read the file.
    """

    def __init__(self, path: Path, device: torch.device, precision: str = "fp32"):
        self._stream = compute_stream(device)
        self._open(path, device, [own_provider(device, precision, self._stream)])

    def _open(self, path: Path, device: torch.device, providers: list[Provider]) -> None:
        runtime = import_runtime()
        _check_offered(providers[0][0], runtime.get_available_providers(), device)
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self.session = runtime.InferenceSession(str(path), options, providers=providers, enable_fallback=0)
        except Exception as error:  # ONNX Runtime's own have no class in common
            raise BackendError(
                f"ONNX Runtime cannot open it: {_one_line(error)}", where=path, mend="put a new export in its place"
            ) from None
        _check_offered(providers[0][0], self.session.get_providers(), device)
        self.device = device
        self.names = [node.name for node in self.session.get_inputs()]
        self.outputs = [node.name for node in self.session.get_outputs()]
        self._run_options = runtime.RunOptions()
        # the streams are ordered by events, so the host need not wait
        self._run_options.add_run_config_entry("disable_synchronize_execution_providers", "1")

    def run(self, inputs: Tensors) -> Tensors:
        inputs = tuple(x.contiguous() for x in staged(inputs, self.device))
        if self._stream is None:
            return tuple(map(_as_output, *self._bound(inputs)))
        current = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(current)
        outputs, kinds = self._bound(inputs)
        current.wait_stream(self._stream)
        for x in inputs:
            x.record_stream(self._stream)
        return tuple(map(_as_output, outputs, kinds))  # on the current stream: it has to wait first

    def _bound(self, inputs: Tensors) -> tuple[Tensors, list[bool]]:
        """Outputs, and which of them are booleans: views of ONNX Runtime's memory, which goes back to it with the last
        of them."""
        binding = self.session.io_binding()
        where = (self.device.type, self.device.index or 0)
        for name, x in zip(self.names, inputs, strict=True):
            binding.bind_input(name, *where, _element_type(x.dtype), tuple(x.shape), x.data_ptr())
        for name in self.outputs:
            binding.bind_output(name, *where)
        self.session.run_with_iobinding(binding, self._run_options)
        values = binding.get_outputs_as_ortvaluevector()
        outputs = tuple(torch.from_dlpack(values.dlpack_at(i)) for i in range(len(self.outputs)))
        booleans = set(values.bool_tensor_indices())  # DLPack gives them as uint8
        return outputs, [i in booleans for i in range(len(outputs))]


class OnnxTensorRTSession(OnnxSession):
    """Opens a unit's ONNX file with TensorRT's provider; what TensorRT lacks, CUDA's computes.

    The engine is built at the first call and kept in the artifact's folder; it is the device's and the library's own.

    Args:
        precision: the artifact's, which TensorRT has to be allowed; its float32 may be TF32 either way.

    Raises:
        BackendError: not a CUDA device, ONNX Runtime without TensorRT, or a folder that cannot be written.
    """

    def __init__(self, unit: Unit, path: Path, device: torch.device, precision: str = "fp32"):
        self._stream = compute_stream(device)
        if self._stream is None:
            raise BackendError("TensorRT runs on CUDA devices", mend="use --device cuda, or --backend onnxruntime")
        folder = path.parent / f"tensorrt-of-onnxruntime-{import_runtime().__version__}"
        first = tensorrt_provider(device, precision, self._stream, unit.inputs, folder)
        self._open(path, device, [first, own_provider(device, precision, self._stream)])

    def run(self, inputs: Tensors) -> Tensors:
        return in_sizes(super().run, inputs, SIZES)


def import_runtime() -> Any:
    """ONNX Runtime.

    Raises:
        BackendError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise BackendError(
            "ONNX Runtime is not installed",
            mend="pip install 'umd-engine[cpu]' or 'umd-engine[gpu]', never both",
        ) from None
    return onnxruntime


def _check_offered(wanted: str, offered: list[str], device: torch.device) -> None:
    if wanted not in offered:
        raise BackendError(
            f"ONNX Runtime {import_runtime().__version__} cannot run {wanted} on {device}: it offers "
            f"{', '.join(offered)}",
            mend="install umd-engine[gpu] with a matching CUDA, or use --device cpu",
        )


def _element_type(dtype: torch.dtype) -> Any:
    """NumPy's type, or ONNX's number of bfloat16, which NumPy lacks."""
    return 16 if dtype is torch.bfloat16 else np.dtype(str(dtype).removeprefix("torch."))


def _as_output(tensor: torch.Tensor, is_boolean: bool) -> torch.Tensor:
    return tensor.bool() if is_boolean else tensor.float() if tensor.is_floating_point() else tensor


def _one_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
