"""What units cost, from a profile's file to `umd-engine plan --costs`."""

from __future__ import annotations

from pathlib import Path

from umd_engine.bench import machine
from umd_engine.bench.compare import SAME_MACHINE
from umd_engine.bench.profile.result import load
from umd_engine.errors import OptionError


def calls_of(path: Path, backend: str, precision: str, device: str) -> dict[str, dict[int, float]]:
    """Unit name -> batch -> seconds of a call, p50, of the rows that ran whole units in this way.

    Args:
        device: "cpu" or "cuda".

    Raises:
        MissingFileError, CorruptFileError, DataError: as `load`.
        OptionError: a profile of another machine, or without a row of this way.
    """
    profile, here = load(path), machine.describe()
    told = ((name, profile.machine.get(name), here.get(name)) for name in SAME_MACHINE)
    if unlike := [f"{name}: {there}, here {now}" for name, there, now in told if there != now]:
        raise OptionError(f"measured on another machine: {'; '.join(unlike)}", where=path, mend="measure here")
    found: dict[str, dict[int, float]] = {}
    for row in profile.units:
        way = row.backend, row.precision, row.device.partition(":")[0]
        if row.latency is not None and row.scaled == 1 and way == (backend, precision, device):
            found.setdefault(row.unit, {})[row.batch] = row.latency.p50
    if not found:
        raise OptionError(
            f"it has no whole unit by {backend} in {precision} on {device}",
            where=path,
            mend=f"umd-engine bench --backend {backend} --precision {precision} --device {device} --json FILE",
        )
    return found
