"""A bundle's folder as a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umd_engine.errors import CheckpointError, MissingFileError
from umd_engine.models.custom.bundle.config import Config, read
from umd_engine.models.custom.bundle.transforms import Parts, arguments, postprocessing, preprocessing
from umd_engine.models.custom.description import Description
from umd_engine.models.custom.model import OwnModel
from umd_engine.models.custom.opening import open_network
from umd_engine.models.custom.reading import as_description

METADATA = "configs/metadata.json"
MOST_CHANNELS = 255


@dataclass(frozen=True)
class Options:
    """What a user may choose.

    Attributes:
        config: the configuration's name in `configs`, without its ending.
    """

    config: str = "inference"


def load_bundle(name: str, folder: Path, options: Options) -> OwnModel:
    """The model of a bundle that follows the standard pattern.

    Raises:
        MissingFileError, CheckpointError: a file that is missing or damaged.
        UnsupportedModelError: a class, an argument or an expression outside the pattern. ModelError: values that do
            not fit together.
    """
    if not folder.is_dir():
        raise MissingFileError("no such folder", where=folder, mend="give a MONAI bundle's folder")
    description = describe(Config(folder, options.config), name)
    # paths in the description are relative to the folder
    piece = open_network(description.network, description, len(description.channels), (), folder / "bundle", trust="")
    return OwnModel(name, description, [piece], "monai-bundle")


def describe(config: Config, name: str) -> Description:
    """The description that a bundle amounts to.

    Raises:
        MissingFileError, CheckpointError, UnsupportedModelError, ModelError: see `load_bundle`.
    """
    try:
        return _described(config, name)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise config.refused(f"a value of another kind ({type(error).__name__}: {str(error)[:120]})") from None


def _described(config: Config, name: str) -> Description:
    assert config.path is not None
    metadata = read(config.folder / METADATA)
    channels, outputs = _channels(metadata, config)
    finish = postprocessing(config)
    background = 0 if finish.get("threshold") is None else None
    organs = {organ: number for number, organ in outputs.items() if number != background}
    largest = finish["largest_component"]
    if largest and len(outputs) == 1:  # whose values MONAI takes for labels
        raise config.refused("KeepLargestConnectedComponentd of a single channel")
    if largest is True:  # MONAI leaves channel 0 as it is unless it is named
        largest = [number for number in outputs if number != 0]
    if largest:
        finish["largest_component"] = [organ for organ, number in organs.items() if number in largest]
    content: Parts = {
        "umd_engine": 1,
        "name": "".join(c if c.isalnum() or c in "._-" else "-" for c in name).lstrip("._-") or "bundle",
        "channels": channels,
        **preprocessing(config),
        "network": {"format": "bundle", "file": str(config.path.relative_to(config.folder))},
        "windows": _windows(config),
        "output": {"channels": len(outputs), "organs": organs, **finish},
    }
    return as_description(content, config.path)


def _windows(config: Config) -> Parts:
    inferer = config.content.get("inferer")
    if not isinstance(inferer, dict) or str(inferer.get("_target_", "")).rsplit(".", 1)[-1] != "SlidingWindowInferer":
        raise config.refused("an inferer that is no SlidingWindowInferer")
    step = {**{k: v for k, v in inferer.items() if k != "_target_"}, "_name": "SlidingWindowInferer"}
    # where windows are computed and summed, and how many at once
    for key in ("sw_batch_size", "sw_device", "device", "progress", "cache_roi_weight_map", "cpu_thresh"):
        step.pop(key, None)
    given = arguments(config, step, "roi_size", "overlap", "mode", "sigma_scale", "padding_mode", "cval")
    modes = {"constant": "constant", "gaussian": "gaussian-centred"}
    mode, padding = str(given.get("mode", "constant")).lower(), str(given.get("padding_mode", "constant")).lower()
    paddings = {"constant": "zero", "replicate": "edge"}
    if mode not in modes or padding not in paddings or given.get("cval", 0) != 0:
        raise config.refused(f"SlidingWindowInferer with mode {mode}, padding {padding}")
    return {
        "patch": given.get("roi_size"),
        "overlap": given.get("overlap", 0.25),
        "blending": modes[mode],
        "sigma": given.get("sigma_scale", 0.125),
        "placing": "flush",
        "padding": paddings[padding],
    }


def _channels(metadata: dict[str, Any], config: Config) -> tuple[list[str], dict[int, str]]:
    """Names of the input's channels, and of the output's by number."""
    try:
        data = metadata["network_data_format"]
        (image, *_), (pred, *_) = data["inputs"].values(), data["outputs"].values()
        count = int(image["num_channels"])
        if not 1 <= count <= MOST_CHANNELS:
            raise ValueError(f"num_channels is {count}")
        names = image.get("channel_def") or {}
        channels = [str(names.get(str(number), "image")) for number in range(count)]
        outputs = {int(number): str(organ) for number, organ in pred["channel_def"].items()}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CheckpointError(
            f"its network_data_format lacks what inference needs: {type(error).__name__} {error}",
            where=config.folder / METADATA,
            mend="use the bundle's own metadata.json",
        ) from None
    if sorted(outputs) != list(range(len(outputs))) or len(set(outputs.values())) < len(outputs):
        raise CheckpointError(
            "its output's channel_def does not number channels 0, 1, 2, ... with names of their own",
            where=config.folder / METADATA,
            mend="mend channel_def",
        )
    return channels, outputs
