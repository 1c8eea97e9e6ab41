"""What a user may choose."""

from __future__ import annotations

from dataclasses import dataclass

from umd_engine.errors import OptionError

Triple = tuple[int, int, int]
CHOICES = {
    "variant": ("engine", "official"),
    "mode": ("class", "point", "class+point"),
    "protocol": ("bundle", "research"),
    "images": ("ct", "any"),
    "padding": ("", "zeros", "edge"),
}
BODIES = ("mr", "ct")
DIVISOR = 16  # the encoder halves four times
SMALLEST = 32  # of one voxel no norm can be taken


@dataclass(frozen=True)
class Options:
    """Options of the CT model.

    Attributes:
        variant: `engine` resamples in float32, walks the windows along the scan's longest axis and sums 48 features in
            place of more than 48 classes; `official` resamples in float64, walks along x and sums classes.
        mode: `class`: by class id; `point`: one object from points; `class+point`: a class's mask, corrected by points.
        organs: names or class ids, separated by commas; `all`: the published list of everything; empty: the 13 organs.
        protocol: of the class mode. `bundle` overlaps windows by 0.25 with constant weights; `research`, that of the
            authors' command line, by 0.625 with Gaussian ones, scales before it resamples, and cuts nothing off.
        images: `ct` refuses an image whose intensities cannot be HU; `any` takes PET and MR as if they were CT.
        padding: of an image smaller than the patch: `zeros` or `edge`, which is repeated; empty: as published.
        patch: the network's input, e.g. 96x96x96, multiples of 16 from 32 on; empty: the published one.
        skip_air: leave out windows of pure air, without a voxel above 0.05 of the scaled range (-863 HU); what only
            they cover becomes background.
    """

    variant: str = "engine"
    mode: str = "class"
    organs: str = ""
    protocol: str = "bundle"
    images: str = "ct"
    padding: str = ""
    patch: str = ""
    skip_air: bool = False

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                choices = " or ".join(choice for choice in known if choice)
                raise OptionError(f"{name} '{getattr(self, name)}' is unknown", where="vista3d", mend=f"use {choices}")
        if self.patch:
            parse_patch(self.patch)
        if self.mode != "class" and (self.protocol != "bundle" or self.skip_air or self.organs or self.padding):
            raise OptionError(
                "protocol, skip_air, organs and padding belong to the class mode",
                where="vista3d",
                mend="leave them out",
            )

    @property
    def official(self) -> bool:
        return self.variant == "official"

    @property
    def overlap(self) -> float:
        return 0.25 if self.protocol == "bundle" else 0.625


@dataclass(frozen=True)
class CtmrOptions(Options):
    """Options of the CT and MR model: it takes any image, and no points, which its authors did not train it for.

    Attributes:
        body: which published list `all` and the lung are taken from: `mr`, for MR and PET, or `ct`. Left and right lung
            were trained on MR alone, the lobes on CT alone.
    """

    images: str = "any"
    body: str = "mr"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.body not in BODIES:
            raise OptionError(f"body '{self.body}' is unknown", where="vista3d-ctmr", mend=f"use {' or '.join(BODIES)}")
        if self.mode != "class":
            raise OptionError(
                f"the CT and MR model has no mode '{self.mode}'", where="vista3d-ctmr", mend="use vista3d for points"
            )


def parse_patch(text: str) -> Triple:
    """(x, y, z) of e.g. 128x128x96.

    Raises:
        OptionError: not three multiples of 16 from 32 on.
    """
    sizes = [int(part) for part in text.split("x") if part.isdecimal()]
    if len(sizes) != 3 or text.count("x") != 2 or any(n < SMALLEST or n % DIVISOR for n in sizes):
        raise OptionError(
            f"patch '{text}' is not three multiples of {DIVISOR} from {SMALLEST} on",
            where="vista3d",
            mend="write e.g. 96x96x96",
        )
    return sizes[0], sizes[1], sizes[2]
