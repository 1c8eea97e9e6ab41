"""A scan with its mask in three planes, as a picture. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from umd_engine.data.atomic import atomic_file
from umd_engine.data.volume import Volume
from umd_engine.errors import DataError, OptionError

HEIGHT, DPI = 4.0, 120  # inches
PLANES = (("sagittal", 0), ("coronal", 1), ("axial", 2))
# Okabe and Ito's, then such as differ from them and from each other on grey
COLOURS = (
    "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#FFFFFF",
    "#E6194B", "#3CB44B", "#911EB4", "#46F0F0", "#BFEF45", "#FABED4", "#9A6324", "#AAFFC3",
)  # fmt: skip
METADATA = {"Software": "umd-engine"}


def check_picture(path: Path) -> None:
    """That a picture can be made at all, before any work.

    Raises:
        OptionError: an ending other than .png; matplotlib is not installed.
    """
    if path.suffix.lower() != ".png":
        raise OptionError("not a picture's ending", where=path, mend="name a .png file")
    if find_spec("matplotlib") is None:
        raise OptionError("pictures need matplotlib", where=path, mend="pip install 'umd-engine[report]'")


def draw_planes(
    image: Volume, labels: np.ndarray, organs: Mapping[str, tuple[int, ...]], title: str, path: Path
) -> None:
    """Three planes through the middle of what was found, each organ outlined and tinted.

    Args:
        labels: uint8 [X, Y, Z] in RAS+, on the image's grid. The patient's left is at the left of the coronal and axial
            planes, front or head at the top.

    Raises:
        OptionError: as `check_picture`. DataError: the file cannot be written.
    """
    check_picture(path)
    import matplotlib
    from matplotlib.figure import Figure

    found = np.argwhere(labels != 0)
    middle = np.median(found, axis=0).astype(int) if len(found) else np.array(image.shape) // 2
    sizes = np.array(image.shape) * np.array(image.spacing)
    widths = [float(sizes[1] / sizes[2]), float(sizes[0] / sizes[2]), float(sizes[0] / sizes[1])]
    low, high = np.percentile(image.voxels, (1, 99.5))
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # nobody's own settings
        matplotlib.rcParams["text.parse_math"] = False  # names may have a $
        figure = Figure(figsize=(HEIGHT * sum(widths) + 2.2, HEIGHT + 0.7), dpi=DPI, facecolor="white")
        panels = figure.subplots(1, 3, width_ratios=widths)
        for axes, (name, axis) in zip(panels, PLANES, strict=True):
            plane = [slice(None)] * 3
            plane[axis] = int(middle[axis])  # type: ignore[call-overload]
            _draw_plane(axes, image, labels, organs, tuple(plane), axis, (float(low), float(high)))
            axes.set_title(f"{name}, voxel {int(middle[axis])}", fontsize=8)
        shown = [f" {organ}" for organ in organs][: len(COLOURS)]  # what begins with _ is left out of a legend
        handles = [_patch(COLOURS[number]) for number in range(len(shown))]
        figure.legend(handles, shown, loc="center right", fontsize=8, frameon=False)
        figure.suptitle(title, fontsize=10)
        right = 1 - 1.6 / (HEIGHT * sum(widths) + 2.2)
        figure.subplots_adjust(left=0.01, right=right, top=0.86, bottom=0.02, wspace=0.03)
        _save(figure, path)


def _draw_plane(
    axes: Any,
    image: Volume,
    labels: np.ndarray,
    organs: Mapping[str, tuple[int, ...]],
    plane: tuple[Any, ...],
    axis: int,
    window: tuple[float, float],
) -> None:
    across, up = (other for other in range(3) if other != axis)
    box = (0, image.shape[across] * image.spacing[across], 0, image.shape[up] * image.spacing[up])
    shown = image.voxels[plane].T.astype(np.float32)
    axes.imshow(shown, cmap="gray", origin="lower", extent=box, vmin=window[0], vmax=window[1], interpolation="nearest")
    for number, ids in enumerate(organs.values()):
        mask = np.isin(labels[plane].T, ids)
        if mask.any() and number < len(COLOURS):
            x = (np.arange(mask.shape[1]) + 0.5) * image.spacing[across]
            y = (np.arange(mask.shape[0]) + 0.5) * image.spacing[up]
            axes.contourf(x, y, mask, levels=(0.5, 1.5), colors=[COLOURS[number]], alpha=0.25)
            axes.contour(x, y, mask, levels=(0.5,), colors=[COLOURS[number]], linewidths=0.9)
    axes.set_axis_off()


def _patch(colour: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor=colour, edgecolor="#333333", linewidth=0.5)


def _save(figure: Any, path: Path) -> None:
    try:
        with atomic_file(path) as file:
            figure.savefig(file, format="png", dpi=DPI, metadata=METADATA)
    except OSError as error:
        raise DataError(f"cannot write: {error.strerror}", where=path, mend="check the folder and its space") from None
