"""Intensity rules: what a description says of a channel's values, applied in its order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from umd_engine.errors import VoxelError
from umd_engine.models.custom.description import Affine, Quantiles, Rule, Window, ZScore
from umd_engine.models.quantile import quantile

TINY = 1e-8
Measured = list[tuple[float, float]]  # the values of a channel's quantile rules, in their order


def apply_rules(channel: torch.Tensor, rules: Sequence[Rule], borrowed: Measured, where: object = None) -> Measured:
    """Apply the rules to one channel, float32 [X, Y, Z], in place.

    Args:
        borrowed: what the localiser measured on this channel; for rules with `of: localiser`, the first first.

    Returns:
        What this channel's own quantile rules measured.

    Raises:
        VoxelError: values that are not finite, or quantiles that are the same.
    """
    low, high = (float(end) for end in torch.aminmax(channel)) if channel.numel() else (0.0, 0.0)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise VoxelError("voxels are infinite or not numbers", where=str(where or "image"), mend="write it anew")
    measured: Measured = []
    waiting = list(borrowed)
    for rule in rules:
        if isinstance(rule, Window):
            _map(channel, rule.low, rule.high, rule.to, rule.clip)
        elif isinstance(rule, Quantiles):
            own = rule.of != "localiser" or not waiting
            ends = (quantile(channel, rule.low), quantile(channel, rule.high)) if own else waiting.pop(0)
            if not ends[1] > ends[0]:
                raise VoxelError("two quantiles are the same", where=str(where or "image"), mend="check the image")
            measured.append(ends)
            _map(channel, *ends, rule.to, rule.clip)
        elif isinstance(rule, ZScore):
            _standardise(channel, rule)
        else:
            assert isinstance(rule, Affine)
            channel.mul_(rule.scale).add_(rule.offset)
    return measured


def _map(channel: torch.Tensor, low: float, high: float, to: tuple[float, float], clip: bool) -> None:
    channel.sub_(low).div_(high - low)
    if to != (0.0, 1.0):
        channel.mul_(to[1] - to[0]).add_(to[0])
    if clip:
        channel.clamp_(min(to), max(to))


def _standardise(channel: torch.Tensor, rule: ZScore) -> None:
    if rule.mean is not None and rule.std is not None:
        channel.sub_(rule.mean).div_(rule.std)
        return
    inside = channel != 0 if rule.nonzero else None
    values = channel if inside is None else channel[inside]
    if values.numel() <= rule.ddof:
        return
    exact = values.double()  # a float32 sum over a whole body loses digits
    mean, spread = float(exact.mean()), float(exact.std(correction=rule.ddof))
    spread = spread if spread > TINY else 1.0
    if inside is None:
        channel.sub_(mean).div_(spread)
    else:
        channel[inside] = (values - mean) / spread
