"""What the cases of a run declare: bytes of their own, and those of a scan that its models hold together."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from functools import lru_cache

import torch

from umd_engine.data.manifest import ScanRow
from umd_engine.data.scan import scan_geometry
from umd_engine.errors import UmdEngineError
from umd_engine.evaluation.cases import Case
from umd_engine.models.mask import Triple
from umd_engine.models.model import is_prompted


class Declared:
    """Bytes on the device, from the first image's header alone, which is read once for the cases of a scan.

    A file that cannot be read declares nothing: reading it will say what is wrong with it.
    """

    def __init__(self, device: torch.device):
        self._device = device
        self._geometry = lru_cache(maxsize=1)(_geometry)

    def own(self, case: Case) -> int:
        """What the model says."""
        found = self._geometry(case.row)
        if found is None:
            return 0
        if is_prompted(case.model):
            return case.model.nbytes(*found, len(case.targets))
        return case.model.nbytes(*found)

    def shared(self, case: Case) -> Mapping[Hashable, int]:
        """The scan's: its label and the organs cut out of it; on a CPU also what was read, as float32 at most."""
        found = self._geometry(case.row)
        if found is None:
            return {}
        a_voxel = 2 if self._device.type != "cpu" else 4 * len(case.row.images) + 3
        return {case.row.key: a_voxel * math.prod(found[0])}


def _geometry(row: ScanRow) -> tuple[Triple, tuple[float, float, float]] | None:
    try:
        return scan_geometry(row)
    except UmdEngineError:
        return None
