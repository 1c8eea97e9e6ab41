"""Every model's units with stand-in weights: how long a unit takes, and whether it exports, does not depend on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.errors import UnknownNameError
from umd_engine.models.mask import Triple
from umd_engine.models.parity.recipe import fill

if TYPE_CHECKING:  # a network's libraries are imported with it
    import umd_engine.models.sam_med3d.network as sam_med3d
    import umd_engine.models.sat.network as sat
    import umd_engine.models.segvol.network as segvol

SEED = 7
ORGANS = 13
KEPT_BLOCKS = 3  # of a reduced transformer; SAM-Med3D's third block is its first global one
Units = Sequence[Unit]


def stand_in_units(name: str, reduced: bool = False, weights: bool = True) -> list[Unit]:
    """The units of a model of the catalogue, those of a nnU-Net in its usual size.

    Args:
        reduced: narrower, shallower or on a smaller patch, with every operator of the whole.
        weights: False leaves the parameters without memory: units to be counted.

    Raises:
        UnknownNameError: a name without stand-in.
        BackendError: a library that the network comes from is missing.
    """
    check_stand_in(name)
    with nullcontext() if weights else torch.device("meta"):
        return list(STAND_INS[name](name, reduced))


def check_stand_in(name: str) -> None:
    """Raises:
    UnknownNameError: a name without stand-in.
    """
    if name not in STAND_INS:
        raise UnknownNameError("model", name, STAND_INS)


def filled(network: torch.nn.Module) -> torch.nn.Module:
    """The network with stand-in weights, in evaluation mode; its parameters may have had no memory.

    Within `torch.device("meta")` they have none and get none.
    """
    if torch.get_default_device().type == "meta":
        return network.eval().requires_grad_(False)
    state = fill(network.state_dict(), SEED)
    network.to_empty(device="cpu")
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def _nnunet(name: str, reduced: bool) -> Units:
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    features = (8, 16, 32) if reduced else (32, 64, 128, 256, 320, 320)
    network = PlainConvUNet(
        1, num_classes=ORGANS + 1, n_conv_per_stage_decoder=2, **_unet(features, n_conv_per_stage=2)
    )
    return [_window_unit(f"{name}.fold_0", filled(network), 1, (16, 16, 16) if reduced else (128, 128, 128))]


def _nninteractive(name: str, reduced: bool) -> Units:
    network, patch = nninteractive_network(reduced)
    return [_window_unit(f"{name}.network", network, 8, patch)]


def nninteractive_network(reduced: bool) -> tuple[torch.nn.Module, Triple]:
    """With its patch."""
    from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet

    features = (8, 16, 32) if reduced else (32, 64, 128, 256, 320, 320)
    blocks = (1, 2, 2) if reduced else (1, 3, 4, 6, 6, 6)
    network = ResidualEncoderUNet(
        8, num_classes=2, n_conv_per_stage_decoder=1, **_unet(features, n_blocks_per_stage=blocks)
    )
    return filled(network), (32, 32, 32) if reduced else (192, 192, 192)


def _unet(features: Sequence[int], **layers: int | Sequence[int]) -> dict[str, object]:
    """Arguments that nnU-Net's plans give its networks."""
    stages = len(features)
    counts = {key: n if isinstance(n, Sequence) else (n,) * stages for key, n in layers.items()}
    return {
        "n_stages": stages,
        "features_per_stage": tuple(features),
        "conv_op": torch.nn.Conv3d,
        "kernel_sizes": 3,
        "strides": (1, *(2,) * (stages - 1)),
        "conv_bias": True,
        "norm_op": torch.nn.InstanceNorm3d,
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": torch.nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
        **counts,
    }


def _window_unit(name: str, network: torch.nn.Module, channels: int, patch: Triple) -> Unit:
    return Unit(name, network, (TensorSpec("image", (channels, *patch)),), ("logits",))


def _sam_med3d(name: str, reduced: bool) -> Units:
    from umd_engine.models.sam_med3d.network import Pieces

    pieces = Pieces(name, sam_med3d_network(reduced))
    return [pieces.encoder, pieces.decoder(1)]


def sam_med3d_network(reduced: bool) -> sam_med3d.Network:
    from umd_engine.models.sam_med3d.network import Network

    with torch.device("meta"):
        network = Network()
    if reduced:
        network.image_encoder.blocks = network.image_encoder.blocks[:KEPT_BLOCKS]
    filled(network)
    return network


def _segvol(name: str, reduced: bool) -> Units:
    from umd_engine.models.segvol.network import PromptShape, decoder_unit, encoder_unit

    network = segvol_network(reduced)
    shapes = PromptShape(points=1), PromptShape(text=True), PromptShape(box=True, text=True)
    return [encoder_unit(name, network), *(decoder_unit(name, network, shape) for shape in shapes)]


def segvol_network(reduced: bool) -> segvol.Network:
    from umd_engine.models.segvol.network import build_network

    with torch.device("meta"):  # no time for random weights
        network = build_network()
    encoder: Any = network.image_encoder
    if reduced:
        encoder.blocks = encoder.blocks[:1]
    filled(network)
    return network


def _vista3d(name: str, reduced: bool) -> Units:
    from umd_engine.models.vista3d.classes import CT, CTMR, unique
    from umd_engine.models.vista3d.network import class_unit
    from umd_engine.models.vista3d.point_network import Pieces
    from umd_engine.models.vista3d.recipe import VISTA3D, VISTA3D_CTMR

    classes, recipe = (CTMR, VISTA3D_CTMR) if name == "vista3d-ctmr" else (CT, VISTA3D)
    network = vista3d_network(reduced)
    patch = (32, 32, 32) if reduced else recipe.patch
    units = [class_unit(name, network, unique(classes.asked("")), patch), class_unit(name, network, (), patch)]
    if classes is CTMR:
        return units
    both = Pieces(name, network, patch, with_class=True)
    return [*units, Pieces(f"{name}.alone", network, patch, with_class=False).unit(1), both.unit(1), both.unit(0)]


def vista3d_network(reduced: bool) -> torch.nn.Module:
    from umd_engine.models.vista3d.network import build_network

    return filled(build_network(8) if reduced else build_network())


def _sat(name: str, reduced: bool) -> Units:
    from umd_engine.models.sat.network import network_unit

    network, _, patch = sat_network(name, reduced)
    return [network_unit(name, network, ORGANS, patch)]


def sat_network(name: str, reduced: bool) -> tuple[sat.Network, sat.Size, Triple]:
    """With its size and patch."""
    from umd_engine.models.sat.network import PATCH, SIZES, Network

    size = SIZES[name]
    if reduced:
        narrow = tuple(max(8, n // 16) for n in size.features)
        size = replace(size, features=narrow, token_width=64, head_width=32)
    with torch.device("meta"):
        network = Network(size)
    filled(network)
    return network, size, (64, 64, 32) if reduced else PATCH


STAND_INS: dict[str, Callable[[str, bool], Units]] = {
    "nnunet": _nnunet,
    "sam-med3d-turbo": _sam_med3d,
    "segvol": _segvol,
    "nninteractive": _nninteractive,
    "sat-nano": _sat,
    "sat-pro": _sat,
    "vista3d": _vista3d,
    "vista3d-ctmr": _vista3d,
}
