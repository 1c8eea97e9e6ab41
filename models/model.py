"""What every model offers, so that one runner and one tester cover them all."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from typing_extensions import TypeIs

from umd_engine.data.volume import Volume
from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Program
from umd_engine.errors import UmdEngineError, VoxelError
from umd_engine.models.calls import Asked, Calls
from umd_engine.models.mask import Mask, Triple
from umd_engine.models.prompts import PromptSource

DEFAULTS = (("point", "paper-1pt"), ("box", "box"), ("text", "text"))  # kind of prompt, protocol


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A model's answer for one scan.

    Attributes:
        labels: uint8 label map [X, Y, Z] on the scan's own grid, RAS+; 0 is background.
        organs: name -> ids in `labels`; a region is the union of several.
    """

    labels: torch.Tensor
    organs: Mapping[str, tuple[int, ...]]


class Model(Protocol):
    """A loaded model: weights, units and its protocol for one scan.

    Attributes:
        name: how results name it.
        weights: SHA-256 of all weights.
        protocol: everything that decides the answer besides weights; JSON-able, enters the plan hash.
        organs: what it can segment, name -> ids.
        units: the network pieces its programs call.
        preparation, spillable: may be left out; see the functions of these names.
    """

    name: str
    weights: str

    @property
    def protocol(self) -> Mapping[str, Any]: ...

    @property
    def organs(self) -> Mapping[str, tuple[int, ...]]: ...

    @property
    def units(self) -> Sequence[Unit]: ...

    def nbytes(self, shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> int:
        """Bytes a scan of this shape and spacing (mm) holds on the device while it is live; the scan as it was read
        and its label are declared for all models together."""

    def calls(self, shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Calls:
        """What its program will ask of its units for such a scan."""

    def prepare(self, images: Sequence[Volume], device: torch.device) -> Any:
        """Orient, crop, normalise and resample; runs in a reader thread."""

    def segment(self, case: Any) -> Program[Segmentation]:
        """The protocol, as a program over what `prepare` returned."""


class PromptedModel(Protocol):
    """A model that segments one organ for every source of prompts; its masks may overlap.

    Attributes:
        name, weights, protocol, units: as of `Model`.
        prompts: the kinds of prompts it takes, of `prompts.KINDS`.
        crops_by_label: its protocol looks at the label besides the prompts, as SAM-Med3D's crop does.
        default_prompt, one_stream, preparation, spillable: may be left out; see the functions of these names.
    """

    name: str
    weights: str
    prompts: frozenset[str]

    @property
    def protocol(self) -> Mapping[str, Any]: ...

    @property
    def units(self) -> Sequence[Unit]: ...

    @property
    def crops_by_label(self) -> bool: ...

    def nbytes(self, shape: tuple[int, int, int], spacing: tuple[float, float, float], organs: int) -> int:
        """Bytes a scan of this shape and spacing (mm) holds while that many organs are live."""

    def calls(self, shape: tuple[int, int, int], spacing: tuple[float, float, float], asked: Asked) -> Calls:
        """What its program will ask of its units for such a scan."""

    def prepare(self, images: Sequence[Volume], device: torch.device) -> Any:
        """What all organs share; runs in a reader thread."""

    def segment(self, case: Any, sources: Sequence[PromptSource]) -> Program[list[Mask | UmdEngineError]]:
        """The last mask of every source, or the error that ended its organ."""


def is_prompted(model: Model | PromptedModel) -> TypeIs[PromptedModel]:
    """Whether a model waits for prompts; the others segment all they know."""
    return hasattr(model, "prompts")


def default_prompt(model: PromptedModel) -> str:
    """The protocol that asks a model where no option names one: its attribute `default_prompt`, e.g. "text".

    Without the attribute "paper-1pt", or "box" or "text" for a model that takes no points.
    """
    taken = next((name for kind, name in DEFAULTS if kind in model.prompts), DEFAULTS[0][1])
    return getattr(model, "default_prompt", taken)


def one_stream(model: PromptedModel) -> bool:
    """Whether its own random draws run on from organ to organ, as in official code, so that a scan is done whole."""
    return getattr(model, "one_stream", False)


def preparation(model: Model | PromptedModel) -> Hashable:
    """What decides `prepare` besides images and device: its attribute `preparation`, without one the model itself.

    Models of which it is equal are given one and the same prepared scan, which none of them changes.
    """
    return getattr(model, "preparation", model.name)


def spillable(model: Model | PromptedModel, shape: Triple, spacing: tuple[float, float, float], organs: int) -> int:
    """Bytes of those that a model declares (`nbytes`) that go on in the host's memory where its sums move there.

    Its method of this name, with the arguments of `nbytes`; none for a model whose sums stay on the device.
    """
    if not hasattr(model, "spillable"):
        return 0
    nbytes: int = model.spillable(shape, spacing, organs) if is_prompted(model) else model.spillable(shape, spacing)
    return nbytes


def only_image(model: str, images: Sequence[Volume]) -> Volume:
    """The image of a scan for a model of one channel.

    Raises:
        VoxelError: the scan has another number of images.
    """
    if len(images) != 1:
        raise VoxelError(
            f"{model} takes one image, the scan has {len(images)}",
            where=images[0].path if images else None,
            mend="list one image a scan in the manifest",
        )
    return images[0]
