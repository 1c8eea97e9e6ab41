"""What a parity check measures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Deviation:
    """A measured difference and the most it may be. NaN never passes."""

    name: str
    value: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.value <= self.tolerance


@dataclass(frozen=True)
class Measured:
    deviations: tuple[Deviation, ...]
    variants: str = ""
