"""What a user may choose."""

from __future__ import annotations

from dataclasses import dataclass

from umd_engine.errors import OptionError

CHOICES = {
    "variant": ("engine", "official"),
    "encoder": ("reduced", "literal"),
    "centre": ("label", "click"),
}


@dataclass(frozen=True)
class Options:
    """What a user may choose.

    Attributes:
        variant: `engine` interpolates floating images in float32, sums the z-score in float64 and runs organs side by
            side; `official` interpolates in ITK's float64, sums in float32 and runs the organs one after the other.
        encoder: `reduced` computes window attention in its exact short form; `literal` pads as the official code.
        centre: `label` centres the crop on the label's box, as the official code does; `click` on the first click,
            for scans without labels.
        cover: several crops for an organ that one does not hold, and one for every click that no crop holds; a click
            goes to all crops that hold it, the organ is the union.
    """

    variant: str = "engine"
    encoder: str = "reduced"
    centre: str = "label"
    cover: bool = False

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise OptionError(
                    f"{name} '{getattr(self, name)}' is unknown",
                    where="sam-med3d-turbo",
                    mend=f"use {' or '.join(known)}",
                )

    @property
    def official(self) -> bool:
        return self.variant == "official"
