"""The checkpoint folder: a folder a model, named as in the catalogue, with the files as their authors publish them.

UMD_ENGINE_CHECKPOINTS/
    sam-med3d-turbo/sam_med3d_turbo.pth
    segvol/pytorch_model.bin
    nninteractive/nnInteractive_v1.0/plans.json, fold_0/checkpoint_final.pth, ...
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from umd_engine.errors import MissingFileError
from umd_engine.models.catalog.facts import Entry

VARIABLE = "UMD_ENGINE_CHECKPOINTS"


def checkpoints_folder() -> Path:
    """UMD_ENGINE_CHECKPOINTS, else `umd-engine/checkpoints` among the user's data files (XDG)."""
    if path := os.environ.get(VARIABLE):
        return Path(path)
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share")) / "umd-engine" / "checkpoints"


def model_folder(known: Entry) -> Path:
    return checkpoints_folder() / known.name


def places(known: Entry) -> list[Path]:
    """Where a model's checkpoint may lie, the best place first."""
    return [model_folder(known) / place for place in known.checkpoint.places]


def found_checkpoint(known: Entry) -> Path | None:
    """The checkpoint in the checkpoint folder, the first place of several; None where there is none."""
    return next((place for place in places(known) if _is_there(place, known.checkpoint.marker)), None)


def _is_there(place: Path, marker: str) -> bool:
    return any(place.glob(marker)) if "*" in marker else (place / marker).is_file()


def own_checkpoint(known: Entry) -> Path:
    """The checkpoint in the checkpoint folder.

    Raises:
        MissingFileError: none there; says where it was looked for and how to get one.
    """
    if (found := found_checkpoint(known)) is not None:
        return found
    first, *others = [place / known.checkpoint.marker for place in places(known)]
    also = f", nor {' nor '.join(map(str, others))}" if others else ""
    fetch = f"run umd-engine models fetch {known.name}, or " if known.published else ""
    raise MissingFileError(
        f"no checkpoint of {known.name} there{also}", where=first, mend=f"{fetch}write {known.name}=PATH, {known.needs}"
    )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
