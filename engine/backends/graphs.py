"""A call of fixed shapes as a CUDA graph: captured once, then replayed without the host's launches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from umd_engine.engine.work import Tensors
from umd_engine.errors import BackendError, UmdEngineError

WARM = 3  # calls before the capture: they compile kernels, choose algorithms and fill workspaces


class CapturedCall:
    """`call` on inputs of the given shapes, whose values do not matter.

    Inputs are copied into buffers of the graph's own and outputs out of them, on the current stream, so that what
    `run` returns outlives the next replay.

    Args:
        name: of the unit, for errors.
        call: waits for nothing on the host and copies nothing from it.

    Raises:
        BackendError: the call cannot be captured.
    """

    def __init__(self, name: str, call: Callable[[Tensors], Tensors], inputs: Tensors):
        self.inputs = tuple(x.clone() for x in inputs)
        self.graph = torch.cuda.CUDAGraph()
        device = inputs[0].device
        with torch.inference_mode(), torch.cuda.device(device), chosen_algorithms():
            side = torch.cuda.Stream(device)
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM):
                    call(self.inputs)
            torch.cuda.current_stream().wait_stream(side)
            try:
                with capturing(self.graph, side):
                    self.outputs = call(self.inputs)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                lines = str(error).strip().splitlines() or [type(error).__name__]
                raise BackendError(
                    f"{name} cannot be captured in a CUDA graph: {lines[0]}", mend="use --backend torch"
                ) from None

    def run(self, inputs: Tensors) -> Tensors:
        for held, given in zip(self.inputs, inputs, strict=True):
            held.copy_(given, non_blocking=True)
        with torch.cuda.device(self.inputs[0].device):
            self.graph.replay()
        return tuple(out.clone() for out in self.outputs)  # outside of inference_mode: sinks work on them in place


@contextmanager
def capturing(graph: torch.cuda.CUDAGraph, stream: torch.cuda.Stream) -> Iterator[None]:
    """Captures what is launched inside, on a stream of the device that computes.

    Where a capture fails, `torch.cuda.graph` ends with an error that hides the cause and leaves the thread on the
    capture's stream: both are put right here.
    """
    before = torch.cuda.current_stream(stream.device)
    try:
        # thread_local: threads that read scans may allocate on the device meanwhile
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            yield
    except RuntimeError as error:
        raise cause_of(error) from None
    finally:
        torch.cuda.set_stream(before)


def cause_of(error: BaseException) -> BaseException:
    """The lack of memory or the error of ours in whose handling `error` was raised; itself where there is none."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, torch.OutOfMemoryError | UmdEngineError):
        cause = cause.__context__
    return cause or error


@contextmanager
def chosen_algorithms() -> Iterator[None]:
    """cuDNN measures its algorithms in the first call of a shape; later calls take the fastest."""
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
