"""Whole models with stand-in weights: they run scans as they would with a checkpoint, and answer nonsense.

What they ask of their units, and so how long a scan takes, depends on their weights only where the protocol looks at
the answer: SegVol's second look, nnInteractive's zoom.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from umd_engine.models.model import Model, PromptedModel
from umd_engine.models.parity.recipe import normal
from umd_engine.models.sat.text import TextEncoder
from umd_engine.models.stand_in import (
    SEED,
    check_stand_in,
    filled,
    nninteractive_network,
    sam_med3d_network,
    sat_network,
    segvol_network,
    vista3d_network,
)

NOWHERE = Path()
LEAST_NNINTERACTIVE = (80, 80, 80)  # patch: of one below 49 its protocol uses nothing, as it drops 24 voxels a face
AnyModel = Model | PromptedModel


def stand_in_model(name: str, title: str, reduced: bool = False) -> AnyModel:
    """A model of the catalogue with its default options, a nnU-Net in its usual size.

    Args:
        reduced: narrower, shallower or on a smaller patch, as `stand_in_units`. A nnU-Net has as many windows as
            the whole one, each of a quarter of the patch at four times the spacing.

    Raises:
        UnknownNameError: a name without stand-in.
        BackendError: a library that the network comes from is missing.
    """
    check_stand_in(name)
    return _MODELS[name](name, title, reduced)


def _nnunet(_: str, title: str, reduced: bool) -> AnyModel:
    from umd_engine.models.nnunet.model import NnUNet
    from umd_engine.models.nnunet.network import build_network
    from umd_engine.models.nnunet.protocol import Options
    from umd_engine.models.outline import usual_plans

    plans = usual_plans(features=(8, 16, 32), patch=(32, 32, 32), spacing=(6, 6, 6)) if reduced else usual_plans()
    with torch.device("meta"):
        network = build_network(plans, NOWHERE)
    return NnUNet.without_weights(title, plans, Options(), (0, 1, 2), filled(network))


def _sam_med3d(_: str, title: str, reduced: bool) -> AnyModel:
    from umd_engine.models.sam_med3d.model import SamMed3D
    from umd_engine.models.sam_med3d.options import Options

    return SamMed3D(title, NOWHERE, Options(), sam_med3d_network(reduced))


def _segvol(_: str, title: str, reduced: bool) -> AnyModel:
    from umd_engine.models.segvol.model import SegVol
    from umd_engine.models.segvol.options import Options

    return SegVol(title, NOWHERE, Options(), segvol_network(reduced))


def _nninteractive(_: str, title: str, reduced: bool) -> AnyModel:
    from umd_engine.models.nninteractive.model import NnInteractive
    from umd_engine.models.nninteractive.protocol import Options

    network, patch = nninteractive_network(reduced)
    return NnInteractive(title, NOWHERE, Options(), (network, LEAST_NNINTERACTIVE if reduced else patch))


def _sat(name: str, title: str, reduced: bool) -> AnyModel:
    from umd_engine.models.sat.model import Sat
    from umd_engine.models.sat.options import Options

    network, size, patch = sat_network(name, reduced)
    model = Sat(title, NOWHERE, Options(), size=size, network=network, patch=patch)
    model.text = _Texts()
    return model


class _Texts(TextEncoder):
    """Embeds a name by chance, always alike."""

    def __init__(self) -> None: ...

    def embed(self, organ: str, modality: str) -> torch.Tensor:
        return torch.from_numpy(normal(SEED, f"{modality} {organ}", (768,)))


def _vista3d(_: str, title: str, reduced: bool) -> AnyModel:
    from umd_engine.models.vista3d.model import Vista3D
    from umd_engine.models.vista3d.options import Options

    return Vista3D(title, NOWHERE, Options(patch=_patch(reduced)), network=vista3d_network(reduced))


def _vista3d_ctmr(_: str, title: str, reduced: bool) -> AnyModel:
    from umd_engine.models.vista3d.model import Vista3D
    from umd_engine.models.vista3d.options import CtmrOptions
    from umd_engine.models.vista3d.recipe import VISTA3D_CTMR

    return Vista3D(title, NOWHERE, CtmrOptions(patch=_patch(reduced)), VISTA3D_CTMR, vista3d_network(reduced))


def _patch(reduced: bool) -> str:
    return "48x48x48" if reduced else ""


_MODELS: dict[str, Callable[[str, str, bool], AnyModel]] = {
    "nnunet": _nnunet,
    "sam-med3d-turbo": _sam_med3d,
    "segvol": _segvol,
    "nninteractive": _nninteractive,
    "sat-nano": _sat,
    "sat-pro": _sat,
    "vista3d": _vista3d,
    "vista3d-ctmr": _vista3d_ctmr,
}
