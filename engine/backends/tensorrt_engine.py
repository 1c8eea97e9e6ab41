"""The TensorRT backend: a serialised engine on a CUDA device. Written without one: never run until a GPU ran it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from umd_engine.engine.backends.batches import in_sizes
from umd_engine.engine.backends.graphs import capturing
from umd_engine.engine.backends.tensorrt_library import TensorRTLibrary, open_tensorrt
from umd_engine.engine.backends.tensorrt_record import EngineRecord, Profile, check_fits
from umd_engine.engine.work import Tensors
from umd_engine.errors import BackendError, OutOfMemoryError

_DTYPES = {
    "FLOAT": torch.float32,
    "HALF": torch.float16,
    "BF16": torch.bfloat16,
    "INT64": torch.int64,
    "INT32": torch.int32,
    "INT8": torch.int8,
    "UINT8": torch.uint8,
    "BOOL": torch.bool,
}


class TensorRTSession:
    """Opens an engine: one execution context and one CUDA stream a profile in use; tensors stay on the device.

    A batch that no profile has runs in pieces that profiles have. What it does on a device was never run until a GPU
    ran it; its refusals are tested without one.

    Attributes:
        memory_before, memory_after: bytes in use on the device before the engine was read and after its newest context
            was made, by everything that runs there. A profile has its context, with the scratch memory, made and its
            CUDA graph captured at its first call.

    Raises:
        BackendError: the device is not a CUDA device, the library is missing, or the engine is of another machine.
        OutOfMemoryError: the device has no room for the engine; `run` raises it for a context.
    """

    def __init__(self, path: Path, record: EngineRecord, device: torch.device):
        if device.type != "cuda":
            raise BackendError(f"TensorRT does not run on {device}", mend="use --device cuda, or another backend")
        self.library = open_tensorrt(record.library)
        check_fits(record, self.library.place(device))
        self.record, self.device = record, device
        with torch.cuda.device(device):
            self.memory_before = _in_use(device)
            self.library.errors.clear()
            self.runtime = self.library.module.Runtime(self.library.logger)
            self.engine = self.runtime.deserialize_cuda_engine(path.read_bytes())
            if self.engine is None:
                raise failure(self.library, f"cannot read the engine {path}")
            self.contexts: dict[int, ProfileContext] = {}
            self.memory_after = _in_use(device)

    @torch.no_grad()
    def run(self, inputs: Tensors) -> Tensors:
        with torch.cuda.device(self.device):
            return in_sizes(self._call, inputs, self.record.batches)

    def _call(self, inputs: Tensors) -> Tensors:
        size = len(inputs[0])
        self.library.errors.clear()  # a failure is told in the words of this call
        if size not in self.contexts:
            number = self.record.batches.index(size)
            self.contexts[size] = ProfileContext(self.library, self.engine, self.record, number, self.device)
            self.memory_after = _in_use(self.device)
        return self.contexts[size].run(inputs)


class ProfileContext:
    """The execution context of one profile, with a stream and buffers of its own.

    Where the profile fixes every shape, the first call captures a CUDA graph and later ones replay it.
    """

    def __init__(self, library: TensorRTLibrary, engine: Any, record: EngineRecord, number: int, device: torch.device):
        self.library, self.record, self.device = library, record, device
        self.stream = torch.cuda.Stream(device)
        self.context = library.create_context(engine)
        if self.context is None or not self.context.set_optimization_profile_async(number, self.stream.cuda_stream):
            raise failure(library, f"cannot make an execution context of profile {number}")
        self.stream.synchronize()
        self.dtypes = {name: _DTYPES[engine.get_tensor_dtype(name).name] for name in (*record.inputs, *record.outputs)}
        self.fixed = is_fixed(record.profiles[number])
        self.buffers: dict[str, torch.Tensor] = {}
        self.graph: torch.cuda.CUDAGraph | None = None

    def run(self, inputs: Tensors) -> Tensors:
        given = dict(zip(self.record.inputs, inputs, strict=True))
        if any(name not in self.buffers or self.buffers[name].shape != x.shape for name, x in given.items()):
            self._bind(given)
        for name, x in given.items():
            self.buffers[name].copy_(x, non_blocking=True)
        caller = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(caller)
        if self.fixed and self.graph is None:
            self.graph = self._capture()
        with torch.cuda.stream(self.stream):
            self.graph.replay() if self.graph is not None else self._enqueue()
        caller.wait_stream(self.stream)
        return tuple(_as_output(self.buffers[name]) for name in self.record.outputs)

    def _bind(self, given: dict[str, torch.Tensor]) -> None:
        """Buffers of these shapes, whose addresses the context keeps."""
        for name, x in given.items():
            if not self.context.set_input_shape(name, tuple(x.shape)):
                raise failure(self.library, f"the engine has no profile for {name} of shape {tuple(x.shape)}")
        self.buffers = {
            name: torch.empty(tuple(self.context.get_tensor_shape(name)), dtype=dtype, device=self.device)
            for name, dtype in self.dtypes.items()
        }
        for name, buffer in self.buffers.items():
            self.context.set_tensor_address(name, buffer.data_ptr())

    def _capture(self) -> torch.cuda.CUDAGraph:
        with torch.cuda.stream(self.stream):
            self._enqueue()  # the first call makes what a capture may not
        self.stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with capturing(graph, self.stream):
            self._enqueue()
        return graph

    def _enqueue(self) -> None:
        if not self.context.execute_async_v3(self.stream.cuda_stream):
            raise failure(self.library, "the engine does not run")


def is_fixed(profile: Profile) -> bool:
    """Whether every input has one shape alone."""
    return all(lowest == highest for lowest, _, highest in profile.values())


def failure(library: TensorRTLibrary, what: str) -> BackendError | OutOfMemoryError:
    """The error of a call that TensorRT did not do, in the words of its log."""
    reason = library.errors[-1] if library.errors else "it does not say why"
    if "out of memory" in reason.lower():
        return OutOfMemoryError(f"{library}: {what}: {reason}", mend="use a device with more memory or smaller batches")
    return BackendError(f"{library}: {what}: {reason}", mend="export the unit again, or use another backend")


def _as_output(buffer: torch.Tensor) -> torch.Tensor:
    """A copy that the next call leaves alone; floating point as float32."""
    return buffer.to(torch.float32, copy=True) if buffer.is_floating_point() else buffer.clone()


def _in_use(device: torch.device) -> int:
    free, total = torch.cuda.mem_get_info(device)
    return total - free
