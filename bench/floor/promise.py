"""What an implementation promises on one kind of device."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Promise:
    """Held where the device's name contains `device`; elsewhere it is only printed.

    Attributes:
        seconds: the most that a call may take; 0 for no promise.
        share: the least part of a copy's rate; 0 for none.
    """

    device: str
    seconds: float = 0.0
    share: float = 0.0
