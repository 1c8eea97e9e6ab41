"""What a user may choose."""

from __future__ import annotations

from dataclasses import dataclass

from umd_engine.data.volume import Volume
from umd_engine.errors import OptionError, UnknownNameError

VARIANTS = ("engine", "official")
NAMES = ("known", "any")
MODALITIES = ("ct", "mr", "us", "pet")  # rows of the text encoder's table
OF_SCAN = "scan"


@dataclass(frozen=True)
class Options:
    """SAT's options.

    Attributes:
        variant: `engine` multiplies and sums in float32 and brings mean probabilities onto the scan's grid, linearly;
            `official` rounds probabilities and their products with the weights to float16 before they are summed in
            float32, interpolates the scan in float64, and brings the mask of its 1 x 1 x 3 mm grid back by nearest.
        modality: decides how intensities are normalised and enters the text's vector. `scan`: what the manifest says
            of each scan; ct, mr, us or pet: that, whatever it says.
        text_encoder: the file text_encoder.pth; empty: beside the network's checkpoint.
        names: `known` takes the names of the label sets that come with the package and refuses others, a slip of the
            pen among them; `any` embeds every text, of which nobody may ever have trained the encoder.
        tokenizer: folder with BioLORD-2023-C's vocab.txt; empty: `BioLORD-2023-C` in the folder that
            UMD_ENGINE_CHECKPOINTS names.
    """

    variant: str = "engine"
    modality: str = OF_SCAN
    names: str = "known"
    text_encoder: str = ""
    tokenizer: str = ""

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise OptionError(f"variant '{self.variant}' is unknown", where="sat", mend=f"use {' or '.join(VARIANTS)}")
        if self.names not in NAMES:
            raise OptionError(f"names '{self.names}' is unknown", where="sat", mend=f"use {' or '.join(NAMES)}")
        if self.modality not in (OF_SCAN, *MODALITIES):
            raise UnknownNameError("modality", self.modality, (OF_SCAN, *MODALITIES), where="sat")

    @property
    def official(self) -> bool:
        return self.variant == "official"

    def modality_of(self, volume: Volume) -> str:
        """Of an image, as the text encoder's table names it.

        Raises:
            OptionError: neither the option nor the image says it.
        """
        found = volume.modality if self.modality == OF_SCAN else self.modality
        if found is None:
            raise OptionError(
                "nothing says the image's modality", where=volume.path, mend=f"set modality={'|'.join(MODALITIES)}"
            )
        return found
