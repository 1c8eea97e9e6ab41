"""What the cases of a run declare: bytes of their own, and those of a scan that its models hold together."""

from __future__ import annotations

import math
from collections.abc import Hashable
from functools import lru_cache

import torch

from umd_engine.data.manifest import ScanRow
from umd_engine.data.scan import scan_geometry
from umd_engine.engine.executor import Needs
from umd_engine.errors import ReadTimeoutError, UmdEngineError
from umd_engine.evaluation.cases import Case
from umd_engine.models.mask import Triple
from umd_engine.models.model import is_prompted
from umd_engine.models.unloaded import UnloadedModel


class Declared:
    """Bytes on the device, from the first image's header alone, which is read once for the cases of a scan.

    Args:
        timeout: seconds that a header may take; 0: any.
    """

    def __init__(self, device: torch.device, timeout: float = 0):
        self._device, self._timeout = device, timeout
        self._geometry = lru_cache(maxsize=1)(self._read)
        self._stalled: dict[tuple[str, str, str], ReadTimeoutError] = {}

    def needs(self, case: Case) -> Needs:
        """What the model says; and the scan's: its label and the organs cut out of it, on a CPU also what was read, as
        float32 at most.

        A file that cannot be read declares nothing: reading it will say what is wrong with it.

        Raises:
            ReadTimeoutError: the file stalls; it is waited for once, whatever the number of models.
        """
        found = None if isinstance(case.model, UnloadedModel) else self._geometry(case.row)
        if found is None:
            return 0, {}
        a_voxel = 2 if self._device.type != "cpu" else 4 * len(case.row.images) + 3
        shared: dict[Hashable, int] = {case.row.key: a_voxel * math.prod(found[0])}
        if is_prompted(case.model):
            return case.model.nbytes(*found, len(case.targets)), shared
        return case.model.nbytes(*found), shared

    def _read(self, row: ScanRow) -> tuple[Triple, tuple[float, float, float]] | None:
        if row.key in self._stalled:
            raise self._stalled[row.key]
        try:
            return scan_geometry(row, self._timeout)
        except ReadTimeoutError as error:
            self._stalled[row.key] = error
            raise
        except UmdEngineError:
            return None
