"""What a row keeps of the distances between two surfaces: from it every surface metric of every convention follows.

Of surfels and of voxels each (`kernels.surface`) `FIGURES` numbers, as the bytes of little-endian float64: what is
measured stays exact, and a row grows by less than 400 bytes. One mask empty or both: no bytes at all, `b""`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from umd_engine.errors import OptionError
from umd_engine.kernels.surface import SurfaceDistances
from umd_engine.kernels.surface.grids import ELEMENTS
from umd_engine.kernels.surface.measures import OK

# mm, at which the NSD is kept: of all named conventions, and what lies around them
TOLERANCES = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0)
FIGURES = (
    *("label_area", "prediction_area"),  # mm^2, or voxels
    *("label_sum", "prediction_sum"),  # of distance x area, of that side's elements to the other side
    *("label_hd", "prediction_hd"),  # mm, the largest distance
    *("label_hd95", "prediction_hd95", "pooled_hd95"),  # mm
    *(f"within_{tolerance:g}" for tolerance in TOLERANCES),  # area of both sides at most that far from the other
)
EMPTY = b""
_PLACE = {name: place for place, name in enumerate(FIGURES)}


def pack(found: Sequence[SurfaceDistances]) -> bytes:
    """The bytes of an organ, of its distances by each kind of `ELEMENTS`."""
    if found[0].status != OK:
        return EMPTY
    return np.array([_figures(distances) for distances in found], "<f8").tobytes()


def _figures(found: SurfaceDistances) -> list[float]:
    sides = [
        (distances, np.concatenate([[0.0], np.cumsum(areas)]))
        for distances, areas in (
            (found.label_to_prediction, found.label_areas),
            (found.prediction_to_label, found.prediction_areas),
        )
    ]
    within = [share[np.searchsorted(distances, TOLERANCES, side="right")] for distances, share in sides]
    return [
        *(float(share[-1]) for _, share in sides),
        float((found.label_to_prediction * found.label_areas).sum()),
        float((found.prediction_to_label * found.prediction_areas).sum()),
        *(float(distances[-1]) for distances, _ in sides),
        *found.directed(95),
        found.percentile(95, "pooled"),
        *(within[0] + within[1]).tolist(),
    ]


def unpack(stored: Sequence[bytes | None], elements: str) -> np.ndarray:
    """float64 [row, figure] of one kind of elements; NaN of rows that have none."""
    size = len(ELEMENTS) * len(FIGURES)
    nothing = np.full(size, np.nan).tobytes()
    table = np.frombuffer(b"".join(one or nothing for one in stored), "<f8").reshape(-1, len(ELEMENTS), len(FIGURES))
    return table[:, ELEMENTS.index(elements)]


def nsd(figures: np.ndarray, tolerances: np.ndarray) -> np.ndarray:
    """The share of both surfaces' area within the tolerance (mm) of each row.

    Raises:
        OptionError: a tolerance that rows do not hold.
    """
    missing = sorted(set(tolerances.tolist()) - set(TOLERANCES))
    if missing:
        raise OptionError(
            f"rows hold no NSD at {missing[0]:g} mm",
            where="NSD",
            mend=f"one of {', '.join(map('{:g}'.format, TOLERANCES))}",
        )
    first = _PLACE[f"within_{TOLERANCES[0]:g}"]
    within = figures[np.arange(len(figures)), first + np.searchsorted(TOLERANCES, tolerances)]
    return within / (_of(figures, "label_area") + _of(figures, "prediction_area"))


def hd(figures: np.ndarray) -> np.ndarray:
    """mm."""
    return np.maximum(_of(figures, "label_hd"), _of(figures, "prediction_hd"))


def hd95(figures: np.ndarray, definition: str) -> np.ndarray:
    """mm; "max", "pooled" or "mean"."""
    if definition == "pooled":
        return _of(figures, "pooled_hd95")
    one, other = _of(figures, "label_hd95"), _of(figures, "prediction_hd95")
    return np.maximum(one, other) if definition == "max" else (one + other) / 2


def assd(figures: np.ndarray) -> np.ndarray:
    """mm."""
    total = _of(figures, "label_sum") + _of(figures, "prediction_sum")
    return total / (_of(figures, "label_area") + _of(figures, "prediction_area"))


def masd(figures: np.ndarray) -> np.ndarray:
    """mm."""
    label, prediction = (_of(figures, f"{side}_sum") / _of(figures, f"{side}_area") for side in ("label", "prediction"))
    return (label + prediction) / 2


def _of(figures: np.ndarray, name: str) -> np.ndarray:
    return figures[:, _PLACE[name]]
