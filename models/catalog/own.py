"""Models that the user describes, or that come as a folder of their own kind."""

from __future__ import annotations

import re
from pathlib import Path

from umd_engine.errors import MissingFileError
from umd_engine.models.catalog.facts import Checkpoint, Entry, Implementation


def _custom() -> Implementation:
    from umd_engine.models.custom.model import load_own
    from umd_engine.models.custom.trust import Options

    return Implementation(Options, load_own)


def _bundle() -> Implementation:
    from umd_engine.models.custom.bundle.load import Options, load_bundle

    return Implementation(Options, load_bundle)


def _total() -> Implementation:
    from umd_engine.models.relatives.total import Options, TotalSegmentator

    return Implementation(Options, TotalSegmentator)


OWN = (
    Entry(
        name="custom",
        summary="a model of one's own, described in a file, prompts too: ONNX, TorchScript, torch.export, Python",
        needs="a description, my.yaml (umd-engine models new)",
        prompts=(),  # until it is opened: the description says
        patch="described",
        spacing="described",
        parameters={},
        checkpoint=Checkpoint(("model.yaml",)),
        published=None,
        code_licence="your own",
        weights_licence="your own",
        verified="two networks of deepbet 1.0.2, as published, against its own pipeline on a head: every voxel",
        code=_custom,
    ),
    Entry(
        name="monai-bundle",
        summary="a MONAI bundle whose inference.json follows the standard pattern",
        needs="a bundle's folder: configs/inference.json, configs/metadata.json, models/model.pt",
        prompts=(),
        patch="bundle",
        spacing="bundle",
        parameters={},
        checkpoint=Checkpoint((".",), "configs/inference.json", ("configs/*.json", "configs/*.yaml", "models/*.pt")),
        published=None,
        code_licence="Apache-2.0 (MONAI)",
        weights_licence="the bundle's own",
        verified="label maps of MONAI 1.6.1's own parser, transforms and inferer for three small bundles, at "
        "most 5 voxels differ; stand-in weights",
        code=_bundle,
        otherwise="MONAI's model zoo and others",
    ),
    Entry(
        name="totalsegmentator",
        summary="TotalSegmentator v2: the nnU-Nets of its folder, merged, with its own resampling",
        needs="its folder of parts: Dataset291_.../TRAINER__PLANS__3d_fullres and the others",
        prompts=(),
        patch="plans",
        spacing="1.5 mm",
        parameters={},
        checkpoint=Checkpoint(
            (".",), "Dataset*/*/plans.json", ("Dataset*/*/*.json", "Dataset*/*/fold_*/checkpoint_final.pth")
        ),
        published=None,
        code_licence="Apache-2.0",
        weights_licence="Apache-2.0 (total; other tasks differ)",
        verified="a label map of TotalSegmentator 2.18.0 for a folder of two small parts, every voxel; stand-in "
        "weights; the merging of five without it",
        code=_total,
        otherwise="its authors; TotalSegmentator's own command downloads it",
    ),
)
BUNDLE = ("configs/inference.json", "configs/inference.yaml")


def kind_of(text: str) -> str | None:
    """The entry's name of a path that says itself what it is: a description or a bundle's folder; else None.

    Raises:
        MissingFileError: a description's ending, and no such file.
    """
    path = Path(text)
    if "=" not in text and path.suffix.lower() in (".yaml", ".yml"):
        if not path.is_file():
            raise MissingFileError("no such description", where=path, mend="write one with umd-engine models new")
        return "custom"
    if path.is_dir() and any((path / name).is_file() for name in BUNDLE):
        return "monai-bundle"
    return None


def title_of(path: Path) -> str:
    """How results name it: the file's or folder's name, with what cannot name a folder replaced."""
    stem = path.stem if path.is_file() else path.resolve().name
    return re.sub(r"[^A-Za-z0-9._-]", "-", stem).lstrip("._-") or "own"
