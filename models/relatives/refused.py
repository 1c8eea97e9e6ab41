"""Relatives of nnU-Net whose networks no maintained package has: what is said of their folders."""

from __future__ import annotations

from pathlib import Path

from umd_engine.errors import UnsupportedModelError

MEND = "describe the network in a my.yaml: umd-engine models new my.yaml, docs/custom.md"
# a word in the trainer's name -> what it is
TRAINERS = {
    "STUNet": "STU-Net",
    "MedNeXt": "MedNeXt in nnU-Net",
    "SwinUMamba": "Swin-UMamba",  # before the word that it holds
    "UMamba": "U-Mamba",
}


def refuse_trainer(trainer: str, where: Path) -> None:
    """Raise UnsupportedModelError for a trainer whose network is not in a maintained package."""
    for word, name in TRAINERS.items():
        if word in trainer:
            raise UnsupportedModelError(
                f"trainer {trainer}: {name} is not supported, no maintained package has its network",
                where=where,
                mend=MEND,
            )


def refuse_first_version(folder: Path) -> None:
    """Raise UnsupportedModelError for a folder of nnU-Net v1, as MedNeXt's and STU-Net's published ones are."""
    if (folder / "plans.pkl").is_file() or any(folder.glob("fold_*/model_*.model.pkl")):
        raise UnsupportedModelError(
            "a folder of nnU-Net v1 (as MedNeXt's, STU-Net's and TotalSegmentator v1's are) is not supported",
            where=folder,
            mend=MEND,
        )
