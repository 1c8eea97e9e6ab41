"""Norm and activation of a network as one module, and a network whose modules are replaced by it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
RESIDUAL_BLOCKS = ("BasicBlockD", "BottleneckD")  # of dynamic_network_architectures


class NormAct(nn.Module):
    """`norm_act` with the parameters of an InstanceNorm, for inference.

    Args:
        norm: without running statistics; its parameters are shared, not copied.
        activation: a ReLU or LeakyReLU that follows it, or None.
        backend: of `norm_act`.
    """

    def __init__(self, norm: nn.Module, activation: nn.Module | None = None, backend: str = "auto"):
        super().__init__()
        assert fusable(norm, activation), (norm, activation)
        self.weight, self.bias, self.eps = norm.weight, norm.bias, float(norm.eps)  # type: ignore[arg-type]
        self.slope = float(getattr(activation, "negative_slope", 0.0))
        self.activation = (
            None if activation is None else "leaky_relu" if isinstance(activation, nn.LeakyReLU) else "relu"
        )
        self.backend = backend

    def forward(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        """x and residual [N, C, ...]; the residual is added before the activation."""
        from umd_engine.kernels.norm_act import norm_act

        added = None if residual is None else residual.to(x.dtype)  # autocast may leave an unnormalised skip wider
        return norm_act(x, self.weight, self.bias, self.eps, self.activation, self.slope, added, self.backend)

    def extra_repr(self) -> str:
        return f"activation={self.activation}, slope={self.slope}, eps={self.eps}"


class ResidualNormAct(nn.Module):
    """A residual block that ends in norm, addition and activation: `norm_act(body(x), residual=skip(x))`."""

    def __init__(self, block: Any, backend: str):
        super().__init__()
        *convs, last = (
            (block.conv1, block.conv2, block.conv3) if hasattr(block, "conv3") else (block.conv1, block.conv2)
        )
        *before, norm = last.all_modules
        self.body = nn.Sequential(*convs, *before)
        self.norm_act = NormAct(norm, _last(block), backend)
        self.skip = block.skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm_act(self.body(x), residual=self.skip(x))


def fusable(norm: nn.Module | None, activation: nn.Module | None) -> bool:
    """Whether `NormAct` computes what both do in turn."""
    if type(norm) not in NORMS or norm.track_running_stats:  # type: ignore[union-attr]
        return False
    return activation is None or type(activation) in (nn.ReLU, nn.LeakyReLU)


def fuse_norm_act(module: nn.Module, backend: str = "auto") -> int:
    """Replace, in place, what `NormAct` computes in one operation; parameters stay shared.

    Two patterns: an InstanceNorm without running statistics in an `nn.Sequential`, with the ReLU or LeakyReLU that
    follows it, if any (the Conv-Norm-Act blocks of dynamic_network_architectures among others); and that library's
    residual blocks, whose addition is fused too, unless they use stochastic depth or squeeze and excitation. Names of
    parameters change in residual blocks, so load a checkpoint first.

    Returns:
        How many norms were replaced.
    """
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if _is_residual(child):
                setattr(parent, name, ResidualNormAct(child, backend))
    for sequence in [one for one in module.modules() if type(one) is nn.Sequential]:
        _fuse_sequence(sequence, backend)
    return sum(isinstance(one, NormAct) for one in module.modules())


def _fuse_sequence(sequence: nn.Sequential, backend: str) -> None:
    for index, norm in enumerate(sequence):
        if not fusable(norm, None):
            continue
        after = sequence[index + 1] if index + 1 < len(sequence) else None
        together = after is not None and fusable(norm, after)
        sequence[index] = NormAct(norm, after if together else None, backend)
        if together:
            sequence[index + 1] = nn.Identity()


def _is_residual(block: Any) -> bool:
    if type(block).__name__ not in RESIDUAL_BLOCKS or block.apply_stochastic_depth or block.apply_se:
        return False
    last = block.conv3 if hasattr(block, "conv3") else block.conv2
    return fusable(last.all_modules[-1], _last(block))


def _last(block: Any) -> nn.Module:
    activation = block.nonlin3 if hasattr(block, "nonlin3") else block.nonlin2
    assert isinstance(activation, nn.Module), activation
    return activation
