"""What a trained nnInteractive folder says besides its weights: how prompts are written into channels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from umd_engine.errors import CheckpointError, MissingFileError, UnsupportedModelError
from umd_engine.models.nnunet.plans import read_json

VERSION = (2, 6, 0)  # of the official package that this follows
SESSION = "nnInteractiveInferenceSession"
Pair = tuple[int, int]  # channel of positive prompts, of negative ones
PAIRS: Mapping[str, Pair] = {
    "bbox2d": (1, 2), "bbox3d": (1, 2), "lasso": (1, 2), "points": (3, 4), "scribble": (5, 6),
}  # fmt: skip
SUPPORTED: Mapping[str, bool] = {"scribble": True, "lasso": True, "points": True, "bbox2d": True, "bbox3d": False}


@dataclass(frozen=True)
class Settings:
    """How prompts become channels.

    Attributes:
        decay: what a prompt's intensity is multiplied by with every later prompt.
        radius: of a point's ball, in voxels.
        channels: interaction channels, the previous segmentation included.
        previous: which of them that is.
        pairs: prompt -> its channels.
        supported: prompt -> whether the network was trained with it.
        takes_mask: a segmentation to start from.
    """

    decay: float = 0.98
    radius: int = 4
    channels: int = 7
    previous: int = 0
    pairs: Mapping[str, Pair] = field(default_factory=lambda: dict(PAIRS))
    supported: Mapping[str, bool] = field(default_factory=lambda: dict(SUPPORTED))
    takes_mask: bool = True

    @property
    def thin(self) -> frozenset[int]:
        """Channels that are widened before they are shrunk, else a point would vanish."""
        kinds = [kind for kind in ("points", "scribble") if self.supported[kind]]
        return frozenset(channel for kind in kinds for channel in self.pairs[kind])


def read_settings(folder: Path) -> Settings:
    """From `inference_info.json`, or `inference_session_class.json` of older models.

    Raises:
        MissingFileError: neither is there.
        CheckpointError, UnsupportedModelError: it does not hold together, or asks for what this engine does not have.
    """
    new, old = folder / "inference_info.json", folder / "inference_session_class.json"
    if not new.is_file() and not old.is_file():
        raise MissingFileError(
            f"neither {new.name} nor {old.name}", where=folder, mend="copy the whole folder that its authors publish"
        )
    where = new if new.is_file() else old
    content: Any = read_json(where)
    try:
        if where is old:
            return _common({}, 0.9) if isinstance(content, str) else _common(content, 0.98)
        _check_session(content, where)
        return _capable(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"does not hold together: {type(error).__name__} {error}", where=where, mend="copy the file again"
        ) from None


def _common(content: Mapping[str, Any], decay: float, **more: Any) -> Settings:
    said = {"decay": float(content.get("interaction_decay", decay)), "radius": content.get("point_radius", 4)}
    if content.get("pad_mode_image", "constant") != "constant":
        raise UnsupportedModelError(f"padding '{content['pad_mode_image']}' is not supported", mend="use constant")
    if not 0 < said["decay"] <= 1:
        raise ValueError(f"interaction_decay is {said['decay']}")
    if int(said["radius"]) != said["radius"] or said["radius"] < 1:
        raise UnsupportedModelError(f"a point of radius {said['radius']} is not supported", mend="use a whole number")
    return Settings(**(said | {"radius": int(said["radius"])} | more))


def _check_session(content: Mapping[str, Any], where: Path) -> None:
    asked = content.get("inference_class", SESSION)
    if asked != SESSION:
        raise UnsupportedModelError(f"asks for '{asked}'", where=where, mend=f"use a model of {SESSION}")
    least = content.get("inference_class_min_version")
    if least is not None and tuple(int(n) for n in re.findall(r"\d+", least)) > VERSION:
        ours = ".".join(str(n) for n in VERSION)
        raise UnsupportedModelError(
            f"asks for nnInteractive {least}, this follows {ours}", where=where, mend="use an older model"
        )


def _capable(content: Mapping[str, Any]) -> Settings:
    supported, mapping = content.get("supported_interactions", {}), dict(content.get("channel_mapping", {}))
    previous = int(mapping.pop("prev_seg", 0))
    if unknown := sorted({*supported, *mapping} - SUPPORTED.keys()):
        raise UnsupportedModelError(
            f"prompts {', '.join(unknown)} are not supported", mend=f"supported: {', '.join(SUPPORTED)}"
        )
    pairs = {kind: (int(pair[0]), int(pair[1])) for kind, pair in {**PAIRS, **mapping}.items()}
    indices = [previous, *(channel for pair in pairs.values() for channel in pair)]
    least = max(max(indices) + 1, -min(indices))
    channels = int(content["interaction_channels"]) + 1 if "interaction_channels" in content else least
    if channels < least:
        raise ValueError(f"{channels} channels, but channel {max(indices)} is used")
    return _common(
        content,
        0.98,
        channels=channels,
        previous=previous % channels,
        pairs={kind: (positive % channels, negative % channels) for kind, (positive, negative) in pairs.items()},
        supported={**SUPPORTED, **{kind: bool(can) for kind, can in supported.items()}},
        takes_mask=bool(content.get("supports_initial_label", True)),
    )
