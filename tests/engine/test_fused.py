"""The torch-fused backend: equal to eager within rounding at any batch, on a copy of the user's module."""

import copy
import warnings

import pytest
import torch
from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet
from torch import nn

from umd_engine.engine.backends import eager
from umd_engine.engine.backends.fused import FusedSession, lay_out
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.errors import BackendError
from umd_engine.kernels.norm_act import NormAct
from umd_engine.models.ready import open_unit

CPU = torch.device("cpu")


def make_unit():
    torch.manual_seed(0)
    network = ResidualEncoderUNet(
        input_channels=1, n_stages=3, features_per_stage=[8, 16, 32], conv_op=nn.Conv3d, kernel_sizes=3,
        strides=[1, 2, 2], n_blocks_per_stage=1, num_classes=4, n_conv_per_stage_decoder=1, conv_bias=True,
        norm_op=nn.InstanceNorm3d, norm_op_kwargs={"eps": 1e-5, "affine": True}, nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    )  # fmt: skip
    return Unit("network", network.eval(), (TensorSpec("image", (1, 16, 16, 16)),))


class Two(nn.Module):
    """Two outputs, one of integers; a linear layer, a LayerNorm and a softmax."""

    def __init__(self):
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(8), nn.Linear(8, 8)

    def forward(self, x, ids):
        return self.linear(self.norm(x)).softmax(-1), ids + 1


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize(("precision", "allowed"), [("fp32", 1e-5), ("bf16", 0.03)])
def test_fused_equals_eager(batch, precision, allowed):
    unit = make_unit()
    inputs = unit.example(batch)
    (expected,) = open_unit(unit, "torch", CPU).run(inputs)
    (found,) = open_unit(unit, "torch-fused", CPU, precision).run(inputs)
    assert found.shape == expected.shape and found.dtype == torch.float32
    assert (found - expected).abs().max() <= allowed * (expected.max() - expected.min())


def test_the_users_module_and_inputs_stay_and_outputs_are_written_in_place():
    unit = make_unit()
    before = copy.deepcopy(unit.module.state_dict())
    inputs = unit.example(2)
    given = inputs[0].clone()
    session = FusedSession(unit, CPU, "bf16")
    first, second = session.run(inputs)[0], session.run(inputs)[0]
    first.zero_()  # as a sink may
    assert second.any() and torch.equal(session.run(inputs)[0], second)
    assert torch.equal(inputs[0], given)
    assert not any(isinstance(part, NormAct) for part in unit.module.modules())
    after = unit.module.state_dict()
    assert all(torch.equal(after[name], before[name]) and after[name].dtype == torch.float32 for name in before)


def test_weights_are_narrow_and_norms_are_not():
    session = FusedSession(make_unit(), CPU, "bf16")
    kinds = {type(part): part.weight.dtype for part in session.module.modules() if hasattr(part, "weight")}
    assert kinds.pop(NormAct) == kinds.pop(nn.InstanceNorm3d) == torch.float32  # NormAct shares the norm's
    assert kinds.keys() == {nn.Conv3d, nn.ConvTranspose3d} and set(kinds.values()) == {torch.bfloat16}


def test_several_outputs_and_types():
    unit = Unit("two", Two().eval(), (TensorSpec("x", (5, 8)), TensorSpec("ids", (3,), torch.int64)), ("p", "next"))
    x, ids = torch.randn(3, 5, 8), torch.arange(9).reshape(3, 3)
    for precision, allowed in (("fp32", 1e-5), ("bf16", 0.02)):
        shares, after = FusedSession(unit, CPU, precision).run((x, ids))
        assert shares.dtype == torch.float32 and torch.allclose(shares.sum(-1), torch.ones(3, 5), atol=allowed)
        assert torch.equal(after, ids + 1)


def test_channels_last_says_the_same():
    """The layout of CUDA, on the CPU."""
    unit = make_unit()
    session, (x,) = FusedSession(unit, CPU), unit.example(2)
    (expected,) = session.run((x,))
    session.layout = torch.channels_last_3d
    lay_out(session.module, None, session.layout)
    convolutions = [part for part in session.module.modules() if isinstance(part, nn.Conv3d)]
    assert all(part.weight.is_contiguous(memory_format=torch.channels_last_3d) for part in convolutions)
    (found,) = session.run((x,))
    assert (found - expected).abs().max() <= 1e-5 * (expected.max() - expected.min())


def test_useless_precisions_are_refused():
    with pytest.raises(BackendError, match="fp16"):
        open_unit(make_unit(), "torch-fused", CPU, "fp16")
    with pytest.raises(BackendError, match="tf32"):
        open_unit(make_unit(), "torch-fused", CPU, "tf32")


@pytest.mark.parametrize(("flags", "slow"), [("fpu avx2 avx512_bf16", False), ("fpu avx2", True)])
def test_emulated_bf16_is_said(tmp_path, monkeypatch, flags, slow):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    monkeypatch.setattr(eager, "PROCESSOR", tmp_path / "cpuinfo")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        eager.autocast_of("bf16", CPU)
        eager.autocast_of("fp32", CPU)
    assert ["emulated" in str(one.message) for one in told] == [True] * slow


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "allowed"), [("fp32", 1e-4), ("fp16", 0.03), ("bf16", 0.05)])
def test_graphs_replay_what_eager_says(precision, allowed):
    unit, cuda = make_unit(), torch.device("cuda")
    session = FusedSession(unit, cuda, precision)
    for batch in (1, 3, 1):
        inputs = tuple(torch.randn_like(x) for x in unit.example(batch))
        with torch.no_grad():
            expected = unit.module(inputs[0])
        first = session.run(inputs)[0]
        session.run(tuple(-x for x in inputs))  # another replay leaves the first's outputs alone
        error = (first.cpu() - expected).abs().max()
        assert error <= allowed * (expected.max() - expected.min())
    assert set(session._captured) == {1, 2}
