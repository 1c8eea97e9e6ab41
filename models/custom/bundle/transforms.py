"""A bundle's transforms as what a description says: each class in a list, each argument in another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from umd_engine.models.custom.bundle.config import Config

Parts = dict[str, Any]
IGNORED = ("EnsureTyped", "EnsureType", "ToTensord", "CastToTyped", "SaveImaged", "ToDeviced", "CopyItemsd")
NEIGHBOURS = {None: 26, 1: 6, 2: 18, 3: 26}  # of a voxel, by MONAI's connectivity
# what decides nothing, or only where and how fast it is computed
COMMON = {"keys", "allow_missing_keys", "image_only", "dtype", "device", "track_meta", "data_type", "_mode_", "_desc_"}


def transforms_of(config: Config, key: str) -> list[Parts]:
    """The transforms of a Compose; each a class name and its arguments.

    Raises:
        UnsupportedModelError: no Compose, a class of another library, a disabled or conditional one.
    """
    given = config.content.get(key)
    if not isinstance(given, Mapping) or _short(given.get("_target_", "")) != "Compose":
        raise config.refused(f"{key} is no Compose")
    found = given.get("transforms")
    if isinstance(found, str):
        found = config.value(found)
    if not isinstance(found, list) or not all(isinstance(step, Mapping) and "_target_" in step for step in found):
        raise config.refused(f"{key} is no list of transforms")
    steps = []
    for step in found:
        name = str(step["_target_"])
        if name != _short(name) and not name.startswith("monai.transforms."):
            raise config.refused(f"{key} with '{name}'")
        if config.value(step.get("_disabled_", False)) is True:
            continue
        steps.append({**{k: v for k, v in step.items() if k not in ("_target_", "_disabled_")}, "_name": _short(name)})
    return steps


def preprocessing(config: Config) -> Parts:
    """`orientation`, `grid` and `intensity` of a description: Orientationd, Spacingd, then intensities."""
    found: Parts = {"grid": {}, "intensity": []}
    for step in transforms_of(config, "preprocessing"):
        name = step["_name"]
        if name in IGNORED:
            continue
        if name not in _PREPARE:
            raise config.refused(f"preprocessing with {name}")
        _PREPARE[name](config, step, found)
    if "orientation" not in found:
        raise config.refused("preprocessing without Orientationd")
    return found


def postprocessing(config: Config) -> Parts:
    """`activation`, `threshold`, `interpolation` and components of a description's output.

    The order is Activationsd, Invertd, AsDiscreted; or AsDiscreted before an Invertd by nearest neighbours, which is
    the same.
    """
    found: Parts = {"activation": "none", "largest_component": False}
    order: list[str] = []
    for step in transforms_of(config, "postprocessing"):
        name = step["_name"]
        if name in IGNORED:
            continue
        if name not in _FINISH:
            raise config.refused(f"postprocessing with {name}")
        _FINISH[name](config, step, found)
        order.append(name)
    largest = "KeepLargestConnectedComponentd"
    kept = [name for name in order if name != largest]
    nearest = found.get("interpolation") == "nearest"
    good = kept[-2:] == ["Invertd", "AsDiscreted"] or (kept[-2:] == ["AsDiscreted", "Invertd"] and nearest)
    good = good and kept[:-2] in ([], ["Activationsd"]) and kept.count("Invertd") == 1
    if not good or order not in (kept, [*kept, largest]):
        raise config.refused(f"postprocessing in the order {', '.join(order) or 'of nothing'}")
    return found


def arguments(config: Config, step: Parts, *known: str) -> Parts:
    """A transform's arguments, those that decide nothing left out; others than `known` are refused."""
    given = {k: v for k, v in step.items() if k not in COMMON and k != "_name"}
    if odd := sorted(set(given) - set(known)):
        raise config.refused(f"{step['_name']} with {odd[0]}")
    return {k: config.value(v) for k, v in given.items()}


def _short(name: str) -> str:
    return str(name).rsplit(".", 1)[-1]


