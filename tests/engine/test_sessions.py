"""What every backend that runs on a CPU owes the executor, and sessions of several precisions in one process."""

import importlib.util
import shutil

import pytest
import torch

from umd_engine.engine.backends.eager import EagerSession, tf32_of
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.models.ready import open_unit

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
NEEDS = {
    "torch-compile": shutil.which("g++") is not None,
    "onnxruntime": importlib.util.find_spec("onnxruntime") is not None,
    "openvino": importlib.util.find_spec("openvino") is not None,
}


class Three(torch.nn.Module):
    """Outputs of three types."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.InstanceNorm3d(4)

    def forward(self, image, ids):
        found = self.norm(self.conv(image)).relu()
        return found, ids + 1, found > 0.5


def make_unit():
    torch.manual_seed(0)
    inputs = (TensorSpec("image", (1, 8, 8, 8)), TensorSpec("ids", (3,), torch.int64))
    return Unit("three", Three().eval(), inputs, ("found", "next", "inside"))


@pytest.mark.parametrize("backend", ["torch", "torch-compile", "torch-fused", "onnxruntime", "openvino"])
def test_outputs_are_those_of_the_whole_batch_and_the_callers_own(backend):
    if not NEEDS.get(backend, True):
        pytest.skip(f"{backend} cannot run here")
    unit = make_unit()
    session = open_unit(unit, backend, CPU)
    kept = []
    for batch in (3, 1, 3):  # 3 runs in pieces of 2 and 1 where sizes are fixed
        image, ids = torch.randn(batch, 1, 8, 8, 8), torch.arange(3 * batch).reshape(batch, 3)
        given = image.clone(), ids.clone()
        outputs = session.run((image, ids))
        assert [x.dtype for x in outputs] == [torch.float32, torch.int64, torch.bool]
        kept.append((given, (image, ids), outputs))
    del session
    for given, inputs, (found, after, inside) in kept:  # later runs, and the session's end, left them alone
        with torch.no_grad():
            expected, _, _ = unit.module(*given)
        assert all(torch.equal(x, y) for x, y in zip(inputs, given, strict=True))
        assert (found - expected).abs().max() <= 1e-5 * (expected.max() - expected.min())
        assert torch.equal(after, given[1] + 1)
        assert torch.equal(inside, found > 0.5)
        found.add_(1)  # as a sink may
        assert torch.equal(inputs[0], given[0])


def flags():
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


def test_a_precision_is_that_of_its_runs_alone():
    before = flags()
    with tf32_of("tf32", CUDA):
        assert flags() == (True, True)
        with tf32_of("fp32", CUDA):
            assert flags() == (False, False)
        assert flags() == (True, True)
        with tf32_of("fp32", CPU):
            assert flags() == (True, True)
    assert flags() == before


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["tf32", "fp32"])
def test_a_session_computes_in_its_precision_whatever_is_opened_after_it(precision):
    seen = []

    class Watched(torch.nn.Module):
        def forward(self, x):
            seen.append(flags())
            return x

    unit = Unit("watched", Watched(), (TensorSpec("x", (3,)),))
    first = EagerSession(unit, CUDA, precision)
    second = EagerSession(unit, CUDA, "fp32" if precision == "tf32" else "tf32")
    for session in (first, second, first):
        session.run(unit.example(1))
    assert seen == [(precision == "tf32",) * 2, (precision != "tf32",) * 2, (precision == "tf32",) * 2]
