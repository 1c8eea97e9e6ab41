"""What surrounds the capture of a CUDA graph, as far as a machine without a device can tell."""

import pytest
import torch

from umd_engine.engine.backends.graphs import capturing, cause_of, chosen_algorithms
from umd_engine.errors import BackendError


def test_algorithms_are_chosen_by_cudnn_and_nothing_else_changes(monkeypatch):
    cudnn = torch.backends.cudnn
    for deterministic in (False, True):
        monkeypatch.setattr(cudnn, "deterministic", deterministic)
        with chosen_algorithms():
            assert cudnn.enabled and cudnn.benchmark and cudnn.deterministic == deterministic
        assert cudnn.enabled and not cudnn.benchmark


@pytest.mark.parametrize("cause", [torch.OutOfMemoryError("CUDA out of memory"), BackendError("the engine")])
def test_the_cause_is_found_behind_what_ends_a_failed_capture(cause):
    with pytest.raises(RuntimeError) as caught:
        try:
            raise cause
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")
    assert cause_of(caught.value) is cause


def test_an_error_without_another_cause_is_itself():
    error = RuntimeError("operation not permitted when stream is capturing")
    assert cause_of(error) is error


@pytest.mark.gpu
def test_a_failed_capture_leaves_the_stream_and_tells_the_cause():
    device = torch.device("cuda")
    before, stream = torch.cuda.current_stream(), torch.cuda.Stream(device)
    x = torch.ones(4, device=device)
    with pytest.raises(torch.OutOfMemoryError), capturing(torch.cuda.CUDAGraph(), stream):
        try:
            x.sum().item()  # waits for the host, which spoils the capture
        except RuntimeError:
            raise torch.OutOfMemoryError("no room") from None
    assert torch.cuda.current_stream() == before
