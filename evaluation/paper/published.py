"""The numbers of arXiv 2602.07643v1: `umd_dice.csv` is Tables 1 and 2, `umd_table3.csv` Table 3.

The first line of each printed cell is taken as the structural image, the second as PET, as Table 3 shows.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from umd_engine.evaluation.columns import AVERAGE

SOURCE = "arXiv 2602.07643v1"
MODELS = ("sam-med3d-turbo", "segvol", "nninteractive", "vista3d", "sat-pro")
REFERENCE = "nnunet"  # of Table 3 alone
TITLES = {
    "sam-med3d-turbo": "SAM-Med3D",
    "segvol": "SegVol",
    "nninteractive": "nnInteractive",
    "vista3d": "VISTA3D",
    "sat-pro": "SAT",
    "nnunet": "nnU-Net",
}
MODALITIES = {"ct": "ct", "mri": "mr", "pet": "pet"}  # the files' words to ours


@dataclass(frozen=True)
class Study:
    """One of the two studies; `examinations` is inferred from its recurring cells."""

    name: str
    table: int
    title: str
    structural: str
    examinations: int

    @property
    def modalities(self) -> tuple[str, str]:
        return self.structural, "pet"


STUDIES = (Study("petct", 1, "PET/CT", "ct", 490), Study("petmri", 2, "PET/MRI", "mr", 464))


@dataclass(frozen=True)
class Printed:
    """A printed figure; `sd` is NaN where none is printed, `digits` behind the point."""

    mean: float
    sd: float = math.nan
    digits: int = 4


@dataclass(frozen=True)
class Setting:
    """A row of Table 3: how the model was asked, and what its authors report by modality; NaN for nothing."""

    model: str
    setting: str
    reported: dict[str, float]
    umd: dict[tuple[str, str], Printed]  # (study, modality)


@cache
def dice() -> dict[tuple[str, str, str, str], Printed]:
    """(study, modality, organ, model) -> Tables 1 and 2; the organ of the printed "Avg" is `AVERAGE`."""
    found = {}
    for line in _lines("umd_dice.csv"):
        organ = AVERAGE if line["organ"] == "average" else line["organ"]
        place = line["study"], MODALITIES[line["modality"]], organ, line["model"]
        found[place] = Printed(float(line["dice_mean"]), float(line["dice_sd"]))
    return found


@cache
def settings() -> tuple[Setting, ...]:
    """Table 3, three digits behind the point. SAT's reported values are printed in percent; nnInteractive's 0.55 is an
    average over modalities."""
    return tuple(
        Setting(
            line["model"],
            line["setting"],
            {ours: float(line[f"reported_{theirs}"] or "nan") for theirs, ours in MODALITIES.items()},
            {
                (study.name, ours): Printed(float(line[f"umd_{study.name}_{theirs}"]), digits=3)
                for study in STUDIES
                for theirs, ours in MODALITIES.items()
                if ours in study.modalities
            },
        )
        for line in _lines("umd_table3.csv")
    )


def _lines(name: str) -> list[dict[str, str]]:
    with (Path(__file__).parent / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
