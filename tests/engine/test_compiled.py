"""The torch-compile backend: equal to eager within rounding at any batch, a typed error without a compiler."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from umd_engine.engine.backends.batches import in_sizes, pieces
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.errors import BackendError
from umd_engine.models.ready import open_unit

CPU = torch.device("cpu")


def make_unit():
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.BatchNorm3d(4), torch.nn.ReLU(), torch.nn.Conv3d(4, 3, 1)
    )
    network[1].running_var.uniform_(0.5, 2)
    network[1].running_mean.normal_()
    return Unit("network", network.eval(), (TensorSpec("image", (1, 8, 8, 8)),))


@given(st.integers(1, 200), st.sets(st.sampled_from([2, 3, 4, 8, 16])))
def test_pieces_make_up_the_batch(count, sizes):
    sizes = {1, *sizes}
    found = pieces(count, tuple(sizes))
    assert sum(found) == count and set(found) <= sizes
    assert found == sorted(found, reverse=True)


def test_a_batch_in_pieces_is_the_batch():
    seen = []

    def call(inputs):
        seen.append(len(inputs[0]))
        return inputs[0] + inputs[1], inputs[0] * 2

    a, b = torch.arange(7.0), torch.randn(7)
    total, double = in_sizes(call, (a, b), (1, 4))
    assert seen == [4, 1, 1, 1]
    assert torch.equal(total, a + b) and torch.equal(double, a * 2)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile on a CPU needs a C++ compiler")
def test_compiled_equals_eager():
    unit = make_unit()
    eager, compiled = (open_unit(unit, backend, CPU) for backend in ("torch", "torch-compile"))
    for batch in (1, 3):
        inputs = unit.example(batch)
        (expected,), (found,) = eager.run(inputs), compiled.run(inputs)
        assert found.shape == expected.shape and found.dtype == torch.float32
        assert torch.allclose(found, expected, atol=1e-5 * float(expected.abs().max()))
    # the user's module is as it was
    assert torch.equal(unit.module(inputs[0]), expected)


def test_many_networks_of_one_class_stay_compiled():
    """dynamo's limit counts per class, not per network; beyond it a network would run eagerly."""
    open_unit(make_unit(), "torch-compile", CPU)
    assert torch._dynamo.config.recompile_limit >= 1000


LONE = """
import torch
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.errors import BackendError
from umd_engine.models.ready import open_unit
network = torch.nn.Sequential(torch.nn.Conv3d(1, 4, 3), torch.nn.InstanceNorm3d(4)).eval()
unit = Unit("network", network, (TensorSpec("image", (1, 8, 8, 8)),))
try:
    open_unit(unit, "torch-compile", torch.device("cpu")).run(unit.example(1))
except BackendError as error:
    print(error)
"""


def test_without_a_compiler(tmp_path):
    environment = {**os.environ, "CXX": str(tmp_path / "none"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", LONE], env=environment, capture_output=True, text=True)
    assert "network cannot be compiled" in done.stdout and "C++ compiler" in done.stdout, done.stderr


def test_useless_precisions_are_refused():
    with pytest.raises(BackendError, match="fp16"):
        open_unit(make_unit(), "torch-compile", CPU, "fp16")
    with pytest.raises(BackendError, match="tf32"):
        open_unit(make_unit(), "torch-compile", CPU, "tf32")
