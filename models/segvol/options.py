"""What a user may choose."""

from __future__ import annotations

from dataclasses import dataclass

from umd_engine.errors import OptionError

VARIANTS = ("engine", "official")


@dataclass(frozen=True)
class Options:
    """SegVol's options.

    Attributes:
        variant: `engine` maps a box as it was given, draws the points of zoomed-in windows from Philox and runs all
            organs together; `official` takes the box from the label on the resized grid, draws from torch's
            generator (seed 0; the official code leaves it unseeded) and goes from organ to organ.
        zoom_in: look again, at the scan's own resolution, where the whole scan at a glance showed the organ.
        overlap: of zoomed-in windows, as a share of the window, 0 to below 1.
        pad_prompts: where a region is smaller than the window it is padded on both sides; the official code does not
            shift points and boxes by that padding. True shifts them.
        tokenizer: folder with CLIP's vocab.json and merges.txt; empty: `clip-vit-base-patch32` in the folder that
            UMD_ENGINE_CHECKPOINTS names.
    """

    variant: str = "engine"
    zoom_in: bool = True
    overlap: float = 0.5
    pad_prompts: bool = False
    tokenizer: str = ""

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise OptionError(
                f"variant '{self.variant}' is unknown", where="segvol", mend=f"use {' or '.join(VARIANTS)}"
            )
        if not 0 <= self.overlap < 1:
            raise OptionError(f"overlap is {self.overlap}", where="segvol", mend="use a share of the window in [0, 1)")

    @property
    def official(self) -> bool:
        return self.variant == "official"
