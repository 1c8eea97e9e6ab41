"""Runs recordings: a row each, with every deviation beside its tolerance."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import torch

from umd_engine.errors import UmdEngineError
from umd_engine.models.parity.nninteractive import check_nninteractive
from umd_engine.models.parity.nnunet import check_nnunet
from umd_engine.models.parity.recording import Recording
from umd_engine.models.parity.result import Deviation, Measured
from umd_engine.models.parity.sam_med3d import check_sam_med3d
from umd_engine.models.parity.sat import check_sat
from umd_engine.models.parity.segvol import check_segvol
from umd_engine.models.parity.vista3d import check_vista3d

CHECKERS: Mapping[str, Callable[[Recording, str, torch.device], Measured]] = {
    "nninteractive": check_nninteractive,
    "nnunet": check_nnunet,
    "sam-med3d-turbo": check_sam_med3d,
    "sat-nano": check_sat,
    "sat-pro": check_sat,
    "segvol": check_segvol,
    "vista3d": check_vista3d,
    "vista3d-ctmr": check_vista3d,
}


@dataclass(frozen=True)
class Parity:
    """How one recording went.

    Attributes:
        deviations: each measured difference and its tolerance.
        variants: what the `engine` variant changes against `official`, in words.
        error: why nothing could be measured.
    """

    recording: str
    model: str
    deviations: tuple[Deviation, ...] = ()
    variants: str = ""
    seconds: float = 0.0
    error: str = field(default="")

    @property
    def passed(self) -> bool:
        return not self.error and bool(self.deviations) and all(d.passed for d in self.deviations)


def check_recordings(recordings: Iterable[Recording], backend: str, device: torch.device) -> Iterator[Parity]:
    """One row a recording. A recording of a model without a checker is a failure, not a silence."""
    for recording in recordings:
        start = time.perf_counter()
        try:
            checker = CHECKERS.get(recording.model)
            if checker is None:
                raise UmdEngineError(f"no checker for model '{recording.model}' in this version")
            measured = checker(recording, backend, device)
        except UmdEngineError as error:
            yield Parity(recording.name, recording.model, error=str(error))
            continue
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
            fault = f"the recording does not hold together: {type(error).__name__} {error}"
            yield Parity(recording.name, recording.model, error=fault)
            continue
        yield Parity(
            recording.name,
            recording.model,
            measured.deviations,
            measured.variants,
            time.perf_counter() - start,
        )
