"""Properties of norm_act, torch's results, networks whose norms are fused, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from op_norm_act import check_norm_act
from torch import nn

from umd_engine.engine.backends.eager import EagerSession
from umd_engine.engine.backends.fused import FusedSession
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.errors import BackendError, KernelError
from umd_engine.kernels.norm_act import NormAct, cases, fuse_norm_act, norm_act

pytest.importorskip("numba")


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 2), st.integers(1, 40), st.integers(1, 12), st.integers(1, 12), st.integers(1, 12)),
    st.sampled_from(("contiguous", "channels_last", "view")),
    st.sampled_from(("relu", "leaky_relu", None)),
    st.booleans(),
    st.sampled_from((0.0, -50.0, 1e3)),
    st.integers(0, 100),
)
def test_any_shape(
    shape: tuple[int, ...], layout: str, activation: str | None, residual: bool, mean: float, seed: int
) -> None:
    case = cases.Case("any", shape, activation=activation, residual=residual, mean=mean, layout=layout)
    # of few voxels the spread may be as small as the digits that a large mean leaves
    assume(mean == 0 or shape[2] * shape[3] * shape[4] >= 8)
    check_norm_act(case, lambda **given: norm_act(**given, backend="cpu"), seed)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_torch_says_the_same(layout: torch.memory_format) -> None:
    x = torch.randn(2, 9, 11, 12, 13).contiguous(memory_format=layout)
    norm = nn.InstanceNorm3d(9, affine=True)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    with torch.no_grad():
        expected = nn.functional.leaky_relu(norm(x) + x, 0.2)
        found = norm_act(x, norm.weight, norm.bias, 1e-5, "leaky_relu", 0.2, x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    assert found.stride() == x.stride()


def test_numpy_in_and_out() -> None:
    x = np.random.default_rng(0).standard_normal((1, 2, 4, 5, 6), np.float32)
    found = norm_act(x, activation=None)
    assert isinstance(found, np.ndarray) and found.dtype == np.float32
    np.testing.assert_allclose(found.mean((2, 3, 4)), 0, atol=1e-6)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_infinite_residuals_and_nan(layout: str, backend: str) -> None:
    given = cases.Case("one", (1, 2, 3, 4, 5), activation="relu", residual=True, layout=layout).make()
    given["residual"][0, 0, 0, 0, 0] = -np.inf
    given["residual"][0, 0, 0, 0, 1] = np.inf
    given["x"][0, 1, 1, 1, 1] = np.nan
    found = norm_act(**given, backend=backend)
    assert found[0, 0, 0, 0, 0] == 0 and found[0, 0, 0, 0, 1] == np.inf
    assert torch.isfinite(found[0, 0]).sum() == 59 and found[0, 1].isnan().all(), "a NaN spoils its channel, no other"


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_twice_the_same_bits_whatever_the_threads(layout: str) -> None:
    from umd_engine.kernels.norm_act import cpu

    given = cases.Case("one", (1, 6, 50, 51, 52), residual=True, layout=layout).make()
    tensors = [given[name] for name in ("x", "weight", "bias", "residual")]
    results = [cpu.norm_act(*tensors, eps=1e-5, slope=0.1, threads=threads) for threads in (1, 2, 5, 2)]
    assert all(torch.equal(results[0], one) for one in results[1:])


def _network(kind: str) -> nn.Module:
    architectures = pytest.importorskip("dynamic_network_architectures.architectures.unet")
    common: dict[str, Any] = {
        "input_channels": 1,
        "n_stages": 3,
        "features_per_stage": (8, 16, 24),
        "conv_op": nn.Conv3d,
        "kernel_sizes": 3,
        "strides": (1, 2, 2),
        "num_classes": 3,
        "n_conv_per_stage_decoder": 1,
        "conv_bias": True,
        "norm_op": nn.InstanceNorm3d,
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
    }
    torch.manual_seed(0)
    if kind == "plain":
        return architectures.PlainConvUNet(n_conv_per_stage=2, **common).eval()
    return architectures.ResidualEncoderUNet(n_blocks_per_stage=2, **common).eval()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("kind", ["plain", "residual"])
@torch.no_grad()
def test_a_fused_network_says_the_same(kind: str, layout: torch.memory_format) -> None:
    network, x = _network(kind), torch.randn(1, 1, 16, 16, 24).contiguous(memory_format=layout)
    for parameter in network.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    expected = network(x)
    norms = {id(one) for one in network.modules() if isinstance(one, nn.InstanceNorm3d)}
    assert fuse_norm_act(network, backend="cpu") == len(norms)
    used: list[int] = []
    for one in network.modules():
        if isinstance(one, NormAct):
            one.register_forward_hook(lambda *_: used.append(1))
    found = network(x)
    assert len(used) == len(norms), "every norm runs fused"
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.max() - expected.min()))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_torch_backend_runs_it(precision: str) -> None:
    network = _network("residual")
    unit = Unit("network", network, (TensorSpec("x", (1, 16, 16, 24)),))
    inputs = unit.example(2)
    (expected,) = EagerSession(unit, torch.device("cpu"), precision).run(inputs)
    session = FusedSession(unit, torch.device("cpu"), precision)
    (found,) = session.run(inputs)
    assert any(isinstance(one, NormAct) for one in session.module.modules())
    assert not any(isinstance(one, NormAct) for one in network.modules()), "the unit's own module stays as it is"
    allowed = {"fp32": 1e-5, "bf16": 0.02}[precision] * float(expected.max() - expected.min())
    torch.testing.assert_close(found, expected, rtol=0, atol=allowed)


def test_running_statistics_and_other_activations_stay() -> None:
    kept = nn.Sequential(nn.InstanceNorm3d(4, track_running_stats=True), nn.ReLU(), nn.BatchNorm3d(4))
    assert fuse_norm_act(kept) == 0 and type(kept[1]) is nn.ReLU
    partly = nn.Sequential(nn.InstanceNorm3d(4), nn.GELU())
    assert fuse_norm_act(partly) == 1 and type(partly[1]) is nn.GELU
    x = torch.randn(1, 4, 5, 6, 7)
    torch.testing.assert_close(partly(x), nn.functional.gelu(nn.InstanceNorm3d(4)(x)), rtol=0, atol=1e-5)


X = torch.zeros(1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"x": X.double()}, "x is torch.float64"),
        ({"x": X[0, 0, 0]}, r"shape \(4, 5\)"),
        ({"x": [1.0]}, "list, not an array"),
        ({"x": X, "weight": torch.ones(3)}, r"weight has shape \(3,\), not \(2,\)"),
        ({"x": X, "residual": X[:, :1]}, "residual has shape"),
        ({"x": X, "residual": X.half()}, "residual is torch.float16 and x torch.float32"),
        ({"x": X, "eps": 0.0}, "eps is 0.0"),
        ({"x": X, "eps": float("nan")}, "eps is nan"),
        ({"x": X, "activation": "gelu"}, "unknown activation 'gelu'"),
        ({"x": X.clone().requires_grad_()}, "needs a gradient"),
        ({"x": X, "bias": X.new_zeros(2, device="meta")}, "bias lies on meta and x on cpu"),
    ],
)
def test_refuses(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(KernelError, match=fault):
        norm_act(**given)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a CUDA device")
def test_the_gpu_is_not_replaced_in_silence() -> None:
    with pytest.raises(BackendError):
        norm_act(X, backend="gpu")


@pytest.mark.full
def test_sixty_million_values() -> None:
    check_norm_act(cases.FULL, lambda **given: norm_act(**given, backend="cpu"))
