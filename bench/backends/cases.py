"""The networks of the bench, with stand-in weights: the full width on a patch that a CPU computes in seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from umd_engine.engine.unit import Unit
from umd_engine.models.mask import Triple
from umd_engine.models.stand_in import ORGANS, filled, stand_in_units


@dataclass(frozen=True)
class Case:
    """One network at one patch.

    Attributes:
        title: both in words.
        make: the unit; given True, of the literal network where the engine's own is a shorter form of it.
        rewritten: whether it is.
        target: how many times the baseline's speed the best path in float32 promises on a CPU; 0 for no promise.
    """

    title: str
    make: Callable[[bool], Unit]
    rewritten: bool = False
    target: float = 0.0


def _patched(name: str, patch: Triple) -> Callable[[bool], Unit]:
    """The model's first unit on another patch."""

    def make(literal: bool) -> Unit:
        unit = stand_in_units(name)[0]
        image, *more = unit.inputs
        return replace(unit, inputs=(replace(image, shape=(image.shape[0], *patch)), *more))

    return make


def _sam_encoder(literal: bool) -> Unit:
    from umd_engine.models.sam_med3d.network import Network, Pieces

    with torch.device("meta"):
        network = Network(reduced=not literal)
    filled(network)
    return Pieces("sam-med3d-turbo", network).encoder


def _segvol_encoder(literal: bool) -> Unit:
    return stand_in_units("segvol", reduced=True)[0]


def _sat_nano(literal: bool) -> Unit:
    from umd_engine.models.sat.network import SIZES, Network, network_unit

    with torch.device("meta"):
        network = Network(SIZES["sat-nano"])
    return network_unit("sat-nano", filled(network), ORGANS, (64, 64, 32))


CASES = {
    "nnunet": Case("PlainConvUNet 32..320, 64x64x64", _patched("nnunet", (64, 64, 64)), target=1.5),
    "vista3d": Case("class network, 32x32x32", _patched("vista3d", (32, 32, 32)), target=1.5),
    "sam-med3d-turbo": Case("encoder, 128x128x128", _sam_encoder, rewritten=True, target=1.5),
    "segvol": Case("encoder of one block, 32x256x256", _segvol_encoder),
    "sat-nano": Case("network of 13 organs, 64x64x32", _sat_nano),
    "nninteractive": Case("network, 64x64x64", _patched("nninteractive", (64, 64, 64))),
}
