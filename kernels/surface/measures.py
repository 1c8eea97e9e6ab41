"""From directed distances between two surfaces to HD, HD95, ASSD, MASD and NSD."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from umd_engine.errors import OptionError

OK, BOTH_EMPTY, LABEL_EMPTY, PREDICTION_EMPTY = "ok", "both-empty", "label-empty", "prediction-empty"
DEFINITIONS = ("max", "pooled", "mean")


@dataclass(frozen=True)
class SurfaceMetrics:
    """The metrics of one organ; every one is None where a mask is empty, and `status` says which.

    Attributes:
        status: "ok", "both-empty", "label-empty" or "prediction-empty".
        hd: Hausdorff distance, mm.
        hd95_max: the larger of both directed 95th percentiles, mm (DeepMind, MONAI).
        hd95_pooled: the 95th percentile of both directed distances together, mm (MedPy).
        hd95_mean: the mean of both directed 95th percentiles, mm.
        assd: average symmetric surface distance: the mean of both directed distances together, mm.
        masd: the mean of both directed averages, mm.
        nsd: normalised surface Dice: the share of both surfaces within the tolerance of the other, 0 to 1. None
            also where no tolerance was given.
        tolerance: of the NSD, mm.
    """

    status: str
    hd: float | None = None
    hd95_max: float | None = None
    hd95_pooled: float | None = None
    hd95_mean: float | None = None
    assd: float | None = None
    masd: float | None = None
    nsd: float | None = None
    tolerance: float | None = None


@dataclass(frozen=True)
class SurfaceDistances:
    """Both directed distances of one organ, each sorted from near to far; all empty unless `status` is "ok".

    Attributes:
        status: "ok", "both-empty", "label-empty" or "prediction-empty".
        elements: "surfels" or "voxels".
        label_to_prediction: float64 [N], mm: of each element of the label's surface to the nearest of the other.
        label_areas: float64 [N], mm^2, in the same order; 1 for a voxel.
        prediction_to_label, prediction_areas: float64 [M], the other way.
    """

    status: str
    elements: str
    label_to_prediction: np.ndarray
    label_areas: np.ndarray
    prediction_to_label: np.ndarray
    prediction_areas: np.ndarray

    def metrics(self, tolerance: float | None = None) -> SurfaceMetrics:
        """All of them; `tolerance` in mm."""
        if self.status != OK:
            return SurfaceMetrics(self.status, tolerance=tolerance)
        one, other = self.directed(95)
        return SurfaceMetrics(
            status=OK,
            hd=max(float(self.label_to_prediction[-1]), float(self.prediction_to_label[-1])),
            hd95_max=max(one, other),
            hd95_pooled=self.percentile(95, "pooled"),
            hd95_mean=(one + other) / 2,
            assd=self.assd(),
            masd=self.masd(),
            nsd=None if tolerance is None else self.nsd(tolerance),
            tolerance=tolerance,
        )

    def percentile(self, percent: float, definition: str = "max") -> float:
        """The Hausdorff distance without its farthest part, mm.

        Of surfels: the distance that `percent` of the area does not exceed (DeepMind). Of voxels: NumPy's
        percentile, linear between two voxels (MONAI, MedPy).

        Args:
            percent: 0 to 100.
            definition: "max" or "mean" of both directed percentiles, or "pooled": of both directions together.

        Raises:
            OptionError: an unknown definition, or a percent out of range.
        """
        assert self.status == OK, self.status
        if definition not in DEFINITIONS or not 0 <= percent <= 100:
            fault = f"percentile {percent} by definition '{definition}'"
            raise OptionError(fault, where="surface", mend=f"0 to 100, one of {', '.join(DEFINITIONS)}")
        if definition == "pooled":
            together = np.concatenate([self.label_to_prediction, self.prediction_to_label])
            order = np.argsort(together, kind="stable")  # merges two sorted runs
            areas = np.concatenate([self.label_areas, self.prediction_areas])
            return self._percentile(together[order], areas[order], percent)
        one, other = self.directed(percent)
        return max(one, other) if definition == "max" else (one + other) / 2

    def directed(self, percent: float) -> tuple[float, float]:
        """Both directed percentiles, mm: of the label's elements and of the prediction's."""
        one = self._percentile(self.label_to_prediction, self.label_areas, percent)
        return one, self._percentile(self.prediction_to_label, self.prediction_areas, percent)

    def _percentile(self, distances: np.ndarray, areas: np.ndarray, percent: float) -> float:
        if self.elements == "voxels":
            return float(np.percentile(distances, percent))
        share = np.cumsum(areas)
        share /= areas.sum()
        return float(distances[min(int(np.searchsorted(share, percent / 100)), len(distances) - 1)])

    def assd(self) -> float:
        """The mean of both directed distances together, weighted by area, mm."""
        total = self._sum(self.label_to_prediction, self.label_areas)
        total += self._sum(self.prediction_to_label, self.prediction_areas)
        return total / float(self.label_areas.sum() + self.prediction_areas.sum())

    def masd(self) -> float:
        """The mean of both directed averages, weighted by area, mm."""
        one = self._sum(self.label_to_prediction, self.label_areas) / float(self.label_areas.sum())
        other = self._sum(self.prediction_to_label, self.prediction_areas) / float(self.prediction_areas.sum())
        return (one + other) / 2

    def nsd(self, tolerance: float) -> float:
        """The share of both surfaces' area at most `tolerance` mm from the other (Nikolov et al. 2021)."""
        near = self._within(self.label_to_prediction, self.label_areas, tolerance)
        near += self._within(self.prediction_to_label, self.prediction_areas, tolerance)
        return near / float(self.label_areas.sum() + self.prediction_areas.sum())

    @staticmethod
    def _sum(distances: np.ndarray, areas: np.ndarray) -> float:
        return float((distances * areas).sum())

    @staticmethod
    def _within(distances: np.ndarray, areas: np.ndarray, tolerance: float) -> float:
        return float(areas[: np.searchsorted(distances, tolerance, side="right")].sum())


def empty(status: str, elements: str) -> SurfaceDistances:
    """Of an organ that a mask, or both, are without."""
    return SurfaceDistances(status, elements, *(np.zeros(0) for _ in range(4)))


def status_of(in_label: bool, in_prediction: bool) -> str:
    """Which mask is empty."""
    if in_label and in_prediction:
        return OK
    if in_label:
        return PREDICTION_EMPTY
    return LABEL_EMPTY if in_prediction else BOTH_EMPTY