def _single(value: Any) -> Any:
    """The only entry of a list, or the value."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _number(config: Config, step: Parts, given: Parts, name: str) -> float:
    value = _single(given.get(name))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise config.refused(f"{step['_name']} with {name} {value!r:.40}, which is no number")
    return float(value)


def _load(config: Config, step: Parts, found: Parts) -> None:
    arguments(config, step, "ensure_channel_first", "reader", "simple_keys")


def _channel_first(config: Config, step: Parts, found: Parts) -> None:
    arguments(config, step, "channel_dim", "strict_check")


def _orientation(config: Config, step: Parts, found: Parts) -> None:
    given = arguments(config, step, "axcodes", "as_closest_canonical", "labels")
    if found["grid"] or found["intensity"]:
        raise config.refused("Orientationd after another change of the image")
    canonical = given.get("as_closest_canonical") is True
    found["orientation"] = "RAS" if canonical else str(given.get("axcodes", "RAS"))


def _spacing(config: Config, step: Parts, found: Parts) -> None:
    given = arguments(config, step, "pixdim", "mode", "diagonal", "padding_mode", "align_corners", "scale_extent",
                      "recompute_affine")  # fmt: skip
    if "orientation" not in found or found["intensity"]:
        raise config.refused("Spacingd before Orientationd or after an intensity")
    fixed = {"diagonal": False, "padding_mode": "border", "align_corners": False, "scale_extent": False}
    for name, usual in fixed.items():
        if _single(given.get(name, usual)) not in (usual, None):
            raise config.refused(f"Spacingd with {name}")
    modes = {"bilinear": "linear", "nearest": "nearest", 1: "linear", 0: "nearest"}
    mode = _single(given.get("mode", "bilinear"))
    if mode not in [*modes]:  # a list is no key
        raise config.refused(f"Spacingd with mode {mode}")
    found["grid"] = {"spacing": given.get("pixdim"), "interpolation": modes[mode], "placing": "first-voxel"}


def _range(config: Config, step: Parts, found: Parts) -> None:
    given = arguments(config, step, "a_min", "a_max", "b_min", "b_max", "clip")
    to = [given.get("b_min"), given.get("b_max")]
    if None in to:
        raise config.refused("ScaleIntensityRanged without b_min and b_max")
    rule = {"rule": "window", "low": given.get("a_min"), "high": given.get("a_max"), "to": to}
    found["intensity"].append({**rule, "clip": bool(given.get("clip", False))})


def _percentiles(config: Config, step: Parts, found: Parts) -> None:
    given = arguments(config, step, "lower", "upper", "b_min", "b_max", "clip", "relative", "channel_wise")
    to = [given.get("b_min"), given.get("b_max")]
    if None in to or given.get("relative"):
        raise config.refused("ScaleIntensityRangePercentilesd with relative, or without b_min and b_max")
    _one_channel(config, step, given)
    low, high = (_number(config, step, given, name) / 100 for name in ("lower", "upper"))
    rule = {"rule": "quantiles", "low": low, "high": high, "to": to}
    found["intensity"].append({**rule, "clip": bool(given.get("clip", False))})


def _scale(config: Config, step: Parts, found: Parts) -> None:
    given = arguments(config, step, "minv", "maxv", "channel_wise")
    _one_channel(config, step, given)
    to = [given.get("minv", 0.0), given.get("maxv", 1.0)]
    found["intensity"].append({"rule": "quantiles", "low": 0.0, "high": 1.0, "to": to, "clip": False})


def _normalize(config: Config, step: Parts, found: Parts) -> None:
    given = arguments(config, step, "nonzero", "channel_wise", "subtrahend", "divisor")
    rule: Parts = {"rule": "zscore", "nonzero": bool(given.get("nonzero", False))}
    fixed = [given.get("subtrahend"), given.get("divisor")]
    if fixed != [None, None]:
        if not all(isinstance(_single(value), int | float) for value in fixed) or rule["nonzero"]:
            raise config.refused("NormalizeIntensityd with this subtrahend and divisor")
        rule |= {"mean": float(_single(fixed[0])), "std": float(_single(fixed[1]))}
    else:
        _one_channel(config, step, given)
    found["intensity"].append(rule)


def _one_channel(config: Config, step: Parts, given: Parts) -> None:
    """MONAI measures all channels together unless it is told otherwise."""
    network = config.content.get("network_def")
    if not isinstance(network, Mapping):
        raise config.refused("a network_def that is no dictionary")
    if not given.get("channel_wise", False) and config.value(network.get("in_channels", 1)) != 1:
        raise config.refused(f"{step['_name']} of several channels without channel_wise")


def _activations(config: Config, step: Parts, found: Parts) -> None:
    given = arguments(config, step, "softmax", "sigmoid")
    chosen = [name for name in ("softmax", "sigmoid") if _single(given.get(name)) is True]
    if len(chosen) != 1:
        raise config.refused("Activationsd that is neither softmax nor sigmoid")
    found["activation"] = chosen[0]


def _invert(config: Config, step: Parts, found: Parts) -> None:
    if step.get("transform") != "@preprocessing":
        raise config.refused("Invertd of another transform than @preprocessing")
    step = {key: value for key, value in step.items() if key != "transform"}  # whose own keys need not be understood
    given = arguments(config, step, "orig_keys", "meta_keys", "orig_meta_keys", "meta_key_postfix",
                      "nearest_interp", "to_tensor", "post_func")  # fmt: skip
    found["interpolation"] = "nearest" if _single(given.get("nearest_interp", True)) else "linear"


def _discrete(config: Config, step: Parts, found: Parts) -> None:
    given = arguments(config, step, "argmax", "threshold", "to_onehot")
    argmax, threshold = _single(given.get("argmax", False)), _single(given.get("threshold"))
    if given.get("to_onehot") not in (None, [None]) or (argmax is True) == (threshold is not None):
        raise config.refused("AsDiscreted that is neither argmax nor a threshold")
    if threshold is not None:
        # MONAI's organ has the threshold itself too; a description's lies above it
        limit = np.float32(_number(config, step, given, "threshold"))
        found["threshold"] = float(min(np.nextafter(limit, np.float32(-np.inf)), limit - np.finfo(np.float32).tiny))


def _largest(config: Config, step: Parts, found: Parts) -> None:
    given = arguments(config, step, "applied_labels", "independent", "is_onehot", "connectivity", "num_components")
    if given.get("num_components", 1) != 1 or given.get("independent", True) is not True:
        raise config.refused("KeepLargestConnectedComponentd with several components, or not independent")
    if "interpolation" not in found or found.get("interpolation") == "nearest":
        raise config.refused("KeepLargestConnectedComponentd before Invertd")
    if given.get("is_onehot") not in (None, "threshold" in found):
        raise config.refused("KeepLargestConnectedComponentd with is_onehot that AsDiscreted does not give")
    hops = given.get("connectivity")
    if isinstance(hops, bool) or hops not in [*NEIGHBOURS]:
        raise config.refused(f"KeepLargestConnectedComponentd with connectivity {hops!r:.40}")
    labels = given.get("applied_labels")
    numbers = labels if isinstance(labels, list) else [labels]
    if labels is not None and not all(isinstance(n, int) for n in numbers):
        raise config.refused("KeepLargestConnectedComponentd with applied_labels that are no numbers")
    found["largest_component"] = True if labels is None else numbers
    found["connectivity"] = NEIGHBOURS[hops]


Reader = Callable[[Config, Parts, Parts], None]
_PREPARE: dict[str, Reader] = {
    "LoadImaged": _load,
    "EnsureChannelFirstd": _channel_first,
    "Orientationd": _orientation,
    "Spacingd": _spacing,
    "ScaleIntensityRanged": _range,
    "ScaleIntensityRangePercentilesd": _percentiles,
    "ScaleIntensityd": _scale,
    "NormalizeIntensityd": _normalize,
}
_FINISH: dict[str, Reader] = {
    "Activationsd": _activations,
    "Invertd": _invert,
    "AsDiscreted": _discrete,
    "KeepLargestConnectedComponentd": _largest,
}
