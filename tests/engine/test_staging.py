"""Inputs on their way to the device."""

import pytest
import torch

from umd_engine.engine.staging import staged


def test_on_a_cpu_nothing_is_copied():
    inputs = (torch.randn(2, 3), torch.zeros(2, dtype=torch.int64))
    moved = staged(inputs, torch.device("cpu"))
    assert all(after is before for before, after in zip(inputs, moved, strict=True))


@pytest.mark.gpu
def test_what_a_gpu_computes_on_is_what_the_host_had_whatever_is_under_way():
    cuda = torch.device("cuda")
    there = torch.randn(4, 1000, device=cuda)
    for number in range(50):
        busy = torch.randn(2000, 2000, device=cuda)
        for _ in range(5):
            busy = busy @ busy / 2000
        here = torch.full((4, 1_000_000), float(number))
        moved, same = staged((here, there), cuda)
        del here
        assert same is there and moved.is_cuda and bool((moved == number).all())
