"""Bytes of a device that a model needs: its weights, one call, and what its largest case declares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from umd_engine.engine.peak import peak
from umd_engine.engine.unit import Unit
from umd_engine.evaluation.forecast.works import PlannedCase
from umd_engine.models.model import spillable

CONTEXT = 500_000_000  # bytes that CUDA and its libraries take of a device before any tensor
WORKSPACE = 0.2  # of a call's tensors: cuDNN's workspaces, and what the allocator cannot use between tensors
ASSUMED = (
    f"a device holds {CONTEXT / 1e9:g} GB of CUDA's own, the weights in float32, one network call and the largest case "
    f"alone; a call's tensors are counted, and {WORKSPACE:.0%} added for cuDNN's workspaces and gaps between tensors: "
    f"assumed, not measured"
)


@dataclass(frozen=True)
class Need:
    """Bytes of a device.

    Attributes:
        call: tensors of one network call, the largest of the units'.
        declared: of the largest case. spilled: of these, what is in the host's memory.
    """

    weights: int
    call: int
    declared: int
    spilled: int = 0

    @property
    def fixed(self) -> int:
        """What is there whatever the case."""
        return CONTEXT + self.weights + int((1 + WORKSPACE) * self.call)

    @property
    def total(self) -> int:
        return self.fixed + self.declared - self.spilled


def need(cases: Sequence[PlannedCase], batch: int, precision: str, spill: bool = False) -> Need:
    """Of the cases of one model.

    Args:
        spill: sums that can move to the host's memory are there.

    Raises:
        BackendError: a unit is a file, whose operators are not seen.
    """
    units = list(dict.fromkeys(work.unit for planned in cases for work in planned.calls.works))
    largest = max(cases, key=lambda planned: planned.nbytes - spill * spillable_of(planned))
    call = max(_peak(unit, batch, "fp32" if precision == "tf32" else precision) for unit in units)
    return Need(weights_of(units), call, largest.nbytes, spill * spillable_of(largest))


def spillable_of(planned: PlannedCase) -> int:
    """Bytes that a case declares and that can be in the host's memory."""
    scan = planned.scan
    return spillable(planned.case.model, scan.shape, scan.spacing, len(planned.case.targets))


def weights_of(units: Sequence[Unit]) -> int:
    """Bytes of every module once: units of one module share them."""
    modules = {id(tensor): tensor.nbytes for unit in units for tensor in unit.module.parameters()}
    return sum(modules.values())


_peak = cache(peak)
