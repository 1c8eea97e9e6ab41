"""ONNX Runtime's providers and their options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from umd_engine.engine.unit import TensorSpec
from umd_engine.errors import BackendError

Provider = tuple[str, dict[str, str]]
LARGEST = 8  # items a call of TensorRT's engines; a larger batch runs in pieces


def compute_stream(device: torch.device) -> torch.cuda.Stream | None:
    """A stream of torch's for a provider to compute on; None on a CPU.

    Raises:
        BackendError: torch sees no CUDA device.
    """
    if device.type == "cpu":
        return None
    if not torch.cuda.is_available():
        raise BackendError(f"ONNX Runtime cannot run on {device}: torch sees no CUDA device", mend="use --device cpu")
    return torch.cuda.Stream(device)


def own_provider(device: torch.device, precision: str, stream: torch.cuda.Stream | None) -> Provider:
    """The CPU's, or CUDA's on a stream of ours; `precision` tf32 lets CUDA round mantissas to 10 bits."""
    if stream is None:
        return "CPUExecutionProvider", {}
    return "CUDAExecutionProvider", {
        "device_id": str(device.index or 0),
        "user_compute_stream": str(stream.cuda_stream),
        # DEFAULT is about four times slower since ONNX Runtime 1.20
        "cudnn_conv_algo_search": "HEURISTIC",
        # the next power of two, as is the default, takes memory from torch
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": str(int(precision == "tf32")),
    }


def tensorrt_provider(
    device: torch.device, precision: str, stream: torch.cuda.Stream, inputs: Sequence[TensorSpec], folder: Path
) -> Provider:
    """TensorRT's, its engines and timings kept in a folder; one engine serves batches of 1 to `LARGEST`.

    The provider's networks are weakly typed: a narrow type in the graph is refused unless `precision` allows it, and
    where it is allowed TensorRT may also take it for layers that the graph has in float32. No option forbids TF32.

    Raises:
        BackendError: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BackendError(
            f"cannot keep TensorRT's engines: {error.strerror}", where=folder, mend="set UMD_ENGINE_CACHE"
        ) from None
    return "TensorrtExecutionProvider", {
        "device_id": str(device.index or 0),
        "user_compute_stream": str(stream.cuda_stream),
        # ONNX Runtime reads these from Python as "True" or "False" and refuses "1"
        **{f"trt_{kind}_enable": str(kind == precision) for kind in ("fp16", "bf16", "int8")},
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(folder),
        "trt_profile_min_shapes": profile(inputs, 1),
        "trt_profile_opt_shapes": profile(inputs, LARGEST // 2),
        "trt_profile_max_shapes": profile(inputs, LARGEST),
    }


def profile(inputs: Sequence[TensorSpec], batch: int) -> str:
    """Shapes at a batch size as TensorRT's provider reads them.

    >>> profile([TensorSpec("image", (1, 64, 64, 64)), TensorSpec("labels", (3,))], 4)
    'image:4x1x64x64x64,labels:4x3'
    """
    return ",".join(f"{spec.name}:{'x'.join(map(str, (batch, *spec.shape)))}" for spec in inputs)
