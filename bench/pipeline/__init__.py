"""The bench of `umd-engine bench pipeline`: whole jobs on phantoms next to nnunetv2 and a plain MONAI loop."""

from __future__ import annotations

from pathlib import Path

from umd_engine.bench.floor.repetition import Rule
from umd_engine.bench.floor.run import Bench
from umd_engine.engine.host_memory import SETTINGS

LONG = Rule(budget=15.0)  # s; a job that takes longer is done once
ONCE = Rule(budget=0.0)
BASELINE = (
    "nnunetv2 in a process of its own with the default allocator, all else in one process with the settings of the "
    "command line; interpreter start and imports excluded"
)


def benches(
    pairs: int = 4,
    size: str = "full",
    python: Path | None = None,
    workers: int = 1,
    scans: Path | None = None,
    ray: Path | None = None,
) -> list[Bench]:
    """One process: all rows are held against the same masks.

    Args:
        pairs: subjects, with a CT and a PET each. size: of the phantoms, small or full.
        python: an interpreter with nnunetv2; None: its rows are not measured.
        workers: processes each that nnunetv2 prepares and exports with.
        scans: a folder of phantoms, made if it is not there; None for a temporary one.
        ray: an interpreter with Ray and this package; None: this one, if it has Ray.
    """
    arguments = (str(pairs), size, str(python or ""), str(workers), str(scans or ""), str(ray or ""))
    return [Bench("pipeline", f"{__name__}.entries", arguments, SETTINGS)]


def rule(quick: bool) -> Rule:
    """How often a job is done."""
    return ONCE if quick else LONG
