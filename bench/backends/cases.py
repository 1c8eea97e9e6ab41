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
        target: how many times the baseline's speed the best path promises; 0 for no promise.
        on: "cpu" or "cuda", where that is promised.
        precision: of the paths that promise. The baseline of fp32 is the literal network with the default allocator;
            that of fp16 torch's autocast, on a CUDA device alone, and other precisions are not run.
        batches: sizes of a batch in place of those that are asked for.
        beside: what others say of the same network; printed below.
    """

    title: str
    make: Callable[[bool], Unit]
    rewritten: bool = False
    target: float = 0.0
    on: str = "cpu"
    precision: str = "fp32"
    batches: tuple[int, ...] = ()
    beside: str = ""


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
    "nnunet-amp": Case(
        "PlainConvUNet 32..320, 128x128x128", _patched("nnunet", (128, 128, 128)), target=2.0, on="cuda",
        precision="fp16", batches=(8,),
        # 6.84 samples/s of 64.2 windows; 0.96 TFLOP at 790 TFLOP/s
        beside="on an H200: 2.28 ms a window in MLPerf Inference v4.1, 3D-UNet in INT8; at least 1.21 ms in fp16",
    ),
}  # fmt: skip
