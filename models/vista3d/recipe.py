"""What two published models do differently around the same network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from umd_engine.models.vista3d.classes import CT, CTMR, CTMR_CT, ClassSet
from umd_engine.models.vista3d.options import CtmrOptions, Options, Triple, parse_patch

SPACING = 1.5  # mm
MARGIN = 10  # voxels around the foreground
PADDINGS = {"zeros": "constant", "edge": "replicate"}  # as torch.nn.functional.pad names them


@dataclass(frozen=True)
class Recipe:
    """A published model's protocol.

    Attributes:
        name: the catalogue's.
        patch: the network's input in voxels of 1.5 mm.
        window: intensities (HU) that become 0 and 1; None: the image's own percentiles 1 and 99.
        padding: of an image smaller than the patch: "zeros" or "edge". Windows around points are padded with zeros.
    """

    name: str
    classes: ClassSet
    patch: Triple
    window: tuple[float, float] | None
    padding: str

    def classes_of(self, options: Options) -> ClassSet:
        """Those of the CT and MR model depend on the images that it is asked about."""
        return CTMR_CT if isinstance(options, CtmrOptions) and options.body == "ct" else self.classes

    def patch_of(self, options: Options) -> Triple:
        return parse_patch(options.patch) if options.patch else self.patch

    def padding_of(self, options: Options) -> str:
        return options.padding or self.padding

    def described(self, options: Options) -> dict[str, Any]:
        """What of it decides an answer; JSON-able."""
        return {
            "spacing": SPACING,
            "margin": MARGIN,
            "patch_size": self.patch_of(options),
            "window": self.window or "percentiles 1 to 99",
            "padding": self.padding_of(options),
        }


VISTA3D = Recipe("vista3d", CT, (128, 128, 128), (-963.8247715525971, 1053.678477684517), "zeros")
VISTA3D_CTMR = Recipe("vista3d-ctmr", CTMR, (192, 192, 128), None, "edge")
